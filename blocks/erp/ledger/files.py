"""The ledger's files: what may be opened and what is refused, told without SQLite."""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.ledger.faults import not_sqlite, not_usable
from blocks.erp.ledger.schema import APPLICATION_ID, newest_version

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_APPLICATION_ID_AT = 68
_OLDEST_SQLITE = (3, 37, 0)


def beancount_path(path: Path) -> Path:
    """The Beancount file that belongs to a ledger file."""
    return path.with_suffix(".beancount")


def receipts_folder(path: Path) -> Path:
    """The folder of the attachments that belong to a ledger file, wherever links to it lie."""
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.stem}-receipts")


def sync_folder(folder: Path) -> None:
    """Make sure that a folder's names last a loss of power. Raises OSError."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def look_at(path: Path) -> bool:
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


def _will_be_undone(path: Path) -> bool:
    """Whether SQLite finds a journal beside the file, by which it takes back what was begun."""
    journal = Path(f"{os.path.realpath(path)}-journal")
    return journal.exists() and journal.stat().st_size > 0


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
