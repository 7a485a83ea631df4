"""`drafts`, `post`, `delete-draft`, `reverse` and `history`: single entries, looked at and changed.

An entry is named by its number in the ledger (PX-000001) or by Pleo's id of the expense, which names the entry in
force. What changes the books is one transaction, and only another entry takes it back.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from blocks.erp.entries import EntryState, Statement
from blocks.erp.errors import ErpError
from blocks.erp.ledger.books import Books
from blocks.erp.ledger.connection import Query
from blocks.erp.ledger.tool.command import (
    DONE,
    REFUSED,
    Answer,
    Command,
    Ledger,
    UsageError,
    a_day,
    looked_into,
    now,
    opened_for_change,
)
from blocks.erp.ledger.tool.tables import Cell, Table
from blocks.text import one_line

_MAX_ID = 60
_MAX_WORDS = 1000

# Whether an entry's day is in an open period, as the rule of the file has it.
_DRAFTS = """
    SELECT e.external_id, e.posting_date, e.item_type, e.description, e.currency, e.amount_minor,
        iif(EXISTS (SELECT 1 FROM period WHERE state = 'closed' AND e.posting_date BETWEEN first_date AND last_date)
            OR (EXISTS (SELECT 1 FROM chart WHERE kind = 'periods')
                AND NOT EXISTS (SELECT 1 FROM period WHERE e.posting_date BETWEEN first_date AND last_date)),
            'closed', 'open'),
        (SELECT count(*) FROM attachment WHERE entry_id = e.id), e.accounting_entry_id
    FROM entry AS e WHERE e.state = 'draft' ORDER BY e.posting_date, e.id
"""

_ENTRY = """
    SELECT e.id, e.external_id, e.accounting_entry_id, e.state, e.posting_date, e.in_force,
        (SELECT external_id FROM entry WHERE id = e.reverses), (SELECT external_id FROM entry WHERE reverses = e.id)
    FROM entry AS e WHERE {0} ORDER BY e.in_force DESC, e.id DESC LIMIT 1
"""

_HISTORY = """
    SELECT h.at, e.external_id, h.event, h.job_id, h.detail, h.written
    FROM history AS h LEFT JOIN entry AS e ON e.id = h.entry_id WHERE h.accounting_entry_id = ? ORDER BY h.id
"""


class _Entry(NamedTuple):
    """An entry, and what became of it."""

    number: int
    external_id: str
    accounting_entry_id: str
    state: str
    posting_date: str
    in_force: int
    reverses: str | None
    reversed_by: str | None


def _find(query: Query, name: str) -> _Entry | None:
    """The entry of that number or id; of an id the one in force, else the last one there was."""
    number = name.upper().removeprefix("PX-")
    if name.upper().startswith("PX-"):
        rows = (
            query(_ENTRY.format("e.id = ?"), (int(number),))
            if number.isascii() and number.isdigit() and len(number) < 19
            else []
        )
    else:
        rows = query(_ENTRY.format("e.accounting_entry_id = ?"), (name.lower(),))
    return _Entry(*rows[0]) if rows else None


def _no_entry(name: str) -> str:
    return f"there is no entry {one_line(name, _MAX_ID)}; name it by its number, PX-000001 say, or by Pleo's id"


def _drafts(options: argparse.Namespace) -> Answer:
    with looked_into(options.ledger) as ledger:
        rows: list[list[Cell]] = [
            [name, day, type_, text, currency, ledger.money(amount, currency), period, receipts, id_]
            for name, day, type_, text, currency, amount, period, receipts, id_ in ledger.query(_DRAFTS, ())
        ]
    columns = ["number", "date", "type", "description", "currency", "amount", "period", "receipts"]
    return Answer([Table("drafts", "Drafts", [*columns, "accounting_entry_id"], rows)])


def _post(options: argparse.Namespace) -> Answer:
    if bool(options.ids) == options.all:
        raise UsageError("post: name the entries, or say --all")
    with opened_for_change(options.ledger) as books:
        if options.all:
            found = [_Entry(*row) for row in books.query(_ENTRY.format("e.state = 'draft'").replace("LIMIT 1", ""))]
        else:
            named = [(name, _find(books.query, name)) for name in options.ids]
            unknown = [_no_entry(name) for name, entry in named if entry is None]
            if unknown:
                return _nothing_done("posted", unknown)
            found = list({one.number: one for _, one in named if one is not None}.values())
        drafts = sorted(one for one in found if one.state == EntryState.DRAFT)
        told = books.post([one.accounting_entry_id for one in drafts], now())
        refused = {one.accounting_entry_id: one.message for one in told}
        notes = _follow(books) if len(refused) < len(drafts) else []
    left = [one for one in drafts if one.accounting_entry_id in refused]
    refusals = [f"{one.external_id} stays a draft: {refused[one.accounting_entry_id]}" for one in left]
    refusals += [f"{one.external_id} was deleted" for one in found if one.state == "deleted"]
    notes += [f"{one.external_id} is posted already" for one in found if one.state == EntryState.POSTED]
    posted = [one for one in drafts if one.accounting_entry_id not in refused]
    rows: list[list[Cell]] = [[one.external_id, one.posting_date, one.accounting_entry_id] for one in posted]
    table = Table("posted", "Posted", ["number", "date", "accounting_entry_id"], rows)
    return Answer([table], notes, refusals, REFUSED if refusals else DONE)


def _delete_draft(options: argparse.Namespace) -> Answer:
    with opened_for_change(options.ledger) as books:
        entry = _find(books.query, options.id)
        if entry is None:
            return _nothing_done("deleted", [_no_entry(options.id)])
        if entry.state == EntryState.POSTED:
            why = f"{entry.external_id} is posted: reverse it (reverse {entry.external_id} --date DAY)"
            return _nothing_done("deleted", [why])
        refused = books.delete_draft(entry.external_id, now())
        if refused is not None:
            return _nothing_done("deleted", [refused.message])
        notes = _follow(books)
    notes.append("its number and history stay; exported again, the expense is booked anew")
    rows: list[list[Cell]] = [[entry.external_id, entry.posting_date, entry.accounting_entry_id]]
    return Answer([Table("deleted", "Deleted", ["number", "date", "accounting_entry_id"], rows)], notes)


def _reverse(options: argparse.Namespace) -> Answer:
    with opened_for_change(options.ledger) as books:
        entry = _find(books.query, options.id)
        why_not = _no_entry(options.id) if entry is None else _irreversible(entry, options.date)
        if entry is None or why_not:
            return _nothing_done("reversed", [why_not])
        found = books.find([entry.accounting_entry_id])[entry.accounting_entry_id]
        refused = books.reverse([found], date.fromisoformat(options.date), now())
        if refused:
            return _nothing_done("reversed", [refused[0].message])
        by = _find(books.query, entry.external_id)
        notes = _follow(books)
    notes.append("exported again, the expense is booked anew")
    rows: list[list[Cell]] = [
        [entry.external_id, by.reversed_by if by else "", options.date, entry.accounting_entry_id]
    ]
    columns = ["number", "reversed_by", "date", "accounting_entry_id"]
    return Answer([Table("reversed", "Reversed", columns, rows)], notes)


def _irreversible(entry: _Entry, day: str) -> str:
    """Why an entry cannot be reversed on that day, as far as it can be told from itself; empty where it can."""
    name = entry.external_id
    if entry.reversed_by is not None:
        return f"{name} was reversed by {entry.reversed_by} already"
    if entry.reverses is not None:
        return f"{name} is the reversal of {entry.reverses}: to undo it, export the expense again"
    if entry.state == EntryState.DRAFT:
        return f"{name} is a draft: delete it (delete-draft {name})"
    if entry.state != EntryState.POSTED:
        return f"{name} was deleted"
    if day < entry.posting_date:
        return f"{name} is of {entry.posting_date}: its reversal cannot be of an earlier day, {day}"
    return ""


def _history(options: argparse.Namespace) -> Answer:
    with looked_into(options.ledger) as ledger:
        entry = _find(ledger.query, options.id)
        id_ = entry.accounting_entry_id if entry is not None else options.id.lower()
        events = ledger.query(_HISTORY, (id_,))  # Pleo may have been told of an expense that has no entry
        if not events:
            return Answer([_of_history([])], (), [_no_entry(options.id)], REFUSED)
        rows: list[list[Cell]] = []
        for at, name, event, job, detail, written in events:
            told = json.loads(detail)
            lines = {"detail": told, **({"written": json.loads(written)} if written else {})}
            rows.append([at, name or "", event, _words(event, told, ledger), job, lines])
    return Answer([_of_history(rows)], [f"Pleo's id of the expense is {id_}"])


def _of_history(rows: Sequence[Sequence[Cell]]) -> Table:
    return Table("history", "History", ["at", "number", "event", "what", "job", "_more"], rows)


def _words(event: str, told: dict[str, Any], ledger: Ledger) -> str:
    """What the detail of an event says, in one line for people."""
    match event:
        case "recorded" | "replaced" | "reversed" if "posting_date" in told and "by" not in told:
            amount = ledger.units.amount(told["amount_minor"], told["currency"])
            words = f"{told['state']} of {told['posting_date']}, {amount}, {told['item_type']}"
            changes = _changes(told)
            words += f"; in Pleo {'; '.join(changes)}" if changes else ""
        case "reversed":
            words = f"by {told.get('by')} on {told.get('posting_date')}"
        case "settled":
            words = f"with {told.get('with')}"
            if told.get("exchange_minor"):
                difference = ledger.units.amount(abs(told["exchange_minor"]), told["exchange_currency"])
                kind = "gain" if told["exchange_minor"] > 0 else "loss"
                words += f", exchange {kind} of {difference} on {told['exchange_account']}"
        case "receipt":
            words = f"{told.get('number')}: {told.get('name')}"
        case "handed_over":
            words = f"{told.get('file')}, batch {told.get('batch')} of {told.get('format')}"
        case "answered":
            words = (
                f"successful, {told.get('external_id')}" if told.get("successful") else f"failed: {told.get('reason')}"
            )
        case _:
            words = ""
    return one_line(words, _MAX_WORDS)


def _changes(told: dict[str, Any]) -> Sequence[str]:
    """What Pleo said otherwise before a draft was replaced."""
    before, now_ = (
        Statement.read(json.dumps(told[key])) if told.get(key) is not None else None for key in ("said_before", "says")
    )
    return now_.changes_since(before) if before is not None and now_ is not None else ()


def _nothing_done(name: str, refusals: Sequence[str]) -> Answer:
    table = Table(name, name.capitalize(), ["number", "date", "accounting_entry_id"], [])
    return Answer([table], (), refusals, REFUSED)


def _follow(books: Books) -> list[str]:
    """Write the Beancount file anew after a change; what was changed stands, whatever becomes of that."""
    try:
        books.write_beancount()
    except ErpError as error:
        return [f"the Beancount file is not up to date: {error}"]
    return []


def _ids_or_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="drafts, by their number (PX-000001) or Pleo's id")
    parser.add_argument("--all", action="store_true", help="every draft")


def _one_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the entry's number (PX-000001), or Pleo's id of the expense")


def _id_and_day(parser: argparse.ArgumentParser) -> None:
    _one_id(parser)
    parser.add_argument("--date", metavar="DAY", type=a_day, required=True, help="the posting date of the reversal")


COMMANDS = (
    Command("drafts", "the entries that wait to be posted", _drafts),
    Command("post", "post drafts, and settle bills with their payments", _post, _ids_or_all),
    Command("delete-draft", "delete a draft; its number and its history stay", _delete_draft, _one_id),
    Command("reverse", "take back a posted entry by one of the same lines on the other side", _reverse, _id_and_day),
    Command("history", "all that happened to an expense, in order", _history, _one_id),
)
