"""`python -m flows.export` in a process of its own, against a Pleo whose answers go wrong for as long as it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blocks.pleo.sandbox import Sandbox
from tests.support.command_line import Shell
from tests.support.exporting import Office
from tests.support.network.network_faults import BY_NAME
from tests.support.network.socket_network import SocketNetwork, answering
from tests.support.processes import PrefectServer
from tests.survival.fault_cells import FINAL, FOR_EVER, LIST_JOBS, STARTED, UPDATE, Meeting
from tests.survival.faulty_office import FaultyOffice


@dataclass
class Street:
    """A faulty office, and a shell to run the command in."""

    office: FaultyOffice
    shell: Shell

    def run(self) -> tuple[int, dict[str, object], list[str]]:
        """Exit status, JSON document and the lines on standard error."""
        done = self.shell.run("--json")
        assert "Traceback" not in done.stderr
        (line,) = done.stdout.splitlines()
        return done.returncode, json.loads(line), done.stderr.splitlines()

    def events(self) -> list[str]:
        return [event.name for event in self.office.sandbox.received().events]


@pytest.fixture
def street(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Street]:
    network = SocketNetwork()
    with Sandbox(rate_limit=False, clock=time.time) as sandbox:
        office = FaultyOffice(tmp_path, sandbox, network)
        with answering(network):
            yield Street(
                office, Shell(Office(sandbox, office.base_url, tmp_path / "books.sqlite"), prefect_server, tmp_path)
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (LIST_JOBS, "503"),
        (UPDATE, "dropped after the act"),
        (FINAL, "HTML"),
    ],
)
def test_a_pleo_that_stays_away_is_a_line_and_1_and_the_next_run_ends_the_job(
    street: Street, kind: str, fault: str
) -> None:
    job_id = street.office.sandbox.add_job(items=7, seed=4, failing=1)
    street.office.meetings.append(Meeting(kind, BY_NAME[fault], FOR_EVER))
    status, document, lines = street.run()
    assert status == 1
    assert [line for line in lines if "after 6 tries" in line]
    untouched = kind == LIST_JOBS
    assert street.office.sandbox.job(job_id).status == ("pending" if untouched else "in_progress")
    assert street.events() == ([] if untouched else ["started"])
    assert [job["event"] for job in document["jobs"]] == ([] if untouched else [None])  # type: ignore[attr-defined]
    street.office.meetings.clear()
    status, document, lines = street.run()
    assert status == 3
    assert street.events() == ["started", "completed_with_errors"]
    assert len({row[0] for row in street.office.journal()}) == 6
    assert lines == []


@pytest.mark.slow
def test_three_bad_answers_of_every_kind_are_not_worth_a_line_of_the_result(street: Street) -> None:
    street.office.sandbox.add_job(items=7, seed=4, failing=1)
    for kind, fault in ((LIST_JOBS, "502"), (STARTED, "500 after the act"), (UPDATE, "cut off"), (FINAL, "504")):
        street.office.meetings.append(Meeting(kind, BY_NAME[fault], 3))
    status, document, _ = street.run()
    assert status == 3
    (job,) = document["jobs"]  # type: ignore[misc]
    assert (job["event"], job["successful"], job["failed"]) == ("completed_with_errors", 6, 1)
    assert street.events() == ["started", "completed_with_errors"]
