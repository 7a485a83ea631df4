"""Where receipts lie on their way from Pleo to the accounting system: for this user alone, and not a run too long."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "pleo-receipts-"
_TRIES = 10

if sys.platform == "win32":
    _LONG_S = 86_400.0

    def _hold(folder: Path) -> int | None:
        """Nothing: folders cannot be locked here."""
        return None

    def _is_left_behind(folder: Path) -> bool:
        return folder.stat().st_mtime < time.time() - _LONG_S

else:
    import fcntl

    def _hold(folder: Path) -> int | None:
        """A lock on the folder that dies with its holder; None where the file system has none. Raises OSError."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _is_left_behind(_folder: Path) -> bool:
        """Always, once it can be held."""
        return True


@contextmanager
def receipts_folder() -> Iterator[Path]:
    """A new folder in the system's temporary one, gone with all it holds when the block ends.

    What runs that were killed left there is removed first. Raises OSError when there is no room for one.
    """
    remove_what_was_left_behind()
    folder, held = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now is left behind, for the next run
        if held is not None:
            os.close(held)


def _made() -> tuple[Path, int | None]:
    """A new folder and the lock on it; another one where a run that cleans up took the first for left behind."""
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(BlockingIOError, FileNotFoundError):
            held = _hold(folder)
            if held is None or folder.is_dir():
                return folder, held
            os.close(held)
    raise FileNotFoundError(f"{_TRIES} new folders were removed at once")


def remove_what_was_left_behind() -> None:
    """Remove the folders of runs that were killed."""
    with suppress(OSError):  # there is no temporary folder, or no room in it
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):  # somebody else's, or being removed by another run
                held = _hold(folder)
                try:
                    if (held is not None or sys.platform == "win32") and _is_left_behind(folder):
                        shutil.rmtree(folder, ignore_errors=True)  # held meanwhile, or its new owner could hold it
                finally:
                    if held is not None:
                        os.close(held)
