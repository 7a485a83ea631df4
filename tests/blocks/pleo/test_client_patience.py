"""How long a call may take: answers that dribble, five minutes in all, and the pauses that a 429 asks for."""

from __future__ import annotations

import asyncio

import pytest

from blocks.pleo.errors import (
    PleoUnavailable,
)
from blocks.pleo.http import transport
from tests.support.pleo.scripted_pleo import (
    JOB_ID,
    answer,
    endless,
    job,
    scripted,
)

GOOD = answer({"data": job()})


@pytest.mark.parametrize("form", ["silence", "dribble"])
async def test_an_answer_that_never_ends_is_given_up(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUT_S", 0.15)
    head = b"" if form == "silence" else b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    slow = endless(head, b"" if form == "silence" else b" ", 0.02)
    async with scripted([slow, slow, GOOD]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).id == JOB_ID
    assert len(pleo.requests) == 3


async def test_a_slow_answer_that_ends_in_time_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pieces(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(GOOD), 40):
            writer.write(GOOD[at : at + 40])
            await writer.drain()
            await asyncio.sleep(0.005)

    async with scripted([pieces]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).id == JOB_ID
    assert len(pleo.requests) == 1


async def test_no_try_begins_after_five_minutes_when_every_try_is_slow() -> None:
    async with scripted(lambda _: slow) as pleo:
        began: list[float] = []

        async def slow(writer: asyncio.StreamWriter) -> None:
            began.append(pleo.time.seconds)
            pleo.time.seconds += 59.0
            writer.close()

        async with pleo.client() as client:
            started = pleo.time.seconds
            with pytest.raises(PleoUnavailable):
                await client.get_job(JOB_ID)
        assert began[-1] - started <= 300
        assert len(began) == 5


async def test_the_last_try_gets_only_what_is_left_of_the_five_minutes() -> None:
    async with scripted(lambda _: slow) as pleo:

        async def slow(writer: asyncio.StreamWriter) -> None:
            if len(pleo.requests) == 1:
                pleo.time.seconds += 298.0
                writer.close()
            else:
                await asyncio.sleep(5.0)

        async with pleo.client() as client:
            before = asyncio.get_running_loop().time()
            with pytest.raises(PleoUnavailable, match="no answer in time"):
                await client.get_job(JOB_ID)
            assert asyncio.get_running_loop().time() - before < 4.0


# -- 429 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7.0, 7.0),
        ("0", 0.01, 1.0),
        ("-5", 0.5, 1.0),
        ("99999999999", 60.0, 60.0),
        ("1e400", 0.5, 1.0),
        ("soon", 0.5, 1.0),
        ("", 0.5, 1.0),
        ("nan", 0.5, 1.0),
        ("Mon, 02 Mar 2026 12:00:30 GMT", 30.0, 30.0),
        ("Mon, 02 Mar 2020 12:00:30 GMT", 0.5, 1.0),
        ("Mon, 02 Mar 9999 12:00:30 GMT", 60.0, 60.0),
        ("Mon, 02 Mar 2026 12:00:30 +99999999999999999999", 0.5, 1.0),
        ("9" * 5000, 0.5, 1.0),
        (None, 0.5, 1.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_and_capped(header: str | None, least: float, most: float, status: int) -> None:
    headers = {} if header is None else {"retry_after": header}
    async with scripted([answer("", status, **headers), GOOD]) as pleo, pleo.client() as client:
        await client.get_job(JOB_ID)
    assert len(pleo.requests) == 2
    assert least <= pleo.time.sleeps[0] <= most


async def test_a_date_is_measured_by_the_answers_own_clock() -> None:
    date, due = "Mon, 02 Mar 2009 12:00:00 GMT", "Mon, 02 Mar 2009 12:00:20 GMT"
    async with scripted([answer("", 429, retry_after=due, date=date), GOOD]) as pleo, pleo.client() as client:
        await client.get_job(JOB_ID)
    assert pleo.time.sleeps[0] == 20.0


async def test_a_rate_limit_without_retry_after_is_waited_out_for_more_than_pleos_minute() -> None:
    async with scripted([answer("", 429)] * 5 + [GOOD]) as pleo, pleo.client(jitter=0.0) as client:
        await client.get_job(JOB_ID)
    assert 60 < sum(pleo.time.sleeps) < 300


async def test_a_call_ends_after_six_429s_or_five_minutes() -> None:
    for header, tries in (("1", 6), ("60", 6), ("59", 6)):
        async with scripted([answer("", 429, retry_after=header)] * 9) as pleo, pleo.client() as client:
            with pytest.raises(PleoUnavailable):
                await client.get_job(JOB_ID)
        assert len(pleo.requests) <= tries
        assert sum(pleo.time.sleeps) <= 300
