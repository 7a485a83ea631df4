"""The books themselves: entries written to and found in an open SQLite file, in plain calls of one thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from blocks.erp.base import Outcome
from blocks.erp.entries import Answer, Attachment, Bill, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger import changes
from blocks.erp.ledger.books_file import BooksFile, in_seconds
from blocks.erp.ledger.chart_store import Terms
from blocks.erp.ledger.checks import check_against, schema_refusal, schema_refusal_kind
from blocks.erp.ledger.connection import (
    FileLock,
    connect,
    holds_a_ledger,
    prepare,
    receipts_folder,
    remove,
)
from blocks.erp.ledger.faults import Unreadable, not_usable
from blocks.erp.ledger.reader import refuse_unsuitable
from blocks.erp.ledger.receipts import Receipts
from blocks.erp.ledger.records import (
    Link,
    find_entries,
    insert_attachments,
    insert_entry,
    key_of,
    replace_entry,
)
from blocks.erp.ledger.settlement import settle

_DRAFTS = """
    SELECT id, accounting_entry_id, posting_date FROM entry
    WHERE accounting_entry_id IN (SELECT value FROM json_each(?)) AND state = 'draft' ORDER BY id
"""
_IN_FORCE = "SELECT id FROM entry WHERE accounting_entry_id = ? AND in_force = 1"
_POST = "UPDATE entry SET state = 'posted', changed_at = ? WHERE id = ?"
_REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)


class Books(BooksFile):
    """One company's entries, in the file that is open."""

    def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand among these ids."""
        return find_entries(self.query, self._link, accounting_entry_ids)

    def record(self, entries: Sequence[Entry], now: datetime) -> list[Outcome]:
        """Record entries and their attachments in one transaction, one outcome each in their order.

        Raises ErpUnavailable when nothing was written, ErpOutcomeUnknown when the commit itself failed,
        ErpConfigurationError when the file turns out to be broken.
        """
        with self._transaction():
            return self._write(entries, in_seconds(now))

    def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment], now: datetime) -> list[NotAttached]:
        """Attach files to an entry that stands, but for the numbers that it has already. Raises as `record`."""
        with self._transaction():
            rows = self.query(_IN_FORCE, (key_of(accounting_entry_id),))
            if not rows:
                return [NotAttached(one.number, f"there is no entry {accounting_entry_id}") for one in attachments]
            number = rows[0][0]
            there = {one for (one,) in self.query("SELECT number FROM attachment WHERE entry_id = ?", (number,))}
            missing = {one.number: one for one in reversed(attachments) if one.number not in there}
            files, problems = self._store([missing[one] for one in sorted(missing)])
            insert_attachments(self._connection, number, files, in_seconds(now))
            return problems

    def post(self, accounting_entry_ids: Sequence[str], now: datetime) -> list[Refused]:
        """Post the drafts among these entries, but for those that the books refuse to post. Raises as `record`."""
        at = in_seconds(now)
        with self._transaction():
            refused: list[Refused] = []
            drafts = self.query(_DRAFTS, (json.dumps([key_of(one) for one in accounting_entry_ids]),))
            posted: list[int] = []
            for number, accounting_entry_id, posting_date in drafts:
                try:
                    # A statement that its trigger aborts leaves nothing behind.
                    self._connection.execute(_POST, (at.isoformat(), number))
                    posted.append(number)
                except sqlite3.IntegrityError as error:
                    kind, message = schema_refusal_kind(error, posting_date)
                    refused.append(Refused(accounting_entry_id, kind, posting_date, message))
            settle(self._connection, posted, at)
            return refused

    def replace(self, entries: Sequence[Entry], now: datetime) -> list[Outcome]:
        """Replace drafts that nobody has touched, one outcome each in their order. Raises as `record`."""
        with self._transaction():
            stands = self.find([entry.accounting_entry_id for entry in entries])
            refused = [self._replace(entry, stands, in_seconds(now)) for entry in entries]
            stands = self.find(list(stands))
            return [
                why or stands[key_of(entry.accounting_entry_id)] for entry, why in zip(entries, refused, strict=True)
            ]

    def reverse(self, entries: Sequence[Recorded], day: date, now: datetime) -> list[Refused]:
        """Reverse posted entries on that day; returns those that cannot be. Raises as `record`."""
        with self._transaction():
            while True:
                refused = [(one, why) for one in entries if (why := self._reverse(one, day, in_seconds(now)))]
                if len(refused) in (0, len(entries)):
                    return [why for _, why in refused]
                # What settles another may have gone meanwhile, whichever came first in the call.
                entries = [one for one, _ in refused]

    def delete_draft(self, external_id: str, now: datetime) -> Refused | None:
        """Delete a draft, whose number and history stay; returns why it cannot be. Raises as `record`."""
        with self._transaction():
            rows = self.query("SELECT id, accounting_entry_id, state FROM entry WHERE external_id = ?", (external_id,))
            if not rows or rows[0][2] != EntryState.DRAFT:
                state = f"it is {rows[0][2]}" if rows else "there is no such entry"
                return Refused(rows[0][1] if rows else "", RefusalKind.OTHER, external_id, f"{external_id}: {state}")
            changes.delete_draft(self._connection, rows[0][0], in_seconds(now))
            return None

    def note_answers(self, answers: Sequence[Answer], now: datetime) -> None:
        """Write what Pleo has taken into the history. Raises as `record`."""
        with self._transaction():
            changes.note_answers(self._connection, answers, in_seconds(now))

    def _write(self, entries: Sequence[Entry], recorded_at: datetime) -> list[Outcome]:
        """Write what does not stand, and read back what stands then: nothing is taken for granted."""
        stands = self.find([entry.accounting_entry_id for entry in entries])
        number: int = self._connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()[0]
        refused: dict[int, Refused] = {}
        new: dict[str, tuple[NotAttached, ...]] = {}
        posted: list[int] = []
        self._opened = set()
        for n, entry in enumerate(entries):
            key = key_of(entry.accounting_entry_id)
            if key in stands or key in new:
                continue
            result = check_against(entry, self._company_id, self.reference) or self._write_one(
                number + 1, entry, recorded_at
            )
            if isinstance(result, Refused):
                refused[n] = result
                continue
            number += 1
            new[key] = result
            if isinstance(entry, Bill) and entry.state is EntryState.POSTED:
                posted.append(number)
        if posted:
            settle(self._connection, posted, recorded_at)
        if new:
            stands = self.find([*stands, *new])
        return [
            refused.get(n) or self._recorded(stands[key_of(entry.accounting_entry_id)], new)
            for n, entry in enumerate(entries)
        ]

    @staticmethod
    def _recorded(stands: Recorded, new: dict[str, tuple[NotAttached, ...]]) -> Recorded:
        not_attached = new.pop(stands.accounting_entry_id, None)  # a second time in one call it is found
        return stands if not_attached is None else replace(stands, found=False, not_attached=not_attached)

    def _write_one(self, number: int, entry: Entry, recorded_at: datetime) -> Refused | tuple[NotAttached, ...]:
        """Write one entry with its attachments, or nothing of it; returns the files that it stands without."""
        files, problems = self._store(entry.attachments)
        if problems and entry.attachments_required:
            first = problems[0]
            kind = RefusalKind.ATTACHMENT_TOO_LARGE if first.too_large else RefusalKind.ATTACHMENT_REFUSED
            return Refused(entry.accounting_entry_id.lower(), kind, f"file {first.number}", first.message)
        try:
            with self._wholly():
                insert_entry(self._connection, number, entry, recorded_at, self._opened)
                if files:
                    insert_attachments(self._connection, number, files, recorded_at)
        except _REFUSED as error:
            return schema_refusal(entry, error)
        return tuple(problems)

    def _replace(self, entry: Entry, stands: dict[str, Recorded], at: datetime) -> Refused | None:
        found = stands.get(key_of(entry.accounting_entry_id))
        if found is None or found.state is not EntryState.DRAFT or found.edits:
            why = "it is posted" if found is not None else "it does not stand any more"
            if found is not None and found.edits:
                why = f"a person has changed it since: {'; '.join(found.edits)}"
            subject = found.external_id if found is not None else "entry"
            return Refused(key_of(entry.accounting_entry_id), RefusalKind.OTHER, subject, f"{subject}: {why}")
        refused = check_against(entry, self._company_id, self.reference)
        if refused is not None:
            return refused
        (number,) = self.query(_IN_FORCE, (key_of(entry.accounting_entry_id),))[0]
        try:
            with self._wholly():
                replace_entry(self._connection, number, entry, at, self._opened)
        except _REFUSED as error:
            return schema_refusal(entry, error)
        return None

    def _reverse(self, found: Recorded, day: date, at: datetime) -> Refused | None:
        id_, name = found.accounting_entry_id, found.external_id
        rows = self.query("SELECT id, state, in_force FROM entry WHERE external_id = ? LIMIT 1", (name,))
        if rows and not rows[0][2]:
            return None
        if not rows or rows[0][1] != EntryState.POSTED:
            why = "it is a draft, which can be deleted" if rows else "it does not stand any more"
            return Refused(id_, RefusalKind.OTHER, name, f"{name}: {why}")
        if others := changes.settled_by(self._connection, rows[0][0]):
            why = f"it is settled by {', '.join(others)}: reverse {'that' if len(others) == 1 else 'those'} first"
            return Refused(id_, RefusalKind.OTHER, name, f"{name} cannot be reversed, {why}")
        try:
            with self._wholly():
                was_open = not changes.is_settled(self._connection, rows[0][0])
                changes.reverse_entry(self._connection, rows[0][0], day, at)
                if was_open:  # it was one of several that could have been meant; what it settled waits for another
                    settle(self._connection, [rows[0][0]], at)
        except _REFUSED as error:
            kind, message = schema_refusal_kind(error, day.isoformat())
            return Refused(id_, kind, day.isoformat(), f"{name} cannot be reversed: {message}")
        return None


def open_books(
    path: Path, company_id: str, now: datetime, link: Link, terms: Terms, max_attachment_bytes: int
) -> Books:
    """Open or create a company's ledger file for writing, alone, and lay down its charts.

    Raises ErpConfigurationError, ErpBusy.
    """
    refuse_unsuitable(path, company_id)
    lock = FileLock(path)
    lock.acquire()
    fresh = False
    connection = None
    try:
        fresh = not holds_a_ledger(path) and not path.exists()
        connection = connect(path)
        prepare(path, connection)
        receipts = Receipts(receipts_folder(path), max_attachment_bytes)
        books = Books(path, connection, company_id, link, lock, receipts)
        books.bind(now, terms)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if fresh:
            remove(path)
        lock.release()
        if isinstance(error, Unreadable):
            raise not_usable(path, error) from error
        raise
    return books
