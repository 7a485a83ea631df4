"""Several receipts as one file: a PDF of all of them where that can be, else a ZIP, and never a way to break us."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PageObject, PdfReader

from flows.receipts.combined_file import CannotCombine, CombinedFile, CombinedTooLarge, SourceFile, combine
from tests.support.pleo.receipt_files import endless_pdf, pdf, picture, pixel_bomb, see_through

PDF, PNG, JPEG, TEXT, ZIP = "application/pdf", "image/png", "image/jpeg", "text/plain", "application/zip"
MB = 1_000_000


def parts_of(folder: Path, *contents: tuple[bytes, str]) -> list[SourceFile]:
    parts = []
    for number, (content, kind) in enumerate(contents, 1):
        path = folder / f"in-{number}"
        path.write_bytes(content)
        parts.append(SourceFile(path, f"receipt-{number}.{kind.rpartition('/')[2]}", kind, len(content)))
    return parts


async def combined(
    folder: Path,
    *contents: tuple[bytes, str],
    types: frozenset[str] | None = None,
    max_bytes: int = 30 * MB,
    merge_s: int = 30,
) -> CombinedFile:
    target = folder / "out"
    try:
        made = await combine(parts_of(folder, *contents), target, types=types, max_bytes=max_bytes, merge_s=merge_s)
    except CannotCombine:
        assert not target.exists()
        raise
    content = target.read_bytes()
    assert (made.path, made.size, made.sha256) == (target, len(content), hashlib.sha256(content).hexdigest())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert made.size <= max_bytes
    return made


def pages_of(made: CombinedFile) -> list[PageObject]:
    assert (made.media_type, made.ending) == (PDF, "pdf")
    return list(PdfReader(made.path).pages)


def members_of(made: CombinedFile) -> dict[str, bytes]:
    assert (made.media_type, made.ending) == (ZIP, "zip")
    with zipfile.ZipFile(made.path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def image_on(page: PageObject) -> Image.Image:
    (found,) = page.images
    assert found.image is not None
    return found.image


async def test_pdfs_and_pictures_become_one_pdf_in_their_order(tmp_path: Path) -> None:
    made = await combined(
        tmp_path,
        (pdf(2, width=100), PDF),
        (picture("PNG", size=(40, 20)), PNG),
        (picture("JPEG", size=(30, 60)), JPEG),
        (pdf(width=300), PDF),
    )
    assert [(page.mediabox.width, page.mediabox.height) for page in pages_of(made)] == [
        (100, 300),
        (101, 300),
        (40, 20),
        (30, 60),
        (300, 300),
    ]


async def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    contents = [(pdf(2), PDF), (picture(), PNG), (picture("JPEG"), JPEG)]
    hashes = set()
    for kinds in (contents, [*contents, (b"Coffee", TEXT)]):
        for number in range(2):
            folder = tmp_path / f"{len(kinds)}-{number}"
            folder.mkdir()
            hashes.add((len(kinds), (await combined(folder, *kinds)).sha256))
            for path in folder.iterdir():
                os.utime(path, (number, number))
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "PNG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("RGB", "JPEG"), ("L", "JPEG")]
)
async def test_a_picture_looks_as_it_did(tmp_path: Path, mode: str, kind: str) -> None:
    original = picture(kind, mode)
    (page,) = pages_of(await combined(tmp_path, (original, f"image/{kind.lower()}")))
    with Image.open(io.BytesIO(original)) as wanted:
        assert image_on(page).convert("L").tobytes() == wanted.convert("L").tobytes()


async def test_sixteen_bits_of_grey_keep_light_and_dark(tmp_path: Path) -> None:
    made = io.BytesIO()
    Image.frombytes("I;16", (2, 1), (10_240).to_bytes(2, "little") + (56_320).to_bytes(2, "little")).save(made, "PNG")
    (page,) = pages_of(await combined(tmp_path, (made.getvalue(), PNG)))
    assert list(image_on(page).convert("L").tobytes()) == [40, 220]


async def test_a_jpeg_is_taken_over_to_the_byte(tmp_path: Path) -> None:
    original = picture("JPEG")
    made = await combined(tmp_path, (original, JPEG))
    assert original in made.path.read_bytes()


async def test_a_picture_that_one_sees_through_lies_on_white(tmp_path: Path) -> None:
    (page,) = pages_of(await combined(tmp_path, (see_through(), PNG)))
    assert [image_on(page).convert("RGB").getpixel(at) for at in ((0, 0), (9, 9))] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize(("orientation", "rotation"), [(1, 0), (3, 180), (6, 90), (8, 270)])
async def test_a_photo_stands_upright(tmp_path: Path, orientation: int, rotation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (page,) = pages_of(await combined(tmp_path, (picture("JPEG", exif=exif), JPEG)))
    assert page.rotation == rotation


async def test_a_mirrored_photo_is_turned_round(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 2
    (page,) = pages_of(await combined(tmp_path, (picture("JPEG", exif=exif), JPEG)))
    seen = image_on(page).convert("L")
    assert (seen.getpixel((0, 0)), seen.getpixel((39, 0))) == (220, 40)


async def test_a_large_picture_fits_on_a_page(tmp_path: Path) -> None:
    tall, wide = pages_of(
        await combined(tmp_path, (picture(size=(3000, 4000)), PNG), (picture("JPEG", size=(4000, 2000)), JPEG))
    )
    assert (tall.mediabox.width, tall.mediabox.height) == (595, 793)
    assert (wide.mediabox.width, wide.mediabox.height) == (842, 421)


CMYK = picture("JPEG", "CMYK")
NOT_TO_BE_MERGED = {
    "another type": (b"Coffee 3.50", TEXT),
    "an encrypted PDF": (pdf(encrypted=True), PDF),
    "a broken PDF": (b"%PDF-1.4\nnothing\n%%EOF", PDF),
    "a PDF without pages": (pdf(0), PDF),
    "a PDF that goes in circles": (endless_pdf(), PDF),
    "a PNG that was cut off": (picture(size=(300, 300))[:-300], PNG),
    "a JPEG that was cut off": (picture("JPEG", size=(300, 300))[:-900], JPEG),
    "a PNG that is none": (b"\x89PNG\r\n\x1a\nnothing", PNG),
    "a GIF that says it is a PNG": (picture("GIF"), PNG),
}


@pytest.mark.parametrize("odd", NOT_TO_BE_MERGED.values(), ids=NOT_TO_BE_MERGED.keys())
async def test_what_cannot_be_merged_goes_into_a_zip_as_it_is(tmp_path: Path, odd: tuple[bytes, str]) -> None:
    good = pdf()
    made = await combined(tmp_path, (good, PDF), odd)
    assert members_of(made) == {"receipt-1.pdf": good, f"receipt-2.{odd[1].rpartition('/')[2]}": odd[0]}


async def test_a_print_picture_becomes_a_page_too(tmp_path: Path) -> None:
    (page,) = pages_of(await combined(tmp_path, (CMYK, JPEG)))
    assert image_on(page).mode == "RGB"


async def test_a_zip_tells_nothing_of_the_machine_and_the_day(tmp_path: Path) -> None:
    made = await combined(tmp_path, (b"Coffee 3.50 " * 100, TEXT), (pdf(), PDF))
    with zipfile.ZipFile(made.path) as archive:
        infos = archive.infolist()
    assert [(info.filename, info.date_time, info.create_system, info.external_attr >> 16) for info in infos] == [
        (name, (1980, 1, 1, 0, 0, 0), 3, 0o600) for name in ("receipt-1.plain", "receipt-2.pdf")
    ]
    assert [info.compress_type for info in infos] == [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]


async def test_a_pixel_bomb_breaks_nothing(tmp_path: Path) -> None:
    bomb = pixel_bomb()
    assert len(bomb) < MB  # and 900 million pixels
    began = time.monotonic()
    made = await combined(tmp_path, (bomb, PNG), (pdf(), PDF))
    assert members_of(made)["receipt-1.png"] == bomb
    assert time.monotonic() - began < 15


async def test_a_merge_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    many = pdf(4000)
    began = time.monotonic()
    made = await combined(tmp_path, *[(many, PDF)] * 3, merge_s=1)
    assert list(members_of(made)) == ["receipt-1.pdf", "receipt-2.pdf", "receipt-3.pdf"]
    assert time.monotonic() - began < 10


async def test_a_merge_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr("flows.receipts.combined_file._SCRIPT", str(script))
    assert list(members_of(await combined(tmp_path, (pdf(), PDF), merge_s=1))) == ["receipt-1.pdf"]


@pytest.mark.skipif(os.name != "posix", reason="the system bounds no process's memory there")
async def test_a_merge_that_takes_too_much_memory_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = picture(size=(6000, 6000))
    assert len(pages_of(await combined(tmp_path, (large, PNG)))) == 1
    (tmp_path / "out").unlink()
    monkeypatch.setattr("flows.receipts.combined_file.MERGE_BYTES", 150_000_000)
    assert list(members_of(await combined(tmp_path, (large, PNG)))) == ["receipt-1.png"]


async def test_merging_knows_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys\nopen(json.load(sys.stdin)['target'], 'x').write(json.dumps(dict(os.environ)))\n"
    )
    monkeypatch.setattr("flows.receipts.combined_file._SCRIPT", str(script))
    monkeypatch.setenv("PLEO_API_KEY", "s3cret")
    made = await combined(tmp_path, (pdf(), PDF))
    assert "PATH" in made.path.read_text()
    assert "s3cret" not in made.path.read_text()


async def test_the_limit_holds_for_what_is_made(tmp_path: Path) -> None:
    text = bytes(range(256)) * 40
    with pytest.raises(CombinedTooLarge):
        await combined(tmp_path, (text, "application/x-odd"), max_bytes=200)
    with pytest.raises(CombinedTooLarge):
        await combined(tmp_path, (pdf(), PDF), (pdf(), PDF), max_bytes=len(pdf()))
    made = await combined(tmp_path, (b"Coffee " * 10_000, TEXT), (b"Tea " * 10_000, TEXT), max_bytes=2000)
    assert len(members_of(made)) == 2


@pytest.mark.parametrize(
    ("contents", "types", "outcome"),
    [
        ([(pdf(), PDF), (picture(), PNG)], {PDF}, PDF),
        ([(pdf(), PDF), (picture(), PNG)], {ZIP, PNG}, ZIP),
        ([(pdf(), PDF), (b"Coffee", TEXT)], {PDF, ZIP}, ZIP),
        ([(picture(), PNG)], {PDF}, PDF),
        ([(b"Coffee", TEXT)], {ZIP}, ZIP),
    ],
)
async def test_only_what_is_taken_is_made(
    tmp_path: Path, contents: list[tuple[bytes, str]], types: set[str], outcome: str
) -> None:
    assert (await combined(tmp_path, *contents, types=frozenset(types))).media_type == outcome


@pytest.mark.parametrize("contents", [[(b"Coffee", TEXT)], [(pdf(encrypted=True), PDF)], [(endless_pdf(), PDF)]])
async def test_what_becomes_nothing_that_is_taken_cannot_be_bundled(
    tmp_path: Path, contents: list[tuple[bytes, str]]
) -> None:
    with pytest.raises(CannotCombine) as caught:
        await combined(tmp_path, *contents, types=frozenset({PDF}))
    assert not isinstance(caught.value, CombinedTooLarge)
