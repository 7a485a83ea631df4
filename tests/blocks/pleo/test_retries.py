"""How long a call waits and may take: a second at first, then what Pleo asks for, five minutes in all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.pleo.errors import PleoUnavailable
from blocks.pleo.http import transport
from blocks.pleo.http.retries import CALL_BUDGET_S, MAX_TRIES, RETRY_AFTER_CAP_S, read_retry_after, wait_s
from tests.support.pleo.scripted_pleo import JOB_ID, SAME_EVERY_TIME, answer, endless, job, scripted

GOOD = answer({"data": job()})
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("form", ["silence", "dribble"])
async def test_an_answer_that_never_ends_is_given_up(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUT_S", 0.15)
    head = b"" if form == "silence" else b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    slow = endless(head, b"" if form == "silence" else b" ", 0.02)
    async with scripted([slow, slow, GOOD]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).id == JOB_ID
    assert len(pleo.requests) == 3


async def test_a_slow_answer_that_ends_in_time_is_taken() -> None:
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
        ("inf", 0.5, 1.0),
        ("5 minutes", 0.5, 1.0),
        ("Mon, 32 Foo 2026 12:00:00 GMT", 0.5, 1.0),
        ("Mon, 02 Mar 2026 12:00:30 GMT", 30.0, 30.0),
        ("Mon, 02 Mar 2020 12:00:30 GMT", 0.5, 1.0),
        ("Mon, 02 Mar 9999 12:00:30 GMT", 60.0, 60.0),
        ("Mon, 02 Mar 2026 12:00:30 +99999999999999999999", 0.5, 1.0),
        ("Mon, 02 Mar 2026 12:00:30 -99999999999999999999", 0.5, 1.0),
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


@pytest.mark.parametrize("header", ["1", "59", "60"])
async def test_a_call_ends_after_six_429s_or_five_minutes(header: str) -> None:
    async with scripted([answer("", 429, retry_after=header)] * 9) as pleo, pleo.client() as client:
        with pytest.raises(PleoUnavailable):
            await client.get_job(JOB_ID)
    assert len(pleo.requests) <= 6
    assert sum(pleo.time.sleeps) <= 300


# -- the waits themselves -----------------------------------------------------------------------------------------


@SAME_EVERY_TIME
@given(jitter=st.floats(0, 1), rate_limited=st.booleans())
def test_the_first_wait_is_at_most_a_second_and_all_of_them_fit_the_call(jitter: float, rate_limited: bool) -> None:
    waits = [
        wait_s(tries, rate_limited=rate_limited, retry_after_s=None, jitter=lambda: jitter)
        for tries in range(1, MAX_TRIES)
    ]
    assert 0.5 <= waits[0] <= 1.0
    assert waits == sorted(waits)
    assert sum(waits) < CALL_BUDGET_S
    if rate_limited:
        assert sum(waits) > 60


@SAME_EVERY_TIME
@given(asked=st.floats(0, 1e300), tries=st.integers(1, MAX_TRIES))
def test_what_is_asked_for_is_given_up_to_a_minute_and_never_nothing(asked: float, tries: int) -> None:
    wait = wait_s(tries, rate_limited=True, retry_after_s=asked, jitter=lambda: 0.0)
    assert 0 < wait <= RETRY_AFTER_CAP_S
    assert wait >= min(asked, RETRY_AFTER_CAP_S)


def test_the_jitter_makes_two_clients_wait_differently() -> None:
    waits = {
        wait_s(2, rate_limited=False, retry_after_s=None, jitter=lambda value=value: value) for value in (0.0, 0.3, 1.0)
    }
    assert len(waits) == 3


@SAME_EVERY_TIME
@given(
    value=st.one_of(st.none(), st.text(max_size=80), st.from_regex(r"[-+0-9eE., :A-Za-z]{0,40}")),
    date=st.one_of(
        st.none(), st.text(max_size=80), st.from_regex(r"\w{3}, [0-9]{1,9} \w{3} [0-9]{1,20} [-+:0-9 ]{4,40}")
    ),
)
def test_no_header_breaks_the_reading(value: str | None, date: str | None) -> None:
    seconds = read_retry_after(value, date, lambda: NOON)
    assert seconds is None or 0 <= seconds < float("inf")


@SAME_EVERY_TIME
@given(wait=st.integers(0, 10_000), offset=st.integers(-12, 14), skew=st.integers(-(10**8), 10**8))
def test_a_wrong_local_clock_is_harmless_where_the_answer_is_dated(wait: int, offset: int, skew: int) -> None:
    zone = timezone(timedelta(hours=offset))
    due = format_datetime((NOON + timedelta(seconds=wait)).astimezone(zone))
    local = NOON + timedelta(seconds=skew)
    assert read_retry_after(due, format_datetime(NOON), lambda: local) == wait


def test_a_date_without_a_zone_is_utc_and_without_a_usable_date_the_local_clock_has_to_do() -> None:
    assert read_retry_after("Mon, 02 Mar 2026 12:00:30 -0000", None, lambda: NOON) == 30
    assert read_retry_after("Mon, 02 Mar 2026 12:00:30 GMT", "yesterday", lambda: NOON) == 30
