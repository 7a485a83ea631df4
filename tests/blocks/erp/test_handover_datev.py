"""Batches for DATEV: what is in them, and that DATEV books them as the ledger did."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Entry, Recorded
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.ledger.handover.datev import receipts_guid
from blocks.erp.ledger.handover.datev_columns import COLUMNS
from blocks.erp.ledger.handover.settings import HandoverSettings
from tests.blocks.erp.handover_samples import (
    TAX_CODES,
    booked_by_datev,
    datev_rows,
    drawn,
    invoice,
    month,
    purchase,
    trial_balance,
)
from tests.support.erp.ledger_samples import COMPANY, an_attachment, entry_id, opened, rows

SETTINGS = {"handover": ["datev"], "datev": {"adviser": 1001, "client": 1, "cost_centre": "COSTCENTRE"}}


def options(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    (tmp_path / "tax_codes.csv").write_text(TAX_CODES)
    return {
        "handover": HandoverSettings.model_validate({**SETTINGS, **changes}),
        "handover_folder": tmp_path / "out",
        "charts": ChartFiles(tax_codes=tmp_path / "tax_codes.csv"),
    }


async def hand_over(tmp_path: Path, entries: Sequence[Entry], **changes: Any) -> Sequence[str]:
    async with opened(tmp_path / "books.sqlite", **options(tmp_path, **changes)) as ledger:
        outcomes = await ledger.record(entries)
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        return await ledger.finish_job()


def written(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out").glob("EXTF*.csv"))


async def test_a_month_is_a_file_that_datev_books_as_the_ledger_did(tmp_path: Path) -> None:
    said = await hand_over(tmp_path, month())
    march, april = written(tmp_path)
    assert [one.name for one in (march, april)] == [
        "EXTF_6d2a6b0e_000001_2026-03.csv",
        "EXTF_6d2a6b0e_000002_2026-04.csv",
    ]
    assert [line.split(" in ")[0] for line in said] == [
        "batch 1 for datev: 11 entries",
        "batch 2 for datev: 1 entries",
    ]
    head = march.read_bytes().split(b"\r\n")[0].decode("cp1252")
    assert head == (
        '"EXTF";700;21;"Buchungsstapel";13;20260331000000000;;"RE";"";"";1001;1;20260101;4;20260301;20260331;'
        '"Pleo 000001";"";1;0;0;"EUR";;"";;;"";;;"";""'
    )
    # Of entry 5 the account takes out the tax; of entry 6 it would take out another, so it is told not to.
    automatic = [row for row in datev_rows(march.read_bytes()) if row[21] in (entry_id(5), entry_id(6))]
    assert [row[8] for row in automatic] == ["", "40", ""]
    assert booked_by_datev(march, april) == trial_balance(tmp_path / "books.sqlite")


async def test_rows_say_what_an_accountant_needs(tmp_path: Path) -> None:
    receipt = an_attachment(tmp_path)
    await hand_over(tmp_path, [purchase(1, 11900, 1900, attachments=(receipt,)), invoice(2, 59500, 9500)])
    (file,) = written(tmp_path)
    bought, billed, paid = (dict(zip(COLUMNS, row, strict=True)) for row in datev_rows(file.read_bytes()))
    assert (bought[COLUMNS[0]], bought[COLUMNS[1]], bought["Konto"], bought[COLUMNS[7]], bought["BU-Schlüssel"]) == (
        "119,00", "S", "4930", "1210", "9",
    )  # fmt: skip
    assert (bought["Belegdatum"], bought["Belegfeld 1"], bought["Buchungstext"]) == (
        "0203",
        entry_id(1),
        "Café Größe 1",
    )
    assert bought["Beleglink"] == f'BEDI "{receipts_guid(entry_id(1))}"'
    assert (bought["Beleginfo - Art 1"], bought["Beleginfo - Inhalt 1"]) == ("Pleo-ID", entry_id(1))
    assert (bought["KOST1 - Kostenstelle"], bought["Festschreibung"], bought["Generalumkehr (GU)"]) == ("100", "0", "0")
    assert (billed["Belegfeld 1"], billed["Fälligkeit"], billed["Beleglink"]) == ("RE-2026/2", "30042026", "")
    assert (billed["Konto"], billed[COLUMNS[7]], billed["BU-Schlüssel"]) == ("4670", "1600", "9")
    assert billed["Beleginfo - Inhalt 2"] == '70001 Müller & Söhne; "GmbH"'
    assert (paid["Konto"], paid[COLUMNS[1]], paid[COLUMNS[7]], paid["Fälligkeit"]) == ("1600", "S", "1210", "")


async def test_receipts_are_a_zip_without_folders_that_the_rows_link_to(tmp_path: Path) -> None:
    receipts = (an_attachment(tmp_path), an_attachment(tmp_path, 2, b"%PDF-1.7 second"))
    await hand_over(
        tmp_path, [purchase(1, 11900, 1900, attachments=receipts), purchase(2, 100, 0, code="E0", rate="0")]
    )
    (archive,) = (tmp_path / "out").glob("*.zip")
    guid = receipts_guid(entry_id(1))
    with zipfile.ZipFile(archive) as found:
        assert found.namelist() == [f"{guid}-01.pdf", f"{guid}-02.pdf", "document.xml"]
        assert found.read(f"{guid}-02.pdf") == b"%PDF-1.7 second"
        document = found.read("document.xml").decode()
    assert f'<document guid="{guid}" processID="1">' in document
    assert f'<extension xsi:type="File" name="{guid}-01.pdf"/>' in document
    assert "20260331" not in document
    assert "<date>2026-03-31T00:00:00</date>" in document


async def test_a_reversal_comes_in_a_later_batch_as_a_general_reversal(tmp_path: Path) -> None:
    await hand_over(tmp_path, [purchase(1, 11900, 1900)])
    async with opened(tmp_path / "books.sqlite", **options(tmp_path)) as ledger:
        found = await ledger.find([entry_id(1)])
        assert not await ledger.reverse([found[entry_id(1)]], date(2026, 3, 20))
        assert len(await ledger.finish_job()) == 1
        assert not await ledger.finish_job()
    before, after = written(tmp_path)
    (first,), (second,) = datev_rows(before.read_bytes()), datev_rows(after.read_bytes())
    assert (first[117], second[117]) == ("0", "1")
    assert [n for n, (a, b) in enumerate(zip(first, second, strict=True), 1) if a != b] == [10, 14, 118]
    assert booked_by_datev(before, after) == trial_balance(tmp_path / "books.sqlite") == {}


@pytest.mark.parametrize("seed", range(3))
async def test_what_datev_books_of_drawn_purchases_is_the_trial_balance(tmp_path: Path, seed: int) -> None:
    made = drawn(300, seed)
    await hand_over(tmp_path, made)
    assert booked_by_datev(*written(tmp_path)) == trial_balance(tmp_path / "books.sqlite")
    members = rows(tmp_path / "books.sqlite", "SELECT count(*), count(DISTINCT entry_id) FROM batch_entry")
    assert members == [(len(made), len(made))]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"datev": {"client": 1}}, "datev.adviser is not set: DATEV wants the adviser's number"),
        ({"datev": {"adviser": 12, "client": 1}}, "greater than or equal to 1001"),
        ({"handover": "fax"}, "'datev', 'sie4' or 'csv'"),
    ],
)
def test_settings_that_datev_cannot_be_written_by_are_refused(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        HandoverSettings.model_validate({**SETTINGS, **wrong})


async def test_a_tax_code_without_a_key_is_named_before_anything_is_done(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    (tmp_path / "tax_codes.csv").write_text("code,datev_key\nI19,\n")
    ledger = Ledger(tmp_path / "books.sqlite", **chosen)
    with pytest.raises(Exception, match="tax code I19 has no datev_key"):
        await ledger.open(COMPANY, dry_run=False)


async def test_an_account_or_a_currency_that_datev_lacks_makes_no_batch_and_says_so(tmp_path: Path) -> None:
    said = await hand_over(
        tmp_path, [purchase(1, 100, 0, code="E0", rate="0", currency="SEK"), purchase(2, 11900, 1900)]
    )
    assert said == (
        "no batch for datev was made or put out: PX-000001 is in SEK, and the batch in EUR: set company_currency, so "
        "that the books keep both",
    )
    assert not (tmp_path / "out").exists()
    assert rows(tmp_path / "books.sqlite", "SELECT count(*) FROM batch") == [(0,)]
