"""The command line, killed round the n-th commit of its ledger: `killed_command.py before|answered N ARGUMENTS`.

BEFORE its COMMIT is sent to SQLite, or once the commit is ANSWERED.
"""

from __future__ import annotations

import functools
import os
import signal
import sqlite3
import sys
from typing import Any

from flows.export import main


class _Killed(sqlite3.Connection):
    """A connection that ends its process at a commit."""

    moment = ""
    left = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if not sql.lstrip().upper().startswith("COMMIT"):
            return super().execute(sql, *parameters)
        _Killed.left -= 1
        if _Killed.left == 0 and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = super().execute(sql, *parameters)
        if _Killed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    _Killed.moment, _Killed.left = sys.argv[1], int(sys.argv[2])
    sqlite3.connect = functools.partial(sqlite3.connect, factory=_Killed)  # type: ignore[assignment]
    sys.exit(main(sys.argv[3:]))
