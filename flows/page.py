"""The page of `--report`: one HTML file that needs nothing else, neither the network nor JavaScript.

It stays usable with tens of thousands of items: what needs a person comes first, long lists are cut into blocks that
the browser lays out as they come into view (it finds texts in all of them all the same), and what has no end is counted
and left to `--results`. Its look and order are in `page.html`; a text from outside gets into it as one short line only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from blocks.erp.entries import Bill, Entry, Line
from blocks.text import no_formula, one_line
from flows.outcome import MAX_NOTICES, OK, WITH_ERRORS, JobReport, RunReport
from flows.report import counts, failed_rows, notice_lines, safe_link

MAX_FAILURES = 10_000
MAX_TEXT = 2000
WIDTH = 1000
"""Of a picture, in its own units: as parts of a thousand, rounded down, everything has a width."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a picture: what it stands for, its colour by name, where it begins and how wide it is."""

    name: str
    colour: str
    count: object
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Total:
    """A currency in a job, in minor units: the three sums, and what was booked and what failed whichever its sign."""

    currency: str
    pleo: int
    books: int
    reported: int
    agreement: str
    bars: list[Bar]


@dataclass(slots=True)
class AccountTotal:
    """What a dry run would post to an account in one currency, in minor units; `bars` are debit and credit."""

    currency: str
    code: str
    name: str
    debit: int = 0
    credit: int = 0
    bars: list[Bar] | None = None


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
        "outcome": _outcome(job),
        "totals": list(_totals(job)),
        "failures": failed_rows(job, MAX_FAILURES),
        "failed": job.failed,
        "kinds": job.results.failure_types().most_common(),
        "unreported": islice(((id_, one, links[id_]) for id_, one in unreported.items()), MAX_NOTICES),
        "unreported_count": len(unreported),
        "notices": list(notice_lines(job)),
        "accounts": _accounts(job),
        "known": {row.accounting_entry_id: row for row in _rows(job.results.successful)} if job.preview else {},
        "number": job.minor_units.number,
    }


def _rows(frame: Any) -> Iterator[Any]:
    yield from frame.itertuples(index=False)


def _outcome(job: JobReport) -> list[Bar]:
    verb = "would be booked" if job.dry_run else "booked"
    return _bars(
        (verb, "booked", job.successful - job.found),
        ("found in the books", "found", job.found),
        ("failed", "failed", job.failed),
        ("final before this run", "earlier", job.already_final),
    )


def _bars(*parts: tuple[str, str, int], whole: int | None = None) -> list[Bar]:
    """The parts side by side; those of nothing are left out."""
    whole = whole or sum(count for _, _, count in parts)
    bars, start = [], 0
    for name, colour, count in parts:
        if count:
            width = max(1, WIDTH * count // whole)
            bars.append(Bar(name, colour, count, start, width))
            start += width
    return bars


def _totals(job: JobReport) -> Iterator[Total]:
    pleo, books, reported = job.totals, job.books, job.reported
    booked, failed = _volumes(job.results.successful), _volumes(job.results.failed)
    for currency in sorted({*pleo, *booked, *failed}):
        in_words = "" if job.dry_run or currency not in pleo else job.agreement(currency)
        bars = _bars(("booked", "booked", booked[currency]), ("failed", "failed", failed[currency]))
        yield Total(currency, pleo[currency], books[currency], reported[currency], in_words, bars)


def _volumes(frame: Any) -> dict[str, int]:
    """The amounts of all rows by currency, without their signs, so that money back does not hide money out."""
    volumes: dict[str, int] = defaultdict(int)
    for currency, minor in zip(frame["currency"], frame["amount_minor"], strict=True):
        if currency is not None and minor is not None:
            volumes[currency] += abs(minor)
    return volumes


def _accounts(job: JobReport) -> list[AccountTotal]:
    """What a dry run would post, by currency and account."""
    totals: dict[tuple[str, str], AccountTotal] = {}
    for entry in job.preview:
        for line in entry.all_lines:
            key = (entry.currency, line.account.code)
            total = totals.setdefault(key, AccountTotal(*key, line.account.name))
            total.debit += line.debit_minor
            total.credit += line.credit_minor
    largest: dict[str, int] = defaultdict(int)
    for total in totals.values():
        largest[total.currency] = max(largest[total.currency], total.debit, total.credit)
    for total in totals.values():
        whole = largest[total.currency]
        both = (("debit", "booked", total.debit), ("credit", "found", total.credit))
        total.bars = [bar for part in both for bar in _bars(part, whole=whole)]
    return [totals[key] for key in sorted(totals)]


def _documents(entry: Entry) -> Iterator[tuple[str, Iterable[Line]]]:
    """The documents of an entry, each with its title; a journal entry has one without."""
    if not isinstance(entry, Bill):
        yield "", entry.all_lines
        return
    vendor = f" · {entry.vendor.code} {entry.vendor.name}" if entry.vendor is not None else ""
    number = f" · {entry.invoice_number}" if entry.invoice_number else ""
    for document in entry.documents:
        yield f"{document.kind.value.replace('_', ' ')}{vendor}{number}", document.lines


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
_ENVIRONMENT.globals.update(documents=_documents, link=safe_link)
