"""Opening the embedded ledger: who may, and what each unsuitable file gets."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from blocks.erp.entries import Recorded
from blocks.erp.errors import ConfigurationProblem, ErpBusy, ErpConfigurationError
from blocks.erp.ledger import Ledger, company_of, connection, schema
from tests.support.erp.ledger_samples import (
    COMPANY,
    NOW,
    OTHER_COMPANY,
    an_entry,
    entries,
    folder_content,
    names,
    opened,
    put,
    rows,
    write,
)

HOLD = """
import asyncio, sys
from pathlib import Path
from blocks.erp.ledger import Ledger

async def hold():
    await Ledger(Path(sys.argv[1])).open(sys.argv[2])
    print("open", flush=True)
    await asyncio.sleep(600)

asyncio.run(hold())
"""


def fill(path: Path, count: int = 3) -> None:
    async def record() -> None:
        async with opened(path) as ledger:
            await ledger.record(entries(count))

    asyncio.run(record())


def refusal(path: Path, company_id: str = COMPANY, *, dry_run: bool = False) -> ErpConfigurationError:
    """What opening the file for the company gets, which must be one clear line and leave the ledger reusable."""

    async def attempt() -> ErpConfigurationError:
        ledger = Ledger(path)
        with pytest.raises(ErpConfigurationError) as caught:
            await ledger.open(company_id, dry_run=dry_run)
        with pytest.raises(RuntimeError, match="not open"):
            await ledger.validate()
        return caught.value

    error = asyncio.run(attempt())
    assert "\n" not in str(error)
    assert str(path) in str(error)
    return error


async def test_a_new_file_is_made_for_the_company_and_tidied_up_when_closed(path: Path) -> None:
    ledger = Ledger(path, clock=lambda: NOW)
    assert ledger.company() is None
    await ledger.open(COMPANY.upper(), dry_run=False)
    await ledger.validate()
    await ledger.close()

    assert names(path.parent) == ["books.sqlite", "books.sqlite.lock"]
    assert ledger.company() == company_of(path) == COMPANY
    assert rows(path, "SELECT company_id, last_opened_at FROM company") == [(COMPANY, "2026-11-03T10:20:30+00:00")]
    assert rows(path, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_file_of_no_bytes_becomes_a_ledger(path: Path) -> None:
    path.touch()
    assert company_of(path) is None
    fill(path)
    assert company_of(path) == COMPANY


def test_a_file_whose_making_was_interrupted_is_finished(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    assert company_of(path) is None
    fill(path)
    assert company_of(path) == COMPANY


def test_another_company_is_refused_by_name_and_told_what_to_do(path: Path) -> None:
    fill(path)
    before = folder_content(path.parent)
    for dry_run in (False, True):
        message = str(refusal(path, OTHER_COMPANY, dry_run=dry_run))
        assert COMPANY in message
        assert OTHER_COMPANY in message
        assert "another --ledger file" in message
    assert folder_content(path.parent) == before


def _text(path: Path) -> None:
    path.write_text("date;amount\n" * 50)


def _few_bytes(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def _foreign_database(path: Path) -> None:
    write(path, "CREATE TABLE invoices (id)")


def _foreign_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1196444487")
        connection.execute("CREATE TABLE gpkg (id)")


def _folder(path: Path) -> None:
    path.mkdir()


def _newer(path: Path) -> None:
    fill(path)
    (path.parent / "books.sqlite.lock").unlink()
    write(path, "PRAGMA user_version = 99")


def _unknown_version(path: Path) -> None:
    fill(path)
    (path.parent / "books.sqlite.lock").unlink()
    write(path, "PRAGMA user_version = -1")


def _foreign_beancount(path: Path) -> None:
    path.with_suffix(".beancount").write_text('option "title" "My own books"\n')


def _beancount_of_other_books(path: Path) -> None:
    others = path.with_name("others.sqlite")

    async def record() -> None:
        async with opened(others, OTHER_COMPANY) as ledger:
            await ledger.finish_job()

    asyncio.run(record())
    others.with_suffix(".beancount").rename(path.with_suffix(".beancount"))


def _beancount_folder(path: Path) -> None:
    path.with_suffix(".beancount").mkdir()
    (path.with_suffix(".beancount") / "x").touch()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (_text, "is not a SQLite file; give another --ledger file"),
        (_few_bytes, "is not a SQLite file; give another --ledger file"),
        (_foreign_database, "is a SQLite file of another program; give another --ledger file"),
        (_foreign_application, "is a SQLite file of another program; give another --ledger file"),
        (_folder, "is a folder; give a file name with --ledger"),
        (_newer, "has schema version 99, this program knows up to 3; install a newer version"),
        (_unknown_version, "has schema version -1"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(
    path: Path, make: Callable[[Path], None], complaint: str, dry_run: bool
) -> None:
    make(path)
    before = {one: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}
    assert complaint in str(refusal(path, dry_run=dry_run))
    with pytest.raises(ErpConfigurationError, match=complaint[:15]):
        company_of(path)
    assert {one: one.read_bytes() for one in path.parent.iterdir() if one.is_file()} == before


@pytest.mark.parametrize("make", [_foreign_beancount, _beancount_of_other_books, _beancount_folder])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_beancount_file_of_somebody_else_is_not_overwritten(
    path: Path, make: Callable[[Path], None], dry_run: bool
) -> None:
    make(path)

    async def attempt() -> str:
        with pytest.raises(ErpConfigurationError) as caught:
            await Ledger(path).open(COMPANY, dry_run=dry_run)
        return str(caught.value)

    assert "books.beancount would be overwritten" in asyncio.run(attempt())
    assert not path.exists()


def test_the_ledger_cannot_have_the_beancount_files_own_name(tmp_path: Path) -> None:
    assert "end --ledger in .sqlite" in str(refusal(tmp_path / "books.beancount"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    for dry_run in (False, True):
        error = refusal(tmp_path / "nowhere" / "books.sqlite", dry_run=dry_run)
        assert "does not exist; make it" in str(error)
        assert error.problem is ConfigurationProblem.MISSING
    assert list(tmp_path.iterdir()) == []


def test_a_name_too_long_and_a_file_in_place_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "too long" in str(refusal(tmp_path / ("x" * 300)))
    assert "does not exist" in str(refusal(tmp_path / "file" / "books.sqlite"))


def _cut_in_half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _zeros_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(4096) + content[middle + 4096 :]


def _noise_on_the_first_page(content: bytes) -> bytes:
    return content[:100] + b"\xff" * 3996 + content[4096:]


def _noise_at_the_end(content: bytes) -> bytes:
    return content[:-4096] + b"\xa5" * 4096


@pytest.mark.parametrize("spoil", [_cut_in_half, _zeros_in_the_middle, _noise_on_the_first_page, _noise_at_the_end])
def test_a_damaged_file_is_refused_before_any_work(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    fill(path, 200)
    path.write_bytes(spoil(path.read_bytes()))
    before = path.read_bytes()
    assert "is damaged; restore it from a backup" in str(refusal(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text) "
        "VALUES (4, 1, '6000', 5, 0, 0, '')",
        "INSERT INTO document (entry_id, document_no, kind, journal, payable_account, owed_minor, invoice_number, "
        "stays_open) VALUES (4, 1, 'bill', 'bills', '6000', 5, '', 0)",
    ],
)
def test_what_a_careless_program_left_without_an_entry_is_noticed(path: Path, statement: str) -> None:
    fill(path)
    write(path, statement)
    assert "holds lines or documents without an entry" in str(refusal(path))


def test_a_file_without_its_tables_is_refused(path: Path) -> None:
    fill(path)
    write(path, "DROP TABLE company")
    assert "cannot be used: no such table: company" in str(refusal(path))


def test_a_file_that_another_program_holds_is_refused_as_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    fill(path)
    for setup in ("BEGIN IMMEDIATE", "PRAGMA locking_mode = EXCLUSIVE"):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(setup)
            other.execute("UPDATE period SET state = 'open'")
            error = refusal(path)
        assert "is locked by another program; close that program and run again" in str(error)
        assert error.problem is ConfigurationProblem.UNREACHABLE
    fill(path)


async def test_a_second_run_finds_the_first_at_work(path: Path, tmp_path: Path) -> None:
    nickname = tmp_path / "link.sqlite"
    async with opened(path):
        for name in (path, nickname):
            nickname.unlink(missing_ok=True)
            nickname.symlink_to(path)
            with pytest.raises(ErpBusy, match=f"another run is at work on {name}"):
                await Ledger(name).open(COMPANY)
    async with opened(nickname) as ledger:
        await ledger.validate()


def test_a_run_in_another_process_holds_the_books_until_it_is_killed(path: Path) -> None:
    root = Path(__file__).parents[3]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), COMPANY],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(ErpBusy):
            fill(path)
        holder.send_signal(signal.SIGKILL)
    fill(path)
    assert rows(path, "SELECT count(*) FROM entry") == [(3,)]


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path)
    before = rows(path, "SELECT sql FROM sqlite_schema")
    broken = (*schema.MIGRATIONS, ("CREATE TABLE approver (id INTEGER)", "ALTER TABLE nothing ADD COLUMN x"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", broken)
        assert "cannot be used" in str(refusal(path))
    assert rows(path, "PRAGMA user_version") == [(3,)]
    assert rows(path, "SELECT sql FROM sqlite_schema") == before
    fill(path, 4)


def test_a_making_that_fails_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (("CREATE TABLE one (id INTEGER)", "CREATE TABLE one (id INTEGER)"),))
    assert "cannot be used" in str(refusal(path))
    assert names(path.parent) == ["books.sqlite.lock"]


async def test_a_ledger_can_be_opened_again_after_a_refusal(path: Path) -> None:
    ledger = Ledger(path, clock=lambda: NOW)
    _text(path)
    with pytest.raises(ErpConfigurationError):
        await ledger.open(COMPANY)
    put({path: b""})
    await ledger.open(COMPANY)
    (recorded,) = await ledger.record([an_entry(1)])
    await ledger.close()
    assert isinstance(recorded, Recorded)


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="permissions do not bind root")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_or_folder_without_write_permission_is_refused(path: Path, what: str) -> None:
    fill(path)
    place, mode = (path, 0o400) if what == "file" else (path.parent, 0o500)
    place.chmod(mode)
    try:
        assert refusal(path).problem is ConfigurationProblem.PERMISSION
        assert refusal(path, dry_run=True).problem is ConfigurationProblem.PERMISSION
    finally:
        place.chmod(0o700)
