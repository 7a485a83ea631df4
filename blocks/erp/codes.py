"""What an accountant types into settings: codes of accounts, journals, tax codes and dimensions, and choices."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, StringConstraints, WithJsonSchema

from blocks.text import one_line

MAX_CODE = 60


def is_currency(text: str) -> bool:
    """Whether this is written as ISO 4217 writes currencies: three capital letters."""
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()


def readable_code(text: str, what: str = "it") -> str:
    """A code without spaces around it. Raises ValueError when it is empty, too long, or not one line of text."""
    code = text.strip()
    if not code:
        raise ValueError(f"{what} is empty")
    if len(code) > MAX_CODE:
        raise ValueError(f"{what} is longer than {MAX_CODE} characters: {one_line(code, 20)}")
    if one_line(code, MAX_CODE) != code:
        raise ValueError(f"{what} has control characters or several spaces in it: {one_line(code, MAX_CODE)}")
    return code


def readable_codes(codes: Mapping[str, str], what: str, *, may_be_empty: bool = False) -> dict[str, str]:
    """Codes by what they stand for, both without spaces around them. Raises ValueError as `readable_code`.

    With `may_be_empty` a name may stand for nothing.
    """
    found: dict[str, str] = {}
    for name, code in codes.items():
        clean = readable_code(name, f"what stands before {one_line(code, MAX_CODE)}")
        if clean in found:
            raise ValueError(f"{clean} is named twice")
        empty = may_be_empty and not code.strip()
        found[clean] = "" if empty else readable_code(code, f"the {what} of {clean}")
    return found


def _none_is_empty(value: object) -> object:
    return "" if value is None else value


def _checked(value: str) -> str:
    return readable_code(value) if value.strip() else ""


OptionalCode = Annotated[str, BeforeValidator(_none_is_empty), AfterValidator(_checked)]
"""A code, or empty where it is left out: a text that may be null has no simple field in the form."""

OptionalText = Annotated[str, BeforeValidator(_none_is_empty), AfterValidator(str.strip)]
"""A text, or empty where it is left out."""

StrippedText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A text that must be there, without the spaces and new lines that a form's text field lets through."""


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number, and not true or false")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Count = Annotated[int, BeforeValidator(_no_truth_value)]
"""A whole number: true is none, although it counts as 1."""


def choice(names: type[StrEnum]) -> WithJsonSchema:
    """The choices of a field, written into its own schema: a form shows the field's title and description then."""
    return WithJsonSchema({"type": "string", "enum": [name.value for name in names]})
