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
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _is_left_behind(folder: Path) -> bool:
        held = _hold(folder)
        if held is not None:
            os.close(held)
        return held is not None


@contextmanager
def receipts_folder() -> Iterator[Path]:
    """A new folder in the system's temporary one, gone with all it holds when the block ends.

    What runs that were killed left there is removed first. Raises OSError when there is no room for one.
    """
    remove_what_was_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    held = _hold(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now is left behind, for the next run
        if held is not None:
            os.close(held)


def remove_what_was_left_behind() -> None:
    """Remove the folders of runs that were killed."""
    with suppress(OSError):  # there is no temporary folder, or no room in it
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):  # somebody else's, or being removed by another run
                if _is_left_behind(folder):
                    shutil.rmtree(folder, ignore_errors=True)
