"""What is wrong with an entry before anything is sent: by itself, by the system's limits, by the names it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from blocks.erp.base import Capabilities
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Document, DocumentKind, Entry, JournalEntry, Line
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.reference import JOURNAL_USES, JournalUse, Reference, check_names
from blocks.erp.remote.names import ByCode, Currency, Journal

Finding = tuple[RefusalKind, str, str]
"""Kind, subject and message of a refusal."""


def check_entry(entry: Entry, *, company_id: str, limits: Capabilities, reference: Reference) -> Refused | None:
    """The first thing that is wrong with an entry, or None. What only one system can know it checks itself."""
    finding = _check_company(entry, company_id) or _check_limits(entry, limits)
    finding = finding or check_sums(entry, limits.max_amount_minor) or _check_currency(entry, reference, limits.name)
    if finding is None:
        refused = check_names(entry, reference)
        if refused is not None:
            return refused
    finding = finding or check_period(entry, reference, limits.name)
    finding = finding or _check_vendor(entry, reference, limits.name) or check_journals(entry)
    return None if finding is None else Refused(entry.accounting_entry_id, *finding)


def _check_company(entry: Entry, company_id: str) -> Finding | None:
    if entry.company_id.lower() == company_id.lower():
        return None
    text = f"the entry is of company {entry.company_id}, and this run of {company_id}"
    return RefusalKind.OTHER, entry.company_id, text


def _check_limits(entry: Entry, limits: Capabilities) -> Finding | None:
    if isinstance(entry, Bill) and not limits.bills:
        need = f": {limits.bills_need}" if limits.bills_need else ""
        return RefusalKind.OTHER, "bill", f"{limits.name} keeps no bills{need}"
    dimension = next((one for line in entry.all_lines for one in line.dimensions), None)
    if dimension is not None and not limits.dimensions:
        return RefusalKind.UNKNOWN_DIMENSION, dimension.code, f"{limits.name} has no dimensions"
    return None


def check_sums(entry: Entry, max_amount_minor: int) -> Finding | None:
    """What does not add up: each document by itself, in the entry's currency and in the company's."""
    parts = [document.lines for document in entry.documents] if isinstance(entry, Bill) else [entry.all_lines]
    if not entry.all_lines:
        return RefusalKind.UNBALANCED, "lines", "the entry has no lines"
    for lines in parts:
        if sum(line.amount_minor for line in lines):
            return RefusalKind.UNBALANCED, "lines", "debits and credits differ"
        if sum(_company_minor(line) for line in lines):
            return RefusalKind.UNBALANCED, "lines", "debits and credits differ in the company's currency"
    if abs(sum(line.amount_minor for line in entry.all_lines if line.counter)) != abs(entry.amount_minor):
        return RefusalKind.UNBALANCED, "amount", "the entry does not settle its amount"
    for line in entry.all_lines:
        if line.debit_minor < 0 or line.credit_minor < 0 or (line.debit_minor and line.credit_minor):
            return RefusalKind.OTHER, line.account.code, "a line is a debit or a credit, and never negative"
        if max(line.debit_minor, line.credit_minor, line.company_minor or 0) > max_amount_minor:
            return RefusalKind.OTHER, line.account.code, "the amount is larger than can be recorded"
        if entry.company_currency not in (None, entry.currency) and line.company_minor is None:
            return RefusalKind.UNBALANCED, entry.currency, f"the amount in {entry.company_currency} is missing"
    return None


def _company_minor(line: Line) -> int:
    size = line.debit_minor + line.credit_minor if line.company_minor is None else line.company_minor
    return size if line.debit_minor else -size


def _check_currency(entry: Entry, reference: Reference, system: str) -> Finding | None:
    company = reference.company_currency
    if company in (None, entry.currency, entry.company_currency):
        return None
    text = f"{system} keeps its books in {company}, and no rate is known for {entry.currency}"
    return RefusalKind.OTHER, entry.currency, text


def check_period(entry: Entry, reference: Reference, system: str) -> Finding | None:
    """A day on which nothing may be posted."""
    if reference.periods is None or reference.periods.is_open(entry.posting_date):
        return None
    day = entry.posting_date.isoformat()
    return RefusalKind.CLOSED_PERIOD, day, f"The period of {day} is closed in {system}, or there is none."


def _check_vendor(entry: Entry, reference: Reference, system: str) -> Finding | None:
    if not isinstance(entry, Bill) or entry.vendor is None or reference.vendors is None:
        return None
    known = reference.vendors.by_code(entry.vendor.code)
    if known is not None and not known.blocked:
        return None
    return RefusalKind.UNKNOWN_VENDOR, entry.vendor.code, f"{system} has no active vendor {entry.vendor.code}"


def journals_of(entry: Entry) -> list[tuple[JournalUse, str]]:
    """The journals that an entry is recorded in, with what each is used for."""
    if isinstance(entry, Bill):
        return [(JOURNAL_USES[document.kind], document.journal) for document in entry.documents]
    return [(JournalUse.GENERAL, entry.journal)] if isinstance(entry, JournalEntry) else []


def check_journals(entry: Entry) -> Finding | None:
    """A journal that is not set up."""
    for use, journal in journals_of(entry):
        if not journal:
            return RefusalKind.MISSING_JOURNAL, use.value, f"no journal is set up for {use.value.replace('_', ' ')}"
    return None


# What systems check that know their currencies, journals and accounts by code (`blocks.erp.remote.names`)


def with_reason(refused: Refused, *, accounts: Mapping[str, object], taxes: Mapping[str, object]) -> Refused:
    """The same with what the system has in place of a code that leads nowhere: an archived one, or two of it."""
    names = {RefusalKind.UNKNOWN_ACCOUNT: accounts, RefusalKind.UNKNOWN_TAX_CODE: taxes}
    known = names.get(refused.kind)
    return replace(refused, message=known.why_not(refused.subject)) if isinstance(known, ByCode) else refused


def is_invoice(entry: Bill, document: Document) -> bool:
    """Whether a document becomes a vendor's invoice: payments are entries, and so is a bill that nobody sent."""
    return entry.vendor is not None and document.kind in {DocumentKind.BILL, DocumentKind.CREDIT_NOTE}


def is_invoiced(entry: Entry) -> bool:
    """Whether a vendor's invoice is among the documents of the entry."""
    return isinstance(entry, Bill) and any(is_invoice(entry, document) for document in entry.documents)


def check_digits(
    entry: Entry, currencies: Mapping[str, Currency], own: Currency, units: MinorUnits, system: str
) -> Finding | None:
    """A currency that is not there, amounts with more decimals than it has, or without their worth in the company's."""
    currency = currencies.get(entry.currency)
    if currency is None:
        return RefusalKind.OTHER, entry.currency, f"{system} has no active currency {entry.currency}: activate it there"
    for line in entry.all_lines:
        amounts = [(line.amount_minor, currency)]
        if currency.code != own.code:
            if line.company_minor is None:
                return RefusalKind.UNBALANCED, entry.currency, f"the amount in {own.code} is missing"
            amounts.append((line.company_minor, own))
        for minor, of in amounts:
            if of.amount_of(minor, units) is None:
                shown = units.amount(minor, of.code)
                return RefusalKind.OTHER, shown, f"{shown} has more decimals than {system} keeps of {of.code}"
    return None


def check_journal_types(
    entry: Entry, journals: Mapping[str, Journal], invoices_go_to: str, system: str
) -> Finding | None:
    """A journal that is not there, or that takes no invoices where the entry has one."""
    for use, code in journals_of(entry):
        journal = journals.get(code)
        if journal is None:
            why = journals.why_not(code) if isinstance(journals, ByCode) else f"{system} has no journal {code}"
            return RefusalKind.MISSING_JOURNAL, code or use.value, why
        of_invoices = use in {JournalUse.BILLS, JournalUse.CREDIT_NOTES} and is_invoiced(entry)
        if of_invoices and journal.type != invoices_go_to:
            needed = invoices_go_to.capitalize()
            text = f"Journal {code} is not of type {needed} in {system}, and vendors' bills need one that is."
            return RefusalKind.OTHER, code, text
    return None


def not_payable(entry: Bill, system: str) -> Finding:
    """The payable account of a bill is of another type."""
    code = entry.payable.code
    text = f"Account {code} is not of type Payable in {system}: choose another for accounts payable."
    return RefusalKind.OTHER, code, text


def takes_only(code: str, currency: str, entry: Entry, system: str) -> Finding:
    """An account takes only one currency, and it is not the entry's."""
    text = f"Account {code} takes only {currency} in {system}, and the expense is in {entry.currency}: choose another."
    return RefusalKind.OTHER, code, text
