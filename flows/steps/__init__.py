"""The seven steps of Pleo's export as plain functions, and the set in which a run calls them.

A run under Prefect calls them as tasks (`flows.tasks`), anything else as they are (`plain_steps`): in both ways again
where the accounting system did not answer, and pages of export items once, as they are kept until their job has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, ParamSpec, Protocol, TypeVar

import pandas as pd

from blocks.erp.errors import ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.reference import Reference
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.models import ExportJob
from flows.recording import PagePart, RecordedPage, Recording
from flows.session import Session
from flows.steps import complete, detect, fetch, record, retrieve, update, validate
from flows.steps.complete import FinalEvent
from flows.steps.retrieve import JobRows

T = TypeVar("T")
P = ParamSpec("P")


class DetectJobs(Protocol):
    """Step 1; see `detect.detect_jobs`."""

    async def __call__(self, session: Session, company_id: str | None) -> list[ExportJob]: ...


class StartJob(Protocol):
    """Step 1; see `detect.start_job`."""

    async def __call__(self, session: Session, job: ExportJob) -> bool: ...


class ValidateJob(Protocol):
    """Step 2; see `validate.validate_job`."""

    async def __call__(self, session: Session, job: ExportJob) -> Reference: ...


class RetrieveItems(Protocol):
    """Step 3; see `retrieve.retrieve_items`."""

    async def __call__(self, session: Session, job: ExportJob, rows: JobRows) -> None: ...


class FetchPage(Protocol):
    """Step 4; see `fetch.fetch_page`."""

    async def __call__(self, session: Session, job: ExportJob, cursor: str | None, number: int) -> ExportItemsPage: ...


class RecordPage(Protocol):
    """Step 5; see `record.record_page`."""

    async def __call__(self, session: Session, recording: Recording, part: PagePart, number: int) -> RecordedPage: ...


class UpdateItems(Protocol):
    """Step 6; see `update.update_items`."""

    async def __call__(self, session: Session, job: ExportJob, batch: pd.DataFrame, number: int) -> dict[str, str]: ...


class CompleteJob(Protocol):
    """Step 7; see `complete.complete_job`."""

    async def __call__(self, session: Session, job: ExportJob, final: FinalEvent) -> None: ...


class KeptPages(Protocol):
    """Where the pages of export items are kept while their job is under way, so that a run goes on with them."""

    async def jobs(self) -> list[str]:
        """The ids of the jobs of this Pleo of which pages are kept."""
        ...

    async def forget(self, job_id: str) -> None:
        """Delete the pages of a job."""
        ...


@dataclass(frozen=True)
class Steps:
    """The steps as a run calls them. `fetch_page` gives a page that is kept, `fetch_page_anew` never does."""

    detect_jobs: DetectJobs
    start_job: StartJob
    validate_job: ValidateJob
    retrieve_items: RetrieveItems
    fetch_page: FetchPage
    fetch_page_anew: FetchPage
    record_page: RecordPage
    update_items: UpdateItems
    complete_job: CompleteJob
    pages: KeptPages


# -- when a step is tried again ---------------------------------------------------------------------------------------

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


# -- without Prefect --------------------------------------------------------------------------------------------------


class PagesInMemory:
    """Keeps pages as long as the process lives, or the mapping that it is given."""

    def __init__(self, kept: dict[fetch.PageKey, ExportItemsPage] | None = None) -> None:
        self.kept = {} if kept is None else kept

    async def jobs(self) -> list[str]:
        """The ids of the jobs of which pages are kept."""
        return sorted({key.job_id for key in self.kept})

    async def forget(self, job_id: str) -> None:
        """Delete the pages of a job."""
        for key in [key for key in self.kept if key.job_id == job_id]:
            del self.kept[key]

    async def fetch_page(self, session: Session, job: ExportJob, cursor: str | None, number: int) -> ExportItemsPage:
        """A page that is kept, or one that is fetched and then kept."""
        key = fetch.page_key(session, job, cursor)
        return self.kept.get(key) or await self.fetch_page_anew(session, job, cursor, number)

    async def fetch_page_anew(
        self, session: Session, job: ExportJob, cursor: str | None, number: int
    ) -> ExportItemsPage:
        """A page that is fetched, and kept in the place of any other."""
        page = await fetch.fetch_page(session, job, cursor, number)
        self.kept[fetch.page_key(session, job, cursor)] = page
        return page


def plain_steps(pages: PagesInMemory | None = None) -> Steps:
    """The steps as they are, for tests, simulations and other schedulers."""
    pages = pages or PagesInMemory()
    return Steps(
        detect_jobs=detect.detect_jobs,
        start_job=detect.start_job,
        validate_job=_repeated(validate.validate_job),
        retrieve_items=retrieve.retrieve_items,
        fetch_page=pages.fetch_page,
        fetch_page_anew=pages.fetch_page_anew,
        record_page=_repeated(record.record_page),
        update_items=update.update_items,
        complete_job=complete.complete_job,
        pages=pages,
    )


def _repeated(step: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The step, called again where the accounting system did not answer. Its first argument is the session."""

    async def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        session = args[0]
        assert isinstance(session, Session)  # noqa: S101 - the protocols above say so
        time = asyncio.get_running_loop().time
        started = time()
        for tries in count(1):
            try:
                return await step(*args, **kwargs)
            except (ErpUnavailable, ErpOutcomeUnknown) as error:
                wait = retry_wait_s(tries, error, time() - started)
                if wait is None:
                    raise
            await session.sleep(wait)
        raise AssertionError("tries have an end")

    return repeated
