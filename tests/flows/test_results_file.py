"""`--results`: the file holds what became of each item, exactly, and nothing in it is computed by a spreadsheet."""

from __future__ import annotations

import csv
import importlib.util
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from blocks.erp.currencies import MinorUnits
from blocks.text import is_formula, one_line
from flows.cli import parse
from flows.files import RESULTS, FileError, check_file, write_files, write_results
from flows.outcome import JOB_FAILED, OK, USAGE, RunReport
from flows.results_file import COLUMNS, MAX_TEXT, WRITERS, results_of_run
from tests.support.pleo.hostile_json import TEXTS
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import COMPANY_ID, JOB_ID, booked, job_of, run_of, unbooked
from tests.survival.small_disks import fill, small_disk

HUGE = 10**30 + 7
EXACT = 999_999_999_999_999  # fifteen digits
ITEMS = [
    booked(1, notice="it is dated 2026-11-01"),
    unbooked(2, amount_minor=-1250, supplier="Æblerød & Søn 株式会社"),
    booked(3, currency="JPY", amount_minor=EXACT),
    booked(4, amount_minor=HUGE),
    unbooked(5, date=date(1, 1, 1), employee=None, currency=None, amount_minor=None, pleo_url=None),
]
needs_pyarrow = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")


def run() -> RunReport:
    return run_of(job_of(ITEMS), job_of([booked(6, currency="KWD")], minor_units=MinorUnits.ISO4217))


def written(folder: Path, ending: str, report: RunReport) -> Path:
    path = folder / f"results{ending}"
    check_file(path, RESULTS)
    write_results(path, report)
    assert path.stat().st_mode & 0o077 == 0
    assert [one.name for one in folder.iterdir()] == [path.name]
    return path


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def excel_rows(path: Path) -> list[list[Any]]:
    sheet = openpyxl.load_workbook(path)["results"]
    return [list(row) for row in sheet.iter_rows(min_row=2)]


def test_the_frame_of_a_run_holds_all_jobs_in_the_documented_columns_exactly() -> None:
    frame = results_of_run(run())
    assert list(frame.columns) == COLUMNS
    assert list(frame["accounting_entry_id"]) == [entry_id(n) for n in range(1, 7)]
    first = frame.iloc[0].to_dict()
    assert first == {
        "job_id": JOB_ID,
        "company_id": COMPANY_ID,
        "accounting_entry_id": entry_id(1),
        "type": "card_purchase",
        "date": date(2026, 10, 5),
        "supplier": "DSB",
        "employee": "Ann Example",
        "amount": Decimal("89.95"),
        "currency": "DKK",
        "status": "successful",
        "external_id": "PX-000001",
        "external_url": "http://127.0.0.1:5000/books/PX-000001",
        "exported_at": datetime(2026, 11, 30, 15, 55, 36, tzinfo=UTC),
        "failure_reason_type": None,
        "failure_reason": None,
        "notice": "it is dated 2026-11-01",
        "pleo_url": "https://app.pleo.io/expenses/1",
    }
    amounts = [str(one) for one in frame["amount"]]
    assert amounts == ["89.95", "-12.50", "9999999999999.99", f"{HUGE // 100}.07", "None", "8.995"]


def test_a_csv_file_is_read_alike_by_spreadsheets_and_pandas(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv", run())
    assert path.read_bytes().startswith(b"\xef\xbb\xbfjob_id,company_id,accounting_entry_id,type,date")
    rows = csv_rows(path)
    assert list(rows[0]) == COLUMNS
    assert [row["amount"] for row in rows] == ["89.95", "-12.50", "9999999999999.99", f"{HUGE // 100}.07", "", "8.995"]
    assert (rows[0]["date"], rows[0]["exported_at"]) == ("2026-10-05", "2026-11-30T15:55:36Z")
    assert (rows[1]["status"], rows[1]["failure_reason_type"]) == ("failed", "validation_failure")
    frame = pd.read_csv(path, dtype=str)
    assert list(frame.columns) == COLUMNS
    assert frame["supplier"][1] == "Æblerød & Søn 株式会社"
    assert pd.isna(frame["employee"][4])


def test_a_workbook_holds_amounts_as_numbers_as_long_as_each_digit_is_kept_and_all_else_as_text(tmp_path: Path) -> None:
    rows = excel_rows(written(tmp_path, ".xlsx", run()))
    amount, day, moment = (COLUMNS.index(name) for name in ("amount", "date", "exported_at"))
    assert [row[amount].value for row in rows] == [89.95, -12.5, 9999999999999.99, f"{HUGE // 100}.07", None, 8.995]
    formats = [row[amount].number_format for row in rows if row[amount].data_type == "n" and row[amount].value]
    assert formats == ["#,##0.00", "#,##0.00", "#,##0.00", "#,##0.000"]
    assert rows[0][day].value == datetime(2026, 10, 5)  # noqa: DTZ001 - as openpyxl reads a date
    assert rows[4][day].value == "0001-01-01"
    assert rows[0][moment].value == "2026-11-30T15:55:36Z"
    assert {cell.data_type for row in rows for cell in row if isinstance(cell.value, str)} == {"s"}
    heading = next(openpyxl.load_workbook(tmp_path / "results.xlsx")["results"].iter_rows(max_row=1, values_only=True))
    assert list(heading) == COLUMNS


def test_a_yen_that_has_no_decimals_is_written_without(tmp_path: Path) -> None:
    report = run_of(job_of([booked(1, currency="JPY", amount_minor=120_000)], minor_units=MinorUnits.ISO4217))
    assert csv_rows(written(tmp_path, ".csv", report))[0]["amount"] == "120000"
    (tmp_path / "results.csv").unlink()
    (row,) = excel_rows(written(tmp_path, ".xlsx", report))
    assert (row[7].value, row[7].number_format) == (120000, "#,##0")


@needs_pyarrow
def test_a_parquet_file_has_the_same_types_whatever_it_holds(tmp_path: Path) -> None:
    from pyarrow import parquet

    small = run_of(job_of([booked(1), unbooked(2, amount_minor=-1250)]), job_of([unbooked(3, amount_minor=None)]))
    table = parquet.read_table(written(tmp_path, ".parquet", small))
    assert table.column_names == COLUMNS
    assert table["amount"].to_pylist() == [Decimal("89.95"), Decimal("-12.50"), None]
    assert table["exported_at"].to_pylist()[0] == datetime(2026, 11, 30, 15, 55, 36, tzinfo=UTC)
    assert table["date"].to_pylist()[0] == date(2026, 10, 5)
    (tmp_path / "results.parquet").unlink()
    assert parquet.read_table(written(tmp_path, ".parquet", RunReport())).schema == table.schema
    (tmp_path / "results.parquet").unlink()
    huge = parquet.read_table(written(tmp_path, ".parquet", run_of(job_of([booked(1, amount_minor=10**60)]))))
    assert huge["amount"].to_pylist() == ["1" + "0" * 58 + ".00"]


def hostile_run() -> RunReport:
    more = ("\ufffe\uffff=1", "#N/A", "#REF!", "=" * 40_000, "x" * 3_000_000, '=cmd|"/c calc"!A0', "+44 20 7946 0000")
    return run_of(
        job_of(
            row
            for number, text in enumerate((*TEXTS, *more), 1)
            for row in (
                unbooked(2 * number, reason=text, supplier=text, employee=text, type=text),
                booked(2 * number + 1, notice=text, supplier=text, pleo_url=text),
            )
        )
    )


def test_nothing_in_a_csv_file_is_computed_or_breaks_its_lines(tmp_path: Path) -> None:
    rows = csv_rows(written(tmp_path, ".csv", hostile_run()))
    assert len(rows) == 2 * (len(TEXTS) + 7)
    for row in rows:
        for name, text in row.items():
            assert not is_formula(text) or name == "amount", (name, text)
            assert one_line(text, MAX_TEXT) == text
    assert "'=1+1" in {row["supplier"] for row in rows}
    assert "+44 20 7946 0000" in {row["supplier"] for row in rows}


def test_nothing_in_a_workbook_is_a_formula_even_when_its_cell_is_edited(tmp_path: Path) -> None:
    path = written(tmp_path, ".xlsx", hostile_run())
    cells = [cell for row in excel_rows(path) for cell in row if isinstance(cell.value, str)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert all(cell.quotePrefix for cell in cells if is_formula(cell.value))
    assert "=1+1" in {cell.value for cell in cells}
    with zipfile.ZipFile(path) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml")
        assert b"<f>" not in sheet
        assert b"hyperlink" not in sheet


# -- where a file cannot be written -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("results", "results: the file's name has to end in .csv or .xlsx or .parquet"),
        ("results.html", "the file's name has to end in"),
        ("no/such/results.csv", "No such file or directory"),
        ("a.file/results.csv", "Not a directory"),
        ("folder.csv", "it is a folder"),
        ("/proc/results.csv", "/proc/results.csv: "),
        ("x" * 300 + ".csv", "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "a.file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FileError, match=r"\A[^\n]+\Z") as caught:
        check_file(tmp_path / name, RESULTS)
    assert said in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--results", "results.txt"],
            "--results: results.txt: the file's name has to end in .csv or .xlsx or .parquet",
        ),
        (["--results", "no/such/results.csv"], "--results: no/such/results.csv: No such file or directory"),
        (["--report", "report.csv"], "--report: report.csv: the file's name has to end in .html or .htm"),
        (["--report", "/proc/report.html"], "--report: /proc/report.html: "),
        (["--ledger", "books.csv", "--results", "books.csv"], "--results would take the place of a file"),
    ],
)
def test_on_the_command_line_that_is_wrong_usage(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        parse(arguments, None)
    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.code, list(tmp_path.iterdir())) == (USAGE, [])
    assert said in line


def test_the_command_line_takes_both_files(tmp_path: Path) -> None:
    options = parse(["--results", str(tmp_path / "r.XLSX"), "--report", str(tmp_path / "r.html")], None)
    assert (options.results, options.report) == (tmp_path / "r.XLSX", tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_parquet_without_pyarrow_is_one_line_that_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="needs pyarrow: python -m pip install pyarrow"):
        check_file(tmp_path / "results.parquet", RESULTS)


def test_a_new_file_takes_the_place_of_the_old_one_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("old.csv")
    check_file(tmp_path / "link.csv", RESULTS)
    assert (tmp_path / "old.csv").read_text() == "old"
    write_results(tmp_path / "link.csv", run())
    assert (tmp_path / "link.csv").is_symlink()
    assert len(csv_rows(tmp_path / "old.csv")) == 6


@pytest.mark.parametrize("ending", [".csv", ".xlsx", pytest.param(".parquet", marks=needs_pyarrow)])
def test_a_disk_that_is_full_at_the_end_is_one_line_and_status_1_and_the_old_file_stands(
    tmp_path: Path, ending: str
) -> None:
    report = run_of(job_of(booked(n, notice=f"{n}" * 300) for n in range(3000)))
    status = report.exit_status
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        path = disk / f"results{ending}"
        path.write_text("old")
        fill(disk, but=8192)
        write_files(report, path, None)
        assert path.read_text() == "old"
        assert sorted(one.name for one in disk.iterdir()) == ["filler", path.name]
    assert report.lines == [
        f"{path} could not be written: No space left on device; what was done stands in Pleo and in the books"
    ]
    assert (status, report.exit_status) == (3, JOB_FAILED)


def test_what_nobody_foresaw_in_writing_is_one_line_and_status_1_with_the_cause_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("what")

    monkeypatch.setitem(WRITERS, ".csv", broken)
    report = run()
    write_files(report, tmp_path / "results.csv", None)
    (line,) = report.lines
    assert "could not be written: something unforeseen (KeyError), the log has the cause; what was done stands" in line
    assert report.exit_status == JOB_FAILED
    assert list(tmp_path.iterdir()) == []
    assert "KeyError: 'what'" in caplog.text


def test_a_run_without_jobs_writes_the_heading_alone(tmp_path: Path) -> None:
    report = RunReport()
    write_files(report, tmp_path / "results.csv", None)
    write_files(report, tmp_path / "results.xlsx", None)
    assert csv_rows(tmp_path / "results.csv") == []
    assert excel_rows(tmp_path / "results.xlsx") == []
    assert (report.lines, report.exit_status) == ([], OK)
