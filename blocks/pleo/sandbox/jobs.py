"""Export jobs: making them, their transitions, and their end by time.

Choices where Pleo's pages are silent: `failed` is taken from a job that was not started yet, `completed` and
`completed_with_errors` are not. A final event with items still open makes these `abandoned`. An event or an accepted
item update prolongs a job's life; reading does not.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence

from blocks.pleo.sandbox.errors import ApiError, SandboxError, missing_contra_accounts
from blocks.pleo.sandbox.items import Entry
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.views import Event, Job

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
VALUES (:id, :company_id, :origin, 'pending', :created_at, :created_by, :expires_in, :is_interactive, :vendor_based, 0)
"""
_ABANDON = "UPDATE job_items SET status = 'abandoned' WHERE job = ? AND status IN ('pending', 'in_progress')"


def know_company(store: Store, company_id: str) -> None:
    """Make a company known to the sandbox, if it is not."""
    with store.transaction() as connection:
        connection.execute("INSERT OR IGNORE INTO companies (id) VALUES (?)", (company_id,))


def add_job(
    store: Store,
    job_id: str,
    company_id: str,
    now_s: float,
    *,
    origin: str,
    expires_in: int,
    vendor_based: bool = False,
    created_by: str | None = None,
    is_interactive: bool = True,
) -> int:
    """Make a pending job without items; answers its row.

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
        }
        return int(connection.execute(_INSERT_JOB, values).lastrowid or 0)


def add_entries(store: Store, company_id: str, entries: Iterable[Entry]) -> list[str]:
    """Store export items, and answer their ids in the same order."""
    ids: list[str] = []

    def remembered() -> Iterable[tuple[str, str, str, str, str]]:
        for entry in entries:
            ids.append(entry.accounting_entry_id)
            yield entry.accounting_entry_id, company_id, entry.body, entry.plain_tail, entry.vendor_tail

    try:
        with store.transaction() as connection:
            connection.executemany(
                "INSERT INTO entries (accounting_entry_id, company_id, body, plain_tail, vendor_tail)"
                " VALUES (?, ?, ?, ?, ?)",
                remembered(),
            )
    except sqlite3.IntegrityError as error:
        raise SandboxError("an accounting entry of this id is there already: export it again, or edit it") from error
    return ids


def fill_job(store: Store, job: int, accounting_entry_ids: Sequence[str]) -> None:
    """Put known accounting entries into a new job, as pending items, in this order."""
    with store.transaction() as connection:
        connection.executemany(
            "INSERT INTO job_items (job, position, entry, accounting_entry_id)"
            " SELECT ?, ?, entry, accounting_entry_id FROM entries WHERE accounting_entry_id = ?",
            ((job, position, name) for position, name in enumerate(accounting_entry_ids, start=1)),
        )
        connection.execute("UPDATE jobs SET number_of_items = ? WHERE job = ?", (len(accounting_entry_ids), job))


def find_job(store: Store, job_id: str) -> sqlite3.Row | None:
    """The row of a job, by Pleo's id in any case of letters."""
    return store.row("SELECT * FROM jobs WHERE id = ?", (job_id.lower(),))


def apply_event(
    store: Store, job: sqlite3.Row, name: str, now_s: float, reason: str | None, reason_type: str | None
) -> None:
    """Move a job as the event says, or refuse with 422."""
    sources, target = EVENTS[name]
    if job["status"] not in sources:
        raise ApiError(
            422,
            "INVALID_EXPORT_JOB_STATUS_CHANGE",
            f"Export Job status change failed: {name} is not possible on a job that is {job['status']}",
        )
    with store.transaction() as connection:
        stamp = "started_at" if name == "started" else "completed_at"
        connection.execute(
            f"UPDATE jobs SET status = ?, last_updated_at = ?, {stamp} = ?, failure_reason = ?,"  # noqa: S608
            " failure_reason_type = ? WHERE job = ?",
            (target, now_s, now_s, reason, reason_type, job["job"]),
        )
        if name != "started":
            connection.execute(_ABANDON, (job["job"],))
        connection.execute(
            "INSERT INTO events (job, name, at, failure_reason, failure_reason_type) VALUES (?, ?, ?, ?, ?)",
            (job["job"], name, now_s, reason, reason_type),
        )


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
