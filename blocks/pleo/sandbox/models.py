"""Export jobs, items and events as the contract has them: their fields, statuses and types of failure."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Self

from blocks.pleo.sandbox.wire import Json, timestamp

OPEN = ("pending", "in_progress")
JOB_STATUSES = ("pending", "in_progress", "failed", "completed", "completed_with_errors")
ITEM_STATUSES = ("pending", "in_progress", "failed", "successful", "abandoned")

DOES_NOT_EXIST = "ACCOUNTING_ENTRY_DOES_NOT_EXIST"
UPDATE_FAILED = "EXPORT_ENTRY_STATUS_UPDATE_FAILED"
UPDATE_ERROR_TYPES = (DOES_NOT_EXIST, UPDATE_FAILED, "ACCOUNTING_ENTRY_UPDATE_FAILED")
"""The types of what stands in `errors` of the answer to an update of items."""

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
"""The types that the failure of a job may have."""

ITEM_FAILURE_TYPES = frozenset(
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
"""The types that the failure of an item may have."""


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
class ItemUpdate:
    """What an integration reports of an item, in `PUT /v3/export-jobs/{jobId}/items`."""

    accounting_entry_id: str
    status: str
    exported_at: str | None
    external_id: str | None
    external_url: str | None
    failure_reason: str | None
    failure_reason_type: str | None
