"""What a run of Prefect's leaves for the next one, and what it does for those before it.

Prefect's server is told how a run ended by the run itself. One that is killed, or ends while the server is away,
stays `Running` there for good. So each run keeps a note beside Prefect's results, under a lock that dies with its
process: the next run on this machine finds notes that nobody holds any more, and tells the server how those runs ended.
A second process of the same run, begun while the first is at work, finds the note held, and waits for it.
Apart from that all of it is for people to look at: it never ends, delays or changes a job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Crashed

from blocks.file_lock import OsLock
from flows.stop import Stop

log = logging.getLogger(__name__)

NOTHING_TO_DO = "NothingToDo"
"""The name of the state of a run that found no job: one comes every few minutes, so they are not kept for long."""

IDLE_KEPT = timedelta(days=2)
LATE = timedelta(seconds=30)
NOTES_KEPT_S = 7 * 86_400.0
"""A note of a run that the server does not know is kept for so long: it may be another server's."""

RESPECTED_S = 3 * 3600.0
"""A run that began longer ago than this is not waited for any more: whatever it does, nobody depends on its end."""

LOOK_EVERY_S = 0.5
"""How often a process looks whether another one of the same run is still at work."""

AT_ONCE = 50
WITHIN_S = 15.0
AFTERWARDS_S = 2.0
"""How much longer a run that has nothing else to do may take for the runs before it."""

_UNDER_WAY = {StateType.RUNNING, StateType.CANCELLING}
_PROCESS_BEGAN = time.time()


class Note:
    """What this run leaves for the next one: the runs that it is, and how each is to end, as far as that is decided.

    A job's run is a run of its own within this one. A run of which two processes are at work has one note, the first's.
    Where no note can be kept, none is, and nothing else changes.
    """

    def __init__(self, folder: Path, run: FlowRun | None) -> None:
        self._folder = folder
        self._run = run
        self._file = folder / f"{run.id if run is not None else 'none'}.json"
        self._lock = OsLock(self._file.with_suffix(".lock"))
        self._is_held = False
        self._began = time.time()
        self._runs: dict[str, dict[str, Any] | None] = {}

    async def end_by_another_process(self, stop: Stop) -> State[Any] | None:
        """The end that another process of this same run has come to, which is waited for; None where there is no other,
        or it left something to do: this one holds the note then. Raises Stopped.

        Prefect begins a run anew where somebody retries it, or its worker has lost sight of it, while its first process
        may be at work still. The work is not to be done by two at once, and what Prefect shows is how the work ended.
        """
        if self._run is None:
            return None
        is_told = False
        while self._is_held_by_another():
            other = _read(self._file)
            if time.time() - (other["began"] if other is not None else self._began) > RESPECTED_S:
                return None
            if not is_told:
                log.warning("another process of this run is at work: it is waited for")
            is_told = True
            await stop.sleep(LOOK_EVERY_S)
        note = _read(self._file)
        self._runs = dict(note["runs"]) if note is not None else {}
        ended = self._runs.get(str(self._run.id))
        # Of an interrupted run there is something left to do. One that ended before this process began is done anew:
        # that is what somebody wants who retries it.
        if ended is not None and ended["type"] == StateType.COMPLETED.value and ended.get("at", 0.0) > _PROCESS_BEGAN:
            return Completed(name=ended["name"], message=ended["message"])
        self.begins(str(self._run.id))
        return None

    def release(self) -> None:
        """Let others have the note."""
        self._lock.release()
        self._is_held = False

    def begins(self, run_id: str | None) -> None:
        """One of the runs begins."""
        self._write(run_id, None)

    def ends(self, run_id: str | None, state: State[Any]) -> None:
        """This is how one of the runs ends; Prefect's server is told right after this, if it is there."""
        self._write(run_id, {"type": state.type.value, "name": state.name, "message": state.message, "at": time.time()})

    def at_work(self) -> str | None:
        """The name of a run of the same deployment that began before this one, is still at work on this machine, and
        does all that this one is asked for. None for a dry run, which is in nobody's way, and where the other has been
        at it for hours."""
        if self._key is None:
            return None
        for file in self._folder.glob("*.json"):
            other = _read(file) if file != self._file else None
            if other is None or other["key"] != self._key or other["job"] not in (None, self._job):
                continue
            if 0 < self._began - other["began"] < RESPECTED_S and not _is_free(file.with_suffix(".lock")):
                return str(other["name"])
        return None

    @property
    def _job(self) -> str | None:
        job_id = self._run.parameters.get("job_id") if self._run is not None else None
        return str(job_id) if job_id else None

    @property
    def _key(self) -> str | None:
        """What runs have in common that would do the same work."""
        run = self._run
        if run is None or run.deployment_id is None or run.parameters.get("dry_run"):
            return None
        return f"{run.deployment_id} {run.parameters.get('company_id')}"

    def _is_held_by_another(self) -> bool:
        """Whether another process has the note; this one has it else, if there can be one."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._is_held = self._lock.acquire()
        except OSError as error:
            log.debug("no note of this run can be kept: %s", error)
            return False
        return not self._is_held

    def _write(self, run_id: str | None, state: dict[str, Any] | None) -> None:
        if run_id is None or self._run is None or not self._is_held:
            return
        self._runs[str(run_id)] = state
        new = self._file.with_suffix(".new")
        try:
            known = {"key": self._key, "job": self._job, "name": self._run.name, "began": self._began}
            new.write_text(json.dumps({**known, "runs": self._runs}))
            new.replace(self._file)
        except OSError as error:
            log.debug("no note of this run can be kept: %s", error)


def _read(file: Path) -> dict[str, Any] | None:
    """A note, if it can be read and has the form of one."""
    with suppress(ValueError, OSError, KeyError, TypeError, AttributeError):
        note: dict[str, Any] = json.loads(file.read_text())
        is_whole = {"key", "job", "name", "began", "runs"} <= note.keys() and isinstance(note["began"], float)
        if is_whole and all(UUID(run_id) and _is_end(ended) for run_id, ended in note["runs"].items()):
            return note
    return None


def _is_end(ended: dict[str, Any] | None) -> bool:
    return ended is None or ({"type", "name", "message"} <= ended.keys() and isinstance(ended.get("at", 0.0), float))


def _is_free(path: Path) -> bool:
    lock = OsLock(path)
    try:
        return lock.acquire()
    except OSError:
        return True
    finally:
        lock.release()


def _folder() -> Path:
    return Path(get_current_settings().results.local_storage_path) / "pleo-export-runs"


@contextmanager
def noted() -> Iterator[Note]:
    """A note of the run of Prefect's under way, until the end of the block."""
    context = FlowRunContext.get()
    note = Note(_folder(), context.flow_run if context is not None else None)
    try:
        yield note
    finally:
        note.release()


@asynccontextmanager
async def tidied_beside(say: Callable[[str], None]) -> AsyncIterator[None]:
    """While the block runs, do what is to be done for earlier runs; `say` is given a line for each that is closed."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    tidying = asyncio.create_task(_tidy(context.flow_run, say))
    try:
        yield
    finally:
        await asyncio.wait([tidying], timeout=AFTERWARDS_S)
        tidying.cancel()
        await asyncio.gather(tidying, return_exceptions=True)


async def _tidy(this: FlowRun, say: Callable[[str], None]) -> None:
    try:
        async with asyncio.timeout(WITHIN_S), get_client() as server:
            await _close_what_was_left(server, this, say)
            await _take_over(server, this)
            await _forget_idle(server, this)
    except Exception as error:  # noqa: BLE001 - it is for show alone
        log.debug("earlier runs stay as they are shown: %s", type(error).__name__)


# -- runs that could not tell how they ended --------------------------------------------------------------------------


async def _close_what_was_left(server: PrefectClient, this: FlowRun, say: Callable[[str], None]) -> None:
    with _abandoned(_folder()) as notes:
        wanted = [UUID(run_id) for note in notes.values() for run_id in note["runs"]]
        if not wanted:
            return
        found = await server.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=wanted[:200])))
        known = {str(run.id): run for run in found}
        for file, note in notes.items():
            for run_id, ended in note["runs"].items():
                if run_id in known and (state := _due(known[run_id], ended, this)) is not None:
                    await _close(server, known[run_id], state, say)
            if all(run_id in known for run_id in note["runs"]) or time.time() - note["began"] > NOTES_KEPT_S:
                file.unlink(missing_ok=True)
                file.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _abandoned(folder: Path) -> Iterator[dict[Path, dict[str, Any]]]:
    """The notes whose runs are no more, by their files, the oldest first; nobody else closes these meanwhile."""
    locks, notes = [], {}
    try:
        for file in sorted(folder.glob("*.json"), key=lambda one: one.stat().st_mtime)[:AT_ONCE]:
            lock = OsLock(file.with_suffix(".lock"))
            if not lock.acquire():
                continue  # at work
            locks.append(lock)
            if (note := _read(file)) is not None:
                notes[file] = note
        yield notes
    finally:
        for lock in locks:
            lock.release()


def _due(run: FlowRun, ended: dict[str, Any] | None, this: FlowRun) -> State[Any] | None:
    """The state that a run whose process is no more should be in; None where it is right as it stands."""
    if run.state is None or run.id == this.id or run.state_type not in _UNDER_WAY | {StateType.CRASHED}:
        return None
    if ended is not None:
        return State(type=StateType(ended["type"]), name=ended["name"], message=ended["message"])
    if run.state_type is StateType.CRASHED:
        return None
    if run.state_type is StateType.CANCELLING:
        return Cancelled(message="It was ended before it could say so. What it left open, a later run takes up.")
    why = "Its process ended without a word, a kill or a power cut say. What it left open, a later run takes up."
    return Crashed(name="ClosedLater", message=why)


async def _close(server: PrefectClient, run: FlowRun, state: State[Any], say: Callable[[str], None]) -> None:
    told = await server.set_flow_run_state(run.id, state)
    if told.status is not SetStateStatus.ACCEPT:
        log.debug("run %s stays %s: %s", run.id, run.state_name, told.details)
        return
    say(f"an earlier run, {run.name}, was still shown as {run.state_name}: it is closed as {state.name}")
    of_run = TaskRunFilter(
        flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]),
        state=TaskRunFilterState(
            type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED])
        ),
    )
    for task in await server.read_task_runs(task_run_filter=of_run, limit=AT_ONCE):
        await server.set_task_run_state(task.id, Crashed(message="The process of its run is no more."), force=True)


# -- runs that came late, and runs that found nothing -----------------------------------------------------------------


async def _take_over(server: PrefectClient, this: FlowRun) -> None:
    """Of many scheduled runs that nobody began, while no worker was there say, one does the work of all."""
    if this.deployment_id is None or not this.auto_scheduled:
        return
    waiting = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[this.deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC) - LATE}),
    )
    while late := await server.read_flow_runs(flow_run_filter=waiting, limit=AT_ONCE):
        alike = [run for run in late if run.auto_scheduled and run.parameters == this.parameters and run.id != this.id]
        for run in alike:
            await server.set_flow_run_state(run.id, Cancelled(message=f"Run {this.name} takes every job that waits."))
        if not alike:
            return


async def _forget_idle(server: PrefectClient, this: FlowRun) -> None:
    """Delete runs that found nothing to do, once they are some days old."""
    idle = FlowRunFilter(
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[NOTHING_TO_DO])),
        end_time=FlowRunFilterEndTime.model_validate({"before_": datetime.now(UTC) - IDLE_KEPT}),
    )
    of_this_flow = FlowFilter(id=FlowFilterId(any_=[this.flow_id]))
    for run in await server.read_flow_runs(flow_filter=of_this_flow, flow_run_filter=idle, limit=AT_ONCE):
        await server.delete_flow_run(run.id)
