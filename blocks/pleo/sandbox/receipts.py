"""Receipt files: small real documents made from their name, and the links that lead to them for a day."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib

from blocks.pleo.sandbox.wire import UUID_PATTERN, Json

LINK_LIFE_S = 24 * 3600
TYPES = {"pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg"}

_OVERSIZED = "ffffffff"
_OVERSIZED_BYTES = 900_000
_MISSING = "eeeeeeee"
_STORED_URL = re.compile(rf'"url":"receipt:({UUID_PATTERN.pattern}\.[a-z]{{3}})"')
_JPEG = base64.b64decode(
    # 8 by 8 grey points: one table of ones, one Huffman code each for DC and AC
    "/9sAQwABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    "/8AACwgACAAIAQERAP/EABQAAQAAAAAAAAAAAAAAAAAAAAD/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oACAEBAAA/AD//2Q=="
)


def stored_url(name: str) -> str:
    """What stands in a stored item for the link to a file, until `sign_links` replaces it."""
    return f"receipt:{name}"


def stored_file(name: str) -> Json:
    """A file of a stored item."""
    return {"size": size(name), "type": TYPES[name.rsplit(".", 1)[1]], "url": stored_url(name)}


def oversized(name: str) -> str:
    """The name of a document of 900 kB, made from the name of another one."""
    return _OVERSIZED + name[len(_OVERSIZED) :]


def missing(name: str) -> str:
    """The name of a document that is not there any more, made from the name of another one."""
    return _MISSING + name[len(_MISSING) :]


def is_missing(name: str) -> bool:
    """Whether a link to this document leads nowhere."""
    return name.startswith(_MISSING)


def sign_links(text: str, base_url: str, key: bytes, now_s: float) -> str:
    """Replace the files' names in the JSON of export items by links that are good for a day from now."""
    expires = str(int(now_s) + LINK_LIFE_S)

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f'"url":"{base_url}/receipts/{expires}/{_signature(key, expires, name)}/{name}"'

    return _STORED_URL.sub(link, text)


def is_signed(key: bytes, expires: str, signature: str, name: str) -> bool:
    """Whether this link was handed out by this sandbox."""
    return signature == _signature(key, expires, name)


def content(name: str) -> bytes:
    """The document of this name, `UUID.pdf`, `UUID.png` or `UUID.jpg`: always the same bytes."""
    identity, kind = name.rsplit(".", 1)
    padding = b"%" * _padding(identity)
    if kind == "pdf":
        return _pdf(identity, padding)
    text = f"Receipt {identity} ".encode() + padding
    return _png(text) if kind == "png" else _jpg(text)


def size(name: str) -> int:
    """How many bytes `content` of this name has."""
    identity, kind = name.rsplit(".", 1)
    return _BARE_SIZES[kind] + _padding(identity)


def _signature(key: bytes, expires: str, name: str) -> str:
    return hashlib.blake2b(f"{expires}/{name}".encode(), key=key, digest_size=16).hexdigest()


def _padding(identity: str) -> int:
    return _OVERSIZED_BYTES if identity.startswith(_OVERSIZED) else int(identity[:2], 16) * 8


def _pdf(identity: str, padding: bytes) -> bytes:
    drawing = b"BT /F1 11 Tf 40 250 Td (Receipt) Tj 0 -20 Td (" + identity.encode() + b") Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 320 300]/Contents 4 0 R"
        b"/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawing), drawing),
    )
    body, offsets = b"%PDF-1.4\n", []
    for number, content_of in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content_of)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    # The padding is a comment between the body and the table; the start of the table has a fixed width.
    body += b"%" + padding + b"\n"
    return b"%sxref\n0 5\n0000000000 65535 f \n%strailer\n<</Size 5/Root 1 0 R>>\nstartxref\n%06d\n%%%%EOF\n" % (
        body,
        table,
        len(body),
    )


def _png(text: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes((column * row) & 0xFF for column in range(16)) for row in range(16))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tEXt", b"Comment\0" + text)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _jpg(text: bytes) -> bytes:
    return b"\xff\xd8\xff\xfe" + struct.pack(">H", len(text) + 2) + text + _JPEG


_UNPADDED = "00000000-0000-4000-8000-000000000000"
_BARE_SIZES = {kind: len(content(f"{_UNPADDED}.{kind}")) for kind in TYPES}
