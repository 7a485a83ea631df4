"""An event loop in which waiting costs nothing: when nobody is at work, its clock jumps to the next timer.

Timeouts, sleeps and budgets of the code under test need no change and take no real time. What would wait for ever, or
go round in circles without time passing, is an error here.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context, ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_S = 6 * 3600.0
"""No run takes longer; one that does goes round in circles."""
MOST_TURNS_AT_ONCE = 200_000

owner: ContextVar[list[asyncio.Task[Any]] | None] = ContextVar("owner", default=None)
"""Where a task that is started from here on is put down, so that a simulated process takes all of its own with it."""


class Hangs(BaseException):
    """Nothing would ever go on; no `except Exception` of the code under test may hide it."""


class _Selector(selectors.DefaultSelector):
    """Never waits: time jumps to when the next thing is due."""

    def __init__(self) -> None:
        super().__init__()
        self.longest_s = LONGEST_S
        self.now = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self._turns += 1
        if self._turns > MOST_TURNS_AT_ONCE:
            self._turns = 0  # whoever ends the loop after this has turns of its own, to cancel what is under way
            raise Hangs(f"{MOST_TURNS_AT_ONCE} turns of the loop and no time passed")
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Hangs("everybody waits, and nothing will come")
        self._turns = 0
        self.now += timeout
        if self.now > self.longest_s:
            raise Hangs(f"still at work after {self.longest_s:g} s")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Use it by `run`. What is given to a thread runs at once, in the loop's own thread."""

    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)
        self.set_task_factory(_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.selector.now

    def run_in_executor(self, _executor: Executor | None, call: Callable[..., Any], *args: Any) -> Any:
        """The result as a future that is done."""
        future = self.create_future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def _task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None, **more: Any
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context, **more)
    tasks = owner.get() if context is None else context.get(owner)
    if tasks is not None:
        tasks.append(task)
    return task


class AtOnce:
    """Stands for `concurrent.futures.ThreadPoolExecutor` in a loop that knows no threads."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes what the other takes."""

    def submit(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Nothing is under way."""


def run(main: Coroutine[Any, Any, T], *, longest_s: float = LONGEST_S) -> T:
    """Run to the end in a loop of its own. Raises Hangs, also after so many virtual seconds."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        loop.selector.longest_s = longest_s
        return runner.run(main)
