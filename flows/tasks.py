"""The steps as Prefect tasks: a table of eight, with their names, retries, waits, conditions and caching.

What is called here knows nothing of Prefect: see `flows.steps`. Calls to Pleo repeat inside its client, which follows
Retry-After as no task can; so only what the accounting system did not answer is tried again here.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.settings import get_current_settings

from blocks.erp.errors import ErpError
from blocks.pleo.errors import PleoError
from blocks.pleo.fields import canonical_uuid
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.models import ExportJob
from flows.failures import JobFails
from flows.session import Session
from flows.steps import RETRY_WAITS_S, Steps, complete, detect, fetch, record, retrieve, retry_wait_s, update, validate
from flows.stop import Stopped

T = TypeVar("T")
P = ParamSpec("P")
log = logging.getLogger(__name__)

PAGE_LIFE = timedelta(hours=20)
"""How long a stored page may be used: less than the 24 hours that its file links live."""


class Unforeseen(Exception):
    """Something that nobody foresaw; its own words, which may quote anything, are in the log alone."""


def _session(context: TaskRunContext | None) -> Session:
    """The session, which is the first argument of every task."""
    assert context is not None  # noqa: S101 - called by Prefect within a task run
    session: Session = context.parameters["session"]
    return session


def _told_safely(step: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The step, of which only those errors get out whose words are ours: Prefect keeps an error's text for good."""

    @functools.wraps(step)
    async def told(*args: P.args, **kwargs: P.kwargs) -> T:
        _session(TaskRunContext.get()).stop.works()  # in case this is a further try, after a wait
        try:
            return await step(*args, **kwargs)
        except (PleoError, ErpError, JobFails, Stopped):
            raise
        except Exception as error:
            log.exception("Unexpected in %s", step.__name__)
            raise Unforeseen(f"something unforeseen ({type(error).__name__}), the log has the cause") from None

    return told


def _never(_task: object, _run: TaskRun, _state: State[Any]) -> bool:
    """Not to be tried again. With a retry that is always refused Prefect logs one line instead of a traceback."""
    return False


async def _when_the_erp_did_not_answer(_task: object, run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help, and there is time for it."""
    error, stop = state.data, _session(TaskRunContext.get()).stop
    spent_s = (state.timestamp - run.start_time).total_seconds() if run.start_time is not None else 0.0
    wait_s = retry_wait_s(run.run_count, error, spent_s) if isinstance(error, Exception) else None
    if wait_s is None or stop.is_requested:
        return False
    log.warning("%s: %s", run.name, error)
    stop.waits_as(run.id)
    await asyncio.sleep(wait_s - RETRY_WAITS_S[run.run_count - 1])  # what the ERP asks for beyond the usual wait
    return True


def _page_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Company, job and page, and never a block: Prefect hashes secrets masked, so two keys would be one."""
    return fetch.page_key(parameters["session"], parameters["job"], parameters["cursor"]).digest()


# -- the table --------------------------------------------------------------------------------------------------------

detect_jobs = task(
    name="detect_jobs",
    task_run_name="1 detect jobs",
    retries=1,
    retry_condition_fn=_never,  # Pleo's client has tried for minutes by then
    cache_policy=NO_CACHE,  # what is waiting changes
    persist_result=False,
)(_told_safely(detect.detect_jobs))

start_job = task(
    name="start_job",
    task_run_name="1 start job",
    retries=1,
    retry_condition_fn=_never,  # an event without an answer is looked up before it is sent again, in the client
    cache_policy=NO_CACHE,  # an event that was sent once says nothing of the next job
    persist_result=False,
)(_told_safely(detect.start_job))

validate_job = task(
    name="validate_job",
    task_run_name="2 validate job",
    retries=len(RETRY_WAITS_S) + 1,  # the last is always refused: it keeps Prefect from logging a traceback
    retry_delay_seconds=list(RETRY_WAITS_S),
    retry_condition_fn=_when_the_erp_did_not_answer,
    cache_policy=NO_CACHE,  # accounts and periods change
    persist_result=False,
)(_told_safely(validate.validate_job))

retrieve_items = task(
    name="retrieve_items",
    task_run_name="3 retrieve items",
    retries=1,
    retry_condition_fn=_never,
    cache_policy=NO_CACHE,  # always fresh: it says what is still to do
    persist_result=False,
)(_told_safely(retrieve.retrieve_items))

fetch_page = task(
    name="fetch_page",
    task_run_name="4 fetch page {number}",
    retries=1,
    retry_condition_fn=_never,
    cache_key_fn=_page_key,  # a run after a kill goes on with the pages that are there
    cache_expiration=PAGE_LIFE,
    persist_result=True,
    result_serializer="json",  # readable by people, and nothing is executed when it is read
    cache_result_in_memory=False,  # they are kept for another process, and would fill this one
)(_told_safely(fetch.fetch_page))

record_page = task(
    name="record_page",
    task_run_name="5 record page {number}",
    retries=len(RETRY_WAITS_S) + 1,
    retry_delay_seconds=list(RETRY_WAITS_S),
    retry_condition_fn=_when_the_erp_did_not_answer,  # each try looks up first what stands already
    cache_policy=NO_CACHE,  # the accounting system is the memory
    persist_result=False,
)(_told_safely(record.record_page))

update_items = task(
    name="update_items",
    task_run_name="6 update items {number}",
    retries=1,
    retry_condition_fn=_never,
    cache_policy=NO_CACHE,
    persist_result=False,
)(_told_safely(update.update_items))

complete_job = task(
    name="complete_job",
    task_run_name="7 complete job",
    retries=1,
    retry_condition_fn=_never,
    cache_policy=NO_CACHE,
    persist_result=False,
)(_told_safely(complete.complete_job))


# -- pages, and the whole set -----------------------------------------------------------------------------------------


class StoredPages:
    """Pages of export items as results of `fetch_page`: a folder a job, which goes when the job has ended."""

    def __init__(self, base_url: str) -> None:
        self._root = Path(get_current_settings().results.local_storage_path) / "pleo-export-pages"
        self._prefix = hashlib.sha256(base_url.encode()).hexdigest()[:16] + "-"
        self._of_job: tuple[str, Any, Any] | None = None
        self._warned = False

    async def fetch_page(self, session: Session, job: ExportJob, cursor: str | None, number: int) -> ExportItemsPage:
        """A page that is kept, or one that is fetched and then kept."""
        return await self._page(self._tasks(job)[0], session, job, cursor, number)

    async def fetch_page_anew(
        self, session: Session, job: ExportJob, cursor: str | None, number: int
    ) -> ExportItemsPage:
        """A page that is fetched, and kept in the place of any other."""
        return await self._page(self._tasks(job)[1], session, job, cursor, number)

    async def jobs(self) -> list[str]:
        """The ids of the jobs of this Pleo of which pages are kept."""
        return await asyncio.to_thread(_kept, self._root, self._prefix)

    async def forget(self, job_id: str) -> None:
        """Delete the pages of a job, and those that a run without an end left behind more than a day ago."""
        await asyncio.to_thread(_delete, self._folder(job_id), self._root)

    async def _page(
        self, fetch_from_somewhere: Any, session: Session, job: ExportJob, cursor: str | None, number: int
    ) -> ExportItemsPage:
        try:
            page: ExportItemsPage = await fetch_from_somewhere(session, job, cursor, number)
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a stored page cannot be read and is fetched again: %s", type(error).__name__)
            page = await self._tasks(job)[1](session, job, cursor, number)
        if not self._warned and not await asyncio.to_thread(self._is_kept, session, job, cursor, page):
            self._warned = True
            log.warning(
                "pages cannot be kept in %s, so a run after this one will fetch them again: its disk is full, "
                "read-only or out of order",
                self._root,
            )
        return page

    def _tasks(self, job: ExportJob) -> tuple[Any, Any]:
        if self._of_job is None or self._of_job[0] != job.id:
            kept = fetch_page.with_options(result_storage=self._folder(job.id))
            self._of_job = (job.id, kept, kept.with_options(refresh_cache=True))
        return self._of_job[1:]

    def _is_kept(self, session: Session, job: ExportJob, cursor: str | None, page: ExportItemsPage) -> bool:
        """Whether the page was stored: where a disk does not take it, Prefect leaves a part of it, and says nothing."""
        try:
            file = self._folder(job.id) / fetch.page_key(session, job, cursor).digest()
            return file.stat().st_size > len(page.text)
        except OSError:
            return False

    def _folder(self, job_id: str) -> Path:
        return self._root / f"{self._prefix}{canonical_uuid(job_id)}"


def _kept(root: Path, prefix: str) -> list[str]:
    try:
        return sorted(folder.name.removeprefix(prefix) for folder in root.iterdir() if folder.name.startswith(prefix))
    except OSError:
        return []


def _delete(folder: Path, root: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    yesterday = time.time() - timedelta(days=1).total_seconds()
    for other in root.iterdir() if root.is_dir() else ():
        with suppress(OSError):  # another run is deleting it
            if other.stat().st_mtime < yesterday:
                shutil.rmtree(other, ignore_errors=True)


def prefect_steps(base_url: str) -> Steps:
    """The steps as tasks, for runs on the Pleo at that address."""
    # "Finished in state Completed()" for every page would cost more than it tells; failures are still logged.
    logging.getLogger("prefect.task_runs").setLevel(logging.WARNING)
    pages = StoredPages(base_url)
    return Steps(
        detect_jobs=detect_jobs,
        start_job=start_job,
        validate_job=validate_job,
        retrieve_items=retrieve_items,
        fetch_page=pages.fetch_page,
        fetch_page_anew=pages.fetch_page_anew,
        record_page=record_page,
        update_items=update_items,
        complete_job=complete_job,
        pages=pages,
    )
