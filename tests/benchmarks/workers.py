"""Items a minute by workers, on Prefect with PostgreSQL and Redis: `python -m tests.benchmarks.workers`.

    python -m tests.benchmarks.workers [--workers 1 2 4] [--companies 8] [--items 250] [--at-once 2]

A run for each company is waiting when so many workers begin; the time is from there to the last job's final event, so
it has in it what starting the worker and a process a run costs. Pleo is the sandbox, without a limit of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.support.processes import until
from tests.support.several_machines import kill, several_machines, what_is_missing

LONGEST_S = 1800.0


def measure(workers: int, companies: int, items: int, at_once: int) -> float:
    """Seconds until every company's job has come to its end."""
    with tempfile.TemporaryDirectory(prefix="pleo-export-workers-") as folder, several_machines(Path(folder)) as site:
        ids = [f"5a4db0c5-0000-4000-8000-0000000002{number:02}" for number in range(companies)]
        jobs = [site.sandbox.add_job(items, company_id=company) for company in ids]
        site.start(site.deploy(at_once=companies), ids)
        began = time.monotonic()
        started = [site.worker(at_once) for _ in range(workers)]
        until(
            lambda: all(site.sandbox.job(job).status.startswith("completed") for job in jobs),
            within_s=LONGEST_S,
            every_s=0.2,
            otherwise="not every job ended",
        )
        seconds = time.monotonic() - began
        for worker in started:
            kill(worker)
        return seconds


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.workers", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--companies", type=int, default=8)
    parser.add_argument("--items", type=int, default=250, help="items a company")
    parser.add_argument("--at-once", type=int, default=2, help="runs of one worker at the same time")
    options = parser.parse_args()
    if missing := what_is_missing():
        sys.exit(f"Debian's {missing} is not here")
    for workers in options.workers:
        seconds = measure(workers, options.companies, options.items, options.at_once)
        items = options.companies * options.items
        print(f"{workers} workers: {items} items in {seconds:.1f} s, {60 * items / seconds:.0f} a minute", flush=True)


if __name__ == "__main__":
    main()
