"""`--results` and `--report` on the command line: the files tell what the run did, and cost no job where they fail."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.flows.test_command_line import Shell
from tests.support.exporting import office
from tests.support.processes import PrefectServer, until


@pytest.fixture
def shell(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Shell]:
    with office(tmp_path) as at_work:
        at_work.sandbox.add_job(items=40, seed=7)
        yield Shell(at_work, prefect_server, tmp_path)


def test_the_files_tell_of_each_item_what_pleo_was_told_and_of_a_dry_run_what_it_would_be(shell: Shell) -> None:
    for dry_run in (["--dry-run"], []):
        status, document = shell.json("--results", "results.csv", "--report", "report.html", *dry_run)
        assert status == 3
        (job,) = document["jobs"]
        with (shell.folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert Counter(row["status"] for row in rows) == {"successful": job["successful"], "failed": job["failed"]}
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            if row["status"] == "successful":
                sums[row["currency"]] += Decimal(row["amount"])
        assert {currency: str(total) for currency, total in sums.items()} == job["totals"]
        failed = {row["accounting_entry_id"]: row["failure_reason"] for row in rows if row["status"] == "failed"}
        assert failed == {one["accounting_entry_id"]: one["reason"] for one in job["failures"]}
        page = (shell.folder / "report.html").read_text()
        assert all(id_ in page for id_ in failed)
        assert page.count('<tr class="entry">') == (job["successful"] if dry_run else 0)
        for name in ("results.csv", "report.html"):
            assert (shell.folder / name).stat().st_mode & 0o077 == 0
    told = {item.accounting_entry_id: item for item in shell.office.sandbox.items(job["job_id"])}
    assert {row["accounting_entry_id"]: (row["status"], row["external_id"]) for row in rows} == {
        id_: (item.status, item.external_id or "") for id_, item in told.items()
    }


def test_a_file_that_cannot_be_written_ends_the_run_before_anybody_is_asked(shell: Shell) -> None:
    done = shell.run("--results", "no/such/folder/results.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no/such/folder/results.csv: No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert shell.office.sandbox.received().total == 0


def test_a_file_that_cannot_be_written_at_the_end_is_told_and_what_was_done_stands(shell: Shell) -> None:
    (shell.folder / "gone").mkdir()
    process = shell.start("--json", "--results", "gone/results.csv")
    until(lambda: shell.office.sandbox.received().total, within_s=60, otherwise="nothing was asked")
    (shell.folder / "gone").rmdir()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "gone/results.csv could not be written: No such file or directory; what was done stands" in err
    assert '"event": "completed_with_errors"' in out
