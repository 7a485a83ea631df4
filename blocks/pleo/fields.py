"""The kinds of field that Pleo's JSON has, checked and cleaned as they come in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    Strict,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from blocks.text import one_line

MAX_COUNT = 10**12
"""Nothing that Pleo counts, items, bytes or seconds, comes to more; what is said to is not known."""

MAX_LIST = 10_000
"""How many lines, tags or files an expense has at the most; no person can have chosen more."""

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


def _timestamp(value: object) -> datetime:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str) and len(value) <= 64:
        try:
            moment = datetime.fromisoformat(_six_digits(value.strip()))
        except ValueError:
            raise ValueError("not a date or time") from None
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


def _no_longer_than_any(value: object) -> object:
    if isinstance(value, list) and len(value) > MAX_LIST:
        raise ValueError(f"{len(value)} of them are more than an expense can have")
    return value


@dataclass(frozen=True)
class _Otherwise:
    """For what only informs: an odd value counts as absent and never costs us the record.

    As a rule of pydantic's own core and no function, since a page has thousands of such fields.
    """

    absent: str | None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.absent, on_error="default")


def _empty_if_null(value: object) -> object:
    return "" if value is None else value


Uuid = Annotated[str, AfterValidator(canonical_uuid)]
Text = Annotated[str, AfterValidator(_storable)]
Amount = Annotated[Decimal, PlainValidator(_exact_number)]
Timestamp = Annotated[datetime, PlainValidator(_timestamp)]
Bounded = (Strict(False), FailFast(), BeforeValidator(_no_longer_than_any))
"""For a list of Pleo's as a tuple. Its length is looked at before its elements are, and the first odd one is enough."""

Lenient = _Otherwise(None)
LenientCount = Annotated[Annotated[int, Field(ge=0, le=MAX_COUNT)] | None, Lenient]
LenientTime = Annotated[Timestamp | None, Lenient]
LenientText = Annotated[Text | None, Lenient]
TextOrEmpty = Annotated[Text, BeforeValidator(_empty_if_null)]
LenientName = Annotated[Text, _Otherwise("")]


class PleoModel(BaseModel):
    """What all models of Pleo's JSON have in common: frozen, strict, in camel case, unknown fields ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )
