"""A run as Prefect's own API shows it: the eight tasks by name and state, the runs by name and tag."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.test_command_line import _recorded, _stored_whole
from tests.support.command_line import Shell
from tests.support.erp.small_erp.server import SmallErpServer, serving
from tests.support.exporting import Office, office
from tests.support.installing import asked
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import PrefectServer, until
from tests.survival.rivals import SMALL_ERP, save_small_erp_block

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
ERP_COMMAND = ("-m", "tests.survival.small_erp_export", "--json", *SMALL_ERP)


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as made:
        yield made


@pytest.fixture
def erp() -> Iterator[SmallErpServer]:
    with serving() as server:
        yield server


def _found(server: PrefectServer, path: str, question: dict[str, Any]) -> list[dict[str, Any]]:
    url = f"{server.api_url}/{path}/filter"
    found: list[dict[str, Any]] = asked(lambda: httpx.post(url, json=question, trust_env=False)).json()
    return found


def _runs_of(server: PrefectServer, job_id: str) -> list[dict[str, Any]]:
    return _found(server, "flow_runs", {"flow_runs": {"tags": {"all_": [f"job:{job_id}"]}}, "sort": "START_TIME_ASC"})


def _tasks_of(server: PrefectServer, run: dict[str, Any], many: int) -> list[dict[str, Any]]:
    """The run's task runs in the order in which they began. Prefect's server learns of them a little later."""

    def ended() -> list[dict[str, Any]] | None:
        question = {"flow_runs": {"id": {"any_": [run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 100}
        tasks = _found(server, "task_runs", question)
        is_there = len(tasks) >= many and all(one["state_type"] in ENDED for one in tasks)
        return tasks if is_there else None

    found = until(ended, within_s=30, otherwise="not all task runs were shown")
    assert found is not None
    return found


def _states_of(server: PrefectServer, task_run: dict[str, Any]) -> list[str]:
    url = f"{server.api_url}/task_run_states/"
    found = asked(lambda: httpx.get(url, params={"task_run_id": task_run["id"]}, trust_env=False)).json()
    return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]


def test_the_steps_are_tasks_with_names_of_their_own_and_the_runs_are_named_and_tagged(
    at_work: Office, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 251)])
    status, _ = Shell(at_work, prefect_server, tmp_path).json()
    assert status == 0
    (run,) = _runs_of(prefect_server, job_id)
    company = at_work.sandbox.job(job_id).company_id
    assert {f"company:{company}", f"job:{job_id}"} <= set(run["tags"])
    assert run["name"] == f"{company[:8]} {run['start_time'][:10]} job {job_id[:8]}"
    tasks = _tasks_of(prefect_server, run, 12)
    names = [one["name"] for one in tasks]
    assert names[0] == "1 start job"
    assert names[-1] == "7 complete job"
    assert sorted(names) == [
        "1 start job",
        "2 validate job",
        "3 retrieve items",
        *(f"4 fetch page {n}" for n in (1, 2, 3)),
        *(f"5 record page {n}" for n in (1, 2, 3)),
        *(f"6 update items {n}" for n in (1, 2, 3)),
        "7 complete job",
    ]
    for number in (1, 2, 3):  # each page goes its way in Pleo's order, whatever others do meanwhile
        assert names.index(f"4 fetch page {number}") < names.index(f"5 record page {number}")
        assert names.index(f"5 record page {number}") < names.index(f"6 update items {number}")
    assert {one["state_name"] for one in tasks} == {"Completed"}
    parent_task = run["parent_task_run_id"]
    (parent,) = _found(prefect_server, "flow_runs", {"task_runs": {"id": {"any_": [parent_task]}}})
    detected = [one for one in _tasks_of(prefect_server, parent, 3) if one["name"] == "1 detect jobs"]
    assert len(detected) == 2
    assert not any("sandbox-key" in str(one) for one in (run, parent, *tasks))


def test_an_accounting_system_that_comes_back_is_seen_to_be_waited_for(
    at_work: Office, erp: SmallErpServer, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    save_small_erp_block(prefect_server)
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 4)])
    erp.fault("find", status=503, times=2)
    shell = Shell(at_work, prefect_server, tmp_path)
    shell.environment["SMALL_ERP_URL"] = erp.base_url
    done = shell.run(command=ERP_COMMAND)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (run,) = _runs_of(prefect_server, job_id)
    recorded = next(one for one in _tasks_of(prefect_server, run, 6) if one["name"] == "5 record page 1")
    states = _states_of(prefect_server, recorded)
    assert states.count("AwaitingRetry") == 2
    assert (states[-1], recorded["run_count"]) == ("Completed", 3)


@pytest.mark.slow  # that a signal ends a wait is seen without Prefect's page too, in test_command_line.py
def test_a_signal_while_the_accounting_system_is_waited_for_is_heard_at_once(
    at_work: Office, erp: SmallErpServer, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    save_small_erp_block(prefect_server)
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 4)])
    erp.fault("find", status=503, times=99)
    shell = Shell(at_work, prefect_server, tmp_path)
    shell.environment["SMALL_ERP_URL"] = erp.base_url
    process = shell.start(command=ERP_COMMAND)
    until(lambda: erp.calls.count("find") >= 4, within_s=60, otherwise="it did not try again")  # 8 s of waiting begin
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    heard_after_s = time.monotonic() - began
    assert process.returncode == 143
    assert "Traceback" not in said
    (run,) = _runs_of(prefect_server, job_id)
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Interrupted")
    recorded = next(one for one in _tasks_of(prefect_server, run, 5) if one["name"] == "5 record page 1")
    assert recorded["state_name"] == "Interrupted"
    assert at_work.sandbox.outcome(job_id) == {"pending": 3}
    assert heard_after_s < 6  # on a busy machine; what is shown is that eight seconds were not waited out


@pytest.mark.slow  # half a minute is waited out
def test_an_accounting_system_that_stays_away_leaves_one_line_and_no_traceback(
    at_work: Office, erp: SmallErpServer, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    save_small_erp_block(prefect_server)
    job_id = at_work.sandbox.add_job_of([an_item(1)])
    erp.fault("find", status=503, times=99, retry_after="900")  # longer than is waited for
    shell = Shell(at_work, prefect_server, tmp_path)
    shell.environment["SMALL_ERP_URL"] = erp.base_url
    done = shell.run(command=ERP_COMMAND)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (run,) = _runs_of(prefect_server, job_id)
    logs = _found(prefect_server, "logs", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert logs
    assert not any("Traceback" in one["message"] for one in logs)


def test_after_a_kill_pages_come_from_the_store_and_are_seen_to(
    at_work: Office, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 301)])
    at_work.sandbox.inject("status", "PUT /v3/export-jobs/{jobId}/items", times=6, retry_after="60")
    shell = Shell(at_work, prefect_server, tmp_path)
    killed = shell.start("--json")
    until(
        lambda: _recorded(at_work.books) >= 100 and _stored_whole(shell) == 3,
        within_s=60,
        otherwise="nothing was recorded",
    )
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    at_work.sandbox.clear_faults()
    status, _ = shell.json()
    assert status == 0
    run = _runs_of(prefect_server, job_id)[-1]
    tasks = _tasks_of(prefect_server, run, 12)
    fetched = [one["state_name"] for one in tasks if one["name"].startswith("4 fetch page")]
    assert sorted(fetched) == ["Cached"] * 3
    assert {one["state_name"] for one in tasks if one["name"].startswith("5 record page")} == {"Completed"}
