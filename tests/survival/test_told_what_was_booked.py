"""A run whose job others ended tells what stands in the books: on the console, on stderr, in Prefect's UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.command_line import Shell
from tests.support.installing import asked
from tests.support.pleo.pleo_items import an_item
from tests.support.pleo.watched_pleo import PUT_ITEMS, Watched
from tests.support.processes import PrefectServer

ITEMS = 120


@pytest.mark.parametrize("json", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_cancelled_job_is_told_with_every_entry_that_pleo_does_not_know(
    pleo: Watched, prefect_server: PrefectServer, tmp_path: Path, json: bool
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    pleo.before(2, lambda: pleo.cancel(job_id), PUT_ITEMS)
    done = Shell(pleo, prefect_server, tmp_path).run(*(["--json"] if json else []))
    unreported = pleo.unreported(job_id)
    assert (done.returncode, len(unreported), pleo.entries()) == (1, ITEMS - 100, ITEMS)
    said = done.stderr if json else done.stdout
    assert "it is failed in Pleo: canceled_by_user by somebody else; what is booked stays booked" in said
    assert "20 booked and not yet reported to Pleo" in said
    listed = {line.strip().removeprefix(f"job {job_id}: ") for line in said.splitlines() if " is booked as " in line}
    wanted = {f"{id_} is booked as {external_id}, 100.00 DKK" for id_, external_id in unreported.items()}
    assert listed == wanted
    run, summary = _in_prefect(prefect_server, job_id)
    assert (run["state_type"], run["state_name"]) == ("FAILED", "FinishedElsewhere")
    assert all(f"is booked as {external_id}, " in summary for external_id in unreported.values())
    assert summary.count("is booked as") == len(unreported)


@pytest.mark.slow
def test_a_job_that_another_has_ended_with_all_of_ours_is_a_success_in_prefect_too(
    pleo: Watched, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(5)])
    pleo.before(2, lambda: pleo.another(job_id, "completed_with_errors"), "POST /v3/export-job-events")
    done = Shell(pleo, prefect_server, tmp_path).run()
    assert (done.returncode, done.stderr) == (3, "")
    assert "finished elsewhere" in done.stdout
    assert "it is completed_with_errors in Pleo" in done.stdout
    run, summary = _in_prefect(prefect_server, job_id)
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "FinishedElsewhere")
    assert "booked and not yet reported" not in summary


def _in_prefect(server: PrefectServer, job_id: str) -> tuple[dict[str, Any], str]:
    """The job's run on the server, and the text of its summary with Markdown's own marks taken away."""

    def filtered(path: str, question: dict[str, Any]) -> list[dict[str, Any]]:
        answer = asked(lambda: httpx.post(f"{server.api_url}/{path}/filter", json=question, trust_env=False))
        found: list[dict[str, Any]] = answer.json()
        return found

    [run] = filtered("flow_runs", {"flow_runs": {"tags": {"all_": [f"job:{job_id}"]}}})
    artifacts = filtered("artifacts", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    [summary] = [one["data"] for one in artifacts if one["key"]]
    return run, summary.replace("\\", "")
