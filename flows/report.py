"""What people are told of a run, in words, from the results DataFrame of each job; and the artifacts in the Prefect UI.

`flows.console` prints these words, `flows.results_file` and `flows.report_page` write files.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry, Line
from blocks.text import one_line
from blocks.web_address import is_loopback
from flows.outcome import MAX_NOTICES, JobReport, RunReport

log = logging.getLogger(__name__)

MAX_ARTIFACT_ROWS = 1000
FIRST_FAILURES = 20
MAX_LINK = 2000
SHOW_WITHIN_S = 2.0
_LINK = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+")  # printable ASCII without quotes, angle brackets, backslashes …
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:])")
_MARKUP = re.compile(r"(<)(?=[A-Za-z/!?])|(\])(?=[(\[:])")


def expense(row: Any, units: MinorUnits) -> str:
    """How people know the expense of a row of the frame: date, supplier, amount, employee, as far as Pleo says."""
    amount = None if row.amount_minor is None else units.amount(row.amount_minor, row.currency)
    return " · ".join(str(part) for part in (row.date, row.supplier, amount, row.employee) if part is not None)


def failed_rows(job: JobReport, most: int | None = None) -> Iterator[Any]:
    """The rows of the frame of items that failed, the first `most`; a column is an attribute."""
    yield from job.results.failed.iloc[:most].itertuples(index=False)


def reason(row: Any) -> str:
    """Why the item of a row failed: Pleo's type, and what an accountant can act on."""
    return f"{row.failure_reason_type.value}: {row.failure_reason}"


def failure_lines(job: JobReport) -> Iterator[str]:
    """Every item that failed on a line of its own: the expense as people know it, why, and its id."""
    for row in failed_rows(job):
        known = expense(row, job.minor_units)
        yield f"failed {known}{': ' if known else ''}{reason(row)}  ({row.accounting_entry_id})"


def safe_link(url: str | None) -> str | None:
    """The address if a person can follow it without harm: https, or http on this machine; else None."""
    if not url or len(url) > MAX_LINK or not _LINK.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        return None
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    return url if safe and parts.hostname and "@" not in parts.netloc else None


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


def preview_lines(job: JobReport) -> Iterator[str]:
    """In a dry run, every entry that would be made."""
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


# -- Prefect UI -------------------------------------------------------------------------------------------------


class OnlyForShow:
    """Calls of Prefect's server that only show something: none raises, or delays a job by more than two seconds.

    The first that goes wrong is logged, the others are not.
    """

    def __init__(self) -> None:
        self._warned = False

    async def __call__(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make the call, whatever comes of it."""
        try:
            async with asyncio.timeout(SHOW_WITHIN_S):
                await call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the work does not depend on it
            if not self._warned:
                self._warned = True
                why = one_line(f"{type(error).__name__} {error}".strip(), 200)
                log.warning("The Prefect UI does not show all of this run: %s", why)


async def publish(job: JobReport, only_for_show: OnlyForShow | None = None) -> None:
    """The job's summary and its failed items as artifacts of the Prefect run under way, if they can be had soon."""
    await (only_for_show or OnlyForShow())(lambda: _publish(job))


async def _publish(job: JobReport) -> None:
    await acreate_markdown_artifact(
        summary_markdown(job), key="pleo-export-summary", description="What this run did for the job."
    )
    if not job.failed:
        return
    most = f" The first {MAX_ARTIFACT_ROWS} of {job.failed}." if job.failed > MAX_ARTIFACT_ROWS else ""
    await acreate_table_artifact(
        failure_table(job),
        key="pleo-export-failed-items",
        description=f"Items of job {markdown(job.job_id)} that failed, and why.{most}",
    )


async def publish_run(report: RunReport, only_for_show: OnlyForShow | None = None) -> None:
    """What the run found and how its jobs ended, as an artifact of the Prefect run under way, if it can be had soon."""
    await (only_for_show or OnlyForShow())(lambda: _publish_run(report))


async def _publish_run(report: RunReport) -> None:
    lines = [
        f"* Job {markdown(job.job_id)}: **{job.ending.value}**, {markdown(counts(job))}" for job in report.jobs
    ] + [f"* {markdown(line)}" for line in report.lines]
    await acreate_markdown_artifact(
        "\n".join(lines), key="pleo-export-run", description="The jobs of this run; each has a run of its own below."
    )


def failure_table(job: JobReport) -> list[dict[str, str]]:
    """The first failed items for a table in the Prefect UI."""
    units = job.minor_units
    return [
        {
            "in Pleo": safe_link(row.pleo_url) or "",
            "date": str(row.date or ""),
            "supplier": table_cell(row.supplier or ""),
            "amount": "" if row.amount_minor is None else table_cell(units.amount(row.amount_minor, row.currency)),
            "employee": table_cell(row.employee or ""),
            "reason": table_cell(row.failure_reason),
            "type": row.failure_reason_type.value,
            "accounting entry": row.accounting_entry_id,
        }
        for row in failed_rows(job, MAX_ARTIFACT_ROWS)
    ]


def table_cell(text: str) -> str:
    """Text that is harmless in a cell of a table artifact. The UI of Prefect 3.8 shows cells as they are, its older
    one (`/v1`, still served) as Markdown: so no backslashes, but no HTML, named link or image can come of it."""
    return _MARKUP.sub(r"\1\2 ", text)


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
        *(["### Failed items\n\n" + "\n".join(_failure_points(job))] if job.failed else []),
        *(f"* {markdown(notice)}" for notice in notice_lines(job)),
        *(f"* {markdown(line)}" for line in unreported_lines(job)),
    ]
    return "\n\n".join(parts)


def _figures(job: JobReport, currency: str) -> Iterator[str]:
    for totals in (job.totals, job.books, job.reported):
        yield markdown(job.minor_units.number(totals[currency], currency))


def _failure_points(job: JobReport) -> Iterator[str]:
    for row in failed_rows(job, FIRST_FAILURES):
        known = markdown(expense(row, job.minor_units))
        url = safe_link(row.pleo_url)
        linked = f"[{known or 'the expense'}](<{url}>)" if url else known
        why = f"{markdown(row.failure_reason)} ({row.failure_reason_type.value})"
        yield f"* {linked}{': ' if linked else ''}{why}, {row.accounting_entry_id}"
    if job.failed > FIRST_FAILURES:
        yield f"* … and {job.failed - FIRST_FAILURES} more, in the table of failed items"
