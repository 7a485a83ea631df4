"""The results DataFrame of a whole run, and the three kinds of file it is written to."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from blocks.text import is_formula, no_formula, one_line
from flows.outcome import JobReport, RunReport

COLUMNS = [
    "job_id", "company_id", "accounting_entry_id", "type", "date", "supplier", "employee", "amount", "currency",
    "status", "external_id", "external_url", "exported_at", "failure_reason_type", "failure_reason", "notice",
    "pleo_url",
]  # fmt: skip

MAX_TEXT = 2000  # characters, of the 32,767 that a cell of Excel holds
_EXCEL_ROWS = 1_048_576
_EXCEL_DIGITS = 15  # of a number; those that follow become zeros
_EXCEL_FIRST_DAY = date(1900, 3, 1)  # before it Excel counts a day that there never was
_NO_CHARACTER = re.compile("[\ufffe\uffff]")  # XML does not take them
_PARQUET_AMOUNT = (38, 4)  # digits in all, and after the point: more than any currency has


def results_of_run(report: RunReport) -> pd.DataFrame:
    """One row an item of all jobs of the run, with `COLUMNS` of dtype object.

    `amount` is the signed header amount as Pleo states it, a Decimal with as many digits after the point as the
    currency has; `date` is a date, `exported_at` a datetime with its zone; all else is text. None where there is none.
    """
    return pd.DataFrame([row for job in report.jobs for row in _rows(job)], columns=COLUMNS, dtype=object)


def _rows(job: JobReport) -> Iterator[list[object]]:
    rows: Iterator[Any] = job.results.frame.itertuples(index=False)
    for row in rows:
        minor, currency = row.amount_minor, row.currency
        amount = None if minor is None else Decimal(job.minor_units.number(minor, currency))
        yield [
            _text(job.job_id), _text(job.company_id), _text(row.accounting_entry_id), _text(row.type), row.date,
            _text(row.supplier), _text(row.employee), amount, _text(currency), _text(row.status),
            _text(row.external_id), _text(row.external_url), row.exported_at, _text(row.failure_reason_type),
            _text(row.failure_reason), _text(row.notice), _text(row.pleo_url),
        ]  # fmt: skip


def _text(text: Any) -> str | None:
    """One line without control characters; the value of an enum's member."""
    return None if text is None else one_line(_NO_CHARACTER.sub(" ", str(text)), MAX_TEXT)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """UTF-8 with a byte order mark: without it Excel reads another encoding, and pandas skips it by itself.

    What a spreadsheet would compute gets an apostrophe, as one types it there. Amounts are numbers, with a point.
    """
    frame.map(_in_csv).to_csv(path, index=False, encoding="utf-8-sig", lineterminator="\r\n")


def _in_csv(value: object) -> str | None:
    match value:
        case None:
            return None
        case datetime():
            return _moment(value)
        case str():
            return no_formula(value, MAX_TEXT)
        case _:
            return str(value)


def write_excel(frame: pd.DataFrame, path: Path) -> None:
    """One sheet. Amounts are numbers as long as Excel keeps each digit, dates are dates, all else is text."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    if len(frame) >= _EXCEL_ROWS:
        raise OSError(f"a sheet of Excel has {_EXCEL_ROWS} rows, the results have {len(frame)}: choose .csv")

    book = Workbook(write_only=True)  # which keeps no row in memory
    sheet = book.create_sheet("results")
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = f"A1:{chr(ord('A') + len(COLUMNS) - 1)}{len(frame) + 1}"
    for number, name in enumerate(COLUMNS):
        sheet.column_dimensions[chr(ord("A") + number)].width = _WIDTHS.get(name, 24)

    def cell(value: object) -> Any:
        match value:
            case datetime():
                value = _moment(value)
            case date() if value < _EXCEL_FIRST_DAY:
                value = value.isoformat()
            case date():
                made = WriteOnlyCell(sheet, value)
                made.number_format = "yyyy-mm-dd"
                return made
            case Decimal() if len(value.as_tuple().digits) <= _EXCEL_DIGITS:
                made = WriteOnlyCell(sheet, value)
                made.number_format = "#,##0" + ("." + "0" * -int(value.as_tuple().exponent)).rstrip(".")
                return made
            case Decimal():
                value = str(value)
        if not isinstance(value, str) or (not value.startswith(("=", "#")) and not is_formula(value)):
            return value
        made = WriteOnlyCell(sheet, value)
        made.data_type = "s"  # or openpyxl makes a formula, or one of Excel's errors, of what only looks like it
        made.quotePrefix = True  # or Excel does, when somebody edits the cell
        return made

    heading = [WriteOnlyCell(sheet, name) for name in COLUMNS]
    for one in heading:
        one.font = Font(bold=True)
    sheet.append(heading)
    for row in frame.itertuples(index=False):
        sheet.append([cell(value) for value in row])
    made_of_it = io.BytesIO()
    book.save(made_of_it)  # openpyxl leaves a file of its own open where the disk is full
    path.write_bytes(made_of_it.getbuffer())


_WIDTHS = {"date": 12, "amount": 16, "currency": 10, "status": 12, "failure_reason": 80, "notice": 60}


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """The same columns and types in each file, whatever it holds: amounts as decimals, moments in UTC."""
    import pyarrow as pa
    from pyarrow import parquet

    digits, after_the_point = _PARQUET_AMOUNT
    fit = all(one is None or abs(one) < 10 ** (digits - after_the_point) for one in frame["amount"])
    types = {
        "date": pa.date32(),
        "amount": pa.decimal128(digits, after_the_point) if fit else pa.string(),
        "exported_at": pa.timestamp("us", tz="UTC"),
    }
    values = {name: list(frame[name]) for name in COLUMNS}
    if not fit:
        values["amount"] = [None if one is None else str(one) for one in values["amount"]]
    columns = {name: pa.array(values[name], types.get(name, pa.string())) for name in COLUMNS}
    parquet.write_table(pa.table(columns), path)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": write_csv,
    ".xlsx": write_excel,
    ".parquet": write_parquet,
}
"""How the frame is written, by the ending of the file's name."""
