"""How steps are called: with retries, a store for pages, progress. Prefect is one way, `PlainRunner` the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from blocks.erp.errors import ErpOutcomeUnknown, ErpUnavailable
from blocks.pleo.models import ExportJob
from flows.outcome import JobReport
from flows.steps.fetch import FetchedPage, PageKey

T = TypeVar("T")
Step = Callable[..., Awaitable[T]]

RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Waits between the tries of a step that the accounting system did not answer: 6 tries in all."""


def is_retriable(error: BaseException) -> bool:
    """Whether calling the step again may help. Calls to Pleo repeat inside their client, so only the ERP's count."""
    return isinstance(error, (ErpUnavailable, ErpOutcomeUnknown))


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
        for wait in RETRY_WAITS_S:
            try:
                return await step(*args)
            except (ErpUnavailable, ErpOutcomeUnknown):
                await self._sleep(wait)
        return await step(*args)

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

    async def forget(self, job: ExportJob) -> None:
        """Delete the pages of a job."""
        self._pages = {key: page for key, page in self._pages.items() if key.job_id != job.id}

    async def progress(self, what: str, done: int, total: int) -> None:
        """Show nothing."""

    async def job(self, job: ExportJob, run: Callable[[], Awaitable[JobReport]]) -> JobReport:
        """Run all the steps of one job."""
        return await run()
