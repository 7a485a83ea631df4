"""What a killed run leaves lying about is gone after the next run, also where its job is no longer to be done."""

from __future__ import annotations

from pathlib import Path

import httpx

from blocks.pleo.sandbox import SANDBOX_API_KEY
from tests.support.network.fault_proxy import Cut, Fault
from tests.support.processes import PrefectServer
from tests.survival.killed_export import a_scene, communicate, kill


def test_pages_and_receipts_of_a_killed_run_are_gone_after_a_run_that_finds_its_job_ended_by_another(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    with a_scene(tmp_path, prefect_server) as scene:
        scene.proxy.add(Fault(path="/receipts", before=lambda: kill(process), passes=False, cut=Cut.NONE))
        process = scene.start()
        communicate(process)
        left = scene.left_behind()
        assert any(one.startswith("storage/pleo-export-pages/") for one in left), left
        assert any(one.startswith("tmp/pleo-receipts-") for one in left), left

        event = {"jobId": scene.job_id, "event": "completed_with_errors"}
        answer = httpx.post(f"{scene.proxy.address}/v3/export-job-events", json=event, auth=(SANDBOX_API_KEY, ""))
        assert answer.status_code == 202
        status, document = scene.run()

        assert (status, document["jobs"]) == (0, [])
        assert [one for one in scene.left_behind() if not one.startswith("books/")] == []
