"""Programs that tests run beside themselves: in a process group of their own, on a free port, ended with the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
END_S = 20.0


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def until(check: Callable[[], T], *, within_s: float, every_s: float = 0.1, otherwise: str = "nothing came") -> T:
    """The first answer of `check` that is true; fails the test when none came in time."""
    deadline = time.monotonic() + within_s
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{otherwise} within {within_s:g} s")
        time.sleep(every_s)
    return answer


@contextmanager
def running(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, cwd: Path = ROOT, **user: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with its own process group while the context lasts; what it prints goes to `log`. `user` says who it
    runs as, in the words of `subprocess`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **user,
        )
    try:
        yield process
    finally:
        _end(process)


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server: its address, and the environment of programs that are to use it."""

    api_url: str
    environment: dict[str, str]


@contextmanager
def a_prefect_server(home: Path, **settings: str) -> Iterator[PrefectServer]:
    """A real Prefect server with its own home, database and port, and these of Prefect's settings."""
    from blocks.ground.child import begin_database  # not before the environment is clean

    begin_database(home / "prefect.db", f"sqlite+aiosqlite:///{home / 'prefect.db'}")  # saves the migrations' seconds
    port = free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_API_URL": api_url, **settings}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = home / "server.log"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{api_url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    with running(command, environment=environment, log=log) as process:
        until(answers, within_s=120, otherwise="the Prefect server did not answer")
        yield PrefectServer(api_url, environment)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever it left behind
    process.wait(END_S)
