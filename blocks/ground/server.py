"""A Prefect server of this process alone, on loopback, with the database of PREFECT_HOME.

Instead of the temporary server that Prefect's client starts by itself: that one is in the process group of the run, so
it ends with the first Ctrl-C, and the run then waits for it; it stays when the run is killed; and it starts seconds
later, as the client imports the whole server first. This one is in a session of its own, its port is known before it
listens, and a pipe ties its life to this process: when this one ends, however it does, the pipe does, and so it does.
"""

from __future__ import annotations

import logging
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from blocks.text import one_line

log = logging.getLogger(__name__)

END_S = 4.0
RESTARTS = 2
"""How often a server that has ended under a run is started anew."""

_CHILD = Path(__file__).with_name("child.py")
_EVERY_S = 0.1
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b.*")


class NoServer(Exception):
    """The server does not start; the message is one line."""


class OwnServer:
    """The server as a child, from the moment that this is made. It touches no database before `wait`.

    Raises OSError where the machine gives no socket, pipe or process.
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)  # clients that come before the child is there wait in the backlog
        self.api_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
        self._log = _log_file()
        self._lock = threading.Lock()
        self._closed = False
        self._gone = threading.Event()
        self._watcher: threading.Thread | None = None
        self._start()

    @property
    def is_gone(self) -> bool:
        """Whether the server has ended by itself, and is not started again."""
        return self._gone.is_set()

    def wait(self, timeout_s: float, given_up: Callable[[], bool], on_gone: Callable[[], None]) -> None:
        """Let the server open its database, and return when it answers, or `given_up` says so. Raises NoServer.

        `on_gone` is called, in another thread, once it has gone for good.
        """
        self._let_it_open_its_database()
        deadline = time.monotonic() + timeout_s
        with socket.create_connection(self._listener.getsockname(), timeout=_EVERY_S) as connection:
            connection.sendall(b"GET /api/health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            while not select.select([connection], [], [], _EVERY_S)[0]:
                if given_up():
                    return
                if self._process.poll() is not None:
                    self._give_up()
                    raise NoServer(f"Prefect's server for this run did not start: {self._last_words()}")
                if time.monotonic() > deadline:
                    raise NoServer(f"Prefect's server for this run did not answer within {timeout_s:g} s")
        self._watcher = threading.Thread(target=self._watch, args=(on_gone,), name="server of this run", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """End the server, which first writes down what it has been told; by force after some seconds."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._life)
        self._listener.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._log is not None:
            self._log.close()

    def _start(self) -> None:
        end, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", str(_CHILD), str(self._listener.fileno()), str(end)],
                pass_fds=(self._listener.fileno(), end),
                stdin=subprocess.DEVNULL,
                stdout=self._log or subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                env=_environment(),
            )
        except OSError:
            os.close(self._life)
            self._listener.close()
            raise
        finally:
            os.close(end)

    def _let_it_open_its_database(self) -> None:
        with suppress(BrokenPipeError):  # it has ended already, which whoever waits for it is told
            os.write(self._life, b"!")

    def _watch(self, on_gone: Callable[[], None]) -> None:
        """Start the server anew where it ends under the run, which goes on meanwhile: its calls wait in the backlog."""
        for _ in range(RESTARTS):
            self._process.wait()
            with self._lock:
                if self._closed:
                    return
                log.warning("Prefect's server for this run has ended, and is started again: %s", self._last_words())
                os.close(self._life)
                try:
                    self._start()
                    self._let_it_open_its_database()
                except OSError:
                    break
        self._process.wait()
        with self._lock:
            if not self._closed:
                log.warning("Prefect's server for this run has ended, and shows no more of it: %s", self._last_words())
                self._give_up()
                on_gone()

    def _give_up(self) -> None:
        """Whoever calls is refused from here on, instead of waiting for nobody."""
        self._gone.set()
        self._listener.close()

    def _last_words(self) -> str:
        """Why the server ended: the last error in its log, in one line."""
        lines: list[str] = []
        if self._log is not None:
            with suppress(OSError, ValueError):
                self._log.seek(0)
                lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines()]
        errors = [line for line in lines if _ERROR.match(line)] or [line for line in lines if line]
        return one_line(errors[-1], 300) if errors else f"its exit status is {self._process.returncode}"


def _log_file() -> IO[bytes] | None:
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return None


def _environment() -> dict[str, str]:
    """What the server is told: that it is a temporary one, without pages, for the local database."""
    environment = {
        **os.environ,
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # takes 2 s; a block that is saved registers its type
    }
    environment.pop("PREFECT_API_URL", None)
    return environment
