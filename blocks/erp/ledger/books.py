"""The books themselves: entries written to and found in an open SQLite file, in plain calls of one thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blocks.erp.base import Outcome
from blocks.erp.entries import Attachment, Bill, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpOutcomeUnknown, RefusalKind, Refused
from blocks.erp.ledger.beancount import write_beancount
from blocks.erp.ledger.chart_store import Terms, agreed_terms, reference_of, store_charts
from blocks.erp.ledger.checks import check_against, schema_refusal, schema_refusal_kind
from blocks.erp.ledger.connection import (
    FileLock,
    beancount_path,
    connect,
    holds_a_ledger,
    prepare,
    receipts_folder,
    refuse_foreign_company,
    remove,
)
from blocks.erp.ledger.faults import Unreadable, explain, not_taken, not_usable, primary_code
from blocks.erp.ledger.reader import refuse_unsuitable
from blocks.erp.ledger.receipts import Receipts
from blocks.erp.ledger.records import Link, find_entries, insert_attachments, insert_entry, key_of
from blocks.erp.ledger.settlement import settle
from blocks.erp.reference import Reference

_DRAFTS = """
    SELECT id, accounting_entry_id, posting_date FROM entry
    WHERE accounting_entry_id IN (SELECT value FROM json_each(?)) AND state = 'draft' ORDER BY id
"""
_POST = "UPDATE entry SET state = 'posted' WHERE id = ?"
_REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)


class Books:
    """One company's books, open for writing on `connection`, held alone by `lock`."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        company_id: str,
        link: Link,
        lock: FileLock,
        receipts: Receipts,
    ) -> None:
        self._path = path
        self._connection = connection
        self._company_id = company_id
        self._link = link
        self._lock = lock
        self._receipts = receipts
        self._terms = Terms()
        self._opened: set[str] = set()
        self.reference = Reference()

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query; raises ErpUnavailable, and ErpConfigurationError for a broken file."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except Unreadable as error:
            raise not_taken(self._path, error) from error

    def bind(self, now: datetime, terms: Terms) -> None:
        """Make the file the company's own, kept by `terms` and by the charts that it was given before.

        Raises ErpConfigurationError for another company's file or for terms that do not go with what it holds,
        sqlite3.Error when it cannot be written; it is then as it was.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._note_opening(now)
            self._terms = agreed_terms(self._path, self.query, terms)
            self._connection.execute(
                "UPDATE company SET minor_units = ?, company_currency = ?",
                (self._terms.minor_units.value, self._terms.company_currency),
            )
            store_charts(self._connection, terms.charts, _seconds(now))
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self.reference = reference_of(self._terms)

    def prove_writable(self, now: datetime) -> None:
        """Do a small write; raises ErpUnavailable, and ErpConfigurationError for a broken file."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._note_opening(now)
            self._connection.execute("COMMIT")
        except Unreadable as error:
            self._roll_back()
            raise not_taken(self._path, error) from error
        except BaseException:
            self._roll_back()
            raise

    def write_beancount(self) -> None:
        """Write the Beancount file anew; raises ErpUnavailable, and ErpConfigurationError for a broken file."""
        path = beancount_path(self._path)
        try:
            self._connection.execute("PRAGMA temp_store = FILE")  # years of entries are brought into order
            self._connection.execute("BEGIN")
            write_beancount(self._connection, self._company_id, path, self._terms.minor_units, self._receipts.folder)
        except Unreadable as error:
            raise not_taken(self._path, error) from error
        except OSError as error:
            raise not_taken(path, error) from error
        finally:
            self._roll_back()
            self._connection.execute("PRAGMA temp_store = MEMORY")

    def close(self) -> None:
        """Let go of the file and of its lock."""
        self._connection.close()
        self._lock.release()

    def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand among these ids."""
        return find_entries(self.query, self._link, accounting_entry_ids)

    def record(self, entries: Sequence[Entry], now: datetime) -> list[Outcome]:
        """Record entries and their attachments in one transaction, one outcome each in their order.

        Raises ErpUnavailable when nothing was written, ErpOutcomeUnknown when the commit itself failed,
        ErpConfigurationError when the file turns out to be broken.
        """
        with self._transaction():
            return self._write(entries, _seconds(now))

    def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment], now: datetime) -> list[NotAttached]:
        """Attach files to an entry that stands, but for the numbers that it has already. Raises as `record`."""
        with self._transaction():
            rows = self.query("SELECT id FROM entry WHERE accounting_entry_id = ?", (key_of(accounting_entry_id),))
            if not rows:
                return [NotAttached(one.number, f"there is no entry {accounting_entry_id}") for one in attachments]
            number = rows[0][0]
            there = {one for (one,) in self.query("SELECT number FROM attachment WHERE entry_id = ?", (number,))}
            missing = {one.number: one for one in reversed(attachments) if one.number not in there}
            files, problems = self._store([missing[one] for one in sorted(missing)])
            insert_attachments(self._connection, number, files, _seconds(now))
            return problems

    def post(self, accounting_entry_ids: Sequence[str], now: datetime) -> list[Refused]:
        """Post the drafts among these entries, but for those that the books refuse to post. Raises as `record`."""
        with self._transaction():
            refused: list[Refused] = []
            drafts = self.query(_DRAFTS, (json.dumps([key_of(one) for one in accounting_entry_ids]),))
            posted: list[int] = []
            for number, accounting_entry_id, posting_date in drafts:
                try:
                    # A statement that its trigger aborts leaves nothing behind.
                    self._connection.execute(_POST, (number,))
                    posted.append(number)
                except sqlite3.IntegrityError as error:
                    kind, message = schema_refusal_kind(error, posting_date)
                    refused.append(Refused(accounting_entry_id, kind, posting_date, message))
            settle(self._connection, posted, _seconds(now))
            return refused

    def _note_opening(self, now: datetime) -> None:
        opened_at = now.astimezone(UTC).isoformat(timespec="seconds")
        row = self._connection.execute("SELECT company_id FROM company").fetchone()
        if row is None:
            self._connection.execute(
                "INSERT INTO company (company_id, last_opened_at) VALUES (?, ?)", (self._company_id, opened_at)
            )
        else:
            refuse_foreign_company(self._path, row[0], self._company_id)
            self._connection.execute(
                "UPDATE company SET last_opened_at = ?, write_proofs = write_proofs + 1", (opened_at,)
            )

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
        self._connection.execute("SAVEPOINT one")  # a statement undoes itself alone, an entry is many
        try:
            insert_entry(self._connection, number, entry, recorded_at, self._opened)
            if files:
                insert_attachments(self._connection, number, files, recorded_at)
        except _REFUSED as error:
            self._connection.execute("ROLLBACK TO one")
            self._connection.execute("RELEASE one")
            self._opened = set()  # what it opened is not there any more
            return schema_refusal(entry, error)
        self._connection.execute("RELEASE one")
        return tuple(problems)

    def _store(self, attachments: Sequence[Attachment]) -> tuple[list[tuple[Attachment, str]], list[NotAttached]]:
        stored, problems = [], []
        for attachment in attachments:
            result = self._receipts.store(attachment)
            if isinstance(result, NotAttached):
                problems.append(result)
            else:
                stored.append((attachment, result))
        return stored, problems

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction, at whose end no file is left that no entry names. Raises as `record`."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._commit()
        except ErpOutcomeUnknown:  # the files may be named, then
            raise
        except BaseException as error:
            self._roll_back()
            self._receipts.drop_unnamed(self._is_named)
            if isinstance(error, Unreadable):
                raise not_taken(self._path, error) from error
            if isinstance(error, OSError):
                raise not_taken(self._receipts.folder, error) from error
            raise
        self._receipts.drop_unnamed(self._is_named)

    def _is_named(self, file: str) -> bool:
        try:
            return bool(self._connection.execute("SELECT 1 FROM attachment WHERE file = ?", (file,)).fetchone())
        except sqlite3.Error:
            return True  # nobody knows

    def _commit(self) -> None:
        try:
            self._receipts.sync()
        except OSError as error:
            raise not_taken(self._receipts.folder, error) from error
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if primary_code(error) == sqlite3.SQLITE_FULL:
                # There was no room for the record that makes the transaction count, so it does not.
                raise not_taken(self._path, error) from error
            raise ErpOutcomeUnknown(
                f"{self._path} may or may not hold the entries of the last call: it {explain(self._path, error)[0]}"
            ) from error

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


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


def _seconds(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)
