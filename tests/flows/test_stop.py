"""Signals that belong together are one request to end; another one, a while later, ends the process at once."""

from __future__ import annotations

import asyncio
import signal
import weakref
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from flows import stop as module
from flows.stop import ONE_PRESS_S, Stop


class _Time:
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Time:
    """The clock that tells one press from two."""
    clock = _Time()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[signal.Signals]]:
    """The signals that the process sends itself, to end."""
    sent: list[signal.Signals] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(signal, "raise_signal", sent.append)
    yield sent
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_timeout_and_terminals_send_twice_is_one_request(time: _Time, raised: list[signal.Signals]) -> None:
    stop = Stop()
    stop.request(signal.SIGTERM)
    time.seconds += ONE_PRESS_S / 2
    stop.request(signal.SIGTERM)
    stop.request(signal.SIGINT)
    assert (stop.signal, stop.is_requested, raised) == (signal.SIGTERM, True, [])


def test_a_second_press_ends_the_process_at_once(time: _Time, raised: list[signal.Signals]) -> None:
    stop = Stop()
    stop.request(signal.SIGINT)
    time.seconds += ONE_PRESS_S + 0.1
    stop.request(signal.SIGINT)
    assert raised == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_a_lost_terminal_is_told_by_several_and_hurries_nobody(time: _Time, raised: list[signal.Signals]) -> None:
    stop = Stop()
    stop.request(signal.SIGHUP)
    time.seconds += 60
    stop.request(signal.SIGHUP)
    assert raised == []


async def test_under_nohup_a_lost_terminal_is_no_request_to_end() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.on_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
        assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


class _Page:
    """What weighs something."""


async def test_a_limit_that_is_over_keeps_nothing_of_the_task_that_set_it() -> None:
    page_of_the_task: ContextVar[_Page] = ContextVar("page_of_the_task")

    async def task() -> weakref.ref[_Page]:
        page = _Page()
        page_of_the_task.set(page)
        async with Stop().limit(3600.0):
            await asyncio.sleep(0)
        return weakref.ref(page)

    async with asyncio.timeout(60.0):  # which comes first: what is due behind it, asyncio does not let go of
        page = await asyncio.create_task(task())
        await asyncio.sleep(0)
        assert page() is None


async def test_a_limit_ends_what_takes_longer_and_a_request_to_end_makes_it_shorter() -> None:
    with pytest.raises(TimeoutError):
        async with Stop().limit(0.01):
            await asyncio.sleep(60)
    stop = Stop()
    async with stop.limit(None), stop.limit(3600.0):
        stop.request(signal.SIGTERM)
        assert {limit.when() < asyncio.get_running_loop().time() + 60 for limit in stop._limits} == {True}
