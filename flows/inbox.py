"""Deliveries of Pleo's webhook that wait for Prefect, in a small SQLite file: what was taken outlives the process.

A delivery is in the file, and the file on the disk, before it is answered; it goes when Prefect has its run. Programs
that share a file do no harm: each hands over what it received, and at its start what others left, and Prefect makes one
run of a message however often it is asked.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from blocks.text import one_line
from flows.deliveries import Delivery, WebhookError

LIFE_S = 3600.0
"""How long a delivery is of use: a job that nobody has begun by then has expired in Pleo."""

_BUSY_S = 0.3
_SCHEMA = """CREATE TABLE IF NOT EXISTS delivery (
    deployment TEXT NOT NULL, message_id TEXT NOT NULL, company_id TEXT NOT NULL, job_id TEXT NOT NULL,
    received REAL NOT NULL, PRIMARY KEY (deployment, message_id)
)"""


class Inbox:
    """The deliveries that wait for a run of one deployment. Not usable before `open`."""

    def __init__(self, path: Path, deployment: str) -> None:
        self._path = path
        self._deployment = deployment
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="webhook-inbox")
        self._file: sqlite3.Connection | None = None
        self._new: list[Delivery] = []
        self._storing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> list[Delivery]:
        """Make the file if there is none, only its owner may read it; the deliveries that wait in it, oldest first.

        Raises WebhookError where it cannot be used.
        """
        try:
            waiting: list[Delivery] = await self._call(self._open)
        except (OSError, sqlite3.Error) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else one_line(str(error), 100)
            raise WebhookError(f"--inbox {one_line(str(self._path), 200)}: {why}") from None
        return waiting

    async def store(self, delivery: Delivery) -> None:
        """Return once it is on the disk. What comes while others are written is written together, with one wait for
        the disk. Raises sqlite3.Error."""
        self._new.append(delivery)
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_new())
        await asyncio.shield(self._storing)

    async def remove(self, deliveries: Sequence[Delivery]) -> None:
        """Forget these. Raises sqlite3.Error."""
        rows = [(self._deployment, one.message_id) for one in deliveries]
        sql = "DELETE FROM delivery WHERE deployment = ? AND message_id = ?"
        async with self._one_at_a_time:
            await self._call(self._written, sql, rows)

    async def close(self) -> None:
        """Close the file; deliveries stay in it."""
        if self._storing is not None:
            await asyncio.wait([self._storing])
        if self._file is not None:
            await self._call(self._file.close)
        self._thread.shutdown()

    async def _store_new(self) -> None:
        async with self._one_at_a_time:
            rows = [(self._deployment, one.message_id, one.company_id, one.job_id, time.time()) for one in self._new]
            self._new, self._storing = [], None  # who comes from now on is written with the next
            await self._call(self._written, "INSERT OR IGNORE INTO delivery VALUES (?, ?, ?, ?, ?)", rows)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _open(self) -> list[Delivery]:
        with suppress(FileExistsError):
            self._path.parent.mkdir()
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        file = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._file = file
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        file.execute(_SCHEMA)
        file.execute("DELETE FROM delivery WHERE received < ?", (time.time() - LIFE_S,))
        sql = "SELECT message_id, company_id, job_id FROM delivery WHERE deployment = ? ORDER BY rowid"
        return [Delivery(*row) for row in file.execute(sql, (self._deployment,))]

    def _written(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if (file := self._file) is None:
            raise sqlite3.ProgrammingError("the inbox is not open")
        file.execute("BEGIN IMMEDIATE")
        try:
            file.executemany(sql, rows)
            file.execute("COMMIT")
        except BaseException:
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise
