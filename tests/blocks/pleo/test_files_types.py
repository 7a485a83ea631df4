"""What kind of file it is, its bytes say; what others say decides between look-alikes only."""

from __future__ import annotations

import io
import zipfile

import pytest

from blocks.pleo.files.content import DOC, DOCX, HEAD_BYTES, JSON, OLE, TAIL_BYTES, XLS, XLSX, extension, media_type


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 20_000)
    return made.getvalue()


OLE_BYTES = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
BY_BYTES = {
    "application/pdf": [b"%PDF-1.7\n", b"\n" * 1000 + b"%PDF-1.4", b"\xef\xbb\xbf%PDF-1.4"],
    "image/png": [b"\x89PNG\r\n\x1a\n\0"],
    "image/jpeg": [b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xfe"],
    "image/gif": [b"GIF87a..", b"GIF89a.."],
    "image/heic": [b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftyphevx"],
    "image/heif": [b"\0\0\0\x18ftypmif1"],
    "image/avif": [b"\0\0\0\x18ftypavif"],
    "image/webp": [b"RIFF\0\0\0\0WEBPVP8 "],
    "image/tiff": [b"II*\0\x08", b"MM\0*\0"],
    "application/postscript": [b"%!PS-Adobe-3.0"],
    "application/rtf": [b"{\\rtf1"],
    "application/xml": [b"<?xml version='1.0'?><Invoice/>", b"\xef\xbb\xbf<?xml?><a/>"],
    "text/plain": [b"Coffee 3.50", "Kaffee 3,50 €".encode(), b"\xff\xfeK\0a\0"],
    "text/html": [
        b"<html>",
        b" \r\n<!DOCTYPE HTML PUBLIC>",
        b"<!-- a --><!-- b --><script>",
        b"<?xml version='1.0'?><!DOCTYPE html>",
        b"\xff\xfe<\0h\0t\0m\0l\0>\0",
        b"<!-- -->" * 500 + b"<head>",
    ],
    DOCX: [zipped("[Content_Types].xml", "word/document.xml"), zipped(*["a/b.xml"] * 1, "word/document.xml", "z.xml")],
    XLSX: [zipped("[Content_Types].xml", "xl/workbook.xml")],
    "application/zip": [zipped("a.txt"), zipped()],
    OLE: [OLE_BYTES],
    "application/octet-stream": [b"\0\1\2\3", b"\x7fELF", b""],
}


@pytest.mark.parametrize(
    ("kind", "content"), [(kind, content) for kind, contents in BY_BYTES.items() for content in contents]
)
@pytest.mark.parametrize("said", [None, "application/octet-stream", "image/gif", "nonsense", "a/b" * 1000])
def test_bytes_tell(kind: str, content: bytes, said: str | None) -> None:
    assert media_type(content[:HEAD_BYTES], content[-TAIL_BYTES:], said) == kind


@pytest.mark.parametrize(
    ("content", "said", "kind"),
    [
        (OLE_BYTES, [DOC], DOC),
        (OLE_BYTES, [None, XLS], XLS),
        (OLE_BYTES, ["application/octet-stream", f"{XLS}; charset=binary"], XLS),
        (OLE_BYTES, ["application/pdf"], OLE),
        (zipped("a"), [DOCX], DOCX),
        (zipped("a"), [DOC], "application/zip"),
        (zipped("word/document.xml"), [XLSX], DOCX),
        (b"a,b\n", ["text/csv"], "text/csv"),
        (b"a,b\n", ["TEXT/CSV; charset=utf-8", "text/plain"], "text/csv"),
        (b"Sorry", ["text/html"], "text/html"),
        (b'{"error": 1}', ["application/json"], JSON),
        (b"\0\1\2", ["application/pdf"], "application/octet-stream"),
        (b"\0\1\2", ["image/x-odd"], "image/x-odd"),
        (b"\0\1\2", ["application/pdf", "image/x-odd"], "image/x-odd"),
        (b"%PDF-", ["text/html"], "application/pdf"),
    ],
)
def test_what_others_say_decides_between_look_alikes(content: bytes, said: list[str | None], kind: str) -> None:
    assert media_type(content, content, *said) == kind


def test_asides_without_end_take_no_time() -> None:
    assert media_type(b"<!---->" * 580 + b"<a", b"") == "text/plain"
    assert media_type(b"<!--" * 1000, b"") == "text/plain"


@pytest.mark.parametrize(("kind", "ending"), [("application/pdf", "pdf"), (DOCX, "docx"), ("image/x-odd", "bin")])
def test_a_kind_has_an_ending(kind: str, ending: str) -> None:
    assert extension(kind) == ending
