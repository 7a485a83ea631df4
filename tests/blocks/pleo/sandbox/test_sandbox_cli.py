"""The command line, as its own process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.__main__ import main

ROOT = Path(__file__).parents[4]
COMMAND = [sys.executable, "-W", "error", "-m", "blocks.pleo.sandbox"]


@contextmanager
def running(*arguments):
    """A running sandbox and what it printed, line by line, up to the last line."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process, [process.stdout.readline().rstrip("\n") for _ in range(6)]
    finally:
        process.kill()
        process.communicate()


def value(lines, start):
    return next(line for line in lines if line.startswith(start)).removeprefix(start).strip()


def test_it_says_where_it_is_and_how_to_export_from_it_until_ctrl_c():
    with running("--items", "12", "--jobs", "2") as (process, lines):
        url = value(lines, "Pleo sandbox")
        key = value(lines, "API key")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert value(lines, "Control page") == f"{url}/"
        assert value(lines, "Jobs to export") == "2, with 24 items"
        assert value(lines, "OAuth client").startswith(
            "sandbox-client sandbox-client-secret, redirect to http://127.0.0.1:"
        )
        assert value(lines, "Export them") == f"PLEO_BASE_URL={url} PLEO_API_KEY={key} python -m flows.export"
        jobs = httpx.get(f"{url}/v3/export-jobs", auth=(key, "")).json()["data"]
        assert [(job["status"], job["numberOfItems"]) for job in jobs] == [("pending", 12)] * 2
        assert jobs[0]["createdAt"] > jobs[1]["createdAt"]
        assert "Export jobs" in httpx.get(f"{url}/").text
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=30), process.stderr.read()) == (0, "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_state_goes_on_where_it_was_even_after_a_kill(tmp_path, number, status):
    state = tmp_path / "state.sqlite"
    with running("--state", str(state), "--items", "5") as (process, lines):
        url, key = value(lines, "Pleo sandbox"), value(lines, "API key")
        job = httpx.get(f"{url}/v3/export-jobs", auth=(key, "")).json()["data"][0]
        event = {"jobId": job["id"], "event": "started"}
        assert httpx.post(f"{url}/v3/export-job-events", json=event, auth=(key, "")).status_code == 202
        process.send_signal(number)
        assert (process.wait(timeout=30), process.stderr.read()) == (status, "")
    with running("--state", str(state), "--items", "7", "--jobs", "3", "--seed", "5") as (_, lines):
        url = value(lines, "Pleo sandbox")
        jobs = httpx.get(f"{url}/v3/export-jobs", auth=(key, "")).json()["data"]
        assert [(found["id"], found["status"]) for found in jobs] == [(job["id"], "in_progress")]


def test_its_limits_can_be_set():
    arguments = ("--items", "30", "--page-cap", "7", "--no-rate-limit", "--expires-in", "900", "--failing", "0")
    with running(*arguments, "--vendor-based", "--strict", "--null-until-tried") as (_, lines):
        url, key = value(lines, "Pleo sandbox"), value(lines, "API key")
        with httpx.Client(base_url=url, auth=(key, "")) as api:
            assert api.get("/v3/export-jobs").status_code == 400
            mine = {"company_id": SANDBOX_COMPANY_ID}
            job = api.get("/v3/export-jobs", params=mine).json()["data"][0]
            assert (job["expiresIn"], job["vendorBasedBookkeeping"]) == (900, True)
            rows = api.get(f"/v3/export-jobs/{job['id']}/items").json()["data"]
            assert {row["status"] for row in rows} == {None}
            items = api.get("/v3/export-items", params={"job_id": job["id"], "limit": 100}).json()["data"]
            assert len(items) == 7
            assert {api.get("/v3/export-jobs", params=mine).status_code for _ in range(620)} == {200}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--items", "-1"], "whole number"),
        (["--items", "many"], "whole number"),
        (["--jobs", "1.5"], "whole number"),
        (["--port", "65536"], "must be a port"),
        (["--port", "http"], "must be a port"),
        (["--seed", "x"], "--seed"),
        (["--port", "0", "--page-cap", "0"], "1 or more"),
        (["--port", "0", "--company-id", "ACME"], "is not a company's id"),
        (["--port", "0", "--items", "3", "--failing", "4"], "cannot fail"),
        (["--unheard-of"], "unrecognized arguments"),
        (["--port", "0", "--state", "."], "cannot use the state file"),
        (["--port", "0", "--state", "pyproject.toml"], "not a sandbox state"),
        (["--port", "0", "--state", "missing/state.sqlite"], "cannot use the state file"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, reason, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = capsys.readouterr()
    assert (status, said.out, said.err.count("\n")) == (2, "", 1)
    assert reason in said.err


def test_a_port_in_use_is_one_line_and_status_2_of_the_process():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run([*COMMAND, "--port", str(port)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Address already in use" in result.stderr
