"""What is kept with a move, as an attached file `pleo.json`: what Pleo said, and what was written, to the last line.

Odoo makes it in the same transaction as the move. The file's description holds the same text, so that those of many
moves are read at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, DocumentKind, Entry
from blocks.erp.remote.compare import MOST_NAMED
from blocks.text import one_line

FILE_NAME = "pleo.json"
_VERSION = 1

WrittenLine = tuple[str, str, int, int | None, str, str]
"""Account, currency, debit less credit in minor units, what that is worth in the company's, tax code (empty: none), and
its text (empty for lines of tax and a vendor's own line of a bill, which Odoo renames by itself)."""


@dataclass(frozen=True, slots=True)
class Written:
    """A move as it was written, as far as a person can change what it says."""

    day: str
    vendor: str
    number: str
    lines: tuple[WrittenLine, ...]

    def edits(self, now: Written, units: MinorUnits) -> tuple[str, ...]:
        """What is another one now, in words."""
        named = (
            ("date", self.day, now.day),
            ("vendor", self.vendor, now.vendor),
            ("reference", self.number, now.number),
        )
        found = [f"{name} {new or 'none'} in place of {old or 'none'}" for name, old, new in named if old != new]
        if len(self.lines) == len(now.lines):  # they keep their order
            pairs = zip(self.lines, now.lines, strict=True)
            found += [f"{_shown(new, units)} in place of {_shown(old, units)}" for old, new in pairs if old != new]
        else:
            before, after = Counter(self.lines), Counter(now.lines)
            found += [f"without {_shown(line, units)}" for line in (before - after).elements()]
            found += [f"with {_shown(line, units)}" for line in (after - before).elements()]
        if len(found) > MOST_NAMED:
            found[MOST_NAMED:] = [f"and {len(found) - MOST_NAMED} more"]
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an entry. `counter` are the places of the lines that settle it, among those of all its moves;
    `statement` is the text of what Pleo said, empty where there is none."""

    amount_minor: int
    currency: str
    original_date: date
    documents: tuple[DocumentKind, ...]
    invoice_number: str
    stays_open: bool
    counter: tuple[int, ...]
    statement: str
    written: tuple[Written, ...]

    def text(self) -> str:
        """It as JSON."""
        kept: dict[str, Any] = {
            "version": _VERSION,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "date": self.original_date.isoformat(),
            "documents": [kind.value for kind in self.documents],
            "invoice_number": self.invoice_number,
            "stays_open": self.stays_open,
            "counter": self.counter,
            "statement": self.statement,
            "written": [[one.day, one.vendor, one.number, one.lines] for one in self.written],
        }
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def read_kept(text: object) -> Kept | None:
    """What such a text says; None for any other one, as people can change it."""
    try:
        kept = json.loads(text) if isinstance(text, str) else {}
        if kept.get("version") != _VERSION:
            return None
        return Kept(
            amount_minor=int(kept["amount_minor"]),
            currency=str(kept["currency"]),
            original_date=date.fromisoformat(kept["date"]),
            documents=tuple(DocumentKind(kind) for kind in kept["documents"]),
            invoice_number=str(kept["invoice_number"]),
            stays_open=kept["stays_open"] is True,
            counter=tuple(int(place) for place in kept["counter"]),
            statement=str(kept["statement"]),
            written=tuple(
                Written(str(day), str(vendor), str(number), tuple(_line(line) for line in lines))
                for day, vendor, number, lines in kept["written"]
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def kept_of(entry: Entry, written: Sequence[Written]) -> Kept:
    """What is kept of an entry whose moves are written so."""
    statement = entry.statement
    return Kept(
        amount_minor=entry.amount_minor,
        currency=entry.currency,
        original_date=entry.original_date,
        documents=tuple(one.kind for one in entry.documents) if isinstance(entry, Bill) else (),
        invoice_number=entry.invoice_number if isinstance(entry, Bill) else "",
        stays_open=isinstance(entry, Bill) and entry.stays_open,
        counter=tuple(place for place, line in enumerate(entry.all_lines) if line.counter),
        statement=statement.text if statement is not None else "",
        written=tuple(written),
    )


def _line(kept: Iterable[Any]) -> WrittenLine:
    account, currency, amount, worth, tax, text = kept
    return str(account), str(currency), int(amount), None if worth is None else int(worth), str(tax), str(text)


def _shown(line: WrittenLine, units: MinorUnits) -> str:
    account, currency, amount, _, tax, text = line
    side = "credit" if amount < 0 else "debit"
    told = f", {one_line(text, 60)}" if text else ""
    return f"{side} {units.amount(abs(amount), currency)} on {account}{f', tax {tax}' if tax else ''}{told}"
