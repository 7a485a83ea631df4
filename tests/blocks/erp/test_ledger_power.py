"""What a loss of power leaves of the books, where only a look at the files themselves tells it from something else."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from blocks.erp.errors import ErpConfigurationError
from tests.support.erp.ledger_samples import an_entry, entry_id, opened, rows

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
