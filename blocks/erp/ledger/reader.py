"""Looking into a ledger file without changing anything on disk, not even its side files.

SQLite opens a file that a write-ahead log belongs to in three ways here:

- side files there: read-only, sharing them with the run that made them (at work, or killed);
- a log without the shared index, or an interrupted rollback journal: from a copy, where SQLite can mend it;
- none: as a file that nobody changes, so that no side files appear. Should a run begin meanwhile, which shows in the
  files, what was read is read again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from blocks.erp.ledger.beancount import refuse_foreign_beancount
from blocks.erp.ledger.chart_store import Terms, agreed_terms, reference_of
from blocks.erp.ledger.connection import (
    beancount_path,
    holds_a_ledger,
    refuse_foreign_company,
    refuse_newer,
    refuse_read_only,
)
from blocks.erp.ledger.faults import Unreadable, not_usable
from blocks.erp.ledger.schema import migrate, newest_version, version_of
from blocks.erp.reference import Reference

Row = tuple[Any, ...]
_SIDE_FILES = ("-wal", "-shm", "-journal")


class Reader:
    """A ledger file that is only read; a missing one reads as empty.

    All methods raise ErpConfigurationError when the file is no ledger or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = Path(os.path.realpath(path))
        self._connection: sqlite3.Connection | None = None
        self._copy: TemporaryDirectory[str] | None = None
        self._shared = False
        self._stamp: object = None
        self._open()

    def query(self, sql: str, parameters: Row = ()) -> list[Row]:
        """The rows of one query, none from an empty ledger."""
        while True:
            if not self._is_current():
                self.close()
                self._open()
            try:
                rows = [] if self._connection is None else self._connection.execute(sql, parameters).fetchall()
            except Unreadable as error:
                if self._is_current():
                    raise not_usable(self._path, error) from error
                continue
            if self._is_current():
                return rows

    def close(self) -> None:
        """Let go of the file."""
        self._shared = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def _open(self) -> None:
        self._stamp = self._look()
        if not holds_a_ledger(self._path):
            return
        try:
            connection = self._connection = self._connect()
            version = version_of(connection)
            refuse_newer(self._path, version)
            if 0 < version < newest_version():
                self.close()
                connection = self._connection = self._connect_copy()
                migrate(connection)
            elif version == 0:
                self.close()  # begun, and never finished
        except (*Unreadable, OSError) as error:
            self.close()
            raise not_usable(self._path, error) from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        wal, shm, journal = (_size(Path(f"{self._real}{suffix}")) for suffix in _SIDE_FILES)
        if wal is not None and shm is not None:
            self._shared = True
            return _connect(f"{self._real.as_uri()}?mode=ro")
        if wal or journal:
            return self._connect_copy()
        return _connect(f"{self._real.as_uri()}?immutable=1")

    def _connect_copy(self) -> sqlite3.Connection:
        self._copy = TemporaryDirectory(prefix="ledger-")
        copy = Path(self._copy.name, "books.sqlite")
        for suffix in ("", "-wal", "-journal"):
            source = Path(f"{self._real}{suffix}")
            if source.exists():
                shutil.copyfile(source, f"{copy}{suffix}")
        return _connect(copy.as_uri())

    def _is_current(self) -> bool:
        # What is shared with a run at work SQLite itself keeps consistent.
        return self._shared or self._stamp == self._look()

    def _look(self) -> object:
        sizes = [_size(Path(f"{self._real}{suffix}")) for suffix in _SIDE_FILES]
        try:
            status = self._real.stat()
        except OSError:
            return sizes
        return status.st_ino, status.st_size, status.st_mtime_ns, sizes


def company_of(path: Path) -> str | None:
    """The company that a ledger file belongs to, or None when there is no such file or nothing in it yet.

    Changes nothing on disk. Raises ErpConfigurationError when the file is no ledger.
    """
    reader = Reader(path)
    try:
        rows = reader.query("SELECT company_id FROM company")
        return str(rows[0][0]) if rows else None
    finally:
        reader.close()


def refuse_unsuitable(path: Path, company_id: str) -> None:
    """Raise ErpConfigurationError for a file that cannot hold this company's books, before anything is touched."""
    refuse_foreign_company(path, company_of(path), company_id)
    try:
        refuse_read_only(path)
        refuse_foreign_beancount(beancount_path(path), company_id)
    except OSError as error:
        raise not_usable(beancount_path(path), error) from error


def open_reader(path: Path, company_id: str, terms: Terms) -> tuple[Reader, Reference]:
    """Look into a company's ledger file, which may be missing, and at what entries may name under these terms.

    Raises ErpConfigurationError as `open_books` would.
    """
    refuse_unsuitable(path, company_id)
    reader = Reader(path)
    try:
        return reader, reference_of(agreed_terms(path, reader.query, terms))
    except BaseException:
        reader.close()
        raise


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
