"""What a measured process talks to, each in a process of its own: a Prefect server, a sandbox, a delay before it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
KEY = "sandbox-key"


@contextmanager
def sandbox(items: int, *, jobs: int = 1, rate_limit: bool = False) -> Iterator[str]:
    """A sandbox with jobs of `items` expenses that wait; yields its base URL."""
    port = _free_port()
    command = [sys.executable, "-m", "blocks.pleo.sandbox", "--port", str(port), "--items", str(items)]
    command += ["--jobs", str(jobs), *([] if rate_limit else ["--no-rate-limit"])]
    with _running(command, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def delay(base_url: str, latency_ms: float) -> Iterator[str]:
    """A base URL that leads to the same server, one round trip of `latency_ms` a request later; 0 is no detour."""
    if not latency_ms:
        yield base_url
        return
    port = _free_port()
    command = [sys.executable, "-m", "tests.benchmarks.delay", "--port", str(port)]
    command += ["--target-port", base_url.rpartition(":")[2], "--latency-ms", str(latency_ms)]
    with _running(command, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def prefect_server(folder: Path, log: Path | None = None) -> Iterator[str]:
    """A Prefect server with its database in `folder`; yields its API's URL. `log` has a line a call, if it is given."""
    port = _free_port()
    folder.mkdir(parents=True, exist_ok=True)
    prefect = str(Path(sys.executable).with_name("prefect"))
    command = [prefect, "server", "start", "--port", str(port), "--no-ui", *(["--log-level", "info"] if log else [])]
    environment = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with _running(command, f"http://127.0.0.1:{port}/api/health", environment, log):
        yield f"http://127.0.0.1:{port}/api"


@contextmanager
def _running(
    command: Sequence[str], url: str, environment: dict[str, str] | None = None, log: Path | None = None
) -> Iterator[None]:
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        _await_answer(process, url)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(url, timeout=5, trust_env=False)
            return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{process.args!r} does not answer") from None
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
