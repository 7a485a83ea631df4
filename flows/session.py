"""What a run works with, handed from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from blocks.erp.base import Erp
from blocks.erp.settings import ErpSettings
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.client import PleoClient
from flows.runner import Runner
from flows.stop import Stop


@dataclass(frozen=True, slots=True)
class Session:
    """Pleo, the accounting system, and the way steps are called.

    `clock` gives seconds that only grow, `now` the time of day (aware), at best Pleo's own.
    """

    pleo: PleoClient
    files: FileClient
    erp: Erp
    runner: Runner
    stop: Stop
    clock: Callable[[], float]
    update_batch_size: int = 100
    settings: ErpSettings = field(default_factory=ErpSettings)
    dry_run: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
