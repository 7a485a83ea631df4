"""What a run works with, handed from step to step."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from blocks.erp.base import Erp
from blocks.erp.entries import Answer
from blocks.erp.errors import ErpError
from blocks.erp.settings import ErpSettings
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.client import PleoClient
from flows.stop import Stop

if TYPE_CHECKING:
    from flows.steps import Steps

log = logging.getLogger(__name__)

Show = Callable[[str, int, int], Awaitable[None]]
"""Shows how far a job is: what is done with its items, with how many, of how many."""


async def show_nothing(_what: str, _done: int, _total: int) -> None:
    """For runs that nobody watches."""


class Session:
    """Pleo, the accounting system, and the way in which steps are called.

    A plain class and no dataclass: Prefect walks through the fields of a dataclass that a task is given, each time.
    """

    def __init__(
        self,
        pleo: PleoClient,
        files: FileClient,
        erp: Erp,
        steps: Steps,
        stop: Stop,
        *,
        settings: ErpSettings | None = None,
        update_batch_size: int = 100,
        dry_run: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        show: Show = show_nothing,
    ) -> None:
        """`clock` gives seconds that only grow, `now` the time of day (aware), by default Pleo's own; `sleep` waits
        between two tries, and by default hears when the run is asked to end."""
        self.pleo = pleo
        self.files = files
        self.erp = erp
        self.steps = steps
        self.stop = stop
        self.settings = settings or ErpSettings()
        self.update_batch_size = update_batch_size
        self.dry_run = dry_run
        self.clock = clock
        self.now = now or pleo.now
        self.sleep = sleep or stop.sleep
        self.show = show

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """Have the books keep what Pleo has taken. Trouble with that is logged: the outcomes are told all the same, and
        a run that goes on with the job notes them again."""
        if not answers or self.dry_run:
            return
        try:
            await self.erp.note_answers(answers)
        except ErpError as error:
            log.warning("The history lacks what Pleo was told of %d expenses: %s", len(answers), error)
