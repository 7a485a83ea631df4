"""No more calls than an ERP allows: in a minute, in a day, and at once; and none while it asks for a pause."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from blocks.erp.errors import ErpRateLimited

MINUTE_S, DAY_S = 60.0, 86_400.0
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LimitHeader:
    """A header that counts down the calls that are left in a window, such as `x-minlimit-remaining`. `reset` is the one
    that says when it begins anew, in seconds from now or since 1970; without it a window of a minute is waited for."""

    remaining: str
    reset: str = ""
    window_s: float = MINUTE_S


@dataclass(frozen=True, slots=True)
class Pace:
    """What a system allows: calls in any minute, in any day (None: any number), and at once. A pause that it asks for
    is waited for within the call up to `patience_s` seconds, and left to the runner beyond that."""

    a_minute: int | None = None
    a_day: int | None = None
    at_once: int = 4
    patience_s: float = 5.0
    headers: tuple[LimitHeader, ...] = ()


class _Window:
    """The calls of the last `length_s` seconds. A call counts from when it is sent until that long after its answer: as
    the server counts it somewhere in between, no window holds more by the server's clock either."""

    def __init__(self, most: int, length_s: float) -> None:
        self._most = most
        self._length_s = length_s
        self._answered: deque[float] = deque()
        self.under_way = 0

    def wait_s(self, now: float) -> float:
        while self._answered and self._answered[0] <= now - self._length_s:
            self._answered.popleft()
        if len(self._answered) + self.under_way < self._most:
            return 0.0
        if not self._answered:
            return 0.01  # all are under way: an answer starts the clock
        return max(self._answered[0] + self._length_s - now, 0.001)

    def answered(self, now: float) -> None:
        self.under_way -= 1
        self._answered.append(now)


class Pacer:
    """Lets calls pass one after the other, each as soon as it may. `clock` counts seconds."""

    def __init__(self, pace: Pace, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._room = asyncio.Semaphore(pace.at_once)
        self._turn = asyncio.Lock()
        self._minute = _Window(pace.a_minute, MINUTE_S) if pace.a_minute is not None else None
        self._day = _Window(pace.a_day, DAY_S) if pace.a_day is not None else None
        self._held_until = float("-inf")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for room and hold it for one call. Raises ErpRateLimited where the day's calls are used up."""
        windows = [one for one in (self._minute, self._day) if one is not None]
        async with self._room:
            async with self._turn:
                while (wait := self._wait_s()) > 0:
                    await self._sleep(wait)
                for one in windows:
                    one.under_way += 1
            try:
                yield
            finally:
                for one in windows:
                    one.answered(self._clock())

    def hold(self, seconds: float) -> None:
        """Let no call pass for so long."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Wait before the next call where the server says that none is left. When a longer window than a minute begins
        anew is the server's to say: the next call will be told."""
        for limit in self._pace.headers:
            left = headers.get(limit.remaining, "")
            if not left.isascii() or not left.isdigit() or int(left) > 0:
                continue
            reset = _seconds_until(headers.get(limit.reset, "")) if limit.reset else None
            pause = reset if reset is not None else limit.window_s
            if pause <= MINUTE_S:
                self.hold(pause)

    def _wait_s(self) -> float:
        now = self._clock()
        day = self._day.wait_s(now) if self._day is not None else 0.0
        if day > MINUTE_S:
            raise ErpRateLimited("the calls that are allowed in a day are used up", day)
        minute = self._minute.wait_s(now) if self._minute is not None else 0.0
        return max(day, minute, self._held_until - now)


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After asks for, in either of its forms, a day at most; None where it cannot be read.

    A date is measured against the answer's own Date where there is one, so that a wrong local clock is harmless.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 64:
        return min(float(text), DAY_S)
    due = _moment(text)
    if due is None:
        return None
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return min(max((due - now).total_seconds(), 0.0), DAY_S)


def _moment(text: str) -> datetime | None:
    if not text or len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _seconds_until(text: str) -> float | None:
    """A reset, which servers write in seconds from now, or as seconds since 1970."""
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        return None
    number = float(text)
    return number if number < 1e9 else max(number - datetime.now(UTC).timestamp(), 0.0)
