"""Two runs of the deployment at once, through one Prefect server: one does the job, whatever lets the other in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deployments.test_scheduled_export import entries_in
from tests.support.installing import Installation, asked
from tests.support.processes import running, until

pytestmark = pytest.mark.slow
ITEMS = 80
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.mark.parametrize(("limit", "others"), [(1, {"Cancelled"}), (None, {"NothingToDo"})])
def test_of_two_runs_at_once_one_does_the_job_and_the_other_finds_nothing_to_do_or_is_cancelled_by_a_limit(
    installation: Installation, tmp_path: Path, limit: int | None, others: set[str]
) -> None:
    """The second sees the first at work, or the job done; a limit, which somebody may have set, cancels it."""
    _without_schedule(installation)
    _limit(installation, limit)
    made = installation.pleo.post("/sandbox/jobs", json={"items": ITEMS, "seed": 17, "failing": False}).json()
    runs = [_new_run(installation) for _ in range(2)]
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pleo-export"]
    environment = {**installation.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    log = tmp_path / "worker.log"
    with running(worker, environment=environment, log=log):
        ended = until(
            lambda: _all_ended(installation, runs), within_s=180, every_s=0.5, otherwise="the runs did not end"
        )
    names = sorted(str(run["state_name"]) for run in ended)
    done, other = sorted(ended, key=lambda run: run["total_run_time"], reverse=True)
    assert done["state_type"] == "COMPLETED", (names, log.read_text())
    assert other["state_name"] in others, (names, log.read_text())
    outcome = installation.pleo.get(f"/sandbox/jobs/{made['job_id']}").json()
    assert outcome["outcome"] == {"successful": ITEMS}
    assert all(item["updates"] == 1 for item in outcome["items"])
    events = installation.pleo.get("/sandbox/received").json()["events"]
    assert [event["name"] for event in events if event["job_id"] == made["job_id"]] == ["started", "completed"]
    every_job = installation.pleo.get("/sandbox/jobs").json()["jobs"]
    booked = [installation.pleo.get(f"/sandbox/jobs/{job['id']}").json()["outcome"] for job in every_job]
    assert entries_in(installation.books) == sum(one.get("successful", 0) for one in booked)


def _address(installation: Installation) -> str:
    return f"{installation.server.api_url}/deployments/{installation.deployment['id']}"


def _without_schedule(installation: Installation) -> None:
    schedules = installation.ask(f"deployments/{installation.deployment['id']}")["schedules"]
    for one in schedules:
        asked(lambda id_=one["id"]: httpx.delete(f"{_address(installation)}/schedules/{id_}", trust_env=False))


def _limit(installation: Installation, limit: int | None) -> None:
    document = {"concurrency_limit": limit, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}}
    asked(lambda: httpx.patch(_address(installation), json=document, trust_env=False))


def _new_run(installation: Installation) -> str:
    answer = asked(
        lambda: httpx.post(
            f"{_address(installation)}/create_flow_run", json={"state": {"type": "SCHEDULED"}}, trust_env=False
        )
    )
    return str(answer.json()["id"])


def _all_ended(installation: Installation, runs: list[str]) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = installation.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": runs}}})
    return found if all(run["state_type"] in ENDED for run in found) else None
