"""The file itself sees to it that a settlement comes to nothing: raw SQL, past our own code."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.blocks.erp.test_ledger_exchange import BALANCES, record
from tests.support.erp.ledger_samples import BILL, PAYMENT, write
from tests.support.erp.ledger_tool import a_document_at


@pytest.fixture
def database(path: Path) -> Any:
    """A bill and its payment at two rates that nobody has settled yet, as another program finds them."""
    both = (a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500))
    asyncio.run(record(path, *both, company_currency="DKK"))
    write(path, "INSERT INTO account (code, name, kind) VALUES ('7091', 'Loss', 'expense')")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def _settle(database: sqlite3.Connection, exchange: int, account: str | None, settling: int = 2) -> None:
    database.execute("BEGIN")
    try:
        database.execute("INSERT INTO settled_document VALUES (1, 1, 1), (1, 2, 1)")
        database.execute("INSERT INTO settlement VALUES (1, ?, '', ?, ?)", (settling, exchange, account))
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("exchange", "account", "complaint"),
    [
        (0, None, "a settlement comes to nothing"),
        (-499, "7091", "a settlement comes to nothing"),
        (500, "7091", "a settlement comes to nothing"),
        (-500, None, "unknown_account"),
        (-500, "9999", "unknown_account"),
        (-500, "pleo-payable", "unknown_account"),
    ],
)
def test_a_settlement_comes_to_nothing_whoever_writes_it(
    database: sqlite3.Connection, exchange: int, account: str | None, complaint: str
) -> None:
    before = list(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match=complaint):
        _settle(database, exchange, account)
    assert list(database.iterdump()) == before
    _settle(database, -500, "7091")
    assert database.execute(BALANCES.replace("GROUP", "WHERE account = 'pleo-payable' GROUP")).fetchall() == [
        ("pleo-payable", 0)
    ]


@pytest.mark.parametrize("line", ["'7091', 500, 0, 500", "'6000', 1, 0, 1", "'pleo-payable', 0, 500, 500"])
def test_nobody_but_a_settlement_books_a_difference_and_each_once(database: sqlite3.Connection, line: str) -> None:
    _settle(database, -500, "7091")
    before = list(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match="takes no more"):
        database.execute(
            "INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, company_minor, counter, text, "
            f"document_no, settlement) VALUES (2, 9, {line}, 0, '', 1, 1)"
        )
    assert list(database.iterdump()) == before


def test_a_difference_is_not_booked_into_a_closed_period(database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO period VALUES ('2026-03-01', '2026-03-31', 'closed')")
    with pytest.raises(sqlite3.IntegrityError, match="closed_period"):
        _settle(database, -500, "7091")
