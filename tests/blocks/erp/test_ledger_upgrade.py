"""A ledger file that the first version of this program wrote: its bytes as they were, and what becomes of them."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import EntryState, Recorded
from blocks.erp.errors import ErpConfigurationError, RefusalKind, Refused
from blocks.erp.ledger import company_of
from blocks.erp.ledger.schema import newest_version
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
    assert rows(path, "SELECT * FROM journal")[:8] == before["journal"]
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
