"""Books whose file is damaged, page by page and at every write: refused in one line, or unharmed by what is booked."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from blocks.erp.base import Outcome
from blocks.erp.entries import Entry
from blocks.erp.ledger import Ledger
from flows.outcome import RunReport
from tests.support.choice import slow
from tests.support.exporting import Office, office
from tests.survival.after_trouble import SEED, left_over, whole_beancount
from tests.survival.small_disks import fill, mend, small_disk

PAGE = 4096
DAMAGED = "is damaged; restore it from a backup or give another --ledger file"


async def _first_job(at_work: Office) -> bytes:
    """Do one job; the bytes of the books then."""
    at_work.sandbox.add_job(items=60, seed=SEED)
    await at_work.export()
    with closing(sqlite3.connect(at_work.books)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    at_work.books.with_name("books.sqlite-wal").unlink(missing_ok=True)
    return at_work.books.read_bytes()


def _twice(books: Path) -> list[str]:
    """The expenses that stand twice, told without any index."""
    with closing(sqlite3.connect(books)) as connection:
        ids = [id_ for (id_,) in connection.execute("SELECT +accounting_entry_id FROM entry NOT INDEXED")]
    return [id_ for id_, count in Counter(ids).items() if count > 1]


def _refused(report: RunReport) -> bool:
    """Whether it was refused before any job was touched, in one line that names the file."""
    if report.exit_status != 2:
        return False
    assert report.jobs == []
    (line,) = report.lines
    assert "books.sqlite " in line
    return True


def _put(books: Path, content: bytes, log: bytes | None = None) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{books}{suffix}").unlink(missing_ok=True)
    books.write_bytes(content)
    if log is not None:
        books.with_name("books.sqlite-wal").write_bytes(log)


def _pages_of(books: Path) -> dict[int, str]:
    """What each page of the file is for, as the file says itself; several pages of one table or index one after the
    other."""
    with closing(sqlite3.connect(books)) as connection:
        return dict(connection.execute("SELECT rootpage, name FROM sqlite_master WHERE rootpage > 0"))


async def _damage(at_work: Office, whole: bytes, pages: Sequence[int], at: int, length: int) -> Counter[str]:
    """Flip bytes of each of these pages in turn, and run."""
    ends: Counter[str] = Counter()
    job_id = at_work.sandbox.add_job(items=5, seed=SEED + 1, failing=False)
    for page in pages:
        start = (page - 1) * PAGE + at
        flipped = bytes(byte ^ 0xFF for byte in whole[start : start + length])
        _put(at_work.books, whole[:start] + flipped + whole[start + length :])
        report = await at_work.export(job_id=job_id)
        if _refused(report):
            ends["refused"] += 1
            assert at_work.sandbox.job(job_id).status == "pending"
            continue
        ends["went on"] += 1
        assert not _twice(at_work.books), f"page {page}, byte {at}"
        assert report.exit_status in {0, 1, 3}, report.lines
        assert all("log has the cause" not in job.reason for job in report.jobs), report.jobs
        if at_work.sandbox.job(job_id).status == "in_progress":  # of which a company has one at a time
            at_work.sandbox.cancel(job_id)
        job_id = at_work.sandbox.add_job(items=5, seed=SEED + 1, failing=False)
    _put(at_work.books, whole)
    report = await at_work.export(job_id=job_id)
    assert (report.exit_status, report.jobs[0].successful) == (0, 5)
    return ends


async def test_an_index_of_expenses_that_is_damaged_is_refused_or_lets_nothing_in_twice(at_work: Office) -> None:
    whole = await _first_job(at_work)
    roots = _pages_of(at_work.books)
    index = [page for page, name in roots.items() if name == "entry_in_force"]
    assert index
    for at in (0, 8, 3000, 4000):
        ends = await _damage(at_work, whole, index, at, 16)
        assert ends["refused"] == len(index), at


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 3, 8, 12, 100, 1000, 2000, 3500, 4000, 4090])
async def test_every_page_with_flipped_bytes_is_refused_or_harms_no_promise(at_work: Office, at: int) -> None:
    whole = await _first_job(at_work)
    ends = await _damage(at_work, whole, range(1, len(whole) // PAGE + 1), at, min(16, PAGE - at))
    print(f"{at}: {dict(ends)}")
    if at == 0:  # what kind of page it is: nothing can be read of one that is of none
        assert ends["went on"] <= ends["refused"]


@pytest.mark.parametrize("length", [0, 10 * PAGE + 100, -1, *slow(50, 100, 1000, PAGE, -PAGE)])
async def test_a_file_that_was_cut_off_is_refused(at_work: Office, length: int) -> None:
    whole = await _first_job(at_work)
    job_id = at_work.sandbox.add_job(items=5, seed=SEED + 1, failing=False)
    _put(at_work.books, whole[:length] if length else b"\0" * len(whole))
    report = await at_work.export(job_id=job_id)
    assert _refused(report), report
    _put(at_work.books, whole)
    assert (await at_work.export(job_id=job_id)).exit_status == 0


@pytest.mark.parametrize("how", ["garbled", *slow("cut off", "empty", "of other books")])
async def test_a_write_ahead_log_that_is_garbled_is_read_as_far_as_it_holds(
    at_work: Office, tmp_path: Path, how: str
) -> None:
    """What it held beyond that is recorded again, as Pleo has not heard of it."""
    await _first_job(at_work)
    job_id = at_work.sandbox.add_job(items=60, seed=SEED + 1, failing=False)
    copy = tmp_path / "copy"

    class Killed(Ledger):
        async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
            await super().record(entries)
            copy.mkdir(exist_ok=True)
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{at_work.books}{suffix}", copy / f"books.sqlite{suffix}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await at_work.export(job_id=job_id, erp=Killed(at_work.books))
    log = (copy / "books.sqlite-wal").read_bytes()
    assert len(log) > 3 * PAGE
    middle = len(log) // 2
    damaged = {
        "garbled": log[:middle] + os.urandom(PAGE) + log[middle + PAGE :],
        "cut off": log[:middle],
        "empty": b"",
        "of other books": os.urandom(len(log)),
    }
    _put(at_work.books, (copy / "books.sqlite").read_bytes(), damaged[how])
    report = await at_work.export(job_id=job_id)
    assert report.exit_status == 0, report
    assert not _twice(at_work.books)
    assert at_work.entries() == 60 - 4 + 60
    with closing(sqlite3.connect(at_work.books)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("nth", [2, *slow(1, 3)])
async def test_books_that_break_in_the_midst_of_a_run_leave_the_job_for_the_next(at_work: Office, nth: int) -> None:
    whole = await _first_job(at_work)
    job_id = at_work.sandbox.add_job(items=130, seed=SEED + 1, failing=False)

    class Breaking(Ledger):
        calls = 0

        async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
            self.calls += 1
            if self.calls == nth:
                with at_work.books.open("r+b") as file:  # under the feet of SQLite, which has a part of it in its cache
                    file.seek(PAGE)
                    file.write(b"\xa5" * (len(whole) - PAGE))
            return await super().record(entries)

    report = await at_work.export(job_id=job_id, erp=Breaking(at_work.books))
    if report.exit_status == 1:
        (job,) = report.jobs
        assert DAMAGED in job.reason, job.reason
        assert at_work.sandbox.job(job_id).status == "in_progress"
    damaged = await at_work.export(job_id=job_id)
    assert damaged.exit_status in {0, 2} or DAMAGED in damaged.jobs[0].reason


async def test_a_disk_that_fills_up_at_some_write_leaves_the_books_whole(tmp_path: Path) -> None:
    await _filling_up(tmp_path, [40_000, 400_000])


@pytest.mark.slow
async def test_a_disk_that_fills_up_at_any_write_leaves_the_books_whole(tmp_path: Path) -> None:
    await _filling_up(tmp_path, range(0, 1_400_000, 24_576))


async def _filling_up(tmp_path: Path, rooms: Sequence[int]) -> None:
    endings: Counter[int] = Counter()
    for room in rooms:
        place = tmp_path / str(room)
        with small_disk(place / "disk", 8) as disk, office(disk) as at_work:
            job_id = at_work.sandbox.add_job(items=130, seed=SEED)
            fill(disk, room)
            report = await at_work.export()
            endings[report.exit_status] += 1
            assert all("log has the cause" not in job.reason for job in report.jobs), (room, report.jobs)
            assert (
                at_work.sandbox.job(job_id).status
                == {1: "in_progress", 2: "pending", 3: "completed_with_errors"}[report.exit_status]
            ), room
            if report.exit_status != 3:
                told = [*report.lines, *(job.reason for job in report.jobs)]
                assert any("the disk is full; free some space" in line for line in told), (room, told)
            mend(disk)
            await at_work.export()
            assert at_work.entries() == 130 - 7
            assert at_work.sandbox.outcome(job_id) == {"successful": 123, "failed": 7}
            assert left_over(disk) == []
            if any("books.beancount cannot be written" in note for job in report.jobs for note in job.notices):
                at_work.sandbox.add_job(items=1, seed=SEED + 1, failing=False)  # derived: it comes with the next job
                await at_work.export()
            assert whole_beancount(at_work.books.with_suffix(".beancount"))
            with closing(sqlite3.connect(at_work.books)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                named = {file for (file,) in connection.execute("SELECT file FROM attachment")}
            kept = {path.name for path in (disk / "books-receipts").iterdir()}
            assert kept == named, room
    assert sum(endings.values()) == len(rooms)
