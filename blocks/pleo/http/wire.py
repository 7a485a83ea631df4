"""Bodies of Pleo's answers: JSON with exact numbers, defused where it is beyond reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

_LONG_INTEGER = 40  # digits; longer ones are no amounts, and int() takes quadratic time or refuses
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
