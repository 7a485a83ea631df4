"""What an accounting system cannot take as it is: several files become one, and a file of one type one of another."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from pypdf import PdfReader

from blocks.pleo.models import ItemFailure
from flows.failures import Failure
from flows.receipts.collect import Collected
from tests.flows.receipts.collected import (
    DOWNLOAD,
    OPTIONAL,
    PDF,
    PNG,
    SIZE,
    ZIP,
    collected,
    shown,
)
from tests.support.pleo.receipt_files import pdf, picture
from tests.support.pleo.receipt_server import ReceiptServer


def not_converted(kinds: str) -> Failure:
    return Failure(
        ItemFailure.RECEIPT_CONVERSION,
        f"The receipt ({kinds}) cannot be turned into a file that the accounting system takes. "
        "Replace it in Pleo, by a PDF for instance, and export again.",
    )


@pytest.mark.parametrize("most", [1, 2])
async def test_more_files_than_the_erp_takes_become_one(server: ReceiptServer, tmp_path: Path, most: int) -> None:
    found = await collected(server, tmp_path, server.item(pdf(2), picture(), picture("JPEG")), max_attachments=most)
    assert shown(found) == [(0, "BOOK-1-receipts.pdf", PDF)]
    assert len(PdfReader(found.attachments[0].path).pages) == 4


async def test_as_many_files_as_the_erp_takes_stay_as_they_are(server: ReceiptServer, tmp_path: Path) -> None:
    found = await collected(server, tmp_path, server.item(pdf(), picture()), max_attachments=2)
    assert shown(found) == [(1, "BOOK-1-receipt-1.pdf", PDF), (2, "BOOK-1-receipt-2.png", PNG)]
    (tmp_path / "again").mkdir()
    found = await collected(server, tmp_path / "again", server.item(picture("GIF")), max_attachments=1)
    assert shown(found) == [(1, "BOOK-1-receipt-1.gif", "image/gif")]


async def test_what_cannot_be_one_pdf_becomes_one_zip(server: ReceiptServer, tmp_path: Path) -> None:
    contents = [pdf(), b"Coffee 3.50", pdf(encrypted=True)]
    found = await collected(server, tmp_path, server.item(*contents), max_attachments=1)
    assert shown(found) == [(0, "BOOK-1-receipts.zip", ZIP)]
    with zipfile.ZipFile(found.attachments[0].path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == dict(
            zip([f"BOOK-1-receipt-{n}" for n in ("1.pdf", "2.txt", "3.pdf")], contents, strict=True)
        )


async def test_one_file_for_all_that_is_attached_already_is_not_made_again(
    server: ReceiptServer, tmp_path: Path
) -> None:
    item = server.item(pdf(), pdf())
    for again in (item, server.item(pdf(), pdf(), pdf()), server.item(pdf())):
        assert await collected(server, tmp_path, again, max_attachments=1, skip=frozenset({0})) == Collected()
    assert server.asked == []


async def test_files_that_came_later_and_find_no_room_are_told_and_not_lost_in_silence(
    server: ReceiptServer, tmp_path: Path
) -> None:
    (problem,) = (
        await collected(server, tmp_path, server.item(pdf(), pdf()), max_attachments=1, skip=frozenset({1}))
    ).problems
    assert problem.reason.startswith("The entry has 1 of its files already")
    assert server.asked == []


async def test_one_file_for_all_is_not_made_of_half_of_them_where_all_are_required(
    server: ReceiptServer, tmp_path: Path
) -> None:
    found = await collected(server, tmp_path, server.item(pdf(), 404), max_attachments=1)
    assert found == Collected(problems=(DOWNLOAD,), links_dead=True)
    (tmp_path / "again").mkdir()
    found = await collected(server, tmp_path / "again", server.item(pdf(), 404), policy=OPTIONAL, max_attachments=1)
    assert (shown(found), found.problems) == ([(0, "BOOK-1-receipts.pdf", PDF)], (DOWNLOAD,))


async def test_all_in_one_may_be_too_large(server: ReceiptServer, tmp_path: Path) -> None:
    one = pdf()
    item = server.item(one, one)
    found = await collected(server, tmp_path, item, max_attachments=1, max_attachment_bytes=len(one) + 9)
    assert found == Collected(problems=(SIZE,))


@pytest.mark.parametrize(
    ("content", "types", "outcome"),
    [
        (picture(), {PDF}, ("pdf", PDF)),
        (picture(), {PDF, PNG}, ("png", PNG)),
        (picture("GIF"), {PDF, ZIP}, ("zip", ZIP)),
        (pdf(), {PNG, ZIP}, ("zip", ZIP)),
    ],
)
async def test_a_type_that_the_erp_does_not_take_is_turned_into_one_that_it_does(
    server: ReceiptServer, tmp_path: Path, content: bytes, types: set[str], outcome: tuple[str, str]
) -> None:
    found = await collected(server, tmp_path, server.item(content), types=types)
    assert shown(found) == [(1, f"BOOK-1-receipt-1.{outcome[0]}", outcome[1])]


@pytest.mark.parametrize("most", [None, 1])
async def test_a_type_that_becomes_nothing_that_the_erp_takes_is_a_failed_conversion(
    server: ReceiptServer, tmp_path: Path, most: int | None
) -> None:
    item = server.item(pdf(), b"Coffee 3.50")
    found = await collected(server, tmp_path, item, types={PDF}, max_attachments=most)
    kinds = "text/plain" if most is None else "application/pdf, text/plain"
    assert ([one.number for one in found.attachments], found.problems) == (
        [1] if most is None else [],
        (not_converted(kinds),),
    )
