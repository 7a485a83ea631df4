"""What a command of the bookkeeper's tool is, what it answers, and how it comes to the books."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from blocks.erp.currencies import MinorUnits
from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.ledger.books import Books, open_books
from blocks.erp.ledger.chart_store import Terms
from blocks.erp.ledger.connection import Query
from blocks.erp.ledger.reader import Reader
from blocks.erp.ledger.tool.tables import Cell, Money, Table

DONE, REFUSED, USAGE, DIFFERS = 0, 1, 2, 3
"""Exit statuses: done; refused by the books; wrong usage or no ledger; the books differ from a statement."""

_MAX_RECEIPT_BYTES = 30_000_000  # the tool stores none


class UsageError(Exception):
    """What was given cannot be used; the message is one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command shows: tables, the first of which `--csv` writes; notes on them; refusals, one line each."""

    tables: Sequence[Table]
    notes: Sequence[str] = ()
    refusals: Sequence[str] = ()
    status: int = DONE


def no_arguments(_: argparse.ArgumentParser) -> None:
    """A command that takes nothing beside the ledger and the form of its answer."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its name, what it is for, what it does with the options, and which it takes besides the common."""

    name: str
    help: str
    run: Callable[[argparse.Namespace], Answer]
    arguments: Callable[[argparse.ArgumentParser], None] = no_arguments


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger file that is looked into: its queries, what its amounts count, and the currency of its company."""

    query: Query
    units: MinorUnits
    company_currency: str | None

    def money(self, minor: int | None, currency: str | None) -> Cell:
        """An amount as a cell of a table, empty where there is none."""
        return None if minor is None or currency is None else Money(minor, self.units.number(minor, currency))


@contextmanager
def looked_into(path: Path) -> Iterator[Ledger]:
    """The ledger at `path`, read without changing anything on disk, a run at work beside it or not.

    Raises ErpConfigurationError where there is none.
    """
    reader = Reader(path)
    try:
        rows = reader.query("SELECT minor_units, company_currency FROM company")
        if not rows:
            raise _no_ledger(path)
        yield Ledger(reader.query, MinorUnits(rows[0][0]), rows[0][1])
    finally:
        reader.close()


@contextmanager
def opened_for_change(path: Path) -> Iterator[Books]:
    """The books at `path`, held alone as a run holds them; the Beancount file beside them follows what was changed.

    Raises ErpConfigurationError where there are none, ErpBusy where a run holds them.
    """
    reader = Reader(path)
    try:
        rows = reader.query("SELECT company_id, minor_units FROM company")
    finally:
        reader.close()
    if not rows:
        raise _no_ledger(path)
    company_id, units = rows[0]
    terms = Terms(minor_units=MinorUnits(units))
    books = open_books(path, company_id, now(), _no_link, terms, _MAX_RECEIPT_BYTES)
    try:
        yield books
    finally:
        books.close()


def now() -> datetime:
    """The moment at which a command changes the books."""
    return datetime.now(UTC)


def _no_link(external_id: str) -> str:
    return external_id  # nobody is told where the entry can be looked at


def _no_ledger(path: Path) -> ErpConfigurationError:
    return ErpConfigurationError(
        f"there is no ledger at {path}; give its file with --ledger", ConfigurationProblem.MISSING
    )


@dataclass(frozen=True, slots=True)
class Span:
    """The posting dates that are looked at, both ends within, and whether drafts count."""

    first: str = ""
    last: str = "9999-12-31"
    posted_only: bool = False
    condition: str = field(
        default="e.posting_date BETWEEN ? AND ? AND e.state <> 'deleted' AND (e.state = 'posted' OR NOT ?)",
        init=False,
    )

    @property
    def parameters(self) -> tuple[str, str, int]:
        """What the condition is asked with."""
        return self.first, self.last, int(self.posted_only)

    def notes(self, ledger: Ledger) -> list[str]:
        """That there are drafts among what is counted, where there are."""
        drafts = f"SELECT count(*) FROM entry AS e WHERE e.state = 'draft' AND {self.condition}"  # noqa: S608
        count = ledger.query(drafts, self.parameters)[0][0]
        if not count:
            return []
        what = "1 draft is" if count == 1 else f"{count} drafts are"
        return [f"{what} counted; --posted leaves drafts out"]


def span_arguments(parser: argparse.ArgumentParser) -> None:
    """The options by which a command is told which posting dates to look at."""
    parser.add_argument("--month", metavar="YYYY-MM", help="this month only")
    parser.add_argument("--from", dest="first", metavar="DAY", type=a_day, help="from this posting date on")
    parser.add_argument("--to", dest="last", metavar="DAY", type=a_day, help="up to this posting date")
    parser.add_argument("--posted", action="store_true", help="without drafts")


def span_of(options: argparse.Namespace) -> Span:
    """The posting dates that the options name. Raises UsageError."""
    first, last = options.first or "", options.last or "9999-12-31"
    if options.month is not None:
        if options.first or options.last:
            raise UsageError("--month goes without --from and --to")
        try:
            datetime.strptime(options.month, "%Y-%m")  # noqa: DTZ007 - no moment, a month
        except ValueError:
            raise UsageError(f"--month: {options.month[:20]!r} is no month; write it as 2026-10") from None
        first, last = f"{options.month}-01", f"{options.month}-31"
    if first > last:
        raise UsageError(f"--from {first} comes after --to {last}")
    return Span(first, last, options.posted)


def a_day(text: str) -> str:
    """A date as ISO 8601 writes it. Raises ArgumentTypeError."""
    try:
        day = date.fromisoformat(text).isoformat()
    except ValueError:
        day = ""
    if day != text:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no date; write it as 2026-10-31")
    return day


def total(expression: str) -> str:
    """SQL for the sum of an integer expression, in two columns: SQLite's own would overflow with large amounts."""
    return f"coalesce(sum(({expression}) / {_HALF}), 0), coalesce(sum(({expression}) % {_HALF}), 0)"


def joined(high: int, low: int) -> int:
    """The sum that `total` gave in two columns."""
    return high * _HALF + low


_HALF = 1_000_000_000
