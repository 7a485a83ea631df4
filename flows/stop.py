"""Asking a run to end: between two requests or pages, never in the middle of one."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from typing import NoReturn, TypeVar

from blocks import ground

T = TypeVar("T")

GRACE_S = 5.0
"""How long a call that is under way when the run is asked to end may still take."""

ONE_PRESS_S = 1.0
"""Within what time further signals belong to the first: `timeout` and terminals send one to a process and its group."""


class Stopped(Exception):
    """The run was asked to end; what is recorded stays, and the next run goes on from there."""


class Stop:
    """Remembers that SIGINT, SIGTERM or SIGHUP came, and interrupts waiting. A second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._came_at = 0.0
        self._before_the_run = False
        self.interrupted: list[Hashable] = []
        """What of `waits_as` was waiting when the run was asked to end."""
        self._set = asyncio.Event()
        self._limits: set[asyncio.Timeout] = set()
        self._waiting: dict[asyncio.Task[object], Hashable] = {}
        self._listening = 0

    def request(self, signum: signal.Signals) -> None:
        """Ask the run to end."""
        if self.signal is not None:
            if signum != _HANGUP and time.monotonic() - self._came_at > ONE_PRESS_S:
                signal.signal(signum, signal.SIG_DFL)
                signal.raise_signal(signum)
            return
        self.signal, self._came_at = signum, time.monotonic()
        if self._before_the_run:
            _end_before_the_run(signum)
        self._set.set()
        for limit in self._limits:
            _shorten(limit)
        for task, name in self._waiting.items():
            self.interrupted.append(name)
            task.cancel()

    @property
    def is_requested(self) -> bool:
        """Whether the run was asked to end."""
        return self._set.is_set()

    @asynccontextmanager
    async def limit(self, seconds: float | None) -> AsyncIterator[None]:
        """As `asyncio.timeout`, but of a few seconds once the run is asked to end."""
        async with asyncio.timeout(None) as limit:
            if seconds is not None:
                # In a context without anything: asyncio keeps timers for a while once they are cancelled, and with a
                # timer its context, in which Prefect has all that a task was given and returned: pages, batches.
                Context().run(limit.reschedule, asyncio.get_running_loop().time() + seconds)
            self._limits.add(limit)
            try:
                if self._set.is_set():
                    _shorten(limit)
                yield
            finally:
                self._limits.discard(limit)

    def check(self) -> None:
        """Raise Stopped when the run was asked to end."""
        if self._set.is_set():
            raise Stopped(f"stopped by {self.signal.name if self.signal else 'request'}")

    async def sleep(self, seconds: float) -> None:
        """Wait, but raise Stopped as soon as the run is asked to end."""
        self.check()
        try:
            async with asyncio.timeout(seconds):
                await self._set.wait()
        except TimeoutError:
            return
        self.check()

    # -- waiting that somebody else does, Prefect between two tries say ---------------------------------------------

    def waits_as(self, name: Hashable) -> None:
        """From here on the current asyncio task only waits, so it may be cancelled; until `works` is said."""
        task = asyncio.current_task()
        if task is not None:
            self._waiting[task] = name

    def works(self) -> None:
        """The current asyncio task is at work again, and must not be cancelled: what it writes may be half done."""
        task = asyncio.current_task()
        if task is not None:
            self._waiting.pop(task, None)

    async def heard(self, call: Awaitable[T]) -> T:
        """The call's result; raises Stopped where its waiting was cut short because the run was asked to end."""
        task = asyncio.current_task()
        try:
            return await call
        except asyncio.CancelledError:
            if task is None or task not in self._waiting or not self.is_requested:
                raise  # somebody else's doing
            task.uncancel()
            self.check()
            raise
        finally:
            self.works()  # whatever came of it: what this task does next must not be cancelled

    def listen(self) -> None:
        """Listen to signals from here on, where no event loop runs; in the main thread alone."""
        if threading.current_thread() is threading.main_thread():
            for signum in _signals():
                signal.signal(signum, lambda number, _: self.request(signal.Signals(number)))

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to signals while the block runs, in place of whoever else does. Blocks may be nested."""
        loop = asyncio.get_running_loop()
        before = {signum: signal.getsignal(signum) for signum in _signals()}
        try:
            for signum in before:
                loop.add_signal_handler(signum, self.request, signum)
        except (NotImplementedError, RuntimeError, ValueError):
            yield  # not the main thread, or a platform without: whoever called us handles signals
            return
        self._listening += 1
        try:
            yield
        finally:
            self._listening -= 1
            if self._listening == 0:  # else the outer block would be deaf from here on
                for signum, handler in before.items():
                    loop.remove_signal_handler(signum)
                    signal.signal(signum, handler)


def _shorten(limit: asyncio.Timeout) -> None:
    latest = asyncio.get_running_loop().time() + GRACE_S
    if not limit.expired():
        limit.reschedule(min(limit.when() or latest, latest))


_HANGUP = getattr(signal, "SIGHUP", None)


def _signals() -> list[signal.Signals]:
    """The signals that ask a run to end; a lost terminal's does not where it is ignored (`nohup`)."""
    asking = [signal.SIGINT, signal.SIGTERM]
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:
        asking.append(_HANGUP)
    return asking


_of_this_command: list[Stop] = []


def listen_before_the_run() -> None:
    """Listen to signals from now on, while what the run needs is imported: a signal ends the program at once."""
    stop = stop_of_this_command()
    stop._before_the_run = True


def stop_of_this_command() -> Stop:
    """The one `Stop` of a command. It listens, and from here on asks the run to end."""
    if not _of_this_command:
        _of_this_command.append(Stop())
        _of_this_command[0].listen()
    _of_this_command[0]._before_the_run = False
    return _of_this_command[0]


NOTHING_DONE = {"jobs": [], "pleo_requests": 0, "seconds": 0.0}
"""The report of a run that had not begun, as a JSON document."""


def _end_before_the_run(signum: signal.Signals) -> NoReturn:
    """Report that nothing was done, and end at once: in the midst of an import, which might swallow an exception."""
    sys.stderr.write(f"stopped by {signum.name}\n")
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps(NOTHING_DONE) + "\n")
    ground.leave_at_once(128 + signum)
