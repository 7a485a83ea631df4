"""A run without anybody's Prefect server: how it ends on a signal, what it leaves, what is known of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.choice import slow
from tests.support.command_line import Shell
from tests.support.processes import until

PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"
ALONE: dict[str, str | None] = {"PREFECT_API_URL": None}
IN_TIME_S = 10.0


def _processes(shell: Shell) -> list[psutil.Process]:
    """Every process of this test's runs: they alone have its folder as Prefect's home."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PREFECT_HOME") == shell.environment["PREFECT_HOME"]:
                found.append(process)
    return found


def _servers(shell: Shell, run: subprocess.Popen[str]) -> list[psutil.Process]:
    return [process for process in _processes(shell) if process.pid != run.pid]


def _held_up(shell: Shell) -> subprocess.Popen[str]:
    """A run in the middle of its job, waiting for Pleo to take an update."""
    shell.office.sandbox.add_job(items=300, failing=False)
    shell.office.sandbox.inject("status", PUT_ITEMS, times=9, retry_after="50")
    run = shell.start("--json", **ALONE)
    until(lambda: PUT_ITEMS in shell.office.sandbox.received().by_call, within_s=90, otherwise="nothing was reported")
    return run


def _send(shell: Shell, run: subprocess.Popen[str], signum: signal.Signals, to: str) -> None:
    if to == "the group":  # a terminal's Ctrl-C, a shell that ends
        os.killpg(run.pid, signum)
        return
    if to == "the process and its group":  # timeout
        run.send_signal(signum)
        os.killpg(run.pid, signum)
        return
    for process in _processes(shell):  # systemd's stop
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


@pytest.fixture(autouse=True)
def _hung_up_on() -> Iterator[None]:
    """A program that is started where nobody can hang up on it (nohup) inherits that it does not hear of it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def _flow_runs(shell: Shell) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(Path(shell.environment["PREFECT_HOME"]) / "prefect.db")) as database:
        return database.execute("SELECT name, state_type FROM flow_run ORDER BY created").fetchall()


def _document(out: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.mark.parametrize(
    ("signum", "status", "to"),
    [
        (signal.SIGINT, 130, "the group"),
        *slow(
            (signal.SIGTERM, 143, "the group"),
            (signal.SIGHUP, 129, "the group"),
            (signal.SIGTERM, 143, "the process and its group"),
            (signal.SIGTERM, 143, "every process"),
        ),
    ],
)
def test_the_first_signal_brings_the_report_whoever_else_gets_it(
    shell: Shell, signum: signal.Signals, status: int, to: str
) -> None:
    run = _held_up(shell)
    asked = time.monotonic()
    _send(shell, run, signum, to)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, "Traceback" in err) == (status, False), err
    assert time.monotonic() - asked < IN_TIME_S
    (job,) = _document(out)["jobs"]
    assert (job["event"], "stopped by" in err) == (None, True)
    assert shell.office.entries() > 0
    assert _processes(shell) == []
    runs = _flow_runs(shell)  # as every later server on this home shows them
    assert len(runs) == 2
    assert all(state in {"FAILED", "CRASHED", "CANCELLED"} for _, state in runs)


@pytest.mark.parametrize(
    ("signum", "status", "after_s"),
    [
        (signal.SIGTERM, 143, 0.6),
        *slow(
            (signal.SIGINT, 130, 0.3), (signal.SIGINT, 130, 1.0), (signal.SIGHUP, 129, 2.0), (signal.SIGTERM, 143, 4.0)
        ),
    ],
)
def test_a_signal_while_everything_starts_is_no_different(
    shell: Shell, signum: signal.Signals, status: int, after_s: float
) -> None:
    shell.office.sandbox.add_job(items=3000, failing=False)  # so that a quick start is not the end already
    run = shell.start("--json", **ALONE)
    until(lambda: _servers(shell, run), within_s=30, every_s=0.02, otherwise="no server was begun")
    time.sleep(after_s)  # the moments of a start, which nothing outside tells
    asked = time.monotonic()
    os.killpg(run.pid, signum)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, "Traceback" in err) == (status, False), err
    assert time.monotonic() - asked < IN_TIME_S
    assert [job["event"] for job in _document(out)["jobs"]] in ([], [None])
    assert _processes(shell) == []


@pytest.mark.slow
def test_of_a_run_that_is_killed_nothing_stays(shell: Shell) -> None:
    run = _held_up(shell)
    assert _servers(shell, run)
    run.kill()
    run.communicate(timeout=30)
    until(lambda: not _processes(shell), within_s=IN_TIME_S, otherwise="the server did not end")


@pytest.mark.slow
def test_a_server_that_dies_under_a_run_is_started_again_and_knows_how_it_ended(shell: Shell) -> None:
    run = _held_up(shell)
    (server,) = _servers(shell, run)
    server.kill()
    shell.office.sandbox.clear_faults()
    os.killpg(run.pid, signal.SIGTERM)
    out, err = run.communicate(timeout=90)
    assert run.returncode == 143, err
    assert "is started again" in err
    assert len(_document(out)["jobs"]) == 1
    assert _processes(shell) == []
    assert all(state not in {"RUNNING", "PENDING"} for _, state in _flow_runs(shell))


@pytest.mark.slow
def test_a_server_that_dies_again_and_again_neither_hangs_the_run_nor_hides_its_report(shell: Shell) -> None:
    run = _held_up(shell)
    for _ in range(3):
        (server,) = until(lambda: _servers(shell, run), within_s=30)
        server.kill()
        server.wait(10)
    shell.office.sandbox.clear_faults()
    asked = time.monotonic()
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 143, err
    assert time.monotonic() - asked < 60
    assert "shows no more of it" in err
    assert len(_document(out)["jobs"]) == 1
    assert _processes(shell) == []


@pytest.mark.slow
def test_a_home_that_is_new_and_one_that_is_known_lead_to_the_same_history(shell: Shell) -> None:
    for number in (1, 2):
        shell.office.sandbox.add_job(items=20, seed=number, failing=False)
        done = shell.run("--json", **ALONE)
        assert (done.returncode, done.stderr) == (0, "")
    assert [state for _, state in _flow_runs(shell)] == ["COMPLETED"] * 4
    assert Path(shell.environment["PREFECT_HOME"], "prefect.db").stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(Path(shell.environment["PREFECT_HOME"]) / "prefect.db")) as database:
        (tasks,) = database.execute("SELECT count(*) FROM task_run").fetchone()
    assert tasks >= 2 * 8


@pytest.mark.slow
def test_a_server_that_a_profile_names_is_used_and_no_other_is_started(shell: Shell) -> None:
    home = Path(shell.environment["PREFECT_HOME"])
    home.mkdir()
    address = shell.environment["PREFECT_API_URL"]
    (home / "profiles.toml").write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{address}"\n')
    shell.office.sandbox.add_job(items=5, failing=False)
    done = shell.run(**ALONE)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (home / "prefect.db").exists()


@pytest.mark.slow
def test_no_server_and_none_allowed_is_one_line_and_status_2(shell: Shell) -> None:
    done = shell.run(PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="false", **ALONE)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "set PREFECT_API_URL" in line) == (2, True)
    assert shell.office.sandbox.received().total == 0


@pytest.mark.slow
def test_a_server_that_cannot_start_is_one_line_before_a_job_is_touched(shell: Shell) -> None:
    home = Path(shell.environment["PREFECT_HOME"])
    home.mkdir()
    (home / "prefect.db").write_bytes(b"this is no database " * 1000)
    done = shell.run(**ALONE)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "Prefect's server for this run did not start" in line
    assert "not a database" in line
    assert shell.office.sandbox.received().total == 0
    assert _processes(shell) == []
