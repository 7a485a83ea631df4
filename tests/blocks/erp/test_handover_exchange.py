"""Exchange differences and batches: handed over with their entry, and never booked into one that was handed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from blocks.erp.entries import Entry
from blocks.erp.ledger.handover.settings import HandoverSettings
from tests.blocks.erp.test_ledger_exchange import ACCOUNTS, exchange_lines
from tests.support.erp.ledger_samples import BILL, PAYMENT, entry_id, opened, rows
from tests.support.erp.ledger_tool import a_document_at, told

BOTH = (a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500))


async def job(tmp_path: Path, accounts: tuple[str, str], *entries: Entry) -> dict[str, Any]:
    settings = HandoverSettings.model_validate({"handover": ["csv"]})
    terms: dict[str, Any] = {"company_currency": "DKK", "exchange_accounts": accounts, "handover": settings}
    async with opened(tmp_path / "books.sqlite", handover_folder=tmp_path / "out", **terms) as ledger:
        await ledger.record(entries)
        assert all("no batch" not in line for line in await ledger.finish_job())
        return dict(await ledger.find([entry_id(1), entry_id(2)]))


async def test_a_difference_is_handed_over_in_the_currency_of_the_books(tmp_path: Path) -> None:
    await job(tmp_path, ACCOUNTS, *BOTH)
    (file,) = (tmp_path / "out").glob("*_000001.csv")
    found = pd.read_csv(file, sep=";", dtype=str, keep_default_na=False)
    lines = found[found["text"] == "Exchange difference"]
    columns = ["account", "debit", "credit", "currency", "company_debit", "company_credit", "company_currency"]
    assert lines[columns].values.tolist() == [
        ["pleo-payable", "0.00", "0.00", "EUR", "0.00", "5.00", "DKK"],
        ["7091", "0.00", "0.00", "EUR", "5.00", "0.00", "DKK"],
    ]
    payable = found[found["account"] == "pleo-payable"]
    assert payable["company_debit"].map(float).sum() == payable["company_credit"].map(float).sum()
    told_of_it = [one["what"] for one in told(tmp_path / "books.sqlite", "history", "PX-000002")["history"]]
    assert told_of_it[1:] == [
        "with PX-000001, exchange loss of 5.00 DKK on 7091",
        f"{file.name}, batch 1 of csv",
    ]
    (manifest,) = rows(tmp_path / "books.sqlite", "SELECT manifest FROM batch")[0]
    assert "7091" in json.dumps(json.loads(manifest))


async def test_an_entry_that_was_handed_over_takes_no_difference_any_more(tmp_path: Path) -> None:
    await job(tmp_path, ("", ""), *BOTH)
    found = await job(tmp_path, ACCOUNTS)
    assert [one.open_because for one in found.values()] == [
        "5.00 DKK of exchange loss would be left, and PX-000002 was handed over as it is: reverse it, and export the "
        "expense again"
    ] * 2
    assert exchange_lines(tmp_path / "books.sqlite") == []
