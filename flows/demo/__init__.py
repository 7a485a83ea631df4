"""`--sandbox`: a Pleo on loopback with a ready job, and books to match, for the first thing a newcomer tries.

Beside this file stand the settings of these books and the CSV files that they name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks.erp.ledger.block import LedgerSettings
from blocks.pleo.models import JobStatus
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, SandboxError, serve
from flows.cli import Options
from flows.settings import read_settings

ITEMS = 130
PORT = 8765  # a known one where it is free, so that a run after a kill finds its stored pages again


SETTINGS_FILE = Path(__file__).parent / "settings.toml"


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """Where the sandbox answers, and the key that it takes."""

    base_url: str
    api_key: str


def demo_settings(ledger: str | Path | None = None) -> LedgerSettings:
    """The settings of the sandbox's books, which are in the file `ledger`. Raises SettingsError."""
    return read_settings(SETTINGS_FILE, **({} if ledger is None else {"path": str(ledger)}))


@contextmanager
def running_sandbox(options: Options) -> Iterator[RunningSandbox | None]:
    """The sandbox while the run lasts, None where it was not asked for.

    Its state stands beside the ledger, so that a job that was broken off is there again at the next run. Where none is
    open a new one is made, of another month's expenses.
    """
    if not options.sandbox:
        yield None
        return
    with Sandbox((options.ledger or Path()).parent / "sandbox-pleo.sqlite") as sandbox:
        jobs = sandbox.jobs()
        if not any(job.status in {JobStatus.PENDING, JobStatus.IN_PROGRESS} for job in jobs):
            sandbox.add_job(items=ITEMS, seed=len(jobs) + 1, showcase=True)
        with ExitStack() as stack:
            try:
                base_url = stack.enter_context(serve(sandbox, port=PORT))
            except SandboxError:
                base_url = stack.enter_context(serve(sandbox))
            yield RunningSandbox(base_url, SANDBOX_API_KEY)
