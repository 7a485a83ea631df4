"""Steps as Prefect tasks, with their retries and caching; pages as persisted results.

What is called here knows nothing of Prefect: see `flows.steps`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

from prefect import task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer
from prefect.settings import get_current_settings
from prefect.states import Failed
from prefect.tasks import Task

from blocks.erp.errors import ErpError
from blocks.pleo.errors import PleoError
from blocks.pleo.fields import canonical_uuid
from blocks.pleo.models import ExportJob
from blocks.text import one_line
from flows.console import ConsoleProgress
from flows.failures import JobFails
from flows.outcome import JobReport
from flows.runner import RETRY_WAITS_S, Step, is_retriable, retry_wait_s
from flows.steps.fetch import FetchedPage, PageKey
from flows.stop import Stopped

T = TypeVar("T")
log = logging.getLogger(__name__)

PAGE_LIFE = timedelta(hours=20)
"""How long a stored page may be used: less than the 24 hours that its file links live."""

PROGRESS_EVERY_S = 2.0

Sleep = Callable[[float], Awaitable[None]]
JobFlow = Callable[[ExportJob, Callable[[], Awaitable[JobReport]]], Awaitable[JobReport]]


class _Call:
    """One call of a step on its way through a Prefect task: opaque, so that Prefect neither copies nor hashes it."""

    def __init__(
        self, step: Step[Any], args: tuple[Any, ...], label: str, sleep: Sleep, key: str | None = None
    ) -> None:
        self.step = step
        self.args = args
        self.sleep = sleep
        self.key = key
        self.name = f"{step.__name__.replace('_', ' ')} {label}".strip()
        self.tries = 0
        self.started = time.monotonic()
        self.result: Any = None
        self.error: Exception | None = None


def _run_name() -> str:
    context = TaskRunContext.get()
    return context.parameters["call"].name if context is not None else "step"


def _retry(_task: object, _run: object, state: State[Any]) -> bool:
    return isinstance(state.data, Exception) and is_retriable(state.data)


async def _perform(call: _Call) -> None:
    """Make the call. What can be foreseen ends the task run as Failed with one line and no traceback."""
    call.tries += 1
    call.error = None
    try:
        call.result = await call.step(*call.args)
    except Exception as error:
        call.error = error
        wait = retry_wait_s(call.tries, error, time.monotonic() - call.started)
        if wait is not None and await _waited(call, error, wait):
            raise  # Prefect calls again


async def _waited(call: _Call, error: Exception, wait_s: float) -> bool:
    """Wait before the next try; False when the run is asked to end meanwhile, which Prefect's own waiting ignores."""
    log.warning("%s: %s", call.name, error)
    try:
        await call.sleep(wait_s)
    except Stopped as stopped:
        call.error = stopped
        return False
    return True


def _outcome(call: _Call) -> State[Any] | None:
    return Failed(message=one_line(_told(call.error), 300)) if call.error is not None else None


def _told(error: Exception) -> str:
    """What Prefect's server is told of an error: the words of one that nobody foresaw may quote anything."""
    if isinstance(error, (PleoError, ErpError, JobFails, Stopped)):
        return str(error)
    return f"something unforeseen ({type(error).__name__}), the log has the cause"


@task(
    task_run_name=_run_name,
    retries=len(RETRY_WAITS_S) + 1,  # the last one is never used: it keeps Prefect from logging a traceback
    retry_condition_fn=_retry,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def step(call: _Call) -> State[Any] | None:
    """One step, page or batch of the export."""
    await _perform(call)
    return _outcome(call)


@task(
    task_run_name=_run_name,
    retries=1,
    retry_condition_fn=_retry,
    cache_key_fn=lambda _context, parameters: parameters["call"].key,
    cache_expiration=PAGE_LIFE,
    persist_result=True,
    result_serializer="json",
    cache_result_in_memory=False,
)
async def stored_step(call: _Call) -> State[Any] | dict[str, object]:
    """One page of export items, kept in the result store until its job has ended."""
    await _perform(call)
    return _outcome(call) or call.result.to_json()


class PrefectRunner:
    """Calls steps as Prefect tasks, keeps pages as persisted results, runs a job by `job_flow`."""

    def __init__(self, base_url: str, job_flow: JobFlow, console: ConsoleProgress | None, sleep: Sleep) -> None:
        """`sleep` waits between the tries of a step, and raises Stopped when the run is asked to end."""
        self._job_flow = job_flow
        self._sleep = sleep
        self._base_url = base_url
        self._console = console
        self._root = Path(get_current_settings().results.local_storage_path) / "pleo-export-pages"
        self._stored_steps: dict[Path, Task[[_Call], Any]] = {}
        self._artifact: UUID | None = None
        self._warned = False
        self._shown_at = time.monotonic()
        # "Finished in state Completed()" for every page would cost more than it tells; failures are still logged.
        logging.getLogger("prefect.task_runs").setLevel(logging.WARNING)

    async def call(self, function: Step[T], *args: Any, label: str = "") -> T:
        """Call a step as a task."""
        call = _Call(function, args, label, self._sleep)
        state = cast(State[Any], await step(call, return_state=True))  # type: ignore[misc]
        if call.error is not None:
            raise call.error
        await state.aresult(raise_on_failure=True)
        result: T = call.result
        return result

    async def fetch(
        self, key: PageKey, function: Step[FetchedPage], *args: Any, label: str
    ) -> tuple[FetchedPage, bool]:
        """A page from the result store, or from the step as a task whose result is persisted."""
        folder = self._folder(key.job_id)
        digest = key.digest()
        call = _Call(function, args, label, self._sleep, digest)
        state = cast(State[Any], await self._stored_step(folder)(call, return_state=True))  # type: ignore[misc]
        if call.error is not None:
            raise call.error
        if call.result is not None:
            page: FetchedPage = call.result
            if not self._warned and not await asyncio.to_thread(_is_whole, folder / digest, page):
                self._warned = True
                log.warning(
                    "pages cannot be kept in %s, so each is fetched again when it is recorded: its disk is full, "
                    "read-only or out of order",
                    self._root,
                )
            return page, False
        try:
            return FetchedPage.from_json(await state.aresult(raise_on_failure=True)), True
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a stored page cannot be read and is fetched again: %s", type(error).__name__)
            (folder / digest).unlink(missing_ok=True)
            return await self.fetch(key, function, *args, label=label)

    async def load(self, key: PageKey) -> FetchedPage | None:
        """A stored page, or None when it is gone."""
        folder, digest = self._folder(key.job_id), key.digest()
        if not (folder / digest).is_file():
            return None
        store = ResultStore(
            result_storage=LocalFileSystem(basepath=str(folder)),
            serializer=JSONSerializer(),
            cache_result_in_memory=False,
        )
        try:
            record = await store.aread(digest)
            return FetchedPage.from_json(record.result)
        except (KeyError, TypeError, ValueError):
            return None  # cut off or not ours: whoever asked fetches it again

    async def drop(self, key: PageKey) -> None:
        """Delete one stored page, so that `fetch` fetches it anew."""
        (self._folder(key.job_id) / key.digest()).unlink(missing_ok=True)

    async def kept(self) -> list[str]:
        """The ids of the jobs of this Pleo of which pages are stored."""
        return await asyncio.to_thread(_kept, self._root, self._prefix())

    async def forget(self, job: ExportJob) -> None:
        """Delete the pages of a job, and those that a run without an end left behind more than a day ago."""
        await asyncio.to_thread(_delete, self._folder(job.id), self._root)

    async def progress(self, what: str, done: int, total: int) -> None:
        """Show how far the job is, on the console and as a progress artifact."""
        if self._console is not None:
            self._console.show(what, done, total)
        now = time.monotonic()
        if now - self._shown_at < PROGRESS_EVERY_S and not (self._artifact is not None and done == total):
            return
        self._shown_at = now
        percent = 100.0 * done / max(total, 1)
        description = f"{done} of {total} items {what}"
        if self._artifact is None:
            made = await acreate_progress_artifact(percent, key="pleo-export-progress", description=description)
            self._artifact = made if isinstance(made, UUID) else None
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=description)

    async def job(self, job: ExportJob, run: Callable[[], Awaitable[JobReport]]) -> JobReport:
        """Run all the steps of one job as a subflow that is named after it."""
        self._artifact = None
        return await self._job_flow(job, run)

    def _stored_step(self, folder: Path) -> Task[[_Call], Any]:
        if folder not in self._stored_steps:
            self._stored_steps = {folder: stored_step.with_options(result_storage=folder)}
        return self._stored_steps[folder]

    def _prefix(self) -> str:
        return hashlib.sha256(self._base_url.encode()).hexdigest()[:16] + "-"

    def _folder(self, job_id: str) -> Path:
        return self._root / f"{self._prefix()}{canonical_uuid(job_id)}"


def _is_whole(file: Path, page: FetchedPage) -> bool:
    """Whether the page was stored: where the disk does not take it, Prefect leaves a part of it, and says nothing."""
    try:
        return file.stat().st_size > len(page.text)
    except OSError:
        return False


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
