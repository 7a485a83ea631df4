"""Why an entry is refused before Odoo is asked: told from what was read of it. Odoo itself would take much of this in
silence: a locked day is moved, a currency without a rate counts as one to one, a tenth of a cent is rounded."""

from __future__ import annotations

from datetime import date, timedelta

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.odoo.directory import Directory, Locks
from blocks.erp.odoo.payloads import MAX_NUMBER
from blocks.erp.reference import check_names
from blocks.erp.remote import checks

MAX_DESCRIPTION = 200
MAX_REFERENCE = 80
MAX_AMOUNT_MINOR = 10**13
"""Odoo reckons with floats, which are exact for amounts of this size, and sums of many of them."""


def check_entry(entry: Entry, directory: Directory, units: MinorUnits, today: date) -> Refused | None:
    """The first thing that is wrong with an entry, or None. `today` is the day of the clock, somewhere on earth."""
    finding = checks.check_sums(entry, MAX_AMOUNT_MINOR)
    if finding is None:
        refused = check_names(entry, directory.reference)
        if refused is not None:
            return checks.with_reason(refused, accounts=directory.accounts, taxes=directory.taxes)
    finding = finding or _check_texts(entry) or _check_day(entry, directory.locks, today)
    finding = finding or checks.check_digits(entry, directory.currencies, directory.currency, units, "Odoo")
    finding = finding or (_check_bill(entry, directory) if isinstance(entry, Bill) else None)
    finding = finding or checks.check_journal_types(entry, directory.journals, "purchase", "Odoo")
    finding = finding or _check_lines(entry, directory)
    return None if finding is None else Refused(entry.accounting_entry_id, *finding)


def locked(entry_id: str, day: date, locks: Locks) -> Refused:
    """The refusal of a day that is locked."""
    until = locks.until.isoformat() if locks.until is not None else "then"
    text = f"The period of {day.isoformat()} is closed in Odoo, whose lock date is {until}."
    return Refused(entry_id, RefusalKind.CLOSED_PERIOD, day.isoformat(), text)


def _check_texts(entry: Entry) -> checks.Finding | None:
    number = entry.invoice_number if isinstance(entry, Bill) else ""
    for text, most, what in (
        (entry.description, MAX_DESCRIPTION, "description"),
        (entry.reference, MAX_REFERENCE, "reference"),
        (number, MAX_NUMBER, "invoice number"),
    ):
        if len(text) > most:
            return RefusalKind.OTHER, what, f"the {what} has {len(text)} characters, and Odoo gets at most {most}"
    return None


def _check_day(entry: Entry, locks: Locks, today: date) -> checks.Finding | None:
    day = entry.posting_date
    if locks.cover(day):
        refused = locked(entry.accounting_entry_id, day, locks)
        return refused.kind, refused.subject, refused.message
    if day > today + timedelta(days=1):  # somewhere it is tomorrow already
        text = f"{day.isoformat()} lies in the future, and Odoo would post it all the same: export it when it has come"
        return RefusalKind.OTHER, day.isoformat(), text
    return None


def _check_bill(entry: Bill, directory: Directory) -> checks.Finding | None:
    if entry.vendor is None:
        return None
    vendors = directory.reference.vendors
    known = vendors.by_code(entry.vendor.code) if vendors is not None else None
    if known is None or known.blocked:
        why = "is archived in Odoo" if known is not None else "is no vendor in Odoo"
        return RefusalKind.UNKNOWN_VENDOR, entry.vendor.code, f"{entry.vendor.code} {why}"
    if not directory.accounts[entry.payable.code].payable:
        return checks.not_payable(entry, "Odoo")
    return None


def _check_lines(entry: Entry, directory: Directory) -> checks.Finding | None:
    for line in entry.all_lines:
        only = directory.accounts[line.account.code].currency
        if only is not None and only != entry.currency:
            return checks.takes_only(line.account.code, only, entry, "Odoo")
        groups = [one.group for one in line.dimensions]
        twice = next((group for group in groups if groups.count(group) > 1), None)
        if twice is not None:
            text = f"a line has one value of the dimension {twice} in Odoo, and the expense has several"
            return RefusalKind.UNKNOWN_DIMENSION, twice, text
    return None
