"""The paths of Pleo's export API v3, all but the deprecated search, and the receipt files."""

from __future__ import annotations

import json
import random
import sqlite3

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blocks.pleo.sandbox import job_items, jobs, paging, receipts
from blocks.pleo.sandbox.access import require_company
from blocks.pleo.sandbox.desk import Desk, pleo_response
from blocks.pleo.sandbox.errors import ApiError, bad_request, forbidden, job_finished, job_not_found
from blocks.pleo.sandbox.paging import Source
from blocks.pleo.sandbox.views import OPEN, Item, Job
from blocks.pleo.sandbox.wire import Json, draw_uuid, dumps, is_uuid

JOB_STATUSES = ("pending", "in_progress", "failed", "completed", "completed_with_errors")
JOB_FAILURE_TYPES = frozenset(
    {
        "invalid_configuration",
        "missing_configuration",
        "authentication_failure",
        "accounting_system_authentication_failure",
        "pleo_rate_limit",
        "accounting_system_rate_limit",
        "service_unreachable",
        "accounting_system_unreachable",
        "validation_failure",
        "authorization_failure",
        "integration_unusable",
        "job_expired",
        "service_timeout",
        "accounting_system_timeout",
        "canceled_by_user",
    }
)

_JOB_KEYS = {
    "createdAt": "created_at",
    "lastUpdatedAt": "last_updated_at",
    "startedAt": "started_at",
    "completedAt": "completed_at",
    "status": "status",
    "id": "id",
}
_ITEM_KEYS = {
    "accountingEntryId": "accounting_entry_id",
    "status": "status",
    "externalId": "external_id",
    "exportedAt": "exported_at",
}
_ENTRY_KEYS = {"accountingEntryId": "i.accounting_entry_id", "date": "json_extract(e.body || '}', '$.date')"}


class Api:
    """The handlers, one a path and method of the contract."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.store

    def routes(self) -> list[Route]:
        """Where the handlers stand."""
        return [
            Route("/v3/export-jobs", self.list_jobs, methods=["GET"]),
            Route("/v3/export-jobs", self.create_job, methods=["POST"]),
            Route("/v3/export-jobs/{job_id}", self.get_job, methods=["GET"]),
            Route("/v3/export-jobs/{job_id}/items", self.list_job_items, methods=["GET"]),
            Route("/v3/export-jobs/{job_id}/items", self.update_job_items, methods=["PUT"]),
            Route("/v3/export-items", self.list_export_items, methods=["GET"]),
            Route("/v3/export-job-items", self.get_job_item, methods=["GET"]),
            Route("/v3/export-job-events", self.create_event, methods=["POST"]),
            Route("/receipts/{expires}/{signature}/{name}", self.get_receipt, methods=["GET"]),
        ]

    async def list_jobs(self, request: Request) -> Response:
        """`getExportJobsListV3`. Newest first unless sorted: Pleo promises no order."""
        query, companies = request.query_params, request.scope["pleo.companies"]
        page = paging.read_page_request(query, self._desk.page_cap)
        conditions, args = ["1"], list[str]()
        if "company_id" in query:
            company_id = _uuid(query["company_id"], "company_id")
            require_company(self._store, companies, company_id)
            conditions.append("company_id = ?")
            args.append(company_id)
        elif companies is not None:
            conditions.append(f"company_id IN ({','.join('?' * len(companies))})")
            args += sorted(companies)
        statuses = query.getlist("statuses")
        if statuses:
            for status in statuses:
                _one_of(status, JOB_STATUSES, "statuses")
            conditions.append(f"status IN ({','.join('?' * len(statuses))})")
            args += statuses
        condition = " AND ".join(conditions)
        total = self._store.number(f"SELECT count(*) FROM jobs WHERE {condition}", args)  # noqa: S608 - constants
        source = Source("jobs", "*", "jobs", condition, args, _JOB_KEYS, [("created_at", True), ("job", True)])
        rows, info = paging.read_page(self._store, source, page, total)
        return pleo_response({"data": [Job.of(row).wire() for row in rows], "pagination": info})

    async def create_job(self, request: Request) -> Response:
        """`createExportJobV3`. Entries may be in earlier jobs: this is how a user exports them again."""
        body = await _json_object(request)
        company_id = _uuid(body.get("companyId"), "companyId")
        employee_id = body.get("employeeId")
        if employee_id is not None:
            employee_id = _uuid(employee_id, "employeeId")
        entry_ids = body.get("accountingEntryIds")
        if not isinstance(entry_ids, list):
            raise bad_request("accountingEntryIds must be an array of UUIDs")
        wanted = list(dict.fromkeys(_uuid(entry_id, "accountingEntryIds") for entry_id in entry_ids))
        interactive = _flag(body.get("isInteractive"), "isInteractive", default=True)
        options = body.get("options") or {}
        if not isinstance(options, dict):
            raise bad_request("options must be an object")
        vendor_based = _flag(options.get("vendorBasedBookkeeping"), "options.vendorBasedBookkeeping", default=False)
        require_company(self._store, request.scope["pleo.companies"], company_id)
        if self._store.row("SELECT 1 FROM jobs WHERE company_id = ? AND status = 'in_progress'", (company_id,)):
            raise ApiError(409, "EXPORT_ALREADY_IN_PROGRESS", "Export Job already in progress for this company")
        jobs.refuse_without_contra_accounts(self._store, company_id, None)
        with self._store.transaction():
            for entry_id in wanted:
                known = "SELECT 1 FROM entries WHERE accounting_entry_id = ? AND company_id = ?"
                if self._store.row(known, (entry_id, company_id)) is None:
                    message = f"Accounting entry {entry_id} does not exist"
                    raise ApiError(400, job_items.DOES_NOT_EXIST, message)
            job_id = draw_uuid(random.SystemRandom())
            job = jobs.add_job(
                self._store,
                job_id,
                company_id,
                self._desk.clock(),
                origin="api",
                expires_in=self._desk.expires_in,
                vendor_based=vendor_based,
                created_by=employee_id,
                is_interactive=interactive,
            )
            jobs.fill_job(self._store, job, wanted)
        request.scope["pleo.detail"] = f"{len(wanted)} entries"
        return pleo_response({"data": Job.of(self._job(request, job_id)).wire()}, status=201)

    async def get_job(self, request: Request) -> Response:
        """`getExportJobByIdV3`."""
        return pleo_response({"data": Job.of(self._job(request, request.path_params["job_id"])).wire()})

    async def list_job_items(self, request: Request) -> Response:
        """`getExportJobItemsV3`, in the order of the job unless sorted."""
        page = paging.read_page_request(request.query_params, self._desk.page_cap)
        status = request.query_params.get("status")
        if status is not None:
            _one_of(status, job_items.STATUSES, "status")
        job = self._job(request, request.path_params["job_id"])
        condition, args, total = "job = ?", [job["job"]], job["number_of_items"]
        if status is not None:
            condition, args = "job = ? AND status = ?", [job["job"], status]
            total = self._store.number("SELECT count(*) FROM job_items WHERE job = ? AND status = ?", args)
        name = f"items of {job['id']}"
        source = Source(name, "*", "job_items", condition, args, _ITEM_KEYS, [("position", False)])
        rows, info = paging.read_page(self._store, source, page, total)
        request.scope["pleo.detail"] = _counted(len(rows))
        return pleo_response({"data": [Item.of(row).wire(job["id"]) for row in rows], "pagination": info})

    async def update_job_items(self, request: Request) -> Response:
        """`updateExportJobItemsV3`. A job that was not started takes updates too: only finished ones are refused."""
        body = await _json(request)
        job = self._job(request, request.path_params["job_id"])
        if job["status"] not in OPEN:
            raise job_finished()
        updates = job_items.read_updates(body)
        answer = job_items.apply_updates(self._store, job, updates, self._desk.clock())
        refused = f", {len(answer['errors'])} refused" if answer["errors"] else ""
        request.scope["pleo.detail"] = _counted(len(updates)) + refused
        return pleo_response(answer)

    async def list_export_items(self, request: Request) -> Response:
        """`getExportItemsV3`, in the order of the job unless sorted; the links to files are made now."""
        query = request.query_params
        page = paging.read_page_request(query, self._desk.page_cap)
        if "job_id" not in query:
            raise bad_request("job_id is required")
        job = self._job(request, _uuid(query["job_id"], "job_id"))
        if job["status"] not in OPEN:
            raise job_finished()
        jobs.refuse_without_contra_accounts(self._store, job["company_id"], job)
        tail = "e.vendor_tail" if job["vendor_based"] else "e.plain_tail"
        source = Source(
            name=f"export items of {job['id']}",
            columns=f"e.body, {tail} AS tail",
            tables="job_items i JOIN entries e USING (entry)",
            condition="i.job = ?",
            args=[job["job"]],
            keys=_ENTRY_KEYS,
            order=[("i.position", False)],
        )
        rows, info = paging.read_page(self._store, source, page, job["number_of_items"])
        data = ",".join([row["body"] + row["tail"] for row in rows])
        data = receipts.sign_links(data, self._desk.base_url(request), self._store.link_key, self._desk.clock())
        request.scope["pleo.detail"] = _counted(len(rows))
        return pleo_response(f'{{"data":[{data}],"pagination":{dumps(info)}}}')

    async def get_job_item(self, request: Request) -> Response:
        """`getExportJobItemByAccountingEntryIdV3`: of the newest job that holds the entry."""
        query, companies = request.query_params, request.scope["pleo.companies"]
        if "accounting_entry_id" not in query:
            raise bad_request("accounting_entry_id is required")
        args = [_uuid(query["accounting_entry_id"], "accounting_entry_id")]
        condition = "i.accounting_entry_id = ?"
        if "company_id" in query:
            args.append(_uuid(query["company_id"], "company_id"))
            require_company(self._store, companies, args[-1])
            condition += " AND j.company_id = ?"
        row = self._store.row(
            "SELECT i.*, j.id AS job_id, j.company_id FROM job_items i JOIN jobs j USING (job)"  # noqa: S608 - constants
            f" WHERE {condition} ORDER BY j.created_at DESC",
            args,
        )
        if row is None or (companies is not None and row["company_id"] not in companies):
            raise ApiError(404, "EXPORT_ENTRY_NOT_FOUND", "Export Job Item not found")
        return pleo_response({"data": Item.of(row).wire(row["job_id"])})

    async def create_event(self, request: Request) -> Response:
        """`createExportJobEventV3`."""
        body = await _json_object(request)
        name = _one_of(body.get("event"), tuple(jobs.EVENTS), "event")
        job_id = _uuid(body.get("jobId"), "jobId")
        reason, reason_type = body.get("failureReason"), body.get("failureReasonType")
        if name != "failed" and (reason is not None or reason_type is not None):
            raise bad_request("failureReason and failureReasonType are only for the event failed")
        if reason is not None and not isinstance(reason, str):
            raise bad_request("failureReason must be a string")
        if reason_type is not None and (not isinstance(reason_type, str) or reason_type not in JOB_FAILURE_TYPES):
            raise bad_request("failureReasonType is not one of the job failure types")
        job = self._job(request, job_id)
        jobs.apply_event(self._store, job, name, self._desk.clock(), reason, reason_type)
        request.scope["pleo.detail"] = name
        return Response(status_code=202)

    async def get_receipt(self, request: Request) -> Response:
        """A receipt file. No credentials: the link is the permission, for a day."""
        expires, signature, name = (request.path_params[key] for key in ("expires", "signature", "name"))
        if not receipts.is_signed(self._store.link_key, expires, signature, name):
            raise ApiError(403, "FORBIDDEN", "This link was not handed out by this sandbox")
        if self._desk.clock() >= int(expires):
            raise ApiError(403, "FORBIDDEN", "This link has expired: fetch the export item again")
        if receipts.is_gone(name):
            raise ApiError(404, "NOT_FOUND", "There is no such file")
        return Response(receipts.content(name), media_type=receipts.TYPES[name.rsplit(".", 1)[1]])

    def _job(self, request: Request, job_id: str) -> sqlite3.Row:
        """The job, if there is one and the credentials may see it."""
        job = jobs.find_job(self._store, job_id)
        if job is None:
            raise job_not_found()
        companies = request.scope["pleo.companies"]
        if companies is not None and job["company_id"] not in companies:
            raise forbidden(job["company_id"])
        return job


def _counted(items: int) -> str:
    return f"{items} item" if items == 1 else f"{items} items"


async def _json(request: Request) -> object:
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise bad_request("The body is not JSON") from error


async def _json_object(request: Request) -> Json:
    body = await _json(request)
    if not isinstance(body, dict):
        raise bad_request("The body must be a JSON object")
    return body


def _uuid(value: object, name: str) -> str:
    if not is_uuid(value):
        raise bad_request(f"{name} must be a UUID")
    return str(value).lower()


def _one_of(value: object, allowed: tuple[str, ...], name: str) -> str:
    if value not in allowed:
        raise bad_request(f"{name} must be one of {', '.join(allowed)}")
    return str(value)


def _flag(value: object, name: str, *, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false")
    return value
