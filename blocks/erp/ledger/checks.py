"""What is wrong with an entry by itself, told without looking into any books."""

from __future__ import annotations

from blocks.erp.entries import Entry, Line, Money
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger.schema import MAX_AMOUNT_MINOR

_Finding = tuple[RefusalKind, str, str]


def check_entry(entry: Entry, company_id: str | None) -> Refused | None:
    """Why the ledger of `company_id` would refuse an entry whatever else it holds, or None."""
    finding = _check_header(entry, company_id) or _check_lines(entry) or _check_sums(entry)
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
    return _check_size(entry.amount_minor) or _check_supplier(entry.supplier)


def _check_lines(entry: Entry) -> _Finding | None:
    if not entry.all_lines:
        return RefusalKind.UNBALANCED, "lines", "the entry has no lines"
    for line in entry.all_lines:
        finding = _check_line(line)
        if finding is not None:
            return finding
    return None


def _check_line(line: Line) -> _Finding | None:
    if not line.account.code.strip():
        return RefusalKind.UNKNOWN_ACCOUNT, line.account.code, "a line names no account"
    for amount in (line.debit_minor, line.credit_minor):
        if amount < 0:
            return RefusalKind.OTHER, str(amount), "a debit or credit is never negative"
    if line.debit_minor and line.credit_minor:
        return RefusalKind.OTHER, line.account.code, "a line is a debit or a credit, not both"
    return _check_size(line.debit_minor) or _check_size(line.credit_minor) or _check_supplier(line.supplier)


def _check_sums(entry: Entry) -> _Finding | None:
    if entry.difference_minor:
        return (
            RefusalKind.UNBALANCED,
            str(entry.difference_minor),
            f"debits and credits differ by {entry.difference_minor} minor units",
        )
    counter = sum(line.debit_minor - line.credit_minor for line in entry.all_lines if line.counter)
    if abs(counter) != abs(entry.amount_minor):
        return (
            RefusalKind.UNBALANCED,
            str(entry.amount_minor),
            f"the counter lines add up to {counter}, the amount of the entry is {entry.amount_minor}",
        )
    return _check_size(sum(line.debit_minor for line in entry.all_lines))


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
