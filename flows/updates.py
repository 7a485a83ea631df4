"""Step 6 while step 5 goes on: batches of results go out in the background, and none is left in doubt.

What waits too long for its batch to be full goes out as it is, whatever step 5 is waiting for meanwhile: a job that
hears nothing expires.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import count
from types import TracebackType

import pandas as pd

from blocks.pleo.errors import JobFinished, PleoError, PleoUnavailable
from blocks.pleo.models import ExportJob
from blocks.text import one_line
from flows.failures import JobFails
from flows.results import Results, Row, answers_of, updates_of
from flows.session import Session
from flows.steps.retrieve import reread_items
from flows.steps.update import still_to_send
from flows.stop import Stopped

log = logging.getLogger(__name__)

MAX_WAIT_S = 60.0
"""A result goes out at the latest after a minute, sooner where the job's life is short, which keeps the job alive."""

MOST_AT_ONCE = 3
MAX_ROUNDS = 3
_LOOK_AGAIN_S = 0.05


class ItemsRefused(Exception):
    """Pleo keeps refusing to update some items; `lines` names each with what Pleo said."""

    def __init__(self, refused: dict[str, str]) -> None:
        super().__init__(f"Pleo did not take the outcome of {len(refused)} items; the job stays open")
        self.lines = [f"{id_}: not updated in Pleo, {one_line(why, 200)}" for id_, why in refused.items()]


class Updates:
    """Tells Pleo the results of a job. As a context manager it sends what is left, whichever way the block ends."""

    def __init__(self, session: Session, job: ExportJob, results: Results, max_wait_s: float = MAX_WAIT_S) -> None:
        """`results` learns of each item that Pleo has taken."""
        self._session = session
        self._job = job
        self._results = results
        self._max_wait_s = max_wait_s
        self._since = session.clock()
        self._under_way: set[asyncio.Task[None]] = set()
        self._in_time: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._failed = False
        self._not_taken: dict[str, str] = {}
        self._numbers = count(1)

    async def __aenter__(self) -> Updates:
        if not self._session.dry_run:
            self._in_time = asyncio.create_task(self._send_in_time())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_time is None:
            return
        self._in_time.cancel()
        await asyncio.gather(self._in_time, return_exceptions=True)
        try:
            if kind is None or isinstance(error, JobFails):  # the job is ended next, so nothing may be in doubt
                await self.flush()
                await self._settle_what_was_not_taken()
            elif not isinstance(error, (JobFinished, PleoUnavailable, asyncio.CancelledError)) and not self._is_broken:
                await self._send_what_can_be_sent()
        finally:  # one that went wrong leaves none of the others behind
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def add(self, rows: Iterable[Row]) -> None:
        """Take in rows and start to send what is due; waits only while enough batches are under way."""
        self._results.add(rows)
        if self._session.dry_run:
            return
        self._raise_what_went_wrong()  # a job that is over takes no more, so nothing more should be booked for it
        await self._send_due()

    async def flush(self) -> None:
        """Send all that waits, and wait for the answers."""
        if not self._session.dry_run:
            await self._send_due(everything=True)
            await self._settled()

    # -- when -----------------------------------------------------------------------------------------------------

    def _due_in_s(self) -> float:
        """Seconds after which something may be due that is not due now; 0 when something is."""
        left_s = self._since + self._max_wait_s - self._session.clock()
        if left_s <= 0 and not self._results.waiting:
            return self._max_wait_s  # what comes now is due when it comes
        return max(left_s, 0.0)

    async def _send_due(self, *, everything: bool = False) -> None:
        """Send full batches, and the rest with `everything` or when Pleo has heard nothing for too long."""
        size = self._session.update_batch_size
        async with self._turn:
            least = 1 if everything or self._due_in_s() <= 0 else size
            while self._results.waiting >= least:
                await self._room()  # before a batch is taken, which would be in nobody's hands if this went wrong
                self._start(self._results.next_batch(size))

    async def _send_in_time(self) -> None:
        """Send what waits as soon as it is due, until a batch goes wrong: that is told to whoever adds the next rows,
        or when the block ends. It waits for batches and never holds one, so that it may be cancelled at any time."""
        while True:
            await self._session.stop.sleep(self._due_in_s())
            await self._free()
            late = self._results.waiting if self._due_in_s() <= 0 else 0
            while late > 0 and self._results.waiting and not self._is_broken:
                batch = self._results.next_batch(min(late, self._session.update_batch_size))
                late -= len(batch)
                self._start(batch)
                await self._free()
            if self._is_broken:
                return

    async def _free(self) -> None:
        """Wait until nobody else is handing out batches, and one more may be under way, or a batch has gone wrong."""
        while not self._is_broken and (self._turn.locked() or len(self._under_way) >= MOST_AT_ONCE):
            await self._a_moment()

    @property
    def _is_broken(self) -> bool:
        return self._failed or any(_went_wrong(task) for task in self._under_way)

    async def _a_moment(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
            self._forget_what_went_well()
        else:
            await asyncio.sleep(_LOOK_AGAIN_S)

    # -- under way ------------------------------------------------------------------------------------------------

    def _start(self, batch: pd.DataFrame) -> None:
        self._since = self._session.clock()
        self._under_way.add(asyncio.create_task(self._send(batch)))

    async def _room(self) -> None:
        """Wait until one more batch may be under way; what went wrong with another is raised here."""
        self._raise_what_went_wrong()
        while len(self._under_way) >= MOST_AT_ONCE:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            self._raise_what_went_wrong()

    async def _settled(self) -> None:
        """Wait for all that is under way; what went wrong is raised here, once all of it has ended."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        self._raise_what_went_wrong()

    def _raise_what_went_wrong(self) -> None:
        self._forget_what_went_well()
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            self._failed = True
            task.result()

    def _forget_what_went_well(self) -> None:
        self._under_way = {task for task in self._under_way if not task.done() or _went_wrong(task)}

    async def _send(self, batch: pd.DataFrame) -> None:
        not_taken = await self._session.steps.update_items(self._session, self._job, batch, next(self._numbers))
        self._not_taken |= not_taken
        await self._taken(batch[~batch["accounting_entry_id"].isin(list(not_taken))] if not_taken else batch)

    async def _taken(self, rows: pd.DataFrame) -> None:
        """Pleo has taken the outcome of these rows."""
        self._results.acknowledge(rows)
        await self._session.note_answers(answers_of(rows, self._job.id))

    async def _send_what_can_be_sent(self) -> None:
        """The run is ending early: what is recorded should still reach Pleo, but no trouble may hide the cause."""
        try:
            await self._settled()
            await self.flush()
        except (PleoError, Stopped) as error:
            log.warning("Some outcomes could not be reported, the next run will: %s", error)
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _settle_what_was_not_taken(self) -> None:
        """Re-read what Pleo refused, send again what is not as wanted, a few times; then give up on the job."""
        session = self._session
        for round_ in range(1, MAX_ROUNDS + 1):
            if not self._not_taken:
                return
            refused, self._not_taken = self._not_taken, {}
            rows = await reread_items(session.pleo, self._job.id, set(refused))
            frame = self._results.rows_of(refused)
            wanted = still_to_send({update.accounting_entry_id: update for update in updates_of(frame)}, rows)
            await self._taken(frame[~frame["accounting_entry_id"].isin(list(wanted))])
            if wanted and round_ == MAX_ROUNDS:
                raise ItemsRefused({id_: refused[id_] for id_ in wanted})
            if round_ > 1 and wanted:
                await session.stop.sleep(float(round_))
            again = self._results.rows_of(wanted)
            for start in range(0, len(again), session.update_batch_size):
                await self._send(again.iloc[start : start + session.update_batch_size])


def _went_wrong(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
