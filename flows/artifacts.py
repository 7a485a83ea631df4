"""What Prefect's UI shows of a job and of a run besides their states: a card a company, tables, a picture.

All of it is for people to look at: it never ends, delays or changes a job, whatever Prefect's server does.

A job's summary has the key of its company, so that the page of artifacts has one card a company; a dry run has a card
of its own, or it would hide what really happened. Everything else has no key and stands with its run.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from blocks.text import one_line
from flows.outcome import JobReport, RunReport
from flows.pictures import outcome_bars, picture_url
from flows.report import (
    account_totals,
    counts,
    documents,
    failed_rows,
    notice_lines,
    safe_link,
    unreported_lines,
    whole_job,
)

log = logging.getLogger(__name__)

MAX_ARTIFACT_ROWS = 1000
MAX_POSTING_LINES = 2000
FIRST_FAILURES = 50
MAX_ACCOUNTS = 200
SHOW_WITHIN_S = 2.0
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:])")
_MARKUP = re.compile(r"(<)(?=[A-Za-z/!?])|(\])(?=[(\[:])")


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


def short(id_: str) -> str:
    """The beginning of an id, by which people tell a few of them apart."""
    return id_[:8]


def key_of(job: JobReport) -> str:
    """Under which key the artifacts of a company's jobs follow each other, those of dry runs by themselves."""
    return f"pleo-export-{short(job.company_id)}{'-dry-run' if job.dry_run else ''}"


# -- one job ------------------------------------------------------------------------------------------------------


async def publish(job: JobReport, only_for_show: OnlyForShow | None = None) -> None:
    """The job as artifacts of the Prefect run under way, if they can be had soon: its summary, its failed items, and
    of a dry run all that would be posted."""
    await (only_for_show or OnlyForShow())(lambda: _publish(job))


async def _publish(job: JobReport) -> None:
    await acreate_markdown_artifact(summary_markdown(job), key=key_of(job), description=_in_a_line(job))
    if job.failed:
        will = "would fail" if job.dry_run else "failed"
        most = f" The first {MAX_ARTIFACT_ROWS} of {job.failed}." if job.failed > MAX_ARTIFACT_ROWS else ""
        of = f"Items of job {short(job.job_id)} that {will}, and why.{most}"
        await acreate_table_artifact(failure_table(job), description=of)
    if job.preview:
        await acreate_table_artifact(posting_table(job), description=_of_postings(job))


def _in_a_line(job: JobReport) -> str:
    """How the job ended: the card of its company shows this and no more."""
    what = "Dry run, nothing was changed" if job.dry_run else f"Job {short(job.job_id)} {job.ending.value}"
    return f"{what}: {whole_job(job) or counts(job)}."


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


def posting_table(job: JobReport) -> list[dict[str, str]]:
    """The first lines that a dry run would post, for a table in the Prefect UI: each names its expense."""
    return list(islice(_posting_rows(job), MAX_POSTING_LINES))


def _posting_rows(job: JobReport) -> Iterator[dict[str, str]]:
    known = job.results.successful
    links = dict(zip(known["accounting_entry_id"], known["pleo_url"], strict=True))
    number = job.minor_units.number
    for entry in job.preview:
        for title, lines in documents(entry):
            for line in lines:
                is_debit = bool(line.debit_minor or not line.credit_minor)
                yield {  # what an accountant reads stands first, as the rest is out of sight on most screens
                    "date": str(entry.posting_date),
                    "account": table_cell(one_line(f"{line.account.code} {line.account.name}", 120)),
                    "debit": table_cell(number(line.debit_minor, entry.currency)) if is_debit else "",
                    "credit": "" if is_debit else table_cell(number(line.credit_minor, entry.currency)),
                    "currency": entry.currency,
                    "expense": table_cell(one_line(f"{entry.item_type}: {entry.description}", 200)),
                    "document": table_cell(one_line(title, 120)),
                    "tax code": table_cell(one_line(line.tax_code or "", 60)),
                    "dimensions": table_cell(
                        one_line(", ".join(f"{one.group} {one.code}" for one in line.dimensions), 200)
                    ),
                    "in Pleo": safe_link(links.get(entry.accounting_entry_id)) or "",
                    "accounting entry": entry.accounting_entry_id,
                }


def _of_postings(job: JobReport) -> str:
    lines = sum(len(entry.all_lines) for entry in job.preview)
    most = ""
    if lines > MAX_POSTING_LINES:
        most = (
            f" The first {MAX_POSTING_LINES} of {lines} lines: the parameter report writes a page with every posting, "
            "the parameter results a table of every item."
        )
    return f"Dry run: what would be posted for {len(job.preview)} expenses, line by line. Nothing is posted.{most}"


def table_cell(text: str) -> str:
    """Text that is harmless in a cell of a table artifact. The UI of Prefect 3.8 shows cells as they are, its older
    one (`/v1`, still served) as Markdown: so no backslashes, but no HTML, named link or image can come of it."""
    return _MARKUP.sub(r"\1\2 ", text)


def markdown(text: str) -> str:
    """Text as Markdown that shows it as it is: no link, no markup, no table cell can come of it."""
    return _MARKDOWN.sub(r"\\\1", text)


def summary_markdown(job: JobReport) -> str:
    """The job's summary for the Prefect UI."""
    ended = f"would be {job.ending.value}" if job.dry_run else job.ending.value
    parts = [
        f"## {'Dry run of export' if job.dry_run else 'Export'} job {markdown(job.job_id)}: {ended}",
        *(["**Nothing was changed, in Pleo or in the books: this is what would happen.**"] if job.dry_run else []),
        f"Company {markdown(job.company_id)}. {markdown(counts(job))}.",
        *([f"{markdown(whole[0].upper() + whole[1:])}."] if (whole := whole_job(job)) else []),
        *([markdown(job.reason)] if job.reason else []),
        *([f"![{markdown(counts(job))}]({picture_url(job)})"] if outcome_bars(job) else []),
        *_totals(job),
        *_failures(job),
        *_accounts(job),
        *(f"* {markdown(notice)}" for notice in notice_lines(job)),
        *(f"* {markdown(line)}" for line in unreported_lines(job)),
    ]
    return "\n\n".join(parts)


def _table(columns: str, rows: Iterator[str] | list[str]) -> str:
    """A table of Markdown; a column whose name begins with a space is one of figures."""
    names = columns.split("|")
    rule = ["---:" if name.startswith(" ") else "---" for name in names]
    return "\n".join([f"| {' | '.join(name.strip() for name in names)} |", f"| {' | '.join(rule)} |", *rows])


def _totals(job: JobReport) -> Iterator[str]:
    if not job.totals:
        return
    sums = [job.totals] if job.dry_run else [job.totals, job.books, job.reported]
    rows = []
    for currency in sorted(job.totals):
        figures = [job.minor_units.number(one[currency], currency) for one in sums]
        rows.append(f"| {' | '.join(map(markdown, (currency, *figures)))} |")
    yield _table("Currency| Would be booked" if job.dry_run else "Currency| Pleo| Books| Reported", rows)


def _failures(job: JobReport) -> Iterator[str]:
    if not job.failed:
        return
    yield "### Items that would fail" if job.dry_run else "### Failed items"
    rows = []
    for row in failed_rows(job, FIRST_FAILURES):
        amount = None if row.amount_minor is None else job.minor_units.amount(row.amount_minor, row.currency)
        url = safe_link(row.pleo_url)
        cells = (
            row.date,
            row.supplier,
            amount,
            row.employee,
            f"{row.failure_reason} ({row.failure_reason_type.value})",
        )
        told = [markdown(str(cell)) if cell is not None else "" for cell in (*cells, row.accounting_entry_id)]
        rows.append(f"| {' | '.join([f'[the expense](<{url}>)' if url else '', *told])} |")
    yield _table("In Pleo|Date|Supplier| Amount|Employee|Reason|Accounting entry", rows)
    if job.failed > FIRST_FAILURES:
        yield f"… and {job.failed - FIRST_FAILURES} more, in the table of this run."


def _accounts(job: JobReport) -> Iterator[str]:
    totals = account_totals(job)
    if not totals:
        return
    yield "### What would be posted, by account"
    number = job.minor_units.number
    rows = []
    for one in totals[:MAX_ACCOUNTS]:
        figures = number(one.debit, one.currency), number(one.credit, one.currency)
        cells = (one.code, one_line(one.name, 120), *figures, one.currency)
        rows.append(f"| {' | '.join(map(markdown, cells))} |")
    yield _table("Account|Name| Debit| Credit|Currency", rows)
    if len(totals) > MAX_ACCOUNTS:
        yield f"… and {len(totals) - MAX_ACCOUNTS} accounts more."
    yield "Every posting stands in the table of this run, line by line."


# -- one run ------------------------------------------------------------------------------------------------------


async def publish_run(report: RunReport, only_for_show: OnlyForShow | None = None) -> None:
    """What the run found and how its jobs ended, as an artifact of the Prefect run under way, if it can be had soon."""
    lines = [
        f"* Job {markdown(job.job_id)} of company {markdown(job.company_id)}: **{job.ending.value}**"
        f"{' in a dry run' if job.dry_run else ''}, {markdown(counts(job))}"
        for job in report.jobs
    ] + [f"* {markdown(line)}" for line in report.lines]
    await (only_for_show or OnlyForShow())(
        lambda: acreate_markdown_artifact(
            "\n".join(lines), description="The jobs of this run; each has a run of its own below."
        )
    )
