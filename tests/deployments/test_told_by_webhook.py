"""From a job that is made in Pleo to its books: Pleo's delivery, the webhook, the README's deployment, a worker."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.test_scheduled_export import entries_in
from tests.support.installing import Installation, run
from tests.support.processes import ROOT, free_port, running, until

REFUSED: tuple[dict[str, Any], ...] = (
    {"signature": "forged"},
    {"signature": "altered"},
    {"signature": "missing"},
    {"age_s": 600},
)


@pytest.mark.slow
def test_a_job_that_pleo_tells_of_is_exported_by_the_deployment_for_it_and_what_is_not_pleos_is_refused(
    installation: Installation, tmp_path: Path
) -> None:
    port, log, pleo = free_port(), tmp_path / "webhook.log", installation.pleo
    credentials = {"PLEO_API_KEY": "sandbox-key", "PLEO_BASE_URL": str(pleo.base_url)}
    subscribe = ["-m", "flows.webhook", "subscribe", f"http://127.0.0.1:{port}/pleo", "--secret-file"]
    run([*subscribe, str(tmp_path / "secret")], {**installation.environment, **credentials})
    secret = (tmp_path / "secret").read_text()
    environment = {**installation.environment, "PREFECT_WORKER_QUERY_SECONDS": "1", "PLEO_WEBHOOK_SECRET": secret}
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pleo-export"]
    webhook = [sys.executable, "-m", "flows.webhook", "--port", str(port)]

    def delivered() -> list[tuple[str, list[int]]]:
        """The state of each message, and the statuses of its answers."""
        found = pleo.get("/sandbox/deliveries").json()["deliveries"]
        return [(one["state"], [attempt["status"] for attempt in one["attempts"]]) for one in found]

    with (
        running(webhook, environment=environment, log=log, cwd=ROOT),
        running(worker, environment=environment, log=tmp_path / "worker.log"),
    ):
        until(lambda: "listening" in log.read_text(), within_s=60, otherwise="the webhook did not start")
        assert "Prefect does not answer" not in log.read_text()
        pleo.post("/sandbox/deliveries", json={"retry_waits_s": [0.5] * 20})
        for manner in REFUSED:
            pleo.post("/sandbox/deliveries", json={**manner, "times": 1}).raise_for_status()
            told = pleo.post("/sandbox/jobs", json={"items": 1, "failing": False}).json()
            until(lambda: all(state == "given up" for state, _ in delivered()), within_s=20)
            pleo.post(f"/sandbox/jobs/{told['job_id']}/deliver", json=manner).raise_for_status()
        until(lambda: delivered() == [("given up", [401])] * 2 * len(REFUSED), within_s=20)
        assert installation.ask("flow_runs/filter", {"flow_runs": {"tags": {"all_": ["webhook"]}}}) == []

        pleo.post("/sandbox/deliveries", json={"times": 1, "copies": 2, "layout": "payload"}).raise_for_status()
        job_id = pleo.post("/sandbox/jobs", json={"items": 60, "seed": 7}).json()["job_id"]
        until(lambda: delivered()[-1][1].count(202) == 2, within_s=20, otherwise="the job was not told of twice")
        ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        def runs() -> list[dict[str, str]]:
            question = {"flow_runs": {"tags": {"all_": ["webhook"]}}}
            found: list[dict[str, str]] = installation.ask("flow_runs/filter", question)
            return found if found and all(run["state_type"] in ended for run in found) else []

        (made,) = until(runs, within_s=120, every_s=0.5, otherwise="the run did not end")
    assert f"job:{job_id}" in made["tags"]
    assert made["state_name"] == "CompletedWithErrors", (tmp_path / "worker.log").read_text()
    outcome = pleo.get(f"/sandbox/jobs/{job_id}").json()
    assert outcome["job"]["status"] == "completed_with_errors"
    assert entries_in(installation.books) == outcome["outcome"]["successful"]
    assert f"job {job_id} of company" in log.read_text()
