"""Why an entry is refused before Odoo is asked: told from what was read of it. Odoo itself would take much of this in
silence: a locked day is moved, a currency without a rate counts as one to one, a tenth of a cent is rounded."""

from __future__ import annotations

from datetime import date, timedelta

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry, JournalEntry
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.odoo.directory import Directory, Locks
from blocks.erp.odoo.payloads import MAX_NUMBER, amount_of, is_invoice
from blocks.erp.reference import JOURNAL_USES, JournalUse, check_names
from blocks.erp.remote.checks import Finding, check_sums

MAX_DESCRIPTION = 200
MAX_REFERENCE = 80
MAX_AMOUNT_MINOR = 10**13
"""Odoo reckons with floats, which are exact for amounts of this size, and sums of many of them."""


def check_entry(entry: Entry, directory: Directory, units: MinorUnits, today: date) -> Refused | None:
    """The first thing that is wrong with an entry, or None. `today` is the day of the clock, somewhere on earth."""
    finding = check_sums(entry, MAX_AMOUNT_MINOR)
    if finding is None:
        refused = check_names(entry, directory.reference)
        if refused is not None:
            return _with_reason(refused, entry, directory)
    finding = finding or _check_texts(entry) or _check_day(entry, directory.locks, today)
    finding = finding or _check_currency(entry, directory, units)
    finding = finding or (_check_bill(entry, directory) if isinstance(entry, Bill) else None)
    finding = finding or _check_journals(entry, directory) or _check_lines(entry, directory)
    return None if finding is None else Refused(entry.accounting_entry_id, *finding)


def locked(entry_id: str, day: date, locks: Locks) -> Refused:
    """The refusal of a day that is locked."""
    until = locks.until.isoformat() if locks.until is not None else "then"
    text = f"The period of {day.isoformat()} is closed in Odoo, whose lock date is {until}."
    return Refused(entry_id, RefusalKind.CLOSED_PERIOD, day.isoformat(), text)


def _with_reason(refused: Refused, entry: Entry, directory: Directory) -> Refused:
    """The same with what Odoo has in place of it: an archived one, or two of that code."""
    match refused.kind:
        case RefusalKind.UNKNOWN_ACCOUNT:
            why = directory.accounts.why_not(refused.subject)
        case RefusalKind.UNKNOWN_TAX_CODE:
            why = directory.taxes.why_not(refused.subject)
        case _:
            return refused
    return Refused(entry.accounting_entry_id, refused.kind, refused.subject, why)


def _check_texts(entry: Entry) -> Finding | None:
    number = entry.invoice_number if isinstance(entry, Bill) else ""
    for text, most, what in (
        (entry.description, MAX_DESCRIPTION, "description"),
        (entry.reference, MAX_REFERENCE, "reference"),
        (number, MAX_NUMBER, "invoice number"),
    ):
        if len(text) > most:
            return RefusalKind.OTHER, what, f"the {what} has {len(text)} characters, and Odoo gets at most {most}"
    return None


def _check_day(entry: Entry, locks: Locks, today: date) -> Finding | None:
    day = entry.posting_date
    if locks.cover(day):
        refused = locked(entry.accounting_entry_id, day, locks)
        return refused.kind, refused.subject, refused.message
    if day > today + timedelta(days=1):  # somewhere it is tomorrow already
        text = f"{day.isoformat()} lies in the future, and Odoo would post it all the same: export it when it has come"
        return RefusalKind.OTHER, day.isoformat(), text
    return None


def _check_currency(entry: Entry, directory: Directory, units: MinorUnits) -> Finding | None:
    currency = directory.currencies.get(entry.currency)
    if currency is None:
        return RefusalKind.OTHER, entry.currency, f"Odoo has no active currency {entry.currency}: activate it there"
    foreign = currency.code != directory.currency.code
    for line in entry.all_lines:
        if amount_of(line.amount_minor, currency, units) is None:
            amount = units.amount(line.amount_minor, currency.code)
            return RefusalKind.OTHER, amount, f"{amount} has more decimals than Odoo keeps of {currency.code}"
        if foreign and line.company_minor is None:
            return RefusalKind.UNBALANCED, entry.currency, f"the amount in {directory.currency.code} is missing"
        if foreign and amount_of(line.company_minor or 0, directory.currency, units) is None:
            amount = units.amount(line.company_minor or 0, directory.currency.code)
            return RefusalKind.OTHER, amount, f"{amount} has more decimals than Odoo keeps"
    return None


def _check_bill(entry: Bill, directory: Directory) -> Finding | None:
    if entry.vendor is None:
        return None
    vendors = directory.reference.vendors
    known = vendors.by_code(entry.vendor.code) if vendors is not None else None
    if known is None or known.blocked:
        why = "is archived in Odoo" if known is not None else "is no vendor in Odoo"
        return RefusalKind.UNKNOWN_VENDOR, entry.vendor.code, f"{entry.vendor.code} {why}"
    if not directory.accounts[entry.payable.code].payable:
        text = f"Account {entry.payable.code} is not of type Payable in Odoo: choose another for accounts payable."
        return RefusalKind.OTHER, entry.payable.code, text
    return None


def _check_journals(entry: Entry, directory: Directory) -> Finding | None:
    named: list[tuple[str, JournalUse, bool]] = []
    if isinstance(entry, Bill):
        named = [(one.journal, JOURNAL_USES[one.kind], is_invoice(entry, one)) for one in entry.documents]
    elif isinstance(entry, JournalEntry):
        named = [(entry.journal, JournalUse.GENERAL, False)]
    for code, use, invoiced in named:
        journal = directory.journals.get(code)
        if journal is None:
            return RefusalKind.MISSING_JOURNAL, code or use.value, directory.journals.why_not(code)
        if invoiced and journal.type != "purchase":
            text = f"Journal {code} is not of type Purchase in Odoo, and vendor bills need one that is."
            return RefusalKind.OTHER, code, text
    return None


def _check_lines(entry: Entry, directory: Directory) -> Finding | None:
    for line in entry.all_lines:
        only = directory.accounts[line.account.code].currency
        if only not in (None, entry.currency):
            code = line.account.code
            text = f"Account {code} takes only {only} in Odoo, and the expense is in {entry.currency}: choose another."
            return RefusalKind.OTHER, code, text
        groups = [one.group for one in line.dimensions]
        twice = next((group for group in groups if groups.count(group) > 1), None)
        if twice is not None:
            text = f"a line has one value of the dimension {twice} in Odoo, and the expense has several"
            return RefusalKind.UNKNOWN_DIMENSION, twice, text
    return None
