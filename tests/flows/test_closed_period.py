"""An expense of a closed month under the three settings, from Pleo to the report."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from blocks.erp.entries import EntryState
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.settings import ClosedPeriod, ErpSettings
from flows.artifacts import summary_markdown
from flows.outcome import JobReport
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import an_item, entry_id

PERIODS = """first_date,last_date,state
2026-09-01,2026-09-30,closed
2026-10-01,2026-10-31,open
2026-11-01,2026-11-30,open
"""
IN_SEPTEMBER = an_item(1, date="2026-09-14T10:00:00Z")
IN_OCTOBER = an_item(2, date="2026-10-05T10:00:00Z")


@pytest.fixture
def at_work(at_work: Office) -> Office:
    """With a job of two months and a file of periods."""
    (at_work.books.parent / "periods.csv").write_text(PERIODS)
    at_work.sandbox.add_job_of([IN_SEPTEMBER, IN_OCTOBER])
    return at_work


async def exported(at_work: Office, setting: ClosedPeriod) -> JobReport:
    ledger = Ledger(at_work.books, charts=ChartFiles(periods=at_work.books.parent / "periods.csv"))
    report = await at_work.export(
        erp=ledger, settings=ErpSettings(closed_period=setting), now=lambda: datetime(2026, 11, 3, 9, tzinfo=UTC)
    )
    return report.jobs[0]


def dates(at_work: Office) -> list[tuple[object, ...]]:
    return at_work.journal(
        "SELECT accounting_entry_id, posting_date, original_date FROM entry ORDER BY accounting_entry_id"
    )


async def test_fail(at_work: Office) -> None:
    job = await exported(at_work, ClosedPeriod.FAIL)
    (failure,) = job.failures
    assert (failure.accounting_entry_id, failure.type) == (entry_id(1), "accounting_system_validation_failure")
    assert "2026-09-14" in failure.reason
    assert "closed" in failure.reason
    assert dates(at_work) == [(entry_id(2), "2026-10-05", "2026-10-05")]


@pytest.mark.parametrize(
    ("setting", "day"), [(ClosedPeriod.NEXT_OPEN, "2026-10-01"), (ClosedPeriod.TODAY, "2026-11-03")]
)
async def test_another_day_keeps_the_original_date_and_shows_it(
    at_work: Office, setting: ClosedPeriod, day: str
) -> None:
    job = await exported(at_work, setting)
    assert job.failures == []
    assert dates(at_work) == [(entry_id(1), day, "2026-09-14"), (entry_id(2), "2026-10-05", "2026-10-05")]
    note = f"PX-000001 is dated {day}, as the period of 2026-09-14 is closed"
    assert job.notices == [note]
    assert note.split(",")[1].replace("-", "\\-") in summary_markdown(job)
    beancount = at_work.books.with_suffix(".beancount").read_text()
    assert "original-date: 2026-09-14" in beancount


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_draft_whose_period_was_closed_since_fails_alike_in_a_dry_run(at_work: Office, dry_run: bool) -> None:
    (job,) = at_work.sandbox.jobs()
    await at_work.export()
    at_work.sandbox.export_again(job.id)
    ledger = Ledger(at_work.books, charts=ChartFiles(periods=at_work.books.parent / "periods.csv"))
    report = await at_work.export(erp=ledger, settings=ErpSettings(posting=EntryState.POSTED), dry_run=dry_run)
    (failure,) = report.jobs[0].failures
    assert (report.exit_status, failure.accounting_entry_id, failure.type, failure.reason) == (
        3,
        entry_id(1),
        "accounting_system_validation_failure",
        "the posting date lies in a closed period: 2026-09-14 (PX-000001 stays a draft.)",
    )
