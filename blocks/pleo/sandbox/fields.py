"""The bodies of control calls, read field by field. What cannot be read raises `SandboxError`, naming the field."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from urllib.parse import parse_qsl

from starlette.requests import Request

from blocks.pleo.sandbox.errors import SandboxError
from blocks.pleo.sandbox.wire import Json


async def is_form(request: Request) -> bool:
    """Whether a browser's form was sent. `curl -d` calls a form whatever it sends, so JSON is none."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return False
    return not (await request.body()).lstrip().startswith((b"{", b"["))


async def read_fields(request: Request, known: Collection[str] | None = None) -> Json:
    """The fields of a body, which may be empty. With `known`, any other name is refused."""
    body = await request.body()
    if not body:
        return {}
    try:
        if await is_form(request):
            return dict(parse_qsl(body.decode(), strict_parsing=True))
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SandboxError("the body is not JSON") from error
    if not isinstance(fields, dict):
        raise SandboxError("the body must be a JSON object")
    if known is not None and (strange := sorted(set(fields) - set(known))):
        raise SandboxError(f"the fields can be {', '.join(sorted(known))}, not {', '.join(strange)}")
    return fields


def texts(value: object, name: str) -> list[str] | None:
    """A list of texts, None where there is none."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SandboxError(f"{name} must be a list of texts")
    return value


def text(value: object, name: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise SandboxError(f"{name} must be a text")
    return value


def whole(value: object, name: str) -> int:
    """A whole number, also one that came as a text from a form."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise SandboxError(f"{name} must be a whole number")
    try:
        return int(value)
    except ValueError as error:
        raise SandboxError(f"{name} must be a whole number, not {value}") from error


def seconds(value: object, name: str) -> float:
    """A number of seconds, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SandboxError(f"{name} must be a number of seconds")
    return float(value)


def choice(value: object, name: str, allowed: Collection[str]) -> str:
    """One of the texts that are allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise SandboxError(f"{name} must be one of {', '.join(allowed)}")
    return value


def flag(value: object, name: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SandboxError(f"{name} must be true or false")
    return value
