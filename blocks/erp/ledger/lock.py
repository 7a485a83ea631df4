"""One run at a time on a ledger file, by a lock of the operating system that dies with its holder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from blocks.erp.errors import ErpBusy
from blocks.erp.ledger.faults import not_usable

if sys.platform == "win32":
    import msvcrt

    def _try_to_lock(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _try_to_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Holds `<file>.lock` for the run on `<file>`.

    The lock file stays when the run is over: removing it would let two runs hold two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = Path(f"{os.path.realpath(path)}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting; raises ErpBusy when another run holds it, ErpConfigurationError."""
        try:
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise not_usable(self._lock_path, error) from error
        try:
            _try_to_lock(descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ErpBusy(f"another run is at work on {self._path}; nothing to do for this one") from error
        except OSError as error:
            os.close(descriptor)
            raise not_usable(self._lock_path, error) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
