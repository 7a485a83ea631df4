"""An event loop in which waiting costs nothing: when nobody is at work, its clock jumps to the next timer.

Timeouts, sleeps and budgets of the code under test need no change and take no real time. What would wait for ever, or
go round in circles without time passing, is an error here.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_S = 6 * 3600.0
MOST_TURNS_AT_ONCE = 200_000


class Hangs(BaseException):
    """Nothing would ever go on; no `except Exception` of the code under test may hide it."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
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
        if self.now > LONGEST_S:
            raise Hangs(f"still at work after {LONGEST_S:g} s")
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """Use it by `run`. What is given to a thread runs at once, in the loop's own thread."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    def run_in_executor(self, _executor: Executor | None, call: Callable[..., Any], *args: Any) -> Any:
        """The result as a future that is done."""
        future = self.create_future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future


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


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in a loop of its own."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)
