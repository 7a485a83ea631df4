"""What all batches of a ledger come to, over thousands of drawn purchases, some of them reversed: the trial balance."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from blocks.erp.entries import Recorded
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.ledger.handover.settings import HandoverSettings
from tests.blocks.erp.handover_samples import TAX_CODES, booked_by_datev, drawn, trial_balance
from tests.blocks.erp.sie_reader import read_sie
from tests.blocks.erp.test_handover_batches import ALL
from tests.support.choice import slow
from tests.support.erp.ledger_samples import entry_id, opened, rows

AT_ONCE = 250


@pytest.mark.parametrize("count", [250, *slow(5000)])
async def test_all_batches_of_each_format_come_to_the_trial_balance(tmp_path: Path, count: int) -> None:
    (tmp_path / "tax_codes.csv").write_text(TAX_CODES)
    terms = {
        "handover": HandoverSettings.model_validate(ALL),
        "handover_folder": tmp_path / "out",
        "company_currency": "EUR",
        "charts": ChartFiles(tax_codes=tmp_path / "tax_codes.csv"),
    }
    books = tmp_path / "books.sqlite"
    async with opened(books, **terms) as ledger:
        for first in range(1, count, AT_ONCE):
            outcomes = await ledger.record(drawn(AT_ONCE, first, first=first))
            assert all(isinstance(one, Recorded) for one in outcomes)
            if first > 1:  # some of what was handed over before
                ids = [entry_id(n) for n in range(first - AT_ONCE, first, 7)]
                found = await ledger.find(ids)
                assert not await ledger.reverse(list(found.values()), date(2026, 3, 30))
            await ledger.finish_job()
    expected = trial_balance(books)
    out = tmp_path / "out"
    assert booked_by_datev(*sorted(out.glob("EXTF_*.csv"))) == expected

    vouchers: Counter[str] = Counter()
    for file in out.glob("*.si"):
        for voucher in read_sie(file.read_bytes()).vouchers:
            for account, _, amount in voucher.rows:
                vouchers[account] += int(amount * 100)
    assert {account: amount for account, amount in vouchers.items() if amount} == expected

    lines: Counter[str] = Counter()
    for file in out.glob("6d2a6b0e_*.csv"):
        for row in csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""), delimiter=";"):
            lines[row["account"]] += int(row["debit"].replace(".", "")) - int(row["credit"].replace(".", ""))
    assert {account: amount for account, amount in lines.items() if amount} == expected

    entries = rows(books, "SELECT count(*) FROM entry")[0][0]
    handed = "SELECT format, count(*), count(DISTINCT entry_id) FROM batch_entry GROUP BY format"
    assert rows(books, handed) == [(name, entries, entries) for name in ("csv", "datev", "sie4")]
