"""`--sandbox`: a Pleo on loopback with a ready job, and books to match, for the first thing a newcomer tries.

Beside this file stand the settings of these books and the CSV files that they name.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from blocks.erp.ledger.block import LedgerSettings
from blocks.pleo.models import ItemStatus, JobStatus
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, SandboxError, serve
from flows.outcome import Ending, RunReport
from flows.settings import read_settings

ITEMS = 130
PORT = 8765  # a known one where it is free, so that a run after a kill finds its stored pages again


SETTINGS_FILE = Path(__file__).parent / "settings.toml"


class RunningSandbox:
    """Where the sandbox answers, the key that it takes, and what is to come of its job."""

    def __init__(self, sandbox: Sandbox, base_url: str) -> None:
        self.base_url = base_url
        self.api_key = SANDBOX_API_KEY
        self._sandbox = sandbox

    def check(self, report: RunReport) -> None:
        """Say whether all failed that is made to fail, each for its reason, and all else was booked.

        A run that was broken off may have done a part, so the items are judged as Pleo has them now, but for a dry run.
        """
        for job in report.jobs:
            if job.ending not in {Ending.COMPLETED, Ending.COMPLETED_WITH_ERRORS}:
                continue
            failures = [(str(item.type), item.reason) for item in job.failures]
            if not job.dry_run:
                items = [item for item in self._sandbox.items(job.job_id) if item.status != ItemStatus.SUCCESSFUL]
                failures = [(str(item.failure_reason_type), str(item.failure_reason)) for item in items]
            unlike = unexpected(failures)
            job.is_as_expected = not unlike
            for line in unlike:
                report.say(f"the sandbox's job did not come out as it should: {line}")
            if not unlike:
                booked = "would be" if job.dry_run else "is"
                purpose = f"The {len(failures)} failures are shown on purpose, once each reason, and all else"
                report.say(f"{purpose} {booked} booked.")


def expected_failures() -> list[tuple[str, str]]:
    """What the books of the demonstration refuse: the type of each failure, and what its reason has."""
    with (Path(__file__).parent / "failures.csv").open(encoding="utf-8", newline="") as file:
        return [(row["type"], row["reason_has"]) for row in csv.DictReader(file)]


def unexpected(failures: Iterable[tuple[str, str]], wanted: Sequence[tuple[str, str]] | None = None) -> list[str]:
    """Which of these failures (type, reason) should not be, and which are lacking, a line each."""
    left = list(expected_failures() if wanted is None else wanted)
    lines = []
    for type_, reason in failures:
        meant = next((one for one in left if one[0] == type_ and one[1] in reason), None)
        if meant is None:
            lines.append(f"{type_}: {reason}")
        else:
            left.remove(meant)
    return [*lines, *(f"nothing failed as {type_}: {reason}" for type_, reason in left)]


def demo_settings(ledger: str | Path | None = None) -> LedgerSettings:
    """The settings of the sandbox's books, which are in the file `ledger`. Raises SettingsError."""
    return read_settings(SETTINGS_FILE, **({} if ledger is None else {"path": str(ledger)}))


@contextmanager
def running_sandbox(wanted: bool, ledger: Path | None) -> Iterator[RunningSandbox | None]:
    """The sandbox while the run lasts, None where it was not asked for.

    Its state stands beside the ledger, so that a job that was broken off is there again at the next run. Where none is
    open a new one is made, of another month's expenses.
    """
    if not wanted:
        yield None
        return
    with Sandbox((ledger or Path()).parent / "sandbox-pleo.sqlite") as sandbox:
        jobs = sandbox.jobs()
        if not any(job.status in {JobStatus.PENDING, JobStatus.IN_PROGRESS} for job in jobs):
            sandbox.add_job(items=ITEMS, seed=len(jobs) + 1, showcase=True)
        with ExitStack() as stack:
            try:
                base_url = stack.enter_context(serve(sandbox, port=PORT))
            except SandboxError:
                base_url = stack.enter_context(serve(sandbox))
            yield RunningSandbox(sandbox, base_url)
