"""The file of books that is open for writing: whose it is, by what terms it is kept, and one transaction at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from blocks.erp.entries import Attachment, NotAttached
from blocks.erp.errors import ErpConfigurationError, ErpOutcomeUnknown
from blocks.erp.ledger.beancount import write_beancount
from blocks.erp.ledger.chart_store import Terms, agreed_terms, reference_of, store_charts
from blocks.erp.ledger.connection import FileLock, beancount_path, refuse_foreign_company
from blocks.erp.ledger.faults import Unreadable, explain, not_taken, primary_code
from blocks.erp.ledger.handover import batches
from blocks.erp.ledger.handover.batches import Plan
from blocks.erp.ledger.handover.files import put_out
from blocks.erp.ledger.handover.settings import HandoverFormat
from blocks.erp.ledger.receipts import Receipts
from blocks.erp.ledger.records import Link
from blocks.erp.ledger.settlement import name_exchange_accounts
from blocks.erp.reference import Reference


class BooksFile:
    """One company's file, open for writing on `connection`, held alone by `lock`."""

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
            store_charts(self._connection, terms.charts, in_seconds(now))
            name_exchange_accounts(self._connection, *terms.exchange_accounts, in_seconds(now))
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

    def keep_plan(self, plan: Plan, folder: Path) -> None:
        """Keep by what batches are made, for the bookkeeper's tool. Raises ErpUnavailable."""
        with self._transaction():
            batches.keep_plan(self._connection, plan, folder)

    def kept_plan(self) -> tuple[Plan, Path] | None:
        """By what the last run made batches, and where it put them; None where no run did."""
        return batches.kept_plan(
            self._connection, self._company_id, self._terms.minor_units, self._terms.company_currency
        )

    def hand_over(
        self, plan: Plan, formats: Sequence[HandoverFormat], folder: Path, now: datetime, since: date = date.min
    ) -> tuple[str, ...]:
        """Make the next batches of these formats of all that is posted on or after `since`, and put their files out.

        Returns a line for people about each. A format that cannot be written is such a line too, and no batch. Raises
        ErpUnavailable when the books or the folder take nothing; what was made until then is put out the next time.
        """
        said = []
        for batch in batches.batches(self._connection, only_open=True):
            try:
                said.append(self._put_out(batch, plan, folder, now))
            except ErpConfigurationError as error:
                said.append(f"batch {batch.number} for {batch.format} cannot be put out: {error}")
        for wanted in formats:
            try:
                for period in batches.open_periods(self._connection, wanted, plan, since):
                    with self._transaction():
                        made = batches.make_batch(self._connection, wanted, plan, period, since, in_seconds(now))
                    said.append(self._put_out(made, plan, folder, now))
            except ErpConfigurationError as error:
                said.append(f"no batch for {wanted} was made or put out: {error}")
        return tuple(said)

    def put_out_again(self, plan: Plan, wanted: HandoverFormat, number: int, folder: Path, now: datetime) -> str:
        """Put the files of a batch out once more, the same ones. Raises ErpConfigurationError, ErpUnavailable."""
        batch = batches.find_batch(self._connection, wanted, number)
        if batch is None:
            raise ErpConfigurationError(f"there is no batch {number} for {wanted}")
        return self._put_out(batch, plan, folder, now)

    def _put_out(self, batch: batches.Batch, plan: Plan, folder: Path, now: datetime) -> str:
        try:
            file = put_out(self._connection, batch, folder, self._receipts.folder, plan.settings.datev)
        except Unreadable as error:
            raise not_taken(self._path, error) from error
        except OSError as error:
            raise not_taken(folder, error) from error
        if not batch.issued:
            with self._transaction():
                batches.note_issued(self._connection, batch, in_seconds(now))
        return f"batch {batch.number} for {batch.format}: {batch.entries} entries in {file}"

    def close(self) -> None:
        """Let go of the file and of its lock."""
        self._connection.close()
        self._lock.release()

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
    def _wholly(self) -> Iterator[None]:
        """What the block writes, or nothing of it: a statement undoes itself alone, an entry is many."""
        self._connection.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO one")
                self._connection.execute("RELEASE one")
            self._opened = set()  # what it opened is not there any more
            raise
        self._connection.execute("RELEASE one")

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


def in_seconds(now: datetime) -> datetime:
    """The time as the books hold it: whole seconds of UTC."""
    return now.astimezone(UTC).replace(microsecond=0)
