"""Never more than Pleo's 600 requests in 60 seconds by Pleo's own clock, and no slower than that asks for.

Time here is simulated: a loop whose clock jumps to the next thing that is due.
"""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.pleo.http.auth import KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.pacing import Pacer
from blocks.pleo.http.transport import REQUESTS_A_MINUTE, Clock
from tests.support.network.virtual_time import run as simulate
from tests.support.pleo.scripted_pleo import JOB_ID, SAME_EVERY_TIME, job

LIMIT, WINDOW_S = 600, 60.0


LONGEST_S = 7 * 86_400.0
"""One worker behind a slow network takes a day for requests that others make in minutes."""


def now() -> float:
    return asyncio.get_running_loop().time()


def most_in_a_window(times: list[float]) -> int:
    """The largest number of arrivals in any 60 seconds, counted as Pleo may: both ends included, less a rounding."""
    times = sorted(times)
    start, most = 0, 0
    for end, at in enumerate(times):
        while at - times[start] > WINDOW_S - 1e-6:
            start += 1
        most = max(most, end - start + 1)
    return most


def pacer() -> Pacer:
    return Pacer(REQUESTS_A_MINUTE, clock=now, sleep=asyncio.sleep)


@settings(SAME_EVERY_TIME, max_examples=25)
@given(
    there=st.lists(st.floats(0, 20), min_size=1, max_size=11),
    back=st.lists(st.floats(0, 20), min_size=1, max_size=7),
    workers=st.sampled_from([1, 7, 60, 700]),
    rests=st.lists(st.floats(0, 40), max_size=3),
)
def test_no_minute_at_the_server_holds_more_than_600(
    there: list[float], back: list[float], workers: int, rests: list[float]
) -> None:
    async def run() -> list[float]:
        paced, arrivals, left = pacer(), list[float](), list(range(1500))

        async def worker() -> None:
            while left:
                n = left.pop()
                async with paced.place():
                    await asyncio.sleep(there[n % len(there)])
                    arrivals.append(now())
                    await asyncio.sleep(back[n % len(back)])
                if rests and n % 311 == 0:
                    await asyncio.sleep(rests[n % len(rests)])

        await asyncio.gather(*(worker() for _ in range(workers)))
        return arrivals

    arrivals = simulate(run(), longest_s=LONGEST_S)
    assert len(arrivals) == 1500
    assert most_in_a_window(arrivals) <= LIMIT


@settings(SAME_EVERY_TIME, max_examples=15)
@given(latency=st.floats(0.001, 1.5), workers=st.integers(20, 40))
def test_at_saturation_at_least_95_percent_of_the_limit_is_used(latency: float, workers: int) -> None:
    async def run() -> float:
        paced, left, started = pacer(), list(range(3000)), now()

        async def worker() -> None:
            while left:
                left.pop()
                async with paced.place():
                    await asyncio.sleep(latency)

        await asyncio.gather(*(worker() for _ in range(workers)))
        return now() - started

    seconds = simulate(run())
    assert seconds <= (3000 - LIMIT) / (0.95 * LIMIT / WINDOW_S) + WINDOW_S
    assert seconds >= (3000 - LIMIT) / (LIMIT / WINDOW_S)  # faster would be too fast


def test_the_304_requests_of_a_job_of_10_000_items_are_not_slowed_at_all() -> None:
    async def run() -> tuple[float, list[float]]:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await asyncio.sleep(seconds)

        paced, started = Pacer(REQUESTS_A_MINUTE, clock=now, sleep=sleep), now()
        for _ in range(304):
            async with paced.place():
                await asyncio.sleep(0.01)
        return now() - started, slept

    seconds, slept = simulate(run())
    assert slept == []
    assert abs(seconds - 3.04) < 1e-6


def test_after_a_429_requests_are_spread_until_a_minute_has_passed_without_one() -> None:
    async def run() -> tuple[float, list[float]]:
        paced, sent = pacer(), list[float]()
        for n in range(900):
            async with paced.place():
                sent.append(now())
                await asyncio.sleep(0.001)
                if n in (10, 200):
                    paced.slow_down()
                    last = now()
        return last, sent

    last, sent = simulate(run())
    gaps = [(at, after - at) for at, after in pairwise(sent)]
    even = WINDOW_S / REQUESTS_A_MINUTE
    spread = [gap for at, gap in gaps if sent[10] <= at and at + even < last + WINDOW_S]
    assert len(spread) > 700
    assert min(spread) > even - 1e-6
    assert sum(gap > even + 0.001 for gap in spread) <= 1  # the window is full once: ten came quickly before
    assert all(gap < 0.002 for at, gap in gaps if at < sent[10])
    later = [gap for at, gap in gaps if at > last + WINDOW_S]
    assert later
    assert min(later) < 0.002
    assert most_in_a_window(sent) <= LIMIT


def test_a_429_reaches_those_who_wait_already() -> None:
    async def run() -> list[float]:
        paced, sent = pacer(), list[float]()

        async def one(n: int) -> None:
            async with paced.place():
                sent.append(now())
                await asyncio.sleep(0.5)
                if n == 0:
                    paced.slow_down()

        await asyncio.gather(*(one(n) for n in range(700)))
        return sent

    sent = simulate(run())
    late = [at for at in sent if at > sent[0] + 0.5]
    assert len(late) == 700 - REQUESTS_A_MINUTE
    assert most_in_a_window(sent) <= LIMIT


def test_requests_that_fail_or_are_cancelled_give_their_place_back_after_the_minute() -> None:
    async def run() -> tuple[int, float]:
        paced, started = pacer(), now()

        async def bad(n: int) -> None:
            async with paced.place():
                if n % 2:
                    raise RuntimeError("dropped")
                await asyncio.sleep(1000)

        tasks = [asyncio.create_task(bad(n)) for n in range(REQUESTS_A_MINUTE + 20)]
        await asyncio.sleep(1.0)
        for task in tasks:
            task.cancel()  # those under way and those that wait
        done = await asyncio.gather(*tasks, return_exceptions=True)
        async with paced.place():
            return sum(isinstance(result, RuntimeError) for result in done), now() - started

    failed, waited = simulate(run())
    assert failed == REQUESTS_A_MINUTE // 2
    assert waited < 61.1


class _Network(httpx.AsyncBaseTransport):
    """A Pleo behind a network with a latency, which counts as Pleo does, and answers 429 when it is too much."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.arrivals: list[float] = []
        self.taken: list[float] = []
        self.refused = 0
        self._limit = limit

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        n = len(self.arrivals)
        await asyncio.sleep(0.02 + 0.1 * (n * 7919 % 13))
        at = now()
        self.arrivals.append(at)
        self.taken = [before for before in self.taken if before > at - WINDOW_S]
        if len(self.taken) >= self._limit:
            self.refused += 1
            return httpx.Response(429, headers={"retry-after": str(math.ceil(self.taken[0] + WINDOW_S - at))})
        self.taken.append(at)
        await asyncio.sleep(0.02 + 0.1 * (n * 104729 % 11))
        return httpx.Response(200, json={"data": job()})


def _client(network: httpx.AsyncBaseTransport) -> PleoClient:
    clock = Clock(monotonic=now, sleep=asyncio.sleep, jitter=lambda: 0.5)
    return PleoClient("https://pleo.test", KeyAuth("k"), clock=clock, transport=network)


def test_the_whole_client_makes_no_429_of_its_own_and_uses_the_minute() -> None:
    async def run() -> tuple[_Network, float]:
        network, left, started = _Network(), list(range(2000)), now()
        async with _client(network) as client:

            async def worker() -> None:
                while left:
                    left.pop()
                    await client.get_job(JOB_ID)

            await asyncio.gather(*(worker() for _ in range(30)))
        return network, now() - started

    network, seconds = simulate(run())
    assert network.refused == 0
    assert len(network.arrivals) == 2000
    assert most_in_a_window(network.arrivals) <= LIMIT
    assert seconds <= (2000 - LIMIT) / (0.95 * LIMIT / WINDOW_S) + WINDOW_S


def test_a_429_slows_the_whole_client_down() -> None:
    arrivals: list[float] = []

    def once(_: httpx.Request) -> httpx.Response:
        arrivals.append(now())
        return httpx.Response(429 if len(arrivals) == 20 else 200, json={"data": job()})

    async def run() -> None:
        async with _client(httpx.MockTransport(once)) as client:
            for _ in range(60):
                await client.get_job(JOB_ID)

    simulate(run())
    assert arrivals[19] == arrivals[0]
    after = [later - at for at, later in pairwise(arrivals[20:])]
    assert len(after) == 40
    assert all(gap > 0.1 for gap in after)


def test_somebody_else_using_half_of_the_limit_costs_time_and_no_call() -> None:
    async def run() -> tuple[_Network, int]:
        network, left, done = _Network(limit=300), list(range(900)), 0
        async with _client(network) as client:

            async def worker() -> None:
                nonlocal done
                while left:
                    left.pop()
                    await client.get_job(JOB_ID)
                    done += 1

            await asyncio.gather(*(worker() for _ in range(10)))
        return network, done

    network, done = simulate(run())
    assert network.refused > 0
    assert done == 900


def test_requests_that_reached_pleo_late_still_count_when_quick_ones_follow() -> None:
    async def run() -> list[float]:
        paced, arrivals = pacer(), list[float]()

        async def one(n: int) -> None:
            async with paced.place():
                await asyncio.sleep(20.0 if n < REQUESTS_A_MINUTE else 0.0)
                arrivals.append(now())

        await asyncio.gather(*(one(n) for n in range(2 * REQUESTS_A_MINUTE)))
        return arrivals

    arrivals = simulate(run())
    assert most_in_a_window(arrivals) <= LIMIT
    assert arrivals[-1] - arrivals[0] < WINDOW_S + 1.0
