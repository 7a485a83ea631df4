"""The body of an answer on its way in: never more of it than allowed, its longest texts cut while it comes.

No text of Pleo's that is used is nearly as long as `LONGEST_TEXT`: codes, links, cursors and notes near it are
refused or cut later anyway. So what is cut here is cut to a text that is still too long, and not to another's.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable

MAX_BODY_BYTES = 64 * 1024 * 1024
"""How much of an answer is read, decompressed. Where a page has more, a smaller one is asked for."""

MAX_KEPT_BYTES = 16 * 1024 * 1024
"""How much of it is kept, its longest texts cut: a full page is a fiftieth of that. What is made of it takes more
memory, up to some thirty times as much where it is nothing but brackets."""

LONGEST_TEXT = 32 * 1024
"""How many bytes of a text are kept."""

UNTOUCHED_BYTES = 1024 * 1024
"""Bodies up to this size, which nearly all are, are left alone."""

_ENCODINGS = frozenset({"identity", "gzip", "deflate"})
_INSIDE = re.compile(rb'(?:[^"\\]++|\\[^u]|\\u[0-9a-fA-F]{4})*+', re.DOTALL)
_LONGEST_ESCAPE = 6


async def read_body(parts: AsyncIterable[bytes], encoding: str) -> bytes | None:
    """The whole body (`parts`: decompressed), its longest texts cut, or None when it is larger than we take.

    `encoding` is the answer's Content-Encoding. An answer in one that was not asked for counts as empty.
    """
    if encoding.strip().lower() not in _ENCODINGS:
        return b""  # encodings on top of each other let a few bytes become gigabytes before they can be counted
    kept = bytearray()
    received = 0
    trimmer: TextTrimmer | None = None
    async for part in parts:
        received += len(part)
        kept += part if trimmer is None else trimmer.trim(part)
        if trimmer is None and received > UNTOUCHED_BYTES:
            trimmer = TextTrimmer()
            kept = bytearray(trimmer.trim(bytes(kept)))
        if len(kept) > MAX_KEPT_BYTES or received > MAX_BODY_BYTES:
            return None
    if trimmer is not None:
        kept += trimmer.end()
    return bytes(kept)


class TextTrimmer:
    """Takes a JSON body in pieces and gives it back with its longest texts cut.

    What is no JSON comes out as something that is none either.
    """

    def __init__(self) -> None:
        self._inside = False
        self._kept = 0
        self._rest = b""

    def trim(self, piece: bytes) -> bytes:
        """What is to be kept of the next piece; an escape that it ends in the midst of waits for the next one."""
        piece = self._rest + piece
        self._rest = b""
        kept: list[bytes] = []
        at = 0
        while at < len(piece):
            at = self._text(piece, at, kept) if self._inside else self._between(piece, at, kept)
        return b"".join(kept)

    def end(self) -> bytes:
        """What is left when the body has ended."""
        return self._rest

    def _between(self, piece: bytes, at: int, kept: list[bytes]) -> int:
        quote = piece.find(b'"', at)
        end = len(piece) if quote < 0 else quote + 1
        kept.append(piece[at:end])
        self._inside, self._kept = quote >= 0, 0
        return end

    def _text(self, piece: bytes, at: int, kept: list[bytes]) -> int:
        found = _INSIDE.match(piece, at)
        end = found.end() if found is not None else at
        room = LONGEST_TEXT - self._kept
        if room > 0:
            whole = piece[at:end] if end - at <= room else _up_to_an_escape(piece[at : at + room])
            kept.append(whole)
        self._kept += end - at
        if end == len(piece):
            return end
        if piece[end : end + 1] == b'"':
            kept.append(b'"')
            self._inside = False
            return end + 1
        if len(piece) - end < _LONGEST_ESCAPE:
            self._rest = piece[end:]
            return len(piece)
        kept.append(piece[end : end + 2])  # an escape that JSON does not have: whoever reads it says so
        return end + 2


def _up_to_an_escape(text: bytes) -> bytes:
    found = _INSIDE.match(text)
    return found[0] if found is not None else b""
