"""What an entry says: Pleo's codes and texts made fit for books, and what is told of the expense in words.

A cut code would be the code of something else, so one that is too long fails its item; texts for people are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, tzinfo

from blocks.erp.entries import Details
from blocks.pleo.items import ExportItem, InvoiceInformation
from blocks.text import is_formula, no_formula, one_line, visible
from flows.bookkeeping.context import calendar_date
from flows.failures import invalid

UNKNOWN_ID = "00000000-0000-0000-0000-000000000000"
"""The id that Pleo stores where the user chose "I don't know", for an account or a tag."""

MAX_CODE = 60
_READ = 4096  # characters; of a longer one its beginning is too long already


def clean_code(text: str | None) -> str:
    """A code as one line, of any sensible length and without what nobody sees in it; empty where there is none, or
    nobody chose one."""
    code = one_line(visible((text or "")[:_READ]).strip(), 4 * MAX_CODE)
    return "" if code == UNKNOWN_ID else code


def checked_code(code: str, what: str) -> str:
    """The code itself; fails the item where it is longer than books keep. `what` names it: account number, tax code."""
    if len(code) > MAX_CODE:
        raise invalid(f"The {what} {one_line(code, MAX_CODE)} is longer than {MAX_CODE} characters.")
    return code


def new_code(code: str, what: str) -> str:
    """A code that the books are to open as Pleo names it; fails the item where it is too long, or a formula."""
    if is_formula(code):
        raise invalid(f"The {what} {one_line(code, MAX_CODE)} would be a formula in a spreadsheet, and is no code.")
    return checked_code(code, what)


def description_of(item: ExportItem, limit: int) -> str:
    """Supplier, employee and note as one line (Pleo: Data Mapping); the type where all three are missing."""
    parts = (
        item.supplier.name if item.supplier is not None else None,
        item.user.name if item.user is not None else None,
        item.note,
    )
    text = " · ".join(line for part in parts if part and (line := one_line(part, limit)))
    return _words(text or item.type.replace("_", " "), limit)


def reference_of(item: ExportItem, limit: int) -> str:
    """Pleo's own reference of the expense, its reconciliation id."""
    information = item.additional_information
    return _words((information.reconciliation_id if information is not None else None) or "", limit)


def invoice_of(item: ExportItem) -> InvoiceInformation | None:
    """What Pleo knows of the invoice behind the expense."""
    return item.additional_information.invoice_information if item.additional_information is not None else None


def details_of(item: ExportItem, limit: int, zone: tzinfo) -> Details:
    """All else that informs; dates are calendar dates of the company, and an odd one is left out."""
    information = item.additional_information
    invoice = invoice_of(item) or InvoiceInformation()
    period = item.service_period
    service_from = _day(period.from_, zone) if period is not None else None
    service_to = _day(period.to, zone) if period is not None else None
    if service_from is not None and service_to is not None and service_to < service_from:
        service_from = service_to = None
    country, tax_number = _tax_domicile(item, limit)
    return Details(
        note=_words(item.note or "", limit),
        attendees=_joined(information.attendees if information is not None else None, limit),
        employee=_words(clean_code(item.user.code), limit) if item.user is not None else "",
        team=_words(clean_code(item.team.code), limit) if item.team is not None else "",
        settles=_joined(information.reconciled_entries if information is not None else None, limit),
        invoice_number=_words(invoice.invoice_number or "", limit),
        invoice_date=_day(invoice.invoice_date, zone),
        due_date=_day(invoice.due_date, zone),
        payment_date=_day(invoice.payment_date, zone),
        service_from=service_from,
        service_to=service_to,
        sub_type=_words(item.sub_type or "", limit),
        supplier_country=country,
        supplier_tax_number=tax_number,
    )


def _tax_domicile(item: ExportItem, limit: int) -> tuple[str, str]:
    """Country and tax number of the vendor, or where it has neither of the supplier: of one of them, never of both."""
    vendor, supplier = item.vendor, item.supplier
    told = [(vendor.country, vendor.tax_registration_number)] if vendor is not None else []
    told += [(supplier.country, supplier.tax_identifier)] if supplier is not None else []
    for country, number in told:
        code = clean_code(country).upper()
        known = code if len(code) == 2 and code.isascii() and code.isalpha() else "", _words(clean_code(number), limit)
        if any(known):
            return known
    return "", ""


def _joined(texts: Sequence[str | None] | None, limit: int) -> str:
    joined = ""
    for text in texts or ():
        line = one_line(text or "", limit + 1)
        joined += f", {line}" if joined and line else line
        if len(joined) > limit:
            break
    return _words(joined, limit)


def _words(text: str, limit: int) -> str:
    """A text for people as one line, which stays a text in whatever they open it with."""
    return no_formula(one_line(text, limit), limit)


def _day(moment: datetime | None, zone: tzinfo) -> date | None:
    try:
        return calendar_date(moment, zone) if moment is not None else None
    except OverflowError:
        return None
