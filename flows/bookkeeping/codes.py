"""Codes as Pleo sends them: a cut code would be the code of something else, so one that is too long fails its item."""

from __future__ import annotations

from blocks.text import is_formula, one_line, visible
from flows.failures import invalid

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The id that Pleo stores where the user chose "I don't know", for an account or a tag."""

MAX_CODE = 60
_READ = 4096  # characters; of a longer one its beginning is too long already


def clean(text: str | None) -> str:
    """A code as one line, of any sensible length and without what nobody sees in it; empty where there is none, or
    nobody chose one."""
    code = one_line(visible((text or "")[:_READ]).strip(), 4 * MAX_CODE)
    return "" if code == NOBODY else code


def fitting(code: str, what: str) -> str:
    """The code itself; fails the item where it is longer than books keep. `what` names it: account number, tax code."""
    if len(code) > MAX_CODE:
        raise invalid(f"The {what} {one_line(code, MAX_CODE)} is longer than {MAX_CODE} characters.")
    return code


def opened(code: str, what: str) -> str:
    """A code that the books are to open as Pleo names it; fails the item where it is too long, or a formula."""
    if is_formula(code):
        raise invalid(f"The {what} {one_line(code, MAX_CODE)} would be a formula in a spreadsheet, and is no code.")
    return fitting(code, what)
