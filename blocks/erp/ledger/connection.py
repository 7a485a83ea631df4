"""The ledger's file: what may be opened and what is refused, the lock of the one run on it, and the connection."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blocks.erp.errors import ConfigurationProblem, ErpBusy, ErpConfigurationError
from blocks.erp.ledger.faults import damaged, not_sqlite, not_usable
from blocks.erp.ledger.schema import APPLICATION_ID, migrate, newest_version, version_of
from blocks.file_lock import OsLock

Query = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
"""Runs one query, and returns its rows."""

BUSY_TIMEOUT_S = 4.0
"""How long another program's lock is waited for."""

_WITHOUT_ENTRY = """
    SELECT 1 FROM line WHERE entry_id > (SELECT coalesce(max(id), 0) FROM entry)
    UNION ALL SELECT 1 FROM document WHERE entry_id > (SELECT coalesce(max(id), 0) FROM entry)
    UNION ALL SELECT 1 FROM entry WHERE changing IS NOT NULL
    UNION ALL SELECT 1 FROM settled_document WHERE settlement > (SELECT coalesce(max(number), 0) FROM settlement)
    LIMIT 1
"""

_ENDING = ".sqlite"
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_APPLICATION_ID_AT = 68
_OLDEST_SQLITE = (3, 37, 0)


def beancount_path(path: Path) -> Path:
    """The Beancount file that belongs to a ledger file: of its whole name, but for the ending .sqlite."""
    return path.with_name(f"{_own_name(path)}.beancount")


def receipts_folder(path: Path) -> Path:
    """The folder of the attachments that belong to a ledger file, wherever links to it lie.

    A ledger of another ending than .sqlite had it without that ending once, and keeps what is there.
    """
    real = Path(os.path.realpath(path))
    folder, before = real.with_name(f"{_own_name(real)}-receipts"), real.with_name(f"{real.stem}-receipts")
    has_one = before.is_dir() and real.exists() and not (folder.exists() or real.with_suffix(_ENDING).exists())
    return before if has_one else folder


def _own_name(path: Path) -> str:
    """What no other ledger's file in the folder has: behind a dot may stand a year (acme.2025)."""
    return path.name.removesuffix(_ENDING) or path.name


def sync_folder(folder: Path) -> None:
    """Make sure that a folder's names last a loss of power. Raises OSError."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds_a_ledger(path: Path) -> bool:
    """Whether a ledger stands at `path`; False when there is nothing yet, a file of no bytes, or the zeros of a first
    write that a loss of power broke off.

    Reads the first bytes only. Raises ErpConfigurationError for anything that is neither.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ErpConfigurationError(f"the ledger needs SQLite 3.37, this Python has {sqlite3.sqlite_version}")
    if path.suffix == ".beancount":
        raise ErpConfigurationError(
            f"{path} is the name of the Beancount file beside the books; end --ledger in .sqlite"
        )
    try:
        if path.is_dir():
            raise ErpConfigurationError(f"{path} is a folder; give a file name with --ledger")
        if path.exists() and not path.is_file():  # to open a pipe would wait for whoever writes into it
            raise ErpConfigurationError(f"{path} is a device or a pipe; give a file name with --ledger")
        if not path.parent.is_dir():
            raise ErpConfigurationError(
                f"the folder of {path} does not exist; make it or give another --ledger file",
                ConfigurationProblem.MISSING,
            )
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if not any(header) and (not header or _will_be_undone(path)):
            return False
    except FileNotFoundError:
        return False
    except OSError as error:
        raise not_usable(path, error) from error
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise not_sqlite(path)
    if struct.unpack_from(">I", header, _APPLICATION_ID_AT)[0] != APPLICATION_ID:
        raise ErpConfigurationError(f"{path} is a SQLite file of another program; give another --ledger file")
    return True


def refuse_newer(path: Path, version: int) -> None:
    """Raise ErpConfigurationError for a schema version that this program does not know."""
    if not 0 <= version <= newest_version():
        raise ErpConfigurationError(
            f"{path} has schema version {version}, this program knows up to {newest_version()}; "
            "install a newer version of it or give another --ledger file"
        )


def refuse_foreign_company(path: Path, owner: str | None, company_id: str) -> None:
    """Raise ErpConfigurationError when the file belongs to another company than the one asked for."""
    if owner is not None and owner != company_id:
        raise ErpConfigurationError(
            f"{path} holds the books of company {owner}, not of {company_id}; "
            "one file holds one company: give another --ledger file"
        )


def refuse_read_only(path: Path) -> None:
    """Raise ErpConfigurationError when the file or its folder cannot be written."""
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            raise not_usable(path, PermissionError(13, "Permission denied"))


class FileLock:
    """Holds `<file>.lock` for the run on `<file>`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = Path(f"{os.path.realpath(path)}.lock")
        self._lock = OsLock(self._lock_path)

    def acquire(self) -> None:
        """Take the lock without waiting; raises ErpBusy when another run holds it, ErpConfigurationError."""
        try:
            free = self._lock.acquire()
        except OSError as error:
            raise not_usable(self._lock_path, error) from error
        if not free:
            raise ErpBusy(f"another run is at work on {self._path}; nothing to do for this one")

    def release(self) -> None:
        """Give the lock back, if it is held."""
        self._lock.release()


def connect(path: Path) -> sqlite3.Connection:
    """A connection that may write, and makes the file where there is none. Raises sqlite3.Error."""
    # isolation_level None: transactions begin and end where it says so, and Python's module adds none of its own. The
    # real path: SQLite names its log and its journal after the path that it is given, and two runs must share them.
    return sqlite3.connect(os.path.realpath(path), isolation_level=None, timeout=BUSY_TIMEOUT_S)


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Make an open file ready to be written: pragmas, the newest schema, a look for damage.

    Raises ErpConfigurationError, sqlite3.Error.
    """
    connection.execute("PRAGMA foreign_keys = ON")  # a matter of each connection, and off by default
    connection.execute("PRAGMA synchronous = FULL")  # else a commit in a log may be lost with the power
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
            f"{path} holds lines or documents without an entry, or half an entry, which another program wrote; "
            "restore it from a backup"
        )


def remove(path: Path) -> None:
    """Remove a file that was begun and has come to nothing, with its side files."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{os.path.realpath(path)}{suffix}").unlink(missing_ok=True)


def _will_be_undone(path: Path) -> bool:
    """Whether SQLite finds a journal beside the file, by which it takes back what was begun."""
    journal = Path(f"{os.path.realpath(path)}-journal")
    return journal.exists() and journal.stat().st_size > 0
