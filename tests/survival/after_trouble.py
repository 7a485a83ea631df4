"""Runs of the real command while something is wrong, then one with the trouble gone: the same books in the end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.command_line import Shell
from tests.support.exporting import Office, office
from tests.support.processes import PrefectServer

ITEMS, SEED = 130, 7
_JOURNAL = """
    SELECT accounting_entry_id, posting_date, account, description, currency, debit_minor, credit_minor, state
    FROM journal ORDER BY 1, 3, 6, 7
"""
_ATTACHED = """
    SELECT e.accounting_entry_id, a.number, a.file
    FROM attachment AS a JOIN entry AS e ON e.id = a.entry_id ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Result:
    """What stands in the books, what of receipts, and what Pleo was told: nothing that depends on the run."""

    journal: list[tuple[object, ...]]
    attached: list[tuple[object, ...]]
    told: list[tuple[object, ...]]
    job: str


@dataclass
class JobShell:
    """A shell with one job of some pages, whose accounting entry ids are the same every time."""

    shell: Shell
    job_id: str
    runs: list[subprocess.CompletedProcess[str]] = field(default_factory=list)

    @property
    def office(self) -> Office:
        return self.shell.office

    @property
    def folder(self) -> Path:
        return self.shell.folder

    def run(
        self,
        *arguments: str,
        before: str = "",
        after: str = "",
        longest_s: float = 240.0,
        **environment: str | None,
    ) -> subprocess.CompletedProcess[str]:
        """The command through a shell that says something before it (`ulimit -n 32;`), or after (`>/dev/full`)."""
        given = {**self.shell.environment, **environment}
        command = ["bash", "-c", f'{before} "$@" {after}', "bash", sys.executable, "-m", "flows.export", *arguments]
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env={name: value for name, value in given.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, complained = process.communicate(timeout=longest_s)
            finally:
                with suppress(ProcessLookupError):  # nobody who was begun here outlives the test
                    os.killpg(process.pid, signal.SIGKILL)
        done = subprocess.CompletedProcess(command, process.returncode, said, complained)
        self.runs.append(done)
        return done

    def result(self, books: Path | None = None) -> Result:
        """How things stand now."""
        with closing(sqlite3.connect(books or self.office.books)) as connection:
            journal = connection.execute(_JOURNAL).fetchall()
            attached = connection.execute(_ATTACHED).fetchall()
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        told = [
            (item.accounting_entry_id, item.status, item.failure_reason_type, item.failure_reason)
            for item in self.office.sandbox.items(self.job_id)
        ]
        return Result(journal, attached, sorted(told, key=str), self.office.sandbox.job(self.job_id).status)


@contextmanager
def shell_with_job(folder: Path, server: PrefectServer, items: int = ITEMS) -> Iterator[JobShell]:
    """Such a shell in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with office(folder) as at_work:
        yield JobShell(Shell(at_work, server, folder), at_work.sandbox.add_job(items=items, seed=SEED))


def undisturbed(folder: Path, items: int = ITEMS) -> Result:
    """What becomes of the job where nothing is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    with office(folder) as at_work:
        made = JobShell(Shell(at_work, PrefectServer("", {}), folder), at_work.sandbox.add_job(items=items, seed=SEED))
        asyncio.run(at_work.export())
        return made.result()


def left_over(folder: Path, but: Mapping[str, str] | None = None) -> list[str]:
    """Names of files that should be gone when a run has ended: half of something, or on its way to somewhere."""
    odd = re.compile(r"\.tmp$|\.incoming$|-journal$|^pleo-receipts-|^ledger-")
    return sorted(path.name for path in folder.rglob("*") if odd.search(path.name))


def whole_beancount(path: Path) -> bool:
    """Whether the Beancount file ends with a whole transaction."""
    text = path.read_text()
    return text.startswith("; The Pleo export's books") and text.endswith("\n")
