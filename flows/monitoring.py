"""What Prefect shows of a run while it is under way: progress, log lines, states of tasks that were interrupted.

All of it is for people to look at: it never ends, delays or changes a job, whatever Prefect's server does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.objects import State, StateType
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import APILogHandler, PrefectConsoleHandler
from prefect.states import Cancelled, Completed, Failed

from blocks.text import one_line
from flows.earlier_runs import NOTHING_TO_DO
from flows.outcome import OK, WITH_ERRORS, Ending, JobReport, RunReport
from flows.report import summary_lines
from flows.stop import Stop, Stopped

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 2.0
ASK_EVERY_S = 2.0
DRY_RUN = "DryRun"
PATIENCE_S = 2.0
"""How long anything of this may take; a server that is away answers after minutes, or never."""


class Progress:
    """How far the job under way is, on the console and as a progress artifact of its run."""

    def __init__(self, on_console: Callable[[str, int, int], None] | None = None) -> None:
        self._on_console = on_console
        self._artifact: UUID | None = None
        self._shown_at = time.monotonic()
        self._broken = False

    def begin(self) -> None:
        """Another job begins."""
        self._artifact = None
        self._broken = False
        self._shown_at = time.monotonic()

    async def show(self, what: str, done: int, total: int) -> None:
        """So many of all items are fetched, recorded …"""
        if self._on_console is not None:
            self._on_console(what, done, total)
        now = time.monotonic()
        is_last = self._artifact is not None and done == total
        if self._broken or (now - self._shown_at < PROGRESS_EVERY_S and not is_last):
            return
        self._shown_at = now
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._show_in_prefect(100.0 * done / max(total, 1), f"{done} of {total} items {what}")
        except Exception as error:  # noqa: BLE001 - see above
            self._broken = True  # each further try might take as long
            log.warning("progress is no longer shown in Prefect (%s)", type(error).__name__)

    async def _show_in_prefect(self, percent: float, description: str) -> None:
        if self._artifact is None:
            made = await acreate_progress_artifact(percent, description=description)
            self._artifact = made if isinstance(made, UUID) else None
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=description)


def quiet_prefect() -> None:
    """Apply Prefect's logging settings anew: it has read them as it was imported."""
    setup_logging()


@contextmanager
def logs_in_prefect() -> Iterator[None]:
    """While the block runs, what `flows` and `blocks` log is shown with the run of Prefect's that it belongs to.

    PREFECT_LOGGING_EXTRA_LOGGERS would say the same, but comes too late where a worker has imported Prefect before.
    """
    handler = APILogHandler()
    added = []
    _go_on_without_a_reader()
    for logger in map(logging.getLogger, ("flows", "blocks")):
        if not any(isinstance(one, APILogHandler) for one in logger.handlers):
            added.append((logger, logger.level))
            logger.addHandler(handler)
            logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        for logger, level in added:
            logger.removeHandler(handler)
            logger.setLevel(level)


def _go_on_without_a_reader() -> None:
    """Where nobody takes a run's lines any more, a worker that was killed say, the console ends the process by
    SystemExit: have it raise the error instead, which logging passes over."""

    def give_up() -> NoReturn:  # called while the error is being handled
        raise

    for name in ("", "prefect", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.on_broken_pipe = give_up  # type: ignore[method-assign]


async def server_answers() -> bool:
    """Whether Prefect's server is there. A run must not wait for one that is not: its client tries for minutes."""
    problem = await _server_problem()
    if problem is not None:
        log.warning("Prefect's server does not answer (%s): the export goes on without", type(problem).__name__)
    return problem is None


async def until_server_answers(within_s: float, stop: Stop) -> bool:
    """Wait for Prefect's server where it is away, as a run whose end it is not told stays `Running`; but not for ever,
    and not where the run is asked to end. Whether it is there."""
    until = time.monotonic() + within_s
    while await _server_problem() is not None:
        if time.monotonic() > until or stop.is_requested:
            return False
        with suppress(Stopped):
            await stop.sleep(ASK_EVERY_S)
    return True


async def _server_problem() -> Exception | None:
    try:
        async with asyncio.timeout(PATIENCE_S), get_client() as server:
            return await server.api_healthcheck()
    except Exception as error:  # noqa: BLE001 - whatever keeps it from answering
        return error


async def is_being_cancelled(run_id: str | None) -> bool:
    """Whether somebody has asked Prefect to cancel the run; False where its server does not say."""
    if run_id is None:
        return False
    try:
        async with asyncio.timeout(PATIENCE_S), get_client() as server:
            state_type = (await server.read_flow_run(UUID(run_id))).state_type
    except Exception as error:  # noqa: BLE001 - see above
        log.debug("whether the run is being cancelled is not known (%s)", type(error).__name__)
        return False
    return state_type in {StateType.CANCELLING, StateType.CANCELLED}


async def mark_as_interrupted(stop: Stop) -> None:
    """Show task runs whose waiting a signal ended as cancelled: by itself Prefect takes them for crashed."""
    try:
        async with asyncio.timeout(PATIENCE_S), get_client() as server:
            while stop.interrupted:
                id_ = stop.interrupted.pop()
                if isinstance(id_, UUID):
                    await server.set_task_run_state(id_, Cancelled(name="Interrupted"), force=True)
    except Exception as error:  # noqa: BLE001 - see above
        log.debug("a task run that was interrupted is shown as crashed (%s)", type(error).__name__)


# -- the states that runs end in --------------------------------------------------------------------------------------

_ENDED = {Ending.COMPLETED, Ending.COMPLETED_WITH_ERRORS, Ending.FAILED}


async def state_of_job(report: JobReport, stop: Stop, run_id: str | None) -> State[Any]:
    """How a job's run is shown, `run_id` being the run that it belongs to. Whoever looks for what needs a person finds
    it by the state's name: `CompletedWithErrors` is a kind of `Completed`, and green."""
    message = one_line("; ".join(summary_lines(report)), 1000)
    if report.dry_run and report.ending in _ENDED:
        return Completed(name=DRY_RUN, message=message)
    if report.ending is Ending.INTERRUPTED and stop.is_requested and await is_being_cancelled(run_id):
        return Cancelled(message=message)
    if report.ending in {Ending.COMPLETED, Ending.TAKEN}:
        return Completed(message=message)
    name = report.ending.value.title().replace(" ", "")
    as_it_should = report.ending is Ending.COMPLETED_WITH_ERRORS or report.exit_status in {OK, WITH_ERRORS}
    return Completed(name=name, message=message) if as_it_should else Failed(name=name, message=message)


async def state_of_run(report: RunReport, stop: Stop, run_id: str | None, *, jobs_are_runs: bool) -> State[Any]:
    """How a run over jobs is shown; `jobs_are_runs` where each of its jobs has a run that tells of it by itself."""
    jobs = [f"{job.job_id}: {job.ending.value}{f' ({job.reason})' if job.reason else ''}" for job in report.jobs]
    message = one_line("; ".join([*jobs, *report.lines]), 1000)
    if stop.is_requested and await is_being_cancelled(run_id):
        return Cancelled(message=message)
    of_jobs_alone = bool(report.jobs) and report.status in {OK, WITH_ERRORS}
    if of_jobs_alone and all(job.dry_run and job.ending in _ENDED for job in report.jobs):
        return Completed(name=DRY_RUN, message=message)  # also where the real run would fail
    if report.exit_status == OK:
        return Completed(message=message) if report.jobs else Completed(name=NOTHING_TO_DO, message=message)
    if report.exit_status == WITH_ERRORS:
        return Completed(name="CompletedWithErrors", message=message)
    if stop.is_requested and not report.jobs:
        return Failed(name="Interrupted", message=message)
    return Failed(name="JobsFailed" if of_jobs_alone and jobs_are_runs else None, message=message)
