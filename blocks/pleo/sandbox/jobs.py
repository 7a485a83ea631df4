"""Export jobs in the store: making them, their transitions, the updates of their items, and their end by time.

Choices where Pleo's pages are silent: `failed` is taken from a job that was not started yet, `completed` and
`completed_with_errors` are not. A final event with items still open makes these `abandoned`. An event or an accepted
item update prolongs a job's life; reading does not. Several jobs of a company may be pending, and one is in progress:
`started` for a second one is refused as any transition is, with the only refusal that the contract has for events.
An entry is in one job at a time that is not over. Reasons of failure are taken with any event, and shown of jobs that
failed or were completed with errors.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from blocks.pleo.sandbox.errors import NotNow, SandboxError, missing_contra_accounts, transition_refused
from blocks.pleo.sandbox.items import Entry
from blocks.pleo.sandbox.models import DOES_NOT_EXIST, OPEN, Event, Item, ItemUpdate, Job
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.wire import Json

EVENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "started": (("pending",), "in_progress"),
    "completed": (("in_progress",), "completed"),
    "completed_with_errors": (("in_progress",), "completed_with_errors"),
    "failed": (("pending", "in_progress"), "failed"),
}
"""For each event: from which states it is taken, and which state it leads to."""

_INSERT_JOB = """
INSERT INTO jobs (id, company_id, origin, status, created_at, created_by, expires_in, is_interactive, vendor_based,
                  number_of_items)
VALUES (:id, :company_id, :origin, 'pending', :created_at, :created_by, :expires_in, :is_interactive, :vendor_based,
        :number_of_items)
"""
_ABANDON = "UPDATE job_items SET status = 'abandoned' WHERE job = ? AND status IN ('pending', 'in_progress')"
_UPDATE_ITEM = """
UPDATE job_items
SET exported_at = ?, status = ?, exported_at_sent = ?, external_id = ?, external_url = ?, failure_reason = ?,
    failure_reason_type = ?, updates = updates + 1
WHERE job = ? AND position = ?
"""


def ensure_company(store: Store, company_id: str) -> None:
    """Make a company known to the sandbox, if it is not yet."""
    with store.transaction() as connection:
        connection.execute("INSERT OR IGNORE INTO companies (id) VALUES (?)", (company_id,))


def add_job(
    store: Store,
    job_id: str,
    company_id: str,
    accounting_entry_ids: Sequence[str],
    now_s: float,
    *,
    origin: str,
    expires_in: int,
    vendor_based: bool,
    created_by: str | None = None,
    is_interactive: bool = True,
) -> None:
    """Make a pending job of known accounting entries, in this order.

    Jobs are made at least a second apart, or are dated so: Pleo's times have whole seconds, and the oldest job is
    told by them.
    """
    with store.transaction() as connection:
        last = connection.execute("SELECT max(created_at) FROM jobs").fetchone()[0]
        values = {
            "id": job_id,
            "company_id": company_id,
            "origin": origin,
            "created_at": now_s if last is None else max(now_s, math.floor(last) + 1.0),
            "created_by": created_by,
            "expires_in": expires_in,
            "is_interactive": is_interactive,
            "vendor_based": vendor_based,
            "number_of_items": len(accounting_entry_ids),
        }
        job = connection.execute(_INSERT_JOB, values).lastrowid
        connection.executemany(
            "INSERT INTO job_items (job, position, entry, accounting_entry_id)"
            " SELECT ?, ?, entry, accounting_entry_id FROM entries WHERE accounting_entry_id = ?",
            ((job, position, name) for position, name in enumerate(accounting_entry_ids, start=1)),
        )


def add_entries(store: Store, company_id: str, entries: Iterable[Entry]) -> list[str]:
    """Store export items, and answer their ids in the same order."""
    ids: list[str] = []

    def rows() -> Iterable[tuple[str, str, str, str, str]]:
        for entry in entries:
            ids.append(entry.accounting_entry_id)
            yield entry.accounting_entry_id, company_id, entry.body, entry.plain_tail, entry.vendor_tail

    try:
        with store.transaction() as connection:
            connection.executemany(
                "INSERT INTO entries (accounting_entry_id, company_id, body, plain_tail, vendor_tail)"
                " VALUES (?, ?, ?, ?, ?)",
                rows(),
            )
    except sqlite3.IntegrityError as error:
        raise SandboxError("an accounting entry of this id is there already: export it again, or edit it") from error
    return ids


def find_job(store: Store, job_id: str) -> sqlite3.Row | None:
    """The row of a job, by Pleo's id in any case of letters."""
    return store.row("SELECT * FROM jobs WHERE id = ?", (job_id.lower(),))


def apply_event(
    store: Store, job: sqlite3.Row, name: str, now_s: float, reason: str | None, reason_type: str | None
) -> None:
    """Move a job as the event says, or refuse with 422."""
    sources, target = EVENTS[name]
    if job["status"] not in sources:
        raise transition_refused(f"{name} is not possible on a job that is {job['status']}")
    with store.transaction() as connection:
        if name == "started" and (running := job_in_progress(store, job["company_id"])) is not None:
            raise transition_refused(f"job {running} of the company is in progress, and one job runs at a time")
        stamp = "started_at" if name == "started" else "completed_at"
        shown = (reason, reason_type) if target in ("failed", "completed_with_errors") else (None, None)
        connection.execute(
            f"UPDATE jobs SET status = ?, last_updated_at = ?, {stamp} = ?, failure_reason = ?,"  # noqa: S608
            " failure_reason_type = ? WHERE job = ?",
            (target, now_s, now_s, *shown, job["job"]),
        )
        if name != "started":
            connection.execute(_ABANDON, (job["job"],))
        connection.execute(
            "INSERT INTO events (job, name, at, failure_reason, failure_reason_type) VALUES (?, ?, ?, ?, ?)",
            (job["job"], name, now_s, reason, reason_type),
        )


def job_in_progress(store: Store, company_id: str) -> str | None:
    """The id of the job of a company that is in progress, if there is one."""
    row = store.row("SELECT id FROM jobs WHERE company_id = ? AND status = 'in_progress'", (company_id,))
    return None if row is None else str(row["id"])


def locked(store: Store, accounting_entry_ids: Sequence[str]) -> tuple[str, str] | None:
    """The first of these entries that a job has which is not over, and that job's id; None when all are free."""
    row = store.row(
        "SELECT i.accounting_entry_id, j.id FROM json_each(?) e"
        " CROSS JOIN job_items i ON i.accounting_entry_id = e.value JOIN jobs j USING (job)"
        " WHERE j.status IN ('pending', 'in_progress') ORDER BY e.key LIMIT 1",
        (json.dumps(list(accounting_entry_ids)),),
    )
    return None if row is None else (str(row["accounting_entry_id"]), str(row["id"]))


def cancel(store: Store, job: sqlite3.Row, now_s: float) -> None:
    """End a job as its user does in Pleo: `failed` with `canceled_by_user`, its open items abandoned."""
    if job["status"] not in OPEN:
        raise NotNow(f"export job {job['id']} is {job['status']} already")
    with store.transaction() as connection:
        connection.execute(
            "UPDATE jobs SET status = 'failed', last_updated_at = ?, completed_at = ?, failure_reason = ?,"
            " failure_reason_type = 'canceled_by_user' WHERE job = ?",
            (now_s, now_s, "The export was canceled by its user", job["job"]),
        )
        connection.execute(_ABANDON, (job["job"],))


def expire(store: Store, now_s: float) -> None:
    """End the jobs whose time is over: `failed` with `job_expired`, their open items abandoned."""
    due = store.rows(
        "SELECT job, coalesce(last_updated_at, created_at) + expires_in AS deadline FROM jobs"
        " WHERE status IN ('pending', 'in_progress') AND deadline <= ?",
        (now_s,),
    )
    for row in due:
        with store.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET status = 'failed', expired_at = ?, failure_reason_type = 'job_expired',"
                " failure_reason = 'The export job was not updated in time and has expired' WHERE job = ?",
                (row["deadline"], row["job"]),
            )
            connection.execute(_ABANDON, (row["job"],))


def refuse_without_contra_accounts(store: Store, company_id: str, job: sqlite3.Row | None) -> None:
    """Answer 400 when contra accounts are marked as missing, for the company or for this job."""
    row = store.row("SELECT missing_contra FROM companies WHERE id = ?", (company_id,))
    missing: list[str] = json.loads(row["missing_contra"]) if row is not None else []
    if job is not None:
        missing += [name for name in json.loads(job["missing_contra"]) if name not in missing]
    if missing:
        raise missing_contra_accounts(missing)


def all_jobs(store: Store) -> list[Job]:
    """Every job, the oldest first."""
    return [Job.of(row) for row in store.rows("SELECT * FROM jobs ORDER BY created_at, job")]


def all_events(store: Store) -> tuple[Event, ...]:
    """Every accepted event, the oldest first."""
    rows = store.rows("SELECT e.*, j.id AS job_id FROM events e JOIN jobs j USING (job) ORDER BY event")
    return tuple(Event(**{name: row[name] for name in Event.__slots__}) for row in rows)


def apply_updates(store: Store, job: sqlite3.Row, updates: Sequence[ItemUpdate], now_s: float) -> Json:
    """Take the updates and answer `{data, errors}`. An update replaces what an earlier one of the item said."""
    errors: list[Json] = []
    taken: list[str] = []
    with store.transaction() as connection:
        positions = _positions(store, job["job"], [update.accounting_entry_id for update in updates])
        for update in updates:
            name = update.accounting_entry_id
            position = positions.get(name)
            if position is None:
                errors.append(_error(name, DOES_NOT_EXIST, "No such accounting entry in this export job"))
                continue
            refusal = _next_refusal(store, job["job"], name)
            if refusal is None or refusal["applied"]:
                exported_at = now_s if update.status == "successful" else None
                connection.execute(_UPDATE_ITEM, (exported_at, *astuple(update)[1:], job["job"], position))
            if refusal is None:
                taken.append(name)
            else:
                errors.append(_error(name, refusal["error_type"], "The status of the entry could not be updated"))
        if taken:
            connection.execute("UPDATE jobs SET last_updated_at = ? WHERE job = ?", (now_s, job["job"]))
        items = _items_at(store, job["job"], [positions[name] for name in dict.fromkeys(taken)])
    return {"data": [item.wire(job["id"]) for item in items], "errors": errors}


def refuse_updates(
    store: Store, job: int, accounting_entry_id: str, times: int, error_type: str, applied: bool
) -> None:
    """Have the next updates of an item answered with an error, as often as told; `applied`: done all the same."""
    with store.transaction() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)",
            (job, accounting_entry_id.lower(), times, error_type, applied),
        )


def _next_refusal(store: Store, job: int, name: str) -> sqlite3.Row | None:
    found = store.row("SELECT * FROM refusals WHERE job = ? AND accounting_entry_id = ? AND times > 0", (job, name))
    if found is not None:
        with store.transaction() as connection:
            connection.execute(
                "UPDATE refusals SET times = times - 1 WHERE job = ? AND accounting_entry_id = ?", (job, name)
            )
    return found


def _items_at(store: Store, job: int, positions: Sequence[int]) -> list[Item]:
    """The items of a job at these positions, in this order."""
    places = ",".join("?" * len(positions))
    sql = f"SELECT * FROM job_items WHERE job = ? AND position IN ({places})"  # noqa: S608 - question marks
    found = {row["position"]: Item.of(row) for row in store.rows(sql, (job, *positions))}
    return [found[position] for position in positions]


def _positions(store: Store, job: int, names: Sequence[str]) -> dict[str, int]:
    places = ",".join("?" * len(names))
    sql = (
        "SELECT accounting_entry_id, position FROM job_items"  # noqa: S608 - question marks
        f" WHERE job = ? AND accounting_entry_id IN ({places})"
    )
    return {row["accounting_entry_id"]: row["position"] for row in store.rows(sql, (job, *names))}


def _error(accounting_entry_id: str, error_type: str, message: str) -> Json:
    return {"accountingEntryId": accounting_entry_id, "message": message, "type": error_type}
