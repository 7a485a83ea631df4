"""What is wrong with an entry before anything is sent: by itself, by the system's limits, by the names it gives."""

from __future__ import annotations

from blocks.erp.base import Capabilities
from blocks.erp.entries import Bill, Entry, JournalEntry, Line
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.reference import JOURNAL_USES, JournalUse, Reference, check_names

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
