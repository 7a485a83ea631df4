"""Pleo's table of item failures (workflow, step 6), row by row, each from a real cause in an ERP over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blocks.erp.entries import Account, AccountKind, EntryState, Vendor
from blocks.erp.reference import ROLE_KINDS, Chart, JournalUse, KnownVendor, Reference, Role, Vendors
from blocks.erp.settings import Attachments, ErpSettings, UnknownVendor
from blocks.pleo.sandbox.receipts import stored_url
from flows.outcome import JobReport
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import Json, account, an_item, entry_id, line, money, payable, vendor

PDF = "5f0d3c1a-0000-4000-8000-000000000001.pdf"
UNKNOWN_VENDOR = (
    "Selected vendor cannot be processed because it does not exist or is currently blocked. "
    "Please verify the vendor’s status in the accounting system and try again."
)


def _account(code: str, kind: AccountKind = AccountKind.EXPENSE) -> Account:
    return Account(code, code, kind)


REFERENCE = Reference(
    roles={Role.PAYABLE: Account("7010", "Payables", ROLE_KINDS[Role.PAYABLE])},
    wallets={"DKK": _account("5820", AccountKind.ASSET)},
    journals={JournalUse.GENERAL: "GEN", JournalUse.BILLS: "EXP", JournalUse.PAYMENTS: "BANK"},
    chart=Chart([_account("6010"), _account("7010", AccountKind.LIABILITY), _account("5820", AccountKind.ASSET)]),
    tax_codes=frozenset({"I25"}),
    dimensions={"PROJECT": frozenset({"P-1"})},
    vendors=Vendors(
        [KnownVendor(Vendor("V1", "DSB")), KnownVendor(Vendor("V2", "Blocked Ltd"), blocked=True)],
    ),
)
"""A set-up with gaps: no journal for credit notes, no out-of-pocket account, few codes."""


async def exported(at_work: Office, items: list[Json], system: SmallErp, **settings: Any) -> JobReport:
    at_work.sandbox.add_job_of(items, vendor_based=True)
    report = await at_work.export(erp=system, settings=ErpSettings(**settings))
    assert len(report.jobs) == 1, report.lines
    return report.jobs[0]


def told(at_work: Office, job: JobReport) -> dict[str, tuple[str | None, str | None]]:
    """What Pleo was told of each failed item, which is also what the report says."""
    rows = {item.accounting_entry_id: item for item in at_work.sandbox.items(job.job_id)}
    told = {id_: (row.failure_reason_type, row.failure_reason) for id_, row in rows.items() if row.status == "failed"}
    assert {item.accounting_entry_id: (item.type.value, item.reason) for item in job.failures} == told
    assert {row.status for row in rows.values()} <= {"failed", "successful"}
    return told


def taxed(number: int, code: str) -> Json:
    tax = {"id": entry_id(99), "code": code, "rate": 0.25, "type": "exclusive", "amount": money(2_000)}
    return an_item(number, accountingEntryLines=[line(10_000, netAmount=money(8_000), tax=tax)])


def tagged(number: int, code: str) -> Json:
    return an_item(
        number, accountingEntryLines=[line(10_000, tags=[{"id": entry_id(98), "groupCode": "PROJECT", "code": code}])]
    )


def on_account(number: int, code: str | None, name: str = "Travel") -> Json:
    return an_item(number, accountingEntryLines=[line(10_000, account=account(code, name))])


ROWS: list[tuple[str, Json, str, str]] = [
    (
        "journal not configured",
        payable(1, "refund"),
        "missing_configuration",
        "Journal credit notes missing: provide journal credit notes in the configurations",
    ),
    (
        "account not configured",
        an_item(2, type="out_of_pocket", contraAccount=None),
        "missing_configuration",
        "Account out-of-pocket missing: provide account out-of-pocket in the configurations",
    ),
    (
        "category not set on a line",
        on_account(3, None, "Gifts"),
        "missing_configuration",
        "Account Gifts for line 1 of DSB missing: provide account number of this category in Pleo",
    ),
    (
        "tax code absent in the ERP",
        taxed(4, "X99"),
        "invalid_configuration",
        "Tax Code X99 does not exist in the Accounting System",
    ),
    (
        "account absent in the ERP",
        on_account(5, "9999"),
        "invalid_configuration",
        "Account No. 9999 does not exist in the Accounting System. Check Category.",
    ),
    (
        "tag absent in the ERP",
        tagged(6, "P-2"),
        "invalid_configuration",
        "Tag with code P-2 does not exist on the Accounting System. Check the Tag.",
    ),
    ("vendor absent", payable(7, vendor=vendor("V9")), "vendor_unknown", UNKNOWN_VENDOR),
    ("vendor blocked", payable(8, vendor=vendor("V2")), "vendor_unknown", UNKNOWN_VENDOR),
]


async def test_what_is_not_set_up_or_not_there_fails_its_item_alone(at_work: Office, erp: SmallErpServer) -> None:
    items = [item for _, item, _, _ in ROWS] + [an_item(20), payable(21), tagged(22, "P-1")]
    taxes = replace(REFERENCE, roles={**REFERENCE.roles, Role.INPUT_TAX: _account("7010", AccountKind.LIABILITY)})
    job = await exported(at_work, items, SmallErp(erp.base_url, reference=taxes))
    expected = {item["accountingEntryId"]: (type_, reason) for _, item, type_, reason in ROWS}
    assert told(at_work, job) == expected
    assert set(erp.entries) == {entry_id(20), entry_id(21), entry_id(22)}


async def test_a_vendor_that_nobody_knows_may_go_to_a_fallback_account(at_work: Office, erp: SmallErpServer) -> None:
    system = SmallErp(erp.base_url, reference=REFERENCE)
    job = await exported(
        at_work,
        [payable(7, vendor=vendor("V9")), payable(8, vendor=vendor("V2"))],
        system,
        unknown_vendor=UnknownVendor.FALLBACK,
    )
    assert told(at_work, job) == {}
    assert [entry.document["accounts"] for entry in erp.entries.values()] == [["5820", "6010", "7010"]] * 2


def with_receipt(number: int, **changes: Any) -> Json:
    return an_item(number, files=[{"url": stored_url(PDF), "type": "application/pdf"}], **changes)


def with_dead_link(at_work: Office, number: int) -> Json:
    dead = f"{at_work.base_url}/receipts/1/none/{PDF}"
    return an_item(number, files=[{"url": dead, "type": "application/pdf"}])


@pytest.mark.parametrize("posting", list(EntryState))
async def test_a_required_receipt_that_fails_leaves_no_entry_behind(
    at_work: Office, erp: SmallErpServer, posting: EntryState
) -> None:
    erp.fault("attach", status=422, text="the file is infected", skip=1)
    erp.fault("attach", status=413, text="at most 1 kB", skip=1)
    job = await exported(
        at_work,
        [with_receipt(1), with_receipt(2), with_receipt(3), with_dead_link(at_work, 4), with_receipt(5)],
        SmallErp(erp.base_url),
        attachments=Attachments.REQUIRED,
        posting=posting,
    )
    assert told(at_work, job) == {
        entry_id(2): ("receipt_upload_failure", "the file is infected"),
        entry_id(3): ("receipt_file_size_limit_exceeded", "Attachment file size exceeds accounting system limits."),
        entry_id(4): (
            "receipt_download_failure",
            "Failed to download the attachment file from Pleo. Re-export the expense.",
        ),
    }
    assert erp.removed == [entry_id(2), entry_id(3)]
    assert {id_: (entry.posted, sorted(entry.files)) for id_, entry in erp.entries.items()} == {
        entry_id(1): (posting is EntryState.POSTED, [1]),
        entry_id(5): (posting is EntryState.POSTED, [1]),
    }


async def test_an_optional_receipt_that_fails_is_named_and_the_entry_stands(
    at_work: Office, erp: SmallErpServer
) -> None:
    erp.fault("attach", status=422, text="the file is infected")
    job = await exported(
        at_work,
        [with_receipt(1), with_dead_link(at_work, 2), with_receipt(3)],
        SmallErp(erp.base_url),
        attachments=Attachments.OPTIONAL,
    )
    assert told(at_work, job) == {}
    assert job.notices == [
        "S-1 lacks a receipt: the file is infected",
        "S-2 lacks a receipt: Failed to download the attachment file from Pleo. Re-export the expense.",
    ]
    assert {id_: sorted(entry.files) for id_, entry in erp.entries.items()} == {
        entry_id(1): [],
        entry_id(2): [],
        entry_id(3): [1],
    }


async def test_without_receipts_none_is_fetched(at_work: Office, erp: SmallErpServer) -> None:
    job = await exported(at_work, [with_receipt(1)], SmallErp(erp.base_url), attachments=Attachments.SKIP)
    assert (job.successful, at_work.sandbox.received().receipts, erp.entries[entry_id(1)].files) == (1, 0, {})


async def test_a_limit_that_outlives_the_job_fails_what_is_open_and_ends_the_job(
    at_work: Office, erp: SmallErpServer
) -> None:
    erp.fault("create", status=429, text="come back tomorrow", retry_after="86400", skip=2, times=99)
    job = await exported(at_work, [an_item(n) for n in range(1, 6)], SmallErp(erp.base_url))
    assert told(at_work, job) == {
        entry_id(n): ("accounting_system_rate_limit", "come back tomorrow") for n in range(3, 6)
    }
    assert (job.successful, at_work.sandbox.job(job.job_id).status) == (2, "completed_with_errors")


async def test_a_short_pause_that_the_erp_asks_for_is_waited_out(at_work: Office, erp: SmallErpServer) -> None:
    erp.fault("create", status=429, text="slowly, please", retry_after="2", skip=1, times=2)
    job = await exported(at_work, [an_item(n) for n in range(1, 4)], SmallErp(erp.base_url))
    assert (job.successful, told(at_work, job), len(erp.entries)) == (3, {}, 3)


async def test_a_login_revoked_in_mid_run_fails_what_is_open_and_ends_the_job(
    at_work: Office, erp: SmallErpServer
) -> None:
    erp.fault("create", status=401, text="this key was revoked", skip=2, times=99)
    job = await exported(at_work, [an_item(n) for n in range(1, 6)], SmallErp(erp.base_url))
    assert told(at_work, job) == {
        entry_id(n): ("accounting_system_authentication_failure", "this key was revoked") for n in range(3, 6)
    }
    assert (job.successful, at_work.sandbox.job(job.job_id).status) == (2, "completed_with_errors")


async def test_whatever_else_the_erp_answers_is_its_own_words(at_work: Office, erp: SmallErpServer) -> None:
    erp.fault("create", status=400, text="Account 6010 needs an asset number")
    erp.fault("create", status=504, text="gave up after 30 s", skip=1)
    job = await exported(at_work, [an_item(n) for n in range(1, 5)], SmallErp(erp.base_url))
    assert told(at_work, job) == {
        entry_id(1): ("accounting_system_validation_failure", "Account 6010 needs an asset number"),
        entry_id(3): ("accounting_system_timeout", "gave up after 30 s"),
    }
    assert set(erp.entries) == {entry_id(2), entry_id(4)}


JOB_ROWS = [
    ({"status": 401, "text": "wrong key"}, "accounting_system_authentication_failure"),
    ({"status": 403, "text": "the user may not post"}, "invalid_configuration"),
    ({"status": 503, "text": "closed for maintenance"}, "accounting_system_unreachable"),
    ({"status": 429, "text": "too many calls today"}, "accounting_system_rate_limit"),
]


@pytest.mark.parametrize(("answer", "reason_type"), JOB_ROWS)
async def test_an_erp_that_cannot_be_used_fails_the_job_before_anything_is_recorded(
    at_work: Office, erp: SmallErpServer, answer: dict[str, Any], reason_type: str
) -> None:
    erp.fault("ping", times=99, **answer)
    job = await exported(at_work, [an_item(1)], SmallErp(erp.base_url))
    now = at_work.sandbox.job(job.job_id)
    assert (now.status, now.failure_reason_type, now.failure_reason) == ("failed", reason_type, answer["text"])
    assert (erp.entries, "create" in erp.calls) == ({}, False)


async def test_vendor_tagging_without_bills_fails_the_job(at_work: Office, erp: SmallErpServer) -> None:
    job = await exported(at_work, [payable(1)], SmallErp(erp.base_url, bills=False))
    now = at_work.sandbox.job(job.job_id)
    assert (now.status, now.failure_reason_type) == ("failed", "invalid_configuration")
    assert "vendor-based bookkeeping" in (now.failure_reason or "")
