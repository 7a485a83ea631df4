"""What bookkeeping knows besides the item, and on which day it books an expense therefore."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, tzinfo

from blocks.erp.base import Capabilities
from blocks.erp.reference import JOURNAL_USES, JournalUse, Reference
from blocks.erp.settings import ClosedPeriod, ErpSettings
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from flows.failures import ItemFails, invalid, missing


@dataclass(frozen=True, slots=True)
class BookingContext:
    """The job, the settings, and the accounting system's reference data and limits.

    `today` is the company's date now; it is needed where expenses of a closed period are booked today.
    """

    job_id: str
    company_id: str
    reference: Reference
    limits: Capabilities
    settings: ErpSettings = field(default_factory=ErpSettings)
    today: date | None = None

    def journal(self, use: JournalUse) -> str:
        """The code of the journal for that use; fails the item where none is set up.

        The kinds of journal entries stand in the general journal where they have none of their own.
        """
        journals = self.reference.journals
        if use not in JOURNAL_USES.values() and not journals.get(use):
            use = JournalUse.GENERAL
        code = journals.get(use)
        if not code:
            raise missing(f"Journal {use.replace('_', ' ')}")
        return code

    def posting_date(self, original: date) -> date:
        """The date that an expense of that date is booked on; fails the item where no period is open for it."""
        periods = self.reference.periods
        if periods is None or periods.is_open(original):
            return original
        match self.settings.closed_period:
            case ClosedPeriod.NEXT_OPEN:
                later = periods.next_open(original)
                if later is None:
                    what_to_do = "and no later one is open. Open a period there and export the expense again."
                    raise _closed(original, what_to_do)
                return later
            case ClosedPeriod.TODAY:
                if self.today is None:
                    raise _closed(original, "and this run does not know which day is today. Export the expense again.")
                if not periods.is_open(self.today):
                    what_to_do = f"and so is that of {self.today}. Open it there and export the expense again."
                    raise _closed(original, what_to_do)
                return self.today
            case _:
                raise _closed(
                    original,
                    "Open it there, or let the settings (closed_period) book such expenses on an open day, "
                    "and export the expense again.",
                    ".",
                )


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


def _closed(day: date, what_to_do: str, mark: str = ",") -> ItemFails:
    return ItemFails(
        ItemFailure.ERP_VALIDATION, f"The period of {day} is closed in the accounting system{mark} {what_to_do}"
    )
