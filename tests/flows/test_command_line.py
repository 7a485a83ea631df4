"""`python -m flows.export` as its users run it: real processes, a real Prefect server, a sandbox over HTTP."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.choice import slow
from tests.support.command_line import Shell
from tests.support.processes import PrefectServer, until

GET_DATA = "GET /v3/export-items"
PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"


def _one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


def test_the_json_document_has_the_documented_keys_and_nothing_else_is_on_standard_output(shell: Shell) -> None:
    job_id = shell.office.sandbox.add_job(items=80, seed=7)
    status, document = shell.json()
    assert status == 3
    assert list(document) == ["jobs", "pleo_requests", "seconds"]
    (job,) = document["jobs"]
    assert list(job) == [
        "job_id", "company_id", "event", "successful", "failed", "already_final", "totals", "failures",
    ]  # fmt: skip
    assert (job["job_id"], job["event"], job["already_final"]) == (job_id, "completed_with_errors", 0)
    assert all(list(failure) == ["accounting_entry_id", "type", "reason"] for failure in job["failures"])
    assert len(job["failures"]) == job["failed"] == 6
    assert document["pleo_requests"] == shell.office.sandbox.received().total
    expected: Counter[str] = Counter()
    for item in shell.office.sandbox.items(job_id):
        if item.status == "successful":
            money = shell.office.sandbox.export_item(item.accounting_entry_id)["amount"]["inWalletCurrency"]
            expected[money["currency"]] += money["value"]
    assert job["totals"] == {currency: f"{minor / 100:.2f}" for currency, minor in sorted(expected.items())}


def test_a_person_sees_totals_outcome_and_failures_as_plain_text_and_nobody_else_reads_the_books(
    shell: Shell,
) -> None:
    shell.office.sandbox.add_job(items=80, seed=7)
    done = shell.run()
    assert done.returncode == 3
    assert "completed with errors" in done.stdout
    assert "74 booked, 6 failed" in done.stdout
    assert done.stdout.count("  failed ") == 6
    assert "as in the books" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""
    for name in ("books.sqlite", "books.beancount"):
        assert (shell.folder / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {"PLEO_API_KEY": None}, "no Pleo credentials: set PLEO_API_KEY"),
        (["--settings", "none.toml"], {}, "none.toml: No such file"),
        (["--surprise"], {}, "unrecognized arguments: --surprise"),
        *slow(
            ([], {"PLEO_ACCESS_TOKEN": "both"}, "both set"),
            ([], {"PLEO_BASE_URL": "http://pleo.example"}, "PLEO_BASE_URL: plain http"),
            ([], {"PLEO_BASE_URL": "not a url"}, "PLEO_BASE_URL: not a URL"),
            (["--company-id", "acme"], {}, "--company-id: 'acme' is not a UUID"),
            ([], {"PLEO_COMPANY_ID": "acme"}, "PLEO_COMPANY_ID: 'acme' is not a UUID"),
            (["--job-id", "1"], {}, "--job-id: '1' is not a UUID"),
            (["--erp", "books"], {}, "--erp takes TYPE/NAME"),
            (["--erp", "ledger/books", "--settings", "s.toml"], {}, "--settings is for the embedded ledger"),
            (["--sandbox", "--pleo", "x"], {}, "--sandbox"),
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2_before_anybody_is_asked(
    shell: Shell, arguments: list[str], environment: dict[str, str | None], said: str
) -> None:
    done = shell.run(*arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in _one_line(done.stderr)
    assert shell.office.sandbox.received().total == 0


def test_a_settings_file_says_where_the_books_are_and_how_they_are_kept(shell: Shell) -> None:
    shell.office.sandbox.add_job(items=40, failing=False)
    (shell.folder / "acme.toml").write_text(
        'path = "acme.sqlite"\nposting = "posted"\nout_of_pocket_account = "2920"\n'
    )
    done = shell.run("--settings", "acme.toml")
    assert done.returncode == 0
    assert "acme.sqlite" in done.stdout
    with closing(sqlite3.connect(shell.folder / "acme.sqlite")) as books:
        assert books.execute("SELECT DISTINCT state FROM journal").fetchall() == [("posted",)]
        assert books.execute("SELECT count(*) FROM journal WHERE account = '2920'").fetchone()[0] > 0


def test_a_wrong_key_is_one_request_one_line_and_never_shown(shell: Shell) -> None:
    done = shell.run(PLEO_API_KEY="hunter2-secret")
    assert done.returncode == 2
    assert "HTTP 401" in _one_line(done.stderr)
    assert "hunter2" not in done.stderr
    assert shell.office.sandbox.received().total == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--erp", "ledger/no-such-block"], "no-such-block"),
        (["--job-id", "00000000-0000-4000-8000-000000000000"], "EXPORT_NOT_FOUND"),
        *slow(
            (["--pleo", "no-such-block"], "no-such-block"),
            (["--erp", "no-such-type/books"], "no-such-type"),
            (["--company-id", "99999999-9999-4999-8999-999999999999"], "403"),
        ),
    ],
)
def test_what_does_not_exist_is_one_line_and_status_2(shell: Shell, arguments: list[str], said: str) -> None:
    done = shell.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in _one_line(done.stderr)


def test_a_base_url_that_is_not_pleo_is_one_request_one_line_and_status_2(
    shell: Shell, prefect_server: PrefectServer
) -> None:
    done = shell.run("--json", PLEO_BASE_URL=prefect_server.api_url)
    assert done.returncode == 2
    assert "does not answer as Pleo does" in _one_line(done.stderr)
    assert json.loads(done.stdout)["pleo_requests"] == 1


def test_something_unforeseen_in_the_flow_itself_is_status_1_with_its_cause_in_the_log(shell: Shell) -> None:
    code = (
        "import sys\n"
        "from flows import export\n"
        "async def broken(*_, **__): raise ZeroDivisionError('unforeseen')\n"
        "export.export_jobs = broken\n"
        "sys.exit(export.main([]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shell.folder, env=shell.environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the run could not be carried out" in done.stderr
    assert "Traceback" in done.stderr
    assert "unforeseen" in done.stderr


def test_a_ledger_that_is_none_is_refused_before_the_job_is_touched(shell: Shell) -> None:
    job_id = shell.office.sandbox.add_job(items=5, failing=False)
    (shell.folder / "letter.txt").write_text("Dear auditor, this is a letter and certainly no database.\n" * 40)
    done = shell.run("--ledger", "letter.txt")
    assert done.returncode == 2
    assert "letter.txt" in _one_line(done.stderr)
    assert shell.office.sandbox.job(job_id).status == "pending"


def _recorded(books: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{books}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(DISTINCT accounting_entry_id) FROM journal").fetchone()
            return int(count)
    except sqlite3.Error:
        return 0


def _stored(shell: Shell) -> list[Path]:
    return sorted((shell.folder / "prefect").rglob("pleo-export-pages/*/*"))


def _stored_whole(shell: Shell) -> int:
    """How many stored pages are written to their end: Prefect writes them in place, so one may still be growing."""
    return sum(_is_whole(path) for path in _stored(shell))


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (ValueError, OSError):
        return False
    return True


def test_after_kill_9_the_same_command_completes_the_job_and_fetches_no_page_again_but_one_that_was_cut_off(
    shell: Shell,
) -> None:
    sandbox = shell.office.sandbox
    job_id = sandbox.add_job(items=600, failing=False)
    sandbox.inject("status", PUT_ITEMS, times=6, retry_after="60")  # holds the run up once it has recorded some
    killed = shell.start("--json")
    until(
        lambda: _recorded(shell.office.books) >= 100 and _stored_whole(shell) == sandbox.received().by_call[GET_DATA],
        within_s=60,
        otherwise="nothing was recorded",
    )
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    sandbox.clear_faults()
    pages = _stored(shell)
    assert len(pages) >= 3
    assert all(path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0 for path in pages)
    assert all(b"sandbox-key" not in path.read_bytes() for path in pages)
    assert 100 <= shell.office.entries() < 600
    pages[1].write_bytes(pages[1].read_bytes()[:1000])
    status, document = shell.json()
    (job,) = document["jobs"]
    assert (status, job["event"]) == (0, "completed")
    assert job["successful"] + job["already_final"] == 600
    assert shell.office.entries() == 600
    assert sandbox.received().by_call[GET_DATA] == 6 + 1
    assert [event.name for event in sandbox.received().events] == ["started", "completed"]
    assert all(item.updates == 1 for item in sandbox.items(job_id))
    assert not _stored(shell)


@pytest.mark.parametrize(("signum", "expected"), [(signal.SIGINT, 130), *slow((signal.SIGTERM, 143))])
def test_a_signal_reports_what_is_recorded_and_leaves_the_job_resumable(
    shell: Shell, signum: signal.Signals, expected: int
) -> None:
    job_id = shell.office.sandbox.add_job(items=1000, failing=False)
    process = shell.start("--json")
    until(lambda: _recorded(shell.office.books) >= 200, within_s=60, every_s=0.02, otherwise="nothing was recorded")
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == expected, err
    assert "Traceback" not in err
    (job,) = json.loads(out)["jobs"]
    assert job["event"] is None
    outcome = shell.office.sandbox.outcome(job_id)
    assert outcome.get("successful") == job["successful"] == shell.office.entries()
    assert shell.office.sandbox.job(job_id).status == "in_progress"
    status, document = shell.json()
    assert (status, document["jobs"][0]["already_final"]) == (0, job["successful"])


def test_a_signal_during_a_wait_ends_the_run_at_once(shell: Shell) -> None:
    shell.office.sandbox.add_job(items=5, failing=False)
    shell.office.sandbox.inject("status", "GET /v3/export-jobs", times=10, retry_after="50")
    process = shell.start("--json")
    until(lambda: shell.office.sandbox.received().total >= 1, within_s=60, otherwise="it never came")
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - asked < 30


_IN_A_THREAD = "threading.Thread(target=bytearray, args=(1 << 60,)).start()"
_IN_NOBODYS_NAME = "type('_', (), {'__del__': lambda self: bytearray(1 << 60)})()"


@pytest.mark.parametrize("dies", [_IN_A_THREAD, _IN_NOBODYS_NAME])
def test_what_dies_for_want_of_memory_ends_the_run_instead_of_leaving_it_to_wait_for_ever(dies: str) -> None:
    program = (
        "import threading\n"
        "from flows.cli import ending_without_memory\n"
        f"with ending_without_memory():\n    {dies}\n    threading.Event().wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        "there is not enough memory to go on; what is recorded stays, the next run takes up the rest\n"
    )
