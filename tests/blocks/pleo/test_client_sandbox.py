"""The client and the project's sandbox are two readings of one contract, and understand each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import SecretStr

from blocks.pleo.credentials import PleoCredentials
from blocks.pleo.errors import (
    AlreadyInProgress,
    JobFinished,
    MissingContraAccounts,
    PleoAuthenticationError,
    PleoNotFound,
    PleoOutcomeUnknown,
    PleoPermissionError,
    PleoRejected,
)
from blocks.pleo.http.client import MAX_UPDATES, PleoClient
from blocks.pleo.http.pages import Paginator
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure, ItemStatus, ItemUpdate, JobEvent, JobFailure, JobStatus
from blocks.pleo.sandbox import SANDBOX_ACCESS_TOKEN, SANDBOX_API_KEY, Sandbox, serve
from tests.support.pleo.scripted_pleo import VirtualClock


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, str]]:
    """One sandbox for the module, since a server takes a moment to stop; each test has a company of its own."""
    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as url:
        yield sandbox, url


@pytest.fixture
def pleo(served: tuple[Sandbox, str]) -> Sandbox:
    sandbox, _ = served
    sandbox.forget_requests()
    return sandbox


@pytest.fixture
def company() -> str:
    return str(uuid4())


@pytest.fixture
def client(served: tuple[Sandbox, str]) -> PleoClient:
    return PleoCredentials(base_url=served[1], api_key=SecretStr(SANDBOX_API_KEY)).get_client(
        page_size=30, clock=VirtualClock().clock()
    )


async def all_items(client: PleoClient, job_id: str) -> list[ExportItem]:
    paginator, cursor, items = Paginator("items"), None, list[ExportItem]()
    while True:
        page = await client.get_export_items(job_id, cursor)
        read = [item for item in page.items(page.ids).values() if isinstance(item, ExportItem)]
        assert [item.accounting_entry_id for item in read] == list(page.ids)
        assert len(read) == page.count
        items += read
        cursor = paginator.after(has_next=page.has_next, end_cursor=page.end_cursor, count=page.count)
        if cursor is None:
            return items


async def test_a_job_goes_through_its_seven_steps(pleo: Sandbox, client: PleoClient, company: str) -> None:
    job_id = pleo.add_job(items=100, seed=3, company_id=company, failing=False)
    async with client:
        (found,) = await client.list_jobs(company_id=company, statuses=[JobStatus.IN_PROGRESS, JobStatus.PENDING])
        assert (found.id, found.company_id, found.number_of_items) == (job_id, company, 100)
        await client.post_event(job_id, JobEvent.STARTED)
        assert (await client.get_job(job_id)).status == JobStatus.IN_PROGRESS
        rows = await client.get_job_items(job_id, status="pending")
        assert (len(rows.rows), rows.unreadable, rows.has_next) == (30, 0, True)
        items = await all_items(client, job_id)
        assert len({item.type for item in items}) == 17
        updates = [_booked(item.accounting_entry_id) for item in items[:99]]
        updates.append(_refused(items[99].accounting_entry_id))
        assert len(updates) == MAX_UPDATES
        answer = await client.update_job_items(job_id, updates)
        assert (len(answer.rows), answer.errors) == (100, ())
        row = await client.find_job_item(company, items[99].accounting_entry_id)
        assert (row.status, row.failure_reason, row.failure_reason_type) == ("failed", "Konto?", "account_unknown")
        await client.post_event(job_id, JobEvent.COMPLETED_WITH_ERRORS)
        assert (await client.get_job(job_id)).status == JobStatus.COMPLETED_WITH_ERRORS
        assert client.requests_sent == pleo.received().total
    assert pleo.outcome(job_id) == {"successful": 99, "failed": 1}
    assert pleo.items(job_id)[0].external_url == "https://erp.example/1"
    assert set(pleo.received().by_status) == {200, 202}


@pytest.mark.parametrize("failure", list(JobFailure))
async def test_the_sandbox_knows_every_reason_of_a_failed_job(
    pleo: Sandbox, client: PleoClient, company: str, failure: JobFailure
) -> None:
    job_id = pleo.add_job(items=0, company_id=company)
    async with client:
        await client.post_event(job_id, JobEvent.FAILED, reason="no accounts", reason_type=failure)
    assert pleo.job(job_id).failure_reason == "no accounts"
    assert pleo.job(job_id).failure_reason_type == failure.value


async def test_the_sandbox_knows_every_reason_of_a_failed_item(pleo: Sandbox, client: PleoClient, company: str) -> None:
    job_id = pleo.add_job(items=len(ItemFailure), company_id=company)
    ids = [item.accounting_entry_id for item in pleo.items(job_id)]
    updates = [_refused(id_, failure) for id_, failure in zip(ids, ItemFailure, strict=True)]
    async with client:
        assert (await client.update_job_items(job_id, updates)).errors == ()
    assert [item.failure_reason_type for item in pleo.items(job_id)] == [failure.value for failure in ItemFailure]


async def test_an_exported_expense_can_be_put_into_a_new_job(pleo: Sandbox, client: PleoClient, company: str) -> None:
    first = pleo.add_job(items=2, company_id=company)
    ids = [item.accounting_entry_id for item in pleo.items(first)]
    async with client:
        with pytest.raises(AlreadyInProgress, match="locked"):
            await client.create_job(company, ids)
        pleo.cancel(first)
        again = await client.create_job(company, ids, vendor_based_bookkeeping=True)
        assert again.number_of_items == 2
        assert again.vendor_based_bookkeeping is True
        await client.post_event(again.id, JobEvent.STARTED)
        with pytest.raises(AlreadyInProgress):
            await client.create_job(company, ids)


async def test_a_job_whose_creation_was_lost_is_not_created_twice(
    pleo: Sandbox, client: PleoClient, company: str
) -> None:
    first = pleo.add_job(items=1, company_id=company)
    pleo.cancel(first)
    pleo.inject("lost", "POST /v3/export-jobs")
    async with client:
        with pytest.raises(PleoOutcomeUnknown):
            await client.create_job(company, [pleo.items(first)[0].accounting_entry_id])
        assert len(await client.list_jobs(company_id=company)) == 2


async def test_missing_contra_accounts_are_named(pleo: Sandbox, client: PleoClient, company: str) -> None:
    job_id = pleo.add_job(items=1, company_id=company)
    pleo.miss_contra_accounts(["SEK"], job_id=job_id)
    async with client:
        with pytest.raises(MissingContraAccounts, match="SEK"):
            await client.get_export_items(job_id)


async def test_a_finished_job_takes_and_gives_nothing_more(pleo: Sandbox, client: PleoClient, company: str) -> None:
    job_id = pleo.add_job(items=1, company_id=company)
    entry = pleo.items(job_id)[0].accounting_entry_id
    async with client:
        await client.post_event(job_id, JobEvent.FAILED, reason="x", reason_type=JobFailure.VALIDATION)
        for call in (
            client.get_export_items(job_id),
            client.update_job_items(job_id, [_booked(entry)]),
            client.post_event(job_id, JobEvent.COMPLETED),
        ):
            with pytest.raises(JobFinished):
                await call
        assert [row.status for row in (await client.get_job_items(job_id)).rows] == ["abandoned"]


async def test_one_refused_item_leaves_its_neighbours(pleo: Sandbox, client: PleoClient, company: str) -> None:
    job_id = pleo.add_job(items=3, company_id=company)
    ids = [item.accounting_entry_id for item in pleo.items(job_id)]
    pleo.refuse_item(job_id, ids[1])
    async with client:
        answer = await client.update_job_items(job_id, [_booked(id_) for id_ in ids])
    assert [error.accounting_entry_id for error in answer.errors] == [ids[1]]
    assert pleo.outcome(job_id) == {"successful": 2, "pending": 1}


@pytest.mark.parametrize("kind", ["cut", "drop", "lost", "status"])
async def test_events_and_updates_get_through_every_fault_once(
    pleo: Sandbox, client: PleoClient, company: str, kind: str
) -> None:
    job_id = pleo.add_job(items=1, company_id=company)
    entry = pleo.items(job_id)[0].accounting_entry_id
    async with client:
        for call in ("POST /v3/export-job-events", "PUT /v3/export-jobs/{jobId}/items"):
            pleo.inject(kind, call, times=1)  # type: ignore[arg-type]
        await client.post_event(job_id, JobEvent.STARTED)
        answer = await client.update_job_items(job_id, [_booked(entry)])
        assert [row.status for row in answer.rows] == ["successful"]
        pleo.inject(kind, "POST /v3/export-job-events", times=1)  # type: ignore[arg-type]
        await client.post_event(job_id, JobEvent.COMPLETED)
    assert [event.name for event in pleo.received().events if event.job_id == job_id] == ["started", "completed"]


async def test_unknown_jobs_and_items_are_not_found(pleo: Sandbox, client: PleoClient, company: str) -> None:
    nowhere = str(uuid4())
    pleo.add_job(items=1, company_id=company)
    async with client:
        for call in (
            client.get_job(nowhere),
            client.get_job_items(nowhere),
            client.get_export_items(nowhere),
            client.update_job_items(nowhere, [_booked(nowhere)]),
            client.post_event(nowhere, JobEvent.STARTED),
            client.find_job_item(company, nowhere),
        ):
            with pytest.raises(PleoNotFound):
                await call
    assert pleo.received().total == 6


async def test_a_token_opens_the_same_door_and_a_wrong_key_does_not(pleo: Sandbox, served: tuple[Sandbox, str]) -> None:
    url = served[1]
    async with PleoCredentials(base_url=url, access_token=SecretStr(SANDBOX_ACCESS_TOKEN)).get_client() as client:
        await client.list_jobs()
    pleo.forget_requests()
    for wrong in ({"api_key": SecretStr("wrong")}, {"access_token": SecretStr(SANDBOX_API_KEY)}):
        async with PleoCredentials(base_url=url, **wrong).get_client() as client:
            with pytest.raises(PleoAuthenticationError):
                await client.list_jobs()
    assert pleo.received().total == 2


async def test_another_companys_job_is_forbidden_in_one_request(pleo: Sandbox, served: tuple[Sandbox, str]) -> None:
    mine, other = str(uuid4()), str(uuid4())
    pleo.add_credential("one-company", [mine])
    job_id = pleo.add_job(items=1, company_id=other)
    async with PleoCredentials(base_url=served[1], api_key=SecretStr("one-company")).get_client() as client:
        for call in (client.list_jobs(company_id=other), client.get_job(job_id)):
            with pytest.raises(PleoPermissionError):
                await call
        assert client.requests_sent == 2
        with pytest.raises(PleoRejected):
            await client.list_jobs(company_id="not-a-uuid")


def _booked(entry_id: str) -> ItemUpdate:
    return ItemUpdate(
        accounting_entry_id=entry_id,
        status=ItemStatus.SUCCESSFUL,
        exported_at=datetime(2026, 3, 2, tzinfo=UTC),
        external_id="1",
        external_url="https://erp.example/1",
    )


def _refused(entry_id: str, failure: ItemFailure = ItemFailure.ACCOUNT_UNKNOWN) -> ItemUpdate:
    return ItemUpdate(
        accounting_entry_id=entry_id,
        status=ItemStatus.FAILED,
        failure_reason="Konto?",
        failure_reason_type=failure,
    )
