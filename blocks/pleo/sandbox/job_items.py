"""The items of a job: taking the integration's updates, one by one, with an error for each that is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from blocks.pleo.sandbox.errors import ApiError, bad_request
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.views import Item
from blocks.pleo.sandbox.wire import Json, is_date_time, is_uuid

MAX_UPDATES = 100
STATUSES = ("pending", "in_progress", "failed", "successful", "abandoned")
DOES_NOT_EXIST = "ACCOUNTING_ENTRY_DOES_NOT_EXIST"
UPDATE_FAILED = "EXPORT_ENTRY_STATUS_UPDATE_FAILED"
ERROR_TYPES = (DOES_NOT_EXIST, UPDATE_FAILED, "ACCOUNTING_ENTRY_UPDATE_FAILED")

FAILURE_TYPES = frozenset(
    {
        "receipt_upload_failure",
        "receipt_download_failure",
        "receipt_file_size_limit_exceeded",
        "receipt_conversion_failure",
        "unexpected_failure",
        "invalid_configuration",
        "missing_configuration",
        "accounting_system_authentication_failure",
        "accounting_system_rate_limit",
        "accounting_system_unreachable",
        "validation_failure",
        "accounting_system_validation_failure",
        "authorization_failure",
        "accounting_system_timeout",
        "vendor_unknown",
        "account_unknown",
        "tax_code_unknown",
        "tag_unknown",
    }
)
"""The types that an item's failure may have in the contract."""


@dataclass(frozen=True, slots=True)
class Update:
    """One element of the body of `PUT /v3/export-jobs/{jobId}/items`."""

    accounting_entry_id: str
    status: str
    exported_at: str | None
    external_id: str | None
    external_url: str | None
    failure_reason: str | None
    failure_reason_type: str | None


def read_updates(body: object) -> list[Update]:
    """The updates of a request's body; 413 above a hundred, 400 for what the contract does not have."""
    if not isinstance(body, list):
        raise bad_request("The body must be an array of item updates")
    if len(body) > MAX_UPDATES:
        raise ApiError(413, "EXPORT_JOB_ITEMS_UPDATE_LIMIT", f"Number of items to update is more than {MAX_UPDATES}")
    return [_update(element, f"[{index}]") for index, element in enumerate(body)]


def _update(element: object, where: str) -> Update:
    if not isinstance(element, dict):
        raise bad_request(f"{where} must be an object")
    texts: dict[str, str | None] = {}
    for name in ("exportedAt", "externalId", "externalUrl", "failureReason", "failureReasonType"):
        value = element.get(name)
        if value is not None and not isinstance(value, str):
            raise bad_request(f"{where}.{name} must be a string")
        texts[name] = value
    entry_id, status = element.get("accountingEntryId"), element.get("status")
    if not is_uuid(entry_id):
        raise bad_request(f"{where}.accountingEntryId must be a UUID")
    if status not in STATUSES:
        raise bad_request(f"{where}.status must be one of {', '.join(STATUSES)}")
    if texts["exportedAt"] is not None and not is_date_time(texts["exportedAt"]):
        raise bad_request(f"{where}.exportedAt must be a date-time")
    if texts["failureReasonType"] is not None and texts["failureReasonType"] not in FAILURE_TYPES:
        raise bad_request(f"{where}.failureReasonType is not one of the item failure types")
    return Update(
        str(entry_id).lower(),
        str(status),
        texts["exportedAt"],
        texts["externalId"],
        texts["externalUrl"],
        texts["failureReason"],
        texts["failureReasonType"],
    )


_APPLY = """
UPDATE job_items
SET status = ?, exported_at = ?, exported_at_sent = ?, external_id = ?, external_url = ?, failure_reason = ?,
    failure_reason_type = ?, updates = updates + 1
WHERE job = ? AND position = ?
"""


def apply_updates(store: Store, job: sqlite3.Row, updates: Sequence[Update], now_s: float) -> Json:
    """Take the updates and answer `{data, errors}`. An update replaces what an earlier one of the item said."""
    errors: list[Json] = []
    taken: list[str] = []
    with store.transaction() as connection:
        positions = _positions(connection, job["job"], [update.accounting_entry_id for update in updates])
        for update in updates:
            name = update.accounting_entry_id
            position = positions.get(name)
            if position is None:
                errors.append(_error(name, DOES_NOT_EXIST, "No such accounting entry in this export job"))
                continue
            refusal = _take_refusal(connection, job["job"], name)
            if refusal is not None:
                errors.append(_error(name, refusal["error_type"], "The status of the entry could not be updated"))
            if refusal is None or refusal["applied"]:
                _apply(connection, job["job"], position, update, now_s)
            if refusal is None:
                taken.append(name)
        if taken:
            connection.execute("UPDATE jobs SET last_updated_at = ? WHERE job = ?", (now_s, job["job"]))
        items = items_at(store, job["job"], [positions[name] for name in dict.fromkeys(taken)])
    return {"data": [item.wire(job["id"]) for item in items], "errors": errors}


def refuse(store: Store, job: int, accounting_entry_id: str, times: int, error_type: str, applied: bool) -> None:
    """Have the next updates of an item answered with an error, as often as told; `applied`: done all the same."""
    with store.transaction() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)",
            (job, accounting_entry_id.lower(), times, error_type, applied),
        )


def items_at(store: Store, job: int, positions: Sequence[int]) -> list[Item]:
    """The items of a job at these positions, in this order."""
    marks = ",".join("?" * len(positions))
    rows = store.rows(
        f"SELECT * FROM job_items WHERE job = ? AND position IN ({marks})",  # noqa: S608 - question marks
        (job, *positions),
    )
    by_position = {row["position"]: Item.of(row) for row in rows}
    return [by_position[position] for position in positions]


def _positions(connection: sqlite3.Connection, job: int, names: Sequence[str]) -> dict[str, int]:
    marks = ",".join("?" * len(names))
    rows = connection.execute(
        f"SELECT accounting_entry_id, position FROM job_items"  # noqa: S608 - question marks
        f" WHERE job = ? AND accounting_entry_id IN ({marks})",
        (job, *names),
    )
    return {row["accounting_entry_id"]: row["position"] for row in rows}


def _take_refusal(connection: sqlite3.Connection, job: int, name: str) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(
        "SELECT * FROM refusals WHERE job = ? AND accounting_entry_id = ? AND times > 0", (job, name)
    ).fetchone()
    if found is not None:
        connection.execute(
            "UPDATE refusals SET times = times - 1 WHERE job = ? AND accounting_entry_id = ?", (job, name)
        )
    return found


def _apply(connection: sqlite3.Connection, job: int, position: int, update: Update, now_s: float) -> None:
    values = (
        update.status,
        now_s if update.status == "successful" else None,
        update.exported_at,
        update.external_id,
        update.external_url,
        update.failure_reason,
        update.failure_reason_type,
    )
    connection.execute(_APPLY, (*values, job, position))


def _error(accounting_entry_id: str, error_type: str, message: str) -> Json:
    return {"accountingEntryId": accounting_entry_id, "message": message, "type": error_type}
