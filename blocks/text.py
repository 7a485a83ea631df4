"""Text from outside, made safe to store and to show. Every text from Pleo is hostile until it has passed here."""

from __future__ import annotations

import re
import unicodedata

# Control characters, the bidirectional controls that can turn a shown line round, lone surrogates (which no file or
# database takes), the separators that start a new line in some viewers, and spaces of no width.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# Characters that nobody sees: in a name they may be meant, in a code they make two of one.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
# What a spreadsheet computes instead of showing it; a mere number is none, signed or not.
_FORMULA = re.compile(r"[=@＝＠]|[+\-＋－](?![\d .,/()-]*\Z)")
_SPACES = re.compile(r"\s+")
_JOINERS = {"\u200d", "\ufe0e", "\ufe0f"}
_SLACK = 4096


def one_line(text: str, limit: int) -> str:
    """The text as one line of at most `limit` characters, without control or bidirectional characters.

    Markup stays what it is: text. A cut is shown by an ellipsis and never splits a character from its marks. Of a text
    of megabytes only the beginning is ever read.
    """
    if len(text) <= limit and text.isprintable() and "  " not in text:
        return text.strip()  # most texts: nothing of what is taken out below is printable
    head = text[: limit * 4 + _SLACK]
    line = _SPACES.sub(" ", _UNSAFE.sub(" ", head)).strip()
    if line and len(head) < len(text):
        line += " " * (limit + 1)  # what was not read counts as text that does not fit
    return truncated(line, limit)


def no_formula(line: str, limit: int) -> str:
    """The line, with an apostrophe before a sign that would have a spreadsheet compute it, as one types it there.

    For words that people export and open elsewhere; never for codes, which have to stay what they are.
    """
    return truncated(f"'{line}", limit) if is_formula(line) else line


def is_formula(line: str) -> bool:
    """Whether a spreadsheet that opens this line as a cell would compute it."""
    return _FORMULA.match(line) is not None


def visible(text: str) -> str:
    """The text without the characters that nobody sees, so that what looks alike is alike."""
    return text if text.isascii() else _UNSEEN.sub("", text)


def truncated(text: str, limit: int) -> str:
    """The text in at most `limit` characters, an ellipsis in the last place where some had to go."""
    if len(text) <= limit:
        return text
    if limit <= 0:
        return ""
    end = limit - 1
    while end > 0 and (_extends(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip() + "…"


def _extends(character: str) -> bool:
    """Whether this character belongs to the one before it."""
    return (
        character in _JOINERS
        or unicodedata.category(character)[0] == "M"
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= character <= "\U000e007f"  # the letters of a flag
    )
