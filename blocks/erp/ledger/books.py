"""The books themselves: entries written to and found in an open SQLite file, in plain calls of one thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from blocks.erp.base import Outcome
from blocks.erp.entries import Entry, EntryState, Recorded, account_codes
from blocks.erp.errors import ErpOutcomeUnknown, RefusalKind, Refused
from blocks.erp.ledger.beancount_file import write_beancount
from blocks.erp.ledger.checks import check_entry
from blocks.erp.ledger.faults import explain, not_taken, primary_code
from blocks.erp.ledger.files import beancount_path, refuse_foreign_company
from blocks.erp.ledger.inserts import insert_entry, storable
from blocks.erp.ledger.lock import FileLock

Query = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
Link = Callable[[str], str]

_IDS_A_QUERY = 1000
_FIND = """
    SELECT accounting_entry_id, external_id, recorded_at, currency, amount_minor, state, posting_date, original_date,
        (SELECT json_group_array(account) FROM (SELECT DISTINCT account FROM line WHERE entry_id = entry.id))
    FROM entry WHERE accounting_entry_id IN (SELECT value FROM json_each(?))
"""


def find_entries(query: Query, link: Link, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
    """The entries that stand among any number of ids, by id in lower case, each with `found` set."""
    found: dict[str, Recorded] = {}
    ids = sorted({storable(one.lower()) for one in accounting_entry_ids})
    for start in range(0, len(ids), _IDS_A_QUERY):
        for row in query(_FIND, (json.dumps(ids[start : start + _IDS_A_QUERY]),)):
            found[row[0]] = Recorded(
                accounting_entry_id=row[0],
                external_id=row[1],
                url=link(row[1]),
                recorded_at=datetime.fromisoformat(row[2]),
                currency=row[3],
                amount_minor=row[4],
                accounts=account_codes(json.loads(row[8])),
                state=EntryState(row[5]),
                found=True,
                posting_date=date.fromisoformat(row[6]),
                original_date=date.fromisoformat(row[7]),
            )
    return found


class Books:
    """One company's books, open for writing on `connection`, held alone by `lock`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, company_id: str, link: Link, lock: FileLock) -> None:
        self._path = path
        self._connection = connection
        self._company_id = company_id
        self._link = link
        self._lock = lock

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query; raises ErpUnavailable, and ErpConfigurationError for a broken file."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise not_taken(self._path, error) from error

    def bind(self, now: datetime) -> None:
        """Make the file the company's own, or note that it was opened: a small write that proves it can be written.

        Raises ErpConfigurationError for another company's file, sqlite3.Error when it cannot be written.
        """
        opened_at = now.astimezone(UTC).isoformat(timespec="seconds")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
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
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def prove_writable(self, now: datetime) -> None:
        """Do the small write again; raises ErpUnavailable, and ErpConfigurationError for a broken file."""
        try:
            self.bind(now)
        except sqlite3.Error as error:
            raise not_taken(self._path, error) from error

    def write_beancount(self) -> None:
        """Write the Beancount file anew; raises ErpUnavailable, and ErpConfigurationError for a broken file."""
        path = beancount_path(self._path)
        try:
            self._connection.execute("BEGIN")
            write_beancount(self._connection, self._company_id, path)
        except sqlite3.Error as error:
            raise not_taken(self._path, error) from error
        except OSError as error:
            raise not_taken(path, error) from error
        finally:
            self._roll_back()

    def close(self) -> None:
        """Let go of the file and of its lock."""
        self._connection.close()
        self._lock.release()

    def record(self, entries: Sequence[Entry], now: datetime) -> list[Outcome]:
        """Record entries in one transaction, one outcome each in their order.

        Raises ErpUnavailable when nothing was written, ErpOutcomeUnknown when the commit itself failed,
        ErpConfigurationError when the file turns out to be broken.
        """
        recorded_at = now.astimezone(UTC).replace(microsecond=0)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            stands = find_entries(self.query, self._link, [entry.accounting_entry_id for entry in entries])
            outcomes = self._write(entries, stands, recorded_at)
        except sqlite3.Error as error:
            self._roll_back()
            raise not_taken(self._path, error) from error
        except BaseException:
            self._roll_back()
            raise
        self._commit()
        return outcomes

    def post(self, accounting_entry_ids: Sequence[str]) -> None:
        """Post the drafts among these entries in one transaction. Raises as `record`."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "UPDATE entry SET state = 'posted' WHERE accounting_entry_id = ? AND state = 'draft'",
                [(storable(id_.lower()),) for id_ in accounting_entry_ids],
            )
        except sqlite3.Error as error:
            self._roll_back()
            raise not_taken(self._path, error) from error
        self._commit()

    def _write(self, entries: Sequence[Entry], stands: dict[str, Recorded], recorded_at: datetime) -> list[Outcome]:
        outcomes: list[Outcome] = []
        number: int = self._connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()[0]
        for entry in entries:
            key = storable(entry.accounting_entry_id.lower())
            outcome: Outcome | None = stands.get(key) or check_entry(entry, self._company_id)
            if outcome is None:
                outcome = self._write_one(number + 1, entry, recorded_at)
                if isinstance(outcome, Recorded):
                    number += 1
                    stands[key] = replace(outcome, found=True)
            outcomes.append(outcome)
        return outcomes

    def _write_one(self, number: int, entry: Entry, recorded_at: datetime) -> Outcome:
        self._connection.execute("SAVEPOINT one")
        try:
            insert_entry(self._connection, number, entry, recorded_at)
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
            self._connection.execute("ROLLBACK TO one")
            self._connection.execute("RELEASE one")
            return _refusal(entry, error)
        self._connection.execute("RELEASE one")
        external_id = f"PX-{number:06d}"
        return Recorded(
            accounting_entry_id=storable(entry.accounting_entry_id.lower()),
            external_id=external_id,
            url=self._link(external_id),
            recorded_at=recorded_at,
            currency=entry.currency,
            amount_minor=entry.amount_minor,
            accounts=account_codes(storable(code) for code in entry.accounts),
            state=entry.state,
            found=False,
            posting_date=entry.posting_date,
            original_date=entry.original_date,
        )

    def _commit(self) -> None:
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


def _refusal(entry: Entry, error: Exception) -> Refused:
    prefix, _, text = str(error).partition(": ")
    kind = RefusalKind(prefix) if prefix in set(RefusalKind) else RefusalKind.OTHER
    subjects = {
        RefusalKind.CLOSED_PERIOD: entry.posting_date.isoformat(),
        RefusalKind.UNKNOWN_ACCOUNT: ", ".join(entry.accounts),
        RefusalKind.UNBALANCED: str(entry.difference_minor),
    }
    message = str(error) if kind is RefusalKind.OTHER else text
    return Refused(entry.accounting_entry_id.lower(), kind, subjects.get(kind, entry.accounting_entry_id), message)
