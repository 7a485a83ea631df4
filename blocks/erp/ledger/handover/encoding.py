"""Texts in the old character sets that accounting programs read; what they lack is replaced, and told."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

from blocks.text import one_line

_ALIKE = {
    "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ß": "ss", "ẞ": "SS", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i", "‘": "'", "’": "'", "‚": "'",
    "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "−": "-", "…": "...", "€": "EUR", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip
_UNKNOWN = "?"


class Encoder:
    """Writes texts in one encoding, and counts what it had to replace: `replaced`, by character and what took its
    place."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.replaced: Counter[tuple[str, str]] = Counter()

    def text(self, text: str, limit: int) -> str:
        """The text as one line of at most `limit` characters that the encoding has, cut between characters."""
        line = unicodedata.normalize("NFC", one_line(text, limit))
        if line.isascii():
            return line
        parts = []
        for character in line:
            taken = _in_encoding(character, self.encoding)
            if taken != character:
                self.replaced[character, taken] += 1
            parts.append(taken)
        made = "".join(parts)
        return made if len(made) <= limit else made[:limit]


@lru_cache(maxsize=4096)
def _in_encoding(character: str, encoding: str) -> str:
    """The character if the encoding has it, else one like it, else a question mark; nothing for a mark alone."""
    if _has(character, encoding):
        return character
    if unicodedata.combining(character):
        return ""
    plain = _ALIKE.get(character) or "".join(
        one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one)
    )
    return plain if plain and all(_has(one, encoding) for one in plain) else _UNKNOWN


def _has(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
