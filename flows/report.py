"""What people are told of a run, in words, from the results DataFrame of each job.

`flows.console` prints these words, `flows.page` and `flows.artifacts` show them as a page and in the Prefect UI.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry, Line
from blocks.web_address import is_loopback
from flows.outcome import MAX_NOTICES, Ending, JobReport

MAX_LINK = 2000
_LINK = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+")  # printable ASCII without quotes, angle brackets, backslashes …


@dataclass(slots=True)
class AccountTotal:
    """What a dry run would post to an account in one currency, in minor units."""

    currency: str
    code: str
    name: str
    debit: int = 0
    credit: int = 0


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
    if whole := whole_job(job):
        yield f"  {whole}"
    for currency, minor in sorted(job.totals.items()):
        agrees = "" if job.dry_run else job.agreement(currency)
        yield f"  total {job.minor_units.amount(minor, currency):>20}  {agrees}".rstrip()


def counts(job: JobReport) -> str:
    """How many items came to what end."""
    booked, failed = ("would be booked", "would fail") if job.dry_run else ("booked", "failed")
    found = f" ({job.found} of them found in the books already)" if job.found else ""
    bad = f" ({job.already_unsuccessful} of them failed or abandoned)" if job.already_unsuccessful else ""
    earlier = f", {job.already_final} final before this run{bad}" if job.already_final else ""
    return f"{job.successful} {booked}{found}, {job.failed} {failed}{earlier}"


def whole_job(job: JobReport) -> str:
    """How the whole job stands in Pleo, where this run did only a part of it; empty otherwise."""
    is_open = job.ending in {Ending.UNFINISHED, Ending.INTERRUPTED} and job.still_open > 0
    if job.dry_run or not (job.already_final or is_open):
        return ""
    ended = job.ended_successful, job.ended_unsuccessful
    parts = [f"{ended[0]} successful", f"{ended[1]} failed", *([f"{job.still_open} open"] if is_open else [])]
    return f"the whole job has {max(job.items, sum(ended))} items: {', '.join(parts)}"


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


def documents(entry: Entry) -> Iterator[tuple[str, Iterable[Line]]]:
    """The documents of an entry, each with its title; a journal entry has one without."""
    if not isinstance(entry, Bill):
        yield "", entry.all_lines
        return
    vendor = f" · {entry.vendor.code} {entry.vendor.name}" if entry.vendor is not None else ""
    number = f" · {entry.invoice_number}" if entry.invoice_number else ""
    for document in entry.documents:
        yield f"{document.kind.value.replace('_', ' ')}{vendor}{number}", document.lines


def account_totals(job: JobReport) -> list[AccountTotal]:
    """What a dry run would post, by currency and account."""
    totals: dict[tuple[str, str], AccountTotal] = {}
    for entry in job.preview:
        for line in entry.all_lines:
            key = (entry.currency, line.account.code)
            total = totals.setdefault(key, AccountTotal(*key, line.account.name))
            total.debit += line.debit_minor
            total.credit += line.credit_minor
    return [totals[key] for key in sorted(totals)]


def _entry_line(line: Line, currency: str, units: MinorUnits) -> str:
    side, amount = ("Dr", line.debit_minor) if line.debit_minor or not line.credit_minor else ("Cr", line.credit_minor)
    tax = f"  tax {line.tax_code}" if line.tax_code else ""
    return f"      {side} {line.account.code:<28} {units.number(amount, currency):>16}{tax}"
