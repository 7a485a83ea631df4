"""Reads SIE 4 files as the format's description has them: written apart from the writer, and from its description only.

Tags begin with #, values stand between spaces, quoted where they have spaces in them, objects in braces, and the rows
of a voucher between braces on lines of their own. The character set is code page 437.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass
class Voucher:
    """A voucher: its series, number, day, text, and rows of account, objects and amount."""

    series: str
    number: str
    day: str
    text: str
    rows: list[tuple[str, tuple[str, ...], Decimal]] = field(default_factory=list)


@dataclass
class SieFile:
    """What a file says: its tags by name, and its vouchers."""

    tags: dict[str, list[list[str]]] = field(default_factory=dict)
    vouchers: list[Voucher] = field(default_factory=list)


def read_sie(content: bytes) -> SieFile:
    """The content of a file. Raises ValueError for what is not as the description says."""
    found = SieFile()
    voucher: Voucher | None = None
    for number, line in enumerate(content.decode("cp437").replace("\r\n", "\n").split("\n"), 1):
        values = _split(line.strip(" \t"))
        if not values:
            continue
        if values == ["{"]:
            if voucher is None:
                raise ValueError(f"line {number}: rows of no voucher")
            continue
        if values == ["}"]:
            if voucher is None or sum(row[2] for row in voucher.rows):
                raise ValueError(f"line {number}: the voucher does not balance")
            voucher = None
            continue
        tag, *rest = values
        if tag == "#VER":
            voucher = Voucher(*[*rest, ""][:4])
            found.vouchers.append(voucher)
        elif tag == "#TRANS":
            if voucher is None or not rest[1].startswith("{"):
                raise ValueError(f"line {number}: a row without a voucher or objects")
            voucher.rows.append((rest[0], tuple(_split(rest[1][1:-1])), Decimal(rest[2])))
        elif tag.startswith("#"):
            found.tags.setdefault(tag[1:], []).append(rest)
        else:
            raise ValueError(f"line {number}: no tag")
    return found


def _split(line: str) -> list[str]:
    values: list[str] = []
    at = 0
    while at < len(line):
        if line[at] in " \t":
            at += 1
        elif line[at] == '"':
            at, value = _quoted(line, at + 1)
            values.append(value)
        elif line[at] == "{" and len(line) > 1:
            end = at
            while line[end] != "}":
                end = _quoted(line, end + 1)[0] if line[end] == '"' else end + 1
            values.append(line[at : end + 1])
            at = end + 1
        else:
            end = at
            while end < len(line) and line[end] not in " \t":
                end += 1
            values.append(line[at:end])
            at = end
    return values


def _quoted(line: str, at: int) -> tuple[int, str]:
    value = ""
    while line[at] != '"':
        if line[at] == "\\":
            at += 1
        value += line[at]
        at += 1
    return at + 1, value
