"""`deployments/retention.py`: a Prefect server that reads what it wrote keeps things for as long as was said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.slow
READ = """
from prefect.settings import get_current_settings
server = get_current_settings().server
vacuum = server.services.db_vacuum
print(sorted(vacuum.enabled_vacuum_types), vacuum.retention_period.days, server.events.retention_period.days)
"""


def _said(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    return subprocess.run([sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True)


def test_a_server_of_the_same_profile_deletes_what_is_older(tmp_path: Path) -> None:
    assert _said(tmp_path, "-c", READ).stdout == "['events'] 90 7\n"
    said = _said(tmp_path, "deployments/retention.py", "--days", "400", "--event-days", "3")
    assert said.returncode == 0, said.stderr
    assert "start the server anew" in said.stdout
    assert _said(tmp_path, "-c", READ).stdout == "['events', 'flow_runs', 'orphans'] 400 3\n"


@pytest.mark.parametrize("days", ["0", "-1", "soon", "99999999"])
def test_what_is_no_number_of_days_is_one_line(tmp_path: Path, days: str) -> None:
    said = _said(tmp_path, "deployments/retention.py", f"--days={days}")
    assert said.returncode == 2
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"retention: argument --days: '{days}' is not a number of days")
