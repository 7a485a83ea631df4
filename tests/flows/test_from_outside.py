"""What a Pleo, a shell or a file system can do that nobody thought of when the steps were written."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger import Ledger
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.auth import KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.http.transport import Clock
from blocks.pleo.models import ExportJob
from blocks.pleo.sandbox import Sandbox
from flows.cli import parse
from flows.outcome import RunReport
from flows.run import export_jobs
from flows.session import Session
from flows.steps import PagesInMemory, plain_steps
from flows.steps.fetch import PageKey, page_key
from flows.stop import Stop, Stopped
from tests.support.command_line import Shell
from tests.support.exporting import export_one, office, page_of

JOB = "00000000-0000-4000-8000-000000000001"
COMPANY = "00000000-0000-4000-8000-000000000002"


def _holds_anything(folder: Path) -> bool:
    return any(folder.iterdir())


class OneJob:
    """A Pleo with one job whose record it shows as it is; it takes nothing."""

    def __init__(self, **record: Any) -> None:
        self.record = {"id": JOB, "companyId": COMPANY, "numberOfItems": 1, **record}
        self.received: list[str] = []
        self.answer_to_events = httpx.Response(422, json={"type": "INVALID_EXPORT_JOB_STATUS_CHANGE"})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.received.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            return self.answer_to_events
        if request.url.path == "/v3/export-jobs":
            return httpx.Response(200, json={"data": [self.record], "pagination": {"hasNextPage": False}})
        return httpx.Response(200, json={"data": self.record})

    async def export(self, folder: Path, job_id: str | None = None) -> RunReport:
        report, seconds = RunReport(), iter(range(1_000_000))
        transport = httpx.MockTransport(self)
        async with PleoClient("http://127.0.0.1", KeyAuth("key"), transport=transport) as pleo:
            ledger = Ledger(folder / "books.sqlite")
            files = FileClient("http://127.0.0.1")
            session = Session(pleo, files, ledger, plain_steps(), Stop(), clock=lambda: float(next(seconds)))
            await export_jobs(session, report, export_one, company_id=None, job_id=job_id)
        return report


@pytest.mark.parametrize("status", ["pending", "in_progress"])
async def test_a_job_that_pleo_lists_although_it_has_expired_is_left_alone(tmp_path: Path, status: str) -> None:
    pleo = OneJob(status=status, expiredAt="2026-03-10T10:00:00Z")
    report = await pleo.export(tmp_path)
    assert (report.jobs, report.exit_status) == ([], 0)
    assert pleo.received == ["GET /v3/export-jobs"]
    assert not _holds_anything(tmp_path)


async def test_a_job_that_was_asked_for_and_has_expired_is_one_line_and_a_failure(tmp_path: Path) -> None:
    pleo = OneJob(status="in_progress", expiredAt="2026-03-10T10:00:00Z", failureReasonType="job_expired")
    report = await pleo.export(tmp_path, JOB)
    assert (report.lines, report.exit_status) == ([f"job {JOB} has expired: job_expired"], 1)
    assert pleo.received == [f"GET /v3/export-jobs/{JOB}"]


@pytest.mark.parametrize("option", ["--pleo", "--erp"])
def test_the_empty_name_of_a_block_is_wrong_usage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([option, ""], None)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        f"python -m flows.export: {option}: the name of the block is empty (--help lists the options)"
    ]


def test_a_pipe_in_place_of_the_ledger_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "books.sqlite"
    os.mkfifo(pipe)
    with pytest.raises(ErpConfigurationError, match="is a device or a pipe"):
        Ledger(pipe).company()
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_output_without_unicode_still_gets_the_whole_report(shell: Shell) -> None:
    job_id = shell.office.sandbox.add_job(items=3, seed=7, failing=False)
    item = shell.office.sandbox.items(job_id)[0]
    shell.office.sandbox.edit_export_item(item.accounting_entry_id, {"type": "ukendt køb"}, even_locked=True)
    done = shell.run(PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (3, "")
    assert "ukendt k\\xf8b" in done.stdout
    assert "the books are in books.sqlite" in done.stdout


class Watching(PagesInMemory):
    """Notes how the job stood in Pleo whenever its stored pages were deleted."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox
        self.forgotten_while: list[str] = []

    async def forget(self, job_id: str) -> None:
        self.forgotten_while.append(self._sandbox.job(job_id).status)
        await super().forget(job_id)


async def test_the_pages_are_gone_before_the_final_event_so_that_a_kill_right_after_it_leaves_none(
    tmp_path: Path,
) -> None:
    with office(tmp_path) as at_work:
        at_work.sandbox.add_job(items=5, failing=False)
        pages = Watching(at_work.sandbox)
        report = await at_work.export(steps=plain_steps(pages))
    assert report.exit_status == 0
    assert pages.forgotten_while[0] == "in_progress"


async def test_a_page_that_leads_nowhere_is_not_kept_for_the_next_run(tmp_path: Path) -> None:
    class LostCursor(PagesInMemory):
        broken = True

        async def fetch_page_anew(
            self, session: Session, job: ExportJob, cursor: str | None, number: int
        ) -> ExportItemsPage:
            page = await super().fetch_page_anew(session, job, cursor, number)
            if self.broken:
                page = page.model_copy(update={"has_next": True, "end_cursor": None})
                self.kept[page_key(session, job, cursor)] = page
            return page

    with office(tmp_path) as at_work:
        at_work.sandbox.add_job(items=5, failing=False)
        pages = LostCursor()
        assert (await at_work.export(steps=plain_steps(pages))).exit_status == 1
        pages.broken = False
        assert (await at_work.export(steps=plain_steps(pages))).exit_status == 0
        assert at_work.entries() == 5


async def test_credentials_that_may_read_but_not_start_a_job_are_a_matter_of_configuration(tmp_path: Path) -> None:
    pleo = OneJob(status="pending")
    pleo.answer_to_events = httpx.Response(403, json={"type": "FORBIDDEN"})
    report = await pleo.export(tmp_path)
    assert (report.jobs[0].event, report.exit_status) == (None, 2)
    assert report.jobs[0].reason.startswith("Pleo does not allow POST /v3/export-job-events")
    assert pleo.received == ["GET /v3/export-jobs", "POST /v3/export-job-events"]


@pytest.mark.slow
def test_items_that_pleo_refuses_to_update_are_named_beside_the_json_document(shell: Shell) -> None:
    job_id = shell.office.sandbox.add_job(items=3, seed=7, failing=False)
    item = shell.office.sandbox.items(job_id)[0]
    shell.office.sandbox.refuse_item(job_id, item.accounting_entry_id, times=50)
    done = shell.run("--json")
    assert (done.returncode, json.loads(done.stdout)["jobs"][0]["event"]) == (1, None)
    assert f"{item.accounting_entry_id}: not updated in Pleo" in done.stderr


async def test_a_call_that_gets_no_answer_does_not_keep_a_run_that_was_asked_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.stop.GRACE_S", 0.05)
    stop = Stop()

    async def no_answer(_request: httpx.Request) -> httpx.Response:
        if stop.signal is None:
            asyncio.get_running_loop().call_later(0.01, stop.request, signal.SIGTERM)
        await asyncio.sleep(60)
        raise AssertionError("the run waited for the answer")

    clock = Clock(sleep=stop.sleep, limit=stop.limit)
    transport = httpx.MockTransport(no_answer)
    async with PleoClient("http://127.0.0.1", KeyAuth("k"), clock=clock, transport=transport) as pleo:
        with pytest.raises(Stopped):
            await asyncio.wait_for(pleo.get_job(JOB), 10)
        with pytest.raises(Stopped):  # nor does the next one, which reports what is recorded
            await asyncio.wait_for(pleo.get_job(JOB), 10)


async def test_a_run_is_still_listening_when_its_first_job_has_ended() -> None:
    stop, before = Stop(), signal.getsignal(signal.SIGTERM)
    with stop.on_signals():
        with stop.on_signals():  # as each job does
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        assert stop.signal is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


async def test_stored_pages_of_a_job_that_ended_elsewhere_go_and_those_of_an_unknown_one_stay(tmp_path: Path) -> None:
    pages = PagesInMemory()
    nothing = {"data": [], "pagination": {"hasNextPage": False, "endCursor": None}}

    with office(tmp_path) as at_work:
        ended = at_work.sandbox.add_job(items=2, failing=False)
        assert (await at_work.export()).exit_status == 0
        for job_id in (ended, JOB):
            pages.kept[PageKey(at_work.base_url, COMPANY, job_id, "", 100)] = page_of(nothing)
        report = await at_work.export(steps=plain_steps(pages))
    assert report.exit_status == 0
    assert await pages.jobs() == [JOB]
