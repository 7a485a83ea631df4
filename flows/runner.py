"""How steps are called: with retries, a store for pages, progress. Prefect is one way, `PlainRunner` the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Protocol, TypeVar

from blocks.erp.errors import ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.pleo.models import ExportJob
from flows.outcome import JobReport
from flows.steps.fetch import FetchedPage, PageKey

T = TypeVar("T")
Step = Callable[..., Awaitable[T]]

RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Waits between the tries of a step that the accounting system did not answer: 6 tries in all."""

LONGEST_WAIT_S = 60.0
LONGEST_PAUSE_S = LONGEST_WAIT_S * len(RETRY_WAITS_S)
"""A pause that the accounting system asks for is waited out in parts, 5 minutes in all; a longer one not at all."""

STEP_BUDGET_S = 300.0
"""Nothing is tried again later than this, but for two cases: a second try is always made, as the first may have been
long for good reasons, and a pause that was asked for has its own limit."""


def is_retriable(error: BaseException) -> bool:
    """Whether calling the step again may help. Calls to Pleo repeat inside their client, so only the ERP's count."""
    if isinstance(error, ErpRateLimited) and (error.clears_in_s or 0.0) > LONGEST_PAUSE_S:
        return False
    return isinstance(error, (ErpUnavailable, ErpOutcomeUnknown))


def retry_wait_s(tries: int, error: BaseException, spent_s: float) -> float | None:
    """Seconds to wait after the `tries`-th try, `spent_s` seconds after the first began; None when it was the last.

    As long as the accounting system asks for, where it says.
    """
    if not is_retriable(error) or tries > len(RETRY_WAITS_S):
        return None
    if isinstance(error, ErpRateLimited):
        return max(RETRY_WAITS_S[tries - 1], min(error.clears_in_s or 0.0, LONGEST_WAIT_S))
    wait = RETRY_WAITS_S[tries - 1]
    return wait if tries == 1 or spent_s + wait <= STEP_BUDGET_S else None


class Runner(Protocol):
    """The way in which the steps of a job are called."""

    async def call(self, step: Step[T], *args: Any, label: str = "") -> T:
        """Call a step, again where `is_retriable` says so; `label` tells one page or batch from the next."""
        ...

    async def fetch(self, key: PageKey, step: Step[FetchedPage], *args: Any, label: str) -> tuple[FetchedPage, bool]:
        """A page from the store, or from the step and then into the store; and whether it was there already."""
        ...

    async def load(self, key: PageKey) -> FetchedPage | None:
        """A page that `fetch` stored, or None when it is gone."""
        ...

    async def drop(self, key: PageKey) -> None:
        """Delete one stored page, so that `fetch` fetches it anew."""
        ...

    async def kept(self) -> list[str]:
        """The ids of the jobs of this Pleo of which pages are stored."""
        ...

    async def forget(self, job: ExportJob) -> None:
        """Delete the stored pages of a job."""
        ...

    async def progress(self, what: str, done: int, total: int) -> None:
        """Show how far the run is."""
        ...

    async def job(self, job: ExportJob, run: Callable[[], Awaitable[JobReport]]) -> JobReport:
        """Run all the steps of one job."""
        ...


class PlainRunner:
    """Calls steps as plain functions and keeps pages in memory: for tests, simulations, and other schedulers."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._pages: dict[PageKey, FetchedPage] = {}

    async def call(self, step: Step[T], *args: Any, label: str = "") -> T:
        """Call a step, again where `is_retriable` says so."""
        time = asyncio.get_running_loop().time
        started = time()
        for tries in count(1):
            try:
                return await step(*args)
            except (ErpUnavailable, ErpOutcomeUnknown) as error:
                wait = retry_wait_s(tries, error, time() - started)
                if wait is None:
                    raise
            await self._sleep(wait)
        raise AssertionError("tries have an end")

    async def fetch(self, key: PageKey, step: Step[FetchedPage], *args: Any, label: str) -> tuple[FetchedPage, bool]:
        """A page from memory, or from the step."""
        if key in self._pages:
            return self._pages[key], True
        self._pages[key] = await self.call(step, *args, label=label)
        return self._pages[key], False

    async def load(self, key: PageKey) -> FetchedPage | None:
        """A page from memory."""
        return self._pages.get(key)

    async def drop(self, key: PageKey) -> None:
        """Delete one page."""
        self._pages.pop(key, None)

    async def kept(self) -> list[str]:
        """The ids of the jobs of which pages are in memory."""
        return sorted({key.job_id for key in self._pages})

    async def forget(self, job: ExportJob) -> None:
        """Delete the pages of a job."""
        self._pages = {key: page for key, page in self._pages.items() if key.job_id != job.id}

    async def progress(self, what: str, done: int, total: int) -> None:
        """Show nothing."""

    async def job(self, job: ExportJob, run: Callable[[], Awaitable[JobReport]]) -> JobReport:
        """Run all the steps of one job."""
        return await run()
