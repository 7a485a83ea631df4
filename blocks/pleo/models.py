"""Jobs, job items and updates as Pleo sends and takes them (contract: Pleo Export API v3).

Unknown fields are ignored and Pleo's enums stay open strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator

from blocks.pleo.fields import Lenient, LenientCount, LenientText, LenientTime, PleoModel, Text, Uuid


class JobStatus(StrEnum):
    """The states of an export job that we act on; others are kept as text."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"


class ItemStatus(StrEnum):
    """The states of an export job item that we act on; others are kept as text."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    ABANDONED = "abandoned"


OPEN_ITEM_STATUSES = frozenset({ItemStatus.PENDING, ItemStatus.IN_PROGRESS})


class JobEvent(StrEnum):
    """What an integration tells Pleo about a job."""

    STARTED = "started"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"


class JobFailure(StrEnum):
    """Why a job failed, in the contract's words."""

    INVALID_CONFIGURATION = "invalid_configuration"
    MISSING_CONFIGURATION = "missing_configuration"
    AUTHENTICATION = "authentication_failure"
    ERP_AUTHENTICATION = "accounting_system_authentication_failure"
    PLEO_RATE_LIMIT = "pleo_rate_limit"
    ERP_RATE_LIMIT = "accounting_system_rate_limit"
    SERVICE_UNREACHABLE = "service_unreachable"
    ERP_UNREACHABLE = "accounting_system_unreachable"
    VALIDATION = "validation_failure"
    AUTHORIZATION = "authorization_failure"
    INTEGRATION_UNUSABLE = "integration_unusable"
    JOB_EXPIRED = "job_expired"
    SERVICE_TIMEOUT = "service_timeout"
    ERP_TIMEOUT = "accounting_system_timeout"
    CANCELED_BY_USER = "canceled_by_user"


class ItemFailure(StrEnum):
    """Why an item failed, in the contract's words."""

    RECEIPT_UPLOAD = "receipt_upload_failure"
    RECEIPT_DOWNLOAD = "receipt_download_failure"
    RECEIPT_SIZE = "receipt_file_size_limit_exceeded"
    RECEIPT_CONVERSION = "receipt_conversion_failure"
    UNEXPECTED = "unexpected_failure"
    INVALID_CONFIGURATION = "invalid_configuration"
    MISSING_CONFIGURATION = "missing_configuration"
    ERP_AUTHENTICATION = "accounting_system_authentication_failure"
    ERP_RATE_LIMIT = "accounting_system_rate_limit"
    ERP_UNREACHABLE = "accounting_system_unreachable"
    VALIDATION = "validation_failure"
    ERP_VALIDATION = "accounting_system_validation_failure"
    AUTHORIZATION = "authorization_failure"
    ERP_TIMEOUT = "accounting_system_timeout"
    VENDOR_UNKNOWN = "vendor_unknown"
    ACCOUNT_UNKNOWN = "account_unknown"
    TAX_CODE_UNKNOWN = "tax_code_unknown"
    TAG_UNKNOWN = "tag_unknown"


class ExportJob(PleoModel):
    """One export job. `expires_in` is in seconds, counted from `last_updated_at`."""

    id: Uuid
    company_id: Uuid
    status: Text
    created_at: LenientTime = None
    number_of_items: LenientCount = None
    expires_in: LenientCount = None
    vendor_based_bookkeeping: Annotated[bool | None, Lenient] = None
    last_updated_at: LenientTime = None
    expired_at: LenientTime = None
    failure_reason: LenientText = None
    failure_reason_type: LenientText = None

    @property
    def is_open(self) -> bool:
        """Whether it can be worked on: Pleo may say that a job is over by its status or by `expired_at` alone."""
        return self.status in {JobStatus.PENDING, JobStatus.IN_PROGRESS} and self.expired_at is None


def _pending_if_null(value: object) -> object:
    """Pleo's definition once said that an item's status is null until it was tried."""
    return ItemStatus.PENDING.value if value is None else value


class JobItem(PleoModel):
    """Where Pleo stands with one item of a job: the control layer, without accounting data."""

    accounting_entry_id: Uuid
    status: Annotated[Text, BeforeValidator(_pending_if_null)]
    export_job_id: Annotated[Uuid | None, Lenient] = None
    external_id: LenientText = None
    external_url: LenientText = None
    failure_reason: LenientText = None
    failure_reason_type: LenientText = None


class ItemUpdate(PleoModel):
    """What we tell Pleo of one item: one element of an update batch."""

    accounting_entry_id: Uuid
    status: ItemStatus
    exported_at: datetime | None = None
    external_id: str | None = None
    external_url: str | None = None
    failure_reason: str | None = None
    failure_reason_type: ItemFailure | None = None

    def wire(self) -> dict[str, str]:
        """The update as Pleo takes it: times in UTC to the second, absent fields left out."""
        document = self.model_dump(by_alias=True, exclude_none=True, exclude={"exported_at"}, mode="json")
        if self.exported_at is not None:
            document["exportedAt"] = self.exported_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return document


class UpdateError(PleoModel):
    """An item that Pleo did not update, inside an answer of 200."""

    accounting_entry_id: Uuid
    type: LenientText = None
    message: LenientText = None


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """Pleo's answer to an update batch: the rows as they stand now, and what was refused."""

    rows: tuple[JobItem, ...]
    errors: tuple[UpdateError, ...]
