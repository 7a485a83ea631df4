"""How long to wait before a call to Pleo is tried again: at most 6 tries and 5 minutes a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_TRIES = 6
CALL_BUDGET_S = 300.0
RETRY_AFTER_CAP_S = 60.0
_BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_RATE_LIMIT_BACKOFF_S = (1.0, 5.0, 15.0, 25.0, 40.0)  # together longer than Pleo's minute, the jitter included


@dataclass(slots=True)
class RetryState:
    """What one call has cost so far: when its first try began, by a clock that only grows, and how many there were."""

    started: float
    tries: int = 0

    @property
    def deadline(self) -> float:
        """When the call is given up."""
        return self.started + CALL_BUDGET_S

    def allows(self, wait: float, now: float) -> bool:
        """Whether another try may follow after so many seconds."""
        return self.tries < MAX_TRIES and now + wait <= self.deadline


def wait_s(tries: int, *, rate_limited: bool, retry_after_s: float | None, jitter: Callable[[], float]) -> float:
    """Seconds to wait after the `tries`-th try failed; `jitter` gives numbers between 0 and 1.

    A Retry-After is honoured up to 60 seconds, and never shortens the wait to nothing.
    """
    if retry_after_s is not None:
        return max(min(retry_after_s, RETRY_AFTER_CAP_S), 0.1 * 2.0 ** (tries - 1))
    steps = _RATE_LIMIT_BACKOFF_S if rate_limited else _BACKOFF_S
    return steps[min(tries, len(steps)) - 1] * (0.75 + 0.25 * jitter())


def read_retry_after(value: str | None, date_header: str | None, now: Callable[[], datetime]) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None when it cannot be used.

    A date is measured against the answer's own Date header where there is one, so that a wrong local clock is harmless.
    """
    if value is None or len(value) > 64:
        return None
    try:
        seconds = float(value)
    except ValueError:
        due = http_date(value)
        if due is None:
            return None
        seconds = (due - (http_date(date_header or "") or now())).total_seconds()
    return seconds if 0 <= seconds < float("inf") else None


def http_date(value: str) -> datetime | None:
    """The moment that a Date or Retry-After header names, aware; None for anything else."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
