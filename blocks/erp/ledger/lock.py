"""One run at a time on a ledger file."""

from __future__ import annotations

import os
from pathlib import Path

from blocks.erp.errors import ErpBusy
from blocks.erp.ledger.faults import not_usable
from blocks.file_lock import OsLock


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
