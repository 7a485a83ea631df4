"""A run that is killed at any of its requests to Pleo ends, run again, in the same books and the same report."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY
from tests.support.network.fault_proxy import Cut, Fault
from tests.support.processes import PrefectServer
from tests.survival.killed_export import QUIET_S, Undisturbed, a_scene, communicate, kill, side_by_side


class Moment(StrEnum):
    """When the run is killed: BEFORE its request reaches Pleo, once Pleo has ACTED and the answer is on its way, or
    once the answer is READ."""

    BEFORE = "before"
    ACTED = "acted"
    READ = "read"


def test_the_job_that_is_killed_has_pages_receipts_a_bill_with_its_payment_a_refund_and_failures(
    undisturbed: Undisturbed,
) -> None:
    end, requests = undisturbed.end, undisturbed.requests
    for call, times in {"GET /v3/export-items": 3, "PUT": 4, "POST": 2, "GET /receipts": 4}.items():
        assert sum(request.startswith(call) for request in requests) == times, requests
    assert [name for name, _ in end.events] == ["started", "completed_with_errors"]
    assert {updates for *_, updates in end.items} == {1}
    assert {status for _, status, *_ in end.items} == {"successful", "failed"}
    assert len(end.receipts) == len(end.attachments) == 4
    assert {"bill", "payment"} <= {kind for _, _, _, kind, *_ in end.open_items}
    assert end.left_behind == ()


def _killed_at(number: int, moment: Moment, expected: Undisturbed, server: PrefectServer, folder: Path) -> list[str]:
    """What was wrong after a run was killed at this request, and run again."""
    with a_scene(folder, server) as scene:
        process = None

        def end_it(*_: object) -> None:
            assert process is not None
            kill(process)

        def once_read(client: tuple[str, int]) -> None:
            wait_until_read(client)
            end_it()

        fault = Fault(skip=number)
        match moment:
            case Moment.BEFORE:
                fault.before, fault.passes, fault.cut = end_it, False, Cut.NONE
            case Moment.ACTED:
                fault.after = end_it
            case Moment.READ:
                fault.told = once_read
        scene.proxy.add(fault)
        process = scene.start()
        _, err = communicate(process)
        what = f"killed {moment} request {number + 1} of {len(expected.requests)}, like {expected.requests[number]}"
        if (process.returncode, fault.met) != (-9, 1):
            return [f"{what}: it was not killed there, but ended with {process.returncode}: {err}"]
        return [f"{what}: {problem}" for problem in scene.problems(expected.end)]


def _kill(kills: Iterable[tuple[int, Moment]], expected: Undisturbed, server: PrefectServer, folder: Path) -> list[str]:
    """Kill at each of these moments: what was wrong."""
    return side_by_side(
        partial(_killed_at, number, moment, expected, server, folder / f"{number}-{moment}") for number, moment in kills
    )


def test_a_run_killed_while_pleo_acts_on_its_last_update_ends_the_same_when_it_is_run_again(
    undisturbed: Undisturbed, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    last = max(n for n, request in enumerate(undisturbed.requests) if request.startswith("PUT"))
    assert _kill([(last, Moment.ACTED)], undisturbed, prefect_server, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", Moment)
def test_a_run_killed_at_any_request_ends_the_same_when_it_is_run_again(
    moment: Moment, undisturbed: Undisturbed, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    kills = [(number, moment) for number in range(len(undisturbed.requests))]
    assert _kill(kills, undisturbed, prefect_server, tmp_path) == []


@pytest.mark.slow
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


def wait_until_read(client: tuple[str, int]) -> None:
    """Return once the program at this end of a connection on loopback has read all that was sent to it."""
    if not sys.platform.startswith("linux"):
        return  # it then may or may not have read it
    deadline = time.monotonic() + QUIET_S
    while _unread_bytes(client[1]):
        assert time.monotonic() < deadline, "the answer is never read"
        time.sleep(0.0005)


def _unread_bytes(port: int) -> int:
    """How many bytes wait to be read at this port of IPv4's loopback, of a connection that is open."""
    local = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, address, _, state, queues, *_ = line.split()
        if (address, state) == (local, "01"):
            return int(queues.partition(":")[2], 16)
    return 0
