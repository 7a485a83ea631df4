"""What Pleo sends and takes, as frozen models (contract: Pleo Export API v3).

Unknown fields are ignored and Pleo's enums stay open strings. Amounts are exact `Decimal`s in hundredths of the
currency's unit. Fields that bookkeeping can name better than a schema can are optional here, even where the contract
requires them. Accounting entry, company and job ids are UUIDs in lower case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Strict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

from blocks.text import one_line

_USUAL_FORM = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def canonical_uuid(value: str) -> str:
    """The UUID in its usual form, lower case; raises ValueError for anything else."""
    if _USUAL_FORM.fullmatch(value):
        return value
    try:
        found = str(UUID(value)) if len(value) <= 64 else ""
    except ValueError:
        found = ""
    # UUID() also takes what int() takes: signs, 0x, underscores, digits of other scripts.
    if not found or found.replace("-", "") not in value.lower().replace("-", ""):
        raise ValueError(f"{one_line(value, 60)!r} is not a UUID")
    return found


def _exact_number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("not a JSON number")  # noqa: TRY004 - pydantic collects ValueErrors
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{number} is not an amount")
    return number


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str) and len(value) <= 64:
        moment = datetime.fromisoformat(_six_digits(value.strip()))
    else:
        raise ValueError("not a date or time")
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time before the year 1 or after 9999") from error


def _six_digits(text: str) -> str:
    """Cut fractions of a second finer than Python keeps (Pleo's vendor events carry nanoseconds)."""
    head, dot, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[: min(digits, 6)]}{tail[digits:]}" if dot and digits else text


def _storable(value: str) -> str:
    """Replace lone surrogates, which JSON can carry and no file or database takes."""
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _none_if_odd(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
    """For what only informs: an odd value counts as absent and never costs us the record."""
    try:
        return handler(value)
    except ValidationError:
        return None


Uuid = Annotated[str, AfterValidator(canonical_uuid)]
Text = Annotated[str, AfterValidator(_storable)]
Amount = Annotated[Decimal, BeforeValidator(_exact_number)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Informative = WrapValidator(_none_if_odd)
Count = Annotated[int | None, Informative]
Instant = Annotated[Moment | None, Informative]
Words = Annotated[Text | None, Informative]


class _Wire(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


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


class ExportJob(_Wire):
    """One export job. `expires_in` is in seconds, counted from `last_updated_at`."""

    id: Uuid
    company_id: Uuid
    status: Text
    created_at: Instant = None
    number_of_items: Count = None
    expires_in: Count = None
    vendor_based_bookkeeping: Annotated[bool | None, Informative] = None
    last_updated_at: Instant = None
    expired_at: Instant = None
    failure_reason: Words = None
    failure_reason_type: Words = None

    @property
    def is_open(self) -> bool:
        """Whether it can be worked on: Pleo may say that a job is over by its status or by `expired_at` alone."""
        return self.status in {JobStatus.PENDING, JobStatus.IN_PROGRESS} and self.expired_at is None


class JobItem(_Wire):
    """Where Pleo stands with one item of a job: the control layer, without accounting data."""

    accounting_entry_id: Uuid
    status: Text
    external_id: Words = None
    external_url: Words = None
    failure_reason: Words = None
    failure_reason_type: Words = None


class Money(_Wire):
    """An amount in hundredths of the currency's unit, exact: 896.96 SEK is 89696."""

    currency: Text
    value: Amount


class ItemAmount(_Wire):
    """One amount as the supplier charged it and as the wallet paid it."""

    in_wallet_currency: Money | None = None
    in_supplier_currency: Money | None = None


class ItemAccount(_Wire):
    """An account as Pleo knows it: `code` is the general-ledger number, `identifier` the ERP's own id."""

    id: Text | None = None
    name: Text = ""
    code: Text | None = None
    identifier: Text | None = None


class ItemTax(_Wire):
    """The tax of one line; `rate` is a fraction (0.2 is 20 %), `type` inclusive, exclusive or reverse."""

    code: Text | None = None
    rate: Amount | None = None
    type: Text = ""
    amount: ItemAmount | None = None
    ingoing_tax_account: Text | None = None
    outgoing_tax_account: Text | None = None


class ItemTag(_Wire):
    """A value (`code`) of a dimension (`group_code`)."""

    group_code: Text
    code: Text
    id: Text | None = None


class ItemLine(_Wire):
    """One line of an export item. Which of the two amounts is the gross, bookkeeping finds out."""

    account: ItemAccount | None = None
    line_amount: ItemAmount | None = None
    net_amount: ItemAmount | None = None
    tax: ItemTax | None = None
    tags: Annotated[tuple[ItemTag | None, ...] | None, Strict(False)] = None


class ItemUser(_Wire):
    """The employee who made the expense."""

    name: Text = ""
    code: Text | None = None


class ItemSupplier(_Wire):
    """The merchant as seen on the card."""

    name: Text | None = None


class AdditionalInformation(_Wire):
    """Pleo's own reference of the expense, and what belongs to it."""

    reconciliation_id: Text | None = None


class ExportItem(_Wire):
    """One approved expense or movement with its accounting data: the data layer."""

    accounting_entry_id: Uuid
    company_id: Uuid
    type: Text
    sub_type: Text | None = None
    date: Moment
    amount: ItemAmount | None = None
    accounting_entry_lines: Annotated[tuple[ItemLine, ...] | None, Strict(False)] = None
    additional_information: AdditionalInformation | None = None
    contra_account: ItemAccount | None = None
    note: Text | None = None
    supplier: ItemSupplier | None = None
    user: ItemUser | None = None


@dataclass(frozen=True, slots=True)
class BrokenItem:
    """An element of a page that is not as the contract says; `problem` is one line that names the fields."""

    accounting_entry_id: str | None
    problem: str


class ItemUpdate(_Wire):
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


class UpdateError(_Wire):
    """An item that Pleo did not update, inside an answer of 200."""

    accounting_entry_id: Uuid
    type: Words = None
    message: Words = None


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """Pleo's answer to an update batch: the rows as they stand now, and what was refused."""

    rows: tuple[JobItem, ...]
    errors: tuple[UpdateError, ...]


def parse_item(document: Any) -> ExportItem | BrokenItem:
    """One element of an export-items page, or what is wrong with it."""
    try:
        return ExportItem.model_validate(document)
    except ValidationError as error:
        return BrokenItem(entry_id_of(document), describe(error))


def describe(error: ValidationError) -> str:
    """A validation error as one line that names fields, and shows of what they held a short id or date at most."""
    parts = [
        f"{'.'.join(str(step) for step in e['loc']) or 'item'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors()[:3]
    ]
    return one_line("; ".join(parts), 300)


def entry_id_of(document: Any) -> str | None:
    """The accounting entry id of an element of a page, or None where it has no usable one."""
    value = document.get("accountingEntryId") if isinstance(document, dict) else None
    try:
        return canonical_uuid(value) if isinstance(value, str) else None
    except ValueError:
        return None
