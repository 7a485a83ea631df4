"""A whole export without Prefect, for tests: a sandbox over HTTP, a ledger on disk, the steps as plain calls."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blocks.erp.base import Erp
from blocks.erp.ledger import Ledger
from blocks.erp.settings import ErpSettings
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.auth import Auth, KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.pages import ExportItemsPage, read_page
from blocks.pleo.http.transport import Clock
from blocks.pleo.http.wire import decode
from blocks.pleo.models import ExportJob
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from flows.export import seven_steps
from flows.job import carry_out
from flows.outcome import JobReport, RunReport
from flows.run import export_jobs
from flows.session import Session, Show, show_nothing
from flows.steps import Steps, plain_steps
from flows.stop import Stop

NO_JITTER = 0.0


def _now() -> datetime:
    return datetime.now(UTC)


async def no_waiting(_seconds: float) -> None:
    """Waits for nothing: between tries, tests need the order of things and not the time."""


async def export_one(session: Session, job: ExportJob) -> JobReport:
    """One job through its steps, as they are."""
    return await carry_out(session, job, seven_steps)


def watched_steps(before: Callable[[], Any], after: Callable[[], Any] = lambda: None) -> Steps:
    """The steps, with something that happens before and after each call of one of them."""
    steps = plain_steps()

    def watched(step: Any) -> Any:
        async def call(*args: Any) -> Any:
            before()
            result = await step(*args)
            after()
            return result

        return call

    return replace(
        steps, **{one.name: watched(getattr(steps, one.name)) for one in fields(steps) if one.name != "pages"}
    )


def page_of(document: Any) -> ExportItemsPage:
    """A page of export items with this body."""
    return ExportItemsPage.of(read_page(decode(json.dumps(document))), json.dumps(document))


@dataclass
class Office:
    """A Pleo, the books, and a way to run the export between them."""

    sandbox: Sandbox
    base_url: str
    books: Path
    api_key: str = SANDBOX_API_KEY
    auth: Auth | None = None

    async def export(
        self,
        *,
        company_id: str | None = None,
        job_id: str | None = None,
        dry_run: bool = False,
        page_size: int = 100,
        update_batch_size: int = 100,
        erp: Erp | None = None,
        steps: Steps | None = None,
        stop: Stop | None = None,
        settings: ErpSettings | None = None,
        now: Callable[[], datetime] | None = None,
        seconds: Callable[[], float] = time.monotonic,
        local_now: Callable[[], datetime] = _now,
        show: Show = show_nothing,
    ) -> RunReport:
        """One run, as the command line makes it, without Prefect; `local_now` is this machine's belief."""
        report = RunReport()
        clock = Clock(monotonic=seconds, now=local_now, sleep=no_waiting, jitter=lambda: NO_JITTER)
        auth = self.auth or KeyAuth(self.api_key)
        async with (
            PleoClient(self.base_url, auth, page_size=page_size, clock=clock) as pleo,
            FileClient(self.base_url, clock=clock) as files,
        ):
            session = Session(
                pleo,
                files,
                erp or Ledger(self.books),
                steps or plain_steps(),
                stop or Stop(),
                settings=settings,
                update_batch_size=update_batch_size,
                dry_run=dry_run,
                clock=seconds,
                now=now,
                sleep=no_waiting,
                show=show,
            )
            await export_jobs(session, report, export_one, company_id=company_id, job_id=job_id)
            report.pleo_requests = pleo.requests_sent
        return report

    def journal(self, query: str = "SELECT * FROM journal") -> list[tuple[object, ...]]:
        """Rows of the ledger's documented view."""
        with closing(sqlite3.connect(self.books)) as connection:
            return connection.execute(query).fetchall()

    def entries(self) -> int:
        """How many entries are in force in the books; fails if an expense has two."""
        if not self.books.exists():
            return 0
        rows = self.journal(
            "SELECT accounting_entry_id, count(DISTINCT external_id) FROM journal WHERE in_force = 1 GROUP BY 1"
        )
        assert all(count == 1 for _, count in rows)
        return len(rows)


@contextmanager
def office(folder: Path, *, rate_limit: bool = False, **sandbox_settings: Any) -> Iterator[Office]:
    """A sandbox on a free port and a ledger in the folder."""
    with Sandbox(rate_limit=rate_limit, **sandbox_settings) as sandbox, serve(sandbox) as base_url:
        yield Office(sandbox, base_url, folder / "books.sqlite")
