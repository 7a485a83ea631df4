"""Processes that may die at any moment, and what lies between them and everybody else: calls that take their time, get
lost, come late or twice, on the way there or back."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any, TypeVar

import httpx

from flows.stop import Stop
from tests.support.network.virtual_time import owner
from tests.survival.simulation.pleo import Json, Reply

T = TypeVar("T")
BEGIN = datetime(2026, 11, 3, 8, tzinfo=UTC)


def clock() -> float:
    """Seconds since the simulation began."""
    return asyncio.get_running_loop().time()


def now() -> float:
    """True time, in seconds since 1970."""
    return BEGIN.timestamp() + clock()


class Broken(Exception):
    """The connection broke."""


class Silence(Exception):
    """No answer came in time."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a call. Times are in seconds; `again_s` is when a second copy of it arrives, if one does.

    `lost` is "there" where it never arrives, "back" where its answer does not; `breaks` tells that this is noticed.
    """

    there_s: float = 0.02
    back_s: float = 0.02
    lost: str = ""
    breaks: bool = True
    again_s: float | None = None


@dataclass
class Weather:
    """How often calls of one run to Pleo meet trouble, and when Pleo is away (from, to; in seconds): altogether, or for
    calls of one method."""

    trouble: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)
    away_for: str = ""

    def fate(self, choose: random.Random) -> Fate:
        """What becomes of the next call."""
        there, back = choose.uniform(0.005, 0.2), choose.uniform(0.005, 0.3)
        if choose.random() >= self.trouble:
            return Fate(there, back)
        match choose.randrange(6):
            case 0 | 1:
                return Fate(there, back, choose.choice(["there", "back"]), choose.random() < 0.7)
            case 2:
                return Fate(choose.choice([5.0, 45.0, 90.0, 400.0]) * choose.uniform(0.5, 1.5), back)
            case 3:
                return Fate(there, choose.choice([20.0, 100.0]), breaks=False)
            case 4:
                return Fate(there, back, again_s=choose.choice([0.01, 2.0, 120.0, 900.0]))
            case _:
                return Fate(there, back)


@dataclass(eq=False)
class Process:
    """A run of the export as a process of its own.

    `fuse` counts the steps that it has left to live. `offset` is how wrong its clock is. The rest is what an observer
    notes of it: `seen_final` the items that Pleo showed as final before it told anything, `told` what it told Pleo of
    each item and `amounts` what that came to then, `doubt` what it told without a good answer since, `acknowledged`
    what it told with one.
    """

    name: str
    trace: Callable[[str], None]
    choose: random.Random
    count: Callable[[str], None] = lambda _what: None
    fuse: int = 0
    offset: Callable[[], timedelta] = timedelta
    dead: bool = False
    busy: bool = False
    stop: Stop = field(default_factory=Stop)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    flying: dict[asyncio.TimerHandle, tuple[str, Callable[[], None], bool]] = field(default_factory=dict)
    seen_final: dict[str, set[str]] = field(default_factory=dict)
    told: dict[str, dict[str, Json]] = field(default_factory=dict)
    amounts: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    doubt: dict[str, dict[str, Json]] = field(default_factory=dict)
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    looked_at: dict[str, float] = field(default_factory=dict)
    """When it began a job, or last read what is done of it."""
    ended: set[str] = field(default_factory=set)
    """The jobs that it has sent a final event for."""

    def start(self, main: Any) -> asyncio.Task[Any]:
        """Begin to run."""
        token = owner.set(self.tasks)
        try:
            return asyncio.get_running_loop().create_task(main)
        finally:
            owner.reset(token)

    def now(self) -> datetime:
        """What its clock shows."""
        return datetime.fromtimestamp(now(), UTC) + self.offset()

    def step(self, what: str) -> None:
        """Something of it is about to happen: the moment to die, where its time has come."""
        if self.dead:
            raise asyncio.CancelledError
        if self.fuse > 0:
            self.fuse -= 1
            if self.fuse == 0:
                self.kill(f"before: {what}")
                raise asyncio.CancelledError

    def kill(self, why: str) -> None:
        """It is gone from one moment to the next. What it has sent may still arrive, at once, later, or not."""
        if self.dead:
            return
        self.trace(f"{self.name} is killed {why}")
        self.dead = True
        self.count("killed")
        for timer, (label, arrive, may_be_late) in list(self.flying.items()):
            if timer.cancelled() or timer.when() <= clock():
                continue
            match self.choose.choice(["goes on", "lost", "late"]):
                case "lost":
                    timer.cancel()
                    self.trace(f"{self.name}: {label} never arrives")
                case _ if not may_be_late:
                    timer.cancel()
                    arrive()
                case "late":
                    timer.cancel()
                    asyncio.get_running_loop().call_later(self.choose.choice([1.0, 20.0, 120.0, 900.0]), arrive)
                    self.trace(f"{self.name}: {label} arrives late")
                    self.count("arrived after a death")
        for task in self.tasks:
            task.cancel()

    async def exchange(
        self, label: str, act: Callable[[], T], fate: Fate, patience_s: float, *, may_be_late: bool = True
    ) -> T:
        """Send a call, have it carried out, hear the answer. Raises Broken or Silence, or what `act` raises."""
        self.step(f"{label} is sent")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def arrive() -> None:
            self.flying.pop(timer, None)
            try:
                result = act()
            except Exception as error:
                if not answer.done():
                    loop.call_later(fate.back_s, _fail, answer, error)
                return
            if fate.lost != "back":
                loop.call_later(fate.back_s, _settle, answer, result)
            elif fate.breaks:
                loop.call_later(fate.back_s, _fail, answer, Broken("the connection broke"))

        if fate.lost == "there":
            timer = loop.call_later(fate.there_s, lambda: None)
            self.trace(f"{self.name}: {label} gets lost")
            if fate.breaks:
                loop.call_later(fate.there_s, _fail, answer, Broken("the connection broke"))
        else:
            timer = loop.call_later(fate.there_s, arrive)
            self.flying[timer] = (label, arrive, may_be_late)
            if fate.again_s is not None:
                loop.call_later(fate.there_s + fate.again_s, act)
        self.step(f"{label} is under way")
        try:
            async with asyncio.timeout(patience_s):
                result = await answer
        except TimeoutError:
            raise Silence(f"no answer for {patience_s} s") from None
        self.step(f"{label} is answered")
        return result


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


Answerer = Callable[[Process, str, str, list[tuple[str, str]], Any, str], Reply]


class PleoWire(httpx.AsyncBaseTransport):
    """The way of one process to Pleo, for its HTTP client. `heard` is told of each answer that came back whole."""

    def __init__(
        self,
        process: Process,
        weather: Weather,
        answer: Answerer,
        sent: Callable[[Process, str, str, Any], None],
        heard: Callable[[Process, str, str, Any, Reply], None],
        *,
        dates: bool,
    ) -> None:
        self._process, self._weather, self._answer = process, weather, answer
        self._sent, self._heard, self._dates = sent, heard, dates

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request there and its answer back."""
        process, choose = self._process, self._process.choose
        method, path = request.method, request.url.path
        query = list(request.url.params.multi_items())
        body = json.loads(request.content) if request.content else None
        auth = request.headers.get("authorization", "")
        label = f"{method} {path}"
        away = self._weather.away[0] <= clock() < self._weather.away[1] and self._weather.away_for in ("", method)
        fate = self._weather.fate(choose)
        bad = choose.randrange(9) if choose.random() < self._weather.trouble / 2 else -1
        if away:
            fate, bad = (Fate(lost="there"), -1) if choose.random() < 0.5 else (Fate(), 3)
        process.step(label)
        self._sent(process, method, path, body)

        def act() -> Reply:
            if bad in (0, 1, 2, 3, 4):
                statuses = (429, 500, 502, 503, 504)
                process.trace(f"{process.name}: {label} is answered with {statuses[bad]}, not carried out")
                waits = ["0", "2", "-5", "999999", "soon", "Tue, 03 Nov 2026 08:00:30 GMT"]
                headers = (("retry-after", choose.choice(waits)),) if choose.random() < 0.6 else ()
                return Reply(statuses[bad], {"type": "FAULT"}, headers)
            return self._answer(process, method, path, query, body, auth)

        try:
            reply = await process.exchange(label, act, fate, 30.0)
        except Broken as error:
            raise httpx.ReadError(str(error), request=request) from None
        except Silence as error:
            raise httpx.ReadTimeout(str(error), request=request) from None
        content, status = reply.body(), reply.status
        headers = [("content-type", "application/json;charset=UTF-8"), *reply.headers]
        if self._dates:
            headers.append(("date", formatdate(now(), usegmt=True)))
        if bad == 5:
            content, headers, status = b"<html>wait</html>", [("content-type", "text/html")], 200
        elif bad == 6:
            content = content[: len(content) // 2]
        elif bad in (7, 8):
            content, status = b"", 502
        if bad < 5 or (bad == 6 and not content):
            self._heard(process, method, path, body, reply)
        else:
            process.trace(f"{process.name}: the answer to {label} is spoilt")
        return httpx.Response(status, headers=headers, content=content, request=request)
