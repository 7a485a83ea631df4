"""A bill and its payment that come in different jobs: open and named to each other as drafts, settled once posted."""

from __future__ import annotations

import pytest

from blocks.erp.entries import EntryState
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
