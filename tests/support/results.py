"""Reports of runs as the export makes them, put together by hand: for tests of what people are shown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from blocks.pleo.models import ItemFailure, ItemStatus
from flows.failures import Failure
from flows.outcome import Ending, JobReport, RunReport
from flows.results import Facts, Row, failed
from tests.support.pleo.pleo_items import entry_id

JOB_ID = "11111111-2222-4333-8444-555555555555"
COMPANY_ID = "99999999-8888-4777-a666-555555555555"
WHY = Failure(ItemFailure.VALIDATION, "The amounts do not add up.")


def facts(**changes: Any) -> Facts:
    """A train ticket of 89.95 DKK that Ann paid, with Pleo's link."""
    known: dict[str, Any] = {
        "type": "card_purchase",
        "date": date(2026, 10, 5),
        "supplier": "DSB",
        "employee": "Ann Example",
        "currency": "DKK",
        "amount_minor": 8995,
        "pleo_url": "https://app.pleo.io/expenses/1",
    }
    return Facts(**{**known, **changes})


def booked(number: int, *, found: bool = False, notice: str | None = None, **changes: Any) -> Row:
    """The row of an item that is booked, as Pleo states it."""
    known = facts(**changes)
    return Row(
        entry_id(number),
        ItemStatus.SUCCESSFUL,
        external_id=f"PX-{number:06}",
        external_url=f"http://127.0.0.1:5000/books/PX-{number:06}",
        exported_at=datetime(2026, 11, 30, 15, 55, 36, tzinfo=UTC),
        book_minor=known.amount_minor,
        found=found,
        notice=notice,
        facts=known,
    )


def unbooked(number: int, reason: str = WHY.reason, type_: ItemFailure = WHY.type, **changes: Any) -> Row:
    """The row of an item that failed."""
    return failed(entry_id(number), Failure(type_, reason), facts(**changes))


def job_of(rows: Iterable[Row], *, acknowledged: bool = True, **changes: Any) -> JobReport:
    """The report of a job with these results, all of which Pleo has taken unless a test wants it otherwise."""
    job = JobReport(JOB_ID, COMPANY_ID, **{"ending": Ending.COMPLETED_WITH_ERRORS, **changes})
    job.results.add(rows)
    if acknowledged:
        job.results.acknowledge(job.results.frame["accounting_entry_id"])
    return job


def run_of(*jobs: JobReport) -> RunReport:
    """The report of a run over these jobs."""
    return RunReport(jobs=list(jobs))
