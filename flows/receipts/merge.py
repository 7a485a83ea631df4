"""Merges PDFs and pictures into one PDF. A script of its own, since what it reads is hostile.

`flows.receipts.combined_file` runs it in a process without secrets, with bounds of time, memory and output. Standard
input brings one JSON object (see `main`); exit status 0 tells that the PDF is there. The same parts, the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageOps
from pypdf import PdfReader, PdfWriter

MAX_PIXELS = 64_000_000
_A4_PT = (595, 842)
_ORIENTATION = 0x0112
_ROTATION = {1: 0, 3: 180, 6: 90, 8: 270}  # degrees clockwise; the other orientations are mirrored
_COLOURS = {"L": (b"/DeviceGray", 1), "RGB": (b"/DeviceRGB", 3)}


class CannotMerge(Exception):
    """A part is not a document that can be a page or more of another."""


def main() -> None:
    """Read the order from standard input: `target`, `parts` (path and media type), `memory`, `seconds`, `largest`."""
    order = json.load(sys.stdin)
    os.umask(0o077)
    _bound(order["memory"], order["seconds"], order["largest"])
    merge([(Path(path), kind) for path, kind in order["parts"]], Path(order["target"]))


def merge(parts: Sequence[tuple[Path, str]], target: Path) -> None:
    """Write all the parts' pages to `target`. Raises CannotMerge, or whatever hostile bytes bring about."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    writer = PdfWriter()
    for path, kind in parts:
        source = path if kind == "application/pdf" else io.BytesIO(_page_of(path, kind))
        reader = PdfReader(source)
        if reader.is_encrypted:
            raise CannotMerge("encrypted")
        pages = 0
        for page in reader.pages:
            writer.add_page(page)
            pages += 1
        if not pages:
            raise CannotMerge("no pages")
    writer.add_metadata({"/Producer": "pleo-export"})
    writer.write(target)


def _page_of(path: Path, kind: str) -> bytes:
    """A PDF of one page with this picture: a JPEG as it is, anything else without loss."""
    formats = {"image/jpeg": "JPEG", "image/png": "PNG"}
    with Image.open(path, formats=[formats[kind]]) as picture:
        rotation = _ROTATION.get(picture.getexif().get(_ORIENTATION, 1))
        if kind == "image/jpeg" and picture.mode in _COLOURS and rotation is not None:
            size, mode = picture.size, picture.mode
            picture.draft(mode, (size[0] // 8, size[1] // 8))
            picture.load()  # fails for one that is cut off; an eighth of it takes little memory
            return _pdf(path.read_bytes(), size, mode, b"/DCTDecode", b"", rotation)
        flat = _flat(ImageOps.exif_transpose(picture))
    colours = _COLOURS[flat.mode][1]
    shape = b"/DecodeParms<</Predictor 15/Colors %d/BitsPerComponent 8/Columns %d>>" % (colours, flat.size[0])
    return _pdf(_deflated(flat), flat.size, flat.mode, b"/FlateDecode", shape, 0)


def _flat(picture: Image.Image) -> Image.Image:
    """The picture in grey or colour, on white where one can see through it."""
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    if picture.mode.startswith("I"):  # 16 bits of grey
        return picture.point(lambda value: value / 256).convert("L")
    return picture.convert("L" if picture.mode in {"1", "L"} else "RGB")


def _deflated(picture: Image.Image) -> bytes:
    """The picture's rows as PNG has them: filtered and deflated, which is just what PDF can read."""
    made = io.BytesIO()
    picture.save(made, "PNG")
    data, position, rows = made.getvalue(), 8, b""
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            rows += data[position + 8 : position + 8 + length]
        position += length + 12
    return rows


def _pdf(data: bytes, size: tuple[int, int], mode: str, coding: bytes, parameters: bytes, rotation: int) -> bytes:
    """A picture on a page of its own, A4 at most in either direction."""
    width, height = size
    upright = (width > height) == (_A4_PT[0] > _A4_PT[1])
    paper = _A4_PT if upright else _A4_PT[::-1]
    scale = min(1.0, paper[0] / width, paper[1] / height)
    wide, high = max(3, round(width * scale)), max(3, round(height * scale))
    image = (
        b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace%b/BitsPerComponent 8/Filter%b%b/Length %d>>"
        % (
            width,
            height,
            _COLOURS[mode][0],
            coding,
            parameters,
            len(data),
        )
    )
    drawing = b"q %d 0 0 %d 0 0 cm /P Do Q" % (wide, high)
    return _document(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Rotate %d/Contents 4 0 R"
            b"/Resources<</XObject<</P 5 0 R>>>>>>" % (wide, high, rotation),
            b"<</Length %d>>stream\n%b\nendstream" % (len(drawing), drawing),
            b"%b\nstream\n%b\nendstream" % (image, data),
        ]
    )


def _document(objects: Iterable[bytes]) -> bytes:
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(offsets) + 1
    return body + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        table,
        size,
        len(body),
    )


def _bound(memory: int, seconds: int, largest: int) -> None:
    """Have the system end this process when it takes more than this; where it cannot, time alone is bounded."""
    try:
        import resource
    except ImportError:
        return
    for name, limit in (("AS", memory), ("CPU", seconds), ("FSIZE", largest), ("CORE", 0)):
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
        except (AttributeError, OSError, ValueError):
            continue  # this one does not exist here


if __name__ == "__main__":
    main()
