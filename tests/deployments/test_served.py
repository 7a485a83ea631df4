"""The flow served by a process of its own, as Prefect's `.serve()` does it: by value, with no worker and no folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.exporting import Office
from tests.support.installing import asked
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import PrefectServer, running, until

SERVE = """
from flows.export import export

if __name__ == "__main__":
    export.serve("served")
"""


@pytest.mark.slow
def test_a_flow_that_is_served_exports_with_its_parameters_and_its_warnings_reach_the_runs_log(
    at_work: Office, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    link = {"url": f"{at_work.base_url}/receipts/none.pdf", "type": "application/pdf", "size": 5}
    job_id = at_work.sandbox.add_job_of([an_item(n, files=[link] if n == 1 else []) for n in range(1, 4)])
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    environment = {
        **prefect_server.environment, "PLEO_BASE_URL": at_work.base_url, "PLEO_API_KEY": at_work.api_key,
    }  # fmt: skip
    log = tmp_path / "serve.log"
    with running([sys.executable, str(script)], environment=environment, log=log, cwd=tmp_path):
        until(lambda: "served" in log.read_text(), within_s=60, otherwise="it did not serve")
        command = [sys.executable, "-m", "prefect", "deployment", "run", "pleo-export/served"]
        parameters = ["--params", json.dumps({"ledger": str(tmp_path / "served.sqlite"), "job_id": job_id})]
        subprocess.run([*command, *parameters], env=environment, check=True, capture_output=True, timeout=60)
        until(lambda: at_work.sandbox.job(job_id).status == "completed", within_s=90, otherwise=log.read_text())
    assert (tmp_path / "served.sqlite").is_file()

    def warned() -> bool:
        question = {"logs": {"level": {"ge_": 30}}}
        url = f"{prefect_server.api_url}/logs/filter"
        found = asked(lambda: httpx.post(url, json=question, trust_env=False)).json()
        return any(one["name"].startswith("flows.") and "Receipt 1" in one["message"] for one in found)

    until(warned, within_s=30, otherwise="the warning is not in the run's log")
