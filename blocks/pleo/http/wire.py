"""Bodies of Pleo's answers: exact numbers, whole pages, and cursors that must lead on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from blocks.pleo.errors import PagingBroken

_LONG_INTEGER = 40  # digits; longer ones are no amounts, and int() takes quadratic time or refuses
MAX_PAGES = 100_000
"""How many pages a list may have: far more than an export job's, of one item each."""

_DEEPEST = 64  # Pleo's own documents are some ten deep
_TEXT_OR_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]+|[\]}]+', re.DOTALL)


class UnreadableAnswer(ValueError):
    """A body that is not the JSON that the contract promises."""


def decode(body: bytes | str) -> Any:
    """The JSON document, every number exact: int or Decimal, never float. NaN and infinity become Decimals too.

    What is nested beyond reason counts as null there, so that it spoils its own field and not the page. Raises
    UnreadableAnswer for anything that is not JSON.
    """
    text = body if isinstance(body, str) else decoded(body)
    try:
        return _loads(text, int)
    except RecursionError:
        text = _without_the_depths(text)
    except ValueError:
        pass  # perhaps only an integer of thousands of digits, which int() refuses and an item can bear
    try:
        return _loads(text, _integer)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(type(error).__name__) from error


def decoded(body: bytes | bytearray) -> str:
    """The text of a body, without a byte order mark; bytes that are no UTF-8 are replaced."""
    return body.decode("utf-8-sig", "replace")


def _without_the_depths(text: str) -> str:
    """The text with null in the place of what is nested too deep."""
    kept: list[str] = []
    depth = start = 0
    for found in _TEXT_OR_BRACKETS.finditer(text):
        mark = text[found.start()]
        if mark == '"':
            continue
        many = found.end() - found.start()
        if mark in "[{":
            if depth <= _DEEPEST < depth + many:
                kept += [text[start : found.start() + _DEEPEST - depth], "null"]
            depth += many
        else:
            if depth - many <= _DEEPEST < depth:
                start = found.start() + depth - _DEEPEST
            depth -= many
    return "".join([*kept, text[start:]] if depth <= _DEEPEST else kept)


def _loads(text: str, parse_int: Callable[[str], int | Decimal]) -> Any:
    return json.loads(text, parse_float=_fraction, parse_int=parse_int, parse_constant=Decimal)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _LONG_INTEGER else Decimal(digits)


def _fraction(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent beyond any Decimal; it spoils its own item, not the page


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its elements as decoded, and the cursor of the page behind it (None: the last one)."""

    data: list[Any]
    has_next: bool
    end_cursor: str | None


def read_page(document: Any) -> Page:
    """The page in an answer; raises UnreadableAnswer when it is not the envelope of the contract."""
    if isinstance(document, dict):
        data, pagination = document.get("data"), document.get("pagination")
        if isinstance(data, list) and isinstance(pagination, dict):
            has_next, cursor = pagination.get("hasNextPage"), pagination.get("endCursor")
            if isinstance(has_next, bool) and (cursor is None or (isinstance(cursor, str) and _can_be_sent(cursor))):
                return Page(data, has_next, cursor or None)
    raise UnreadableAnswer("no page of Pleo's")


def _can_be_sent(cursor: str) -> bool:
    """Whether a cursor can be sent back at all: JSON can hold halves of characters, and an address cannot."""
    return cursor.isascii() or not any("\ud800" <= character <= "\udfff" for character in cursor)


@dataclass(slots=True)
class Cursors:
    """Follows one list's cursors, and notices when they do not lead to an end."""

    what: str
    most: int = MAX_PAGES
    _seen: set[str] = field(default_factory=set)
    _empty: int = 0

    def after(self, *, has_next: bool, end_cursor: str | None, count: int) -> str | None:
        """The cursor of the next page, None at the end; `count` is the number of records on this page.

        Raises PagingBroken when the cursor is missing or repeats, or when pages stay empty.
        """
        if not has_next:
            return None
        if end_cursor is None:
            raise PagingBroken(f"{self.what}: Pleo says there are more pages but gives no cursor")
        if end_cursor in self._seen or len(end_cursor) > 4096:
            raise PagingBroken(f"{self.what}: Pleo's cursor repeats, the list would never end")
        if len(self._seen) >= self.most:
            raise PagingBroken(f"{self.what}: more than {self.most} pages, the list would never end")
        self._seen.add(end_cursor)
        self._empty = self._empty + 1 if count == 0 else 0
        if self._empty >= 5:
            raise PagingBroken(f"{self.what}: page after page is empty and Pleo says there are more")
        return end_cursor
