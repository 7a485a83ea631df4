"""The automations of `deployments/automations.yaml` on a real server: each trouble is told once, to a webhook."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.command_line import Shell
from tests.support.exporting import Office
from tests.support.installing import asked
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import ROOT, PrefectServer, a_prefect_server, until

FILE = ROOT / "deployments" / "automations.yaml"
FAILED, NOT_FINISHED, NO_SIGN, LATE = (one["name"] for one in yaml.safe_load(FILE.read_text())["automations"])
SHORT_S = {NO_SIGN: 40, LATE: 15}


class Webhook:
    """Takes what is posted to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[dict[str, str]] = []

    def count(self, words: str) -> int:
        return sum(words in one["body"] for one in self.told)


@contextmanager
def _webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        taken = Webhook(f"http://127.0.0.1:{server.server_port}/alerts")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield taken
        server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server of its own, as its automations would hear of every other test."""
    with a_prefect_server(tmp_path_factory.mktemp("prefect")) as made:
        yield made


@pytest.fixture
def webhook(server: PrefectServer) -> Iterator[Webhook]:
    """A webhook, and a block of Prefect's that tells it."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with _webhook() as made, temporary_settings(updates={PREFECT_API_URL: server.api_url}):
        form = {"subject": "{{subject}}", "body": "{{body}}"}
        CustomWebhookNotificationBlock(name="alerts", url=made.address, json_data=form).save("alerts", overwrite=True)
        yield made


def _registered(server: PrefectServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "deployments/automations.py", *arguments]
    return subprocess.run(command, env=server.environment, cwd=ROOT, capture_output=True, text=True, timeout=120)


def _in_short_times(folder: Path) -> Path:
    """The automations, but those that wait for something wait for seconds."""
    document = yaml.safe_load(FILE.read_text())
    for one in document["automations"]:
        one["trigger"]["within"] = SHORT_S.get(one["name"], one["trigger"]["within"])
    file = folder / "automations.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def _runs(server: PrefectServer, **wanted: Any) -> list[dict[str, Any]]:
    answer = asked(
        lambda: httpx.post(f"{server.api_url}/flow_runs/filter", json={"flow_runs": wanted}, trust_env=False)
    )
    found: list[dict[str, Any]] = answer.json()
    return found


def _late_run(server: PrefectServer) -> None:
    """A run of a deployment that is due, and that no worker is there for."""
    ask = httpx.Client(base_url=server.api_url, trust_env=False)
    flow = asked(lambda: ask.post("/flows/", json={"name": "pleo-export"})).json()["id"]
    deployment = asked(lambda: ask.post("/deployments/", json={"name": "acme", "flow_id": flow})).json()["id"]
    due = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
    asked(lambda: ask.post(f"/deployments/{deployment}/create_flow_run", json={"state": state}))
    ask.close()


@pytest.mark.slow
def test_each_trouble_is_told_once_and_the_next_run_closes_the_one_that_was_killed(
    at_work: Office, server: PrefectServer, webhook: Webhook, tmp_path: Path
) -> None:
    done = _registered(server, "custom-webhook/alerts", "--file", str(_in_short_times(tmp_path)))
    assert done.stdout.splitlines() == [f"registered {name}" for name in (FAILED, NOT_FINISHED, NO_SIGN, LATE)], done
    again = _registered(server, "custom-webhook/alerts", "--file", str(tmp_path / "automations.yaml"))
    assert again.stdout.splitlines() == [f"replaced {name}" for name in (FAILED, NOT_FINISHED, NO_SIGN, LATE)]
    _late_run(server)
    shell = Shell(at_work, server, tmp_path)
    pleo = at_work.sandbox

    killed_job = pleo.add_job_of([an_item(n) for n in range(1, 151)])
    pleo.inject("status", "PUT /v3/export-jobs/{jobId}/items", times=6, skip=1, retry_after="60")
    killed = shell.start("--json", PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30")
    until(
        lambda: pleo.outcome(killed_job).get("successful") == 100, within_s=90, otherwise="the first batch did not come"
    )
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    pleo.clear_faults()
    until(
        lambda: webhook.count("to Prefect is gone"), within_s=120, every_s=0.5, otherwise="no alert of the killed run"
    )

    status, document = shell.json()
    assert (status, document["jobs"][0]["successful"], document["jobs"][0]["already_final"]) == (0, 50, 100)
    by_state = {run["state_name"]: run for run in _runs(server, tags={"all_": [f"job:{killed_job}"]})}
    assert set(by_state) == {"ClosedLater", "Completed"}
    assert "the whole job has 150 items: 150 successful, 0 failed" in by_state["Completed"]["state"]["message"]

    with_errors = pleo.add_job_of([an_item(1001), an_item(1002, type="unheard_of")])
    assert shell.run("--job-id", with_errors).returncode == 3
    bad = pleo.add_job_of([an_item(1003, type="unheard_of")])
    assert shell.run("--job-id", bad).returncode == 1

    def all_told() -> bool:
        return len(webhook.told) >= 4

    until(all_told, within_s=60, every_s=0.5, otherwise=f"not all alerts came: {webhook.told}")
    time.sleep(8)  # what comes twice comes by now: triggers are looked at every five seconds
    assert sorted(one["subject"] for one in webhook.told) == [
        "Pleo export: a job did not come to a good end",
        "Pleo export: a run gives no sign of life",
        "Pleo export: expenses failed",
        "Pleo export: no run for an hour",
    ], webhook.told
    assert webhook.count("1 booked, 1 failed") == 1
    assert webhook.count(f"job {bad[:8]} is Failed") == 1
    assert webhook.count("acme: runs are due") == 1
    assert _still_running(server) == 0

    removed = _registered(server, "--remove")
    assert len(removed.stdout.splitlines()) == 4


def _still_running(server: PrefectServer) -> int:
    """How many runs and tasks are shown as running although nobody is at work."""
    database = Path(server.environment["PREFECT_HOME"]) / "prefect.db"
    with closing(sqlite3.connect(database)) as connection:
        tables = ("flow_run", "task_run")
        count = "SELECT count(*) FROM {} WHERE state_type IN ('RUNNING', 'PENDING')"
        return sum(connection.execute(count.format(table)).fetchone()[0] for table in tables)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name the notification block, or say --remove"),
        (["alerts"], "alerts: a block is named as TYPE/NAME"),
        (["custom-webhook/none"], "no block custom-webhook/none is saved"),
        (["secret/hidden"], "secret/hidden is no notification block"),
        (["custom-webhook/alerts", "--file", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_a_mistake_in_registering_is_one_line(
    server: PrefectServer, webhook: Webhook, arguments: list[str], complaint: str
) -> None:
    from prefect.blocks.system import Secret

    Secret(value="x").save("hidden", overwrite=True)
    done = _registered(server, *arguments)
    assert done.returncode in (1, 2)
    (line,) = done.stderr.splitlines()
    assert complaint in line
