"""Batches as CSV: read back by the csv module and by pandas."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from blocks.erp.entries import Account, AccountKind, Recorded
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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (Debian's libreoffice-calc) is not installed")
async def test_amounts_and_codes_survive_libreoffice(tmp_path: Path) -> None:
    """Codes are imported as text, as the page for the accountant says."""
    zeros = Account("0420", "Büro", AccountKind.EXPENSE)
    await hand_over(tmp_path, *month(), purchase(20, 123_456_789_01, 0, account=zeros))
    before = list(csv.DictReader(io.StringIO(content(tmp_path).decode("utf-8-sig"), newline=""), delimiter=";"))
    numbers = {"debit", "credit", "tax_base", "tax_rate"}
    columns = "/".join(f"{n}/{1 if name in numbers else 2}" for n, name in enumerate(DEFAULT_COLUMNS, 1))
    (file,) = (tmp_path / "out").glob("*_000001.csv")
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is under way
        ["soffice", f"-env:UserInstallation=file://{tmp_path}/office", "--headless", "--convert-to",
         "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,false,true,false", f"--infilter=CSV:59,34,76,1,{columns}",
         "--outdir", str(tmp_path / "again"), str(file)],
        capture_output=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = (tmp_path / "again" / file.name).read_text("utf-8-sig")
    after = list(csv.DictReader(io.StringIO(again, newline=""), delimiter=";"))
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert {name: value for name, value in one.items() if name not in numbers} == {
            name: value for name, value in other.items() if name not in numbers
        }
        assert [Decimal(one[name] or 0) for name in sorted(numbers)] == [
            Decimal(other[name] or 0) for name in sorted(numbers)
        ]
