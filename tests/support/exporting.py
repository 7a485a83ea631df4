"""A whole export without Prefect, for tests: a sandbox over HTTP, a ledger on disk, the steps as plain calls."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from blocks.erp.base import Erp
from blocks.erp.ledger import Ledger
from blocks.erp.settings import ErpSettings
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.access import Access
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from flows.outcome import RunReport
from flows.run import export
from flows.runner import PlainRunner, Runner
from flows.session import Session
from flows.stop import Stop

NO_JITTER = 0.0


def _now() -> datetime:
    return datetime.now(UTC)


async def no_waiting(_seconds: float) -> None:
    """Waits for nothing: between tries, tests need the order of things and not the time."""


@dataclass
class Office:
    """A Pleo, the books, and a way to run the export between them."""

    sandbox: Sandbox
    base_url: str
    books: Path
    api_key: str = SANDBOX_API_KEY
    runners: list[Runner] = field(default_factory=list)
    auth: httpx.Auth | Access | None = None

    async def export(
        self,
        *,
        company_id: str | None = None,
        job_id: str | None = None,
        dry_run: bool = False,
        page_size: int = 100,
        update_batch_size: int = 100,
        erp: Erp | None = None,
        runner: Runner | None = None,
        stop: Stop | None = None,
        settings: ErpSettings | None = None,
        now: Callable[[], datetime] | None = None,
        seconds: Callable[[], float] = time.monotonic,
        local_now: Callable[[], datetime] = _now,
    ) -> RunReport:
        """One run, as the command line makes it, with a runner of its own; `local_now` is this machine's belief."""
        report = RunReport()
        clock = Clock(monotonic=seconds, now=local_now, sleep=no_waiting, jitter=lambda: NO_JITTER)
        auth = self.auth or httpx.BasicAuth(self.api_key, "")
        async with (
            PleoClient(self.base_url, auth, page_size=page_size, clock=clock) as pleo,
            FileClient(self.base_url, clock=clock) as files,
        ):
            session = Session(
                pleo,
                files,
                erp or Ledger(self.books),
                runner or PlainRunner(no_waiting),
                stop or Stop(),
                seconds,
                update_batch_size,
                settings or ErpSettings(),
                dry_run,
                now or pleo.now,
            )
            await export(session, report, company_id=company_id, job_id=job_id)
            report.pleo_requests = pleo.requests_sent
        return report

    def journal(self, query: str = "SELECT * FROM journal") -> list[tuple[object, ...]]:
        """Rows of the ledger's documented view."""
        with closing(sqlite3.connect(self.books)) as connection:
            return connection.execute(query).fetchall()

    def entries(self) -> int:
        """How many entries stand in the books; fails if an expense has two."""
        if not self.books.exists():
            return 0
        rows = self.journal("SELECT accounting_entry_id, count(DISTINCT external_id) FROM journal GROUP BY 1")
        assert all(count == 1 for _, count in rows)
        return len(rows)


@contextmanager
def office(folder: Path, *, rate_limit: bool = False, **sandbox_settings: Any) -> Iterator[Office]:
    """A sandbox on a free port and a ledger in the folder."""
    with Sandbox(rate_limit=rate_limit, **sandbox_settings) as sandbox, serve(sandbox) as base_url:
        yield Office(sandbox, base_url, folder / "books.sqlite")
