"""`batches`: what was handed over as files, the next batch made by hand, and one written again."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.handover.settings import HandoverFormat
from blocks.erp.ledger.tool.command import (
    DONE,
    REFUSED,
    Answer,
    Command,
    UsageError,
    a_day,
    looked_into,
    now,
    opened_for_change,
)
from blocks.erp.ledger.tool.tables import Cell, Table

_BATCHES = """
    SELECT format, number, first_date, last_date, entries, manifest, sha256, name, coalesce(issued_at, '')
    FROM batch ORDER BY format, number
"""
_COLUMNS = ["format", "number", "from", "to", "entries", "debit", "credit", "sha256", "file", "put_out"]


def _batches(options: argparse.Namespace) -> Answer:
    if options.make and options.again:
        raise UsageError("batches: --make and --again go one at a time")
    said: list[str] = []
    refusals: list[str] = []
    if options.make or options.again:
        said, refusals = _written(options)
    elif options.folder or options.first:
        raise UsageError("batches: --folder and --handover-from go with --make or --again")
    with looked_into(options.ledger) as ledger:
        rows: list[list[Cell]] = [[*row[:5], *_sums(row[5]), *row[6:]] for row in ledger.query(_BATCHES, ())]
    return Answer([Table("batches", "Batches", _COLUMNS, rows)], said, refusals, REFUSED if refusals else DONE)


def _sums(manifest: str) -> tuple[str, str]:
    """Debit and credit in all, each currency by itself."""
    totals = json.loads(manifest)["totals"].items()
    return (
        ", ".join(f"{one['debit']} {currency}" for currency, one in totals),
        ", ".join(f"{one['credit']} {currency}" for currency, one in totals),
    )


def _written(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Make the next batches, or put one out again: what was done, and what was refused."""
    with opened_for_change(options.ledger) as books:
        kept = books.kept_plan()
        if kept is None:
            raise ErpConfigurationError(
                'no run has said how batches are made: set handover, "manual" say, in the settings and run the export '
                "once"
            )
        plan, folder = kept
        folder = options.folder or folder
        if options.again:
            format_, number = options.again
            return [books.put_out_again(plan, _format(format_), _number(number), folder, now())], []
        formats = [_format(one) for one in options.make]
        lacking = [line for one in formats for line in plan.settings.lacking(one)]
        if lacking:
            raise ErpConfigurationError(lacking[0])
        since = date.fromisoformat(options.first) if options.first else plan.settings.handover_from or date.min
        told = books.hand_over(plan, formats, folder, now(), since)
    refused = [line for line in told if line.startswith("no batch") or " cannot be put out: " in line]
    done = [line for line in told if line not in refused]
    return done or ([] if refused else ["nothing is left to hand over"]), refused


def _format(name: str) -> HandoverFormat:
    try:
        return HandoverFormat(name)
    except ValueError:
        raise UsageError(f"{name[:20]!r} is no format: datev, sie4 or csv") from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UsageError(f"{text[:20]!r} is no batch's number")
    return int(text)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--make", metavar="FORMAT", action="append", help="make the next batch: datev, sie4 or csv")
    parser.add_argument("--again", nargs=2, metavar=("FORMAT", "NUMBER"), help="write that batch's files again")
    parser.add_argument("--folder", metavar="DIR", type=Path, help="where the files go (where the last run put them)")
    parser.add_argument(
        "--handover-from", dest="first", metavar="DAY", type=a_day, help="leave out entries before this posting date"
    )


COMMANDS = (Command("batches", "what was handed over as files, and the next batch", _batches, _arguments),)
