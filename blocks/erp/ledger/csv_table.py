"""Small tables in CSV files as spreadsheets write them; every mistake is one line with the file and the line's number.

UTF-8, with or without a byte order mark; a header line; commas or semicolons between the values; quotation marks where
a value has one of these in it. A value stays on its line. Columns come in any order, by the names of the header. Lines
without any value are left out, and so is the first line `sep=;` that Excel goes by.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocks.erp.errors import ErpConfigurationError
from blocks.text import one_line

MAX_BYTES = 20_000_000
MAX_CODE = 60
MAX_TEXT = 255

_SHOWN = 60
_TOLD_SEPARATOR = re.compile(r'"?sep=([,;])"?[ ,;]*', re.IGNORECASE)
_WHOLE_FRACTION = re.compile(r"\d+\.0+", re.ASCII)
_FRACTION = re.compile(r"\d+\.\d*[1-9]\d*", re.ASCII)
_SCIENTIFIC = re.compile(r"\d(\.\d+)?E\+\d+", re.ASCII)
_BOOLEANS = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a file must have, and those that it may have."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: its number, counted from 1 and the header, and its values by column."""

    path: Path
    line: int
    values: Mapping[str, str]

    def wrong(self, message: str) -> ErpConfigurationError:
        """The complaint about this line."""
        return _wrong(self.path, self.line, message)

    def text(self, column: str, limit: int = MAX_TEXT) -> str:
        """The value as one line of at most `limit` characters, empty where there is none."""
        value = self.values.get(column, "")
        if not value.isprintable() and any(map(_is_control, value)):
            raise self.wrong(f"{column} has a control character in it: type {shown(value)} anew")
        clean = one_line(value, len(value))
        if len(clean) > limit:
            raise self.wrong(f"{column} is longer than {limit} characters: {shown(clean)}")
        return clean

    def code(self, column: str) -> str:
        """The value as a code, which must be there and have at most 60 characters."""
        value = self.text(column, MAX_CODE)
        if not value:
            raise self.wrong(f"{column} is empty")
        return value

    def boolean(self, column: str) -> bool:
        """The value as yes or no; nothing is no."""
        value = self.text(column)
        if value.lower() not in _BOOLEANS:
            raise self.wrong(f"{column} is {shown(value)}, but should be yes or no")
        return _BOOLEANS[value.lower()]


def codes_as_written(rows: Iterable[Row], *columns: str) -> Iterator[Row]:
    """The rows as they are; complains of a column whose codes a spreadsheet has made numbers of: 5820.0, 5.82E+03.

    Codes with dots are none of these: where one has another fraction than 0, a chart numbers its accounts so.
    """
    all_rows = list(rows)
    for column in columns:
        values = [(row, row.values.get(column, "").strip()) for row in all_rows]
        dotted = any(_FRACTION.fullmatch(value) for _, value in values)
        for row, value in values:
            if _SCIENTIFIC.fullmatch(value) or (not dotted and _WHOLE_FRACTION.fullmatch(value)):
                message = "a spreadsheet has made a number of it: give the column the format Text, and type it anew"
                raise row.wrong(f"{column} is {shown(value)}: {message}")
    yield from all_rows


class Unique:
    """The values that a column, or several together, had so far, and the lines where they stood."""

    def __init__(self, what: str) -> None:
        """`what` the value is called in complaints."""
        self._what = what
        self._lines: dict[tuple[str, ...], int] = {}

    def take(self, row: Row, *values: str) -> None:
        """Remember these values of a row; complains when an earlier line has them too."""
        before = self._lines.setdefault(values, row.line)
        if before != row.line:
            raise row.wrong(f"{self._what} {shown(' '.join(values))} stands on line {before} already")


def read_table(path: Path, columns: Columns) -> Iterator[Row]:
    """The rows of a file, in their order. Raises ErpConfigurationError."""
    lines = _lines(path)
    known = ", ".join(columns.required + tuple(f"{name} (may be left out)" for name in columns.optional))
    told = _TOLD_SEPARATOR.fullmatch(lines[0])
    header = next(((n, line) for n, line in enumerate(lines, 1) if line.strip(" ,;\t") and not (told and n == 1)), None)
    if header is None:
        raise ErpConfigurationError(f"{name_of(path)}: it is empty, but should begin with a line that names {known}")
    number, line = header
    delimiter = told[1] if told else ";" if ";" in line else ","
    names = [name.strip().lower() for name in _split(path, number, line, delimiter)]
    _check_header(path, number, names, columns, known)
    for n, line in enumerate(lines[number:], number + 1):
        if not line.strip(" ,;\t"):
            continue
        values = _split(path, n, line, delimiter)
        if len(values) != len(names):
            raise _wrong(path, n, f"the header names {len(names)} columns, but this line has {len(values)}")
        yield Row(path, n, dict(zip(names, (value.strip(" ") for value in values), strict=True)))


def shown(value: str) -> str:
    """A value in quotation marks, short and on one line, for a complaint."""
    return f'"{one_line(value, _SHOWN)}"'


def name_of(path: Path) -> str:
    """A file's name for a complaint."""
    return one_line(str(path), 300)


def _lines(path: Path) -> Sequence[str]:
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        message = "it is not written in UTF-8: save it as CSV UTF-8, or choose the encoding UTF-8"
        raise _wrong(path, number, message) from None
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ErpConfigurationError(f"{name_of(path)}: it is not a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ErpConfigurationError(f"{name_of(path)}: {error.strerror or 'it cannot be read'}") from None
    except ValueError:  # a null byte
        raise ErpConfigurationError(f"{name_of(path)}: this cannot be the name of a file") from None
    if len(content) > MAX_BYTES:
        raise ErpConfigurationError(f"{name_of(path)}: it is larger than {MAX_BYTES // 1_000_000} MB")
    return content


def _split(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "field larger" in str(error):
            raise _wrong(path, number, f"a value is longer than {MAX_TEXT} characters") from None
        message = 'the quotation marks do not match: a value in them ends on its line, and has "" for one inside it'
        raise _wrong(path, number, message) from None


def _check_header(path: Path, number: int, names: Sequence[str], columns: Columns, known: str) -> None:
    for n, name in enumerate(names, 1):
        if not name:
            raise _wrong(path, number, f"column {n} has no name; known are {known}")
        if name not in columns.required + columns.optional:
            raise _wrong(path, number, f"there is no column {shown(name)}; known are {known}")
        if name in names[: n - 1]:
            raise _wrong(path, number, f"column {name} is named twice")
    missing = [name for name in columns.required if name not in names]
    if missing:
        raise _wrong(path, number, f"column {', '.join(missing)} is missing; known are {known}")


def _is_control(character: str) -> bool:
    """Whether this is a control character: what has no place in one line, and is no space of some script."""
    return not one_line(character, 1) and unicodedata.category(character) != "Zs"


def _wrong(path: Path, number: int, message: str) -> ErpConfigurationError:
    return ErpConfigurationError(f"{name_of(path)}, line {number}: {message}")
