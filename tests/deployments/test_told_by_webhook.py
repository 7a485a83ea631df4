"""From a delivery that Pleo signs to a job that is exported: the webhook, the deployment of the README, a worker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.deployments.test_scheduled_export import entries_in
from tests.support.installing import Installation
from tests.support.processes import ROOT, free_port, running, until
from tests.support.webhook import SECRET, taken, told


@pytest.mark.slow
def test_a_job_that_pleo_tells_of_is_exported_by_the_deployment_for_it(
    installation: Installation, tmp_path: Path
) -> None:
    [job] = installation.pleo.get("/sandbox/jobs").json()["jobs"]
    port, log = free_port(), tmp_path / "webhook.log"
    environment = {**installation.environment, "PREFECT_WORKER_QUERY_SECONDS": "1", "PLEO_WEBHOOK_SECRET": SECRET}
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pleo-export"]
    webhook = [sys.executable, "-m", "flows.webhook", "--port", str(port)]
    with (
        running(webhook, environment=environment, log=log, cwd=ROOT),
        running(worker, environment=environment, log=tmp_path / "worker.log"),
    ):
        until(lambda: "listening" in log.read_text(), within_s=60, otherwise="the webhook did not start")
        assert "Prefect does not answer" not in log.read_text()
        for _ in range(2):
            taken(f"http://127.0.0.1:{port}", told(job["id"], company_id=job["company_id"]), "msg_of_the_job")
        question = {"flow_runs": {"tags": {"all_": [f"job:{job['id']}", "webhook"]}}}
        ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        def runs() -> list[dict[str, str]]:
            found: list[dict[str, str]] = installation.ask("flow_runs/filter", question)
            return found if found and all(run["state_type"] in ended for run in found) else []

        (run,) = until(runs, within_s=120, every_s=0.5, otherwise="the run did not end")
    assert run["state_name"] == "CompletedWithErrors", (tmp_path / "worker.log").read_text()
    outcome = installation.pleo.get(f"/sandbox/jobs/{job['id']}").json()
    assert outcome["job"]["status"] == "completed_with_errors"
    assert entries_in(installation.books) == outcome["outcome"]["successful"]
    assert f"job {job['id']} of company" in log.read_text()
