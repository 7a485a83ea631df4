"""The command line: `python -m blocks.pleo.sandbox`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from blocks.pleo.sandbox import (
    SANDBOX_API_KEY,
    SANDBOX_CLIENT_ID,
    SANDBOX_CLIENT_SECRET,
    SANDBOX_REDIRECT_URI,
    Sandbox,
    SandboxError,
    serve,
)

WRONG_USAGE = 2


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until SIGINT or SIGTERM; answers the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with Sandbox(
            options.state,
            rate_limit=options.rate_limit,
            page_cap=options.page_cap,
            expires_in=options.expires_in,
            strict=options.strict,
            null_until_tried=options.null_until_tried,
        ) as sandbox:
            _run(sandbox, options)
    except SandboxError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return WRONG_USAGE
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m blocks.pleo.sandbox", description="A Pleo to run on one's own machine.", allow_abbrev=False
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8765, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--items", type=_count, default=100, help="expenses a job (default: %(default)s)")
    parser.add_argument("--jobs", type=_count, default=1, help="jobs in a new state (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the jobs are made from (default: %(default)s)")
    parser.add_argument("--failing", type=_count, help="items a job that cannot be booked (default: 6 of 80, up to 7)")
    parser.add_argument("--company-id", help="company of the jobs (default: the sandbox's own)")
    parser.add_argument("--vendor-based", action="store_true", help="jobs with vendor-based bookkeeping")
    parser.add_argument("--state", type=Path, help="file that keeps the state (default: none, all is forgotten)")
    parser.add_argument("--page-cap", type=_count, default=100, help="largest page served (default: %(default)s)")
    parser.add_argument("--expires-in", type=_count, default=3600, help="life of a job, seconds (default: %(default)s)")
    parser.add_argument(
        "--strict", action="store_true", help="400 for unknown parameters, calls without their company_id and the like"
    )
    parser.add_argument(
        "--null-until-tried", action="store_true", help="null for the status of items that nobody has tried yet"
    )
    parser.add_argument(
        "--no-rate-limit", dest="rate_limit", action="store_false", help="answer more than 600 requests a minute"
    )
    return parser


def _add_jobs(sandbox: Sandbox, options: argparse.Namespace) -> None:
    if sandbox.jobs():
        return
    for number in range(options.jobs):
        sandbox.add_job(
            options.items,
            options.seed + number,
            options.company_id,
            True if options.failing is None else options.failing,
            vendor_based=options.vendor_based,
        )


def _run(sandbox: Sandbox, options: argparse.Namespace) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # The port first: making a large job for a port that is taken would be in vain.
    with serve(sandbox, options.host, options.port) as base_url:
        _add_jobs(sandbox, options)
        _announce(sandbox, base_url)
        stop.wait()


def _announce(sandbox: Sandbox, base_url: str) -> None:
    waiting = [job for job in sandbox.jobs() if job.status in ("pending", "in_progress")]
    print(f"Pleo sandbox   {base_url}")
    print(f"API key        {SANDBOX_API_KEY}")
    print(f"Control page   {base_url}/")
    print(f"Jobs to export {len(waiting)}, with {sum(job.number_of_items for job in waiting)} items")
    print(f"Export them    PLEO_BASE_URL={base_url} PLEO_API_KEY={SANDBOX_API_KEY} python -m flows.export")
    print(f"OAuth client   {SANDBOX_CLIENT_ID} {SANDBOX_CLIENT_SECRET}, redirect to {SANDBOX_REDIRECT_URI}", flush=True)


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text}")
    return number


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, not {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
