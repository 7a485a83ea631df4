"""Writers in processes of their own, who record the same expenses on one real server, and what stands there at last."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from threading import Event, Thread, Timer
from typing import Any

import pytest

from blocks.erp.base import Erp
from blocks.erp.entries import Bill, Entry, Recorded
from blocks.erp.errors import ErpOutcomeUnknown, ErpUnavailable
from tests.support.erp.contract.books import books_hold, hashes_of
from tests.support.erp.contract.harness import Harness, Names
from tests.support.erp.contract.runner import _once_more as run_once
from tests.support.erp.contract.runner import ready
from tests.support.erp.server_process import ServedDatabase
from tests.support.processes import until

WITHIN_S = 90.0
MOST_RUNS = 12
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.support.erp.contract.writers"])


def _prepare() -> None:
    """Start the process that all others are forked from, where it finds our modules beforehand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        ensure_running()


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind of server in whose database it is looked what becomes of expenses.

    `server` is the fixture that runs one. `written` are the tables that recording writes to. `records` asks for a row
    with expense and part (`main`, `payment`) of whatever there is of `%(ids)s`, `strays` for what belongs to nothing.
    `waits` names the constant that says how long an adapter waits for others, where it does.
    """

    harness: Callable[[Any], Harness]
    names: Names
    server: str
    written: tuple[str, ...]
    records: str
    strays: str
    waits: str = ""


def server_of(harness: Harness) -> ServedDatabase:
    """The server that a harness of such a kind is of."""
    server = vars(harness)["server"]
    assert isinstance(server, ServedDatabase)
    return server


@dataclass(frozen=True, slots=True)
class Job:
    """What a writer is to record. `wait_s` is how long it waits before it looks again at what others do (the constant
    `waits`, None: as it is), `pause_s` how long before it runs again after trouble. With `at_once` it first records
    everything without looking, as somebody does who has looked just before."""

    connection: partial[Erp]
    company_id: str
    entries: Sequence[Entry]
    waits: str = ""
    wait_s: float | None = None
    pause_s: float = 0.0
    at_once: bool = False


@dataclass
class Told:
    """What a writer says. `first` are the external ids by its first call of `record`, `refused` what that one refused,
    `end` what stood when a run came to its end, after so many `runs`."""

    first: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    end: dict[str, str] = field(default_factory=dict)
    runs: int = 0


class Process:
    """A writer at work. It says `ready` before it begins, and in the end what it has to tell."""

    def __init__(self, job: Job) -> None:
        _prepare()
        self._pipe, theirs = _PROCESSES.Pipe()
        self._process: BaseProcess = _PROCESSES.Process(target=_work, args=(job, theirs))  # type: ignore[attr-defined]
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def is_ready(self) -> None:
        """Wait until it is."""
        assert self._said() == "ready"

    def begin(self, at: float) -> None:
        """Let it begin at that time."""
        self._pipe.send(at)

    def told(self) -> Told | None:
        """What it tells in the end; None where it was killed."""
        try:
            told = self._said()
        except (EOFError, ConnectionError):
            return None
        assert isinstance(told, Told), told
        return told

    def end(self) -> None:
        """Make sure that it is gone."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()

    def _said(self) -> object:
        assert self._pipe.poll(WITHIN_S), f"a writer said nothing for {WITHIN_S:g} s"
        return self._pipe.recv()


def writers(jobs: Sequence[Job]) -> list[Told]:
    """Have them all begin at the same moment, and wait for their ends."""
    with running(jobs) as processes:
        begin(*processes)
        found = [process.told() for process in processes]
    assert None not in found
    return [told for told in found if told is not None]


@contextmanager
def running(jobs: Sequence[Job]) -> Iterator[list[Process]]:
    """Processes that are ready to begin. They are gone after the context."""
    processes: list[Process] = []
    try:
        processes += (Process(job) for job in jobs)
        for process in processes:
            process.is_ready()
        yield processes
    finally:
        for process in processes:
            process.end()


def begin(*processes: Process) -> None:
    """Let them all begin, a moment from now."""
    at = time.monotonic() + 0.02
    for process in processes:
        process.begin(at)


class Killer:
    """Kills a process when it is called, from whatever thread. It kills once."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.done = Event()

    def __call__(self) -> None:
        """Kill."""
        assert self.pid is not None
        if not self.done.is_set():
            self.done.set()  # before, as whoever sees that the process is gone asks for it
            os.kill(self.pid, signal.SIGKILL)


class Strike:
    """Kills the server while it carries out a request, as `before` of a fault: in a transaction that has begun, and
    waits for a lock. Then it is started again."""

    def __init__(self, server: ServedDatabase, written: Sequence[str]) -> None:
        self._server = server
        self._written = written
        self._thread = Thread(target=self._kill)
        self._locked = Event()
        self.met = False

    def __call__(self) -> None:
        """Take the lock, and let the request go on into it."""
        self.met = True
        self._thread.start()
        assert self._locked.wait(WITHIN_S)

    def over(self) -> None:
        """Wait until the server is there again."""
        if self.met:
            self._thread.join(WITHIN_S)
            assert not self._thread.is_alive()

    def _kill(self) -> None:
        with self._server.holding(f"lock table {', '.join(self._written)} in exclusive mode"):
            self._locked.set()
            waiting_for_a_lock(self._server)
            self._server.kill()
        self._server.start()


class Hang:
    """Has the server hang when it is called, as `before` of a fault, and go on after so many seconds."""

    def __init__(self, server: ServedDatabase, for_s: float) -> None:
        self._server = server
        self._timer = Timer(for_s, server.resume)
        self.met = False

    def __call__(self) -> None:
        """Let it hang."""
        self.met = True
        self._server.pause()
        self._timer.start()

    def over(self) -> None:
        """Wait until it goes on."""
        if self.met:
            self._timer.join(WITHIN_S)


def waiting_for_a_lock(server: ServedDatabase) -> None:
    """Wait until the server waits for a lock of PostgreSQL's."""
    until(lambda: server.sql(_WAITING)[0][0], within_s=WITHIN_S, every_s=0.02)


def _work(job: Job, pipe: Connection) -> None:
    module, _, constant = job.waits.rpartition(".")
    if module and job.wait_s is not None:
        setattr(import_module(module), constant, job.wait_s)
    try:
        pipe.send(asyncio.run(_recorded(job, pipe)))
    except Exception:  # for the test to show
        pipe.send(traceback.format_exc())
        raise


async def _recorded(job: Job, pipe: Connection) -> Told:
    erp = await ready(job.connection(), job.company_id)
    try:
        pipe.send("ready")
        at = await asyncio.to_thread(pipe.recv)
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        told = Told()
        if job.at_once:
            await _first(erp, job.entries, told)
        for _ in range(MOST_RUNS):
            told.runs += 1
            try:
                stands = await run_once(erp, job.entries)
            except (ErpUnavailable, ErpOutcomeUnknown) as error:
                told.trouble.append(str(error))
                await asyncio.sleep(job.pause_s)
                continue
            told.end = {one.accounting_entry_id: one.external_id for one in stands}
            break
        return told
    finally:
        await erp.close()


async def _first(erp: Erp, entries: Sequence[Entry], told: Told) -> None:
    try:
        outcomes = await erp.record(entries)
    except (ErpUnavailable, ErpOutcomeUnknown) as error:
        told.trouble.append(str(error))
        return
    for one in outcomes:
        if isinstance(one, Recorded):
            told.first[one.accounting_entry_id] = one.external_id
        else:
            told.refused[one.accounting_entry_id] = one.message


def stands_once(watched: Watched, harness: Harness, entries: Sequence[Entry]) -> dict[str, str]:
    """The external id of each entry, once it is shown in PostgreSQL that it stands once and whole, each part of it,
    with its receipts, and that there is nothing else of it: no draft that does not count, no file of nobody's."""
    parts = records_of(watched, harness, [entry.accounting_entry_id for entry in entries])
    expected = Counter({(entry.accounting_entry_id, "main"): 1 for entry in entries})
    expected += Counter(
        (entry.accounting_entry_id, "payment")
        for entry in entries
        if isinstance(entry, Bill) and len(entry.documents) > 1
    )
    assert parts == expected
    booked = books_hold(harness, entries)
    for entry in entries:
        if entry.attachments:
            assert booked[entry.accounting_entry_id].files == hashes_of(entry.attachments)
    assert server_of(harness).sql(watched.strays) == []
    return {id_: one.external_id for id_, one in booked.items()}


def records_of(watched: Watched, harness: Harness, ids: Sequence[str]) -> Counter[tuple[str, str]]:
    """How many records PostgreSQL holds of each expense and part, whatever their state."""
    return Counter((id_, part) for id_, part in server_of(harness).sql(watched.records, {"ids": list(ids)}))


_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
