"""Odoo, running: a server process over a session's cluster, fresh databases for it, and a command for people.

    python -m tests.support.erp.odoo.server --help

In tests use the fixtures of `fixtures.py`. Anywhere else:

    with Odoo() as odoo, odoo.server() as server:
        server.base_url, server.database        # "http://127.0.0.1:40123", "test1"
        server.company["users"]["pleo"]["key"]  # all ids, keys and passwords: see `company.py`
        server.sql("select count(*) from account_move")
"""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.erp.odoo import package
from tests.support.erp.odoo.prepare import TEMPLATE, Prepared, environment_of, prepare, write_settings
from tests.support.erp.server_process import ServedDatabase, ServerProcess
from tests.support.erp.tryton.cluster import Cluster
from tests.support.erp.tryton.environment import Say, say_nothing


class OdooProcess(ServerProcess):
    """An Odoo that may be stopped, killed and started again, always on the same port."""

    name = "Odoo"
    listens = "odoo.registry: Registry loaded in"

    def __init__(self, prepared: Prepared, cluster: Cluster, folder: Path, *, port: int | None = None) -> None:
        """Not started yet. `folder` is made, for the log, the settings and attachments."""
        self._prepared = prepared
        super().__init__(cluster, folder, "odoo.log", port)

    def _configure(self) -> None:
        self._file = write_settings(self._folder, self._cluster, self._prepared.odoo, self.files, port=self.port)

    def _command(self, databases: Sequence[str]) -> list[str | Path]:
        program = self._prepared.odoo / package.PROGRAM
        (database,) = databases
        only = ["-d", database, "--db-filter", f"^{database}$"]
        return [self._prepared.python, program, "server", "-c", self._file, *only]

    def _environment(self) -> Mapping[str, str]:
        return environment_of(self._prepared.odoo)


class OdooServer(ServedDatabase):
    """A running Odoo and its database. `company` is the document that `company.py` writes."""

    @property
    def files(self) -> Path:
        """Where it keeps what it does not keep in the database."""
        return self.process.files / "filestore" / self.database


class Odoo:
    """A session's Odoo: its own copy of the prepared cluster, and server processes over it."""

    def __init__(self, *, cache: Path | None = None, say: Say = say_nothing) -> None:
        """Raises OdooUnavailable."""
        self.prepared = prepare(cache=cache, say=say)
        self.cluster = Cluster(self.prepared.python, self.prepared.binaries, self.prepared.data)
        self._servers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def server(self, *, port: int | None = None, name: str | None = None) -> Iterator[OdooServer]:
        """A server process over a fresh database, perhaps of that name, which takes some seconds to start."""
        folder = self.cluster.folder / f"odoo{next(self._servers)}"
        process = OdooProcess(self.prepared, self.cluster, folder, port=port)
        database = self.cluster.clone(TEMPLATE, name)
        server = OdooServer(process, self.cluster, database, self.prepared.company)
        shutil.copytree(self.prepared.files / "filestore" / TEMPLATE, server.files)
        try:
            server.start()
            yield server
        finally:
            server.kill()
            self.cluster.drop(database)

    def close(self) -> None:
        """Take everything down and leave nothing."""
        self.cluster.close()


if __name__ == "__main__":
    from tests.support.erp.odoo.command import main

    sys.exit(main())
