"""Calls at the pace that an ERP allows, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from blocks.erp.errors import ErpRateLimited
from blocks.erp.remote.pacing import DAY_S, LimitHeader, Pace, Pacer
from tests.support.network.virtual_time import run


def _timed(
    pace: Pace, calls: int, *, takes_s: float = 0.0, others: Callable[[Pacer, int], None] = lambda *_: None
) -> list[float]:
    """When each of so many calls was sent, all asked for at once."""
    sent: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        pacer = Pacer(pace, clock=loop.time)

        async def call() -> None:
            async with pacer.place():
                sent.append(loop.time())
                await asyncio.sleep(takes_s)
                others(pacer, len(sent))

        await asyncio.gather(*(call() for _ in range(calls)))

    run(main())
    return [moment - sent[0] for moment in sent]


def test_without_a_limit_nobody_waits() -> None:
    assert _timed(Pace(), 50) == [0.0] * 50


@pytest.mark.parametrize("takes_s", [0.0, 0.7, 20.0])
def test_no_minute_holds_more_calls_than_are_allowed_wherever_in_between_the_server_counts_them(takes_s: float) -> None:
    sent = _timed(Pace(a_minute=7, at_once=3), 30, takes_s=takes_s)
    for first, later in zip(sent, sent[7:], strict=False):
        assert later >= first + takes_s + 60.0


def test_no_more_are_at_once_than_are_allowed() -> None:
    sent = _timed(Pace(at_once=3), 9, takes_s=10.0)
    assert sent == [0.0] * 3 + [10.0] * 3 + [20.0] * 3


def test_a_day_that_is_used_up_is_the_runners_matter() -> None:
    with pytest.raises(ErpRateLimited) as caught:
        _timed(Pace(a_day=5), 6)
    assert caught.value.clears_in_s == pytest.approx(DAY_S, abs=1)


def test_a_pause_holds_all_calls() -> None:
    def hold(pacer: Pacer, calls: int) -> None:
        if calls == 2:
            pacer.hold(30.0)

    assert _timed(Pace(at_once=1), 4, others=hold) == [0.0, 0.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [
        ({"x-left": "0"}, 60.0),
        ({"x-left": "0", "x-reset": "12"}, 12.0),
        ({"x-left": "1", "x-reset": "12"}, 0.0),
        ({"x-left": "none"}, 0.0),
        ({}, 0.0),
        ({"x-left": "0", "x-reset": "4000"}, 0.0),  # the next call hears it, with the pause that is meant
    ],
)
def test_what_the_server_says_is_left_is_heeded(headers: dict[str, str], waits_s: float) -> None:
    pace = Pace(at_once=1, headers=(LimitHeader("x-left", "x-reset"),))
    sent = _timed(pace, 2, others=lambda pacer, calls: pacer.heed(headers) if calls == 1 else None)
    assert sent == [0.0, waits_s]


def test_the_longest_window_without_a_reset_is_left_to_the_server() -> None:
    pace = Pace(at_once=1, headers=(LimitHeader("x-day-left", window_s=DAY_S),))
    assert _timed(pace, 2, others=lambda pacer, _: pacer.heed({"x-day-left": "0"})) == [0.0, 0.0]
