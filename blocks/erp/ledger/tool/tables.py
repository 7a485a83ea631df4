"""Tables, and the three forms in which the tool shows them: text for people, CSV and JSON for programs.

Every text of the books may be hostile: it is one line without control characters wherever it is shown, and in CSV no
spreadsheet computes it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from blocks.text import no_formula, one_line

MAX_TEXT = 2000
_SHOWN = 60
_NARROWEST = 8
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units, and the decimal number that it is written as."""

    minor: int
    number: str


Cell = str | int | Money | dict[str, Any] | None
"""A text, a count, an amount, what only JSON shows, or nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under their columns. `name` is the table's key in JSON, `title` what stands above it for people;
    `sums` are rows below it for people, which programs get as `sums` in JSON and not at all in CSV. A column whose name
    begins with an underscore is for JSON alone, without it."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    sums: Sequence[Sequence[Cell]] | None = None


def as_json(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """One JSON document: a list of objects a table, amounts as decimal numbers in text, and the notes."""
    document: dict[str, object] = {}
    for table in tables:
        document[table.name] = [_object(table, row) for row in table.rows]
        if table.sums is not None:
            document[f"{table.name}_sums"] = [_object(table, row) for row in table.sums]
    return json.dumps({**document, "notes": list(notes)}, ensure_ascii=False, indent=1) + "\n"


def as_csv(table: Table) -> bytes:
    """UTF-8 with a byte order mark, without which Excel reads another encoding. Amounts are numbers, with a point."""
    text = io.StringIO(newline="")
    shown = _shown_columns(table)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([table.columns[n] for n in shown])
    writer.writerows([[_in_csv(row[n]) for n in shown] for row in table.rows])
    return text.getvalue().encode("utf-8-sig", errors="replace")


def as_text(tables: Sequence[Table], notes: Sequence[str], width: int | None) -> str:
    """Aligned columns, no line longer than `width` where one is given; longer texts are cut."""
    parts = ["\n".join(_text_lines(table, width)) for table in tables]
    parts += [f"note: {one_line(note, MAX_TEXT)}" for note in notes]
    return "".join(f"{part}\n" for part in parts)


def _object(table: Table, row: Sequence[Cell]) -> dict[str, object]:
    return {
        name.removeprefix("_"): cell.number if isinstance(cell, Money) else _clean(cell)
        for name, cell in zip(table.columns, row, strict=True)
    }


def _clean(cell: object) -> object:
    match cell:
        case str():
            return one_line(cell, MAX_TEXT)
        case dict():
            return {one_line(str(name), MAX_TEXT): _clean(value) for name, value in cell.items()}
        case list():
            return [_clean(value) for value in cell]
        case _:
            return cell


def _in_csv(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Money():
            return cell.number
        case str():
            return no_formula(one_line(cell, MAX_TEXT), MAX_TEXT)
        case _:
            return str(cell)


def _shown_columns(table: Table) -> list[int]:
    return [n for n, name in enumerate(table.columns) if not name.startswith("_")]


def _text_lines(table: Table, width: int | None) -> Iterator[str]:
    shown = _shown_columns(table)
    yield table.title
    if not table.rows:
        yield "  none"
        return
    heading = [table.columns[n].replace("_", " ") for n in shown]
    rows = [[_in_text(row[n]) for n in shown] for row in table.rows]
    sums = [[_in_text(row[n]) for n in shown] for row in table.sums or ()]
    to_the_right = [any(isinstance(row[n], (int, Money)) for row in table.rows) for n in shown]
    widths = [max(map(cell_len, column)) for column in zip(heading, *rows, *sums, strict=True)]
    _narrow(widths, to_the_right, width)
    for n, line in enumerate((heading, *rows, *sums)):
        if n in (1, len(rows) + 1):
            yield _GAP + _GAP.join("-" * size for size in widths)
        cells = zip(line, widths, to_the_right, strict=True)
        yield (_GAP + _GAP.join(_sized(text, size, right) for text, size, right in cells)).rstrip()


def _in_text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Money():
            return cell.number
        case _:
            return one_line(str(cell), _SHOWN)


def _narrow(widths: list[int], to_the_right: Sequence[bool], width: int | None) -> None:
    """Take from the widest texts until a line fits; amounts are never cut."""
    texts = [n for n, right in enumerate(to_the_right) if not right]
    while width is not None and texts and sum(widths) + len(_GAP) * len(widths) > width:
        widest = max(texts, key=lambda n: widths[n])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _sized(text: str, size: int, right: bool) -> str:
    if cell_len(text) > size:
        return set_cell_size(text, size - 1) + "…"
    space = " " * (size - cell_len(text))
    return space + text if right else text + space
