"""What a strict sandbox refuses with 400 although the contract does not say so: what may be a mistake of the client's.

Of Pleo's other calls it is known that a list without its company is refused; of these nobody knows. An unknown
parameter is a misspelt filter, without which a list shows more than was meant. Reasons of failure belong to `failed`.
"""

from __future__ import annotations

from starlette.datastructures import QueryParams

from blocks.pleo.sandbox.errors import bad_request

_PAGING = ("before", "after", "offset", "limit", "sorting_keys", "sorting_order")
PARAMETERS = {
    "GET /v3/export-jobs": ("company_id", "statuses", *_PAGING),
    "POST /v3/export-jobs": (),
    "GET /v3/export-jobs/{jobId}": (),
    "GET /v3/export-jobs/{jobId}/items": ("status", *_PAGING),
    "PUT /v3/export-jobs/{jobId}/items": (),
    "GET /v3/export-items": ("job_id", *_PAGING),
    "GET /v3/export-job-items": ("company_id", "accounting_entry_id"),
    "POST /v3/export-job-items:search": ("company_id", *_PAGING),
    "POST /v3/export-job-events": (),
    "GET /v1/companies": ("organization_id", *_PAGING[:4]),
    "GET /v1/installations/me": (),
}
"""The parameters that the contract has for the query of each call."""


def refuse(call: str, query: QueryParams) -> None:
    """Refuse parameters that a call has not, and a call without the company that it can be given."""
    known = PARAMETERS.get(call)
    if known is None:
        return
    strange = sorted(set(query) - set(known))
    if strange:
        raise bad_request(f"Unknown parameter {', '.join(strange)}: {', '.join(known) or 'none'} can be given")
    if "company_id" in known and "company_id" not in query:
        raise bad_request("company_id must be provided")


def refuse_failure_fields(reason: object, reason_type: object) -> None:
    """Refuse reasons of failure with an event that is no failure."""
    if reason is not None or reason_type is not None:
        raise bad_request("failureReason and failureReasonType are only for the event failed")
