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
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.erp.tryton.cluster import Cluster, Parameters, Rows, clean_environment
from tests.support.erp.tryton.environment import Say, say_nothing
from tests.support.erp.tryton.prepare import TEMPLATE, prepare, write_settings
from tests.support.processes import free_port

START_S = 60.0
STOP_S = 20.0
START_TRIES = 5
LISTENS = "Press CTRL+C to quit"


class TrytonProcess:
    """A trytond that may be stopped, killed and started again, always on the same port; its log is a file."""

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
        folder.mkdir()
        self.log = folder / "trytond.log"
        self.files = folder / "files"
        self._folder = folder
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, dict[str, str]] = {"session": {"authentications": "password"}}
        if request_bytes is not None:
            self._settings["request"] = {"max_size": str(request_bytes), "max_size_authenticated": str(request_bytes)}
        self._web = (web or folder / "www").absolute()
        self._port_may_change = port is None
        self._listen_on(port or free_port())

    def _listen_on(self, port: int) -> None:
        address = f"127.0.0.1:{port}"
        self.port, self.base_url = port, f"http://{address}"
        web = {"listen": address, "hostname": address, "root": str(self._web)}
        self._file = write_settings(self._folder, self._cluster, web=web, **self._settings)

    @property
    def pid(self) -> int:
        """The process id. Raises AssertionError where it does not run."""
        assert self._process is not None, "Tryton does not run"
        return self._process.pid

    def start(self, *databases: str) -> None:
        """Start it and wait until it answers, with these databases loaded already.

        Raises RuntimeError with the end of the log where it does not.
        """
        assert self._process is None, "Tryton runs already"
        for _ in range(START_TRIES):
            said = self._try(databases)
            if said is None:
                self._port_may_change = False
                return
            if "Address already in use" not in said:
                break
            if self._port_may_change:
                self._listen_on(free_port())
        raise RuntimeError(f"Tryton did not start:\n{(said or '')[-2000:]}")

    def _try(self, databases: Sequence[str]) -> str | None:
        """None once it listens, else what it said instead."""
        with self.log.open("ab") as log:
            before = log.tell()
            command: list[str | Path] = [self._cluster.python, "-P", "-m", "trytond.cli", "-v", "-c", self._file]
            process = self._process = subprocess.Popen(
                [*command, "-d", *databases] if databases else command,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
            )
        self._cluster.watch(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + START_S
        while True:
            ended = process.poll() is not None
            with self.log.open("rb") as log:
                log.seek(before)
                said = log.read().decode(errors="replace")
            if LISTENS in said:  # and not that the port answers, where somebody else may
                return None
            if ended or time.monotonic() > deadline:
                self.kill()
                return said or "nothing was said"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Have it hang: connections are taken, and nothing is answered until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, by_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(by_signal)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        self._cluster.forget(process.pid)


@dataclass(frozen=True)
class TrytonServer:
    """A running Tryton and a database of it. `company` is the document that `tryton_company` describes."""

    process: TrytonProcess
    cluster: Cluster
    database: str
    company: Mapping[str, Any] = field(repr=False)

    @property
    def base_url(self) -> str:
        """Where it answers, without the database: "http://127.0.0.1:40123"."""
        return self.process.base_url

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.process.log

    @property
    def files(self) -> Path:
        """Where it keeps what it does not keep in the database."""
        return self.process.files / self.database

    def start(self) -> None:
        """Start it again, on the same port, after `stop` or `kill`."""
        self.process.start(self.database)

    def stop(self) -> None:
        """End it as an administrator would."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def pause(self) -> None:
        """Have it hang: connections are taken, and nothing is answered until `resume`."""
        self.process.pause()

    def resume(self) -> None:
        """Have it go on."""
        self.process.resume()

    def sql(self, query: str, parameters: Parameters = ()) -> Rows:
        """The rows of a query, in a transaction of its own. Raises SqlError."""
        return self.cluster.sql(self.database, query, parameters)

    @contextmanager
    def holding(self, query: str, parameters: Parameters = ()) -> Iterator[Rows]:
        """The rows of a query whose transaction, with the locks that it took, stays open for the context.

        `lock table account_move in exclusive mode` say, so that Tryton waits before it writes a move. The transaction
        is committed in the end. Raises SqlError, as well where the locks were not to be had within ten seconds.
        """
        with self.cluster.holding(self.database, query, parameters) as rows:
            yield rows


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
