"""Opening the books: everything that can be wrong with a ledger file is found out here, before any work begins."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.beancount_file import refuse_foreign_beancount
from blocks.erp.ledger.books import Books
from blocks.erp.ledger.chart_store import Terms, agreed
from blocks.erp.ledger.faults import Unreadable, damaged, not_usable
from blocks.erp.ledger.files import (
    beancount_path,
    look_at,
    receipts_folder,
    refuse_foreign_company,
    refuse_newer,
    refuse_read_only,
)
from blocks.erp.ledger.finding import Link
from blocks.erp.ledger.lock import FileLock
from blocks.erp.ledger.reader import Reader, company_of
from blocks.erp.ledger.receipts import Receipts
from blocks.erp.ledger.reference_data import reference_of
from blocks.erp.ledger.schema import APPLICATION_ID, migrate, version_of
from blocks.erp.reference import Reference

BUSY_TIMEOUT_S = 4.0
"""How long another program's lock is waited for."""


_WITHOUT_ENTRY = """
    SELECT 1 FROM line WHERE entry_id > (SELECT coalesce(max(id), 0) FROM entry)
    UNION ALL SELECT 1 FROM document WHERE entry_id > (SELECT coalesce(max(id), 0) FROM entry)
    LIMIT 1
"""


def open_reader(path: Path, company_id: str, terms: Terms) -> tuple[Reader, Reference]:
    """Look into a company's ledger file, which may be missing, and at what entries may name under these terms.

    Raises ErpConfigurationError as `open_books` would.
    """
    _refuse_unsuitable(path, company_id)
    reader = Reader(path)
    try:
        return reader, reference_of(agreed(path, reader.query, terms))
    except BaseException:
        reader.close()
        raise


def open_books(
    path: Path, company_id: str, now: datetime, link: Link, terms: Terms, max_attachment_bytes: int
) -> Books:
    """Open or create a company's ledger file for writing, alone, and lay down its charts.

    Raises ErpConfigurationError, ErpBusy.
    """
    _refuse_unsuitable(path, company_id)
    lock = FileLock(path)
    lock.acquire()
    fresh = False
    connection = None
    try:
        fresh = not look_at(path) and not path.exists()
        connection = sqlite3.connect(os.path.realpath(path), isolation_level=None, timeout=BUSY_TIMEOUT_S)
        _prepare(path, connection)
        receipts = Receipts(receipts_folder(path), max_attachment_bytes)
        books = Books(path, connection, company_id, link, lock, receipts)
        books.bind(now, terms)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if fresh:
            _remove(path)
        lock.release()
        if isinstance(error, Unreadable):
            raise not_usable(path, error) from error
        raise
    return books


def _refuse_unsuitable(path: Path, company_id: str) -> None:
    refuse_foreign_company(path, company_of(path), company_id)
    try:
        refuse_read_only(path)
        refuse_foreign_beancount(beancount_path(path), company_id)
    except OSError as error:
        raise not_usable(beancount_path(path), error) from error


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")  # a page of entries needs little, and another disk may be full
    refuse_newer(path, version_of(connection))
    # Into the file itself before there is a log, so that its first bytes always tell whose it is.
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise ErpConfigurationError(
            f"{path} lies where SQLite can keep no write-ahead log; use a --ledger file on a local disk"
        )
    migrate(connection)
    _refuse_damaged(path, connection)


def _refuse_damaged(path: Path, connection: sqlite3.Connection) -> None:
    # SQLite's quick check looks at no index, and a damaged one would let an expense in twice.
    if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        raise damaged(path)
    if connection.execute(_WITHOUT_ENTRY).fetchone():
        raise ErpConfigurationError(
            f"{path} holds lines or documents without an entry, which another program wrote; restore it from a backup"
        )


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{os.path.realpath(path)}{suffix}").unlink(missing_ok=True)
