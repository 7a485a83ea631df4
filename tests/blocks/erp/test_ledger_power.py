"""What a loss of power leaves of the books, where only a look at the files themselves tells it from something else."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from ledger_samples import an_attachment, an_entry, entry_id, opened, rows

from blocks.erp.errors import ErpConfigurationError

JOURNAL_OF_A_NEW_FILE = (
    bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 12345, 0, 512, 4096)
).ljust(512, b"\0")  # fmt: skip
"""SQLite's rollback journal of the first write to a file: to undo it, the file is cut off to no pages."""


async def test_a_new_file_whose_first_write_was_lost_with_the_power_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    path.write_bytes(bytes(4096))
    path.with_name("books.sqlite-journal").write_bytes(JOURNAL_OF_A_NEW_FILE)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1)])
    assert rows(path, "SELECT accounting_entry_id FROM entry") == [(entry_id(1),)]


async def test_zeros_that_no_journal_takes_back_are_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    path.write_bytes(bytes(4096))
    with pytest.raises(ErpConfigurationError, match="is not a SQLite file"):
        async with opened(path):
            pass
    assert path.read_bytes() == bytes(4096)


async def test_the_name_of_the_receipts_folder_is_made_safe_even_if_a_killed_run_made_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = list[int](), os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    path = tmp_path / "books" / "books.sqlite"
    (path.parent / "books-receipts").mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", note)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, attachments=(an_attachment(tmp_path, 1, b"receipt"),))])
    assert path.parent.stat().st_ino in synced
