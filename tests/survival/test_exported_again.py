"""The user presses Export again with the same expenses: what stands is found and told, never booked a second time.

Receipts that are added later see `tests/flows/receipts`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.choices import Attachments, ChangedExpense
from blocks.erp.entries import EntryState
from blocks.erp.settings import ErpSettings
from blocks.pleo.sandbox.receipts import stored_url
from flows.outcome import RunReport
from tests.support.erp.ledger_samples import edit_lines
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


CHANGES: list[Any] = [
    ({"amount": money(12_345), "accountingEntryLines": [line(12_345)]}, "amount from 100.00 DKK to 123.45 DKK"),
    ({"amount": money(-10_000), "accountingEntryLines": [line(-10_000)]}, "amount from 100.00 DKK to -100.00 DKK"),
    ({"amount": money(10_000, "EUR"), "accountingEntryLines": [line(10_000, "EUR")]}, "100.00 DKK to 100.00 EUR"),
    pytest.param(
        {"amount": money(0), "accountingEntryLines": [line(0)]},
        "amount from 100.00 DKK to 0.00 DKK",
        marks=pytest.mark.slow,
        id="nothing",
    ),
    ({"accountingEntryLines": [line(10_000, account=account("6999"))]}, "line 1 account from 6010 to 6999"),
    pytest.param(
        {"contraAccount": account("5999", "Wallet")}, "contra account from 5820 to 5999", marks=pytest.mark.slow
    ),
    ({"type": "personal_spend"}, "type from card_purchase to personal_spend"),
    pytest.param({"date": "2026-10-06T10:00:00Z"}, "date from 2026-10-05T10:00:00+00:00 to", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("dry_run", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("changes", "named"), CHANGES)
async def test_a_posted_entry_stays_and_its_item_fails_and_names_what_changed(
    pleo: Watched, changes: dict[str, Any], named: str, dry_run: bool
) -> None:
    job_id = await _exported(pleo, posting=EntryState.POSTED)
    journal = pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, changes)
    again = pleo.sandbox.export_again(job_id)
    report = await pleo.export(dry_run=dry_run, settings=ErpSettings(posting=EntryState.POSTED))
    (job,) = report.jobs
    (failure,) = job.failures
    assert (report.exit_status, job.found, failure.accounting_entry_id) == (3, ITEMS - 1, CHANGED)
    assert (failure.type, named in failure.reason) == ("validation_failure", True), failure.reason
    assert failure.reason.startswith(f"{pleo.booked()[CHANGED]} is booked as it was, but Pleo has changed since: ")
    assert "It is posted: reverse it and export the expense again" in failure.reason
    assert pleo.journal() == journal
    wanted = {"pending": ITEMS} if dry_run else {"successful": ITEMS - 1, "failed": 1}
    assert pleo.sandbox.outcome(again) == wanted


@pytest.mark.parametrize("dry_run", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("changes", "named"), CHANGES)
async def test_an_untouched_draft_is_replaced_in_place(
    pleo: Watched, changes: dict[str, Any], named: str, dry_run: bool
) -> None:
    job_id = await _exported(pleo)
    before, journal = pleo.booked(), pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, changes)
    pleo.sandbox.export_again(job_id)
    report = await pleo.export(dry_run=dry_run)
    (job,) = report.jobs
    (notice,) = job.notices
    assert (report.exit_status, job.found, job.agreement("DKK")) == (0, ITEMS, job.agreement("DKK"))
    assert notice.startswith(f"changed in Pleo since {before[CHANGED]} was booked: ")
    assert named in notice
    assert pleo.booked() == before
    assert (pleo.journal() == journal) is dry_run
    if dry_run:
        assert [entry.accounting_entry_id for entry in job.preview] == [CHANGED]
        return
    again = pleo.sandbox.export_again(job_id)
    assert ((await pleo.export()).jobs[0].notices, _told(pleo, again)) == ([], before)


@pytest.mark.parametrize("dry_run", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_a_posted_entry_is_reversed_and_booked_anew_where_the_settings_say_so(
    pleo: Watched, dry_run: bool
) -> None:
    settings = ErpSettings(posting=EntryState.POSTED, changed_expense=ChangedExpense.REVERSE)
    job_id = await _exported(pleo, posting=EntryState.POSTED)
    before, journal = pleo.booked(), pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, {"type": "personal_spend"})
    again = pleo.sandbox.export_again(job_id)
    report = await pleo.export(dry_run=dry_run, settings=settings)
    (job,) = report.jobs
    assert (report.exit_status, job.successful, job.found) == (0, ITEMS, ITEMS - 1)
    assert job.notices == [
        f"changed in Pleo since {before[CHANGED]} was booked: type from card_purchase to personal_spend"
    ]
    if dry_run:
        assert pleo.journal() == journal
        return
    of_one = f"SELECT external_id, account, debit_minor, in_force FROM journal WHERE accounting_entry_id = '{CHANGED}'"
    assert pleo.journal(of_one) == [
        (before[CHANGED], "6010", 10_000, 0),
        (before[CHANGED], "5820", 0, 0),
        ("PX-000031", "6010", 0, 0),
        ("PX-000031", "5820", 10_000, 0),
        ("PX-000032", "pleo-out-of-pocket", 10_000, 1),
        ("PX-000032", "5820", 0, 1),
    ]
    assert _told(pleo, again) == {**before, CHANGED: "PX-000032"}
    pleo.sandbox.export_again(again)
    assert (await pleo.export(settings=settings)).jobs[0].found == ITEMS
    assert len(pleo.journal(of_one)) == 6


async def test_where_the_settings_say_so_drafts_fail_too(pleo: Watched) -> None:
    job_id = await _exported(pleo)
    journal = pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, {"type": "personal_spend", "note": "coffee"})
    pleo.sandbox.edit_export_item(entry_id(8), {"note": "coffee"})
    pleo.sandbox.export_again(job_id)
    (job,) = (await pleo.export(settings=ErpSettings(changed_expense=ChangedExpense.FAIL))).jobs
    assert [(one.type, one.reason) for one in job.failures] == [
        (
            "validation_failure",
            f"{pleo.booked()[CHANGED]} is booked as it was, but Pleo has changed since: type from card_purchase to "
            "personal_spend. The settings (changed_expense) have that fail: delete the draft and export the expense "
            "again.",
        )
    ]
    assert job.notices == [
        f"{pleo.booked()[entry_id(8)]} keeps its texts, in Pleo they have changed: note from none to coffee"
    ]
    assert pleo.journal() == journal


async def test_a_change_that_cannot_be_booked_leaves_the_draft_as_it_was(pleo: Watched) -> None:
    job_id = await _exported(pleo)
    journal = pleo.journal()
    pleo.sandbox.edit_export_item(CHANGED, {"accountingEntryLines": [line(10_000, account=account(None))]})
    pleo.sandbox.export_again(job_id)
    (job,) = (await pleo.export()).jobs
    ((type_, reason),) = [(one.type, one.reason) for one in job.failures]
    assert type_ == "missing_configuration"
    name = pleo.booked()[CHANGED]
    assert f"({name} stays as it was; changed in Pleo since: line 1 account from 6010 to none.)" in reason
    assert pleo.journal() == journal


@pytest.mark.parametrize("changes", [{}, {"type": "personal_spend"}, {"note": "coffee"}])
async def test_what_a_person_changed_in_a_draft_is_never_overwritten(pleo: Watched, changes: dict[str, Any]) -> None:
    job_id = await _exported(pleo)
    name = pleo.booked()[CHANGED]
    edit_lines(pleo.books, f"UPDATE line SET account = '5820' WHERE entry_id = {int(name[3:])} AND line_no = 1")
    journal = pleo.journal()
    if changes:
        pleo.sandbox.edit_export_item(CHANGED, changes)
    pleo.sandbox.export_again(job_id)
    (job,) = (await pleo.export()).jobs
    if "type" in changes:
        assert [(one.type, one.reason) for one in job.failures] == [
            (
                "validation_failure",
                f"{name} was changed in the accounting system (line 1 account from 6010 to 5820), and the expense in "
                "Pleo: type from card_purchase to personal_spend. Correct the entry, or delete it and export the "
                "expense again.",
            )
        ]
    else:
        assert (job.failures, job.notices) == (
            [],
            [f"{name} was changed in the accounting system and stays so: line 1 account from 6010 to 5820"],
        )
    assert pleo.journal() == journal


async def test_what_only_settings_would_book_otherwise_stays_with_a_notice(pleo: Watched) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(1, type="personal_spend")])
    assert (await pleo.export()).exit_status == 0
    journal = pleo.journal()
    pleo.sandbox.export_again(job_id)
    (job,) = (await pleo.export(settings=ErpSettings(out_of_pocket_account="2920"))).jobs
    assert (job.failures, job.notices) == (
        [],
        [
            "PX-000001 stands on 5820, pleo-out-of-pocket, with today's settings it would be booked on 2920, 5820",
        ],
    )
    assert pleo.journal() == journal


@pytest.mark.parametrize("state", [EntryState.DRAFT, EntryState.POSTED])
async def test_entries_of_older_books_are_compared_by_their_lines(pleo: Watched, state: EntryState) -> None:
    job_id = await _exported(pleo, posting=state)
    with closing(sqlite3.connect(pleo.books)) as connection, connection:
        ((rule,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'entry_stays'").fetchall()
        connection.execute("DROP TRIGGER entry_stays")
        connection.execute("UPDATE entry SET statement = NULL")
        connection.execute(rule)
    split = [line(7_000), line(3_000, account=account("6020"))]
    pleo.sandbox.edit_export_item(CHANGED, {"accountingEntryLines": split, "note": "not kept with the lines"})
    pleo.sandbox.export_again(job_id)
    (job,) = (await pleo.export(settings=ErpSettings(posting=state))).jobs
    told = job.notices if state is EntryState.DRAFT else [one.reason for one in job.failures]
    assert len(told) == 1
    assert "account 6010 from 100.00 to 70.00; account 6020 from 0.00 to 30.00" in told[0]


async def test_again_while_the_first_job_is_still_open_takes_the_first_to_its_end_and_then_finds_all(
    pleo: Watched,
) -> None:
    """Pleo's API answers 409 then; an export by hand may come through all the same."""
    first = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    again: list[str] = []
    pleo.before(1, lambda: again.append(pleo.sandbox.export_again(first, even_locked=True)), PUT_ITEMS)
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
    second = pleo.sandbox.export_again(first, even_locked=True)
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
        job_id = pleo.sandbox.export_again(job_id, even_locked=dry_run)  # which leaves its job open
        settings = ErpSettings(posting=EntryState.POSTED, attachments=Attachments.REQUIRED)
        report = await pleo.export(dry_run=dry_run, settings=settings)
        assert (report.exit_status, [job.found for job in report.jobs]) == (0, [ITEMS] * (run if dry_run else 1))
    ((state, entries),) = pleo.journal("SELECT state, count(DISTINCT external_id) FROM journal GROUP BY 1")
    assert (state, entries) == ("draft" if dry_run else "posted", ITEMS)
    assert pleo.journal(attached) == [(0 if dry_run else ITEMS,)]
