"""Keeps our own requests within Pleo's limit of 600 a minute, and no slower than that asks for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Pacer:
    """A sliding window over the requests of one client.

    A request takes a place when it is sent and gives it back `window_s` seconds after its *answer*. As Pleo counts it
    somewhere in between, no window of that length can hold more than `limit` requests by Pleo's own clock either.
    After a 429 the requests are spread evenly until a whole window has passed without another.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        window_s: float = 60.0,
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._sleep = sleep
        self._answered: deque[float] = deque()
        self._under_way = 0
        self._turn = asyncio.Lock()
        self._last_sent = float("-inf")
        self._spread_until = float("-inf")

    def slow_down(self) -> None:
        """Spread requests evenly for one window from now: Pleo answered 429."""
        self._spread_until = self._clock() + self._window_s

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place in the window and hold it for the length of one request."""
        async with self._turn:
            while (wait := self._wait_s()) > 0:
                await self._sleep(wait)
            self._under_way += 1
            self._last_sent = self._clock()
        try:
            yield
        finally:
            self._under_way -= 1
            self._answered.append(self._clock())

    def _wait_s(self) -> float:
        now = self._clock()
        while self._answered and self._answered[0] <= now - self._window_s:
            self._answered.popleft()
        if now < self._spread_until:
            due = self._last_sent + self._window_s / self._limit
            if due > now:
                return due - now
        if len(self._answered) + self._under_way < self._limit:
            return 0.0
        if not self._answered:
            return 0.01  # everything is under way: an answer will give a place back
        return max(self._answered[0] + self._window_s - now, 0.001)
