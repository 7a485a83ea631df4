"""Receipts of every kind for tests, good and hostile, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image
from pypdf import PdfWriter


def pdf(pages: int = 1, *, width: int = 200, encrypted: bool = False) -> bytes:
    """A PDF of empty pages, the first `width` points wide and each following one a point wider."""
    writer = PdfWriter()
    for number in range(pages):
        writer.add_blank_page(width + number, 300)
    if encrypted:
        writer.encrypt("a word")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def picture(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 20), **settings: Any) -> bytes:
    """A picture that is dark on the left and light on the right."""
    made = io.BytesIO()
    image = Image.new("L", size, 40)
    image.paste(220, (size[0] // 2, 0, *size))
    image.convert(mode).save(made, kind, **settings)
    return made.getvalue()


def see_through() -> bytes:
    """A PNG with a black corner, through the rest of which one sees."""
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 5, 5))
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()


def pixel_bomb(side: int = 30_000) -> bytes:
    """A PNG of few bytes and very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + side)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def endless_pdf() -> bytes:
    """A PDF whose pages are found by walking in a circle."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 2>>",
        b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2/Parent 2 0 R>>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return body + b"xref\n0 4\n0000000000 65535 f \n%btrailer\n<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        table,
        len(body),
    )
