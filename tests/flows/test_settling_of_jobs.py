"""A bill and its payment that come in different jobs: open and named to each other as drafts, settled once posted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from blocks.erp.entries import EntryState, Recorded
from blocks.erp.errors import Refused
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.settings import ErpSettings
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import Json, payable

POSTED = ErpSettings(posting=EntryState.POSTED)


def of_invoice(number: int, item_type: str, **changes: object) -> Json:
    information = {
        "reconciliationId": f"BOOK-{number}",
        "invoiceInformation": {"invoiceNumber": "F-17", "invoiceDate": "2026-10-01", "status": "paid"},
    }
    return payable(number, item_type, additionalInformation=information, **changes)


BILL, PAYMENT = of_invoice(1, "invoice", contraAccount=None), of_invoice(2, "invoice_payment")


def open_items(at_work: Office) -> list[tuple[object, ...]]:
    return at_work.journal("SELECT external_id, kind, owed_minor, open_minor FROM open_item ORDER BY external_id")


@pytest.mark.parametrize(("first", "second"), [(BILL, PAYMENT), (PAYMENT, BILL)])
async def test_posted_they_settle_each_other_whichever_comes_first(at_work: Office, first: Json, second: Json) -> None:
    for item in (first, second):
        at_work.sandbox.add_job_of([item], vendor_based=True)
        report = await at_work.export(settings=POSTED)
        assert (report.exit_status, report.jobs[0].notices) == (0, [])
    assert [(owed, left) for _, _, owed, left in open_items(at_work)] in (
        [(10_000, 0), (-10_000, 0)],
        [(-10_000, 0), (10_000, 0)],
    )


async def test_drafts_stay_open_name_each_other_and_are_settled_when_they_are_posted(at_work: Office) -> None:
    jobs = []
    for item in (BILL, PAYMENT):
        jobs.append(at_work.sandbox.add_job_of([item], vendor_based=True))
        report = await at_work.export()
    assert report.jobs[0].notices == ["PX-000002 belongs to PX-000001; they are not settled against each other"]
    assert open_items(at_work) == [("PX-000001", "bill", 10_000, 10_000), ("PX-000002", "payment", -10_000, -10_000)]
    for job in jobs:
        at_work.sandbox.export_again(job)
    report = await at_work.export(settings=POSTED)
    assert [job.notices for job in report.jobs] == [
        ["PX-000001 belongs to PX-000002; they are not settled against each other"],
        [],
    ]
    assert [left for *_, left in open_items(at_work)] == [0, 0]


async def test_another_amount_leaves_both_open_and_named(at_work: Office) -> None:
    at_work.sandbox.add_job_of([BILL, of_invoice(2, "invoice_payment", value=9_999)], vendor_based=True)
    report = await at_work.export(settings=POSTED)
    assert "PX-000002 belongs to PX-000001; they are not settled against each other" in report.jobs[0].notices
    assert [left for *_, left in open_items(at_work)] == [10_000, -9_999]


async def test_a_bill_that_was_paid_outside_pleo_stays_open(at_work: Office) -> None:
    bill = of_invoice(1, "invoice", contraAccount=None)
    bill["additionalInformation"]["invoiceInformation"]["status"] = "marked_as_paid"
    at_work.sandbox.add_job_of([bill, PAYMENT], vendor_based=True)
    await at_work.export(settings=POSTED)
    assert [left for *_, left in open_items(at_work)] == [10_000, -10_000]


class _BrokenOff(Ledger):
    """Books in which a run was broken off between posting and settling: nothing is settled before `post` is called."""

    finished: frozenset[str] = frozenset()

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        found = await super().find(accounting_entry_ids)
        return {id_: replace(one, settled=one.settled and id_ in self.finished) for id_, one in found.items()}

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        self.finished |= frozenset(accounting_entry_ids)
        return await super().post(accounting_entry_ids)


@pytest.mark.parametrize("posting", EntryState)
async def test_what_a_run_that_was_broken_off_has_not_settled_is_settled_by_the_next_that_posts(
    at_work: Office, posting: EntryState
) -> None:
    job = at_work.sandbox.add_job_of([BILL, PAYMENT], vendor_based=True)
    await at_work.export(settings=POSTED)
    at_work.sandbox.export_again(job)
    books = _BrokenOff(at_work.books)
    report = await at_work.export(erp=books, settings=ErpSettings(posting=posting))
    is_posted = posting is EntryState.POSTED
    assert (report.jobs[0].successful, len(books.finished)) == (2, 2 if is_posted else 0)
    assert len([text for text in report.jobs[0].notices if "not settled against" in text]) == (0 if is_posted else 2)


RATES = "currency,first_date,rate\nEUR,2026-01-01,7.40\nEUR,2026-11-01,7.50\n"


async def exported(at_work: Office, *items: Json, **chosen: str) -> list[str]:
    """The notices of a job of these items in books that are kept in kroner."""
    folder = at_work.books.parent
    (folder / "rates.csv").write_text(RATES)
    terms = {"posting": "posted", "company_currency": "DKK", "rates_file": "rates.csv", "path": at_work.books.name}
    settings = LedgerSettings(**{**terms, **chosen})
    if items:
        at_work.sandbox.add_job_of(list(items), vendor_based=True)
    report = await at_work.export(erp=settings.connect(folder), settings=settings)
    assert report.exit_status == 0
    return [notice for job in report.jobs for notice in job.notices]


async def test_a_bill_and_its_payment_at_two_rates_are_settled_once_the_settings_say_where_the_rest_goes(
    at_work: Office,
) -> None:
    bill = of_invoice(1, "invoice", contraAccount=None, value=100_000, currency="EUR")
    payment = of_invoice(2, "invoice_payment", value=100_000, currency="EUR", date="2026-11-20T09:00:00Z")
    notices = await exported(at_work, bill, payment)
    why = "not settled against each other: 100.00 DKK of exchange loss would be left: set exchange_loss_account"
    assert notices == [
        f"PX-000001 belongs to PX-000002; they are {why}",
        f"PX-000002 belongs to PX-000001; they are {why}",
    ]
    assert [left for *_, left in open_items(at_work)] == [100_000, -100_000]
    await exported(at_work, of_invoice(3, "invoice", contraAccount=None), exchange_loss_account="7091")
    assert [left for *_, left in open_items(at_work)] == [0, 0, 10_000]
    company = "sum(CASE WHEN debit_minor > 0 THEN company_minor ELSE -company_minor END)"
    of_euro = "FROM line WHERE entry_id < 3 AND account IN ('pleo-payable', '7091') GROUP BY account"
    assert at_work.journal(f"SELECT account, {company} {of_euro}") == [("7091", 10_000), ("pleo-payable", 0)]


async def test_a_wallet_in_kroner_pays_an_invoice_in_euro(at_work: Office) -> None:
    def in_both(kroner: int) -> Json:
        return {
            "inWalletCurrency": {"currency": "DKK", "value": kroner},
            "inSupplierCurrency": {"currency": "EUR", "value": 100_000},
        }

    def of(number: int, item_type: str, kroner: int, **changes: object) -> Json:
        made = of_invoice(number, item_type, value=kroner, amount=in_both(kroner), **changes)
        for line in made["accountingEntryLines"]:
            line["lineAmount"] = line["netAmount"] = in_both(kroner)
        return made

    items = (of(1, "invoice", 746_000, contraAccount=None), of(2, "invoice_payment", 746_650))
    assert await exported(at_work, *items, exchange_gain_account="7090", exchange_loss_account="7091") == []
    assert [left for *_, left in open_items(at_work)] == [0, 0]
    of_both = "FROM journal WHERE account IN ('pleo-payable', '7091') GROUP BY account"
    sums = at_work.journal(f"SELECT account, sum(debit_minor - credit_minor) {of_both}")
    assert sums == [("7091", 650), ("pleo-payable", 0)]
