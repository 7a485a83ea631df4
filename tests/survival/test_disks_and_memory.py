"""The whole command while a disk, a lock, handles or memory are lacking: a clear line, and the next run goes on."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.processes import PrefectServer
from tests.survival.after_trouble import JobShell, Result, left_over, shell_with_job, undisturbed, whole_beancount
from tests.survival.small_disks import fill, make_read_only, mend, small_disk

pytestmark = pytest.mark.slow
FULL = "the disk is full; free some space and run again"


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def troubled(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[JobShell]:
    with shell_with_job(tmp_path / "branch", prefect_server) as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 8) as made:
        yield made


def _no_traceback(troubled: JobShell) -> None:
    for done in troubled.runs:
        assert "Traceback" not in done.stdout + done.stderr, done.stderr


def _ends_well(troubled: JobShell, wanted: Result, books: Path | None = None, **environment: str) -> None:
    """Nothing is half written; one more run, and all is as if nothing had been wrong."""
    troubled.run(*(["--ledger", str(books)] if books else []), **environment)
    assert troubled.result(books) == wanted
    assert left_over(troubled.folder) == []
    assert whole_beancount((books or troubled.office.books).with_suffix(".beancount"))
    _no_traceback(troubled)


def test_a_disk_without_room_for_the_books_is_one_line_and_status_2(
    troubled: JobShell, wanted: Result, disk: Path
) -> None:
    fill(disk)
    books = disk / "books.sqlite"
    done = troubled.run("--ledger", str(books))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{books} cannot be written: {FULL}\n")
    assert troubled.office.sandbox.job(troubled.job_id).status == "pending"
    mend(disk)
    _ends_well(troubled, wanted, books)


def test_a_read_only_disk_for_the_books_is_one_line_and_status_2(
    troubled: JobShell, wanted: Result, disk: Path
) -> None:
    make_read_only(disk)
    books = disk / "books.sqlite"
    done = troubled.run("--ledger", str(books))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{books} cannot be written: the file or its folder is read-only")
    assert troubled.office.sandbox.job(troubled.job_id).status == "pending"
    mend(disk)
    _ends_well(troubled, wanted, books)


@pytest.mark.parametrize("room", [330_000, 600_000])  # empty books and their side files have 251,000
def test_a_disk_that_fills_up_under_the_books_leaves_the_job_for_the_next_run(
    troubled: JobShell, wanted: Result, disk: Path, room: int
) -> None:
    fill(disk, room)
    books = disk / "books.sqlite"
    done = troubled.run("--ledger", str(books))
    assert done.returncode == 1
    assert FULL in done.stdout
    assert troubled.office.sandbox.job(troubled.job_id).status == "in_progress"
    mend(disk)
    _ends_well(troubled, wanted, books)


@pytest.mark.parametrize("trouble", ["full", "fills", "read-only"])
def test_no_room_for_stored_pages_is_a_warning_and_the_job_is_done_without(
    troubled: JobShell, wanted: Result, disk: Path, trouble: str
) -> None:
    if trouble == "read-only":
        make_read_only(disk)
    else:
        fill(disk, 0 if trouble == "full" else 50_000)
    done = troubled.run(PREFECT_RESULTS_LOCAL_STORAGE_PATH=str(disk / "storage"))
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert f"pages cannot be kept in {disk}/storage" in line
    assert troubled.result() == wanted
    notes = "pleo-export-runs"  # an empty one of each run stays until the next
    assert not [
        path for path in disk.rglob("*") if path.is_file() and path.name != "filler" and notes not in path.parts
    ]
    _no_traceback(troubled)


@pytest.mark.parametrize("trouble", ["full", "fills", "read-only"])
def test_no_room_for_temporary_files_is_told_or_does_not_matter(
    troubled: JobShell, wanted: Result, disk: Path, trouble: str
) -> None:
    if trouble == "read-only":
        make_read_only(disk)
    else:
        fill(disk, 0 if trouble == "full" else 12_000)
    done = troubled.run(TMPDIR=str(disk))
    assert done.returncode == (1 if trouble == "fills" else 3), done.stderr  # another folder takes its place
    if trouble == "fills":
        assert "receipts cannot be kept on their way: No space left on device" in done.stdout
    assert left_over(disk) == []
    mend(disk)
    _ends_well(troubled, wanted, TMPDIR=str(disk))


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_without_room_for_prefects_own_files_ends_in_a_line_before_a_job_is_touched(
    troubled: JobShell, wanted: Result, disk: Path, trouble: str
) -> None:
    make_read_only(disk) if trouble == "read-only" else fill(disk)
    done = troubled.run(PREFECT_HOME=str(disk), PREFECT_API_URL=None)
    assert done.returncode == 2
    why = {"full": "database or disk is full", "read-only": f"Prefect's home folder {disk}: Read-only file system"}
    (line,) = done.stderr.splitlines()
    assert why[trouble] in line
    assert troubled.office.sandbox.job(troubled.job_id).status == "pending"
    _ends_well(troubled, wanted)


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("after", [">/dev/full", "| true; exit ${PIPESTATUS[0]}"], ids=["full", "closed"])
def test_a_report_that_nobody_takes_is_one_line_and_status_1(
    troubled: JobShell, wanted: Result, after: str, arguments: tuple[str, ...]
) -> None:
    done = troubled.run(*arguments, after=after)
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("the report could not be written: ")
    assert troubled.result() == wanted
    _no_traceback(troubled)


@pytest.mark.parametrize(
    ("after", "status"),
    [(">&-", 3), ("2>&-", 3), ("2>/dev/full", 3), ("--json >&- 2>&- <&-", 3), (">/dev/full 2>/dev/full", 1)],
)
def test_streams_that_are_closed_or_full_change_nothing_in_the_books(
    troubled: JobShell, wanted: Result, after: str, status: int
) -> None:
    done = troubled.run(after=after)
    assert done.returncode == status
    assert troubled.result() == wanted


@pytest.mark.parametrize("handles", [14, 16, 18, 20, 22, 24, 28])
def test_a_lack_of_file_handles_is_told_and_the_next_run_goes_on(
    troubled: JobShell, wanted: Result, handles: int
) -> None:
    done = troubled.run(before=f"ulimit -n {handles};")
    assert done.returncode in {1, 2, 3}
    if done.returncode != 3:
        said = done.stdout + done.stderr
        # Where it is Prefect's client that lacks one, it tells no more than that it cannot connect.
        assert "oo many" in said or "All connection attempts failed" in said
    troubled.runs.clear()  # Prefect's own threads, and Python without a handle to read its modules by, may complain
    _ends_well(troubled, wanted)


@pytest.mark.parametrize("kilobytes", [380_000, 430_000, 480_000, 530_000])
def test_a_lack_of_memory_harms_no_books(troubled: JobShell, wanted: Result, kilobytes: int) -> None:
    with suppress(subprocess.TimeoutExpired):  # killed where Python itself lacks the memory to end, as people would
        troubled.run(before=f"ulimit -v {kilobytes};", longest_s=90.0)
    troubled.runs.clear()
    _ends_well(troubled, wanted)


def test_books_that_another_program_locks_are_waited_for_a_while_and_then_told(
    troubled: JobShell, wanted: Result
) -> None:
    troubled.run("--dry-run")
    with closing(sqlite3.connect(troubled.office.books, isolation_level=None)) as other:
        other.execute("CREATE TABLE IF NOT EXISTS t(x)")
        other.execute("BEGIN EXCLUSIVE")
        done = troubled.run()
        other.execute("ROLLBACK")
        other.execute("DROP TABLE t")
    assert done.returncode == 2
    assert "books.sqlite" in done.stderr
    assert troubled.office.sandbox.job(troubled.job_id).status == "pending"
    troubled.office.books.unlink()
    _ends_well(troubled, wanted)


def test_books_that_break_are_one_line_until_they_are_restored(troubled: JobShell, wanted: Result) -> None:
    troubled.office.sandbox.inject("status", "PUT /v3/export-jobs/{jobId}/items", status=403)
    assert troubled.run().returncode == 1
    books = troubled.office.books
    backup = books.read_bytes()
    books.write_bytes(backup[: len(backup) // 2 // 4096 * 4096])
    done = troubled.run("--json")
    assert done.returncode == 2
    assert done.stderr == f"{books} is damaged; restore it from a backup or give another --ledger file\n"
    assert json.loads(done.stdout)["jobs"] == []
    books.write_bytes(backup)
    _ends_well(troubled, wanted)
