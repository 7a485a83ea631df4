"""The embedded ledger on a full and on a read-only disk: real small file systems, which root alone can mount."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blocks.erp.entries import Recorded
from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError, ErpUnavailable
from blocks.erp.ledger import Ledger, company_of
from tests.support.erp.ledger_samples import (
    COMPANY,
    an_attachment,
    an_entry,
    entries,
    entry_id,
    folder_content,
    names,
    opened,
    rows,
)

FULL = "cannot be written: the disk is full; free some space and run again"
READ_ONLY = "cannot be written: the file or its folder is read-only"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("a small file system cannot be mounted: there is no mount command")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a small file system cannot be mounted without root: {error.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@contextmanager
def no_room(disk: Path, but: int = 0) -> Iterator[None]:
    """Fill the disk but for so many bytes."""
    filler = disk / "filler"
    size = 1 << 20
    with filler.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    assert shutil.disk_usage(disk).free == 0
    os.truncate(filler, filler.stat().st_size - but)
    try:
        yield
    finally:
        filler.unlink()


async def test_a_full_disk_refuses_a_new_file_and_keeps_nothing_of_it(disk: Path) -> None:
    with no_room(disk), pytest.raises(ErpConfigurationError) as caught:
        await Ledger(disk / "books.sqlite").open(COMPANY)
    assert str(caught.value) == f"{disk}/books.sqlite {FULL}"
    assert names(disk) == ["books.sqlite.lock"]


async def test_a_full_disk_refuses_to_open_the_books_that_stand(disk: Path) -> None:
    path = disk / "books.sqlite"
    async with opened(path) as ledger:
        await ledger.record(entries(3))
    with no_room(disk), pytest.raises(ErpConfigurationError, match=FULL):
        await Ledger(path).open(COMPANY)
    assert rows(path, "SELECT count(*) FROM entry") == [(3,)]


async def test_a_disk_that_fills_up_takes_nothing_of_a_call_and_goes_on_once_there_is_room(disk: Path) -> None:
    path = disk / "books.sqlite"
    async with opened(path) as ledger:
        await ledger.record(entries(3))
        with no_room(disk):
            with pytest.raises(ErpUnavailable, match=FULL):
                await ledger.validate()
            for count in (3, 200):  # both what fits the cache and what does not
                with pytest.raises(ErpUnavailable) as caught:
                    await ledger.record(entries(count, first=4))
                assert str(caught.value) == f"{path} {FULL}"
            assert set(await ledger.find([entry_id(number) for number in range(300)])) == {
                entry_id(number) for number in (1, 2, 3)
            }
        outcomes = await ledger.record(entries(200, first=4))
    assert all(isinstance(one, Recorded) and not one.found for one in outcomes)
    assert rows(path, "SELECT count(*), max(id) FROM entry") == [(203, 203)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_beancount_file_without_room_leaves_the_old_one_and_the_books(disk: Path) -> None:
    path = disk / "books.sqlite"
    async with opened(path) as ledger:
        await ledger.record(entries(3))
        await ledger.finish_job()
        old = path.with_suffix(".beancount").read_bytes()
        await ledger.record(entries(30, first=4))
        with no_room(disk):
            with pytest.raises(ErpUnavailable) as caught:
                await ledger.finish_job()
            assert str(caught.value) == f"{disk}/books.beancount {FULL}"
            assert path.with_suffix(".beancount").read_bytes() == old
        assert names(disk) == [
            "books.beancount",
            "books.sqlite",
            "books.sqlite-shm",
            "books.sqlite-wal",
            "books.sqlite.lock",
        ]
        await ledger.finish_job()
        assert path.with_suffix(".beancount").read_bytes() != old
        await ledger.record([an_entry(99)])
    assert rows(path, "SELECT count(*) FROM entry") == [(34,)]


async def test_a_receipt_without_room_takes_no_entry_with_it_and_nothing_of_its_call_stays(
    disk: Path, tmp_path: Path
) -> None:
    path = disk / "books.sqlite"
    small, large = an_attachment(tmp_path, 1, b"small"), an_attachment(tmp_path, 2, bytes(600_000))
    async with opened(path) as ledger:
        await ledger.record([an_entry(1)])
        with no_room(disk, but=300_000):
            for required in (True, False):
                with pytest.raises(ErpUnavailable) as caught:
                    await ledger.record([an_entry(2, attachments=(small, large), attachments_required=required)])
                assert str(caught.value) == f"{disk}/books-receipts {FULL}"
            with pytest.raises(ErpUnavailable, match=FULL):
                await ledger.attach(entry_id(1), [large])
            assert names(disk / "books-receipts") == []
            assert set(await ledger.find([entry_id(1), entry_id(2)])) == {entry_id(1)}
        (recorded,) = await ledger.record([an_entry(2, attachments=(small, large), attachments_required=True)])
        assert await ledger.attach(entry_id(1), [large]) == []
    assert isinstance(recorded, Recorded)
    assert (recorded.attached, recorded.not_attached) == ({1, 2}, ())
    assert names(disk / "books-receipts") == sorted([f"{small.sha256}.pdf", f"{large.sha256}.pdf"])


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("standing", [False, True])
async def test_a_read_only_disk_is_refused_before_any_work(disk: Path, dry_run: bool, standing: bool) -> None:
    path = disk / "books.sqlite"
    if standing:
        async with opened(path) as ledger:
            await ledger.record(entries(3))
    make_read_only(disk)
    before = folder_content(disk)

    with pytest.raises(ErpConfigurationError, match=READ_ONLY) as caught:
        await Ledger(path).open(COMPANY, dry_run=dry_run)

    assert caught.value.problem is ConfigurationProblem.PERMISSION
    assert company_of(path) == (COMPANY if standing else None)
    assert folder_content(disk) == before
