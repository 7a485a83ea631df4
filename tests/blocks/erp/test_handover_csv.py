"""Batches as CSV: read back by the csv module and by pandas."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from blocks.erp.entries import Recorded
from blocks.erp.ledger.handover.csv_file import DEFAULT_COLUMNS
from blocks.erp.ledger.handover.settings import HandoverSettings
from tests.blocks.erp.handover_samples import month, purchase, trial_balance
from tests.support.erp.ledger_samples import an_attachment, entry_id, opened


async def hand_over(tmp_path: Path, *entries: Any, **chosen: Any) -> list[str]:
    settings = HandoverSettings.model_validate({"handover": ["csv"], "csv": chosen})
    async with opened(tmp_path / "books.sqlite", handover=settings, handover_folder=tmp_path / "out") as ledger:
        outcomes = await ledger.record(entries)
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        return list(await ledger.finish_job())


def content(tmp_path: Path) -> bytes:
    (file,) = (tmp_path / "out").glob("*_000001.csv")
    return file.read_bytes()


async def test_each_line_is_a_row_and_all_of_them_the_trial_balance(tmp_path: Path) -> None:
    await hand_over(tmp_path, *month())
    found = pd.read_csv(io.BytesIO(content(tmp_path)), sep=";", dtype=str, keep_default_na=False)
    assert tuple(found.columns) == DEFAULT_COLUMNS
    totals: Counter[str] = Counter()
    for account, debit, credit in zip(found["account"], found["debit"], found["credit"], strict=True):
        totals[account] += int(debit.replace(".", "")) - int(credit.replace(".", ""))
    assert {account: amount for account, amount in totals.items() if amount} == trial_balance(tmp_path / "books.sqlite")
    assert list(found["accounting_entry_id"].drop_duplicates())[:2] == [entry_id(1), entry_id(2)]
    hostile = found[found["accounting_entry_id"] == entry_id(9)]["description"].iloc[0]
    assert hostile == 'Kaffee; "süß" =1+1 тест łódź €'


async def test_columns_decimal_sign_and_encoding_are_the_accountants(tmp_path: Path) -> None:
    columns = {"Beleg": "voucher", "Konto": "account", "Soll": "debit", "Text": "description"}
    entry = purchase(1, 11900, 1900, description="=HYPERLINK(1) Größe łódź")
    await hand_over(tmp_path, entry, columns=columns, decimal=",", delimiter="\t", encoding="cp1252")
    rows = list(csv.reader(io.StringIO(content(tmp_path).decode("cp1252")), delimiter="\t"))
    assert rows[0] == ["Beleg", "Konto", "Soll", "Text"]
    assert rows[1] == ["PX-000001", "4930", "100,00", "'=HYPERLINK(1) Größe lódz"]


async def test_a_column_that_is_none_is_named(tmp_path: Path) -> None:
    (said,) = await hand_over(tmp_path, purchase(1, 100, 0), columns={"A": "colour"})
    assert said.startswith("no batch for csv was made or put out: csv.columns: there is no colour; known are account, ")


async def test_receipts_lie_beside_it_with_a_list(tmp_path: Path) -> None:
    await hand_over(tmp_path, purchase(1, 100, 0, attachments=(an_attachment(tmp_path, name="=1+1.pdf"),)))
    (folder,) = (tmp_path / "out").glob("*-receipts")
    (row,) = csv.DictReader(io.StringIO((folder / "receipts.csv").read_text("utf-8-sig")))
    assert (row["accounting_entry_id"], row["number"], row["name"]) == (entry_id(1), "1", "'=1+1.pdf")
    assert (folder / row["file"]).read_bytes() == b"%PDF-1.7 receipt"


@pytest.mark.parametrize("wrong", [{"delimiter": ",", "decimal": ","}, {"encoding": "ebcdic"}, {"colour": "red"}])
def test_settings_that_make_no_csv_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="csv"):
        HandoverSettings.model_validate({"handover": ["csv"], "csv": wrong})
