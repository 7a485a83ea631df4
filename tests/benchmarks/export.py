"""The export's speed and memory beside a bare script that makes the same requests, measured in one run.

    python -m tests.benchmarks.export                         # 1,000, 10,000 and 50,000 items, rate limit off
    python -m tests.benchmarks.export --latency-ms 100        # with a link of 100 ms a request between the two
    python -m tests.benchmarks.export --items 20000 --rate-limit
    python -m tests.benchmarks.export --items 1000 10000 --receipts    # fetch and store the receipts too
    python -m tests.benchmarks.export --idle                  # runs without a job: first request, calls to Prefect

A Prefect server, a sandbox and the link run in processes of their own. Seconds are the sandbox's, from the first
request to the final event; CPU and peak memory are the operating system's account of the measured process. `least` is
how many requests the job needs at pages of 100, `429` how many the sandbox refused, `of first` the peak beside the
first row's.
"""

from __future__ import annotations

import argparse
import tempfile
from math import ceil
from pathlib import Path

from tests.benchmarks import idle
from tests.benchmarks.measure import Measured, measure_bare, measure_export
from tests.benchmarks.processes import delay, prefect_server, sandbox

_PLEO_LIMIT = 600  # requests a minute


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--latency-ms", type=float, default=0.0, help="a round trip that every request takes longer")
    parser.add_argument("--rate-limit", action="store_true", help="let the sandbox refuse more than 600 a minute")
    parser.add_argument("--receipts", action="store_true", help="fetch receipts, which the bare script never does")
    parser.add_argument("--idle", action="store_true", help="measure runs that find no job, and nothing else")
    options = parser.parse_args()
    if options.idle:
        idle.show(options.latency_ms)
    else:
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    print(f"{'items':>7} {'export s':>9} {'bare s':>8} {'ratio':>6} {'CPU s':>7} {'bare':>6} "
          f"{'requests':>9} {'least':>6} {'429':>4} {'peak MiB':>9} {'of first':>8}")  # fmt: skip
    first: Measured | None = None
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder) / "server") as api_url:
        for items in options.items:
            export, bare = _measure(items, Path(folder) / str(items), api_url, options)
            first = first or export
            seconds, ratio, cpu = (
                (f"{bare.seconds:.2f}", f"{export.seconds / bare.seconds:.2f}", f"{bare.cpu:.1f}") if bare else "---"
            )
            print(
                f"{items:>7} {export.seconds:>9.2f} {seconds:>8} {ratio:>6} {export.cpu:>7.1f} {cpu:>6} "
                f"{export.requests:>9} {least_requests(items):>6} {export.refused:>4} "
                f"{export.peak_mib:>9.0f} {export.peak_mib / first.peak_mib:>8.2f}",
                flush=True,
            )
            if options.rate_limit:
                _show_limit(export)


def _measure(items: int, folder: Path, api_url: str, options: argparse.Namespace) -> tuple[Measured, Measured | None]:
    """The export and the script, each with a sandbox of its own; no script under a limit, as it knows none."""
    with sandbox(items, rate_limit=options.rate_limit) as url, delay(url, options.latency_ms) as pleo_url:
        export = measure_export(folder / "export", url, pleo_url, api_url, receipts=options.receipts)
    if options.rate_limit:
        return export, None
    with sandbox(items) as url, delay(url, options.latency_ms) as pleo_url:
        return export, measure_bare(folder / "bare", url, pleo_url)


def least_requests(items: int) -> int:
    """List, start, rows, items, updates, final event, and list again."""
    return 4 + 3 * ceil(items / 100)


def _show_limit(export: Measured) -> None:
    allowed_s = 60.0 * ((export.requests - 1) // _PLEO_LIMIT)
    beside = f", the export took {export.seconds / allowed_s - 1:+.1%}" if allowed_s else ""
    print(f"        the limit alone makes it {allowed_s:.0f} s: 600 at once, and 600 more each minute{beside}")


if __name__ == "__main__":
    main()
