"""Rows that belong to entries, read along with the entries."""

from __future__ import annotations

import sqlite3
from itertools import groupby
from operator import itemgetter
from typing import Any


class Alongside:
    """What belongs to entries, read along with them in their order: never more in memory than of one entry."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._groups = groupby(cursor, itemgetter(0))
        self._next: tuple[int | None, list[Any]] = (None, [])
        self._advance()

    def of(self, number: int) -> list[Any]:
        """The rows of that entry, without its number; of entries that are asked for in the order of the file."""
        at, rows = self._next
        if at != number:
            return []
        self._advance()
        return rows

    def _advance(self) -> None:
        number, rows = next(self._groups, (None, iter(())))
        self._next = number, [row[1:] for row in rows]
