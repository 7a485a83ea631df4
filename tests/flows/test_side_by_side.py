"""Steps 2, 3 and 4 go on at once, pages are recorded as soon as they are ready, and updates go out beside that."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.ledger import Ledger
from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.errors import JobFinished
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.models import ExportJob
from flows.outcome import Ending
from flows.recording import PagePart, RecordedPage, Recording
from flows.session import Session
from flows.steps import PagesInMemory, Steps, plain_steps
from flows.steps.record import record_page
from flows.steps.retrieve import JobRows, pages_of
from flows.steps.update import update_items
from flows.stop import Stop
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import an_item

GET_DATA = "GET /v3/export-items"
PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"
NO_RECEIPTS = ErpSettings(attachments=Attachments.SKIP)


class SlowPages(PagesInMemory):
    """A page that comes only once `until` is set, and what happened in which order."""

    def __init__(self, slow: int, until: asyncio.Event) -> None:
        super().__init__()
        self.happened: list[str] = []
        self._slow, self._until = slow, until

    async def fetch_page_anew(
        self, session: Session, job: ExportJob, cursor: str | None, number: int
    ) -> ExportItemsPage:
        if number == self._slow:
            await self._until.wait()
        page = await super().fetch_page_anew(session, job, cursor, number)
        self.happened.append(f"fetched {number}")
        return page

    def steps(self) -> Steps:
        async def record(session: Session, recording: Recording, part: PagePart, number: int) -> RecordedPage:
            done = await record_page(session, recording, part, number)
            self.happened.append(f"recorded {number}")
            if number == self._slow - 1:
                self._until.set()
            return done

        return replace(plain_steps(self), record_page=record)


async def test_a_page_is_recorded_while_the_next_one_is_slow(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 31)])
    pages = SlowPages(3, asyncio.Event())  # it comes only once the second is recorded, or never
    report = await asyncio.wait_for(at_work.export(page_size=10, steps=pages.steps(), settings=NO_RECEIPTS), 30)
    assert report.exit_status == 0
    assert pages.happened.index("recorded 2") < pages.happened.index("fetched 3")
    assert at_work.sandbox.outcome(job_id) == {"successful": 30}


async def test_a_page_is_recorded_as_soon_as_its_own_rows_are_known(at_work: Office) -> None:
    at_work.sandbox.add_job_of([an_item(n) for n in range(1, 31)])
    recorded = asyncio.Event()

    async def slow_rows(session: Session, job: ExportJob, rows: JobRows) -> None:
        number = 0
        async for page in pages_of(session.pleo, job.id):
            number += 1
            if number == 3:
                await recorded.wait()
            rows.add(page)

    async def record(session: Session, recording: Recording, part: PagePart, number: int) -> RecordedPage:
        done = await record_page(session, recording, part, number)
        if number == 2:
            recorded.set()
        return done

    steps = replace(plain_steps(), retrieve_items=slow_rows, record_page=record)
    report = await asyncio.wait_for(at_work.export(page_size=10, steps=steps, settings=NO_RECEIPTS), 30)
    assert (report.exit_status, report.jobs[0].successful) == (0, 30)


async def test_a_validation_that_fails_while_pages_are_fetched_fails_the_job_as_a_whole(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 61)])

    three_pages = asyncio.Event()

    class Misconfigured(Ledger):
        async def validate(self) -> None:
            await three_pages.wait()
            raise ErpConfigurationError("Set up the journal.", ConfigurationProblem.MISSING)

    async def watch(what: str, done: int, _total: int) -> None:
        if (what, done) == ("fetched", 30):
            three_pages.set()

    pages, erp = PagesInMemory(), Misconfigured(at_work.books)
    steps = plain_steps(pages)
    report = await at_work.export(erp=erp, page_size=10, steps=steps, settings=NO_RECEIPTS, show=watch)
    job = at_work.sandbox.job(job_id)
    assert (report.exit_status, job.status, job.failure_reason_type) == (1, "failed", "missing_configuration")
    assert job.failure_reason == "Set up the journal."
    assert (at_work.entries(), PUT_ITEMS in at_work.sandbox.received().by_call) == (0, False)
    assert pages.kept == {}


async def test_three_updates_are_under_way_at_most_and_a_signal_meanwhile_loses_none(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 101)])
    stop, under_way, most, sent = Stop(), 0, 0, list[str]()

    async def slowly(session: Session, job: ExportJob, batch: pd.DataFrame, number: int) -> dict[str, str]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            stop.request(signal.SIGTERM)
        await asyncio.sleep(0.05)
        not_taken = await update_items(session, job, batch, number)
        sent.extend(batch["accounting_entry_id"])
        under_way -= 1
        return not_taken

    steps = replace(plain_steps(), update_items=slowly)
    report = await at_work.export(page_size=10, update_batch_size=10, steps=steps, stop=stop, settings=NO_RECEIPTS)
    (job,) = report.jobs
    assert (job.ending, most, under_way) == (Ending.INTERRUPTED, 3, 0)
    told = {item.accounting_entry_id for item in at_work.sandbox.items(job_id) if item.status == "successful"}
    assert told == set(sent)
    assert len(sent) == len(told) == at_work.entries() - len(job.unreported)
    again = await at_work.export(page_size=10, update_batch_size=10, settings=NO_RECEIPTS)
    assert (again.exit_status, again.jobs[0].already_final) == (0, len(told))
    assert all(item.updates == 1 for item in at_work.sandbox.items(job_id))


async def test_what_is_fetched_ahead_is_bounded(at_work: Office) -> None:
    at_work.sandbox.add_job_of([an_item(n) for n in range(1, 61)])
    ahead: list[int] = []

    class Slow(Ledger):
        async def find(self, accounting_entry_ids: Sequence[str]) -> Any:
            await asyncio.sleep(0.05)
            ahead.append(at_work.sandbox.received().by_call[GET_DATA] - len(ahead) // 2)
            return await super().find(accounting_entry_ids)

    report = await at_work.export(erp=Slow(at_work.books), page_size=2, settings=NO_RECEIPTS)
    assert report.exit_status == 0
    assert 5 <= max(ahead) <= 11  # eight that wait, the one at work, one in hand, one that is being asked for


async def test_what_is_booked_is_told_although_a_later_page_is_refused(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 101)])
    at_work.sandbox.inject("status", GET_DATA, skip=7, times=99, status=400)
    report = await at_work.export(page_size=10, settings=NO_RECEIPTS)
    assert (report.exit_status, at_work.entries()) == (1, 70)
    assert at_work.sandbox.outcome(job_id) == {"successful": 70, "pending": 30}
    assert report.jobs[0].unreported == {}


async def test_once_a_page_tells_that_the_job_is_over_none_of_those_that_wait_is_booked(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 101)])
    over = asyncio.Event()

    class Ended(PagesInMemory):
        async def fetch_page_anew(
            self, session: Session, job: ExportJob, cursor: str | None, number: int
        ) -> ExportItemsPage:
            if number == 5:
                over.set()
                raise JobFinished(422, "INVALID_EXPORT_JOB_STATUS_CHANGE", "the job has expired")
            return await super().fetch_page_anew(session, job, cursor, number)

    async def record(session: Session, recording: Recording, part: PagePart, number: int) -> RecordedPage:
        await over.wait()
        return await record_page(session, recording, part, number)

    steps = replace(plain_steps(Ended()), record_page=record)
    report = await at_work.export(page_size=10, steps=steps, settings=NO_RECEIPTS)
    assert at_work.entries() == 10  # the page that was being recorded when it was told
    assert report.jobs[0].event is None
    assert at_work.sandbox.job(job_id).status == "in_progress"
