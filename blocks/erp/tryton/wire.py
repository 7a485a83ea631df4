"""Tryton's typed values in JSON: decimals, dates and bytes travel as objects that name their class."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


class UnreadableValue(ValueError):
    """A document that is not JSON as Tryton writes it."""


def encode(document: Any) -> bytes:
    """A document for Tryton. Raises TypeError for values that it has no form for."""
    return json.dumps(document, default=_typed, ensure_ascii=True, separators=(",", ":")).encode()


def decode(text: bytes) -> Any:
    """A document of Tryton's with decimals, dates and times (aware, UTC) as Python has them. Raises UnreadableValue."""
    try:
        return json.loads(text, object_hook=_untyped)
    except (ValueError, TypeError, KeyError, OverflowError, InvalidOperation, RecursionError) as error:
        raise UnreadableValue(f"no JSON of Tryton's ({type(error).__name__})") from error


def context_header(context: dict[str, Any]) -> str:
    """A context as the header `X-Tryton-Context` takes it."""
    return base64.urlsafe_b64encode(encode(context)).decode("ascii")


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
        case date() if not isinstance(value, datetime):
            return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        case bytes():
            return {"__class__": "bytes", "base64": base64.b64encode(value).decode("ascii")}
        case _:
            raise TypeError(f"Tryton's JSON has no form for {type(value).__name__}")


def _untyped(value: dict[str, Any]) -> Any:
    kind = value.get("__class__")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    return reader(value) if reader is not None else value


_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Decimal": lambda value: Decimal(value["decimal"]),
    "date": lambda value: date(**{part: value[part] for part in _PARTS[:3]}),
    "datetime": lambda value: datetime(**{part: value[part] for part in _PARTS}, tzinfo=UTC),
    "bytes": lambda value: base64.b64decode(value["base64"]),
}
