"""Tryton, running: a server process over a session's cluster, fresh databases for it, and a command for people.

    python -m tests.support.erp.tryton.server --help

In tests use the fixtures of `tryton_fixtures.py`. Anywhere else:

    with Tryton() as tryton, tryton.server() as server:
        server.base_url, server.database        # "http://127.0.0.1:40123", "test1"
        server.company["users"]["pleo"]["key"]  # all ids, keys and passwords: see `tryton_company`
        server.sql("select count(*) from account_move")
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.erp.server_process import ServedDatabase, ServerProcess
from tests.support.erp.tryton.cluster import Cluster
from tests.support.erp.tryton.environment import Say, say_nothing
from tests.support.erp.tryton.prepare import TEMPLATE, prepare, write_settings


class TrytonProcess(ServerProcess):
    """A trytond that may be stopped, killed and started again, always on the same port."""

    name = "Tryton"
    listens = "Press CTRL+C to quit"

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        *,
        port: int | None = None,
        request_bytes: int | None = None,
        web: Path | None = None,
    ) -> None:
        """Not started yet. `request_bytes` is the largest request, otherwise stock: 2 MiB, and 2 GiB for who has logged
        in. `web` is the folder of the web client. `folder` is made, for the log, the settings and attachments."""
        self._settings: dict[str, dict[str, str]] = {"session": {"authentications": "password"}}
        if request_bytes is not None:
            self._settings["request"] = {"max_size": str(request_bytes), "max_size_authenticated": str(request_bytes)}
        self._web = (web or folder / "www").absolute()
        super().__init__(cluster, folder, "trytond.log", port)

    def _configure(self) -> None:
        address = f"127.0.0.1:{self.port}"
        web = {"listen": address, "hostname": address, "root": str(self._web)}
        self._file = write_settings(self._folder, self._cluster, web=web, **self._settings)

    def _command(self, databases: Sequence[str]) -> list[str | Path]:
        command: list[str | Path] = [self._cluster.python, "-P", "-m", "trytond.cli", "-v", "-c", self._file]
        return [*command, "-d", *databases] if databases else command


class TrytonServer(ServedDatabase):
    """A running Tryton and a database of it. `company` is the document that `tryton_company` describes."""

    @property
    def files(self) -> Path:
        """Where it keeps what it does not keep in the database."""
        return self.process.files / self.database


class Tryton:
    """A session's Tryton: its own copy of the prepared cluster, and server processes over it."""

    def __init__(self, *, module: bool = False, cache: Path | None = None, say: Say = say_nothing) -> None:
        """With `module` our module is activated in every database. Raises TrytonUnavailable."""
        self.prepared = prepare(module=module, cache=cache, say=say)
        self.cluster = Cluster(self.prepared.python, self.prepared.binaries, self.prepared.data)
        self._servers = itertools.count(1)
        self._beside = ThreadPoolExecutor(1, "tryton")
        self._spare: Future[TrytonServer] | None = None
        self._removals: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def server(
        self,
        *,
        port: int | None = None,
        request_bytes: int | None = None,
        web: Path | None = None,
        name: str | None = None,
    ) -> Iterator[TrytonServer]:
        """A server process over a fresh database, perhaps of that name, which takes a second to start.

        For the other arguments see `TrytonProcess`.
        """
        server = self._start(name, port=port, request_bytes=request_bytes, web=web)
        try:
            yield server
        finally:
            self._remove(server)

    @contextmanager
    def next_server(self) -> Iterator[TrytonServer]:
        """The same with the default arguments, for one test after the other: the next is started beside this one."""
        ready, self._spare = self._spare or self._beside.submit(self._start), None
        server = ready.result()
        self._spare = self._beside.submit(self._start)
        try:
            yield server
        finally:
            server.kill()
            self._removals.append(self._beside.submit(self._remove, server))

    def close(self) -> None:
        """Take everything down and leave nothing."""
        try:
            self._beside.shutdown()
            if self._spare is not None:
                self._spare.result().kill()
            for removal in self._removals:
                removal.result()
        finally:
            self.cluster.close()

    def _start(self, name: str | None = None, **options: Any) -> TrytonServer:
        folder = self.cluster.folder / f"tryton{next(self._servers)}"
        process = TrytonProcess(self.cluster, folder, **options)
        database = self.cluster.clone(TEMPLATE, name)
        process.start(database)
        return TrytonServer(process, self.cluster, database, self.prepared.company)

    def _remove(self, server: TrytonServer) -> None:
        server.kill()
        self.cluster.drop(server.database)


if __name__ == "__main__":
    from tests.support.erp.tryton.command import main

    sys.exit(main())
