"""Recording and finding entries in the embedded ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, timedelta, timezone
from pathlib import Path

import pytest

from blocks.erp.entries import Account, AccountKind, Dimension, EntryState, Line, Money, Recorded
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger import Ledger
from tests.support.erp.ledger_samples import (
    COMPANY,
    NOW,
    TRAVEL,
    WALLET,
    an_entry,
    entries,
    entry_id,
    opened,
    rows,
    write,
)

MAX = 10**18 - 1


async def test_a_recorded_entry_says_where_it_stands(path: Path) -> None:
    async with opened(path) as ledger:
        (recorded,) = await ledger.record([an_entry(7)])

    assert recorded == Recorded(
        accounting_entry_id=entry_id(7),
        external_id="PX-000001",
        url=f"http://127.0.0.1:5000/pleo-{COMPANY}/journal/?filter=%5EPX-000001",
        recorded_at=NOW.replace(microsecond=0),
        currency="DKK",
        amount_minor=1250,
        accounts=("6000", "pleo-input-tax", "pleo-wallet-DKK"),
        state=EntryState.DRAFT,
        found=False,
        posting_date=date(2026, 3, 8),
        original_date=date(2026, 3, 8),
        balances=(("6000", 1000), ("pleo-input-tax", 250), ("pleo-wallet-DKK", -1250)),
    )


async def test_the_journal_shows_one_row_a_line_in_the_documented_columns(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record([an_entry(7), an_entry(8, state=EntryState.POSTED)])

    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute("SELECT * FROM journal")
        names = [column[0] for column in cursor.description]
        lines = cursor.fetchall()
    assert ", ".join(names) == (
        "accounting_entry_id, external_id, job_id, posting_date, account, description, currency, "
        "debit_minor, credit_minor, state, tax_code, dimensions, vendor, in_force, tax_base_minor, tax_rate, "
        "supplier_country, supplier_tax_number"
    )
    more = (None, "", None, 1, None, None, None, None)
    head = (entry_id(7), "PX-000001", "job-1", "2026-03-08")
    assert lines[:3] == [
        (*head, "6000", "Supplier 7", "DKK", 1000, 0, "draft", *more),
        (*head, "pleo-input-tax", "Supplier 7", "DKK", 250, 0, "draft", *more),
        (*head, "pleo-wallet-DKK", "Supplier 7", "DKK", 0, 1250, "draft", *more),
    ]
    assert [line[9] for line in lines[3:]] == ["posted"] * 3


async def test_the_journal_view_carries_its_own_documentation(path: Path) -> None:
    async with opened(path):
        pass
    ((sql,),) = rows(path, "SELECT sql FROM sqlite_schema WHERE name = 'journal'")
    for column in ("posting_date", "debit_minor", "state"):
        assert f"--   {column} " in sql


async def test_an_id_twice_in_one_call_is_written_once(path: Path) -> None:
    async with opened(path) as ledger:
        outcomes = await ledger.record([an_entry(1), an_entry(2), an_entry(1, amount_minor=777)])

    assert [(one.external_id, one.found) for one in outcomes if isinstance(one, Recorded)] == [
        ("PX-000001", False),
        ("PX-000002", False),
        ("PX-000001", True),
    ]
    assert rows(path, "SELECT count(*) FROM entry") == [(2,)]


async def test_ids_are_compared_in_lower_case(path: Path) -> None:
    shouted = "ABCDEF00-0000-4000-8000-00000000000A"
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, accounting_entry_id=shouted)])
        (again,) = await ledger.record([an_entry(1, accounting_entry_id=shouted.lower())])
        found = await ledger.find([shouted])

    assert isinstance(again, Recorded)
    assert again.found
    assert list(found) == [shouted.lower()]


async def test_thousands_of_ids_are_looked_up_at_once(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record(entries(50))
        found = await ledger.find([entry_id(number) for number in range(12_345)])
        nothing = await ledger.find([])

    assert sorted(found) == [entry_id(number) for number in range(1, 51)]
    assert all(one.found for one in found.values())
    assert nothing == {}


async def test_a_refused_entry_leaves_its_neighbours_and_no_gap_in_the_numbers(path: Path) -> None:
    async with opened(path):
        pass
    write(path, "INSERT INTO period VALUES ('2025-01-01', '2025-12-31', 'closed')")
    closed = an_entry(2, posting_date=date(2025, 12, 31))
    async with opened(path) as ledger:
        first, refused, third = await ledger.record([an_entry(1), closed, an_entry(3)])

    assert refused == Refused(
        entry_id(2), RefusalKind.CLOSED_PERIOD, "2025-12-31", "the posting date lies in a closed period: 2025-12-31"
    )
    assert isinstance(first, Recorded)
    assert isinstance(third, Recorded)
    assert (first.external_id, third.external_id) == ("PX-000001", "PX-000002")
    assert rows(path, "SELECT accounting_entry_id FROM entry ORDER BY id") == [(entry_id(1),), (entry_id(3),)]


async def test_a_refused_entry_opens_no_account(path: Path) -> None:
    async with opened(path):
        pass
    write(path, "INSERT INTO period VALUES ('2025-01-01', '2025-12-31', 'closed')")
    stationery = Account("6100", "Stationery", AccountKind.EXPENSE)
    lines = (Line(stationery, debit_minor=5), Line(WALLET, credit_minor=5, counter=True))
    async with opened(path) as ledger:
        (refused,) = await ledger.record(
            [an_entry(1, 5, 0, posting_date=date(2025, 6, 1), lines=lines)],
        )

    assert isinstance(refused, Refused)
    assert rows(path, "SELECT * FROM account") == []


@pytest.mark.parametrize(
    ("changes", "kind", "subject"),
    [
        ({"lines": ()}, RefusalKind.UNBALANCED, "lines"),
        ({"lines": (Line(TRAVEL, debit_minor=2), Line(WALLET, credit_minor=1))}, RefusalKind.UNBALANCED, "1"),
        ({"amount_minor": 1251, "lines": an_entry(2).lines}, RefusalKind.UNBALANCED, "1251"),
        ({"lines": (Line(TRAVEL, debit_minor=9), Line(WALLET, credit_minor=9))}, RefusalKind.UNBALANCED, "1250"),
        ({"lines": (Line(TRAVEL, debit_minor=-1), Line(WALLET, credit_minor=-1))}, RefusalKind.OTHER, "-1"),
        ({"lines": (Line(TRAVEL, debit_minor=5, credit_minor=5),)}, RefusalKind.OTHER, "6000"),
        ({"lines": (Line(Account(" ", "", AccountKind.ASSET)),)}, RefusalKind.UNKNOWN_ACCOUNT, " "),
        ({"amount_minor": 10**18}, RefusalKind.OTHER, str(10**18)),
        ({"amount_minor": -(2**70)}, RefusalKind.OTHER, str(-(2**70))),
        ({"supplier": Money("USD", 2**63)}, RefusalKind.OTHER, str(2**63)),
        ({"lines": (Line(TRAVEL, supplier=Money("USD", 2**63)),)}, RefusalKind.OTHER, str(2**63)),
        ({"currency": "dkk"}, RefusalKind.OTHER, "dkk"),
        ({"currency": "ДКК"}, RefusalKind.OTHER, "ДКК"),
        ({"company_id": "another"}, RefusalKind.OTHER, "another"),
        ({"accounting_entry_id": ""}, RefusalKind.OTHER, "accounting entry id"),
    ],
)
async def test_what_an_entry_itself_shows_to_be_wrong_is_refused_before_and_at_recording(
    path: Path, changes: dict[str, object], kind: str, subject: str
) -> None:
    bad = an_entry(2, **changes)
    async with opened(path) as ledger:
        told = ledger.check(bad)
        outcomes = await ledger.record([an_entry(1), bad, an_entry(3)])

    assert told is not None
    assert (told.kind, told.subject) == (kind, subject)
    assert outcomes[1] == told
    assert [isinstance(one, Recorded) for one in outcomes] == [True, False, True]


async def test_debits_that_add_up_to_more_than_the_limit_are_refused(path: Path) -> None:
    lines = (*(Line(TRAVEL, debit_minor=MAX),) * 20, *(Line(WALLET, credit_minor=MAX, counter=True),) * 20)
    async with opened(path) as ledger:
        (refused,) = await ledger.record([an_entry(1, amount_minor=MAX, lines=lines)])
    assert isinstance(refused, Refused)


async def test_an_account_keeps_the_kind_and_name_of_its_first_use(path: Path) -> None:
    other = Account("6000", "Other", AccountKind.ASSET)
    lines = (
        Line(TRAVEL, debit_minor=4),
        Line(other, debit_minor=1),
        Line(WALLET, credit_minor=5, counter=True),
    )
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, 5, 0, lines=lines)])
        await ledger.record([an_entry(2, 5, 0, lines=(Line(other, debit_minor=5), *lines[2:]))])
    assert rows(path, "SELECT name, kind FROM account WHERE code = '6000'") == [("Travel", "expense")]


async def test_what_the_journal_does_not_show_is_kept_in_the_tables(path: Path) -> None:
    project, team = Dimension("project", "P-17"), Dimension("team", "T-1")
    lines = (
        Line(
            TRAVEL,
            debit_minor=9,
            text="taxi",
            tax_code="I25",
            dimensions=(project, team, project),
            supplier=Money("EUR", 2),
        ),
        Line(WALLET, credit_minor=9, counter=True),
    )
    entry = an_entry(1, 9, 0, lines=lines, original_date=date(2025, 12, 31), supplier=Money("EUR", -2))
    async with opened(path) as ledger:
        await ledger.record([entry])

    assert rows(
        path,
        "SELECT company_id, item_type, original_date, reference, amount_minor, supplier_currency, supplier_minor,"
        " recorded_at FROM entry",
    ) == [(COMPANY, "card_purchase", "2025-12-31", "book-1", 9, "EUR", -2, "2026-11-03T10:20:30+00:00")]
    assert rows(path, "SELECT text, tax_code, counter, supplier_currency, supplier_minor FROM line") == [
        ("taxi", "I25", 0, "EUR", 2),
        ("", None, 1, None, None),
    ]
    assert rows(path, "SELECT line_no, dimension_group, code FROM line_dimension") == [
        (1, "project", "P-17"),
        (1, "team", "T-1"),
    ]


async def test_hostile_texts_are_stored_as_text(path: Path) -> None:
    texts = ["'; DROP TABLE entry; --", "a\0b", "half \ud800 character", "\u202egnp.exe", "é" * 3_000_000]
    hostile = [
        an_entry(
            number,
            description=text,
            reference=text[:300],
            lines=(
                Line(Account(f"{text[:50]}-{number}", text[:100], AccountKind.EXPENSE), debit_minor=1250, text=text),
                Line(WALLET, credit_minor=1250, counter=True, tax_code=text[:10]),
            ),
        )
        for number, text in enumerate(texts)
    ]
    async with opened(path) as ledger:
        outcomes = await ledger.record(hostile)
        found = await ledger.find([entry_id(number) for number in range(len(texts))])

    assert all(
        isinstance(one, Recorded) and found[one.accounting_entry_id].accounts == one.accounts for one in outcomes
    )
    stored = [row[0] for row in rows(path, "SELECT description FROM entry ORDER BY id")]
    assert stored == [text.replace("\0", "\ufffd").replace("\ud800", "\ufffd") for text in texts]


async def test_an_entry_that_sqlite_cannot_hold_is_refused_alone(path: Path) -> None:
    async with opened(path) as ledger:
        assert ledger._thread is not None
        assert ledger._books is not None
        connection = ledger._books._connection
        # SQLite's own limit is a gigabyte.
        ledger._thread.submit(connection.setlimit, sqlite3.SQLITE_LIMIT_LENGTH, 100_000).result()
        outcomes = await ledger.record([an_entry(1), an_entry(2, description="x" * 100_001), an_entry(3)])
    assert [type(one) for one in outcomes] == [Recorded, Refused, Recorded]


async def test_the_time_of_recording_is_utc_whatever_the_clock_shows(path: Path) -> None:
    ledger = Ledger(path, clock=lambda: NOW.astimezone(timezone(timedelta(hours=9))))
    await ledger.open(COMPANY)
    (recorded,) = await ledger.record([an_entry(1)])
    await ledger.close()
    assert isinstance(recorded, Recorded)
    assert recorded.recorded_at.isoformat() == "2026-11-03T10:20:30+00:00"


async def test_calls_before_open_and_after_close_are_mistakes_of_the_program(path: Path) -> None:
    ledger = Ledger(path)
    for call in (ledger.validate, ledger.finish_job):
        with pytest.raises(RuntimeError, match="not open"):
            await call()
    with pytest.raises(RuntimeError, match="not open"):
        ledger.link("PX-000001")
    await ledger.open(COMPANY)
    with pytest.raises(RuntimeError, match="open already"):
        await ledger.open(COMPANY)
    await ledger.close()
    await ledger.close()
    with pytest.raises(RuntimeError, match="not open"):
        await ledger.find(["x"])
