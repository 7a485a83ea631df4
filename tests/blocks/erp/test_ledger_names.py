"""The files beside a ledger bear its whole name, so that no two ledgers of a folder share one."""

from __future__ import annotations

import asyncio
from itertools import combinations
from pathlib import Path

import pytest

from blocks.erp.ledger.connection import beancount_path, receipts_folder
from tests.support.erp.ledger_samples import opened

NAMES = ["acme.2025", "acme.2026", "acme.sqlite", "acme.db", "acme.sqlite.sqlite", ".sqlite"]


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_no_two_ledgers_share_a_file(tmp_path: Path, one: str, other: str) -> None:
    assert beancount_path(tmp_path / one) != beancount_path(tmp_path / other)
    assert receipts_folder(tmp_path / one) != receipts_folder(tmp_path / other)


def test_a_ledger_keeps_the_names_that_it_had(tmp_path: Path) -> None:
    assert beancount_path(tmp_path / "books.sqlite") == tmp_path / "books.beancount"
    assert receipts_folder(tmp_path / "books.sqlite") == tmp_path / "books-receipts"
    ledger = tmp_path / "acme.db"
    assert receipts_folder(ledger) == tmp_path / "acme.db-receipts"
    (tmp_path / "acme-receipts").mkdir()
    assert receipts_folder(ledger) == tmp_path / "acme.db-receipts"  # another's: there was no such ledger
    ledger.touch()
    assert receipts_folder(ledger) == tmp_path / "acme-receipts"
    (tmp_path / "acme.sqlite").touch()
    assert receipts_folder(ledger) == tmp_path / "acme.db-receipts"


def test_two_years_in_one_folder_have_a_beancount_file_each(tmp_path: Path) -> None:
    async def end_a_job(year: str) -> None:
        async with opened(tmp_path / f"acme.{year}") as ledger:
            await ledger.finish_job()

    for year in ("2025", "2026"):
        asyncio.run(end_a_job(year))
    assert sorted(path.name for path in tmp_path.glob("*.beancount")) == ["acme.2025.beancount", "acme.2026.beancount"]
