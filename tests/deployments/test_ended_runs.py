"""What stands in Prefect and in Pleo when a worker, a run, both, or the server ends in the middle of an export."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import httpx
import psutil
import pytest

from tests.support.exporting import Office, office
from tests.support.installing import asked
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import ROOT, free_port, running, until

pytestmark = pytest.mark.slow
ITEMS, FIRST = 250, 100
AWAY_S = float(os.environ.get("PLEO_EXPORT_SERVER_AWAY_S", "100"))  # by hand for longer outages: 600, say
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
UPDATES = "PUT /v3/export-jobs/{jobId}/items"


class Stage:
    """A Prefect server, a deployment on a process pool, and a Pleo whose answers can be held back."""

    def __init__(self, folder: Path, pleo: Office) -> None:
        self.folder, self.pleo = folder, pleo
        self._port = free_port()
        home = folder / "home"
        home.mkdir()
        self.api_url = f"http://127.0.0.1:{self._port}/api"
        environment = {"PREFECT_HOME": str(home), "PREFECT_API_URL": self.api_url, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        self.environment = {
            **os.environ, **environment, "PLEO_BASE_URL": pleo.base_url, "PLEO_API_KEY": pleo.api_key,
        }  # fmt: skip
        self._number = 0

    @contextmanager
    def server(self) -> Iterator[Popen[bytes]]:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        with running(command, environment=self.environment, log=self.folder / "server.log") as process:
            until(self._answers, within_s=120, every_s=0.3, otherwise="the Prefect server did not answer")
            yield process

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def worker(self) -> Iterator[Popen[bytes]]:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pleo-export", "--limit", "4"]
        with running(command, environment=self.environment, log=self.folder / "worker.log") as process:
            yield process

    @contextmanager
    def process(self, run_id: str) -> Iterator[Popen[bytes]]:
        """A process of a run, as a worker begins it."""
        command, environment = [sys.executable, "-m", "prefect.engine"], {"PREFECT__FLOW_RUN_ID": run_id}
        with running(command, environment=self.environment | environment, log=self.folder / "run.log") as process:
            yield process

    @contextmanager
    def second_process(self, run_id: str) -> Iterator[Popen[bytes]]:
        """Another one of a run whose first is at work, once it has seen that."""
        again = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.post(f"flow_runs/{run_id}/set_state", {"state": again, "force": True})
        with self.process(run_id) as process:
            asking = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
            until(
                lambda: "another process of this run is at work" in str(self.post("logs/filter", asking)),
                within_s=60, every_s=0.5, otherwise="the second process did not see the first",
            )  # fmt: skip
            yield process

    def deploy(self) -> None:
        self.post("work_pools/", {"name": "pleo-export", "type": "process"})
        flow = self.post("flows/", {"name": "pleo-export"})["id"]
        deployment = {
            "name": "pleo-export", "flow_id": flow, "work_pool_name": "pleo-export",
            "entrypoint": "flows/export.py:export", "parameters": {"ledger": str(self.pleo.books)},
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        }  # fmt: skip
        self.deployment = self.post("deployments/", deployment)["id"]

    def post(self, path: str, document: dict[str, Any]) -> Any:
        return asked(lambda: httpx.post(f"{self.api_url}/{path}", json=document, trust_env=False)).json()

    def begin(self, **parameters: Any) -> str:
        """A run by hand."""
        asking = {"state": {"type": "SCHEDULED"}, "parameters": {"ledger": str(self.pleo.books), **parameters}}
        return str(self.post(f"deployments/{self.deployment}/create_flow_run", asking)["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})[0]
        return found

    def ended(self, run_id: str, within_s: float = 120) -> dict[str, Any]:
        def is_ended() -> dict[str, Any] | None:
            run = self.run(run_id)
            return run if run["state_type"] in ENDED else None

        run = until(is_ended, within_s=within_s, every_s=0.5, otherwise=f"run {run_id} did not end")
        assert run is not None
        return run

    def job_run(self, run_id: str) -> dict[str, Any]:
        [run] = self.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run_id]}}})
        found: dict[str, Any] = run
        return found

    def job_half_done(self, held_s: int = 12) -> str:
        """A job whose second batch of updates Pleo asks to wait with."""
        self._number += 1000
        items = [an_item(self._number + n) for n in range(ITEMS)]
        job_id = self.pleo.sandbox.add_job_of(items)
        self.pleo.sandbox.inject("status", UPDATES, times=1, skip=1, retry_after=str(held_s))
        return job_id

    def until_half_done(self, job_id: str) -> None:
        def told() -> bool:
            return self.pleo.sandbox.outcome(job_id).get("successful", 0) >= FIRST

        until(told, within_s=120, otherwise="the first batch did not come")

    def process_of_the_run(self, worker: Popen[bytes]) -> psutil.Process:
        """The process that exports, somewhere below the worker."""
        children = psutil.Process(worker.pid).children(recursive=True)
        return max((one for one in children if not one.children()), key=psutil.Process.create_time)

    def until_idle(self, worker: Popen[bytes]) -> None:
        """A run says that it is over before its process is, and a worker that is given it again while it still holds
        the first ends: the limiter of its places takes no run twice (Prefect 3.8)."""
        process = psutil.Process(worker.pid)
        until(lambda: not process.children(), within_s=60, otherwise="a process of a run did not end")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    with office(folder) as pleo:
        yield Stage(folder, pleo)


@pytest.fixture(scope="module")
def servers(stage: Stage) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(stage.server())
        stage.deploy()
        yield stack


def _state(run: dict[str, Any]) -> tuple[str, str]:
    return run["state_type"], run["state_name"]


def test_a_run_that_is_cancelled_says_what_is_open_the_next_takes_it_up_and_a_retry_says_who_begins_anew(
    stage: Stage, servers: ExitStack
) -> None:
    with stage.worker() as worker:
        job_id = stage.job_half_done(held_s=60)
        run = stage.begin()
        stage.until_half_done(job_id)
        second = stage.ended(stage.begin())
        assert _state(second) == ("COMPLETED", "NothingToDo")
        assert "is at work, and takes every job that waits" in second["state"]["message"]
        stage.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
        cancelled = stage.ended(run)
        assert _state(cancelled) == ("CANCELLED", "Cancelled")
        still_open = ITEMS - stage.pleo.sandbox.outcome(job_id)["successful"]
        assert still_open in (100, 150)  # the third batch may have come in before the second
        for one in (cancelled, stage.job_run(run)):
            told = f"{still_open} of 250 items are open, and the next run takes them up"
            assert told in one["state"]["message"], one["state"]
        assert _state(stage.job_run(run)) == ("CANCELLED", "Cancelled")
        stage.pleo.sandbox.clear_faults()
        resumed = stage.begin()
        assert _state(stage.ended(resumed)) == ("COMPLETED", "Completed")
        of_job = stage.job_run(resumed)["state"]["message"]
        assert "the whole job has 250 items: 250 successful, 0 failed" in of_job

        stage.until_idle(worker)
        stage.post(f"flow_runs/{resumed}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}})
        until(lambda: stage.run(resumed)["run_count"] == 2, within_s=150, otherwise="it was not tried again")
        again = stage.ended(resumed)
        assert "Export in Pleo starts what failed in it anew" in again["state"]["message"]
        assert stage.pleo.entries() == ITEMS


def test_a_worker_that_is_killed_leaves_its_run_to_end_the_job_and_say_so(stage: Stage, servers: ExitStack) -> None:
    with stage.worker() as worker:
        job_id = stage.job_half_done()
        run = stage.begin()
        stage.until_half_done(job_id)
        worker.kill()
        ended = stage.ended(run)
    assert stage.pleo.sandbox.job(job_id).status == "completed"
    assert _state(ended) == ("COMPLETED", "Completed")
    assert _state(stage.job_run(run)) == ("COMPLETED", "Completed")


def test_a_worker_and_its_run_that_are_killed_leave_the_job_to_the_next_run_which_closes_theirs(
    stage: Stage, servers: ExitStack
) -> None:
    with stage.worker() as worker:
        job_id = stage.job_half_done()
        run = stage.begin()
        stage.until_half_done(job_id)
        process = stage.process_of_the_run(worker)
        worker.kill()
        process.kill()
        process.wait(30)
    stage.pleo.sandbox.clear_faults()
    assert _state(stage.run(run)) == ("RUNNING", "Running")
    with stage.worker():
        later = stage.ended(stage.begin())
    assert _state(later) == ("COMPLETED", "Completed")
    assert "an earlier run, export " in later["state"]["message"]
    assert _state(stage.run(run)) == ("CRASHED", "ClosedLater")
    assert _state(stage.job_run(run)) == ("CRASHED", "ClosedLater")
    assert stage.pleo.sandbox.outcome(job_id) == {"successful": ITEMS}


def test_a_run_that_is_killed_under_its_worker_is_crashed_at_once_and_the_next_does_its_job(
    stage: Stage, servers: ExitStack
) -> None:
    with stage.worker() as worker:
        job_id = stage.job_half_done()
        run = stage.begin()
        stage.until_half_done(job_id)
        stage.process_of_the_run(worker).kill()
        assert _state(stage.ended(run)) == ("CRASHED", "Crashed")
        stage.pleo.sandbox.clear_faults()
        assert _state(stage.ended(stage.begin())) == ("COMPLETED", "Completed")
    assert _state(stage.job_run(run)) == ("CRASHED", "ClosedLater")
    assert stage.pleo.sandbox.outcome(job_id) == {"successful": ITEMS}


def test_a_run_that_is_begun_twice_is_done_once_and_shown_as_its_work_ended(stage: Stage, servers: ExitStack) -> None:
    job_id = stage.job_half_done(held_s=15)
    run = stage.begin()
    with stage.process(run) as first:
        stage.until_half_done(job_id)
        with stage.second_process(run) as second:
            assert (first.poll(), second.poll()) == (None, None)
            assert (first.wait(90), second.wait(60)) == (0, 0)
    ended = stage.run(run)
    assert (_state(ended), ended["run_count"]) == (("COMPLETED", "Completed"), 2)
    assert {item.updates for item in stage.pleo.sandbox.items(job_id)} == {1}
    assert stage.pleo.sandbox.outcome(job_id) == {"successful": ITEMS}


def test_the_second_process_of_a_run_does_what_the_first_one_left_when_it_was_killed(
    stage: Stage, servers: ExitStack
) -> None:
    job_id = stage.job_half_done(held_s=60)
    run = stage.begin()
    with stage.process(run) as first:
        stage.until_half_done(job_id)
        with stage.second_process(run) as second:
            stage.pleo.sandbox.clear_faults()
            first.kill()
            assert second.wait(90) == 0
    assert _state(stage.run(run)) == ("COMPLETED", "Completed")
    assert _state(stage.job_run(run)) == ("COMPLETED", "Completed")
    assert stage.pleo.sandbox.outcome(job_id) == {"successful": ITEMS}


def test_a_worker_that_is_asked_to_end_leaves_no_job_half_done_for_good(stage: Stage, servers: ExitStack) -> None:
    with stage.worker() as worker:
        job_id = stage.job_half_done()
        run = stage.begin()
        stage.until_half_done(job_id)
        worker.send_signal(signal.SIGTERM)
        worker.wait(90)
    stage.pleo.sandbox.clear_faults()
    with stage.worker():
        later = stage.ended(stage.begin())
    assert later["state_type"] == "COMPLETED"
    assert _state(stage.run(run)) == ("CRASHED", "ClosedLater")
    assert _state(stage.job_run(run)) == ("CRASHED", "ClosedLater")
    assert stage.pleo.sandbox.outcome(job_id) == {"successful": ITEMS}


def test_a_command_whose_server_goes_away_reports_all_the_same_and_the_next_run_says_how_it_ended(
    stage: Stage, servers: ExitStack
) -> None:
    job_id = stage.job_half_done(held_s=6)
    command = [sys.executable, "-m", "flows.export", "--json", "--ledger", str(stage.pleo.books)]
    run = Popen(command, env=stage.environment, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True)
    stage.until_half_done(job_id)
    servers.close()
    until(lambda: stage.pleo.sandbox.job(job_id).status == "completed", within_s=60, otherwise="the job did not end")
    over = time.monotonic()
    out, said = run.communicate(timeout=120)
    assert time.monotonic() - over < 40  # ten seconds are waited for the server
    assert (run.returncode, "Traceback" in said) == (0, False), said
    (job,) = json.loads(out)["jobs"]
    assert (job["event"], job["successful"]) == ("completed", ITEMS)
    servers.enter_context(stage.server())
    (of_job,) = stage.post("flow_runs/filter", {"flow_runs": {"tags": {"all_": [f"job:{job_id}"]}}})
    assert of_job["state_type"] == "RUNNING"
    later = subprocess.run(command, env=stage.environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert later.returncode == 0, later.stderr
    assert later.stderr.count("it is closed as Completed") == 2, later.stderr
    assert _state(stage.run(of_job["id"])) == ("COMPLETED", "Completed")


@pytest.mark.parametrize("away_s", [AWAY_S])
def test_a_server_that_is_away_leaves_a_job_that_is_ended_and_a_run_that_says_so_once_it_is_back(
    stage: Stage, servers: ExitStack, away_s: float
) -> None:
    with stage.worker():
        job_id = stage.job_half_done()
        run = stage.begin()
        stage.until_half_done(job_id)
        servers.close()  # the server's processes are killed
        until(
            lambda: stage.pleo.sandbox.job(job_id).status == "completed", within_s=90, otherwise="the job did not end"
        )
        time.sleep(away_s)
        servers.enter_context(stage.server())
        ended = stage.ended(run, within_s=180)
    assert _state(ended) == ("COMPLETED", "Completed")
    assert _state(stage.job_run(run)) == ("COMPLETED", "Completed")
    assert stage.pleo.sandbox.outcome(job_id) == {"successful": ITEMS}
