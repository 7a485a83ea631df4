"""What Pleo said of an expense when its entry was written: a note on the record in Tryton, beside what we wrote.

Tryton's client lets nobody change a note. An entry that has none, because somebody deleted it or a run was broken off
before it, has no statement; then Pleo's expense is compared with its lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Entry, Statement
from blocks.erp.remote.calls import CallRefused
from blocks.erp.tryton.client import TrytonClient

MODEL = "ir.note"
_HEAD = "Pleo's expense as it was booked, by which the export sees what changes. Please leave this note.\n"
_MOST = 5

Balances = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What we wrote of an entry, as far as a person can change what it comes to: its date and its balances."""

    posting_date: date
    balances: Balances

    @classmethod
    def of(cls, entry: Entry) -> Written:
        """What is written of an entry."""
        return cls(entry.posting_date, entry.balances)

    def edits_in(self, now: Written, currency: str, units: MinorUnits) -> tuple[str, ...]:
        """What a person has changed since, in words."""
        found = []
        if self.posting_date != now.posting_date:
            found.append(f"posting date from {self.posting_date.isoformat()} to {now.posting_date.isoformat()}")
        before, after = dict(self.balances), dict(now.balances)
        found += [
            f"account {code} from {units.amount(before.get(code, 0), currency)} to "
            f"{units.amount(after.get(code, 0), currency)}"
            for code in sorted({**before, **after})
            if before.get(code, 0) != after.get(code, 0)
        ]
        return (*found[:_MOST], f"and {len(found) - _MOST} more") if len(found) > _MOST else tuple(found)


@dataclass(frozen=True, slots=True)
class Note:
    """A note of ours. While an entry is written anew, `before` is the note that holds until that is done."""

    statement: Statement | None
    written: Written
    before: Note | None = None

    def holding(self, now: Written) -> Note:
        """The note that belongs to what stands now."""
        return self.before if self.before is not None and now == self.before.written else self

    def as_text(self) -> str:
        """The note's message."""
        return _HEAD + json.dumps(self._document(), ensure_ascii=False, separators=(",", ":"))

    def _document(self) -> dict[str, Any]:
        return {
            "statement": self.statement.text if self.statement is not None else "",
            "posting_date": self.written.posting_date.isoformat(),
            "balances": self.written.balances,
            "before": self.before._document() if self.before is not None else None,
        }


def note_of(entry: Entry, before: Note | None = None) -> Note:
    """The note for an entry."""
    return Note(entry.statement, Written.of(entry), before)


def read_note(message: object) -> Note | None:
    """The note that a message is, None for any other."""
    if not isinstance(message, str) or not message.startswith(_HEAD):
        return None
    try:
        return _read(json.loads(message.removeprefix(_HEAD)))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _read(document: Any) -> Note:
    balances = tuple((str(code), int(amount)) for code, amount in document["balances"])
    written = Written(date.fromisoformat(document["posting_date"]), balances)
    before = document["before"]
    return Note(Statement.read(document["statement"]), written, _read(before) if before is not None else None)


async def put_notes(client: TrytonClient, notes: Iterable[tuple[str, Note]]) -> None:
    """Write notes on records, by their external ids, in one call. Where Tryton does not take them, because the user
    lacks the right say, the entries have no statement."""
    values = [{"resource": external_id, "message": note.as_text()} for external_id, note in notes]
    if values:
        try:
            await client.create(MODEL, values)
        except CallRefused:
            return


async def notes_on(client: TrytonClient, external_ids: Sequence[str]) -> Mapping[str, Note]:
    """The newest note of ours on each of these records."""
    if not external_ids:
        return {}
    rows = await client.search(MODEL, [["resource", "in", list(external_ids)]], ("resource", "message"))
    found: dict[str, Note] = {}
    for row in sorted(rows, key=lambda row: int(row["id"])):
        note = read_note(row["message"])
        if note is not None:
            found[row["resource"]] = note
    return found
