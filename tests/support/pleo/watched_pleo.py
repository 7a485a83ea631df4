"""A sandbox with a door before it: tests choose what happens before a request comes in, and read what came in.

Others act through `another` and the like, straight on the sandbox's state, so that all requests seen are the export's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from blocks.pleo.sandbox import Sandbox, jobs, serve
from blocks.pleo.sandbox.errors import ApiError
from blocks.pleo.sandbox.server import call_of
from tests.support.exporting import Office

LIST_JOBS = "GET /v3/export-jobs"
READ_JOB = "GET /v3/export-jobs/{jobId}"
GET_ITEMS = "GET /v3/export-jobs/{jobId}/items"
GET_DATA = "GET /v3/export-items"
PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"
EVENTS = "POST /v3/export-job-events"
WRITES = (PUT_ITEMS, EVENTS)


@dataclass
class Plan:
    """What happens before the `nth` request of this `call` (`*`: of any) is let in; `act` may wait."""

    call: str
    nth: int
    act: Callable[[], object]
    came: int = 0


class Door:
    """Stands before a sandbox's app and counts what comes to the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._plans: list[Plan] = []
        self.calls: list[str] = []
        """The calls in the order in which they came, before anything was done about them."""

    def before(self, nth: int, act: Callable[[], object], call: str = "*") -> None:
        """From now on, have `act` called before the `nth` request of this call, counted from now, is let in."""
        self._plans.append(Plan(call, nth, act))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v3/"):
            call = call_of(scope["method"], scope["path"])
            self.calls.append(call)
            for plan in self._plans:
                plan.came += plan.call in ("*", call)
            due = [plan for plan in self._plans if plan.call in ("*", call) and plan.came == plan.nth]
            for plan in due:
                await asyncio.to_thread(plan.act)
        await self._app(scope, receive, send)


@dataclass
class Watched(Office):
    """An office whose Pleo has a door before it, and whose time is `hours` later than it is."""

    door: Door | None = None
    hours: float = 0.0

    def before(self, nth: int, act: Callable[[], object], call: str = "*") -> None:
        """See `Door.before`."""
        assert self.door is not None
        self.door.before(nth, act, call)

    def answered(self) -> list[tuple[str, int]]:
        """Every call of the export with the status of its answer, in the order of the answers."""
        return [
            (one.call, one.status) for one in self.sandbox.received().requests if not one.path.startswith("/receipts/")
        ]

    def unreported(self, job_id: str) -> dict[str, str]:
        """What stands in the books and is not successful in the job: accounting entry id → external id."""
        told = {one.accounting_entry_id for one in self.sandbox.items(job_id) if one.status == "successful"}
        return {id_: external_id for id_, external_id in self.booked().items() if id_ not in told}

    def booked(self) -> dict[str, str]:
        """The entries in force in the ledger: accounting entry id → external id. Fails if an expense has two."""
        if not self.entries():
            return {}
        query = "SELECT DISTINCT accounting_entry_id, external_id FROM journal WHERE in_force = 1"
        return {str(id_): str(external_id) for id_, external_id in self.journal(query)}

    def another(self, job_id: str, event: str, reason_type: str | None = None) -> None:
        """Another integration, or the user, moves the job on, from whatever state it is in; nothing if that is over."""
        reason = "by somebody else" if event == "failed" else None
        store, now = self.sandbox.store, self.sandbox.clock()
        with suppress(ApiError):
            if event not in ("started", "failed") and self.sandbox.job(job_id).status == "pending":
                jobs.apply_event(store, jobs.find_job(store, job_id), "started", now, None, None)
            jobs.apply_event(store, jobs.find_job(store, job_id), event, now, reason, reason_type)

    def cancel(self, job_id: str) -> None:
        """The user cancels the job."""
        self.another(job_id, "failed", "canceled_by_user")

    def expire(self, _job_id: str) -> None:
        """Two hours pass."""
        self.hours += 2.0

    def change(self, sql: str, *args: Any) -> None:
        """Change Pleo's records themselves."""
        with self.sandbox.store.transaction() as connection:
            connection.execute(sql, args)

    def put_in(self, job_id: str, accounting_entry_ids: Iterable[str]) -> None:
        """Expenses of other jobs are put into this one, too, at its end."""
        store = self.sandbox.store
        row = jobs.find_job(store, job_id)
        assert row is not None
        first = row["number_of_items"] + 1
        for position, id_ in enumerate(accounting_entry_ids, first):
            self.change(
                "INSERT INTO job_items (job, position, entry, accounting_entry_id)"
                " SELECT ?, ?, entry, accounting_entry_id FROM entries WHERE accounting_entry_id = ?",
                *(row["job"], position, id_),
            )
        self._count(row["job"])

    def take_out(self, job_id: str, accounting_entry_ids: Iterable[str]) -> None:
        """Expenses are taken out of a job."""
        row = jobs.find_job(self.sandbox.store, job_id)
        assert row is not None
        for id_ in accounting_entry_ids:
            self.change("DELETE FROM job_items WHERE job = ? AND accounting_entry_id = ?", row["job"], id_)
        self._count(row["job"])

    def _count(self, job: int) -> None:
        items = "(SELECT count(*) FROM job_items WHERE job_items.job = jobs.job)"
        self.change(f"UPDATE jobs SET number_of_items = {items} WHERE job = ?", job)

    def remove(self, job_id: str) -> None:
        """The job is there no longer."""
        self.change("UPDATE jobs SET id = 'gone ' || id WHERE id = ?", job_id)

    def bring_back(self, job_id: str) -> None:
        """It is there again, and ended by somebody else."""
        self.change("UPDATE jobs SET id = ? WHERE id = 'gone ' || ?", job_id, job_id)
        self.cancel(job_id)


@contextmanager
def watched(folder: Path, **sandbox_settings: Any) -> Iterator[Watched]:
    """A sandbox behind a door on a free port, and a ledger in the folder."""
    at_work: Watched | None = None

    def now() -> float:
        return time.time() + (3600.0 * at_work.hours if at_work is not None else 0.0)

    with Sandbox(**{"rate_limit": False, "clock": now, **sandbox_settings}) as sandbox:
        sandbox.app = door = Door(sandbox.app)
        with serve(sandbox) as base_url:
            at_work = Watched(sandbox, base_url, folder / "books.sqlite", door=door)
            yield at_work
