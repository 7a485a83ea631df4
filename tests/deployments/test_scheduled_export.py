"""From an empty Prefect server to an export that its scheduler made."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.support.installing import Installation, asked
from tests.support.processes import ROOT, running, until

EVERY_S = 10


def test_the_deployment_is_the_one_of_prefect_yaml(installation: Installation) -> None:
    made = installation.deployment
    assert made["entrypoint"] == "flows.export.export"
    assert made["work_pool_name"] == "pleo-export"
    assert made["parameters"] == {"pleo": "pleo", "erp": "ledger/books"}
    assert made["tags"] == ["pleo", "export"]
    assert made["description"].startswith("Books every expense that waits for export in Pleo, once")
    [schedule] = made["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "*/10 * * * *"
    assert not made["paused"]


def test_no_path_of_the_machine_that_deployed_is_in_the_deployment(installation: Installation) -> None:
    made = installation.deployment
    assert not made["pull_steps"]
    assert made["job_variables"]["working_dir"] == "."
    assert str(ROOT) not in str({name: value for name, value in made.items() if name != "parameter_openapi_schema"})


def test_no_slot_of_prefects_can_break_off_a_run_or_keep_one_from_beginning(installation: Installation) -> None:
    assert installation.deployment["global_concurrency_limit"] is None
    assert installation.deployment["job_variables"]["env"] == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


def test_every_parameter_is_explained_in_the_form_of_the_ui(installation: Installation) -> None:
    schema = installation.deployment["parameter_openapi_schema"]
    what = ["pleo", "erp", "ledger", "settings", "companies", "company_id", "job_id", "dry_run"]
    assert list(schema["properties"]) == [*what, "results", "report"]
    assert "required" not in schema
    for name, field in schema["properties"].items():
        assert len(field["description"]) > 20, name
        assert field["description"].endswith("."), name
    assert schema["properties"]["dry_run"]["type"] == "boolean"
    assert {"type": "string", "format": "uuid"} in schema["properties"]["company_id"]["anyOf"]


def test_a_parameter_that_cannot_be_is_refused_before_a_run_is_made(installation: Installation) -> None:
    address = f"{installation.server.api_url}/deployments/{installation.deployment['id']}/create_flow_run"
    answer = httpx.post(address, json={"parameters": {"dry_run": "perhaps"}}, trust_env=False)
    assert answer.status_code == 409
    assert "perhaps" in answer.text


def test_the_scheduler_makes_a_run_that_exports_the_job_and_shows_what_became_of_it(
    installation: Installation, tmp_path: Path
) -> None:
    [job] = installation.pleo.get("/sandbox/jobs").json()["jobs"]
    _schedule(installation)
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pleo-export"]
    environment = {**installation.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    log = tmp_path / "worker.log"
    with running(worker, environment=environment, log=log):
        done = until(
            lambda: _runs(installation, state={"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}),
            within_s=120,
            every_s=0.5,
            otherwise="no scheduled run ended",
        )[0]
    assert done["state_name"] == "CompletedWithErrors", log.read_text()
    assert done["state_type"] == "COMPLETED"
    assert done["auto_scheduled"]
    assert done["created_by"]["type"] == "SCHEDULE"

    outcome = installation.pleo.get(f"/sandbox/jobs/{job['id']}").json()
    assert outcome["job"]["status"] == "completed_with_errors"
    assert set(outcome["outcome"]) == {"successful", "failed"}
    booked, failed = outcome["outcome"]["successful"], outcome["outcome"]["failed"]
    assert failed

    assert entries_in(installation.books) == booked
    assert not list(ROOT.glob("books.sqlite*")), "the books landed in the repository"

    [subflow] = installation.ask("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [done["id"]]}}})
    assert f"job:{job['id']}" in subflow["tags"]
    [company] = [tag.removeprefix("company:") for tag in subflow["tags"] if tag.startswith("company:")]
    assert subflow["state_name"] == "CompletedWithErrors"
    of_run = {"artifacts": {"flow_run_id": {"any_": [subflow["id"]]}}}
    artifacts = {artifact["type"]: artifact for artifact in installation.ask("artifacts/filter", of_run)}
    assert artifacts["markdown"]["key"] == f"pleo-export-{company[:8]}"
    assert f"{booked} booked, {failed} failed" in artifacts["markdown"]["data"]
    assert artifacts["table"]["key"] is None
    assert artifacts["table"]["data"].count('"reason"') == failed


def _schedule(installation: Installation) -> None:
    """A short interval in place of ten minutes."""
    deployment = installation.deployment
    address = f"{installation.server.api_url}/deployments/{deployment['id']}/schedules"
    for schedule in deployment["schedules"]:
        asked(lambda id_=schedule["id"]: httpx.delete(f"{address}/{id_}", trust_env=False))
    often = [{"active": True, "schedule": {"interval": EVERY_S}}]
    asked(lambda: httpx.post(address, json=often, trust_env=False))


def _runs(installation: Installation, **flow_runs: Any) -> list[dict[str, Any]]:
    """Runs that the scheduler made of the deployment, the first one first."""
    question = {
        "deployments": {"id": {"any_": [installation.deployment["id"]]}},
        "flow_runs": flow_runs,
        "sort": "EXPECTED_START_TIME_ASC",
    }
    return [run for run in installation.ask("flow_runs/filter", question) if run["auto_scheduled"]]


def entries_in(books: Path) -> int:
    """How many entries stand in a ledger; fails if an expense has two."""
    with closing(sqlite3.connect(books)) as connection:
        query = "SELECT count(DISTINCT accounting_entry_id), count(DISTINCT external_id) FROM journal"
        by_id, by_entry = connection.execute(query).fetchone()
    assert by_id == by_entry
    return int(by_id)
