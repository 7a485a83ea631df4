"""Runs that find no job: how soon the first request comes, and how often Prefect's server is called."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

from tests.benchmarks.measure import measure_export
from tests.benchmarks.processes import delay, prefect_server, sandbox

RUNS = 5
_CALL = re.compile(r'"([A-Z][A-Za-z]+ /api[^ "]*)[^"]*"')
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def show(latency_ms: float) -> None:
    """Five runs after each other against one running server, a line each, and the calls of the last one."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        log = room / "prefect.log"
        calls: Counter[str] = Counter()
        with prefect_server(room / "server", log) as api_url:
            print(f"{'run':>3} {'first request s':>15} {'CPU s':>6} {'Pleo':>5} {'Prefect calls':>13}")
            for number in range(1, RUNS + 1):
                before = log.stat().st_size
                with sandbox(0, jobs=0) as sandbox_url, delay(sandbox_url, latency_ms) as pleo_url:
                    run = measure_export(room / str(number), sandbox_url, pleo_url, api_url)
                calls = _calls(log.read_bytes()[before:].decode())
                print(
                    f"{number:>3} {run.until_first:>15.2f} {run.cpu:>6.1f} {run.requests:>5} {calls.total():>13}",
                    flush=True,
                )
        for call, count in sorted(calls.items()):
            print(f"    {count:>3} {call}")


def _calls(log: str) -> Counter[str]:
    return Counter(_ID.sub("{id}", call) for call in _CALL.findall(log))
