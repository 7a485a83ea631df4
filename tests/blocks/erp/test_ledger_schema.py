"""The schema keeps the books in order whoever writes to the file: raw SQL against it, past our own code.

Every rule is tried by a program that switches foreign keys on and by one that, as is SQLite's default, does not.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import EntryState
from tests.support.erp.ledger_samples import COMPANY, OTHER_COMPANY, an_entry, entry_id, opened, rows

MAX = 10**18 - 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of two entries, the first a draft and the second posted."""
    path = tmp_path / "books.sqlite"

    async def fill() -> None:
        async with opened(path) as ledger:
            await ledger.record([an_entry(1), an_entry(2, state=EntryState.POSTED)])

    asyncio.run(fill())
    return path


@pytest.fixture(params=["ON", "OFF"])
def database(request: pytest.FixtureRequest, path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA foreign_keys = {request.param}")
        yield connection


ENTRY = {
    "id": 3,
    "accounting_entry_id": entry_id(3),
    "company_id": COMPANY,
    "job_id": "job",
    "item_type": "fee",
    "posting_date": "2026-03-04",
    "original_date": "2026-03-04",
    "currency": "DKK",
    "amount_minor": 100,
    "description": "",
    "reference": "",
    "state": "draft",
    "recorded_at": "2026-03-04T00:00:00+00:00",
}
Lines = list[tuple[str, Any, Any, int]]
EMPTY_LINE = "account, 0, 0, 0, '', NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL"
BALANCED: Lines = [("6000", 100, 0, 0), ("pleo-wallet-DKK", 0, 100, 1)]


def put(database: sqlite3.Connection, table: str, row: dict[str, Any], verb: str = "INSERT") -> None:
    marks = ", ".join("?" * len(row))
    database.execute(f"{verb} INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def insert(database: sqlite3.Connection, lines: Lines = BALANCED, verb: str = "INSERT", **changes: Any) -> None:
    entry = {**ENTRY, **changes}
    database.execute("BEGIN")
    try:
        for line_no, line in enumerate(lines, 1):
            insert_line(database, entry["id"], line_no, *line)
        put(database, "entry", entry, verb)
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def insert_line(
    database: sqlite3.Connection, entry_id: int, line_no: int, account: str, debit: Any, credit: Any, counter: int
) -> None:
    database.execute(
        "INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text) "
        "VALUES (?, ?, ?, ?, ?, ?, '')",
        (entry_id, line_no, account, debit, credit, counter),
    )


def test_an_entry_in_order_is_taken_from_any_program(database: sqlite3.Connection) -> None:
    insert(database)
    assert database.execute("SELECT external_id FROM entry WHERE id = 3").fetchall() == [("PX-000003",)]


@pytest.mark.parametrize(
    ("lines", "changes", "complaint"),
    [
        ([("6000", 100, 0, 0), ("pleo-wallet-DKK", 0, 99, 1)], {}, "unbalanced: debits and credits differ"),
        ([("6000", 100, 0, 0)], {}, "unbalanced"),
        ([], {}, "unbalanced: the entry has no lines"),
        ([("6000", 50, 0, 0), ("pleo-wallet-DKK", 0, 50, 1)], {}, "the counter lines do not add up"),
        ([("6000", 100, 0, 0), ("pleo-wallet-DKK", 0, 100, 0)], {}, "the counter lines do not add up"),
        ([("6666", 100, 0, 0), ("pleo-wallet-DKK", 0, 100, 1)], {}, "unknown_account"),
        ([("6000", 100, 0, 0), ("pleo-wallet-DKK", 50, 150, 1)], {}, "CHECK"),
        ([("6000", -100, 0, 0), ("pleo-wallet-DKK", 0, -100, 1)], {}, "CHECK"),
        ([("6000", 99.5, 0, 0), ("pleo-wallet-DKK", 0, 99.5, 1)], {}, "cannot store REAL value in INTEGER"),
        ([("6000", "x", 0, 0), ("pleo-wallet-DKK", 0, "x", 1)], {}, "cannot store TEXT value in INTEGER"),
        ([("6000", MAX + 1, 0, 0), ("pleo-wallet-DKK", 0, MAX + 1, 1)], {"amount_minor": MAX + 1}, "CHECK"),
        ([("6000", MAX, 0, 0)] * 10 + [("6000", 0, MAX, 1)] * 10, {}, "integer overflow"),
        (BALANCED, {"amount_minor": MAX + 1}, "the counter lines do not add up"),
        (BALANCED, {"amount_minor": -(2**63)}, "integer overflow"),
        (BALANCED, {"accounting_entry_id": entry_id(2)}, "stands already"),
        (BALANCED, {"accounting_entry_id": "ABC"}, "CHECK"),
        (BALANCED, {"accounting_entry_id": ""}, "CHECK"),
        (BALANCED, {"id": 4}, "lines are written for the next entry only"),
        ([], {"id": 9}, "numbered without a gap"),
        ([], {"id": None}, "numbered without a gap"),
        (BALANCED, {"company_id": OTHER_COMPANY}, "belongs to another company"),
        (BALANCED, {"posting_date": "2026-02-30"}, "CHECK"),
        (BALANCED, {"posting_date": "0000-01-01"}, "CHECK"),
        (BALANCED, {"posting_date": "12026-01-01"}, "CHECK"),
        (BALANCED, {"posting_date": "now"}, "CHECK"),
        (BALANCED, {"original_date": "2026-13-01"}, "CHECK"),
        (BALANCED, {"currency": "dkk"}, "CHECK"),
        (BALANCED, {"state": "cancelled"}, "CHECK"),
        (BALANCED, {"supplier_currency": "EUR"}, "CHECK"),
    ],
)
def test_an_entry_out_of_order_is_refused_by_the_file(
    database: sqlite3.Connection, lines: Lines, changes: dict[str, Any], complaint: str
) -> None:
    before = list(database.iterdump())
    with pytest.raises(sqlite3.Error, match=complaint):
        insert(database, lines, **changes)
    assert list(database.iterdump()) == before


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE"])
def test_an_entry_cannot_be_replaced_by_another(database: sqlite3.Connection, verb: str) -> None:
    before = list(database.iterdump())
    for changes in ({"accounting_entry_id": entry_id(2)}, {"id": 2}):
        with pytest.raises(sqlite3.IntegrityError):
            insert(database, [] if "id" in changes else BALANCED, verb, **changes)
    assert list(database.iterdump()) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET description = 'x' WHERE id = 1",
        "UPDATE entry SET amount_minor = 0 WHERE id = 1",
        "UPDATE entry SET id = 9 WHERE id = 1",
        "UPDATE entry SET rowid = 9 WHERE id = 1",
        "UPDATE entry SET state = 'posted', posting_date = '2026-01-01' WHERE id = 1",
        "UPDATE entry SET state = 'draft' WHERE id = 1",
        "UPDATE entry SET state = 'draft' WHERE id = 2",
        "UPDATE entry SET state = 'posted' WHERE id = 2",
        "UPDATE OR REPLACE entry SET accounting_entry_id = (SELECT accounting_entry_id FROM entry WHERE id = 1)",
        "DELETE FROM entry WHERE id = 1",
        "DELETE FROM entry",
        "UPDATE line SET debit_minor = 5 WHERE entry_id = 1",
        "UPDATE line SET entry_id = 3",
        "UPDATE line SET text = 'x'",
        "DELETE FROM line",
        "DELETE FROM line WHERE entry_id = 2",
        f"INSERT INTO line SELECT 1, 9, {EMPTY_LINE} FROM line LIMIT 1",
        f"INSERT OR REPLACE INTO line SELECT 1, 1, {EMPTY_LINE} FROM line",
        "INSERT INTO line_dimension VALUES (1, 1, 'project', 'P-1')",
        "DELETE FROM account WHERE code = '6000'",
        "UPDATE account SET code = '6001' WHERE code = '6000'",
        "UPDATE account SET kind = 'other' WHERE code = '6000'",
        "INSERT INTO account (code, name, kind) VALUES (' ', '', 'asset')",
        "INSERT INTO company (company_id, last_opened_at) VALUES ('another', '')",
        "UPDATE company SET company_id = 'another'",
        "DELETE FROM company",
        "INSERT INTO period VALUES ('2026-02-01', '2026-01-31', 'closed')",
        "INSERT INTO period VALUES ('2026-01-01', '2026-01-31', 'shut')",
    ],
)
def test_what_stands_cannot_be_changed_or_deleted(database: sqlite3.Connection, statement: str) -> None:
    before = list(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)
    assert list(database.iterdump()) == before


def test_a_draft_becomes_posted_and_nothing_else_changes(database: sqlite3.Connection) -> None:
    before = database.execute("SELECT * FROM entry").fetchall()
    database.execute("UPDATE entry SET state = 'posted' WHERE id = 1")
    after = database.execute("SELECT * FROM entry").fetchall()
    assert [tuple("posted" if value == "draft" else value for value in row) for row in before] == after


def test_a_closed_period_takes_no_entry_and_posts_none(database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO period VALUES ('2026-03-01', '2026-03-31', 'closed')")
    for day in ("2026-03-01", "2026-03-15", "2026-03-31"):
        with pytest.raises(sqlite3.IntegrityError, match="closed_period"):
            insert(database, posting_date=day)
    with pytest.raises(sqlite3.IntegrityError, match="closed_period"):
        database.execute("UPDATE entry SET state = 'posted' WHERE id = 1")
    for number, day in enumerate(("2026-02-28", "2026-04-01"), 3):
        insert(database, id=number, accounting_entry_id=entry_id(number), posting_date=day)
    database.execute("UPDATE period SET state = 'open'")
    insert(database, id=5, accounting_entry_id=entry_id(5), posting_date="2026-03-15")


def test_lines_without_their_entry_cannot_be_committed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN")
        insert_line(database, 3, 1, "6000", 5, 0, 0)
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            database.execute("COMMIT")
    assert rows(path, "SELECT max(entry_id) FROM line") == [(2,)]


def test_the_dates_index_gives_the_order_of_the_beancount_file_without_sorting(path: Path) -> None:
    plan = rows(
        path,
        "EXPLAIN QUERY PLAN SELECT * FROM entry AS e CROSS JOIN line AS l ON l.entry_id = e.id "
        "ORDER BY e.posting_date, e.id, l.line_no",
    )
    assert not any("TEMP B-TREE" in row[3] for row in plan)
