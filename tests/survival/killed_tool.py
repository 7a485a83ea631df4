"""The bookkeeper's tool, killed before each of its statements: `killed_tool.py LEDGER FOLDER ARGUMENTS`.

Each time a copy of the ledger, in `FOLDER/1`, `FOLDER/2` and so on, is given to a process of its own; the last one
comes to its end.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from blocks.erp.ledger.tool import main


class _Killed(sqlite3.Connection):
    """A connection that ends its process at a statement."""

    left = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._count()
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._count()
        return super().executemany(sql, *parameters)

    @staticmethod
    def _count() -> None:
        _Killed.left -= 1
        if _Killed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _killed(ledger: Path, folder: Path, number: int, arguments: list[str]) -> bool:
    """Whether a process that is killed before its statement of that number was killed; else it did its work."""
    copy = folder / str(number)
    copy.mkdir()
    shutil.copy(ledger, copy)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _Killed.left = number
        sqlite3.connect = functools.partial(sqlite3.connect, factory=_Killed)  # type: ignore[assignment]
        os._exit(main([*arguments, "--ledger", str(copy / ledger.name)]))
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        sys.exit(f"the command ended with {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    number = 1
    while _killed(Path(sys.argv[1]), Path(sys.argv[2]), number, sys.argv[3:]):
        number += 1
