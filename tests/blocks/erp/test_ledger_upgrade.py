"""Ledger files that earlier versions of this program wrote: their bytes as they were, and what becomes of them."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import pytest

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import EntryState, Recorded
from blocks.erp.errors import ErpConfigurationError, RefusalKind, Refused
from blocks.erp.ledger import company_of
from blocks.erp.ledger.connection import connect
from blocks.erp.ledger.schema import MIGRATIONS, migrate, newest_version, version_of
from tests.support.erp.ledger_samples import (
    COMPANY,
    a_bill,
    an_attachment,
    an_entry,
    entry_id,
    folder_content,
    opened,
    rows,
)

FILE = Path(__file__).with_name("books_version_1.sqlite.gz")
"""Three entries, one posted; a tax code, a dimension, and the year 2020 closed."""

IDS = [entry_id(number) for number in (1, 2, 3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "books.sqlite"
    path.write_bytes(gzip.decompress(FILE.read_bytes()))
    assert rows(path, "PRAGMA user_version") == [(1,)]
    return path


async def test_it_is_upgraded_with_all_that_it_holds(path: Path) -> None:
    before = {table: rows(path, f"SELECT * FROM {table}") for table in ("journal", "period", "line_dimension")}
    async with opened(path) as ledger:
        found = await ledger.find(IDS)
        outcomes = await ledger.record([an_entry(number) for number in (1, 2, 4)])

    assert rows(path, "PRAGMA user_version") == [(newest_version(),)]
    assert len(before["journal"]) == 8
    assert [row[:10] for row in rows(path, "SELECT * FROM journal")][:8] == before["journal"]
    assert rows(path, "SELECT * FROM period") == before["period"] == [("2020-01-01", "2020-12-31", "closed")]
    assert rows(path, "SELECT * FROM line_dimension") == before["line_dimension"]
    assert [
        (one.external_id, one.amount_minor, one.state, one.attached, one.counterparts, one.settled)
        for one in found.values()
    ] == [
        ("PX-000001", 1250, EntryState.DRAFT, frozenset(), (), False),
        ("PX-000002", 1250, EntryState.POSTED, frozenset(), (), False),
        ("PX-000003", 9, EntryState.DRAFT, frozenset(), (), False),
    ]
    assert [(one.external_id, one.found) for one in outcomes if isinstance(one, Recorded)] == [
        ("PX-000001", True),
        ("PX-000002", True),
        ("PX-000004", False),
    ]
    assert (
        rows(path, "SELECT details, rounding_minor, company_currency, journal FROM entry") == [("{}", 0, None, "")] * 4
    )
    assert rows(path, "SELECT DISTINCT is_tax, company_minor, document_no FROM line") == [(0, None, None)]
    assert rows(path, "SELECT minor_units, company_currency FROM company") == [("hundredths", None)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []


async def test_it_takes_everything_that_is_new(path: Path, tmp_path: Path) -> None:
    receipt = an_attachment(tmp_path)
    async with opened(path) as ledger:
        assert await ledger.attach(entry_id(1), [receipt]) == []
        assert await ledger.post(IDS) == []
        outcomes = await ledger.record(
            [a_bill(8, attachments=(receipt,)), an_entry(9, tax_minor=0, posting_date=date(2020, 5, 4))]
        )
        found = await ledger.find(IDS)
        await ledger.finish_job()

    assert {one.state for one in found.values()} == {EntryState.POSTED}
    assert found[entry_id(1)].attached == {1}
    assert isinstance(outcomes[0], Recorded)
    assert outcomes[1] == Refused(
        entry_id(9), RefusalKind.CLOSED_PERIOD, "2020-05-04", "the posting date lies in a closed period: 2020-05-04"
    )


async def test_its_amounts_count_as_hundredths(path: Path) -> None:
    before = folder_content(path.parent)
    for dry_run in (True, False):
        with pytest.raises(ErpConfigurationError, match="holds amounts in hundredths, but minor_units is iso4217"):
            async with opened(path, dry_run=dry_run, minor_units=MinorUnits.ISO4217):
                pass
        if dry_run:
            assert folder_content(path.parent) == before
    assert rows(path, "SELECT minor_units FROM company") == [("hundredths",)]


async def test_a_dry_run_reads_it_and_leaves_it_as_it_is(path: Path) -> None:
    before = folder_content(path.parent)
    async with opened(path, dry_run=True) as ledger:
        assert sorted(await ledger.find(IDS)) == IDS
        assert (await ledger.load_reference()).chart is None
    assert company_of(path) == COMPANY
    assert folder_content(path.parent) == before


FILE_2 = Path(__file__).with_name("books_version_2.sqlite.gz")
"""A draft with a receipt, a posted purchase with tax code and dimension, a bill and the payment that settles it, and
two expenses with both, one posted; the year 2020 closed."""

IDS_2 = [entry_id(number) for number in range(1, 7)]


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "books.sqlite"
    path.write_bytes(gzip.decompress(FILE_2.read_bytes()))
    assert rows(path, "PRAGMA user_version") == [(2,)]
    return path


def _content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    kept = {
        "journal": "accounting_entry_id, external_id, job_id, posting_date, account, description, currency, "
        "debit_minor, credit_minor, state",
        "open_item": "*",
        "period": "*",
        "line_dimension": "*",
        "document": "*",
        "attachment": "*",
        "account": "*",
        "vendor": "*",
        "entry": "id, external_id, accounting_entry_id, original_date, reference, recorded_at, journal, details",
    }
    settled = "SELECT entry_id, document_no FROM settled_document"
    if rows(path, "PRAGMA user_version") == [(2,)]:
        settled = (
            "SELECT entry_id, document_no FROM settlement "
            "UNION ALL SELECT settled_by_entry_id, settled_by_document_no FROM settlement"
        )
    content = {table: rows(path, f"SELECT {columns} FROM {table}") for table, columns in kept.items()}
    return {**content, "settled": rows(path, f"{settled} ORDER BY 1, 2")}


async def test_books_of_the_second_version_are_upgraded_with_all_that_they_hold(second: Path) -> None:
    before = _content(second)
    async with opened(second) as ledger:
        found = await ledger.find(IDS_2)

    assert rows(second, "PRAGMA user_version") == [(newest_version(),)]
    assert _content(second) == before
    assert (len(before["journal"]), len(before["settled"])) == (18, 4)
    assert [(one.state, one.settled, one.statement, one.edits) for one in found.values()] == [
        (EntryState.DRAFT, False, None, ()),
        (EntryState.POSTED, False, None, ()),
        (EntryState.POSTED, True, None, ()),
        (EntryState.POSTED, True, None, ()),
        (EntryState.DRAFT, False, None, ()),
        (EntryState.POSTED, True, None, ()),
    ]
    assert found[IDS_2[1]].balances == (("6000", 1000), ("pleo-input-tax", 250), ("pleo-wallet-DKK", -1250))
    assert rows(second, "SELECT event, count(*) FROM history GROUP BY event ORDER BY event") == [
        ("receipt", 1),
        ("recorded", 6),
        ("settled", 3),
    ]
    assert rows(second, "PRAGMA integrity_check") == [("ok",)]
    assert rows(second, "PRAGMA foreign_key_check") == []


async def test_entries_of_older_books_can_be_replaced_and_reversed(second: Path) -> None:
    async with opened(second) as ledger:
        (replaced,) = await ledger.replace([an_entry(1, 900, 180)])
        found = await ledger.find(IDS_2)
        refused = await ledger.reverse([found[IDS_2[1]], found[IDS_2[2]], found[IDS_2[5]]], date(2026, 3, 9))
        now = await ledger.find(IDS_2)

    assert isinstance(replaced, Recorded)
    assert (replaced.external_id, replaced.amount_minor, replaced.attached) == ("PX-000001", 900, {1})
    assert [one.message for one in refused] == [
        "PX-000003 cannot be reversed, it is settled by PX-000004: reverse that first"
    ]
    assert sorted(now) == [IDS_2[0], IDS_2[2], IDS_2[3], IDS_2[4]]


def test_an_upgrade_that_is_broken_off_leaves_the_old_books(second: Path) -> None:
    """At each of its statements: they are one transaction."""
    before = second.read_bytes()
    statements = sum(map(len, MIGRATIONS[2:]))
    assert statements > 40
    for many in range(statements + 1):
        if _upgraded(second, many):
            break
        assert rows(second, "PRAGMA user_version") == [(2,)]
        assert rows(second, "PRAGMA integrity_check") == [("ok",)]
        assert rows(second, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%history%'") == [(0,)]
        second.write_bytes(before)
    assert many > 20
    assert rows(second, "SELECT count(*) FROM entry") == [(6,)]


def _upgraded(path: Path, many: int) -> bool:
    """Upgrade the file, but for what follows its `many`-th statement, and tell whether that was all."""
    told = 0

    def count(sql: str) -> None:
        nonlocal told
        told += not sql.startswith(("PRAGMA", "BEGIN", "COMMIT", "ROLLBACK", "--"))

    with closing(connect(path)) as connection:
        connection.set_trace_callback(count)
        connection.set_progress_handler(lambda: told > many, 1)
        with suppress(sqlite3.OperationalError):
            migrate(connection)
        connection.set_progress_handler(None, 0)
        return version_of(connection) == newest_version()
