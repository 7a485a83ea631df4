"""What Prefect shows of a run while it is under way: progress, log lines, states of tasks that were interrupted.

All of it is for people to look at: it never ends, delays or changes a job, whatever Prefect's server does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import APILogHandler
from prefect.states import Cancelled

from flows.stop import Stop

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 2.0
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
            made = await acreate_progress_artifact(percent, key="pleo-export-progress", description=description)
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


async def server_answers() -> bool:
    """Whether Prefect's server is there. A run must not wait for one that is not: its client tries for minutes."""
    try:
        async with asyncio.timeout(PATIENCE_S), get_client() as server:
            return await server.api_healthcheck() is None
    except Exception as error:  # noqa: BLE001 - whatever keeps it from answering
        log.warning("Prefect's server does not answer (%s): the export goes on without", type(error).__name__)
        return False


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
