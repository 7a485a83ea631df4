"""How long to wait: at most a second first, never for ever, whatever the header says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.pleo.http.retries import CALL_BUDGET_S, MAX_TRIES, RETRY_AFTER_CAP_S, read_retry_after, wait_s
from tests.support.pleo.scripted_pleo import SAME_EVERY_TIME

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


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


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-1", "nan", "inf", "1e999", "5 minutes", "9" * 65, "Mon, 32 Foo 2026 12:00:00 GMT"]
    + [f"Mon, 02 Mar 2026 12:00:30 {zone}{'9' * 20}" for zone in "+-"],
)
def test_what_cannot_be_used_counts_as_missing(value: str) -> None:
    assert read_retry_after(value, None, lambda: NOON) is None


@SAME_EVERY_TIME
@given(wait=st.integers(0, 10_000), offset=st.integers(-12, 14), skew=st.integers(-(10**8), 10**8))
def test_a_wrong_local_clock_is_harmless_where_the_answer_is_dated(wait: int, offset: int, skew: int) -> None:
    zone = timezone(timedelta(hours=offset))
    due = format_datetime((NOON + timedelta(seconds=wait)).astimezone(zone))
    local = NOON + timedelta(seconds=skew)
    assert read_retry_after(due, format_datetime(NOON), lambda: local) == wait


def test_a_date_without_a_zone_is_utc() -> None:
    assert read_retry_after("Mon, 02 Mar 2026 12:00:30 -0000", None, lambda: NOON) == 30


def test_without_a_usable_date_the_local_clock_has_to_do() -> None:
    assert read_retry_after("Mon, 02 Mar 2026 12:00:30 GMT", "yesterday", lambda: NOON) == 30


def test_a_date_in_the_past_counts_as_missing() -> None:
    assert read_retry_after("Mon, 02 Mar 2026 11:00:00 GMT", None, lambda: NOON) is None
