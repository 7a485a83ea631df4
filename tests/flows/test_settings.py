"""What the accountant's choices make of a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from blocks.erp.entries import EntryState
from blocks.erp.settings import AllFailedEvent, ErpSettings, MoneyBackSign
from blocks.pleo.items import ExportItem
from flows.bookkeeping.accounts import is_turned, rule_for
from flows.bookkeeping.context import accounting_date
from tests.support.exporting import Office

COMPANY = "5a4db0c5-0000-4000-8000-000000000001"


def _item(moment: datetime) -> ExportItem:
    return ExportItem(
        accounting_entry_id="5a4b2f80-0000-4000-8000-000000000001", company_id=COMPANY, type="fee", date=moment
    )


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        (datetime(2026, 3, 31, 22, 30, tzinfo=UTC), "Europe/Copenhagen", "2026-04-01"),
        (datetime(2026, 3, 31, 22, 30, tzinfo=UTC), "UTC", "2026-03-31"),
        (datetime(2026, 4, 1, 2, 0, tzinfo=UTC), "America/New_York", "2026-03-31"),
        (datetime(2026, 4, 1, 0, 0, tzinfo=UTC), "America/New_York", "2026-04-01"),
    ],
)
def test_the_date_is_the_companys_and_a_calendar_date_is_never_shifted(
    moment: datetime, zone: str, expected: str
) -> None:
    assert accounting_date(_item(moment), ZoneInfo(zone)).isoformat() == expected


@pytest.mark.parametrize(
    ("sign", "header", "turned"),
    [
        (MoneyBackSign.EITHER, 100, True),
        (MoneyBackSign.EITHER, -100, True),
        (MoneyBackSign.NEGATIVE, -100, True),
        (MoneyBackSign.NEGATIVE, 100, False),
        (MoneyBackSign.POSITIVE, 100, True),
        (MoneyBackSign.POSITIVE, -100, False),
        (MoneyBackSign.NEGATIVE, 0, True),
        (MoneyBackSign.POSITIVE, 0, True),
    ],
)
def test_a_known_sign_of_money_back_lets_the_other_one_turn_it_round(
    sign: MoneyBackSign, header: int, turned: bool
) -> None:
    assert is_turned(rule_for("refund", None), header, sign) is turned
    assert is_turned(rule_for("card_purchase", None), header, sign) is (header < 0)


async def test_role_accounts_take_the_place_of_the_ledgers_own(at_work: Office) -> None:
    at_work.sandbox.add_job(items=60, failing=False)
    await at_work.export(settings=ErpSettings(out_of_pocket_account="2920", contra_account="1999"))
    accounts = {row[0] for row in at_work.journal("SELECT DISTINCT account FROM journal")}
    assert {"2920", "1999"} <= accounts
    assert not {"pleo-out-of-pocket", "pleo-contra"} & accounts


async def test_entries_are_posted_and_drafts_that_are_found_are_posted_too(at_work: Office) -> None:
    first = at_work.sandbox.add_job(items=30, failing=False)
    await at_work.export()
    assert at_work.journal("SELECT DISTINCT state FROM journal") == [("draft",)]
    at_work.sandbox.export_again(first)
    at_work.sandbox.add_job(items=10, seed=2, failing=False)
    report = await at_work.export(settings=ErpSettings(posting=EntryState.POSTED))
    assert [job.event for job in report.jobs] == ["completed", "completed"]
    assert at_work.journal("SELECT DISTINCT state FROM journal") == [("posted",)]
    assert at_work.entries() == 40


async def test_a_dry_run_posts_no_draft(at_work: Office) -> None:
    first = at_work.sandbox.add_job(items=10, failing=False)
    await at_work.export()
    at_work.sandbox.export_again(first)
    await at_work.export(settings=ErpSettings(posting=EntryState.POSTED), dry_run=True)
    assert at_work.journal("SELECT DISTINCT state FROM journal") == [("draft",)]


async def test_a_company_that_is_not_mapped_fails_its_job_before_anything_is_booked(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=10)
    report = await at_work.export(settings=ErpSettings(companies={"11111111-1111-4111-8111-111111111111": "Other"}))
    job = at_work.sandbox.job(job_id)
    assert (report.exit_status, job.failure_reason_type) == (1, "invalid_configuration")
    assert "add it to the settings" in (job.failure_reason or "")
    assert "PUT /v3/export-jobs/{jobId}/items" not in at_work.sandbox.received().by_call
    assert at_work.entries() == 0


async def test_a_job_whose_items_all_fail_ends_as_the_setting_says(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=5, failing=False)
    changes: dict[str, Any] = {"type": "unheard_of"}
    for item in at_work.sandbox.items(job_id):
        at_work.sandbox.edit_export_item(item.accounting_entry_id, changes, even_locked=True)
    report = await at_work.export(settings=ErpSettings(all_failed_event=AllFailedEvent.COMPLETED_WITH_ERRORS))
    assert (report.jobs[0].event, report.exit_status) == ("completed_with_errors", 3)
