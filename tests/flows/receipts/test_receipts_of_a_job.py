"""Receipts on their way through a whole job: from Pleo's link to the entry, each once, and links that died."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import EntryState
from blocks.erp.errors import ErpUnavailable
from blocks.erp.ledger import Ledger
from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.sandbox.receipts import content, stored_url
from flows.steps import PagesInMemory, plain_steps
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.exporting import Office, office
from tests.support.pleo.pleo_items import Json, an_item, entry_id

NAMES = [f"5f0d3c1a-0000-4000-8000-00000000000{n}.{kind}" for n, kind in enumerate(("pdf", "png", "jpg"), 1)]
GET_DATA = "GET /v3/export-items"
START = datetime(2026, 11, 3, 8, tzinfo=UTC)


def with_receipts(number: int, *names: str, **changes: Any) -> Json:
    return an_item(
        number, files=[{"url": stored_url(name), "type": "application/octet-stream"} for name in names], **changes
    )


async def test_every_receipt_stands_beside_the_books_under_its_hash(at_work: Office, tmp_path: Path) -> None:
    at_work.sandbox.add_job_of([with_receipts(1, *NAMES), an_item(2), with_receipts(3, NAMES[0])])
    report = await at_work.export(settings=ErpSettings(attachments=Attachments.REQUIRED))
    assert report.exit_status == 3  # the second has none
    rows = at_work.journal(
        "SELECT e.accounting_entry_id, a.number, a.sha256, a.size FROM attachment AS a "
        "JOIN entry AS e ON e.id = a.entry_id ORDER BY 1, 2"
    )
    wanted = [(entry_id(1), n, content(name)) for n, name in enumerate(NAMES, 1)] + [
        (entry_id(3), 1, content(NAMES[0]))
    ]
    assert rows == [(id_, n, hashlib.sha256(bytes_).hexdigest(), len(bytes_)) for id_, n, bytes_ in wanted]
    kept = {path.read_bytes() for path in (tmp_path / "books-receipts").rglob("*") if path.is_file()}
    assert kept == {content(name) for name in NAMES}


async def test_a_receipt_is_fetched_once_however_often_the_expense_is_exported(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([with_receipts(1, *NAMES[:2])])
    await at_work.export()
    at_work.sandbox.export_again(job_id)
    report = await at_work.export()
    assert (report.jobs[0].found, report.jobs[0].notices) == (1, [])
    assert at_work.sandbox.received().receipts == 2


async def test_receipts_that_an_earlier_run_left_out_are_attached_to_the_entry_that_stands(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([with_receipts(1, *NAMES)])
    await at_work.export(settings=ErpSettings(attachments=Attachments.SKIP))
    assert at_work.journal("SELECT count(*) FROM attachment") == [(0,)]
    at_work.sandbox.export_again(job_id)
    await at_work.export()
    assert at_work.journal("SELECT count(*) FROM attachment") == [(3,)]


@pytest.mark.parametrize("after_act", [False, True])
async def test_an_upload_without_an_answer_is_not_made_twice(
    at_work: Office, erp: SmallErpServer, after_act: bool
) -> None:
    at_work.sandbox.add_job_of([with_receipts(1, *NAMES), with_receipts(2, NAMES[0])])
    erp.fault("attach", drop=True, after_act=after_act, skip=1)
    settings = ErpSettings(attachments=Attachments.REQUIRED, posting=EntryState.POSTED)
    report = await at_work.export(erp=SmallErp(erp.base_url), settings=settings)
    assert (report.exit_status, erp.removed) == (0, [])
    assert {id_: (entry.posted, list(entry.files)) for id_, entry in erp.entries.items()} == {
        entry_id(1): (True, [1, 2, 3]),
        entry_id(2): (True, [1]),
    }


async def test_a_draft_without_its_required_receipt_is_not_posted(at_work: Office, erp: SmallErpServer) -> None:
    job_id = at_work.sandbox.add_job_of([with_receipts(1, NAMES[0])])
    await at_work.export(erp=SmallErp(erp.base_url), settings=ErpSettings(attachments=Attachments.SKIP))
    at_work.sandbox.export_again(job_id)
    erp.fault("attach", status=422, text="the file is infected")
    settings = ErpSettings(attachments=Attachments.REQUIRED, posting=EntryState.POSTED)
    report = await at_work.export(erp=SmallErp(erp.base_url), settings=settings)
    (failure,) = report.jobs[0].failures
    assert (failure.type, failure.reason) == ("receipt_upload_failure", "the file is infected (S-1 stays a draft.)")
    assert not erp.entries[entry_id(1)].posted
    at_work.sandbox.export_again(job_id)
    report = await at_work.export(erp=SmallErp(erp.base_url), settings=settings)
    assert (report.exit_status, erp.entries[entry_id(1)].posted, list(erp.entries[entry_id(1)].files)) == (0, True, [1])


async def test_an_erp_that_takes_one_file_gets_one(at_work: Office, erp: SmallErpServer) -> None:
    at_work.sandbox.add_job_of([with_receipts(1, *NAMES)])
    await at_work.export(erp=SmallErp(erp.base_url, max_attachments=1))
    (file,) = erp.entries[entry_id(1)].files.values()
    assert file.startswith(b"%PDF-")


async def test_links_that_died_since_their_page_was_fetched_are_fetched_anew(tmp_path: Path) -> None:
    time = [START.timestamp()]
    with office(tmp_path, clock=lambda: time[0], expires_in=7 * 86_400) as at_work:
        at_work.sandbox.add_job_of([with_receipts(1, NAMES[0]), an_item(2), with_receipts(3, NAMES[1])])
        steps = plain_steps(PagesInMemory())
        settings = ErpSettings(attachments=Attachments.REQUIRED)

        def now() -> datetime:
            return datetime.fromtimestamp(time[0], UTC)

        class Away(Ledger):
            async def find(self, accounting_entry_ids: Any) -> Any:
                raise ErpUnavailable("the books are away")

        report = await at_work.export(erp=Away(at_work.books), steps=steps, settings=settings, now=now)
        assert report.exit_status == 1
        time[0] += timedelta(hours=25).total_seconds()
        report = await at_work.export(steps=steps, settings=settings, now=now)
        assert [(item.accounting_entry_id, item.type) for item in report.jobs[0].failures] == [
            (entry_id(2), "validation_failure")
        ]
        assert at_work.journal("SELECT count(*) FROM attachment") == [(2,)]
        assert at_work.sandbox.received().by_call[GET_DATA] == 2


async def test_a_dead_link_in_a_fresh_page_is_not_fetched_again(at_work: Office) -> None:
    dead = f"{at_work.base_url}/receipts/1/none/{NAMES[0]}"
    at_work.sandbox.add_job_of([an_item(1, files=[{"url": dead}])])
    report = await at_work.export(settings=ErpSettings(attachments=Attachments.REQUIRED))
    assert report.jobs[0].failures[0].type == "receipt_download_failure"
    assert at_work.sandbox.received().by_call[GET_DATA] == 1


async def test_many_receipts_that_are_missing_for_one_reason_are_one_notice(at_work: Office) -> None:
    dead = f"{at_work.base_url}/receipts/1/none/{NAMES[0]}"
    at_work.sandbox.add_job_of([an_item(1, files=[{"url": dead}] * 30)])
    report = await at_work.export()
    assert report.jobs[0].notices == [
        "PX-000001 lacks 30 receipts: Failed to download the attachment file from Pleo. Re-export the expense."
    ]


async def test_a_dry_run_fetches_receipts_only_where_they_decide(at_work: Office) -> None:
    at_work.sandbox.add_job_of([with_receipts(1, NAMES[0]), an_item(2)])
    report = await at_work.export(dry_run=True)
    assert (report.jobs[0].successful, at_work.sandbox.received().receipts) == (2, 0)
    report = await at_work.export(dry_run=True, settings=ErpSettings(attachments=Attachments.REQUIRED))
    assert (report.jobs[0].successful, report.jobs[0].failed, at_work.sandbox.received().receipts) == (1, 1, 1)
    assert not at_work.books.exists()
