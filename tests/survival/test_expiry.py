"""A job's life: it hears from us in time, a short one is announced, and what expires over us is found again."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from blocks.erp.base import Outcome
from blocks.erp.entries import Entry
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.settings import Attachments, ClosedPeriod, ErpSettings
from blocks.pleo.models import ExportJob, JobStatus
from flows.deadline import USUAL_LIFE_S, Deadline
from flows.outcome import Ending
from flows.report import summary_lines, unreported_lines
from flows.session import Session
from flows.steps import PagesInMemory, Steps, plain_steps
from flows.steps.retrieve import JobRows, retrieve_items
from flows.steps.update import update_items
from tests.support.command_line import Shell
from tests.support.exporting import Office, office
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import PrefectServer

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
NO_RECEIPTS = ErpSettings(attachments=Attachments.SKIP)


class Hours:
    """Time that passes only where a test says so, for Pleo and for us."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds


class SlowLedger(Ledger):
    """Real books that take their time: `passes` is called before each page is recorded."""

    def __init__(self, path: Path, passes: Callable[[], Any]) -> None:
        super().__init__(path)
        self._passes = passes

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        passed = self._passes()
        if passed is not None:
            await passed
        return await super().record(entries)


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def at_work(tmp_path: Path, hours: Hours) -> Iterator[Office]:
    with office(tmp_path, clock=hours) as made:
        yield made


async def told_of(at_work: Office, job_id: str, items: int) -> None:
    """Wait until Pleo knows how so many items ended."""
    async with asyncio.timeout(60):
        while at_work.sandbox.outcome(job_id).get("successful") != items:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


def a_job(**fields: Any) -> ExportJob:
    ids = dict.fromkeys(("id", "companyId"), "00000000-0000-4000-8000-000000000001")
    return ExportJob.model_validate({**ids, "status": "pending", **fields})


@pytest.mark.parametrize(
    ("fields", "life_s", "left_s"),
    [
        ({"expiresIn": 600}, 600, 600),
        ({"expiresIn": 0}, USUAL_LIFE_S, USUAL_LIFE_S),
        ({"expiresIn": -5}, USUAL_LIFE_S, USUAL_LIFE_S),
        ({"expiresIn": 10**400}, USUAL_LIFE_S, USUAL_LIFE_S),
        ({"status": "in_progress", "lastUpdatedAt": "2026-11-27T11:50:00Z", "expiresIn": 900}, 900, 300),
        ({"status": "in_progress", "lastUpdatedAt": "2026-11-27T03:00:00Z", "expiresIn": 900}, 900, 0),
        ({"status": "in_progress", "lastUpdatedAt": "2026-11-27T19:00:00Z", "expiresIn": 900}, 900, 900),
        ({"status": "in_progress", "expiresIn": 900}, 900, 900),
    ],
)
def test_a_deadline_is_counted_from_the_last_update(fields: dict[str, Any], life_s: float, left_s: float) -> None:
    deadline = Deadline(a_job(**fields), lambda: 100.0, NOW)
    assert (deadline.life_s, deadline.left_s()) == (life_s, left_s)


def test_a_start_gives_a_job_its_whole_life_and_a_short_life_makes_reports_frequent() -> None:
    seconds = [0.0]
    deadline = Deadline(a_job(expiresIn=40), lambda: seconds[0], NOW)
    seconds[0] = 30.0
    assert (deadline.left_s(), deadline.at_most(60.0), deadline.at_most(5.0)) == (10.0, 10.0, 5.0)
    deadline.renew()
    assert deadline.left_s() == 40.0


@pytest.mark.parametrize(("pages", "each_s"), [(9, 30.0), (9, 15.0), (27, 7.0)])
async def test_results_go_out_often_enough_for_a_job_of_a_short_life(
    tmp_path: Path, hours: Hours, pages: int, each_s: float
) -> None:
    """A batch would be full only after more than the job's life, whether pages come slowly or in quick succession."""
    with office(tmp_path, clock=hours, expires_in=90) as at_work:
        job_id = at_work.sandbox.add_job_of([an_item(number) for number in range(1, pages + 1)])

        arrived = asyncio.Event()
        arrived.set()
        under_way = 0

        async def update(session: Session, job: ExportJob, batch: pd.DataFrame, number: int) -> dict[str, str]:
            nonlocal under_way
            under_way += 1
            arrived.clear()
            refused = await update_items(session, job, batch, number)
            under_way -= 1
            if under_way == 0:
                arrived.set()
            return refused

        async def a_while() -> None:
            await asyncio.sleep(0)  # what is just being sent is under way then
            await arrived.wait()  # as it would be long before so many seconds have passed
            hours.seconds += each_s

        ledger, steps = SlowLedger(at_work.books, a_while), replace(plain_steps(), update_items=update)
        report = await at_work.export(erp=ledger, page_size=1, seconds=hours, settings=NO_RECEIPTS, steps=steps)
        assert (report.exit_status, report.jobs[0].event, at_work.entries()) == (0, "completed", pages)
        assert all(item.updates == 1 for item in at_work.sandbox.items(job_id))


async def test_what_waits_is_reported_in_time_also_while_the_books_are_waited_for(tmp_path: Path) -> None:
    """The second page is recorded only once Pleo knows of the first, which nothing but time can bring about."""
    with office(tmp_path, clock=lambda: NOW.timestamp(), expires_in=1) as at_work:
        job_id = at_work.sandbox.add_job_of([an_item(1), an_item(2)])
        pages = 0

        def before_page() -> Any:
            nonlocal pages
            pages += 1
            return told_of(at_work, job_id, 1) if pages == 2 else None

        report = await at_work.export(erp=SlowLedger(at_work.books, before_page), page_size=1, settings=NO_RECEIPTS)
    assert (report.exit_status, pages) == (0, 2)


async def test_a_job_that_expires_over_us_lists_what_is_booked_and_the_next_job_finds_it(
    at_work: Office, hours: Hours
) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(number) for number in range(1, 7)])
    pages = 0

    async def over_before_the_third() -> None:
        nonlocal pages
        pages += 1
        if pages == 3:
            await told_of(at_work, job_id, 4)
            hours.seconds += 4000

    stored = PagesInMemory()
    report = await at_work.export(
        erp=SlowLedger(at_work.books, over_before_the_third),
        page_size=2,
        update_batch_size=2,
        seconds=hours,
        settings=NO_RECEIPTS,
        steps=plain_steps(stored),
    )
    job = report.jobs[0]
    assert (job.ending, job.event, report.exit_status) == (Ending.FINISHED_ELSEWHERE, None, 1)
    assert job.reason.startswith("it expired in Pleo")
    assert at_work.sandbox.outcome(job_id) == {"successful": 4, "abandoned": 2}
    booked = dict(at_work.journal("SELECT DISTINCT accounting_entry_id, external_id FROM journal"))
    told = {item.accounting_entry_id for item in at_work.sandbox.items(job_id) if item.status == "successful"}
    assert {id_: one.external_id for id_, one in job.unreported.items()} == {
        id_: external for id_, external in booked.items() if id_ not in told
    }
    first, *lines = unreported_lines(job)
    assert first == "2 booked and not yet reported to Pleo, to be found by the next export of them:"
    assert all(any(id_ in line and one.external_id in line for line in lines) for id_, one in job.unreported.items())
    assert any("it expired" in line for line in summary_lines(job))
    assert not stored.kept

    again = at_work.sandbox.export_again(job_id, list(job.unreported))
    found = await at_work.export(seconds=hours)
    assert (found.jobs[0].event, found.jobs[0].found, found.jobs[0].unreported) == ("completed", 2, {})
    assert {item.accounting_entry_id: item.external_id for item in at_work.sandbox.items(again)} == {
        id_: booked[id_] for id_ in job.unreported
    }
    assert at_work.entries() == 6


def slowly_read(hours: Hours, takes_s: float) -> Steps:
    """Steps of which reading a job's items takes a while."""

    async def slowly(session: Session, job: ExportJob, rows: JobRows) -> None:
        hours.seconds += takes_s
        await retrieve_items(session, job, rows)

    return replace(plain_steps(), retrieve_items=slowly)


@pytest.mark.parametrize(("takes_s", "warned"), [(100, False), (301, True)])
async def test_a_job_whose_time_does_not_suffice_is_announced_before_anything_is_booked(
    tmp_path: Path, hours: Hours, takes_s: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    booked: list[int] = []
    with office(tmp_path, clock=hours, expires_in=600) as at_work:
        at_work.sandbox.add_job_of([an_item(1)])

        def note() -> None:
            booked.append(len([one for one in caplog.records if "its time in Pleo is over" in one.message]))

        with caplog.at_level(logging.WARNING, "flows"):
            ledger, steps = SlowLedger(at_work.books, note), slowly_read(hours, takes_s)
            report = await at_work.export(erp=ledger, steps=steps, seconds=hours, settings=NO_RECEIPTS)
    assert (booked, report.exit_status) == ([int(warned)], 0)
    assert any("its time in Pleo is over in about 299 s" in notice for notice in report.jobs[0].notices) is warned


async def test_a_job_too_slow_to_book_in_its_time_is_announced_after_its_first_page(
    at_work: Office, hours: Hours
) -> None:
    """How much is left is known once all rows are, which are read meanwhile: the first page waits for them here."""
    at_work.sandbox.add_job_of([an_item(number) for number in range(1, 8)])
    all_are_read = asyncio.Event()

    async def read(session: Session, job: ExportJob, rows: JobRows) -> None:
        await retrieve_items(session, job, rows)
        all_are_read.set()

    async def slowly() -> None:
        await all_are_read.wait()
        hours.seconds += 800

    report = await at_work.export(
        erp=SlowLedger(at_work.books, slowly),
        page_size=1,
        seconds=hours,
        settings=NO_RECEIPTS,
        steps=replace(plain_steps(), retrieve_items=read),
    )
    notices = [notice for notice in report.jobs[0].notices if "to book the rest takes about 4800 s" in notice]
    assert (len(notices), report.jobs[0].event) == (1, "completed")  # as this Pleo does prolong it


@pytest.mark.parametrize("hours_off", [-30, -5, 5, 30])
async def test_a_local_clock_that_is_hours_off_changes_neither_dates_nor_report(tmp_path: Path, hours_off: int) -> None:
    with office(tmp_path) as at_work:
        job_id = at_work.sandbox.add_job_of([an_item(1, date="2026-09-14T10:00:00Z")])
        charts = ChartFiles(periods=tmp_path / "periods.csv")
        before = datetime.now(UTC).date()
        (tmp_path / "periods.csv").write_text(
            f"first_date,last_date,state\n2020-01-01,2026-09-30,closed\n2026-10-01,{before + timedelta(days=9)},open\n"
        )
        report = await at_work.export(
            erp=Ledger(at_work.books, charts=charts),
            settings=ErpSettings(closed_period=ClosedPeriod.TODAY, attachments=Attachments.SKIP),
            local_now=lambda: datetime.now(UTC) + timedelta(hours=hours_off),
        )
        ((posted_on,),) = at_work.journal("SELECT DISTINCT posting_date FROM journal")
        assert at_work.sandbox.job(job_id).status == JobStatus.COMPLETED
    assert report.exit_status == 0
    assert before <= datetime.fromisoformat(str(posted_on)).date() <= datetime.now(UTC).date()


@pytest.mark.slow
@pytest.mark.parametrize("offset", ["-7h", "+7h", "-3d", "+3d"])
def test_the_whole_command_under_a_wrong_clock_books_and_reports_the_same(
    tmp_path: Path, prefect_server: PrefectServer, offset: str
) -> None:
    if shutil.which("faketime") is None:
        pytest.skip("the command `faketime` (Debian's package faketime) is not there")
    seen = []
    for name, prefix in (("right", []), ("wrong", ["faketime", "-f", offset])):
        folder = tmp_path / name
        folder.mkdir()
        with office(folder) as at_work:
            job_id = at_work.sandbox.add_job(items=30, seed=5)
            at_work.sandbox.inject("status", "GET /v3/export-items", status=429, retry_after="1")
            shell = Shell(at_work, prefect_server, folder)
            shell.prefix = prefix
            status, document = shell.json()
            items = [
                (item.accounting_entry_id, item.status, item.external_id, item.failure_reason)
                for item in at_work.sandbox.items(job_id)
            ]
            with closing(sqlite3.connect(at_work.books)) as books:
                journal = books.execute("SELECT * FROM journal ORDER BY 1, 2, 5, 8, 9").fetchall()
            seen.append((status, document["jobs"], items, journal))
    assert seen[0] == seen[1]
