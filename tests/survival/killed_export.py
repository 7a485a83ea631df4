"""One company whose export is killed and run again: a Pleo with a job of three pages, books, the real command.

Everything lies in one folder: the books, the stored pages, the receipts on their way. What all of it comes to in the
end is an `End`, and two of them are equal where it is the same books and the same report to Pleo.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from flows.demo import SETTINGS_FILE
from tests.support.network.fault_proxy import FaultProxy, proxying
from tests.support.processes import PrefectServer

ITEMS, FAILING, SEED = 14, 2, 3
"""Three pages: a bill and its payment, a refund, receipts, expenses that fail by themselves and by the settings."""

PAGE_SIZE, UPDATE_BATCH_SIZE = 5, 4
MOST_RUNS = 2
RUN_S = 180.0
QUIET_S = 60.0
AT_ONCE = 2


@dataclass(frozen=True)
class End:
    """What the books hold, what Pleo was told, and what is left lying about. Times are left out."""

    journal: tuple[Any, ...]
    open_items: tuple[Any, ...]
    attachments: tuple[Any, ...]
    receipts: dict[str, str]
    """The files in the folder of receipts with the hashes of their bytes, in the order of their names."""
    beancount: str
    items: tuple[Any, ...]
    """What Pleo holds of each item, and how many updates of it were taken."""
    job: tuple[Any, ...]
    events: tuple[Any, ...]
    left_behind: tuple[str, ...]
    history: tuple[Any, ...] = ()
    """What happened to each expense, its answers to Pleo among it; times and order are left out."""

    def differences(self, other: End) -> list[str]:
        """What is not the same, in a line each."""
        return [
            f"{one.name}: {_short(getattr(self, one.name))} instead of {_short(getattr(other, one.name))}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(other, one.name)
        ]


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody kills: how it ended, and what it asked of Pleo."""

    end: End
    requests: tuple[str, ...]


@dataclass
class Scene:
    """The company at work. `books` is the ledger's file; `environment` is the command's."""

    sandbox: Sandbox
    proxy: FaultProxy
    job_id: str
    folder: Path
    environment: dict[str, str]

    @property
    def books(self) -> Path:
        return self.folder / "books" / "books.sqlite"

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a run in a process group of its own, by another command than the usual one where it is given."""
        return subprocess.Popen(
            [sys.executable, *(command or ("-m", "flows.export")), "--json", "--settings", "settings.toml"],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, **environment: str) -> tuple[int, dict[str, Any]]:
        """A run to its end: exit status and document."""
        process = self.start(**environment)
        out, err = communicate(process)
        assert "Traceback" not in err, err
        document: dict[str, Any] = json.loads(out or "{}")
        assert process.returncode in (0, 3), (process.returncode, err, document)
        return process.returncode, document

    def killed(self, *command: str, **environment: str) -> str:
        """Start a run that is killed by what it is given here; returns what was printed if it was not killed."""
        process = self.start(*command, **environment)
        _, err = communicate(process)
        return "" if process.returncode == -9 else f"it was not killed, but ended with {process.returncode}: {err}"

    def problems(self, expected: End) -> list[str]:
        """Run again until idle: what is not as expected then."""
        assert self.proxy.quiet(QUIET_S)  # what the killed run had sent is still acted upon
        try:
            self.run_until_idle()
            problems = self.end().differences(expected)
        except (AssertionError, sqlite3.Error) as error:
            problems = [f"{type(error).__name__}: {error}"]
        return problems + [f"the proxy: {error!r}" for error in self.proxy.problems]

    def run_until_idle(self) -> int:
        """Run again until no job is open, once in any case; returns how often."""
        for runs in range(1, MOST_RUNS + 1):
            self.run()
            if self.sandbox.job(self.job_id).status not in ("pending", "in_progress"):
                return runs
        raise AssertionError(f"after {MOST_RUNS} further runs the job is {self.sandbox.job(self.job_id).status}")

    def end(self) -> End:
        """How it all ended."""
        return End(
            *books_of(self.books),
            *pleo_of(self.sandbox, self.job_id),
            left_behind=self.left_behind(),
            history=history_of(self.books),
        )

    def left_behind(self) -> tuple[str, ...]:
        """Stored pages, receipts on their way, and files beside the books that are not usually there."""
        usual = {"books.sqlite", "books.sqlite.lock", "books.beancount", "books-receipts"}
        # The last run's note of how it ended stays until the next one has seen that Prefect knows.
        notes = {"storage", "pleo-export-runs"}
        left = [path for path in (self.folder / "storage").rglob("*") if path.parent.name not in notes]
        left += (self.folder / "tmp").glob("pleo-receipts-*")
        left += [path for path in self.books.parent.iterdir() if path.name not in usual]
        return tuple(sorted(str(path.relative_to(self.folder)) for path in left))


def books_of(path: Path) -> tuple[Any, ...]:
    """What a ledger file and what belongs to it hold: the first parts of an `End`."""
    with closing(sqlite3.connect(path)) as books:
        assert books.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert books.execute("PRAGMA foreign_key_check").fetchall() == []
        journal = tuple(books.execute("SELECT * FROM journal"))
        open_items = tuple(books.execute("SELECT * FROM open_item ORDER BY 1, 4"))
        attachments = tuple(
            books.execute(
                "SELECT e.accounting_entry_id, a.number, a.name, a.media_type, a.size, a.sha256, a.file"
                " FROM attachment AS a JOIN entry AS e ON e.id = a.entry_id ORDER BY 1, 2"
            )
        )
    folder = path.with_name("books-receipts")
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    receipts = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in found}
    beancount = path.with_suffix(".beancount")
    return journal, open_items, attachments, receipts, beancount.read_text() if beancount.exists() else ""


def history_of(path: Path) -> tuple[Any, ...]:
    """What the books tell of each expense."""
    told = "SELECT accounting_entry_id, event, entry_id, job_id, written, detail FROM history"
    with closing(sqlite3.connect(path)) as books:
        return tuple(sorted(books.execute(told), key=str))


def pleo_of(sandbox: Sandbox, job_id: str) -> tuple[Any, Any, Any]:
    """What Pleo holds of a job: the next three parts of an `End`."""
    job = sandbox.job(job_id)
    items = tuple(
        (one.accounting_entry_id, one.status, one.external_id, one.external_url, one.failure_reason_type,
         one.failure_reason, one.updates)
        for one in sandbox.items(job_id)
    )  # fmt: skip
    events = tuple((one.name, one.failure_reason_type) for one in sandbox.received().events)
    return items, (job.status, job.failure_reason_type, job.failure_reason), events


@contextmanager
def a_scene(folder: Path, server: PrefectServer, state: Path | None = None) -> Iterator[Scene]:
    """A company in a new folder; with `state` its Pleo is the one that was kept there."""
    for name in ("books", "storage", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "settings.toml").write_text(settings_text("books/books.sqlite"))
    kept = state is not None and state.exists()
    with Sandbox(state, rate_limit=False) as sandbox, serve(sandbox) as base_url, proxying(base_url) as proxy:
        job_id = sandbox.jobs()[0].id if kept else sandbox.add_job(ITEMS, SEED, failing=FAILING, vendor_based=True)
        environment = {
            **server.environment,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_LOCAL_STORAGE_PATH": str(folder / "storage"),
            "TMPDIR": str(folder / "tmp"),
            "PLEO_BASE_URL": proxy.address,
            "PLEO_API_KEY": SANDBOX_API_KEY,
        }
        yield Scene(sandbox, proxy, job_id, folder, environment)


def settings_text(books: str) -> str:
    """The demonstration's strict settings, for these books and with small pages."""
    text = SETTINGS_FILE.read_text()
    text = re.sub(r'_file = "(.*?)"', lambda found: f'_file = "{SETTINGS_FILE.parent / found[1]}"', text)
    return f'path = "{books}"\npage_size = {PAGE_SIZE}\nupdate_batch_size = {UPDATE_BATCH_SIZE}\n{text}'


def side_by_side(cases: Iterable[Callable[[], list[str]]]) -> list[str]:
    """Carry out all of these, some at once: what they return, one after the other."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(case) for case in cases]
        return [problem for run in runs for problem in run.result()]


def kill(process: subprocess.Popen[str]) -> None:
    """End a run and all that it has started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def communicate(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a run prints, once it has ended; nothing of it goes on afterwards."""
    try:
        return process.communicate(timeout=RUN_S)
    finally:
        kill(process)
        process.wait()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:200]} … {text[-200:]}"
