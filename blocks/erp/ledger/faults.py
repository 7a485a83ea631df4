"""What went wrong with a file, in one line for the user: which file, what is the matter, what to do."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError, ErpUnavailable

Unreadable = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises, and Python where SQLite's own message quotes bytes of a damaged file."""

Fault = sqlite3.Error | UnicodeDecodeError | OSError

_FULL = "cannot be written: the disk is full; free some space and run again", ConfigurationProblem.UNREACHABLE
_READ_ONLY = (
    "cannot be written: the file or its folder is read-only; make both writable or give another --ledger file",
    ConfigurationProblem.PERMISSION,
)
_LOCKED = (
    "is locked by another program; close that program and run again",
    ConfigurationProblem.UNREACHABLE,
)
_NO_HANDLES = (
    "cannot be opened: too many files are open; close other programs or raise the limit (ulimit -n), and run again",
    ConfigurationProblem.UNREACHABLE,
)
_NO_MEMORY = "cannot be used: there is no memory left; run again when there is", ConfigurationProblem.UNREACHABLE
_BROKEN_DISK = (
    "cannot be read or written: the disk reports an error; check the disk, and run again",
    ConfigurationProblem.UNREACHABLE,
)
_NO_SIDE_ROOM = (
    "needs room for temporary files, and where they go (TMPDIR) the disk is full; free some space there and run again",
    ConfigurationProblem.UNREACHABLE,
)
_NOT_SQLITE = "is not a SQLite file; give another --ledger file", ConfigurationProblem.INVALID
_DAMAGED = (
    "is damaged; restore it from a backup or give another --ledger file",
    ConfigurationProblem.INVALID,
)

_BY_SQLITE_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_NOTADB: _NOT_SQLITE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOMEM: _NO_MEMORY,
    sqlite3.SQLITE_IOERR: _BROKEN_DISK,
}
_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EMFILE: _NO_HANDLES,
    errno.ENFILE: _NO_HANDLES,
    errno.ENOMEM: _NO_MEMORY,
    errno.EIO: _BROKEN_DISK,
}
_FILES_OF_ONE = 5
_NEARLY_FULL_BYTES = 65536


def primary_code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """SQLite's primary result code of an error; 0 for one that Python's module made itself."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_damage(error: Fault) -> bool:
    """Whether the file itself is broken, which no waiting mends."""
    return isinstance(error, Unreadable) and primary_code(error) in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
    }


def not_usable(path: Path, error: Fault) -> ErpConfigurationError:
    """The error for a file that cannot be used as it is."""
    text, problem = explain(path, error)
    return ErpConfigurationError(f"{path} {text}", problem)


def not_taken(path: Path, error: Fault) -> ErpConfigurationError | ErpUnavailable:
    """The error for a call that the file did not take, in the midst of work."""
    return not_usable(path, error) if is_damage(error) else ErpUnavailable(f"{path} {explain(path, error)[0]}")


def damaged(path: Path) -> ErpConfigurationError:
    """The error for books whose structure is broken."""
    return ErpConfigurationError(f"{path} {_DAMAGED[0]}", _DAMAGED[1])


def not_sqlite(path: Path) -> ErpConfigurationError:
    """The error for a file of another format."""
    return ErpConfigurationError(f"{path} {_NOT_SQLITE[0]}", _NOT_SQLITE[1])


def explain(path: Path, error: Fault) -> tuple[str, ConfigurationProblem]:
    if isinstance(error, OSError):
        known = _BY_ERRNO.get(error.errno or 0)
        return known or (f"cannot be used: {error.strerror or error}", ConfigurationProblem.INVALID)
    code = primary_code(error)
    if code == sqlite3.SQLITE_CANTOPEN and _no_handle_is_left():
        return _NO_HANDLES
    if code == sqlite3.SQLITE_FULL and not _disk_is_full(path):
        return _NO_SIDE_ROOM
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and _disk_is_full(path):
        return _FULL  # SQLite says "I/O error" when there is no room for its own side files
    return _BY_SQLITE_CODE.get(code) or (f"cannot be used: {error}", ConfigurationProblem.UNREACHABLE)


def is_the_machines(error: OSError) -> bool:
    """Whether an error has nothing to do with the one file that it met: the next would meet it, too."""
    return (error.errno or 0) in _BY_ERRNO


def _no_handle_is_left() -> bool:
    """Whether this process could not open as many files as SQLite does for one of its own."""
    opened: list[int] = []
    try:
        for _ in range(_FILES_OF_ONE):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in {errno.EMFILE, errno.ENFILE}
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


def _disk_is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _NEARLY_FULL_BYTES
    except OSError:
        return False  # then the folder itself is the trouble, and the first error says so
