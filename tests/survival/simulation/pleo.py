"""A small Pleo in memory, written from the contract alone: jobs, their items and data, events, expiry, its limit.

It decides nothing by itself and knows no time but the one it is given, so that a simulation can choose every detail.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
OPEN = ("pending", "in_progress")
FINAL = ("successful", "failed")
AFTER = {
    "started": (("pending",), "in_progress"),
    "completed": (("in_progress",), "completed"),
    "completed_with_errors": (("in_progress",), "completed_with_errors"),
    "failed": (OPEN, "failed"),
}


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its JSON (None: no body), and headers."""

    status: int
    document: Any = None
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> bytes:
        """The body as it goes over the wire."""
        return b"" if self.document is None else json.dumps(self.document).encode()


class Refusal(Exception):
    """A request that Pleo refuses."""

    def __init__(self, status: int, type_: str, *headers: tuple[str, str]) -> None:
        super().__init__(type_)
        self.reply = Reply(status, {"type": type_, "message": type_.lower().replace("_", " ")}, headers)


@dataclass
class Row:
    """An item of a job at its place; `by` and `told_at` are whose update it shows, and when it came."""

    id: str
    place: int
    status: str = "pending"
    said: Json = field(default_factory=dict)
    by: str = ""
    told_at: float = 0.0


@dataclass
class Job:
    """An export job. Times are in seconds since 1970; `rows` are its items by accounting entry id."""

    id: str
    company_id: str
    rows: dict[str, Row]
    created_at: float
    expires_in: int = 3600
    status: str = "pending"
    last_updated_at: float | None = None
    expired_at: float | None = None
    reason: str | None = None
    reason_type: str | None = None
    accepted: list[tuple[str, str]] = field(default_factory=list)
    """The events that were taken, and by whom."""
    contra_missing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it takes updates."""
        return self.status in OPEN and self.expired_at is None

    def count(self, status: str) -> int:
        """How many items are in that state."""
        return sum(row.status == status for row in self.rows.values())

    def wire(self) -> Json:
        """The job as Pleo shows it."""
        return {
            "companyId": self.company_id,
            "createdAt": _instant(self.created_at),
            "expiredAt": _instant(self.expired_at),
            "expiresIn": self.expires_in,
            "failureReason": self.reason,
            "failureReasonType": self.reason_type,
            "id": self.id,
            "isInteractive": True,
            "lastUpdatedAt": _instant(self.last_updated_at),
            "numberOfItems": len(self.rows),
            "status": self.status,
            "vendorBasedBookkeeping": False,
        }


@dataclass(frozen=True)
class Habits:
    """What the contract leaves open: how large pages are at most, whether a cursor counts places (and so shifts when
    rows vanish), how an expired job is told, whether reading prolongs a job, how many requests a minute may hold."""

    page_cap: int = 100
    cursor_counts: bool = False
    expired_by_date_alone: bool = False
    reading_prolongs: bool = False
    a_minute: int = 600
    tells_retry_after: bool = True


class SimulatedPleo:
    """Answers requests. `items` has the export items by accounting entry id; `tokens` are the credentials it takes."""

    def __init__(self, now: Callable[[], float], habits: Habits) -> None:
        self.now = now
        self.habits = habits
        self.jobs: dict[str, Job] = {}
        self.items: dict[str, Json] = {}
        self.refuse: dict[str, list[bool]] = {}
        """Items whose next updates are answered with an error: one entry a time, true where it is done all the same."""
        self.authorizations: set[str] = set()
        self._times: deque[float] = deque()

    def add_job(self, job_id: str, company_id: str, ids: Sequence[str], expires_in: int = 3600) -> Job:
        """A user presses Export."""
        rows = {id_: Row(id_, place) for place, id_ in enumerate(ids, 1)}
        self.jobs[job_id] = Job(job_id, company_id, rows, self.now(), expires_in)
        return self.jobs[job_id]

    def drop_item(self, job: Job, id_: str) -> None:
        """An expense is taken out of a job."""
        del job.rows[id_]

    def end(self, job: Job, status: str, reason_type: str | None = None) -> None:
        """Somebody else ends a job: a user, or another integration."""
        job.status, job.reason_type, job.last_updated_at = status, reason_type, self.now()
        self._abandon(job)

    def expire(self) -> list[Job]:
        """End the jobs whose time is over; returns those that ended now."""
        over = [job for job in self.jobs.values() if job.is_open and self._deadline(job) <= self.now()]
        for job in over:
            job.expired_at = self._deadline(job)
            job.reason_type = "job_expired"
            if not self.habits.expired_by_date_alone:
                job.status = "failed"
            self._abandon(job)
        return over

    def answer(self, method: str, path: str, query: Sequence[tuple[str, str]], body: Any, auth: str, by: str) -> Reply:
        """Carry a request out."""
        try:
            if auth not in self.authorizations:
                raise Refusal(401, "UNAUTHORIZED")
            self._within_limit()
            self.expire()
            return self._route(method, path, query, body, by)
        except Refusal as refusal:
            return refusal.reply

    def _route(self, method: str, path: str, query: Sequence[tuple[str, str]], body: Any, by: str) -> Reply:
        match method, path.strip("/").split("/"):
            case "GET", ["v3", "export-jobs"]:
                return self._list_jobs(query)
            case "GET", ["v3", "export-jobs", job_id]:
                return Reply(200, {"data": self._job(job_id, reading=True).wire()})
            case "GET", ["v3", "export-jobs", job_id, "items"]:
                job = self._job(job_id, reading=True)
                return self._page(_places(job), query, lambda id_: self._shown(job, job.rows[id_]))
            case "PUT", ["v3", "export-jobs", job_id, "items"]:
                return self._update(self._job(job_id), body, by)
            case "GET", ["v3", "export-items"]:
                job = self._job(dict(query)["job_id"], reading=True)
                if not job.is_open:
                    raise Refusal(422, "EXPORT_JOB_STATUS_UNPROCESSABLE")
                if job.contra_missing:
                    raise Refusal(400, "MISSING_CONTRA_ACCOUNTS")
                return self._page(_places(job), query, lambda id_: self.items[id_])
            case "POST", ["v3", "export-job-events"]:
                return self._event(self._job(body["jobId"]), body, by)
            case _:
                raise Refusal(404, "NOT_FOUND")

    def _list_jobs(self, query: Sequence[tuple[str, str]]) -> Reply:
        statuses = {value for name, value in query if name == "statuses"}
        company = dict(query).get("company_id")
        chosen = [
            (-place, id_)
            for place, (id_, job) in enumerate(self.jobs.items())
            if company in (None, job.company_id) and (not statuses or job.status in statuses)
        ]
        return self._page(chosen[::-1], query, lambda id_: self.jobs[id_].wire())

    def _page(
        self, rows: list[tuple[int, str]], query: Sequence[tuple[str, str]], shown: Callable[[str], Json]
    ) -> Reply:
        """A page of these rows, each with its place in the order."""
        asked = dict(query)
        size = min(int(asked.get("limit", "20")), self.habits.page_cap)
        start = 0
        if "after" in asked:
            cursor = int(base64.b32decode(asked["after"].replace("~", "=")).decode())
            start = cursor if self.habits.cursor_counts else sum(place <= cursor for place, _ in rows)
        here = rows[start : start + size]
        more = start + size < len(rows)
        info: Json = {"hasNextPage": more, "hasPreviousPage": start > 0, "total": len(rows)}
        if here:
            end = start + size if self.habits.cursor_counts else here[-1][0]
            info["endCursor"] = base64.b32encode(str(end).encode()).decode().replace("=", "~")
        return Reply(200, {"data": [shown(id_) for _, id_ in here], "pagination": info})

    def _update(self, job: Job, updates: list[Json], by: str) -> Reply:
        if not job.is_open:
            raise Refusal(422, "EXPORT_JOB_STATUS_UNPROCESSABLE")
        if len(updates) > 100:
            raise Refusal(413, "EXPORT_JOB_ITEMS_UPDATE_LIMIT")
        shown: list[Json] = []
        errors: list[Json] = []
        for update in updates:
            row = job.rows.get(update["accountingEntryId"])
            if row is None:
                errors.append(_error(update["accountingEntryId"], "ACCOUNTING_ENTRY_DOES_NOT_EXIST"))
                continue
            orders = self.refuse.get(row.id, [])
            refused = bool(orders)
            carried_out = orders.pop(0) if orders else True
            if carried_out:
                row.status, row.said, row.by, row.told_at = update["status"], update, by, self.now()
            if refused:
                errors.append(_error(row.id, "EXPORT_ENTRY_STATUS_UPDATE_FAILED"))
            else:
                shown.append(self._shown(job, row))
        if shown:
            job.last_updated_at = self.now()
        return Reply(200, {"data": shown, "errors": errors})

    def _event(self, job: Job, body: Json, by: str) -> Reply:
        sources, target = AFTER[body["event"]]
        if job.status not in sources or job.expired_at is not None:
            raise Refusal(422, "INVALID_EXPORT_JOB_STATUS_CHANGE")
        if body["event"] == "started" and self._runs(job.company_id):
            raise Refusal(422, "INVALID_EXPORT_JOB_STATUS_CHANGE")
        job.status, job.last_updated_at = target, self.now()
        job.reason, job.reason_type = body.get("failureReason"), body.get("failureReasonType")
        job.accepted.append((body["event"], by))
        if target not in OPEN:
            self._abandon(job)
        return Reply(202)

    def _runs(self, company_id: str) -> bool:
        """Whether a job of the company is in progress: one at a time."""
        running = (job for job in self.jobs.values() if job.status == "in_progress" and job.expired_at is None)
        return any(job.company_id == company_id for job in running)

    def _job(self, job_id: str, *, reading: bool = False) -> Job:
        if job_id not in self.jobs:
            raise Refusal(404, "EXPORT_NOT_FOUND")
        job = self.jobs[job_id]
        if reading and job.is_open and self.habits.reading_prolongs:
            job.last_updated_at = self.now()
        return job

    def _shown(self, job: Job, row: Row) -> Json:
        told = ("externalId", "externalUrl", "failureReason", "failureReasonType")
        shown = {name: row.said.get(name) for name in told}
        when = _instant(self.now()) if row.status == "successful" else None
        return {
            "accountingEntryId": row.id,
            "exportJobId": job.id,
            "status": row.status,
            "exportedAt": when,
            **shown,
        }

    def _within_limit(self) -> None:
        now = self.now()
        while self._times and self._times[0] <= now - 60:
            self._times.popleft()
        if len(self._times) >= self.habits.a_minute:
            wait = str(int(self._times[0] + 60 - now) + 1)
            raise Refusal(429, "TOO_MANY_REQUESTS", *([("retry-after", wait)] if self.habits.tells_retry_after else []))
        self._times.append(now)

    def _deadline(self, job: Job) -> float:
        return (job.created_at if job.last_updated_at is None else job.last_updated_at) + job.expires_in

    @staticmethod
    def _abandon(job: Job) -> None:
        for row in job.rows.values():
            if row.status in OPEN:
                row.status = "abandoned"


def _places(job: Job) -> list[tuple[int, str]]:
    return [(row.place, row.id) for row in job.rows.values()]


def _error(id_: str, type_: str) -> Json:
    return {"accountingEntryId": id_, "message": "", "type": type_}


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
