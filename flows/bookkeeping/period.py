"""The date that an expense is booked on."""

from __future__ import annotations

from datetime import date, time, tzinfo

from blocks.pleo.items import ExportItem
from flows.failures import invalid


def accounting_date(item: ExportItem, zone: tzinfo) -> date:
    """The calendar date of the item's `date` in the company's time zone. A service period never changes it.

    A time of exactly 00:00:00Z is a calendar date, and is never shifted to another day.
    """
    if item.date.time() == time(0):
        return item.date.date()
    try:
        return item.date.astimezone(zone).date()
    except OverflowError:
        raise invalid(f"The date {item.date:%Y-%m-%d} is beyond what a calendar holds.") from None
