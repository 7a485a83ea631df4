"""The page of `--report`: one HTML file that needs nothing else, neither the network nor JavaScript.

It stays usable with tens of thousands of items: what needs a person comes first, long lists are cut into blocks that
the browser lays out as they come into view (it finds texts in all of them all the same), and what has no end is counted
and left to `--results`. Its look and order are in `page.html`; a text from outside gets into it as one short line only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from blocks.text import no_formula, one_line
from flows.outcome import MAX_NOTICES, OK, WITH_ERRORS, JobReport, RunReport
from flows.pictures import Bar, bars, outcome_bars, volume_bars
from flows.report import (
    AccountTotal,
    account_totals,
    counts,
    documents,
    failed_rows,
    notice_lines,
    safe_link,
    whole_job,
)

MAX_FAILURES = 10_000
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Total:
    """A currency in a job, in minor units: the three sums, and what was booked and what failed whichever its sign."""

    currency: str
    pleo: int
    books: int
    reported: int
    agreement: str
    bars: list[Bar]


def page(report: RunReport, now: datetime | None = None) -> Iterator[str]:
    """The page in pieces, in their order; `now` is when it says it was written."""
    written = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield from _ENVIRONMENT.get_template("page.html").generate(
        report=report,
        jobs=[(job, _job(job)) for job in report.jobs],
        written=written,
        verdict=_VERDICTS.get(report.exit_status, "bad"),
        max_failures=MAX_FAILURES,
        max_notices=MAX_NOTICES,
    )


def _job(job: JobReport) -> dict[str, Any]:
    """What the template shows of a job besides its figures; long lists are made as they are written."""
    unreported = job.unreported
    links = {row.accounting_entry_id: row for row in _rows(job.results.unacknowledged)} if unreported else {}
    return {
        "verdict": _VERDICTS.get(job.exit_status, "bad"),
        "counts": counts(job),
        "whole": whole_job(job),
        "outcome": outcome_bars(job),
        "totals": list(_totals(job)),
        "failures": failed_rows(job, MAX_FAILURES),
        "failed": job.failed,
        "kinds": job.results.failure_types().most_common(),
        "unreported": islice(((id_, one, links[id_]) for id_, one in unreported.items()), MAX_NOTICES),
        "unreported_count": len(unreported),
        "notices": list(notice_lines(job)),
        "accounts": list(_accounts(job)),
        "known": {row.accounting_entry_id: row for row in _rows(job.results.successful)} if job.preview else {},
        "number": job.minor_units.number,
    }


def _rows(frame: Any) -> Iterator[Any]:
    yield from frame.itertuples(index=False)


def _totals(job: JobReport) -> Iterator[Total]:
    pleo, books, reported = job.totals, job.books, job.reported
    volumes = volume_bars(job)
    for currency in sorted({*pleo, *volumes}):
        in_words = "" if job.dry_run or currency not in pleo else job.agreement(currency)
        of_currency = volumes.get(currency, [])
        yield Total(currency, pleo[currency], books[currency], reported[currency], in_words, of_currency)


def _accounts(job: JobReport) -> Iterator[tuple[AccountTotal, list[Bar]]]:
    """What a dry run would post, by currency and account, with a picture beside the largest of the currency."""
    totals = account_totals(job)
    largest: dict[str, int] = defaultdict(int)
    for total in totals:
        largest[total.currency] = max(largest[total.currency], total.debit, total.credit)
    for total in totals:
        whole = largest[total.currency]
        both = (("debit", "booked", total.debit), ("credit", "found", total.credit))
        yield total, [bar for part in both for bar in bars(part, whole=whole)]


def _shown(value: object) -> object:
    """What is put into the page for a value: nothing but numbers, the template's own markup, and short single lines."""
    if value is None:
        return ""
    if isinstance(value, Markup | int):
        return value
    return no_formula(
        one_line(str(value), MAX_TEXT), MAX_TEXT
    )  # a table that is copied from here ends in a spreadsheet


def _short(text: str | None) -> str:
    return one_line(text or "", 120)


_VERDICTS = {OK: "good", WITH_ERRORS: "warn"}
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["short"] = _short
_ENVIRONMENT.globals.update(documents=documents, link=safe_link)
