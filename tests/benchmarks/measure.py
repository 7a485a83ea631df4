"""One process that talks to a sandbox, measured: by the sandbox's clock and log, and by the operating system."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.benchmarks.processes import KEY, ROOT

ENDED_WELL = (0, 3)  # 3: completed with errors, as some of the sandbox's expenses are made to fail


@dataclass(frozen=True)
class Measured:
    """What one process took.

    Seconds: `until_first` from its start to its first request to Pleo, `seconds` from there to the final event or
    (without a job) the last request, `cpu` the processor's. `peak_mib` is its resident memory at the most, in MiB.
    `requests` counts those to Pleo's API, `refused` those of them that were answered 429.
    """

    until_first: float
    seconds: float
    cpu: float
    peak_mib: float
    requests: int
    refused: int


def measure_export(folder: Path, sandbox_url: str, pleo_url: str, api_url: str, *, receipts: bool = False) -> Measured:
    """The export, with books and settings in `folder`, under the Prefect server at `api_url`.

    It reaches Pleo by `pleo_url`; `sandbox_url` is where the sandbox itself tells what came.
    """
    folder.mkdir(parents=True)
    settings = folder / "settings.toml"
    settings.write_text(f'attachments = "{"optional" if receipts else "skip"}"\n')
    environment = {
        "PREFECT_API_URL": api_url,
        "PREFECT_HOME": str(folder / "prefect"),
        "PLEO_BASE_URL": pleo_url,
        "PLEO_API_KEY": KEY,
    }
    command = [sys.executable, "-m", "flows.export", "--json", "--settings", str(settings)]
    return _measure(command, folder, environment, sandbox_url)


def measure_bare(folder: Path, sandbox_url: str, pleo_url: str) -> Measured:
    """The bare script, which makes the same requests one after the other and stores the bodies in `folder`."""
    folder.mkdir(parents=True)
    script = Path(__file__).with_name("bare.py")
    return _measure([sys.executable, str(script), pleo_url, KEY, str(folder)], folder, {}, sandbox_url)


def _measure(command: Sequence[str], folder: Path, environment: dict[str, str], sandbox_url: str) -> Measured:
    started = time.time()
    said = folder / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.DEVNULL, stderr=output,
        )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ENDED_WELL:
        raise SystemExit(f"{command} ended with {process.returncode}: {said.read_text()}")
    received = httpx.get(f"{sandbox_url}/sandbox/received", auth=(KEY, ""), trust_env=False).json()
    # The sandbox keeps the last 2,000 requests, but all events; the first event comes right after the first request.
    times = [what["at"] for what in (*received["requests"], *received["events"])]
    events = [event["at"] for event in received["events"]]
    first, last = min(times), max(events or times)
    return Measured(
        until_first=first - started,
        seconds=last - first,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        requests=received["total"],
        refused=received["by_status"].get("429", 0),
    )
