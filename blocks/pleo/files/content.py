"""The content of a file: decoded and written to the disk piece by piece, never more of it than allowed; and its type.

What kind of file it is its bytes tell; what others say of it is heard only where bytes do not tell.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path
from types import TracebackType
from typing import Self

from blocks.pleo.errors import FileTooLarge

_ZIPPED = frozenset({"gzip", "x-gzip", "deflate"})
_NO_ENCODINGS = frozenset({"", "identity", "aws-chunked"})
"""Words that say nothing of the body: object stores keep the last of an upload in signed chunks, which is over."""
_STEP_BYTES = 65_536
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

OCTETS = "application/octet-stream"
PDF = "application/pdf"
PNG = "image/png"
JPEG = "image/jpeg"
HTML = "text/html"
JSON = "application/json"
ZIP = "application/zip"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
OLE = "application/x-ole-storage"

NO_RECEIPTS = frozenset({HTML, JSON})
"""What a host sends when it has something to say instead of a file."""

HEAD_BYTES = 4096
TAIL_BYTES = 8192

EXTENSIONS = {
    PDF: "pdf",
    PNG: "png",
    JPEG: "jpg",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/avif": "avif",
    "image/tiff": "tiff",
    "image/webp": "webp",
    ZIP: "zip",
    DOCX: "docx",
    XLSX: "xlsx",
    DOC: "doc",
    XLS: "xls",
    OLE: "ole",
    "application/xml": "xml",
    "application/postscript": "ps",
    "application/rtf": "rtf",
    "text/plain": "txt",
    "text/csv": "csv",
}

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%!PS", "application/postscript"),
    (b"{\\rtf", "application/rtf"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic"),
    **dict.fromkeys((b"mif1", b"msf1"), "image/heif"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
}
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body|script|title|meta)\b")
_ASIDES = ((b"<!--", b"-->"), (b"<?xml", b"?>"))
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_TEXTS = frozenset({"text/plain", "text/csv", HTML, JSON})
_ANY_OFFICE = {ZIP: frozenset({DOCX, XLSX}), OLE: frozenset({DOC, XLS})}
_BY_BYTES = frozenset(EXTENSIONS) - {"text/csv"}
"""Types that our own look at the bytes would have found, so that nobody can claim them for other bytes."""


class BrokenBody(Exception):
    """What came is not a whole file. The message is a few words; `what` says what the file is, where that is sure."""

    def __init__(self, message: str, what: str | None = None) -> None:
        super().__init__(message)
        self.what = what


def encoding_of(header: str | None) -> tuple[str, bool]:
    """The encoding that a Content-Encoding header names, `gzip`, `deflate` or none, and whether it is sure.

    A word that nobody knows need be none at all: the body is then taken as it is where its bytes tell what it is.
    """
    words = [word.strip().lower() for word in (header or "").split(",")]
    named = [word for word in words if word not in _NO_ENCODINGS]
    if not named:
        return "", True
    return (named[0], True) if len(named) == 1 and named[0] in _ZIPPED else ("", False)


async def decoded(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> AsyncGenerator[bytes, None]:
    """The body without its encoding (see `encoding_of`), in pieces of 64 KiB at most where there was one.

    Raises BrokenBody for a damaged or cut-off one, FileTooLarge for one that takes more bytes than it could bring.
    """
    if not encoding:
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


def is_known(head: bytes, tail: bytes) -> bool:
    """Whether the bytes themselves tell what kind of file they are."""
    return _by_bytes(head, tail) is not None


def media_type(head: bytes, tail: bytes, *said: str | None) -> str:
    """The media type of a file by its first `HEAD_BYTES` and last `TAIL_BYTES` bytes.

    `said` are the types that others name, the most trusted first. They choose among types that look alike, and speak
    for bytes that nobody knows, but make neither a web page a receipt nor bytes a picture.
    """
    names = [name for name in map(plain_type, said) if name]
    found = _by_bytes(head, tail)
    if found in _ANY_OFFICE:
        return next((name for name in names if name in _ANY_OFFICE[found]), found)
    if found == "text/plain":
        return next((name for name in names if name in _TEXTS), found)
    if found is not None:
        return found
    return next((name for name in names if name not in _BY_BYTES and name != OCTETS), OCTETS)


def plain_type(value: str | None) -> str | None:
    """A media type without parameters, in lower case; None for what is none."""
    name = (value or "").partition(";")[0].strip().lower()
    return name if re.fullmatch(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}", name) else None


def extension(type_: str) -> str:
    """The ending of a file name for this media type, without a dot; `bin` for one that we do not know."""
    return EXTENSIONS.get(type_, "bin")


def _by_bytes(head: bytes, tail: bytes) -> str | None:
    for magic, type_ in _MAGIC:
        if head.startswith(magic):
            return type_
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _BRANDS[head[8:12]]
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(head + tail)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return OLE
    if b"%PDF-" in head[:1024]:
        return PDF
    return _text(head)


def _zipped(ends: bytes) -> str:
    if b"word/document" in ends:
        return DOCX
    return XLSX if b"xl/workbook" in ends else ZIP


def _text(head: bytes) -> str | None:
    bom = next((bom for bom in _BOMS if head.startswith(bom)), b"")
    bare = head.removeprefix(bom)
    if len(bom) == 2:  # UTF-16: what is looked for here is ASCII
        bare = bare.replace(b"\0", b"")
    if not bare or _NO_TEXT.search(bare):
        return None
    if _PAGE.match(_without_asides(bare.lower())):
        return HTML
    return "application/xml" if bare.lstrip().startswith(b"<?xml") else "text/plain"


def _without_asides(text: bytes) -> bytes:
    """The text from where it begins in earnest, behind comments and the like."""
    text = text.lstrip()
    while (end := next((end for start, end in _ASIDES if text.startswith(start)), None)) is not None:
        text = text.partition(end)[2].lstrip()
    return text
