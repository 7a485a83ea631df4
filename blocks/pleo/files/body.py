"""The body of a file's answer: decoded and written to the disk piece by piece, never more of it than allowed."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path
from types import TracebackType
from typing import Self

from blocks.pleo.errors import FileTooLarge
from blocks.pleo.files.types import HEAD_BYTES, TAIL_BYTES

ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_STEP_BYTES = 65_536
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class BrokenBody(Exception):
    """What came is not a whole file. The message is a few words."""


async def decoded(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> AsyncGenerator[bytes, None]:
    """The body without its encoding (one of `ENCODINGS`), in pieces of 64 KiB at most where there was one.

    Raises BrokenBody for a damaged or cut-off one, FileTooLarge for one that takes more bytes than it could bring.
    """
    if encoding in {"", "identity"}:
        async for chunk in chunks:
            yield chunk
        return
    inflater, received = zlib.decompressobj(_GZIP_OR_ZLIB), 0
    async for chunk in chunks:
        received += len(chunk)
        if received > limit + limit // 100 + 1024:
            raise too_large(limit)
        left = chunk
        while left:
            if inflater.eof:  # several members, one after the other, are one body
                inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
            yield _inflated(inflater, left)
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if not inflater.eof:
        yield _inflated(inflater, b"")
    if not inflater.eof:
        raise BrokenBody("a compressed answer that was cut off")


def _inflated(inflater: zlib._Decompress, data: bytes) -> bytes:
    try:
        return inflater.decompress(data, _STEP_BYTES)
    except zlib.error:
        raise BrokenBody("a compressed answer that is damaged") from None


def too_large(limit: int) -> FileTooLarge:
    """The error for a file that is over the limit (bytes)."""
    return FileTooLarge(f"the file is larger than {limit} bytes")


class Spool:
    """A new file for this user alone, which stays only if nothing goes wrong while it is open.

    Takes at most `limit` bytes, then raises FileTooLarge. `head` and `tail` are its first and last bytes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.size = 0
        self.head = b""
        self.tail = b""
        self._path = path
        self._limit = limit
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = open(self._path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            if kind is not None:
                self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Add these bytes."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise too_large(self._limit)
        self._file.write(chunk)
        self._digest.update(chunk)
        if len(self.head) < HEAD_BYTES:
            self.head += chunk[: HEAD_BYTES - len(self.head)]
        self.tail = (self.tail + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]
