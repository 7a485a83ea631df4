"""Why the ledger refuses an entry: by itself, for the names it gives, or because the schema did not take it."""

from __future__ import annotations

from blocks.erp.entries import Bill, Document, DocumentKind, Entry, JournalEntry, Line, Money
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger.schema import MAX_AMOUNT_MINOR
from blocks.erp.reference import JOURNAL_USES, JournalUse, Reference, check_names

_Finding = tuple[RefusalKind, str, str]

_RAISING = {DocumentKind.BILL, DocumentKind.REFUND}


def check_against(entry: Entry, company_id: str | None, reference: Reference | None) -> Refused | None:
    """Why the ledger would refuse an entry, by itself or for what it names, or None."""
    refused = check_entry(entry, company_id)
    if refused is not None or reference is None:
        return refused
    finding = _check_company_currency(entry, reference) or _check_journals(entry, reference)
    finding = finding or _check_payable(entry, reference)
    return _refused(entry, finding) or check_names(entry, reference)


def check_entry(entry: Entry, company_id: str | None) -> Refused | None:
    """Why the ledger of `company_id` would refuse an entry whatever else it holds, or None."""
    finding = _check_header(entry, company_id) or _check_lines(entry) or _check_sums(entry)
    if finding is None and isinstance(entry, Bill):
        finding = _check_bill(entry)
    return _refused(entry, finding)


def schema_refusal(entry: Entry, error: Exception) -> Refused:
    """The refusal of an entry that the schema did not take."""
    kind, message = schema_refusal_kind(error, entry.posting_date.isoformat())
    subjects = {
        RefusalKind.CLOSED_PERIOD: entry.posting_date.isoformat(),
        RefusalKind.UNKNOWN_ACCOUNT: ", ".join(entry.accounts),
        RefusalKind.UNBALANCED: str(entry.difference_minor),
    }
    return Refused(entry.accounting_entry_id.lower(), kind, subjects.get(kind, entry.accounting_entry_id), message)


def schema_refusal_kind(error: Exception, posting_date: str) -> tuple[RefusalKind, str]:
    """A refusal of the schema's: its text begins with its kind, where it has one. The date, which a trigger cannot
    put into its text, is added here."""
    prefix, _, text = str(error).partition(": ")
    if prefix not in set(RefusalKind):
        return RefusalKind.OTHER, str(error)
    kind = RefusalKind(prefix)
    return kind, f"{text}: {posting_date}" if kind is RefusalKind.CLOSED_PERIOD else text


def _refused(entry: Entry, finding: _Finding | None) -> Refused | None:
    return None if finding is None else Refused(entry.accounting_entry_id.lower(), *finding)


def _check_header(entry: Entry, company_id: str | None) -> _Finding | None:
    if not entry.accounting_entry_id:
        return RefusalKind.OTHER, "accounting entry id", "the entry has no accounting entry id"
    if company_id is not None and entry.company_id.lower() != company_id:
        return (
            RefusalKind.OTHER,
            entry.company_id,
            f"the entry is of company {entry.company_id}, the ledger of {company_id}",
        )
    if not (len(entry.currency) == 3 and entry.currency.isascii() and entry.currency.isalpha()) or (
        not entry.currency.isupper()
    ):
        return RefusalKind.OTHER, entry.currency, "a currency is three capital letters"
    return _check_size(entry.amount_minor) or _check_size(entry.rounding_minor) or _check_supplier(entry.supplier)


def _check_lines(entry: Entry) -> _Finding | None:
    if not entry.all_lines:
        return RefusalKind.UNBALANCED, "lines", "the entry has no lines"
    in_company_currency = entry.company_currency not in (None, entry.currency)
    for line in entry.all_lines:
        finding = _check_line(line, in_company_currency)
        if finding is not None:
            return finding
    return None


def _check_line(line: Line, in_company_currency: bool) -> _Finding | None:
    if not line.account.code.strip():
        return RefusalKind.UNKNOWN_ACCOUNT, line.account.code, "a line names no account"
    for amount in (line.debit_minor, line.credit_minor, line.company_minor or 0):
        if amount < 0:
            return RefusalKind.OTHER, str(amount), "a debit or credit is never negative"
    if line.debit_minor and line.credit_minor:
        return RefusalKind.OTHER, line.account.code, "a line is a debit or a credit, not both"
    if (line.company_minor is not None) != in_company_currency:
        what = "no amount" if in_company_currency else "an amount too many"
        return RefusalKind.UNBALANCED, line.account.code, f"a line has {what} in the company's currency"
    if line.company_minor and not line.amount_minor:
        return RefusalKind.UNBALANCED, line.account.code, "a line of zero is worth something in the company's currency"
    return (
        _check_size(line.debit_minor)
        or _check_size(line.credit_minor)
        or _check_size(line.company_minor or 0)
        or _check_supplier(line.supplier)
    )


def _check_sums(entry: Entry) -> _Finding | None:
    finding = _check_balance(entry.all_lines, "debits and credits")
    if finding is not None:
        return finding
    counter = sum(line.debit_minor - line.credit_minor for line in entry.all_lines if line.counter)
    if abs(counter) != abs(entry.amount_minor):
        return (
            RefusalKind.UNBALANCED,
            str(entry.amount_minor),
            f"the counter lines add up to {counter}, the amount of the entry is {entry.amount_minor}",
        )
    return _check_size(sum(line.debit_minor for line in entry.all_lines)) or _check_size(
        sum(line.company_minor or 0 for line in entry.all_lines if line.debit_minor)
    )


def _check_balance(lines: tuple[Line, ...], what: str) -> _Finding | None:
    difference = sum(line.debit_minor - line.credit_minor for line in lines)
    if difference:
        return RefusalKind.UNBALANCED, str(difference), f"{what} differ by {difference} minor units"
    difference = sum(
        -line.company_minor if line.credit_minor else line.company_minor
        for line in lines
        if line.company_minor is not None
    )
    if difference:
        return (
            RefusalKind.UNBALANCED,
            str(difference),
            f"{what} differ by {difference} minor units of the company's currency",
        )
    return None


def _check_bill(bill: Bill) -> _Finding | None:
    if bill.vendor is not None and not bill.vendor.code.strip():
        return RefusalKind.UNKNOWN_VENDOR, bill.vendor.code, "the vendor has no code"
    if not bill.payable.code.strip():
        return RefusalKind.UNKNOWN_ACCOUNT, bill.payable.code, "the documents name no payable account"
    for document in bill.documents:
        finding = _check_document(document, bill.payable.code)
        if finding is not None:
            return finding
    return None


def _check_document(document: Document, payable: str) -> _Finding | None:
    if not document.lines:
        return RefusalKind.UNBALANCED, document.kind, f"the {_words(document)} has no lines"
    if (document.owed_minor < 0) if document.kind in _RAISING else (document.owed_minor > 0):
        return RefusalKind.OTHER, str(document.owed_minor), f"a {_words(document)} of {document.owed_minor} is none"
    finding = _check_balance(document.lines, f"debits and credits of the {_words(document)}")
    if finding is not None:
        return finding
    raised = -sum(line.amount_minor for line in document.lines if line.account.code == payable)
    if raised != document.owed_minor:
        return (
            RefusalKind.UNBALANCED,
            str(document.owed_minor),
            f"the {_words(document)} raises account {payable} by {raised}, but what is owed by {document.owed_minor}",
        )
    return None


def _words(document: Document) -> str:
    return document.kind.value.replace("_", " ")


def _check_company_currency(entry: Entry, reference: Reference) -> _Finding | None:
    books = reference.company_currency
    if entry.company_currency == books or (entry.company_currency is None and entry.currency == books):
        return None
    kept = f"in {books}" if books else "in each entry's own currency"
    return RefusalKind.OTHER, entry.company_currency or entry.currency, f"the books are kept {kept}"


def _check_journals(entry: Entry, reference: Reference) -> _Finding | None:
    if reference.chart is None:
        return None
    missing: JournalUse | None = None
    if isinstance(entry, Bill):
        missing = next((JOURNAL_USES[one.kind] for one in entry.documents if not one.journal.strip()), None)
    elif isinstance(entry, JournalEntry) and not entry.journal.strip():
        missing = JournalUse.GENERAL
    return None if missing is None else (RefusalKind.MISSING_JOURNAL, missing.value, "no journal is given")


def _check_payable(entry: Entry, reference: Reference) -> _Finding | None:
    if not isinstance(entry, Bill):
        return None
    if reference.chart is not None and entry.payable.code not in reference.chart:
        return RefusalKind.UNKNOWN_ACCOUNT, entry.payable.code, "there is no such account"
    if reference.vendors is None or entry.vendor is None:
        return None
    known = reference.vendors.by_code(entry.vendor.code)
    if known is None:
        return RefusalKind.UNKNOWN_VENDOR, entry.vendor.code, "there is no such vendor"
    return (RefusalKind.UNKNOWN_VENDOR, entry.vendor.code, "the vendor is blocked") if known.blocked else None


def _check_supplier(money: Money | None) -> _Finding | None:
    return None if money is None else _check_size(money.amount_minor)


def _check_size(amount_minor: int) -> _Finding | None:
    if abs(amount_minor) <= MAX_AMOUNT_MINOR:
        return None
    return (
        RefusalKind.OTHER,
        str(amount_minor),
        f"an amount is at most {MAX_AMOUNT_MINOR} minor units",
    )
