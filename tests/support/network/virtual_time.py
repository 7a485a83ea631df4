"""An event loop whose time is simulated: nothing waits, and hours pass as soon as everything waits for them."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_S = 400 * 3600.0
"""No simulation takes longer; one that does goes round in circles."""

owner: ContextVar[list[asyncio.Task[Any]] | None] = ContextVar("owner", default=None)
"""Where a task that is started from here on is put down, so that a simulated process takes all of its own with it."""


class NothingHappens(BaseException):
    """Everything waits for something that will never come."""


class _Selector(selectors.SelectSelector):
    """Never waits: time jumps to when the next thing is due."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingHappens("every task waits and nothing is due")
        self.loop.passed_s += max(timeout, 0.0)
        if self.loop.passed_s > LONGEST_S:
            raise NothingHappens(f"after {LONGEST_S / 3600:.0f} hours there is still no end")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Tasks and timers in their order, without threads, sockets or signals; `passed_s` is its time."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.passed_s = 0.0
        super().__init__(selector)
        self.set_task_factory(_task)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self.passed_s


def _task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None, **more: Any
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context, **more)
    tasks = owner.get() if context is None else context.get(owner)
    if tasks is not None:
        tasks.append(task)
    return task


def simulate(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in simulated time."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
