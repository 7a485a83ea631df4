"""A run that is broken off in the middle of a page: what is done is told, the rest is left for the next run."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.base import Capabilities, Outcome
from blocks.erp.entries import Entry, EntryState
from blocks.erp.errors import ErpConfigurationError, ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.ledger import Ledger
from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.files.client import Downloaded, FileClient
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.sandbox.receipts import stored_url
from flows.outcome import Ending
from flows.receipts.folder import receipts_folder
from flows.steps import PagesInMemory, plain_steps, retry_wait_s
from flows.stop import Stop
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.exporting import Office, office
from tests.support.pleo.pleo_items import Json, an_item, entry_id

NAME = "5f0d3c1a-0000-4000-8000-000000000001.pdf"
POSTED = ErpSettings(posting=EntryState.POSTED, attachments=Attachments.REQUIRED)


def with_receipt(number: int, **changes: Any) -> Json:
    return an_item(number, files=[{"url": stored_url(NAME), "type": "application/pdf"}], **changes)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class FewAtOnce(Ledger):
    """Takes 25 entries at a time; `second` is called before it takes more."""

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        if self.taken:
            self.second()
        self.taken = True
        return await super().record(entries)

    taken = False

    def second(self) -> None:
        raise NotImplementedError

    def describe(self) -> Capabilities:
        return replace(super().describe(), max_entries=25)


async def test_a_run_that_is_asked_to_end_in_mid_page_takes_up_no_more_and_tells_what_is_done(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([with_receipt(n) for n in range(1, 81)])
    stop = Stop()

    class Books(FewAtOnce):
        def second(self) -> None:
            if stop.signal is None:
                stop.request(signal.SIGTERM)

    report = await at_work.export(erp=Books(at_work.books), stop=stop)
    (job,) = report.jobs
    assert (job.ending, job.successful, at_work.entries()) == (Ending.INTERRUPTED, 50, 50)
    assert at_work.sandbox.outcome(job_id) == {"successful": 50, "pending": 30}
    report = await at_work.export()
    assert (report.jobs[0].successful, report.jobs[0].found, report.jobs[0].already_final) == (30, 0, 50)


async def test_downloads_under_way_when_the_run_is_asked_to_end_are_given_up_within_seconds(
    at_work: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.stop.GRACE_S", 0.05)
    at_work.sandbox.add_job_of([with_receipt(n) for n in range(1, 30)])
    stop = Stop()

    async def for_ever(*_: Any, **__: Any) -> Downloaded:
        stop.request(signal.SIGTERM) if stop.signal is None else None
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(FileClient, "download", for_ever)
    async with asyncio.timeout(20):
        report = await at_work.export(stop=stop)
    assert (report.jobs[0].ending, at_work.entries()) == (Ending.INTERRUPTED, 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ErpUnavailable("the books are away"), "the books are away"),
        (ErpConfigurationError("the books are damaged"), "the books are damaged"),
        (RuntimeError("a mistake"), "something unforeseen (RuntimeError), the log has the cause"),
    ],
)
async def test_what_was_recorded_before_the_books_went_away_is_told_all_the_same(
    at_work: Office, error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = at_work.sandbox.add_job_of([with_receipt(n) for n in range(1, 41)])

    class Books(FewAtOnce):
        def second(self) -> None:
            raise error

    with caplog.at_level(logging.WARNING, "flows"):
        report = await at_work.export(erp=Books(at_work.books))
    assert (report.exit_status, report.jobs[0].successful, report.jobs[0].reason) == (1, 25, reason)
    assert str(error) in caplog.text
    assert ("Traceback" in caplog.text) is isinstance(error, RuntimeError)
    assert at_work.sandbox.outcome(job_id) == {"successful": 25, "pending": 15}


@pytest.mark.parametrize("fault", [{"status": 401}, {"status": 429, "retry_after": "99999"}])
async def test_what_was_recorded_is_not_told_as_failed_when_it_cannot_be_read_back(
    at_work: Office, erp: SmallErpServer, fault: dict[str, Any]
) -> None:
    at_work.sandbox.add_job_of([with_receipt(1), with_receipt(2)])
    erp.fault("find", skip=1, times=99, text="no more", **fault)
    report = await at_work.export(erp=SmallErp(erp.base_url), settings=POSTED)
    assert (report.exit_status, report.jobs[0].successful, report.jobs[0].failed) == (0, 2, 0)


async def test_what_stood_complete_is_not_told_as_failed_when_the_login_is_revoked_at_its_neighbour(
    at_work: Office, erp: SmallErpServer
) -> None:
    items = [with_receipt(1), an_item(2), with_receipt(3)]
    job_id = at_work.sandbox.add_job_of(items)
    await at_work.export(erp=SmallErp(erp.base_url), settings=ErpSettings(posting=EntryState.POSTED))
    del erp.entries[entry_id(3)].files[1]
    at_work.sandbox.export_again(job_id)
    erp.fault("attach", status=401, times=99, text="revoked")
    report = await at_work.export(erp=SmallErp(erp.base_url), settings=ErpSettings(posting=EntryState.POSTED))
    assert [(item.accounting_entry_id, item.type) for item in report.jobs[0].failures] == [
        (entry_id(3), "accounting_system_authentication_failure")
    ]


def test_a_pause_that_the_accounting_system_asks_for_is_waited_out() -> None:
    assert [retry_wait_s(tries, ErpRateLimited("slow", 30.0), 9e9) for tries in range(1, 6)] == [30.0] * 5
    assert [retry_wait_s(tries, ErpRateLimited("slow"), 0.0) for tries in range(1, 6)] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert retry_wait_s(1, ErpRateLimited("slow", 200.0), 0.0) == 60.0


def test_a_step_without_an_answer_is_not_tried_for_longer_than_five_minutes() -> None:
    silent = ErpOutcomeUnknown("no answer in a minute")
    assert [retry_wait_s(tries, silent, 61.0 * tries) for tries in range(1, 6)] == [1.0, 2.0, 4.0, 8.0, None]
    assert retry_wait_s(1, silent, 600.0) == 1.0  # a second try there is always
    assert retry_wait_s(6, silent, 0.0) is None


async def test_a_pause_longer_than_a_call_may_take_leaves_the_job_open_at_once(
    at_work: Office, erp: SmallErpServer
) -> None:
    job_id = at_work.sandbox.add_job_of([with_receipt(1)])
    erp.fault("create", status=429, retry_after="900", times=99, text="too many calls")
    report = await at_work.export(erp=SmallErp(erp.base_url), settings=POSTED)
    assert (report.exit_status, report.jobs[0].reason) == (1, "too many calls")
    assert (erp.calls.count("create"), at_work.sandbox.outcome(job_id)) == (1, {"pending": 1})


async def test_contra_accounts_that_are_missing_when_a_page_is_fetched_again_fail_what_is_open(tmp_path: Path) -> None:
    time = [datetime(2026, 11, 3, 8, tzinfo=UTC).timestamp()]
    with office(tmp_path, clock=lambda: time[0], expires_in=7 * 86_400) as at_work:
        job_id = at_work.sandbox.add_job_of([an_item(1), with_receipt(2)])

        class OldPages(PagesInMemory):
            async def fetch_page(self, *args: Any) -> ExportItemsPage:
                page = await super().fetch_page(*args)
                if time[0] < datetime(2026, 11, 4, tzinfo=UTC).timestamp():
                    time[0] += timedelta(hours=25).total_seconds()
                    at_work.sandbox.miss_contra_accounts(["DKK"], job_id=job_id)
                return page

        report = await at_work.export(
            steps=plain_steps(OldPages()), now=lambda: datetime.fromtimestamp(time[0], UTC), settings=ErpSettings()
        )
        assert (report.jobs[0].ending, report.jobs[0].successful) == (Ending.COMPLETED_WITH_ERRORS, 1)
        assert [failure.type for failure in report.jobs[0].failures] == ["missing_configuration"]
        assert at_work.sandbox.outcome(job_id) == {"successful": 1, "failed": 1}


async def test_receipts_that_a_killed_run_left_behind_are_removed_by_the_next(at_work: Office, temporary: Path) -> None:
    left, of_another_run = temporary / "pleo-receipts-left", temporary / "pleo-receipts-held"
    for folder in (left, of_another_run):
        folder.mkdir()
        (folder / "1").write_bytes(b"%PDF-")
    held = os.open(of_another_run, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        at_work.sandbox.add_job_of([with_receipt(1)])
        await at_work.export()
    finally:
        os.close(held)
    assert names_in(temporary) == ["pleo-receipts-held"]


def test_a_folder_for_receipts_is_for_this_user_alone_and_not_taken_away_by_another_run(temporary: Path) -> None:
    with receipts_folder() as one, receipts_folder() as other:
        assert names_in(temporary) == sorted([one.name, other.name])
        assert one.stat().st_mode & 0o777 == 0o700
    assert names_in(temporary) == []


async def test_no_room_for_receipts_leaves_the_job_open_with_the_cause(
    at_work: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    job_id = at_work.sandbox.add_job_of([with_receipt(1)])
    report = await at_work.export()
    assert report.jobs[0].reason.startswith("receipts cannot be kept on their way: No such file or directory (")
    assert at_work.sandbox.outcome(job_id) == {"pending": 1}


class _LateWrites(SmallErp):
    """An accounting system where a write that was given up is carried out after all: between look-up and record."""

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        for one in entries:
            await self._call(
                "create",
                accounting_entry_id=one.accounting_entry_id,
                currency=one.currency,
                amount_minor=one.amount_minor,
                accounts=list(one.accounts),
                date=one.posting_date.isoformat(),
                original=one.original_date.isoformat(),
                posted=False,
            )
        return await super().record(entries)


async def test_an_entry_that_appears_between_look_up_and_record_gets_its_receipts_and_is_posted(
    at_work: Office, erp: SmallErpServer
) -> None:
    at_work.sandbox.add_job_of([with_receipt(number) for number in (1, 2)])
    report = await at_work.export(erp=_LateWrites(erp.base_url), settings=POSTED)
    assert (report.jobs[0].event, report.jobs[0].successful, report.jobs[0].found) == ("completed", 2, 2)
    assert all(entry.posted and list(entry.files) == [1] for entry in erp.entries.values())
    assert len(erp.entries) == 2
