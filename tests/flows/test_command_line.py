"""`python -m flows.export` as its users run it: real processes, a real Prefect server, a sandbox over HTTP."""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from tests.support.exporting import Office, office
from tests.support.processes import PrefectServer, until

GET_DATA = "GET /v3/export-items"
COMMAND = ("-m", "flows.export")


class Shell:
    """Runs the command line in a folder of its own, against one sandbox and one Prefect server."""

    def __init__(self, office: Office, server: PrefectServer, folder: Path) -> None:
        self.office = office
        self.folder = folder
        self.prefix: list[str] = []
        self.environment = {
            **server.environment,
            "PREFECT_HOME": str(folder / "prefect"),
            "PLEO_BASE_URL": office.base_url,
            "PLEO_API_KEY": office.api_key,
        }

    def run(
        self, *arguments: str, command: Sequence[str] = COMMAND, **environment: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; an environment variable of None is unset."""
        process = self.start(*arguments, command=command, **environment)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(
        self, *arguments: str, command: Sequence[str] = COMMAND, **environment: str | None
    ) -> subprocess.Popen[str]:
        """Start a run in a process group of its own."""
        given = {**self.environment, **environment}
        return subprocess.Popen(
            [*self.prefix, sys.executable, *command, *arguments],
            cwd=self.folder,
            env={name: value for name, value in given.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit status and JSON document of a run."""
        done = self.run("--json", *arguments)
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document


@pytest.fixture
def shell(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Shell]:
    with office(tmp_path) as at_work:
        yield Shell(at_work, prefect_server, tmp_path)


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


def test_a_person_sees_totals_outcome_and_every_failure_as_plain_text(shell: Shell) -> None:
    shell.office.sandbox.add_job(items=80, seed=7)
    done = shell.run()
    assert done.returncode == 3
    assert "completed with errors" in done.stdout
    assert "74 booked, 6 failed" in done.stdout
    assert done.stdout.count("  failed ") == 6
    assert "as in the books" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_the_books_are_readable_by_their_owner_alone(shell: Shell) -> None:
    shell.office.sandbox.add_job(items=5, failing=False)
    assert shell.run().returncode == 0
    for name in ("books.sqlite", "books.beancount"):
        assert (shell.folder / name).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {"PLEO_API_KEY": None}, "no Pleo credentials: set PLEO_API_KEY"),
        ([], {"PLEO_ACCESS_TOKEN": "both"}, "both set"),
        ([], {"PLEO_BASE_URL": "http://pleo.example"}, "PLEO_BASE_URL: plain http"),
        ([], {"PLEO_BASE_URL": "not a url"}, "PLEO_BASE_URL: not a URL"),
        (["--company-id", "acme"], {}, "--company-id: 'acme' is not a UUID"),
        ([], {"PLEO_COMPANY_ID": "acme"}, "PLEO_COMPANY_ID: 'acme' is not a UUID"),
        (["--job-id", "1"], {}, "--job-id: '1' is not a UUID"),
        (["--erp", "books"], {}, "--erp takes TYPE/NAME"),
        (["--settings", "none.toml"], {}, "none.toml: No such file"),
        (["--erp", "ledger/books", "--settings", "s.toml"], {}, "--settings is for the embedded ledger"),
        (["--surprise"], {}, "unrecognized arguments: --surprise"),
        (["--sandbox", "--pleo", "x"], {}, "--sandbox"),
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
    with sqlite3.connect(shell.folder / "acme.sqlite") as books:
        assert books.execute("SELECT DISTINCT state FROM journal").fetchall() == [("posted",)]
        assert books.execute("SELECT count(*) FROM journal WHERE account = '2920'").fetchone()[0] > 0
    books.close()


def test_a_wrong_key_is_one_request_one_line_and_never_shown(shell: Shell) -> None:
    done = shell.run(PLEO_API_KEY="hunter2-secret")
    assert done.returncode == 2
    assert "HTTP 401" in _one_line(done.stderr)
    assert "hunter2" not in done.stderr
    assert shell.office.sandbox.received().total == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pleo", "no-such-block"], "no-such-block"),
        (["--erp", "ledger/no-such-block"], "no-such-block"),
        (["--erp", "no-such-type/books"], "no-such-type"),
        (["--job-id", "00000000-0000-4000-8000-000000000000"], "EXPORT_NOT_FOUND"),
        (["--company-id", "99999999-9999-4999-8999-999999999999"], "403"),
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
        "export.run_export = broken\n"
        "sys.exit(export.main([]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shell.folder, env=shell.environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the run could not be carried out" in done.stderr
    assert "Traceback" in done.stderr
    assert "unforeseen" in done.stderr


def test_a_ledger_that_is_none_or_another_companys_is_refused_before_the_job_is_touched(shell: Shell) -> None:
    job_id = shell.office.sandbox.add_job(items=5, failing=False)
    (shell.folder / "letter.txt").write_text("Dear auditor, this is a letter and certainly no database.\n" * 40)
    done = shell.run("--ledger", "letter.txt")
    assert done.returncode == 2
    assert "letter.txt" in _one_line(done.stderr)
    with sqlite3.connect(shell.folder / "held.sqlite", isolation_level=None) as other:
        other.execute("CREATE TABLE t(x)")
        other.execute("BEGIN EXCLUSIVE")
        held = shell.run("--ledger", "held.sqlite")
    other.close()
    assert held.returncode == 2
    assert "held.sqlite" in _one_line(held.stderr)
    assert shell.office.sandbox.job(job_id).status == "pending"


def test_nothing_to_do_and_a_job_of_no_items_are_success(shell: Shell) -> None:
    idle = shell.run()
    assert (idle.returncode, _one_line(idle.stdout)) == (0, "nothing to do: no export job is waiting")
    shell.office.sandbox.add_job(items=0)
    status, document = shell.json()
    assert (status, document["jobs"][0]["event"]) == (0, "completed")


def test_a_second_runner_that_finds_the_first_at_work_ends_with_success_and_a_line(shell: Shell) -> None:
    shell.office.sandbox.add_job(items=400, failing=False)
    shell.office.sandbox.inject("status", GET_DATA, retry_after="4")
    first = shell.start("--json")
    until(lambda: GET_DATA in shell.office.sandbox.received().by_call, within_s=60, otherwise="the first never came")
    second = shell.run()
    assert second.returncode == 0
    assert "books.sqlite" in _one_line(second.stdout)
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0
    assert json.loads(out)["jobs"][0]["successful"] == 400


def _recorded(books: Path) -> int:
    try:
        with sqlite3.connect(f"file:{books}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("SELECT count(DISTINCT accounting_entry_id) FROM journal").fetchone()
            return int(count)
    except sqlite3.Error:
        return 0


def test_kill_9_while_pages_are_recorded_and_the_same_command_again_completes_the_job(shell: Shell) -> None:
    job_id = shell.office.sandbox.add_job(items=1500, failing=False)
    killed = shell.start("--json")
    until(lambda: _recorded(shell.office.books) >= 300, within_s=60, otherwise="nothing was recorded")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    stored = list((shell.folder / "prefect").rglob("pleo-export-pages/*/*"))
    assert 3 <= len(stored) <= 15
    assert all(path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0 for path in stored)
    assert all(b"sandbox-key" not in path.read_bytes() for path in stored)
    before = shell.office.entries()
    assert 300 <= before < 1500
    status, document = shell.json()
    (job,) = document["jobs"]
    assert (status, job["event"]) == (0, "completed")
    assert job["successful"] + job["already_final"] == 1500
    assert shell.office.entries() == 1500
    assert shell.office.sandbox.received().by_call[GET_DATA] in (15, 16)  # one was perhaps under way
    assert [event.name for event in shell.office.sandbox.received().events] == ["started", "completed"]
    assert all(item.updates == 1 for item in shell.office.sandbox.items(job_id))
    assert not list((shell.folder / "prefect").rglob("pleo-export-pages/*/*"))


def test_a_stored_page_that_was_cut_off_by_the_kill_is_fetched_again(shell: Shell) -> None:
    shell.office.sandbox.add_job(items=300, failing=False)
    shell.office.sandbox.inject("status", "PUT /v3/export-jobs/{jobId}/items", retry_after="30")
    killed = shell.start("--json")
    until(lambda: _recorded(shell.office.books) >= 300, within_s=60, otherwise="not all was recorded")
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    pages = sorted((shell.folder / "prefect").rglob("pleo-export-pages/*/*"))
    assert len(pages) == 3
    pages[1].write_bytes(pages[1].read_bytes()[:1000])
    status, _ = shell.json()
    assert status == 0
    assert shell.office.entries() == 300
    assert shell.office.sandbox.received().by_call[GET_DATA] == 4


@pytest.mark.parametrize(("signum", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reports_what_is_recorded_and_leaves_the_job_resumable(
    shell: Shell, signum: signal.Signals, expected: int
) -> None:
    job_id = shell.office.sandbox.add_job(items=1500, failing=False)
    process = shell.start("--json")
    until(lambda: _recorded(shell.office.books) >= 200, within_s=60, otherwise="nothing was recorded")
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


def test_no_secret_reaches_output_files_or_the_servers_database(shell: Shell, prefect_server: PrefectServer) -> None:
    canary = "canary-key-8c1f"
    shell.office.sandbox.add_credential(canary, [SANDBOX_COMPANY_ID])
    shell.office.sandbox.add_job(items=80, seed=9)
    done = shell.run("--json", PLEO_API_KEY=canary, PREFECT_LOGGING_LEVEL="DEBUG")
    assert done.returncode == 3
    written = [path for path in shell.folder.rglob("*") if path.is_file()]
    server = [path for path in Path(prefect_server.environment["PREFECT_HOME"]).rglob("*") if path.is_file()]
    assert written
    assert server
    encoded = base64.b64encode(f"{canary}:".encode())
    for text in (done.stdout.encode(), done.stderr.encode(), *(path.read_bytes() for path in written + server)):
        assert canary.encode() not in text
        assert encoded not in text
