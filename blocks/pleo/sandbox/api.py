"""The paths of Pleo's export API v3, and the receipt files."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import zlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from blocks.pleo.sandbox import jobs, paging, receipts, strict
from blocks.pleo.sandbox.authorization import require_company
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.errors import (
    ApiError,
    already_in_progress,
    bad_request,
    forbidden,
    job_finished,
    job_not_found,
)
from blocks.pleo.sandbox.models import (
    DOES_NOT_EXIST,
    ITEM_FAILURE_TYPES,
    ITEM_STATUSES,
    JOB_FAILURE_TYPES,
    JOB_STATUSES,
    OPEN,
    Item,
    ItemUpdate,
    Job,
)
from blocks.pleo.sandbox.paging import Source
from blocks.pleo.sandbox.wire import (
    Json,
    draw_uuid,
    dumps,
    json_response,
    read_choice,
    read_flag,
    read_json,
    read_object,
    read_text,
    read_uuid,
    require_date_time,
)

MAX_UPDATES = 100
_HOST = re.compile(r"[A-Za-z0-9.\-_]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?")
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
_FOUND_KEYS = {name: f"i.{column}" for name, column in _ITEM_KEYS.items()}
_ENTRY_KEYS = {"accountingEntryId": "i.accounting_entry_id", "date": "json_extract(e.body || '}', '$.date')"}


class Api:
    """The handlers, one a path and method of the contract."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._store = control.store

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
            Route("/v3/export-job-items:search", self.search_job_items, methods=["POST"]),
            Route("/v3/export-job-events", self.create_event, methods=["POST"]),
            Route("/receipts/{expires}/{signature}/{name}", self.get_receipt, methods=["GET"]),
        ]

    async def list_jobs(self, request: Request) -> Response:
        """`getExportJobsListV3`. Newest first unless sorted: Pleo promises no order."""
        query = request.query_params
        page = paging.read_page_request(query, self._control.page_cap)
        condition, args = self._companies(request, "company_id")
        statuses = query.getlist("statuses")
        if statuses:
            for status in statuses:
                read_choice(status, JOB_STATUSES, "statuses")
            condition += f" AND status IN ({','.join('?' * len(statuses))})"
            args += statuses
        total = self._store.number(f"SELECT count(*) FROM jobs WHERE {condition}", args)  # noqa: S608 - constants
        source = Source("jobs", "*", "jobs", condition, args, _JOB_KEYS, [("created_at", True), ("job", True)])
        rows, info = paging.read_page(self._store, source, page, total)
        return json_response({"data": [Job.of(row).wire() for row in rows], "pagination": info})

    async def create_job(self, request: Request) -> Response:
        """`createExportJobV3`. Entries may be in earlier jobs: this is how a user exports them again."""
        body = await read_object(request)
        company_id = read_uuid(body.get("companyId"), "companyId")
        employee_id = body.get("employeeId")
        if employee_id is not None:
            employee_id = read_uuid(employee_id, "employeeId")
        wanted = _read_entry_ids(body)
        interactive = read_flag(body.get("isInteractive"), "isInteractive", default=True)
        options = body.get("options") or {}
        if not isinstance(options, dict):
            raise bad_request("options must be an object")
        vendor_based = read_flag(options.get("vendorBasedBookkeeping"), "options.vendorBasedBookkeeping", default=False)
        require_company(self._store, request.scope["pleo.companies"], company_id)
        if jobs.job_in_progress(self._store, company_id) is not None:
            raise already_in_progress("Export Job already in progress for this company")
        jobs.refuse_without_contra_accounts(self._store, company_id, None)
        with self._store.transaction():
            for entry_id in wanted:
                known = "SELECT 1 FROM entries WHERE accounting_entry_id = ? AND company_id = ?"
                if self._store.row(known, (entry_id, company_id)) is None:
                    raise ApiError(400, DOES_NOT_EXIST, f"Accounting entry {entry_id} does not exist")
            if (held := jobs.locked(self._store, wanted)) is not None:
                raise already_in_progress(f"Accounting entry {held[0]} is locked by Export Job {held[1]}")
            job_id = draw_uuid(random.SystemRandom())
            jobs.add_job(
                self._store,
                job_id,
                company_id,
                wanted,
                self._control.clock(),
                origin="api",
                expires_in=self._control.expires_in,
                vendor_based=vendor_based,
                created_by=employee_id,
                is_interactive=interactive,
            )
        request.scope["pleo.detail"] = f"{len(wanted)} entries"
        made = Job.of(self._job(request, job_id))
        self._control.webhooks.announce(made)
        return json_response({"data": made.wire()}, status=201)

    async def get_job(self, request: Request) -> Response:
        """`getExportJobByIdV3`."""
        return json_response({"data": Job.of(self._job(request, request.path_params["job_id"])).wire()})

    async def list_job_items(self, request: Request) -> Response:
        """`getExportJobItemsV3`, in the order of the job unless sorted."""
        page = paging.read_page_request(request.query_params, self._control.page_cap)
        status = request.query_params.get("status")
        if status is not None:
            read_choice(status, ITEM_STATUSES, "status")
        job = self._job(request, request.path_params["job_id"])
        condition, args, total = "job = ?", [job["job"]], job["number_of_items"]
        if status is not None:
            condition, args = "job = ? AND status = ?", [job["job"], status]
            total = self._store.number("SELECT count(*) FROM job_items WHERE job = ? AND status = ?", args)
        name = f"items of {job['id']}"
        source = Source(name, "*", "job_items", condition, args, _ITEM_KEYS, [("position", False)])
        rows, info = paging.read_page(self._store, source, page, total)
        request.scope["pleo.detail"] = _counted(len(rows))
        return json_response({"data": [self._item(row, job["id"]) for row in rows], "pagination": info})

    async def update_job_items(self, request: Request) -> Response:
        """`updateExportJobItemsV3`. A job that was not started takes updates too: only finished ones are refused."""
        body = await read_json(request)
        job = self._job(request, request.path_params["job_id"])
        if job["status"] not in OPEN:
            raise job_finished()
        updates = _read_updates(body)
        answer = jobs.apply_updates(self._store, job, updates, self._control.clock())
        refused = f", {len(answer['errors'])} refused" if answer["errors"] else ""
        request.scope["pleo.detail"] = _counted(len(updates)) + refused
        return json_response(answer)

    async def list_export_items(self, request: Request) -> Response:
        """`getExportItemsV3`, in the order of the job unless sorted; the links to files are made now."""
        query = request.query_params
        page = paging.read_page_request(query, self._control.page_cap)
        if "job_id" not in query:
            raise bad_request("job_id is required")
        job = self._job(request, read_uuid(query["job_id"], "job_id"))
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
        data = receipts.sign_links(data, _base_url(request), self._store.link_key, self._control.clock())
        request.scope["pleo.detail"] = _counted(len(rows))
        return json_response(f'{{"data":[{data}],"pagination":{dumps(info)}}}')

    async def get_job_item(self, request: Request) -> Response:
        """`getExportJobItemByAccountingEntryIdV3`: of the newest job that holds the entry."""
        query, companies = request.query_params, request.scope["pleo.companies"]
        if "accounting_entry_id" not in query:
            raise bad_request("accounting_entry_id is required")
        args = [read_uuid(query["accounting_entry_id"], "accounting_entry_id")]
        condition = "i.accounting_entry_id = ?"
        if "company_id" in query:
            args.append(read_uuid(query["company_id"], "company_id"))
            require_company(self._store, companies, args[-1])
            condition += " AND j.company_id = ?"
        row = self._store.row(
            "SELECT i.*, j.id AS job_id, j.company_id FROM job_items i JOIN jobs j USING (job)"  # noqa: S608 - constants
            f" WHERE {condition} ORDER BY j.created_at DESC",
            args,
        )
        if row is None or (companies is not None and row["company_id"] not in companies):
            raise ApiError(404, "EXPORT_ENTRY_NOT_FOUND", "Export Job Item not found")
        return json_response({"data": self._item(row, row["job_id"])})

    async def search_job_items(self, request: Request) -> Response:
        """`searchExportJobItemsV3`: these entries in every job that holds them, the newest job first unless sorted."""
        page = paging.read_page_request(request.query_params, self._control.page_cap)
        body = await read_object(request)
        wanted = json.dumps(_read_entry_ids(body))
        condition, args = self._companies(request, "j.company_id")
        condition += " AND i.accounting_entry_id IN (SELECT value FROM json_each(?))"
        args.append(wanted)
        if body.get("status") is not None:
            condition += " AND i.status = ?"
            args.append(read_choice(body["status"], ITEM_STATUSES, "status"))
        tables = "job_items i JOIN jobs j USING (job)"
        total = self._store.number(f"SELECT count(*) FROM {tables} WHERE {condition}", args)  # noqa: S608 - constants
        source = Source(
            name=f"job items of {zlib.crc32(wanted.encode())}",
            columns="i.*, j.id AS job_id",
            tables=tables,
            condition=condition,
            args=args,
            keys=_FOUND_KEYS,
            order=[("j.created_at", True), ("i.job", True), ("i.position", False)],
        )
        rows, info = paging.read_page(self._store, source, page, total)
        request.scope["pleo.detail"] = _counted(len(rows))
        return json_response({"data": [self._item(row, row["job_id"]) for row in rows], "pagination": info})

    async def create_event(self, request: Request) -> Response:
        """`createExportJobEventV3`. Nobody knows whether Pleo refuses reasons of failure with other events."""
        body = await read_object(request)
        name = read_choice(body.get("event"), tuple(jobs.EVENTS), "event")
        job_id = read_uuid(body.get("jobId"), "jobId")
        reason, reason_type = body.get("failureReason"), body.get("failureReasonType")
        if self._control.strict and name != "failed":
            strict.refuse_failure_fields(reason, reason_type)
        reason = read_text(reason, "failureReason")
        if reason_type is not None and (not isinstance(reason_type, str) or reason_type not in JOB_FAILURE_TYPES):
            raise bad_request("failureReasonType is not one of the job failure types")
        job = self._job(request, job_id)
        jobs.apply_event(self._store, job, name, self._control.clock(), reason, reason_type)
        request.scope["pleo.detail"] = name
        return Response(status_code=202)

    async def get_receipt(self, request: Request) -> Response:
        """A receipt file. No credentials: the link is the permission, for a day."""
        expires, signature, name = (request.path_params[key] for key in ("expires", "signature", "name"))
        if not receipts.is_signed(self._store.link_key, expires, signature, name):
            raise ApiError(403, "FORBIDDEN", "This link was not handed out by this sandbox")
        if self._control.clock() >= int(expires):
            raise ApiError(403, "FORBIDDEN", "This link has expired: fetch the export item again")
        if receipts.is_missing(name):
            raise ApiError(404, "NOT_FOUND", "There is no such file")
        return Response(receipts.content(name), media_type=receipts.TYPES[name.rsplit(".", 1)[1]])

    def _item(self, row: sqlite3.Row, job_id: str) -> Json:
        """An item as Pleo answers it; an earlier definition has null for the status of what nobody has tried yet."""
        item = Item.of(row).wire(job_id)
        if self._control.null_until_tried and item["status"] == "pending" and not row["updates"]:
            item["status"] = None
        return item

    def _companies(self, request: Request, column: str) -> tuple[str, list[str]]:
        """The condition, with its arguments, that a row is of the company asked for, or of one that may be seen."""
        query, companies = request.query_params, request.scope["pleo.companies"]
        if "company_id" in query:
            company_id = read_uuid(query["company_id"], "company_id")
            require_company(self._store, companies, company_id)
            return f"{column} = ?", [company_id]
        if companies is None:
            return "1", []
        return f"{column} IN ({','.join('?' * len(companies))})", sorted(companies)

    def _job(self, request: Request, job_id: str) -> sqlite3.Row:
        """The job, if there is one and the credentials may see it."""
        job = jobs.find_job(self._store, job_id)
        if job is None:
            raise job_not_found()
        companies = request.scope["pleo.companies"]
        if companies is not None and job["company_id"] not in companies:
            raise forbidden(job["company_id"])
        return job


def _read_entry_ids(body: Json) -> list[str]:
    """`accountingEntryIds` of a body, each once."""
    entry_ids = body.get("accountingEntryIds")
    if not isinstance(entry_ids, list):
        raise bad_request("accountingEntryIds must be an array of UUIDs")
    return list(dict.fromkeys(read_uuid(entry_id, "accountingEntryIds") for entry_id in entry_ids))


def _read_updates(body: object) -> list[ItemUpdate]:
    """The updates of a request's body; 413 above a hundred, 400 for what the contract does not have."""
    if not isinstance(body, list):
        raise bad_request("The body must be an array of item updates")
    if len(body) > MAX_UPDATES:
        raise ApiError(413, "EXPORT_JOB_ITEMS_UPDATE_LIMIT", f"Number of items to update is more than {MAX_UPDATES}")
    return [_read_update(element, f"[{index}]") for index, element in enumerate(body)]


def _read_update(element: object, where: str) -> ItemUpdate:
    if not isinstance(element, dict):
        raise bad_request(f"{where} must be an object")
    names = ("exportedAt", "externalId", "externalUrl", "failureReason", "failureReasonType")
    exported_at, external_id, external_url, reason, reason_type = (
        read_text(element.get(name), f"{where}.{name}") for name in names
    )
    entry_id = read_uuid(element.get("accountingEntryId"), f"{where}.accountingEntryId")
    status = read_choice(element.get("status"), ITEM_STATUSES, f"{where}.status")
    require_date_time(exported_at, f"{where}.exportedAt")
    if reason_type is not None and reason_type not in ITEM_FAILURE_TYPES:
        raise bad_request(f"{where}.failureReasonType is not one of the item failure types")
    return ItemUpdate(entry_id, status, exported_at, external_id, external_url, reason, reason_type)


def _base_url(request: Request) -> str:
    """Scheme, host and port under which the request came, for links in its answer."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        address, port = request.scope["server"]
        host = f"{address}:{port}"
    return f"{request.scope['scheme']}://{host}"


def _counted(items: int) -> str:
    return f"{items} item" if items == 1 else f"{items} items"
