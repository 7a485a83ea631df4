"""What a person has changed in an entry since it was written, in words.

The schema lets nobody edit an entry, but whoever owns a file can: such a draft is theirs, and is never overwritten.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

from blocks.text import one_line

_MOST = 8
_MAX_TEXT = 80
_FIELDS = ("account", "debit", "credit", "tax code", "text", "dimensions")


def edits_of(written: str, now: str) -> tuple[str, ...]:
    """What differs between an entry as it was written and as it stands (`schema_3.written_text`), the first few."""
    before, after = json.loads(written), json.loads(now)
    found = [
        _change(name, before.get(key), after.get(key))
        for name, key in (("posting date", "posting_date"), ("description", "description"))
        if before.get(key) != after.get(key)
    ]
    empty: list[Any] = [None] * len(_FIELDS)
    for number, (old, new) in enumerate(zip_longest(before["lines"], after["lines"], fillvalue=empty), 1):
        found += [
            _change(f"line {number} {name}", one, other)
            for name, one, other in zip(_FIELDS, old, new, strict=True)
            if one != other
        ]
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return (*found[:_MOST], *more)


def _change(name: str, old: object, new: object) -> str:
    return f"{name} from {_shown(old)} to {_shown(new)}"


def _shown(value: object) -> str:
    return one_line(str(value), _MAX_TEXT) if value not in (None, "") else "none"
