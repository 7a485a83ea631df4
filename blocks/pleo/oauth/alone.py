"""One renewal at a time on this machine, by a lock file in a folder that is the user's alone."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from blocks.file_lock import OsLock
from blocks.pleo.errors import PleoConfigurationError, PleoUnavailable

WAIT_S = 180.0
"""Longer than any renewal takes that comes to an end; the lock of one that was killed is free at once."""

_EVERY_S = 0.05


@asynccontextmanager
async def alone(name: str) -> AsyncIterator[None]:
    """Hold the lock of that name. Raises PleoUnavailable when another keeps it, PleoConfigurationError without one."""
    lock = OsLock(_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock")
    deadline = time.monotonic() + WAIT_S
    while not _acquired(lock):
        if time.monotonic() > deadline:
            raise PleoUnavailable("another run has been renewing the access to Pleo for minutes")
        await asyncio.sleep(_EVERY_S)
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: OsLock) -> bool:
    try:
        return lock.acquire()
    except OSError as error:
        raise PleoConfigurationError(f"no lock for renewing the access to Pleo: {error.strerror or error}") from error


def _folder() -> Path:
    """The folder of lock files: the same for every program of this user, and closed to others."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        root = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
        folder = root / "pleo-export"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PleoConfigurationError(
            f"renewing the access to Pleo needs a folder for its lock, and there is none: {why} (set XDG_STATE_HOME)"
        ) from error
    if os.name == "posix":
        if found.st_uid != os.geteuid():
            raise PleoConfigurationError(f"{folder} belongs to another user (set XDG_STATE_HOME)")
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    return folder
