"""The files that the demonstration hands over: the sandbox's month as a German, Swedish and Danish company has it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from blocks.erp.entries import Bill, EntryState, Recorded, Vendor
from blocks.erp.ledger.block import LedgerSettings
from flows.demo import ITEMS
from flows.settings import read_settings
from tests.blocks.erp.sie_reader import read_sie
from tests.support.erp.ledger_samples import BILL, COMPANY, PAYMENT, a_bill, rows
from tests.support.exporting import Office, office

POSTED = EntryState.POSTED
DEMO = Path(__file__).parents[2] / "flows" / "demo"
_COMPANY_AMOUNTS = """
    SELECT l.account, sum(coalesce(iif(l.credit_minor > 0, -l.company_minor, l.company_minor),
        l.debit_minor - l.credit_minor))
    FROM line AS l JOIN entry AS e ON e.id = l.entry_id WHERE e.state = 'posted' GROUP BY l.account
"""


def _trial_balance(books: Path) -> dict[str, int]:
    """What each account comes to in the company's currency, in hundredths."""
    return {account: amount for account, amount in rows(books, _COMPANY_AMOUNTS) if amount}


async def _exported(at_work: Office, settings: LedgerSettings) -> None:
    at_work.sandbox.add_job(items=ITEMS, seed=1, showcase=True)
    report = await at_work.export(erp=settings.connect(at_work.books.parent), settings=settings)
    (job,) = report.jobs
    assert job.successful == 111
    assert any(note.startswith("batch 1 for ") for note in job.notices)


async def test_a_german_companys_month_is_a_batch_that_comes_to_its_trial_balance(tmp_path: Path) -> None:
    with office(tmp_path) as at_work:
        await _exported(at_work, read_settings(DEMO / "datev.toml"))
    folder = tmp_path / "books-handover"
    (file,) = folder.glob("EXTF_*.csv")
    totals: Counter[str] = Counter()
    share = Decimal("0.19")
    for row in list(csv.reader(io.StringIO(file.read_bytes().decode("cp1252"), newline=""), delimiter=";"))[2:]:
        minor = int((row[4] or row[0]).replace(",", "")) * (1 if row[1] == "S" else -1)
        totals[row[7]] -= minor
        if row[8] == "94":
            tax = int((minor * share).quantize(Decimal(1), ROUND_HALF_UP))
            totals["7920"] += tax
            totals["7930"] -= tax
        elif row[8] == "9":
            tax = int((minor * share / (1 + share)).quantize(Decimal(1), ROUND_HALF_UP))
            totals["7910"] += tax
            minor -= tax
        totals[row[6]] += minor
    assert {account: amount for account, amount in totals.items() if amount} == _trial_balance(at_work.books)
    manifest = json.loads(next(folder.glob("EXTF_*.manifest.json")).read_text())
    assert manifest["entries"] == 111
    assert len(manifest["receipts"]) == rows(at_work.books, "SELECT count(*) FROM attachment")[0][0]


async def test_a_swedish_companys_month_is_vouchers_that_come_to_its_trial_balance(tmp_path: Path) -> None:
    with office(tmp_path) as at_work:
        await _exported(at_work, read_settings(DEMO / "sie4.toml"))
    (file,) = (tmp_path / "books-handover").glob("*.si")
    totals: Counter[str] = Counter()
    for voucher in read_sie(file.read_bytes()).vouchers:
        for account, _, amount in voucher.rows:
            totals[account] += int(amount * 100)
    assert {account: amount for account, amount in totals.items() if amount} == _trial_balance(at_work.books)


async def test_a_danish_companys_month_is_a_csv_that_comes_to_its_trial_balance(tmp_path: Path) -> None:
    settings = read_settings(DEMO / "settings.toml", handover=["csv"])
    with office(tmp_path) as at_work:
        await _exported(at_work, settings)
    (file,) = (tmp_path / "books-handover").glob("*.csv")
    totals: Counter[tuple[str, str]] = Counter()
    for row in csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""), delimiter=";"):
        minor = int(row["debit"].replace(".", "")) - int(row["credit"].replace(".", ""))
        totals[row["currency"], row["account"]] += minor
    journal = "SELECT currency, account, sum(debit_minor - credit_minor) FROM journal GROUP BY 1, 2"
    assert {key: amount for key, amount in totals.items() if amount} == {
        (currency, account): amount for currency, account, amount in rows(at_work.books, journal) if amount
    }


def test_an_account_that_datev_cannot_take_is_named() -> None:
    given = {"handover": "datev", "datev": {"adviser": 1001, "client": 1}, "contra_account": "1360"}
    with pytest.raises(ValueError, match="out_of_pocket_account is not set, and the ledger's own account for it has"):
        LedgerSettings(**given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="account 58A0 cannot be written in datev"):
        LedgerSettings(**given, out_of_pocket_account="58A0")  # type: ignore[arg-type]


async def test_an_exchange_difference_is_handed_over_in_the_companys_currency(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("currency,first_date,rate\nEUR,2026-01-01,7.40\nEUR,2026-02-01,7.50\n")
    settings = LedgerSettings(
        company_currency="DKK",
        rates_file=str(tmp_path / "rates.csv"),
        posting="posted",  # type: ignore[arg-type]
        exchange_gain_account="6991",
        exchange_loss_account="6992",
        handover="csv",
        attachments="skip",  # type: ignore[arg-type]
    )
    vendor = Vendor("V-1", "Acme")
    ledger = settings.connect(tmp_path)
    await ledger.open(COMPANY, dry_run=False)
    try:
        bill, payment = (
            a_bill(n, kind, vendor=vendor, currency="EUR", company_currency="DKK", posting_date=day, state=POSTED)
            for n, (kind, day) in enumerate(((BILL, date(2026, 1, 5)), (PAYMENT, date(2026, 2, 5))), 1)
        )
        await ledger.load_reference()
        outcomes = await ledger.record([in_company(bill, Decimal("7.40")), in_company(payment, Decimal("7.50"))])
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        await ledger.finish_job()
    finally:
        await ledger.close()
    (file,) = (tmp_path / "books-handover").glob("*.csv")
    totals: Counter[str] = Counter()
    for row in csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""), delimiter=";"):
        totals[row["account"]] += int(row["company_debit"].replace(".", "")) - int(
            row["company_credit"].replace(".", "")
        )
    assert totals["6992"] == 125
    assert totals["pleo-payable"] == 0
    assert {account: amount for account, amount in totals.items() if amount} == _trial_balance(
        tmp_path / "books.sqlite"
    )


def in_company(bill: Bill, rate: Decimal) -> Bill:
    """The bill with its lines at that rate."""
    documents = tuple(
        replace(
            document,
            lines=tuple(
                replace(line, company_minor=int((line.debit_minor + line.credit_minor) * rate))
                for line in document.lines
            ),
        )
        for document in bill.documents
    )
    return replace(bill, documents=documents)
