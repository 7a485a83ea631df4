"""The export's speed and memory beside a bare script that makes the same requests, measured in one run.

    python -m tests.benchmarks.export                     # 1,000, 10,000 and 50,000 items, rate limit off
    python -m tests.benchmarks.export --items 20000 --rate-limit
    python -m tests.benchmarks.export --items 1000 10000 --receipts    # fetch and store the receipts too

A Prefect server and a sandbox run in processes of their own. Seconds are the sandbox's, from the first request to the
final event; CPU and peak memory are the operating system's account of the measured process.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
KEY = "sandbox-key"


@dataclass(frozen=True)
class Measured:
    """One process: seconds from first request to final event, CPU seconds, peak memory in MiB, requests made."""

    seconds: float
    cpu: float
    peak_mib: float
    requests: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--rate-limit", action="store_true", help="let the sandbox refuse more than 600 a minute")
    parser.add_argument("--receipts", action="store_true", help="fetch receipts, which the bare script never does")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _prefect_server(Path(folder)) as api_url:
        print(f"{'items':>7} {'export s':>9} {'bare s':>8} {'ratio':>6} {'CPU s':>7} {'bare':>6} "
              f"{'requests':>9} {'least':>6} {'peak MiB':>9} {'of first':>8}")  # fmt: skip
        first: Measured | None = None
        for items in options.items:
            room = Path(folder) / str(items)
            export = _measure_export(items, room / "export", api_url, options)
            bare = _measure_bare(items, room / "bare") if not options.rate_limit else None
            first = first or export
            least = 4 + 3 * ceil(items / 100)
            ratio = f"{export.seconds / bare.seconds:6.2f}" if bare else "     -"
            print(
                f"{items:>7} {export.seconds:>9.2f} {bare.seconds if bare else float('nan'):>8.2f} {ratio} "
                f"{export.cpu:>7.1f} {bare.cpu if bare else float('nan'):>6.1f} {export.requests:>9} {least:>6} "
                f"{export.peak_mib:>9.0f} {export.peak_mib / first.peak_mib:>8.2f}",
                flush=True,
            )
            if options.rate_limit:
                allowed = 60.0 * ((export.requests - 1) // 600)
                print(f"        the limit alone makes it {allowed:.0f} s: 600 at once, and 600 more each minute")


def _measure_export(items: int, folder: Path, api_url: str, options: argparse.Namespace) -> Measured:
    folder.mkdir(parents=True)
    settings = folder / "settings.toml"
    settings.write_text(f'attachments = "{"optional" if options.receipts else "skip"}"\n')
    with _sandbox(items, rate_limit=options.rate_limit) as base_url:
        environment = {
            **os.environ,
            "PREFECT_API_URL": api_url,
            "PREFECT_HOME": str(folder / "prefect"),
            "PLEO_BASE_URL": base_url,
            "PLEO_API_KEY": KEY,
        }
        command = [sys.executable, "-m", "flows.export", "--json", "--settings", str(settings)]
        return _measure(command, folder, environment, base_url)


def _measure_bare(items: int, folder: Path) -> Measured:
    folder.mkdir(parents=True)
    with _sandbox(items, rate_limit=False) as base_url:
        script = Path(__file__).with_name("bare.py")
        return _measure([sys.executable, str(script), base_url, KEY, str(folder)], folder, dict(os.environ), base_url)


def _measure(command: list[str], folder: Path, environment: dict[str, str], base_url: str) -> Measured:
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        raise SystemExit(f"{command} ended with {process.returncode}")
    received = httpx.get(f"{base_url}/sandbox/received", auth=(KEY, "")).json()
    final = next(request["at"] for request in reversed(received["requests"]) if request["method"] == "POST")
    return Measured(
        final - received["requests"][0]["at"],
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        received["total"],
    )


@contextmanager
def _sandbox(items: int, *, rate_limit: bool) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "blocks.pleo.sandbox", "--port", str(port), "--items", str(items)]
    with _running([*command, *([] if rate_limit else ["--no-rate-limit"])], f"http://127.0.0.1:{port}/", {}):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _prefect_server(folder: Path) -> Iterator[str]:
    port = _free_port()
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port), "--no-ui"]
    environment = {"PREFECT_HOME": str(folder / "server"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with _running(command, f"http://127.0.0.1:{port}/api/health", environment):
        yield f"http://127.0.0.1:{port}/api"


@contextmanager
def _running(command: list[str], url: str, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command} does not answer") from None
                time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
