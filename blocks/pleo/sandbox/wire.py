"""How values are written on the wire and read from it: ids, times, money, JSON, and the answers that carry them.

The functions that read raise `ApiError` 400 for what Pleo's contract does not allow, naming the field.
"""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from blocks.pleo.sandbox.errors import ApiError, bad_request

Json = dict[str, Any]

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def draw_uuid(rng: random.Random) -> str:
    """A random UUID of version 4, in lower case, from the given source."""
    digits = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def timestamp(epoch_s: float | None) -> str | None:
    """Seconds since 1970 as RFC 3339 in UTC, to the second."""
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def money(currency: str, value: float) -> Json:
    """Money as Pleo writes it: the value in hundredths."""
    return {"currency": currency, "value": value}


def dumps(value: object) -> str:
    """JSON without spaces, with every script as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_response(body: Json | str, *, status: int = 200) -> Response:
    """A JSON answer with Pleo's content type; a text is JSON already."""
    text = body if isinstance(body, str) else dumps(body)
    return Response(text.encode(), status_code=status, headers={"content-type": "application/json;charset=UTF-8"})


def error_response(error: ApiError) -> Response:
    """An error as Pleo answers it (`ExceptionInfo`)."""
    response = json_response({"type": error.error_type, "message": error.message}, status=error.status)
    response.headers.update(error.headers)
    return response


async def read_json(request: Request) -> object:
    """The JSON body of a request."""
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise bad_request("The body is not JSON") from error


async def read_object(request: Request) -> Json:
    """The JSON body of a request that must be an object."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise bad_request("The body must be a JSON object")
    return body


def is_uuid(text: object) -> bool:
    """Whether this is a UUID in its usual form, in lower or upper case."""
    return isinstance(text, str) and UUID_PATTERN.fullmatch(text.lower()) is not None


def read_uuid(value: object, name: str) -> str:
    """A UUID in lower case."""
    if not is_uuid(value):
        raise bad_request(f"{name} must be a UUID")
    return str(value).lower()


def read_choice(value: object, allowed: tuple[str, ...], name: str) -> str:
    """One of the texts that are allowed."""
    if value not in allowed:
        raise bad_request(f"{name} must be one of {', '.join(allowed)}")
    return str(value)


def read_text(value: object, name: str) -> str | None:
    """A text, or None where there is none."""
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name} must be a string")
    return value


def read_flag(value: object, name: str, *, default: bool) -> bool:
    """A boolean, or the default where there is none."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false")
    return value


def require_date_time(text: str | None, name: str) -> None:
    """Refuse what is not an RFC 3339 date and time with an offset; None is no text at all."""
    try:
        if text is None or (datetime.fromisoformat(text).tzinfo is not None and "T" in text):
            return
    except ValueError:
        pass
    raise bad_request(f"{name} must be a date-time")
