"""What the embedded ledger says when a call is not taken or the power fails, and what stands afterwards."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from blocks.erp.entries import Recorded
from blocks.erp.errors import ErpConfigurationError, ErpOutcomeUnknown, ErpUnavailable
from blocks.erp.ledger import connection
from tests.support.erp.ledger_samples import an_entry, entries, entry_id, folder_content, opened, rows

JOURNAL_OF_A_NEW_FILE = (
    bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 12345, 0, 512, 4096)
).ljust(512, b"\0")  # fmt: skip
"""SQLite's rollback journal of the first write to a file: to undo it, the file is cut off to no pages."""


@contextmanager
def no_file_may_grow_past(path: Path, more_bytes: int) -> Iterator[None]:
    """Every write past the size of `path` and `more_bytes` fails in this process, with an I/O error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_lock_of_another_program_is_waited_for_without_holding_up_the_event_loop(path: Path) -> None:
    async with opened(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            recording = asyncio.create_task(ledger.record([an_entry(1)]))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not recording.done()
            other.execute("ROLLBACK")
        (recorded,) = await recording
    assert isinstance(recorded, Recorded)


async def test_a_lock_that_stays_is_unavailable_and_nothing_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    async with opened(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ErpUnavailable, match=r"books\.sqlite is locked by another program; close"):
                await ledger.record([an_entry(1)])
            with pytest.raises(ErpUnavailable, match="is locked by another program"):
                await ledger.validate()
            other.execute("ROLLBACK")
        await ledger.validate()
        (recorded,) = await ledger.record([an_entry(1)])
    assert isinstance(recorded, Recorded)
    assert recorded.external_id == "PX-000001"


async def test_a_commit_that_fails_leaves_the_outcome_unknown_until_it_is_looked_up(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record([an_entry(1)])
        with (
            no_file_may_grow_past(Path(f"{path}-wal"), 8192),
            pytest.raises(ErpOutcomeUnknown, match=r"books\.sqlite may or may not hold the entries") as caught,
        ):
            await ledger.record(entries(200, first=2))
        assert "\n" not in str(caught.value)
        standing = await ledger.find([entry_id(number) for number in range(1, 202)])
        outcomes = await ledger.record(entries(200, first=2))
    assert set(standing) == {entry_id(1)}
    assert all(isinstance(one, Recorded) and not one.found for one in outcomes)


async def test_a_cancelled_run_lets_go_of_the_file(path: Path) -> None:
    async with opened(path) as ledger:
        task = asyncio.create_task(ledger.record(entries(100)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with opened(path) as ledger:
        outcomes = await ledger.record(entries(100))
    assert all(isinstance(one, Recorded) for one in outcomes)
    assert rows(path, "SELECT count(*), max(id) FROM entry") == [(100, 100)]


@pytest.fixture
def zeros(path: Path) -> Path:
    """The first page of a new file, as a loss of power may leave it."""
    path.write_bytes(bytes(4096))
    return path


async def test_a_new_file_whose_first_write_was_lost_with_the_power_is_made_anew(zeros: Path) -> None:
    zeros.with_name("books.sqlite-journal").write_bytes(JOURNAL_OF_A_NEW_FILE)
    async with opened(zeros) as ledger:
        await ledger.record([an_entry(1)])
    assert rows(zeros, "SELECT accounting_entry_id FROM entry") == [(entry_id(1),)]


async def test_zeros_that_no_journal_takes_back_are_no_ledger(zeros: Path) -> None:
    before = folder_content(zeros.parent)
    with pytest.raises(ErpConfigurationError, match="is not a SQLite file"):
        async with opened(zeros):
            pass
    assert folder_content(zeros.parent)["books.sqlite"] == before["books.sqlite"]
