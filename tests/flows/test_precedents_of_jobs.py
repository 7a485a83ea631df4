"""What stands decides: the same bill twice, money back of both signs; within a page, a job, a company, and resumed."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import pytest

from blocks.erp.base import Outcome
from blocks.erp.entries import Entry
from blocks.erp.settings import DuplicateInvoice, ErpSettings, MoneyBackSign, Settlement
from flows.outcome import Ending, JobReport
from flows.stop import Stop
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import Json, an_item, entry_id, payable

WARN = ErpSettings(duplicate_invoice=DuplicateInvoice.WARN)


def a_bill(number: int, value: int = 50_000, invoice: str = "INV-77", **changes: Any) -> Json:
    information = {"invoiceNumber": invoice, "invoiceDate": "2026-10-01", "status": "paid"}
    told = {"reconciliationId": f"B{number}", "invoiceInformation": information}
    return payable(number, "invoice", value=value, contraAccount=None, additionalInformation=told, **changes)


def back(number: int, value: int, type_: str = "chargeback", **changes: Any) -> Json:
    return an_item(number, value=value, type=type_, **changes)


async def exported(at_work: Office, *items: Json, **how: Any) -> JobReport:
    at_work.sandbox.add_job_of(items, vendor_based=True)
    (job,) = (await at_work.export(**how)).jobs
    return job


def refused(job: JobReport) -> dict[str, str]:
    return {one.accounting_entry_id: one.reason for one in job.failures}


# The same invoice again


@pytest.mark.parametrize("how", [{}, {"page_size": 1}, {"settings": ErpSettings(settlement=Settlement.NEVER)}])
async def test_a_bill_that_two_colleagues_sent_in_is_booked_once_and_the_second_names_it(
    at_work: Office, how: dict[str, Any]
) -> None:
    job = await exported(at_work, a_bill(1), a_bill(2), **how)
    reason = (
        "Invoice INV-77 of DSB over 500.00 DKK is booked already as PX-000001. Delete one of the two in Pleo, or let "
        "the settings (duplicate_invoice) book both."
    )
    assert (job.event, refused(job)) == ("completed_with_errors", {entry_id(2): reason})
    assert at_work.journal("SELECT external_id, owed_minor FROM open_item") == [("PX-000001", 50_000)]


async def test_it_is_known_in_a_later_job_and_when_it_is_exported_again(at_work: Office) -> None:
    await exported(at_work, a_bill(1))
    job_id = at_work.sandbox.add_job_of([a_bill(2)], vendor_based=True)
    for _ in range(2):
        (job,) = (await at_work.export()).jobs
        assert "booked already as PX-000001" in refused(job)[entry_id(2)]
        at_work.sandbox.export_again(job_id)
    assert at_work.entries() == 1


async def test_the_first_that_was_booked_is_the_first_and_none_that_failed(at_work: Office) -> None:
    nothing = {**a_bill(1), "accountingEntryLines": []}
    job = await exported(at_work, nothing, a_bill(2), a_bill(3))
    assert list(refused(job)) == [entry_id(1), entry_id(3)]
    assert "booked already as PX-000001" in refused(job)[entry_id(3)]


@pytest.mark.parametrize("page_size", [100, 1])
async def test_the_settings_book_it_twice_and_each_names_the_other(at_work: Office, page_size: int) -> None:
    job = await exported(at_work, a_bill(1), a_bill(2), settings=WARN, page_size=page_size)
    assert (job.event, at_work.entries()) == ("completed", 2)
    assert job.notices == [
        "invoice INV-77 of V1 stands as PX-000002 (500.00 DKK) too",
        "B2: invoice INV-77 of V1 stands as PX-000001 (500.00 DKK) too",
    ]


@pytest.mark.parametrize("page_size", [100, 1])
async def test_with_another_amount_each_names_the_other(at_work: Office, page_size: int) -> None:
    job = await exported(at_work, a_bill(1), a_bill(2, 40_000), a_bill(3, invoice="INV-78"), page_size=page_size)
    assert (job.event, at_work.entries()) == ("completed", 3)
    number = "PX-000003" if page_size > 1 else "PX-000002"  # of one page the second waits until all others stand
    assert job.notices == [
        f"invoice INV-77 of V1 stands as {number} (400.00 DKK) too",
        "B2: invoice INV-77 of V1 stands as PX-000001 (500.00 DKK) too",
    ]


async def test_a_dry_run_foresees_it(at_work: Office) -> None:
    job = await exported(at_work, a_bill(1), a_bill(2), a_bill(3, 40_000), dry_run=True, page_size=2)
    assert "is booked already as B1." in refused(job)[entry_id(2)]
    assert job.notices == [
        "invoice INV-77 of V1 stands as B3 (400.00 DKK) too",
        "B3: invoice INV-77 of V1 stands as B1 (500.00 DKK) too",
    ]
    assert at_work.entries() == 0


async def test_where_the_accounting_system_cannot_tell_the_job_does(at_work: Office, erp: SmallErpServer) -> None:
    job = await exported(at_work, a_bill(1), a_bill(2), a_bill(3, 1), erp=SmallErp(erp.base_url), page_size=1)
    assert "booked already as S-1" in refused(job)[entry_id(2)]
    assert len(job.notices) == 2


# Money back of both signs


BOTH = (back(1, -49_900), back(2, 49_900))


@pytest.mark.parametrize("how", [{}, {"page_size": 1}, {"dry_run": True}, {"dry_run": True, "page_size": 1}])
async def test_a_chargeback_that_was_lost_again_fails_by_name_of_the_setting(
    at_work: Office, how: dict[str, Any]
) -> None:
    job = await exported(at_work, *BOTH, back(3, -100), back(4, 100, "cashback"), **how)
    (reason,) = refused(job).values()
    assert list(refused(job)) == [entry_id(2)]
    assert "money_back_sign" in reason
    assert "499.00 DKK" in reason
    if "dry_run" not in how:
        rows = at_work.journal("SELECT sum(debit_minor - credit_minor) FROM journal WHERE account = '5820'")
        assert rows == [(49_900 + 100 + 100,)]


@pytest.mark.parametrize("first", [-49_900, 49_900])
async def test_it_is_known_in_a_later_job_until_the_setting_says_which_sign_it_has(at_work: Office, first: int) -> None:
    await exported(at_work, back(1, first))
    job_id = at_work.sandbox.add_job_of([back(2, -first)])
    (job,) = (await at_work.export()).jobs
    assert list(refused(job)) == [entry_id(2)]
    at_work.sandbox.export_again(job_id)
    sign = MoneyBackSign.NEGATIVE if first < 0 else MoneyBackSign.POSITIVE
    (job,) = (await at_work.export(settings=ErpSettings(money_back_sign=sign))).jobs
    assert job.event == "completed"
    assert at_work.journal("SELECT sum(debit_minor - credit_minor) FROM journal WHERE account = '5820'") == [(0,)]


async def test_what_stands_is_reported_as_it_stands_when_it_is_exported_again(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of(BOTH)
    await at_work.export()
    at_work.sandbox.export_again(job_id)
    (job,) = (await at_work.export()).jobs
    assert (job.found, list(refused(job))) == (1, [entry_id(2)])


async def test_an_item_that_fails_for_another_reason_shows_its_sign_all_the_same(at_work: Office) -> None:
    job = await exported(at_work, {**back(1, -100), "accountingEntryLines": []}, back(2, 100))
    assert "money_back_sign" in refused(job)[entry_id(2)]


class _BrokenOff(SmallErp):
    """Asks the run to end once the first entry stands."""

    stop: Stop

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        outcomes = await super().record(entries)
        if self.stop.signal is None:
            self.stop.request(signal.SIGTERM)
        return outcomes


async def test_a_run_that_goes_on_with_a_job_knows_what_another_run_has_seen_of_it(
    at_work: Office, erp: SmallErpServer
) -> None:
    """Also where the accounting system cannot tell, and of items that Pleo has as final."""
    job_id = at_work.sandbox.add_job_of([*BOTH, back(3, -100)])
    broken_off = _BrokenOff(erp.base_url)
    broken_off.stop = Stop()
    stop = broken_off.stop
    (job,) = (await at_work.export(erp=broken_off, stop=stop, page_size=1, update_batch_size=1)).jobs
    assert (job.ending, at_work.sandbox.outcome(job_id)) == (Ending.INTERRUPTED, {"successful": 1, "pending": 2})
    (job,) = (await at_work.export(erp=SmallErp(erp.base_url), page_size=1)).jobs
    assert (job.event, list(refused(job))) == ("completed_with_errors", [entry_id(2)])
