"""The schema keeps documents, settlements and attachments in order whoever writes: raw SQL, past our own code.

Every rule is tried by a program that switches foreign keys on and by one that, as is SQLite's default, does not.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import EntryState
from tests.blocks.erp.test_ledger_schema import ENTRY as EXPENSE
from tests.blocks.erp.test_ledger_schema import database as database
from tests.blocks.erp.test_ledger_schema import put
from tests.support.erp.ledger_samples import BILL, PAYMENT, a_bill, an_attachment, entry_id, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A bill as a draft with a receipt, one that is posted, and a bill that is settled with its payment."""
    path = tmp_path / "books.sqlite"
    posted = EntryState.POSTED

    async def fill() -> None:
        async with opened(path) as ledger:
            await ledger.record(
                [
                    a_bill(1, attachments=(an_attachment(tmp_path),)),
                    a_bill(2, state=posted),
                    a_bill(3, BILL, PAYMENT, state=posted),
                ]
            )

    asyncio.run(fill())
    return path


ENTRY = {
    **EXPENSE,
    "id": 4,
    "accounting_entry_id": entry_id(4),
    "item_type": "invoice",
    "amount_minor": 1250,
    "state": "posted",
}
DOCUMENT = {
    "entry_id": 4,
    "document_no": 1,
    "kind": "bill",
    "journal": "bills",
    "vendor": "V-1",
    "payable_account": "pleo-payable",
    "owed_minor": 1250,
    "invoice_number": "2026-17",
    "stays_open": 0,
}
TAKEN = [("6000", 1250, 0, 0, 1), ("pleo-payable", 0, 1250, 1, 1)]
PAID = [("pleo-payable", 1250, 0, 0, 2), ("pleo-wallet-DKK", 0, 1250, 1, 2)]
AGAIN = {"document_no": 2, "kind": "payment", "owed_minor": -1250}


def insert(
    database: sqlite3.Connection,
    *documents: dict[str, Any],
    lines: list[tuple[Any, ...]] = TAKEN,
    **changes: Any,
) -> None:
    database.execute("BEGIN")
    entry = {**ENTRY, **changes}
    try:
        for document in documents:
            put(database, "document", {**DOCUMENT, **document})
        for line_no, (account, debit, credit, counter, document_no, *company) in enumerate(lines, 1):
            line = {
                "entry_id": {**ENTRY, **changes}["id"],
                "line_no": line_no,
                "account": account,
                "debit_minor": debit,
                "text": "",
            }
            put(
                database,
                "line",
                {
                    **line,
                    "credit_minor": credit,
                    "counter": counter,
                    "document_no": document_no,
                    "company_minor": company[0] if company else None,
                },
            )
        put(database, "entry", entry)
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def settle(
    database: sqlite3.Connection, *documents: tuple[int, int], exchange: int = 0, account: str | None = None
) -> None:
    """Settle documents, named by entry and number, in a transaction of its own; the last one's entry settles them."""
    database.execute("BEGIN")
    try:
        number = database.execute("SELECT coalesce(max(number), 0) + 1 FROM settlement").fetchone()[0]
        database.executemany("INSERT INTO settled_document VALUES (?, ?, ?)", [(number, *one) for one in documents])
        row = (number, documents[-1][0], exchange, account)
        database.execute("INSERT INTO settlement VALUES (?, ?, '', ?, ?)", row)
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def test_documents_in_order_are_taken_from_any_program(database: sqlite3.Connection) -> None:
    insert(database, {"paired_with": 2}, {**AGAIN, "paired_with": 1}, lines=[*_uncounted(TAKEN), *PAID])
    settle(database, (4, 1), (4, 2))
    assert database.execute("SELECT open_minor FROM open_item WHERE external_id = 'PX-000004'").fetchall() == [
        (0,),
        (0,),
    ]


def _uncounted(lines: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(account, debit, credit, 0, number) for account, debit, credit, _, number in lines]


PAIR = [*_uncounted(TAKEN), *PAID]
UNEVEN = [("6000", 1251, 0, 0, 1), ("pleo-payable", 0, 1250, 0, 1), PAID[0], ("pleo-wallet-DKK", 0, 1251, 1, 2)]
IN_EURO = [("6000", 1250, 0, 0, 1, 9), ("pleo-payable", 0, 1250, 1, 1, 9)]


@pytest.mark.parametrize(
    ("documents", "changes", "complaint"),
    [
        ([{}], {"lines": PAIR}, "belongs to a document that is not there"),
        ([{}, AGAIN], {"lines": TAKEN}, "a document does not balance by itself"),
        ([{}, AGAIN], {"lines": UNEVEN, "amount_minor": 1251}, "a document does not balance by itself"),
        ([{}], {"lines": [(*TAKEN[0][:4], None), TAKEN[1]]}, "a line belongs to no document"),
        ([], {"lines": TAKEN}, "belongs to a document that is not there"),
        ([{"owed_minor": 1249}], {}, "do not add up to what is owed"),
        ([{"owed_minor": 0}], {}, "do not add up to what is owed"),
        ([{"payable_account": "6000"}], {}, "do not add up to what is owed"),
        ([{"payable_account": "6666"}], {}, "unknown_account"),
        ([{"vendor": "V-2"}], {}, "unknown_vendor"),
        ([{"owed_minor": -1250}], {}, "CHECK"),
        ([{"kind": "payment"}], {}, "CHECK"),
        ([{"kind": "receipt"}], {}, "CHECK"),
        ([{"stays_open": 2}], {}, "CHECK"),
        ([{"document_no": 0}], {}, "CHECK"),
        ([{"paired_with": 1}], {}, "CHECK"),
        ([{"paired_with": 2}], {}, "do not settle each other"),
        ([{"paired_with": 2}, AGAIN], {"lines": PAIR}, "do not settle each other"),
        ([{"entry_id": 3}], {}, "takes no more documents"),
        ([{"entry_id": 5}], {}, "takes no more documents"),
        ([{}], {"details": "{"}, "CHECK|malformed JSON"),
        ([{}], {"company_currency": "EUR"}, "not in the currency that these books are kept in"),
        ([{}], {"lines": IN_EURO}, "no amount in the company's currency, or one too many"),
    ],
)
def test_documents_out_of_order_are_refused_by_the_file(
    database: sqlite3.Connection, documents: list[dict[str, Any]], changes: dict[str, Any], complaint: str
) -> None:
    before = list(database.iterdump())
    with pytest.raises(sqlite3.Error, match=complaint):
        insert(database, *documents, **changes)
    assert list(database.iterdump()) == before


@pytest.mark.parametrize(
    ("company", "complaint"),
    [
        ((9, 9), None),
        ((9, 8), "differ in the company's currency"),
        ((9, None), "no amount in the company's currency"),
        ((-9, -9), "CHECK"),
    ],
)
def test_amounts_in_the_company_s_currency_balance(
    tmp_path: Path, company: tuple[int | None, ...], complaint: str | None
) -> None:
    path = tmp_path / "euro.sqlite"

    async def begin() -> None:
        async with opened(path, company_currency="EUR"):
            pass

    asyncio.run(begin())
    lines = [(*line[:4], None, minor) for line, minor in zip(TAKEN, company, strict=True)]
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("INSERT INTO account (code, name, kind) VALUES ('6000', '', 'expense')")
        database.execute("INSERT INTO account (code, name, kind) VALUES ('pleo-payable', '', 'liability')")
        lines_of_first = [tuple(line) for line in lines]
        if complaint is None:
            _insert_first(database, lines_of_first)
        else:
            with pytest.raises(sqlite3.Error, match=complaint):
                _insert_first(database, lines_of_first)


def _insert_first(database: sqlite3.Connection, lines: list[tuple[Any, ...]]) -> None:
    for line_no, (account, debit, credit, counter, _, company) in enumerate(lines, 1):
        database.execute(
            "INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text, company_minor) "
            "VALUES (1, ?, ?, ?, ?, ?, '', ?)",
            (line_no, account, debit, credit, counter, company),
        )
    put(database, "entry", {**ENTRY, "id": 1, "company_currency": "EUR"})


SETTLED = "a document is settled once"
NOT_EACH_OTHER = "these documents do not settle each other"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ([(3, 1), (3, 2)], SETTLED),
        ([(2, 1), (3, 2)], SETTLED),
        ([(3, 1), (4, 1)], SETTLED),
        ([(2, 1), (4, 1), (4, 1)], SETTLED),
        ([(1, 1), (4, 1)], NOT_EACH_OTHER),  # the bill is a draft
        ([(2, 1)], NOT_EACH_OTHER),
        ([(4, 1)], NOT_EACH_OTHER),
        ([(2, 1), (9, 1)], "FOREIGN KEY|do not settle each other"),
        ([(2, 1), (5, 1)], NOT_EACH_OTHER),  # not the whole of it is paid
    ],
)
def test_what_does_not_settle_is_refused_by_the_file(
    database: sqlite3.Connection, row: list[tuple[int, int]], complaint: str
) -> None:
    insert(database, {"kind": "payment", "owed_minor": -1250}, lines=[(*line[:4], 1) for line in PAID])
    less = [("pleo-payable", 1249, 0, 0, 1), ("pleo-wallet-DKK", 0, 1249, 1, 1)]
    insert(
        database,
        {"kind": "payment", "owed_minor": -1249, "entry_id": 5},
        lines=less,
        id=5,
        accounting_entry_id=entry_id(5),
        amount_minor=1249,
    )
    before = list(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match=complaint):
        settle(database, *row)
    assert list(database.iterdump()) == before
    settle(database, (2, 1), (4, 1))


@pytest.mark.parametrize(
    ("document", "entry"),
    [
        ({"vendor": None}, {}),
        ({"invoice_number": ""}, {}),
        ({"invoice_number": "2026-18"}, {}),
        ({"stays_open": 1}, {}),
        ({}, {"currency": "EUR"}),
        ({}, {"state": "draft"}),
    ],
)
def test_a_payment_of_something_else_does_not_settle(
    database: sqlite3.Connection, document: dict[str, Any], entry: dict[str, Any]
) -> None:
    payment = {"kind": "payment", "owed_minor": -1250, **document}
    insert(database, payment, lines=[(*line[:4], 1) for line in PAID], **entry)
    with pytest.raises(sqlite3.IntegrityError, match=NOT_EACH_OTHER):
        settle(database, (2, 1), (4, 1))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE document SET stays_open = 1",
        "UPDATE document SET vendor = NULL WHERE entry_id = 1",
        "DELETE FROM document WHERE entry_id = 1",
        "INSERT OR REPLACE INTO document SELECT * FROM document WHERE entry_id = 1",
        "UPDATE settlement SET settled_at = ''",
        "DELETE FROM settlement",
        "INSERT OR REPLACE INTO settlement SELECT * FROM settlement",
        "UPDATE settlement SET exchange_minor = 1, exchange_account = '6000'",
        "UPDATE settled_document SET entry_id = 2",
        "DELETE FROM settled_document",
        "INSERT INTO settled_document VALUES (1, 2, 1)",
        "INSERT INTO settlement VALUES (3, 2, '', 0, NULL)",
        "UPDATE attachment SET file = 'x'",
        "DELETE FROM attachment",
        "INSERT OR REPLACE INTO attachment SELECT * FROM attachment",
        "INSERT INTO attachment SELECT 9, number, name, media_type, size, sha256, file, '' FROM attachment",
        "INSERT INTO attachment SELECT 1, 2, name, media_type, size, 'short', file, '' FROM attachment",
        "INSERT INTO attachment SELECT 1, 0, name, media_type, size, sha256, file, '' FROM attachment",
        "INSERT INTO attachment SELECT 1, 2, name, media_type, -1, sha256, file, '' FROM attachment",
        'UPDATE entry SET details = \'{"note": "x"}\' WHERE id = 1',
        "UPDATE entry SET journal = 'x', state = 'posted' WHERE id = 1",
        "UPDATE entry SET rounding_minor = 1, state = 'posted' WHERE id = 1",
        "UPDATE entry SET company_currency = 'EUR', state = 'posted' WHERE id = 1",
        "DELETE FROM vendor",
        "UPDATE vendor SET code = 'V-9'",
        "UPDATE vendor SET blocked = 2",
        "INSERT INTO chart VALUES ('people', '')",
        "INSERT INTO rate VALUES ('EUR', '2026-01-01', '0')",
        "INSERT INTO rate VALUES ('eur', '2026-01-01', '1')",
        "UPDATE company SET minor_units = 'tenths'",
    ],
)
def test_what_stands_cannot_be_changed_or_deleted(database: sqlite3.Connection, statement: str) -> None:
    before = list(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)
    assert list(database.iterdump()) == before
