"""What people see of a run: the table at the end on the console, and the artifacts in the Prefect UI."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry, Line
from flows.outcome import MAX_NOTICES, JobReport, RunReport

MAX_ARTIFACT_ROWS = 1000
FIRST_FAILURES = 20
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:])")


class ConsoleProgress:
    """A progress bar on a terminal, for work that lasts longer than a second; nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._first_shown: float | None = None
        self._started = False

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            self._bar.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """So many of all items are fetched, recorded …"""
        if not self._console.is_terminal:
            return
        now = time.monotonic()
        if self._first_shown is None:
            self._first_shown = now
        if now - self._first_shown >= 1.0 and not self._started:
            self._bar.start()
            self._started = True
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what)
        self._bar.update(self._tasks[what], completed=done, total=total)


def show_run(jobs: Sequence[JobReport], console: Console) -> None:
    """The end of a run on the console: totals by currency, outcome, and every failure with its reason.

    On a terminal these are tables, elsewhere plain lines of text.
    """
    for job in jobs:
        for line in (*summary_lines(job), *_preview_lines(job)):
            console.print(Text(line))
        if console.is_terminal and job.failures:
            console.print(_failure_table(job))
        else:
            for item in job.failures:
                console.print(Text(f"  failed {item.accounting_entry_id}  {item.type.value}: {item.reason}"))
        for notice in notice_lines(job):
            console.print(Text(f"  note: {notice}"))
        for line in unreported_lines(job):
            console.print(Text(f"  {line}"))


def summary_lines(job: JobReport) -> Iterator[str]:
    """A job's figures in words: outcome, counts, totals as Pleo states them beside what the books hold."""
    mode = " (dry run: nothing was changed)" if job.dry_run else ""
    yield f"Export job {job.job_id}: {job.ending.value}{mode}"
    if job.reason:
        yield f"  {job.reason}"
    yield f"  {counts(job)}"
    for currency, minor in sorted(job.totals.items()):
        agrees = "" if job.dry_run else job.agreement(currency)
        yield f"  total {job.minor_units.amount(minor, currency):>20}  {agrees}".rstrip()


def counts(job: JobReport) -> str:
    """How many items came to what end."""
    verb = "would be booked" if job.dry_run else "booked"
    found = f" ({job.found} of them found in the books already)" if job.found else ""
    bad = f" ({job.already_unsuccessful} of them failed or abandoned)" if job.already_unsuccessful else ""
    earlier = f", {job.already_final} final before this run{bad}" if job.already_final else ""
    return f"{job.successful} {verb}{found}, {job.failed} failed{earlier}"


def notice_lines(job: JobReport) -> Iterator[str]:
    """What people should know besides the figures."""
    yield from job.notices
    if job.more_notices:
        yield f"… and {job.more_notices} more"


def unreported_lines(job: JobReport) -> Iterator[str]:
    """What stands in the books although Pleo was not told of it: an export of the same expenses finds it there."""
    if not job.unreported:
        return
    yield f"{len(job.unreported)} booked and not yet reported to Pleo, to be found by the next export of them:"
    for id_, entry in islice(job.unreported.items(), MAX_NOTICES):
        amount = job.minor_units.amount(entry.amount_minor, entry.currency)
        yield f"{id_} is booked as {entry.external_id}, {amount}"
    if len(job.unreported) > MAX_NOTICES:
        yield f"… and {len(job.unreported) - MAX_NOTICES} more"


def _preview_lines(job: JobReport) -> Iterator[str]:
    for entry in job.preview:
        yield from entry_lines(entry, job.minor_units)


def entry_lines(entry: Entry, units: MinorUnits) -> Iterator[str]:
    """An entry as an accountant would write it, document by document."""
    amount = units.amount(entry.amount_minor, entry.currency)
    yield f"  {entry.posting_date} {entry.item_type} {amount}  {entry.description}"
    if not isinstance(entry, Bill):
        for line in entry.all_lines:
            yield _entry_line(line, entry.currency, units)
        return
    vendor = f" {entry.vendor.code} {entry.vendor.name}" if entry.vendor is not None else ""
    for document in entry.documents:
        yield f"    {document.kind.value.replace('_', ' ')}{vendor} {entry.invoice_number}".rstrip()
        for line in document.lines:
            yield _entry_line(line, entry.currency, units)


def _entry_line(line: Line, currency: str, units: MinorUnits) -> str:
    side, amount = ("Dr", line.debit_minor) if line.debit_minor or not line.credit_minor else ("Cr", line.credit_minor)
    tax = f"  tax {line.tax_code}" if line.tax_code else ""
    return f"      {side} {line.account.code:<28} {units.number(amount, currency):>16}{tax}"


def _failure_table(job: JobReport) -> Table:
    table = Table("Accounting entry", "Type", "Reason", title="Failed items", title_justify="left")
    for item in job.failures:
        table.add_row(Text(item.accounting_entry_id), Text(item.type.value), Text(item.reason))
    return table


def markdown(text: str) -> str:
    """Text as Markdown that shows it as it is: no link, no markup, no table cell can come of it."""
    return _MARKDOWN.sub(r"\\\1", text)


def summary_markdown(job: JobReport) -> str:
    """The job's summary for the Prefect UI."""
    rows = ["| " + " | ".join([markdown(currency), *_figures(job, currency)]) + " |" for currency in sorted(job.totals)]
    parts = [
        f"## Export job {markdown(job.job_id)}: {job.ending.value}",
        f"Company {markdown(job.company_id)}. {markdown(counts(job))}.",
        *([markdown(job.reason)] if job.reason else []),
        *(["| Currency | Pleo | Books | Reported |\n| --- | ---: | ---: | ---: |\n" + "\n".join(rows)] if rows else []),
        *(["### Failed items\n\n" + "\n".join(_failure_points(job))] if job.failures else []),
        *(f"* {markdown(notice)}" for notice in notice_lines(job)),
        *(f"* {markdown(line)}" for line in unreported_lines(job)),
    ]
    return "\n\n".join(parts)


def _figures(job: JobReport, currency: str) -> Iterator[str]:
    for totals in (job.totals, job.books, job.reported):
        yield markdown(job.minor_units.number(totals[currency], currency))


def _failure_points(job: JobReport) -> Iterator[str]:
    for item in job.failures[:FIRST_FAILURES]:
        yield f"* {markdown(item.reason)} ({markdown(item.type.value)}, {markdown(item.accounting_entry_id)})"
    if len(job.failures) > FIRST_FAILURES:
        yield f"* … and {len(job.failures) - FIRST_FAILURES} more, in the table of failed items"


async def publish(job: JobReport) -> None:
    """The job's summary and its failed items as artifacts of the Prefect run under way."""
    await acreate_markdown_artifact(
        summary_markdown(job), key="pleo-export-summary", description="What this run did for the job."
    )
    if job.failures:
        await acreate_table_artifact(
            [
                {
                    "type": markdown(item.type.value),
                    "reason": markdown(item.reason),  # the UI renders cells, too
                    "accounting entry": markdown(item.accounting_entry_id),
                }
                for item in job.failures[:MAX_ARTIFACT_ROWS]
            ],
            key="pleo-export-failed-items",
            description=f"Items of job {job.job_id} that failed, and why.",
        )


async def publish_run(report: RunReport) -> None:
    """What the run found and how its jobs ended, as an artifact of the Prefect run under way."""
    lines = [
        f"* Job {markdown(job.job_id)}: **{job.ending.value}**, {markdown(counts(job))}" for job in report.jobs
    ] + [f"* {markdown(line)}" for line in report.lines]
    await acreate_markdown_artifact(
        "\n".join(lines), key="pleo-export-run", description="The jobs of this run; each has a run of its own below."
    )
