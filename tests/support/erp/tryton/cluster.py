"""A PostgreSQL cluster that is one session's own, with databases cloned from a template, and a way to ask it."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.erp.tryton.environment import HERE
from tests.support.erp.tryton.postgres import Postgres, temporary_folder

END_S = 20.0
CATALOG_FIGURES = "analyze pg_catalog.pg_constraint, pg_catalog.pg_class, pg_catalog.pg_attribute, pg_catalog.pg_depend"


Parameters = Sequence[Any] | Mapping[str, Any]
Rows = list[tuple[Any, ...]]


class SqlError(Exception):
    """What PostgreSQL said of a query."""


class Helper:
    """A process of Tryton's environment that speaks SQL, and clears away what is left should we be killed."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [python, "-P", HERE / "helper.py", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(),
            start_new_session=True,
        )

    def ask(self, *request: Any) -> Any:
        """The answer to a request, see `helper`. Raises SqlError."""
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            outcome, answer = pickle.load(self._process.stdout)
        if outcome == "error":
            raise SqlError(answer)
        return answer

    def close(self) -> None:
        """End it; it removes the folder."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(END_S)


class Cluster:
    """Databases of one session in a temporary folder, gone with it."""

    def __init__(self, python: Path, binaries: Path, data: Path | None = None) -> None:
        """A copy of the cluster at rest in `data`, else a new one. Raises TrytonUnavailable without space."""
        self.python = python
        self.folder = temporary_folder()
        self._clones = itertools.count(1)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._helper = Helper(python, self.folder)
            undo.callback(self._helper.close)
            self.postgres = Postgres(self.folder, binaries)
            if data is None:
                self.postgres.create()
            else:
                self.postgres.copy(data)
            undo.callback(self.postgres.stop, orderly=False)
            pid = self.postgres.start()
            self.watch(pid, signal.SIGQUIT)
            undo.callback(self._stop, pid)
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def uri(self) -> str:
        """Where Tryton finds the databases."""
        return f"postgresql://tryton@/?host={self.postgres.sockets}"

    def sql(self, database: str, query: str, parameters: Parameters = ()) -> Rows:
        """The rows of a query; `%s` or `%(name)s` in it stand for the parameters. Raises SqlError."""
        rows: Rows = self._helper.ask("sql", str(self.postgres.sockets), database, query, parameters)
        return rows

    @contextmanager
    def holding(self, database: str, query: str, parameters: Parameters = ()) -> Iterator[Rows]:
        """The rows of a query whose transaction stays open for the context, and is then committed. Raises SqlError."""
        number, rows = self._helper.ask("hold", str(self.postgres.sockets), database, query, parameters)
        try:
            yield rows
        finally:
            self._helper.ask("release", number)

    @contextmanager
    def well_planned(self, database: str) -> Iterator[None]:
        """While the context lasts, PostgreSQL has fresh figures of a database's catalog: a third less time for Tryton
        to set it up, as it asks a lot of questions about tables that have only just been made."""
        done = threading.Event()

        def gather() -> None:
            while not done.wait(1):
                self.sql(database, CATALOG_FIGURES)

        thread = threading.Thread(target=gather)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def clone(self, template: str, name: str | None = None) -> str:
        """A new database, the same as the template, which nobody may be using; answers its name."""
        name = name or f"test{next(self._clones)}"
        self.sql("postgres", f'create database "{name}" template "{template}" strategy file_copy')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.sql("postgres", f'drop database if exists "{database}" with (force)')

    def watch(self, pid: int, by_signal: int) -> None:
        """Have a process ended with this signal if we are killed."""
        self._helper.ask("watch", pid, int(by_signal))

    def forget(self, pid: int) -> None:
        """It has ended."""
        self._helper.ask("forget", pid)

    def rest(self) -> Path:
        """Stop in order; answers the folder of the cluster's data, to be copied."""
        self.postgres.stop()
        return self.postgres.data

    def close(self) -> None:
        """Take it down and remove everything."""
        self._undo.close()

    def _stop(self, pid: int) -> None:
        self.postgres.stop(orderly=False)
        self.forget(pid)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of Tryton's programs: without what would change PostgreSQL's, Tryton's or Python's settings."""
    unwanted = ("PG", "TRYTON", "PYTHON", "PLEO_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}
