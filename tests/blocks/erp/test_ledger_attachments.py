"""Receipts in the embedded ledger: beside the books, each once, and as one unit with the entry."""

from __future__ import annotations

import os
import stat
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from blocks.erp.entries import Attachment, Bill, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpUnavailable, RefusalKind, Refused
from blocks.erp.ledger import books as books_module
from blocks.erp.ledger.receipts import ending_of
from tests.support.erp.ledger_samples import NOW, a_bill, an_attachment, an_entry, entry_id, names, opened, rows, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "ledger"
    folder.mkdir()
    return folder / "books.sqlite"


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def stored(path: Path) -> dict[str, bytes]:
    folder = path.with_name("books-receipts")
    return {one.name: one.read_bytes() for one in folder.iterdir()} if folder.exists() else {}


async def test_an_entry_is_recorded_with_its_receipts(path: Path, downloads: Path) -> None:
    pdf, photo = (
        an_attachment(downloads, 1),
        an_attachment(downloads, 2, b"jpeg", name="a.JPG", media_type="image/jpeg"),
    )
    async with opened(path) as ledger:
        recorded, other = await ledger.record([an_entry(1, attachments=(pdf, photo)), an_entry(2)])
        found = await ledger.find([entry_id(1), entry_id(2)])

    assert isinstance(recorded, Recorded)
    assert isinstance(other, Recorded)
    assert (recorded.attached, recorded.not_attached) == (frozenset({1, 2}), ())
    assert other.attached == frozenset()
    assert [found[entry_id(number)].attached for number in (1, 2)] == [{1, 2}, frozenset()]
    assert stored(path) == {f"{pdf.sha256}.pdf": b"%PDF-1.7 receipt", f"{photo.sha256}.jpg": b"jpeg"}
    assert rows(path, "SELECT * FROM attachment") == [
        (1, 1, "receipt-1.pdf", "application/pdf", 16, pdf.sha256, f"{pdf.sha256}.pdf", _NOW),
        (1, 2, "a.JPG", "image/jpeg", 4, photo.sha256, f"{photo.sha256}.jpg", _NOW),
    ]


_NOW = NOW.replace(microsecond=0).isoformat()


@pytest.mark.skipif(os.name != "posix", reason="the owner's permissions are POSIX")
async def test_only_the_owner_can_read_them(path: Path, downloads: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(an_attachment(downloads),))])
    folder = path.with_name("books-receipts")
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (folder, *folder.iterdir())]
    assert modes == [0o700, 0o600]


async def test_without_receipts_there_is_no_folder(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record([an_entry(1)])
        assert await ledger.attach(entry_id(1), []) == []
    assert names(path.parent) == ["books.sqlite", "books.sqlite.lock"]


async def test_one_file_used_twice_is_stored_once(path: Path, downloads: Path) -> None:
    receipt = an_attachment(downloads)
    again = replace(receipt, number=2)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(receipt, again)), an_entry(2, attachments=(receipt,))])
        first = {one.name: one.stat().st_ino for one in path.with_name("books-receipts").iterdir()}
        await ledger.record([a_bill(3, attachments=(receipt,))])
    assert {one.name: one.stat().st_ino for one in path.with_name("books-receipts").iterdir()} == first
    assert len(first) == 1
    assert rows(path, "SELECT entry_id, number FROM attachment") == [(1, 1), (1, 2), (2, 1), (3, 1)]


async def test_a_stored_file_that_was_damaged_is_stored_anew(path: Path, downloads: Path) -> None:
    receipt = an_attachment(downloads)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(receipt,))])
        (file,) = path.with_name("books-receipts").iterdir()
        file.write_bytes(b"damaged")
        await ledger.record([an_entry(2, attachments=(receipt,))])
    assert stored(path) == {f"{receipt.sha256}.pdf": b"%PDF-1.7 receipt"}


def _wrong_hash(one: Attachment) -> Attachment:
    return replace(one, sha256="0" * 64)


def _wrong_size(one: Attachment) -> Attachment:
    return replace(one, size=15)


def _cut_off(one: Attachment) -> Attachment:
    one.path.write_bytes(b"%PDF-1.7")
    return one


def _missing(one: Attachment) -> Attachment:
    one.path.unlink()
    return one


def _too_large(one: Attachment) -> Attachment:
    return replace(one, size=101)


def _larger_than_it_says(one: Attachment) -> Attachment:
    one.path.write_bytes(bytes(101))
    return one


OTHERS = "receipt-1.pdf: its bytes are not those that it was announced with"
LARGE = "receipt-1.pdf: it is larger than the 100 bytes that the ledger takes"
SPOILERS = [
    (_wrong_hash, OTHERS, False),
    (_wrong_size, OTHERS, False),
    (_cut_off, OTHERS, False),
    (_missing, "receipt-1.pdf: {} cannot be used: No such file or directory", False),
    (_too_large, LARGE, True),
    (_larger_than_it_says, LARGE, True),
]


@pytest.mark.parametrize(("spoil", "message", "too_large"), SPOILERS)
async def test_an_entry_without_one_receipt_is_refused_if_it_must_have_it_and_else_stands_and_says_which(
    path: Path, downloads: Path, spoil: object, message: str, too_large: bool
) -> None:
    good = an_attachment(downloads, 2, b"good")
    bad = spoil(an_attachment(downloads))  # type: ignore[operator]
    strict = an_entry(2, attachments=(good, bad), attachments_required=True)
    lenient = an_entry(4, attachments=(bad, good))
    message = message.format(bad.path.name)
    async with opened(path, max_attachment_bytes=100) as ledger:
        assert ledger.describe().max_attachment_bytes == 100
        outcomes = await ledger.record([an_entry(1), strict, an_entry(3)])
        assert stored(path) == {}
        (recorded,) = await ledger.record([lenient])
        (again,) = await ledger.record([lenient])
    kind = RefusalKind.ATTACHMENT_TOO_LARGE if too_large else RefusalKind.ATTACHMENT_REFUSED
    assert outcomes[1] == Refused(entry_id(2), kind, "file 1", message)
    assert isinstance(recorded, Recorded)
    assert (recorded.attached, recorded.not_attached) == ({2}, (NotAttached(1, message, too_large=too_large),))
    assert again == replace(recorded, found=True, not_attached=())
    assert rows(path, "SELECT accounting_entry_id FROM entry") == [(entry_id(number),) for number in (1, 3, 4)]
    assert rows(path, "SELECT entry_id, number FROM attachment") == [(3, 2)]
    assert list(stored(path).values()) == [b"good"]


async def test_a_refused_entry_leaves_no_file_but_those_that_others_use(path: Path, downloads: Path) -> None:
    shared, own = an_attachment(downloads, 1, b"shared"), an_attachment(downloads, 2, b"own")
    async with opened(path):
        pass
    write(path, "INSERT INTO period VALUES ('2026-03-03', '2026-03-03', 'closed')")
    async with opened(path) as ledger:
        refused, recorded = await ledger.record(
            [an_entry(2, attachments=(shared, own)), an_entry(3, attachments=(shared,))]
        )
    assert isinstance(refused, Refused)
    assert isinstance(recorded, Recorded)
    assert list(stored(path).values()) == [b"shared"]


async def test_a_call_that_breaks_off_leaves_neither_entry_nor_attachment_nor_file(
    path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, receipt = an_attachment(downloads, 1, b"kept"), an_attachment(downloads)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(kept,))])

        def fail(*_: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(books_module, "settle", fail)
            with pytest.raises(MemoryError):
                await ledger.record([an_entry(2, attachments=(kept, replace(receipt, number=2))), _posted_bill()])
        assert await ledger.find([entry_id(2), entry_id(3)]) == {}
        assert list(stored(path).values()) == [b"kept"]
        outcomes = await ledger.record([an_entry(2, attachments=(receipt,)), _posted_bill()])
    assert [one.external_id for one in outcomes if isinstance(one, Recorded)] == ["PX-000002", "PX-000003"]
    assert rows(path, "SELECT entry_id, number FROM attachment") == [(1, 1), (2, 1)]


def _posted_bill() -> Bill:
    return a_bill(3, state=EntryState.POSTED)


async def test_a_file_that_one_document_s_refusal_left_over_goes_with_the_entry(path: Path, downloads: Path) -> None:
    async with opened(path):
        pass
    write(
        path,
        "CREATE TRIGGER no_second BEFORE INSERT ON attachment WHEN NEW.number = 2 "
        "BEGIN SELECT RAISE (ABORT, 'no second file'); END",
    )
    files = (an_attachment(downloads), an_attachment(downloads, 2, b"second"))
    async with opened(path) as ledger:
        refused, recorded = await ledger.record([a_bill(1, attachments=files), an_entry(2)])
    assert refused == Refused(entry_id(1), RefusalKind.OTHER, entry_id(1), "no second file")
    assert isinstance(recorded, Recorded)
    assert recorded.external_id == "PX-000001"
    assert rows(path, "SELECT count(*) FROM document") == rows(path, "SELECT count(*) FROM attachment") == [(0,)]
    assert stored(path) == {}


async def test_a_folder_that_cannot_be_made_is_told_by_name(path: Path, downloads: Path) -> None:
    folder = path.with_name("books-receipts")
    folder.touch()
    async with opened(path) as ledger:
        (refused,) = await ledger.record(
            [an_entry(1, attachments=(an_attachment(downloads),), attachments_required=True)]
        )
    assert refused == Refused(
        entry_id(1),
        RefusalKind.ATTACHMENT_REFUSED,
        "file 1",
        "receipt-1.pdf: books-receipts cannot be used: File exists",
    )


async def test_files_are_attached_later_once_per_number(path: Path, downloads: Path) -> None:
    first, second = an_attachment(downloads), an_attachment(downloads, 2, b"second")
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(first,), state=EntryState.POSTED)])
        other = an_attachment(downloads, 1, b"another first")
        assert await ledger.attach(entry_id(1).upper(), [other, second, second]) == []
        assert await ledger.attach(entry_id(1), [other, second]) == []
        found = await ledger.find([entry_id(1)])
    assert found[entry_id(1)].attached == {1, 2}
    assert sorted(stored(path).values()) == [b"%PDF-1.7 receipt", b"second"]
    assert rows(path, "SELECT number, sha256 FROM attachment") == [(1, first.sha256), (2, second.sha256)]


async def test_what_cannot_be_attached_later_is_named_and_the_rest_attached(path: Path, downloads: Path) -> None:
    good, bad = an_attachment(downloads, 2, b"good"), _wrong_hash(an_attachment(downloads))
    async with opened(path) as ledger:
        await ledger.record([an_entry(1)])
        assert await ledger.attach(entry_id(1), [bad, good]) == [NotAttached(1, OTHERS)]
        assert await ledger.attach(entry_id(2), [good]) == [NotAttached(2, f"there is no entry {entry_id(2)}")]
        found = await ledger.find([entry_id(1)])
    assert found[entry_id(1)].attached == {2}
    assert list(stored(path).values()) == [b"good"]


async def test_a_lost_folder_sync_is_unavailable_and_nothing_is_recorded(
    path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    receipt = an_attachment(downloads)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(receipt,))])
        with monkeypatch.context() as patch:
            patch.setattr("blocks.erp.ledger.receipts.sync_folder", fail)
            with pytest.raises(ErpUnavailable, match="books-receipts cannot be read or written: the disk"):
                await ledger.record([an_entry(2, attachments=(an_attachment(downloads, 1, b"two"),))])
        assert await ledger.find([entry_id(2)]) == {}
        assert len(stored(path)) == 1


async def test_bytes_name_and_entry_are_made_durable_in_this_order(
    path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = an_attachment(downloads)
    steps: list[object] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        with_name = [one for one in stored(path) if one != ".incoming"]
        recorded = rows(path, "SELECT count(*) FROM attachment")[0][0]
        steps.append((kind, with_name, recorded))
        fsync(descriptor)

    async with opened(path) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", watched)
            await ledger.record([an_entry(1, attachments=(receipt,))])
    name = f"{receipt.sha256}.pdf"
    assert steps == [("folder", [], 0), ("file", [], 0), ("folder", [name], 0)]
    assert rows(path, "SELECT file FROM attachment") == [(name,)]


async def test_a_dry_run_writes_no_file(path: Path, downloads: Path) -> None:
    async with opened(path, dry_run=True) as ledger:
        for call in (ledger.record([an_entry(1)]), ledger.attach(entry_id(1), [an_attachment(downloads)])):
            with pytest.raises(RuntimeError, match="dry run"):
                await call
        with pytest.raises(RuntimeError, match="dry run"):
            await ledger.post([entry_id(1)])
    assert names(path.parent) == []


async def test_a_large_file_takes_no_memory(path: Path, downloads: Path) -> None:
    receipt = an_attachment(downloads, 1, bytes(20_000_000))
    async with opened(path) as ledger:
        tracemalloc.start()
        try:
            await ledger.record([an_entry(1, attachments=(receipt,))])
            await ledger.record([an_entry(2, attachments=(receipt,))])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3_000_000


async def test_the_files_lie_beside_the_books_whatever_link_leads_to_them(
    path: Path, downloads: Path, tmp_path: Path
) -> None:
    nickname = tmp_path / "link.sqlite"
    nickname.symlink_to(path)
    async with opened(nickname) as ledger:
        await ledger.record([an_entry(1, attachments=(an_attachment(downloads),))])
    assert len(stored(path)) == 1
    assert names(tmp_path) == ["downloads", "ledger", "link.sqlite"]


@pytest.mark.parametrize(
    ("media_type", "name", "ending"),
    [
        ("application/pdf", "x.exe", ".pdf"),
        ("Image/JPEG; charset=x", "x", ".jpg"),
        ("text/html", "x.html", ".bin"),
        ("image/svg+xml", "x.svg", ".bin"),
        ("text/xml", "invoice.xml", ".txt"),
        ("", "invoice.xml", ".txt"),
        ("application/octet-stream", "photo.JPEG", ".jpg"),
        ("", "../../.pdf/x", ".bin"),
        ("", "", ".bin"),
    ],
)
def test_a_stored_file_has_no_ending_that_a_browser_runs(
    media_type: str, name: str, ending: str, tmp_path: Path
) -> None:
    assert ending_of(an_attachment(tmp_path, name=name, media_type=media_type)) == ending
