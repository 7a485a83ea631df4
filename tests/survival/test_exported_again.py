"""The user presses Export again with the same expenses: what stands is found and told, never booked a second time.

Receipts that are added later see `tests/flows/receipts`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import EntryState
from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.sandbox.receipts import stored_url
from flows.outcome import RunReport
from tests.support.pleo.pleo_items import account, an_item, entry_id, line, money
from tests.support.pleo.watched_pleo import GET_DATA, PUT_ITEMS, Watched

ITEMS = 30
CHANGED = entry_id(7)


async def _exported(pleo: Watched, **settings: Any) -> str:
    """A job whose items all stand in the books."""
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    assert (await pleo.export(settings=ErpSettings(**settings))).exit_status == 0
    return job_id


def _told(pleo: Watched, job_id: str) -> dict[str, str | None]:
    return {item.accounting_entry_id: item.external_id for item in pleo.sandbox.items(job_id)}


async def test_unchanged_expenses_are_told_with_their_entries_ids_as_often_as_they_are_exported(pleo: Watched) -> None:
    job_id = await _exported(pleo)
    before, journal = pleo.booked(), pleo.journal()
    for _ in range(3):
        job_id = pleo.sandbox.export_again(job_id)
        report = await pleo.export()
        (job,) = report.jobs
        assert (report.exit_status, job.event, job.successful, job.found) == (0, "completed", ITEMS, ITEMS)
        assert dict(job.totals) == dict(job.books) == dict(job.reported) == {"DKK": ITEMS * 10_000}
        assert _told(pleo, job_id) == before
    assert pleo.journal() == journal


async def test_unchanged_and_new_expenses_in_one_job_are_told_apart(pleo: Watched) -> None:
    await _exported(pleo)
    before = pleo.booked()
    new = [an_item(n) for n in range(ITEMS, ITEMS + 5)]
    job_id = pleo.sandbox.add_job_of(new)
    pleo.put_in(job_id, before)
    report = await pleo.export()
    assert (report.exit_status, report.jobs[0].successful, report.jobs[0].found) == (0, ITEMS + 5, ITEMS)
    assert pleo.booked().items() >= before.items()
    assert pleo.entries() == ITEMS + 5


@pytest.mark.parametrize("dry_run", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"amount": money(12_345), "accountingEntryLines": [line(12_345)]}, "123.45 DKK"),
        ({"amount": money(-10_000), "accountingEntryLines": [line(-10_000)]}, "-100.00 DKK"),
        ({"amount": money(10_000, "EUR"), "accountingEntryLines": [line(10_000, "EUR")]}, "100.00 EUR"),
        pytest.param(
            {"amount": money(0), "accountingEntryLines": [line(0)]}, "0.00 DKK", marks=pytest.mark.slow, id="nothing"
        ),
    ],
)
async def test_another_amount_or_currency_fails_its_item_and_names_both(
    pleo: Watched, changes: dict[str, Any], now: str, dry_run: bool
) -> None:
    job_id = await _exported(pleo)
    journal = pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, changes)
    again = pleo.sandbox.export_again(job_id)
    report = await pleo.export(dry_run=dry_run)
    (job,) = report.jobs
    (failure,) = job.failures
    assert (report.exit_status, job.found, failure.accounting_entry_id) == (3, ITEMS - 1, CHANGED)
    assert (failure.type, "with 100.00 DKK" in failure.reason) == ("validation_failure", True)
    assert f"but Pleo now says {now}" in failure.reason
    assert pleo.booked()[CHANGED] in failure.reason
    assert pleo.journal() == journal
    wanted = {"pending": ITEMS} if dry_run else {"successful": ITEMS - 1, "failed": 1}
    assert pleo.sandbox.outcome(again) == wanted


@pytest.mark.parametrize("dry_run", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "changes",
    [{"accountingEntryLines": [line(10_000, account=account("6999"))]}, {"contraAccount": account("5999", "Wallet")}],
)
async def test_other_accounts_are_a_success_with_a_note(pleo: Watched, changes: dict[str, Any], dry_run: bool) -> None:
    job_id = await _exported(pleo)
    journal = pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, changes)
    pleo.sandbox.export_again(job_id)
    report = await pleo.export(dry_run=dry_run)
    (notice,) = report.jobs[0].notices
    assert (report.exit_status, report.jobs[0].found) == (0, ITEMS)
    assert f"{pleo.booked()[CHANGED]} stands on 5820, 6010, Pleo now says " in notice
    assert pleo.journal() == journal


async def test_again_while_the_first_job_is_still_open_takes_the_first_to_its_end_and_then_finds_all(
    pleo: Watched,
) -> None:
    """Pleo's API answers 409 then; an export by hand may come through all the same."""
    first = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    again: list[str] = []
    pleo.before(1, lambda: again.append(pleo.sandbox.export_again(first)), PUT_ITEMS)
    report = await pleo.export()
    assert [(job.job_id, job.found, job.event) for job in report.jobs] == [
        (first, 0, "completed"),
        (again[0], ITEMS, "completed"),
    ]
    assert _told(pleo, again[0]) == _told(pleo, first) == pleo.booked()


async def test_two_open_jobs_of_the_same_expenses_at_once_in_two_runs_book_each_once(
    pleo: Watched, tmp_path: Path
) -> None:
    """The second run cannot get at the ledger; what it was asked for is done by the next."""
    first = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    second = pleo.sandbox.export_again(first)
    others: list[RunReport] = []
    pleo.before(1, lambda: others.append(asyncio.run(pleo.export(job_id=second))), GET_DATA)
    report = await pleo.export(job_id=first)
    assert (report.jobs[0].event, others[0].exit_status, others[0].jobs) == ("completed", 0, [])
    report = await pleo.export(job_id=second)
    assert (report.jobs[0].event, report.jobs[0].found, pleo.entries()) == ("completed", ITEMS, ITEMS)


@pytest.mark.parametrize("dry_run", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_drafts_that_have_to_be_posted_now_are_posted_once_and_their_receipts_attached(
    pleo: Watched, dry_run: bool
) -> None:
    job_id = await _exported(pleo)
    file = {"url": stored_url("5f0d3c1a-0000-4000-8000-000000000001.pdf"), "type": "application/pdf"}
    for n in range(ITEMS):
        pleo.sandbox.edit_export_item(entry_id(n), {"files": [file]})
    attached = "SELECT count(*) FROM attachment"
    for run in (1, 2):
        job_id = pleo.sandbox.export_again(job_id)
        settings = ErpSettings(posting=EntryState.POSTED, attachments=Attachments.REQUIRED)
        report = await pleo.export(dry_run=dry_run, settings=settings)
        assert (report.exit_status, [job.found for job in report.jobs]) == (0, [ITEMS] * (run if dry_run else 1))
    ((state, entries),) = pleo.journal("SELECT state, count(DISTINCT external_id) FROM journal GROUP BY 1")
    assert (state, entries) == ("draft" if dry_run else "posted", ITEMS)
    assert pleo.journal(attached) == [(0 if dry_run else ITEMS,)]
