"""One method for each path of the contract, byte for byte as the contract has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from blocks.pleo.models import ItemFailure, ItemStatus, ItemUpdate, JobEvent, JobFailure, JobStatus
from tests.support.pleo.scripted_pleo import COMPANY_ID, ENTRY_ID, JOB_ID, answer, job, page, scripted

ROW = {"accountingEntryId": ENTRY_ID, "exportJobId": JOB_ID, "status": "pending"}


async def test_the_list_of_jobs_is_asked_for_with_company_and_repeated_statuses_and_read_to_its_end() -> None:
    other = "22222222-2222-4333-8444-555555555555"
    async with (
        scripted([answer(page([job()], "ABC=~")), answer(page([job(id=other)]))]) as pleo,
        pleo.client() as client,
    ):
        jobs = await client.list_jobs(company_id=COMPANY_ID, statuses=[JobStatus.IN_PROGRESS, JobStatus.PENDING])
    assert [found.id for found in jobs] == [JOB_ID, other]
    assert pleo.lines == ["GET /v3/export-jobs"] * 2
    first = [("company_id", COMPANY_ID), ("statuses", "in_progress"), ("statuses", "pending"), ("limit", "100")]
    assert pleo.requests[0].query == first
    assert pleo.requests[1].query == [*first, ("after", "ABC=~")]


async def test_the_list_of_jobs_of_every_company_has_no_company_in_its_query() -> None:
    async with scripted([answer(page())]) as pleo, pleo.client(page_size=7) as client:
        assert await client.list_jobs() == ()
    assert pleo.requests[0].query == [("limit", "7")]


async def test_a_job_is_read_by_its_id_without_a_query() -> None:
    async with scripted([answer({"data": job("pending")})]) as pleo, pleo.client() as client:
        found = await client.get_job(JOB_ID.upper())
    assert (found.id, found.company_id, found.status, found.expires_in) == (JOB_ID, COMPANY_ID, "pending", 3600)
    assert found.created_at == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert pleo.requests[0].method == "GET"
    assert pleo.requests[0].target == f"/v3/export-jobs/{JOB_ID}"


@pytest.mark.parametrize("bad", ["", "../..", "1", f"{JOB_ID}/../x", f"{JOB_ID}?x=1", "٣" * 32])
async def test_what_is_not_a_uuid_never_becomes_a_path(bad: str) -> None:
    async with scripted([]) as pleo, pleo.client() as client:
        for call in (client.get_job, client.get_job_items, client.get_export_items):
            with pytest.raises(ValueError, match="is not a UUID"):
                await call(bad)
    assert pleo.requests == []


async def test_a_job_is_created_with_the_contracts_body() -> None:
    async with scripted([answer({"data": job("pending")}, 201)]) as pleo, pleo.client() as client:
        made = await client.create_job(COMPANY_ID, iter([ENTRY_ID]), vendor_based_bookkeeping=True)
    assert made.id == JOB_ID
    assert pleo.lines == ["POST /v3/export-jobs"]
    assert pleo.requests[0].json() == {
        "companyId": COMPANY_ID,
        "accountingEntryIds": [ENTRY_ID],
        "options": {"vendorBasedBookkeeping": True},
    }


@pytest.mark.parametrize("event", [JobEvent.STARTED, JobEvent.COMPLETED, JobEvent.COMPLETED_WITH_ERRORS])
async def test_an_event_names_the_job_and_itself_and_no_failure(event: JobEvent) -> None:
    async with scripted([answer(status=202)]) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, event, reason="ignored", reason_type=JobFailure.VALIDATION)
    assert pleo.lines == ["POST /v3/export-job-events"]
    assert pleo.requests[0].json() == {"jobId": JOB_ID, "event": event.value}


async def test_the_event_failed_carries_reason_and_type() -> None:
    async with scripted([answer(status=202)]) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, JobEvent.FAILED, reason="Söx", reason_type=JobFailure.ERP_UNREACHABLE)
    assert pleo.requests[0].json() == {
        "jobId": JOB_ID,
        "event": "failed",
        "failureReason": "Söx",
        "failureReasonType": "accounting_system_unreachable",
    }


async def test_a_jobs_items_come_a_page_at_a_time_with_status_and_cursor() -> None:
    broken = [{**ROW, "accountingEntryId": "x"}, 5, None]
    async with scripted([answer(page([ROW, *broken], "NEXT"))]) as pleo, pleo.client() as client:
        found = await client.get_job_items(JOB_ID, "CURSOR", status="pending")
    assert [row.accounting_entry_id for row in found.rows] == [ENTRY_ID]
    assert (found.unreadable, found.has_next, found.end_cursor) == (3, True, "NEXT")
    assert pleo.lines == [f"GET /v3/export-jobs/{JOB_ID}/items"]
    assert pleo.requests[0].query == [("status", "pending"), ("limit", "100"), ("after", "CURSOR")]


async def test_one_expenses_job_item_is_found_by_company_and_entry() -> None:
    async with scripted([answer({"data": {**ROW, "externalId": "E1"}})]) as pleo, pleo.client() as client:
        row = await client.find_job_item(COMPANY_ID, ENTRY_ID)
    assert (row.accounting_entry_id, row.external_id) == (ENTRY_ID, "E1")
    assert pleo.lines == ["GET /v3/export-job-items"]
    assert pleo.requests[0].query == [("company_id", COMPANY_ID), ("accounting_entry_id", ENTRY_ID)]


async def test_export_items_come_as_the_text_that_pleo_sent() -> None:
    text = '{"data": [{"accountingEntryId":"%s"}, 7, {"accountingEntryId":3}], "pagination":{"hasNextPage":false}}'
    async with scripted([answer(text % ENTRY_ID.upper())]) as pleo, pleo.client() as client:
        found = await client.get_export_items(JOB_ID)
    assert found.text == text % ENTRY_ID.upper()
    assert (found.ids, found.count, found.has_next, found.end_cursor) == ((ENTRY_ID,), 3, False, None)
    assert pleo.lines == ["GET /v3/export-items"]
    assert pleo.requests[0].query == [("job_id", JOB_ID), ("limit", "100")]


async def test_an_update_is_put_as_a_bare_array_with_absent_fields_left_out() -> None:
    at = datetime(2026, 3, 2, 1, 30, 5, 999, tzinfo=timezone(timedelta(hours=2)))
    updates = [
        ItemUpdate(
            accounting_entry_id=ENTRY_ID,
            status=ItemStatus.SUCCESSFUL,
            exported_at=at,
            external_id="42",
            external_url="https://erp.example/42",
        ),
        ItemUpdate(
            accounting_entry_id=JOB_ID,
            status=ItemStatus.FAILED,
            failure_reason="Kontoen findes ikke ☃",
            failure_reason_type=ItemFailure.ACCOUNT_UNKNOWN,
        ),
    ]
    refused = {"accountingEntryId": JOB_ID, "type": "ACCOUNTING_ENTRY_DOES_NOT_EXIST", "message": "none"}
    done = {**ROW, "status": "successful"}
    async with scripted([answer({"data": [done], "errors": [refused]})]) as pleo, pleo.client() as client:
        result = await client.update_job_items(JOB_ID, updates)
    assert [(row.accounting_entry_id, row.status) for row in result.rows] == [(ENTRY_ID, "successful")]
    assert [(error.accounting_entry_id, error.type) for error in result.errors] == [(JOB_ID, refused["type"])]
    assert pleo.lines == [f"PUT /v3/export-jobs/{JOB_ID}/items"]
    assert pleo.requests[0].json() == [
        {
            "accountingEntryId": ENTRY_ID,
            "status": "successful",
            "exportedAt": "2026-03-01T23:30:05Z",
            "externalId": "42",
            "externalUrl": "https://erp.example/42",
        },
        {
            "accountingEntryId": JOB_ID,
            "status": "failed",
            "failureReason": "Kontoen findes ikke ☃",
            "failureReasonType": "account_unknown",
        },
    ]


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_of_none_or_over_a_hundred_is_refused_before_it_is_sent(count: int) -> None:
    update = ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL)
    async with scripted([]) as pleo, pleo.client() as client:
        with pytest.raises(ValueError, match="1 to 100"):
            await client.update_job_items(JOB_ID, [update] * count)
    assert pleo.requests == []


async def test_every_call_asks_for_json_and_a_body_says_that_it_is_json() -> None:
    async with scripted([answer(page()), answer(status=202)]) as pleo, pleo.client() as client:
        await client.list_jobs()
        await client.post_event(JOB_ID, JobEvent.STARTED)
    got, posted = pleo.requests
    assert got.header("accept") == posted.header("accept") == "application/json"
    assert (got.header("content-type"), got.body) == (None, b"")
    assert posted.header("content-type") == "application/json;charset=UTF-8"
    assert got.header("accept-encoding") == "gzip"


async def test_a_base_url_with_a_path_keeps_it() -> None:
    async with scripted([answer({"data": job()})]) as pleo:
        pleo.url += "/behind/a/gateway/"
        async with pleo.client() as client:
            await client.get_job(JOB_ID)
            assert client.base_url == pleo.url.rstrip("/")
    assert pleo.requests[0].target == f"/behind/a/gateway/v3/export-jobs/{JOB_ID}"


async def test_connections_are_kept_and_requests_counted() -> None:
    async with scripted(lambda _: answer({"data": job()})) as pleo, pleo.client() as client:
        for _ in range(5):
            await client.get_job(JOB_ID)
        assert client.requests_sent == len(pleo.requests) == 5
    assert pleo.connections == 1


async def test_an_update_answered_with_errors_alone_shows_no_rows_and_is_not_repeated() -> None:
    update = ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL, external_id="42")
    refused = {"accountingEntryId": ENTRY_ID, "type": "EXPORT_ENTRY_STATUS_UPDATE_FAILED"}
    async with scripted([answer({"data": None, "errors": [refused]})]) as pleo, pleo.client() as client:
        result = await client.update_job_items(JOB_ID, [update])
    assert (result.rows, [error.type for error in result.errors]) == ((), [refused["type"]])
    assert len(pleo.requests) == 1
