"""How the sandbox writes values on the wire: ids, times, money, JSON."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def draw_uuid(rng: random.Random) -> str:
    """A random UUID of version 4, in lower case, from the given source."""
    digits = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def is_uuid(text: object) -> bool:
    """Whether this is a UUID in its usual form, in lower or upper case."""
    return isinstance(text, str) and UUID_PATTERN.fullmatch(text.lower()) is not None


def timestamp(epoch_s: float | None) -> str | None:
    """Seconds since 1970 as RFC 3339 in UTC, to the second."""
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_date_time(text: object) -> bool:
    """Whether this is an RFC 3339 date and time with an offset."""
    if not isinstance(text, str) or "T" not in text:
        return False
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def money(currency: str, value: float) -> Json:
    """Money as Pleo writes it: the value in hundredths."""
    return {"currency": currency, "value": value}


def dumps(value: object) -> str:
    """JSON without spaces, with every script as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
