"""From a delivery to a run of the export: what waits for Prefect, handed on as fast as Prefect takes it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from blocks.text import one_line
from flows.deliveries import Delivery, WebhookError
from flows.inbox import LIFE_S, Inbox

log = logging.getLogger("flows.webhook")

ANSWER_S = 0.7
"""How long a delivery waits for its run: whoever delivers gets an answer in less than a second."""

STORE_S = 0.4
"""How long of it the disk may take."""

QUIET_S = 10.0
"""How long Prefect may take no run before it is away: its server is busy for seconds now and then."""

LOOK_AFTER_S, LOOK_S = 0.1, 0.4
"""When Prefect's server is asked whether it is there at all, and how long it has to say so: Prefect's client tries for
seconds where nobody listens, and a server that is busy answers this all the same, as it takes no database."""

AGAIN_S, LONGEST_PAUSE_S = 0.05, 1.6
"""Before Prefect is asked again, and twice as long each time: on SQLite it says 503, or refuses all runs of a call,
when somebody else has written meanwhile."""

BATCH = 20
"""How many runs are asked for at once; the server takes 100, but lets nobody else write meanwhile."""

MOST_WAITING = 5_000
"""Deliveries that Prefect has not taken yet, and ids that it has: a few megabytes of each."""

Make = Callable[[Sequence[Delivery]], Awaitable[Sequence[str | None]]]
"""Has runs made; says for each what is wrong with it, None where nothing is. Raises WebhookError where the deployment
is not there, and anything where it cannot be asked."""

IsThere = Callable[[float], Awaitable[bool]]
"""Whether Prefect's server answers within so many seconds."""


class PrefectAway(Exception):
    """Prefect has not taken a run in time, or refuses it; whoever delivers should come again."""


@dataclass(eq=False, slots=True)
class _Start:
    """A delivery on its way to Prefect."""

    delivery: Delivery
    taken: asyncio.Future[None]
    is_stored: bool = False
    problem: str | None = None
    received: float = field(default_factory=time.monotonic)


class Starts:
    """Has a run made of each delivery: those that come while Prefect is asked for others are asked for together.

    What Prefect does not take in time lies in the inbox and is asked for again until it does, by the next process if
    need be: whoever delivers again then finds it done.
    """

    def __init__(self, make: Make, is_there: IsThere, inbox: Inbox) -> None:
        self._make = make
        self._server_is_there = is_there
        self._inbox = inbox
        self._waiting: deque[_Start] = deque()
        self._under_way: dict[str, _Start] = {}
        self._done: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._answered: float | None = None

    def answered(self) -> None:
        """Prefect is there: it has just answered."""
        self._answered = time.monotonic()

    async def resume(self) -> None:
        """Take up what another process has left in the inbox. Raises WebhookError where it cannot be used."""
        for delivery in await self._inbox.open():
            start = self._begun(delivery)
            start.is_stored = True
            self._wait(start)

    async def start(self, delivery: Delivery) -> None:
        """Have a run made for the delivery, if it has none.

        Returns once Prefect has the run, or where Prefect has more to do than fits into the time of an answer, once the
        delivery is in the inbox. Raises PrefectAway.
        """
        if delivery.message_id in self._done:
            return
        began = time.monotonic()
        start = self._under_way.get(delivery.message_id)
        if start is None:
            if len(self._under_way) >= MOST_WAITING:
                raise PrefectAway("too many wait already")
            start = self._begun(delivery)
            start.is_stored = await self._stored(delivery)
            self._wait(start)
        if not (start.is_stored and self._is_there() and len(self._waiting) > BATCH):
            await asyncio.wait([start.taken], timeout=max(0.0, began + ANSWER_S - time.monotonic()))
        if start.taken.done():
            return
        if start.problem is not None or not (start.is_stored and self._is_there()):
            raise PrefectAway(start.problem or "no answer in time")

    async def hand_on(self) -> None:
        """Hand on what waits, for ever."""
        pause_s = AGAIN_S
        while True:
            await self._wake.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not batch:
                self._wake.clear()
                continue
            try:
                problems = await self._made([start.delivery for start in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                if isinstance(error, (PrefectAway, WebhookError)):  # nobody knows whether it comes back
                    self._answered = None
                self._waiting.extendleft(reversed(batch))
                pause_s = await self._pause(pause_s, type(error).__name__)
                continue
            for start, problem in zip(batch, problems, strict=True):
                start.problem = problem
            self._waiting.extend(start for start in batch if start.problem is not None)
            if made := [start for start in batch if start.problem is None]:
                self.answered()
                pause_s = AGAIN_S
                await self._end(made)
            else:
                pause_s = await self._pause(pause_s, str(problems[0]))

    async def _made(self, deliveries: Sequence[Delivery]) -> Sequence[str | None]:
        """Have these runs made, and find out meanwhile whether there is anybody to make them."""
        making = asyncio.ensure_future(self._make(deliveries))
        try:
            await asyncio.wait([making], timeout=LOOK_AFTER_S)
            if not making.done() and not await self._server_is_there(LOOK_S):
                self._answered = None
            return await making
        finally:
            making.cancel()

    async def _pause(self, seconds: float, why: str) -> float:
        """Wait until Prefect is asked again, which its busy database mends mostly; how long to wait the next time."""
        if seconds < LONGEST_PAUSE_S <= 2 * seconds:
            log.warning("Prefect takes no runs (%s): it is asked until it does", why)
        await self._give_up_old()
        await asyncio.sleep(seconds)
        return min(2 * seconds, LONGEST_PAUSE_S)

    def _begun(self, delivery: Delivery) -> _Start:
        start = self._under_way[delivery.message_id] = _Start(delivery, asyncio.get_running_loop().create_future())
        return start

    def _wait(self, start: _Start) -> None:
        self._waiting.append(start)
        self._wake.set()

    async def _stored(self, delivery: Delivery) -> bool:
        """Whether it is in the inbox; what cannot be there is taken only if Prefect has its run in time."""
        try:
            async with asyncio.timeout(STORE_S):
                await self._inbox.store(delivery)
        except (sqlite3.Error, TimeoutError) as error:
            why = one_line(str(error), 100) or type(error).__name__
            log.warning("job %s of company %s is not in the inbox: %s", delivery.job_id, delivery.company_id, why)
            return False
        return True

    async def _end(self, starts: Sequence[_Start]) -> None:
        """Prefect has these runs."""
        for start in starts:
            id_ = start.delivery.message_id
            del self._under_way[id_]
            start.taken.set_result(None)
            self._done[id_] = None
            if len(self._done) > MOST_WAITING:
                self._done.popitem(last=False)
        await self._removed(starts)

    async def _give_up_old(self) -> None:
        """Forget what has waited until its job was over: where the schedule has not done that, it finds it out."""
        oldest = time.monotonic() - LIFE_S
        old = [start for start in self._waiting if start.received < oldest]
        for start in old:
            self._waiting.remove(start)
            del self._under_way[start.delivery.message_id]
            one = start.delivery
            log.warning("job %s of company %s is given up: Prefect took no run in time", one.job_id, one.company_id)
        if old:
            await self._removed(old)

    async def _removed(self, starts: Sequence[_Start]) -> None:
        try:
            await self._inbox.remove([start.delivery for start in starts])
        except sqlite3.Error as error:  # the next process asks Prefect for them once more, which makes none anew
            log.warning("deliveries stay in the inbox: %s", one_line(str(error), 100))

    def _is_there(self) -> bool:
        """Whether Prefect has answered lately."""
        return self._answered is not None and time.monotonic() - self._answered < QUIET_S
