"""Secrets that can be recognised wherever they turn up, and a search through every byte of what a run leaves."""

from __future__ import annotations

import base64
import html
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus


@dataclass(frozen=True)
class Canary:
    """A secret: what kind it is, and its value."""

    kind: str
    value: str

    def forms(self) -> dict[str, bytes]:
        """The value as it may be quoted: each form by its name."""
        raw = self.value.encode()
        forms = {
            "plain": self.value,
            "repr": repr(self.value)[1:-1],
            "json": json.dumps(self.value)[1:-1],
            "json with \\/": json.dumps(self.value)[1:-1].replace("/", "\\/"),
            "html": html.escape(self.value),
            "address": quote(self.value, safe=""),
            "form": quote_plus(self.value),
            "reversed": self.value[::-1],
            "hex": raw.hex(),
        }
        for before in range(3):
            whole = base64.b64encode(b"x" * before + raw).decode()
            forms[f"base64 after {before}"] = whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        return {name: form.encode() for name, form in forms.items()}


class Search:
    """Looks for canaries; `looked_at` counts the bytes, so that nobody mistakes an empty search for a clean one."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._forms = [(one.kind, name, form) for one in canaries for name, form in one.forms().items()]
        self.looked_at = 0

    def bytes(self, where: str, content: bytes) -> list[str]:
        """What is found in these bytes: `kind as form in where`."""
        self.looked_at += len(content)
        lower = content.lower()
        return sorted(
            {
                f"{kind} as {name} in {where}"
                for kind, name, form in self._forms
                if form in content or form.lower() in lower
            }
        )

    def folder(self, folder: Path) -> list[str]:
        """What is found in the names and contents of all files; those of SQLite are read row by row, too."""
        found: list[str] = []
        for path in sorted(folder.rglob("*")):
            where = str(path.relative_to(folder))
            found += self.bytes(f"the name {where}", where.encode())
            if not path.is_file():
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # a side file that was there a moment ago
            found += self.bytes(where, content)
            if content.startswith(b"SQLite format 3\0"):
                found += self.bytes(f"the rows of {where}", b"\n".join(_rows(path)))
        return found


def _rows(path: Path) -> Iterator[bytes]:
    """All rows of all tables as text: in the file itself long ones lie in pieces."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield "\t".join(str(value) for value in row).encode("utf-8", "replace")
