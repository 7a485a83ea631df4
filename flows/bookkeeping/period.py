"""The date that an expense is booked on."""

from __future__ import annotations

from datetime import date

from blocks.pleo.models import ExportItem


def accounting_date(item: ExportItem) -> date:
    """The calendar date of the item's `date`, in UTC. A service period never changes it."""
    return item.date.date()
