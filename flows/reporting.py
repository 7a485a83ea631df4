"""Step 6 while step 5 goes on: batches go out in the background, one at a time, and none is left in doubt.

What waits too long for its batch to be full goes out as it is, whatever step 5 is waiting for meanwhile: a job that
hears nothing expires.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from types import TracebackType

import pandas as pd

from blocks.pleo.errors import PleoError
from blocks.pleo.models import ItemUpdate
from blocks.text import one_line
from flows.outcome import JobReport
from flows.results import Results, Row, updates_of
from flows.session import Session
from flows.steps.retrieve import reread_items
from flows.steps.update import still_to_send, update_batch
from flows.stop import Stopped

log = logging.getLogger(__name__)

MAX_ROUNDS = 3
_LOOK_AGAIN_S = 0.05


class ItemsRefused(Exception):
    """Pleo keeps refusing to update some items; `lines` names each with what Pleo said."""

    def __init__(self, refused: dict[str, str]) -> None:
        super().__init__(f"Pleo did not take the outcome of {len(refused)} items; the job stays open")
        self.lines = [f"{id_}: not updated in Pleo, {one_line(why, 200)}" for id_, why in refused.items()]


class Reporting:
    """Reports the rows of a job to Pleo. As a context manager it sends what is left, whichever way the block ends."""

    def __init__(self, session: Session, results: Results, report: JobReport) -> None:
        """`report` is told of each item that Pleo has taken."""
        self._session = session
        self._job_id = report.job_id
        self._results = results
        self._report = report
        self._under_way: asyncio.Task[None] | None = None
        self._in_time: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._not_taken: dict[str, tuple[ItemUpdate, str]] = {}
        self._batches = 0

    async def __aenter__(self) -> Reporting:
        if not self._session.dry_run:
            self._in_time = asyncio.create_task(self._send_in_time())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_time is not None:
            self._in_time.cancel()
            await asyncio.gather(self._in_time, return_exceptions=True)
        if kind is None:
            await self._send_due(everything=True)
            await self._settled()
            await self._settle_what_was_not_taken()
        elif not isinstance(error, (PleoError, asyncio.CancelledError)):
            await self._send_what_can_be_sent()
        elif self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def add(self, rows: Iterable[Row]) -> None:
        """Take in rows and start to send what is due; waits only for the batch before."""
        if self._session.dry_run:
            return
        self._results.add(rows)
        if self._under_way is not None and self._under_way.done():
            await self._settled()  # a job that is over takes no more, so nothing more should be booked for it
        await self._send_due(everything=False)

    async def _send_due(self, *, everything: bool) -> None:
        async with self._turn:
            for batch in self._results.due(everything=everything):
                await self._settled()
                self._under_way = asyncio.create_task(self._send_next([batch]))

    async def _send_in_time(self) -> None:
        """Send what waits as soon as it is due, until a batch goes wrong: that is told to whoever adds the next rows,
        or when the block ends. It waits for batches and never holds one, so that it may be cancelled at any time."""
        while True:
            await self._session.stop.sleep(self._results.due_in_s())
            while self._turn.locked() or (self._under_way is not None and not self._under_way.done()):
                await self._a_moment()
            if self._under_way is not None and _went_wrong(self._under_way):
                return
            if batches := self._results.due():
                self._under_way = asyncio.create_task(self._send_next(batches))

    async def _a_moment(self) -> None:
        if self._under_way is not None:
            await asyncio.wait({self._under_way}, timeout=_LOOK_AGAIN_S)
        else:
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _settled(self) -> None:
        """Wait for the batch under way; what went wrong with it is raised here."""
        if self._under_way is not None:
            task, self._under_way = self._under_way, None
            await task

    async def _send_next(self, batches: Iterable[pd.DataFrame]) -> None:
        for batch in batches:
            self._batches += 1
            await self._send(updates_of(batch), str(self._batches))

    async def _send(self, updates: list[ItemUpdate], label: str) -> None:
        not_taken = await self._session.runner.call(
            update_batch, self._session.pleo, self._job_id, updates, label=label
        )
        by_id = {update.accounting_entry_id: update for update in updates}
        self._not_taken |= {id_: (by_id[id_], why) for id_, why in not_taken.items()}
        self._report.taken(id_ for id_ in by_id if id_ not in not_taken)

    async def _send_what_can_be_sent(self) -> None:
        """The run is ending early: what is recorded should still reach Pleo, but no trouble may hide the cause."""
        try:
            await self._settled()
            await self._send_due(everything=True)
            await self._settled()
        except (PleoError, Stopped) as error:
            log.warning("Some outcomes could not be reported, the next run will: %s", error)

    async def _settle_what_was_not_taken(self) -> None:
        """Re-read what Pleo refused, send again what is not as wanted, a few times; then give up on the job."""
        for round_ in range(1, MAX_ROUNDS + 1):
            if not self._not_taken:
                return
            rows = await self._session.runner.call(
                reread_items, self._session.pleo, self._job_id, set(self._not_taken), label="that were refused"
            )
            wanted = still_to_send({id_: update for id_, (update, _) in self._not_taken.items()}, rows)
            reasons = {id_: self._not_taken[id_][1] for id_ in wanted}
            self._report.taken(id_ for id_ in self._not_taken if id_ not in wanted)
            self._not_taken = {}
            if wanted and round_ == MAX_ROUNDS:
                raise ItemsRefused(reasons)
            if round_ > 1 and wanted:
                await self._session.stop.sleep(float(round_))
            for start in range(0, len(wanted), self._session.update_batch_size):
                updates = list(wanted.values())[start : start + self._session.update_batch_size]
                await self._send(updates, f"again, round {round_}")


def _went_wrong(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
