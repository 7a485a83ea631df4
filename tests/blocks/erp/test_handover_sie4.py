"""Batches in SIE 4: read back by a reader of the format's description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Entry, Recorded
from blocks.erp.ledger.handover.batches import fiscal_year
from blocks.erp.ledger.handover.settings import HandoverSettings
from tests.blocks.erp.handover_samples import drawn, purchase, swedish_month, trial_balance
from tests.blocks.erp.sie_reader import SieFile, read_sie
from tests.support.erp.ledger_samples import entry_id, opened

SETTINGS = {
    "handover": "sie4",
    "sie4": {"company_name": "Räksmörgås AB", "organisation_number": "5560000001", "dimensions": {"COSTCENTRE": 1}},
}


async def hand_over(tmp_path: Path, entries: Sequence[Entry], **changes: Any) -> Sequence[str]:
    settings = HandoverSettings.model_validate({**SETTINGS, **changes})
    async with opened(tmp_path / "books.sqlite", handover=settings, handover_folder=tmp_path / "out") as ledger:
        outcomes = await ledger.record(entries)
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        return await ledger.finish_job()


def files(tmp_path: Path) -> list[SieFile]:
    return [read_sie(one.read_bytes()) for one in sorted((tmp_path / "out").glob("*.si"))]


def booked(found: Sequence[SieFile]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for voucher in (voucher for file in found for voucher in file.vouchers):
        for account, _, amount in voucher.rows:
            totals[account] += int(amount * 100)
    return {account: amount for account, amount in totals.items() if amount}


async def test_a_month_is_one_file_of_vouchers_that_come_to_the_trial_balance(tmp_path: Path) -> None:
    (said,) = await hand_over(tmp_path, swedish_month())
    assert said.startswith("batch 1 for sie4: 12 entries in ")
    (found,) = files(tmp_path)
    assert found.tags["FORMAT"] == [["PC8"]]
    assert found.tags["SIETYP"] == [["4"]]
    assert found.tags["FNAMN"] == [["Räksmörgås AB"]]
    assert found.tags["ORGNR"] == [["556000-0001"]]
    assert found.tags["RAR"] == [["0", "20260101", "20261231"]]
    assert found.tags["DIM"] == [["1", "Kostnadsställe"]]
    assert found.tags["OBJEKT"] == [["1", "100", "100"]]
    assert {row[0] for voucher in found.vouchers for row in voucher.rows} == {one[0] for one in found.tags["KONTO"]}
    assert booked([found]) == trial_balance(tmp_path / "books.sqlite")
    first = found.vouchers[0]
    assert (first.series, first.number, first.day, first.text) == ("P", "1", "20260302", "00000000 Café Größe 1")
    assert first.rows[0] == ("4930", ("1", "100"), Decimal("100.00"))
    assert [one.number for one in found.vouchers] == [str(n) for n in range(1, 13)]


async def test_what_the_character_set_lacks_is_replaced_and_told(tmp_path: Path) -> None:
    await hand_over(
        tmp_path, [purchase(1, 100, 0, code=None, rate=None, currency="SEK", description='å "é" тест łódź – €')]
    )
    (found,) = files(tmp_path)
    assert found.vouchers[0].text == '00000000 å "é" ???? lódz - EUR'
    manifest = next((tmp_path / "out").glob("*.manifest.json")).read_text()
    assert '"character": "ł"' in manifest


async def test_numbers_go_on_in_the_next_batch_and_begin_anew_with_the_fiscal_year(tmp_path: Path) -> None:
    one, two, three = (
        purchase(n, 100, 0, code=None, rate=None, currency="SEK", posting_date=day)
        for n, day in enumerate((date(2026, 6, 30), date(2026, 6, 1), date(2026, 7, 1)), 1)
    )
    changes = {"sie4": {**SETTINGS["sie4"], "fiscal_year_start": "07-01"}}  # type: ignore[dict-item]
    await hand_over(tmp_path, [one], **changes)
    await hand_over(tmp_path, [two, three], **changes)
    assert [[(v.number, v.day) for v in found.vouchers] for found in files(tmp_path)] == [
        [("1", "20260630")],
        [("2", "20260601")],
        [("1", "20260701")],
    ]
    assert fiscal_year(date(2026, 6, 30), "07-01") == (date(2025, 7, 1), date(2026, 6, 30))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"currency": "EUR"}, "PX-000001 is in EUR, and SIE takes SEK only"),
        ({}, "PX-000001: dimension COSTCENTRE has no number in SIE"),
    ],
)
async def test_what_sie_cannot_take_is_named_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    (said,) = await hand_over(tmp_path, [purchase(1, 100, 0, **{"currency": "SEK", **changes})], sie4={})
    assert said.startswith(f"no batch for sie4 was made or put out: {why}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(3))
async def test_drawn_purchases_come_to_the_trial_balance(tmp_path: Path, seed: int) -> None:
    entries = drawn(300, seed, currency="SEK")
    await hand_over(tmp_path, entries)
    found = files(tmp_path)
    assert booked(found) == trial_balance(tmp_path / "books.sqlite")
    assert len([voucher for file in found for voucher in file.vouchers]) == len(entries)
    assert entry_id(1)[:8] in found[0].vouchers[0].text
