"""A client for Pleo's Export API v3: one method for each path of the contract.

`:search` is left out, as Pleo marks it temporary and not for outside use. Query names are the contract's
(`company_id`, `job_id`, `statuses` repeated), and so is `jobId` in an event.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from blocks.pleo.errors import AnswerTooLarge, JobFinished, PleoOutcomeUnknown, PleoUnavailable
from blocks.pleo.fields import canonical_uuid
from blocks.pleo.http.auth import Auth
from blocks.pleo.http.pages import ExportItemsPage, JobItemsPage, Page, Paginator, read_page
from blocks.pleo.http.retries import RetryState, wait_s
from blocks.pleo.http.transport import Answer, Check, Clock, HttpTransport, Transport
from blocks.pleo.http.wire import UnreadableAnswer
from blocks.pleo.items import describe
from blocks.pleo.models import (
    ExportJob,
    ItemUpdate,
    JobEvent,
    JobFailure,
    JobItem,
    JobStatus,
    UpdateAnswer,
    UpdateError,
)

MAX_UPDATES = 100
_Model = TypeVar("_Model", bound=BaseModel)

STATUS_AFTER: dict[JobEvent, JobStatus] = {
    JobEvent.STARTED: JobStatus.IN_PROGRESS,
    JobEvent.COMPLETED: JobStatus.COMPLETED,
    JobEvent.COMPLETED_WITH_ERRORS: JobStatus.COMPLETED_WITH_ERRORS,
    JobEvent.FAILED: JobStatus.FAILED,
}


class PleoClient:
    """Pleo's Export API v3 for one set of credentials. Use it as an asynchronous context manager."""

    def __init__(
        self,
        base_url: str,
        auth: Auth,
        *,
        page_size: int = 100,
        clock: Clock | None = None,
        transport: HttpTransport | None = None,
    ) -> None:
        self.page_size = page_size
        self._clock = clock or Clock()
        self._transport = Transport(base_url, auth, clock=self._clock, transport=transport)

    async def __aenter__(self) -> PleoClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.aclose()

    def paged(self, page_size: int) -> PleoClient:
        """The same client, which asks for pages of that size: connections and pace are one. Close it once."""
        other = copy.copy(self)
        other.page_size = page_size
        return other

    @property
    def transport(self) -> Transport:
        """What carries this client's calls, for Pleo's other APIs."""
        return self._transport

    @property
    def base_url(self) -> str:
        """Where this client's Pleo is, without a slash at the end."""
        return self._transport.base_url

    def redact(self, text: str) -> str:
        """The text without the credentials, in whichever usual form it quotes them."""
        return self._transport.redact(text)

    @property
    def requests_sent(self) -> int:
        """How many requests have left this client, repeats included."""
        return self._transport.requests_sent

    def now(self) -> datetime:
        """The time of day at Pleo (aware): a wrong local clock changes nothing once Pleo has answered."""
        return self._transport.now()

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def list_jobs(
        self, *, company_id: str | None = None, statuses: Sequence[JobStatus] = ()
    ) -> tuple[ExportJob, ...]:
        """GET /v3/export-jobs, all its pages. Jobs that cannot be read are left out."""
        query: list[tuple[str, str]] = [("company_id", company_id)] if company_id else []
        query += [("statuses", status.value) for status in statuses]
        jobs: list[ExportJob] = []
        paginator = Paginator("list of export jobs")
        cursor: str | None = None
        while True:
            page = (await self._page("/v3/export-jobs", query, cursor)).value
            jobs += readable(ExportJob, page.data)
            cursor = paginator.after(has_next=page.has_next, end_cursor=page.end_cursor, count=len(page.data))
            if cursor is None:
                return tuple(jobs)

    async def get_job(self, job_id: str) -> ExportJob:
        """GET /v3/export-jobs/{jobId}. Raises PleoNotFound for an unknown job."""
        id_ = canonical_uuid(job_id)
        answer = await self._transport.call("GET", f"/v3/export-jobs/{id_}", check=_job_of(id_))
        job: ExportJob = answer.value
        return job

    async def create_job(
        self, company_id: str, accounting_entry_ids: Iterable[str], *, vendor_based_bookkeeping: bool = False
    ) -> ExportJob:
        """POST /v3/export-jobs. Raises AlreadyInProgress, MissingContraAccounts, or PleoOutcomeUnknown."""
        body = {
            "companyId": company_id,
            "accountingEntryIds": list(accounting_entry_ids),
            "options": {"vendorBasedBookkeeping": vendor_based_bookkeeping},
        }
        answer = await self._transport.call(
            "POST", "/v3/export-jobs", body=body, check=record_in(ExportJob), repeatable=False
        )
        job: ExportJob = answer.value
        return job

    async def post_event(
        self,
        job_id: str,
        event: JobEvent,
        *,
        reason: str | None = None,
        reason_type: JobFailure | None = None,
    ) -> bool:
        """POST /v3/export-job-events, exactly once in effect, and 6 times in 5 minutes at most.

        True when Pleo said that it took this very event; False when the job only shows that it, or another's, was.
        Where no readable answer comes back the job is read before anything is sent again. A refusal after our own
        event did arrive is a success; any other one raises JobFinished. As the network may deliver a request twice and
        bring the second answer, a refused final event has arrived when the job ended as it says. A refused `started`
        proves nothing: a job that another has just started looks the same.
        """
        body: dict[str, str] = {"jobId": job_id, "event": event.value}
        if event is JobEvent.FAILED:
            body |= {"failureReason": reason or "", "failureReasonType": (reason_type or JobFailure.VALIDATION).value}
        may_have_arrived = event is not JobEvent.STARTED
        retry = RetryState(self._clock.monotonic())
        while True:
            try:
                answer = await self._transport.call(
                    "POST", "/v3/export-job-events", body=body, repeatable=False, retry=retry
                )
                if answer.status == 202:
                    return True
                why, asked_s = f"HTTP {answer.status} where 202 was due", None
            except PleoOutcomeUnknown as error:
                why, asked_s = str(error), error.retry_after_s
            except JobFinished:
                if may_have_arrived and await self._has_arrived(job_id, event, body.get("failureReasonType")):
                    return False
                raise
            may_have_arrived = True
            if await self._has_arrived(job_id, event, body.get("failureReasonType")):
                return False
            wait = wait_s(retry.tries, rate_limited=False, retry_after_s=asked_s, jitter=self._clock.jitter)
            if not retry.allows(wait, self._clock.monotonic()):
                raise PleoUnavailable(f"event {event.value}: {why}, after {retry.tries} tries")
            await self._clock.sleep(wait)

    async def _has_arrived(self, job_id: str, event: JobEvent, reason_type: str | None) -> bool:
        """Whether the job stands as our event leaves it. Raises JobFinished when it was ended otherwise."""
        job = await self.get_job(job_id)
        if job.expired_at is not None:
            raise JobFinished(422, "INVALID_EXPORT_JOB_STATUS_CHANGE", "the job has expired")
        if job.status == STATUS_AFTER[event] and (reason_type is None or job.failure_reason_type == reason_type):
            return True
        if job.status not in {JobStatus.PENDING, JobStatus.IN_PROGRESS}:
            raise JobFinished(422, "INVALID_EXPORT_JOB_STATUS_CHANGE", f"the job is {job.status}")
        return False

    # -- items --------------------------------------------------------------------------------------------------

    async def get_job_items(self, job_id: str, cursor: str | None = None, *, status: str | None = None) -> JobItemsPage:
        """GET /v3/export-jobs/{jobId}/items, one page."""
        job_id = canonical_uuid(job_id)
        query = [("status", status)] if status else []
        page: Page = (await self._page(f"/v3/export-jobs/{job_id}/items", query, cursor, _rows_page)).value
        rows = tuple(row for row in readable(JobItem, page.data) if row.export_job_id in {None, job_id})
        return JobItemsPage(rows, len(page.data) - len(rows), page.has_next, page.end_cursor)

    async def find_job_item(self, company_id: str, accounting_entry_id: str) -> JobItem:
        """GET /v3/export-job-items: the newest job item of one expense. Raises PleoNotFound."""
        query = [("company_id", company_id), ("accounting_entry_id", accounting_entry_id)]
        answer = await self._transport.call("GET", "/v3/export-job-items", query=query, check=record_in(JobItem))
        row: JobItem = answer.value
        return row

    async def get_export_items(self, job_id: str, cursor: str | None = None) -> ExportItemsPage:
        """GET /v3/export-items, one page as it came. Raises MissingContraAccounts or JobFinished."""
        answer = await self._page("/v3/export-items", [("job_id", canonical_uuid(job_id))], cursor, _export_page)
        page: Page = answer.value
        return ExportItemsPage.of(page, answer.text)

    async def update_job_items(self, job_id: str, updates: Sequence[ItemUpdate]) -> UpdateAnswer:
        """PUT /v3/export-jobs/{jobId}/items with at most 100 updates. Raises JobFinished once the job is over."""
        if not 1 <= len(updates) <= MAX_UPDATES:
            raise ValueError(f"an update batch has 1 to {MAX_UPDATES} items, not {len(updates)}")
        answer = await self._transport.call(
            "PUT",
            f"/v3/export-jobs/{canonical_uuid(job_id)}/items",
            body=[update.wire() for update in updates],
            check=_update_answer,
        )
        result: UpdateAnswer = answer.value
        return result

    async def _page(
        self, path: str, query: Sequence[tuple[str, str]], cursor: str | None, check: Check = read_page
    ) -> Answer:
        """One page of a list, as large as is asked for, or smaller where that is more than we take at once."""
        after = [("after", cursor)] if cursor is not None else []
        for size in (self.page_size, self.page_size // 8, 1):
            try:
                return await self._transport.call(
                    "GET", path, query=[*query, ("limit", str(max(size, 1))), *after], check=check
                )
            except AnswerTooLarge:
                if size <= 1:
                    raise
        raise AssertionError("the last size is 1")


def readable(model: type[_Model], elements: Iterable[Any]) -> list[_Model]:
    """Those of a page's elements that can be read."""
    records: list[_Model] = []
    for element in elements:
        try:
            records.append(model.model_validate(element))
        except ValidationError:
            continue  # one broken element never breaks the page; the caller counts what is missing
    return records


def record_in(model: type[_Model]) -> Callable[[Any], _Model]:
    """A check for an answer that holds one record under `data`."""

    def check(document: Any) -> _Model:
        try:
            return model.model_validate(document["data"])
        except ValidationError as error:
            raise UnreadableAnswer(describe(error)) from error
        except (KeyError, TypeError, IndexError) as error:
            raise UnreadableAnswer("no data") from error

    return check


def _job_of(job_id: str) -> Callable[[Any], ExportJob]:
    """A check for this very job: answers have been known to go to the wrong request."""

    def check(document: Any) -> ExportJob:
        job = record_in(ExportJob)(document)
        if job.id != job_id:
            raise UnreadableAnswer("another job")
        return job

    return check


def _export_page(document: Any) -> Page:
    """A page of export items; the rows of a job, which have expenses' ids too, are the answer to another request."""
    page = read_page(document)
    if page.data and all(isinstance(element, dict) and "exportJobId" in element for element in page.data):
        raise UnreadableAnswer("the rows of a job, and no export items")
    return page


def _rows_page(document: Any) -> Page:
    """A page of a job's rows; export items, which have expenses' ids too, are the answer to another request."""
    page = read_page(document)
    if page.data and all(isinstance(element, dict) and "accountingEntryLines" in element for element in page.data):
        raise UnreadableAnswer("export items, and no rows of a job")
    return page


def _update_answer(document: Any) -> UpdateAnswer:
    if not isinstance(document, dict):
        raise UnreadableAnswer("no update answer")
    rows, errors = document.get("data"), document.get("errors")
    if rows is None and isinstance(errors, list) and errors:
        rows = []  # it shows nothing, so the items will be read again
    errors = errors or []
    if not isinstance(rows, list) or not isinstance(errors, list):
        raise UnreadableAnswer("no update answer")
    return UpdateAnswer(tuple(readable(JobItem, rows)), tuple(readable(UpdateError, errors)))
