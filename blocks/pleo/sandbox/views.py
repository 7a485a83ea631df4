"""What the sandbox shows of its state from Python: jobs, items, and what it received."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Self

from blocks.pleo.sandbox.wire import Json, timestamp

OPEN = ("pending", "in_progress")


@dataclass(frozen=True, slots=True)
class Job:
    """An export job. Times are seconds since 1970."""

    id: str
    company_id: str
    status: str
    created_at: float
    created_by: str | None
    started_at: float | None
    last_updated_at: float | None
    completed_at: float | None
    expired_at: float | None
    expires_in: int
    is_interactive: bool
    vendor_based: bool
    number_of_items: int
    failure_reason: str | None
    failure_reason_type: str | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """The job of a row of the table `jobs`."""
        values = {name: row[name] for name in cls.__slots__}
        for name in ("is_interactive", "vendor_based"):
            values[name] = bool(values[name])
        return cls(**values)

    def wire(self) -> Json:
        """The job as Pleo answers it (`ExportJobV3`)."""
        return {
            "companyId": self.company_id,
            "completedAt": timestamp(self.completed_at),
            "createdAt": timestamp(self.created_at),
            "createdBy": self.created_by,
            "expiredAt": timestamp(self.expired_at),
            "expiresIn": self.expires_in,
            "failureReason": self.failure_reason,
            "failureReasonType": self.failure_reason_type,
            "id": self.id,
            "isInteractive": self.is_interactive,
            "lastUpdatedAt": timestamp(self.last_updated_at),
            "numberOfItems": self.number_of_items,
            "startedAt": timestamp(self.started_at),
            "status": self.status,
            "vendorBasedBookkeeping": self.vendor_based,
        }


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a job.

    `exported_at` is the sandbox's own time of the update, as Pleo's is; `exported_at_sent` is what was sent.
    `updates` counts the updates that were taken.
    """

    position: int
    accounting_entry_id: str
    status: str
    exported_at: float | None
    exported_at_sent: str | None
    external_id: str | None
    external_url: str | None
    failure_reason: str | None
    failure_reason_type: str | None
    updates: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> Self:
        """The item of a row of the table `job_items`."""
        return cls(**{name: row[name] for name in cls.__slots__})

    def wire(self, job_id: str) -> Json:
        """The item as Pleo answers it (`ExportJobItemV3`)."""
        return {
            "accountingEntryId": self.accounting_entry_id,
            "exportJobId": job_id,
            "exportedAt": timestamp(self.exported_at),
            "externalId": self.external_id,
            "externalUrl": self.external_url,
            "failureReason": self.failure_reason,
            "failureReasonType": self.failure_reason_type,
            "status": self.status,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """An event that was accepted for a job. `at` is in seconds since 1970."""

    job_id: str
    name: str
    at: float
    failure_reason: str | None
    failure_reason_type: str | None


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request to the API or for a receipt.

    `at` is in seconds since 1970, `call` is the method with the contract's path, `detail` says what was asked in a
    few words: the event's name, the number of items.
    """

    at: float
    method: str
    path: str
    call: str
    status: int
    duration_ms: float
    detail: str


@dataclass(frozen=True, slots=True)
class Received:
    """What a sandbox received since it started, or since `Sandbox.forget_requests`.

    `total` counts the requests to the API, refused ones included, and `receipts` the downloads. `by_call` has one
    count a method and path of the contract (`GET /v3/export-items`), `by_status` one a status. `requests` are the
    last ones, oldest first; `events` are all events of the state, oldest first.
    """

    total: int
    receipts: int
    by_call: dict[str, int]
    by_status: dict[int, int]
    requests: tuple[ReceivedRequest, ...]
    events: tuple[Event, ...]
