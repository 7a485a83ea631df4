"""A dry run of the embedded ledger: it reads what stands and changes nothing on disk."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from blocks.erp.errors import RefusalKind
from blocks.erp.ledger import company_of
from blocks.erp.reference import Role
from tests.support.erp.ledger_samples import (
    COMPANY,
    an_entry,
    entries,
    entry_id,
    folder_content,
    opened,
    put,
    rows,
    with_suffixes,
)

IDS = [entry_id(number) for number in range(100)]


async def test_a_missing_file_is_an_empty_ledger_and_stays_missing(path: Path) -> None:
    async with opened(path, dry_run=True) as ledger:
        await ledger.validate()
        assert await ledger.find(IDS) == {}
        assert ledger.check(an_entry(1)) is None
        refused = ledger.check(an_entry(1, lines=()))
        assert refused is not None
        assert refused.kind is RefusalKind.UNBALANCED
        assert (await ledger.load_reference()).account(Role.WALLET, "DKK") is not None
        assert ledger.link("PX-000001").startswith("http://127.0.0.1:5000/")
        await ledger.finish_job()
    assert list(path.parent.iterdir()) == []


async def test_books_at_rest_are_read_and_left_byte_for_byte(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record(entries(20))
    before = folder_content(path.parent)
    async with opened(path, dry_run=True) as ledger:
        await ledger.validate()
        assert len(await ledger.find(IDS)) == 20
        assert folder_content(path.parent) == before
        await ledger.finish_job()
    assert company_of(path) == COMPANY
    assert folder_content(path.parent) == before


async def test_a_dry_run_reads_beside_a_run_at_work_and_sees_what_it_committed(path: Path) -> None:
    async with opened(path) as working:
        await working.record(entries(5))
        async with opened(path, dry_run=True) as ledger:
            assert len(await ledger.find(IDS)) == 5
            await working.record(entries(5, first=6))
            assert len(await ledger.find(IDS)) == 10


async def test_a_run_that_begins_and_ends_meanwhile_is_noticed(path: Path) -> None:
    async with opened(path, dry_run=True) as ledger:
        assert await ledger.find(IDS) == {}
        async with opened(path) as working:
            await working.record(entries(5))
            assert len(await ledger.find(IDS)) == 5
    async with opened(path, dry_run=True) as ledger:
        assert len(await ledger.find(IDS)) == 5
        async with opened(path) as working:
            await working.record(entries(5, first=6))
        assert len(await ledger.find(IDS)) == 10


async def killed_run(path: Path, scene: Path, keep: tuple[str, ...] = ("", "-wal", "-shm")) -> None:
    """Put under `path` the files as a killed run leaves them: what it recorded stands in the log alone."""
    async with opened(scene) as working:
        await working.record(entries(5))
        for suffix in keep:
            shutil.copyfile(f"{scene}{suffix}", f"{path}{suffix}")
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as without_the_log:
        assert without_the_log.execute("SELECT name FROM sqlite_schema").fetchall() == []


async def test_the_log_of_a_killed_run_is_read_and_kept(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    await killed_run(path, tmp_path_factory.mktemp("scene") / "books.sqlite")
    before = folder_content(path.parent)
    async with opened(path, dry_run=True) as ledger:
        assert len(await ledger.find(IDS)) == 5
    assert company_of(path) == COMPANY
    after = folder_content(path.parent)
    before.pop("books.sqlite-shm")
    after.pop("books.sqlite-shm")  # SQLite's own index of the log, remade by whoever reads it next
    assert after == before


async def test_a_log_without_its_index_is_read_from_a_copy(
    path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await killed_run(path, tmp_path_factory.mktemp("scene") / "books.sqlite", keep=("", "-wal"))
    before = folder_content(path.parent)
    async with opened(path, dry_run=True) as ledger:
        assert len(await ledger.find(IDS)) == 5
        await ledger.validate()
    assert company_of(path) == COMPANY
    assert folder_content(path.parent) == before


async def test_an_interrupted_rollback_is_read_as_it_was_before(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record(entries(5))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        other.execute("PRAGMA cache_size = 1")
        other.execute("BEGIN")
        other.executemany(
            "INSERT INTO account (code, name, kind) VALUES (?, 'x', 'asset')", [(n,) for n in range(5000)]
        )
        stopped = with_suffixes(path, "", "-journal")
        other.execute("ROLLBACK")
    put(stopped)
    before = folder_content(path.parent)

    async with opened(path, dry_run=True) as ledger:
        assert len(await ledger.find(IDS)) == 5
    assert folder_content(path.parent) == before
    async with opened(path) as ledger:
        assert len(await ledger.find(IDS)) == 5
    assert rows(path, "SELECT count(*) FROM account") == [(3,)]
