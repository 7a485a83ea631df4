"""The date that an expense is booked on."""

from __future__ import annotations

from datetime import date, datetime, time, tzinfo

from blocks.erp.settings import ClosedPeriod
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from flows.bookkeeping.books import Books
from flows.failures import ItemFails, invalid


def accounting_date(item: ExportItem, zone: tzinfo) -> date:
    """The calendar date of the item's `date` in the company's time zone. A service period never changes it."""
    try:
        return calendar_date(item.date, zone)
    except OverflowError:
        raise invalid(f"The date {item.date:%Y-%m-%d} is beyond what a calendar holds.") from None


def calendar_date(moment: datetime, zone: tzinfo) -> date:
    """The date of a time in UTC where the company is; raises OverflowError where there is none.

    A time of exactly 00:00:00Z is a calendar date, and is never shifted to another day.
    """
    return moment.date() if moment.time() == time(0) else moment.astimezone(zone).date()


def posting_date(original: date, books: Books) -> date:
    """The date that an expense of that date is booked on; fails the item where no period is open for it."""
    periods = books.reference.periods
    if periods is None or periods.is_open(original):
        return original
    match books.settings.closed_period:
        case ClosedPeriod.NEXT_OPEN:
            later = periods.next_open(original)
            if later is None:
                raise _closed(original, "and no later one is open. Open a period there and export the expense again.")
            return later
        case ClosedPeriod.TODAY:
            if books.today is None:
                raise _closed(original, "and this run does not know which day is today. Export the expense again.")
            if not periods.is_open(books.today):
                raise _closed(original, f"and so is that of {books.today}. Open it there and export the expense again.")
            return books.today
        case _:
            raise _closed(
                original,
                "Open it there, or let the settings (closed_period) book such expenses on an open day, "
                "and export the expense again.",
                ".",
            )


def _closed(day: date, what_to_do: str, mark: str = ",") -> ItemFails:
    return ItemFails(
        ItemFailure.ERP_VALIDATION, f"The period of {day} is closed in the accounting system{mark} {what_to_do}"
    )
