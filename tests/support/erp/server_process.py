"""A real accounting system's server as a process over a session's cluster, and its database: Tryton's and Odoo's."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.support.erp.tryton.cluster import Cluster, Parameters, Rows, clean_environment
from tests.support.processes import free_port

START_S = 60.0
STOP_S = 20.0
START_TRIES = 5


class ServerProcess(ABC):
    """A server that may be stopped, killed and started again, always on the same port; its log is a file."""

    name: ClassVar[str]
    listens: ClassVar[str]
    """What it says in its log once it answers; that the port answers is no proof, where somebody else may."""

    def __init__(self, cluster: Cluster, folder: Path, log_name: str, port: int | None) -> None:
        """Not started yet. `folder` is made, for the log, the settings and attachments."""
        folder.mkdir()
        self.log = folder / log_name
        self.files = folder / "files"
        self._folder = folder
        self._cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None
        self._port_may_change = port is None
        self._listen_on(port or free_port())

    def _listen_on(self, port: int) -> None:
        self.port, self.base_url = port, f"http://127.0.0.1:{port}"
        self._configure()

    @abstractmethod
    def _configure(self) -> None:
        """Write the settings file for the port."""

    @abstractmethod
    def _command(self, databases: Sequence[str]) -> list[str | Path]:
        """What starts it with these databases."""

    def _environment(self) -> Mapping[str, str]:
        """What it is to find in its environment, besides what is usual."""
        return {}

    @property
    def pid(self) -> int:
        """The process id. Raises AssertionError where it does not run."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self, *databases: str) -> None:
        """Start it and wait until it answers, with these databases loaded already.

        Raises RuntimeError with the end of the log where it does not.
        """
        assert self._process is None, f"{self.name} runs already"
        for _ in range(START_TRIES):
            said = self._try(databases)
            if said is None:
                self._port_may_change = False
                return
            if "Address already in use" not in said:
                break
            if self._port_may_change:
                self._listen_on(free_port())
        raise RuntimeError(f"{self.name} did not start:\n{(said or '')[-2000:]}")

    def _try(self, databases: Sequence[str]) -> str | None:
        """None once it listens, else what it said instead."""
        with self.log.open("ab") as log:
            before = log.tell()
            process = self._process = subprocess.Popen(
                self._command(databases),
                env=clean_environment(**self._environment()),
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
            if self.listens in said:
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
class ServedDatabase:
    """A running server and a database of it. `company` is the document that the preparation of the company wrote."""

    process: ServerProcess
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

        `lock table account_move in exclusive mode` say, so that the server waits before it writes a move. The
        transaction is committed in the end. Raises SqlError, as well where the locks were not to be had within ten
        seconds.
        """
        with self.cluster.holding(self.database, query, parameters) as rows:
            yield rows
