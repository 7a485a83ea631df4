"""A run that holds still and wakes up when others have long done its job, and one whose requests come late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.outcome import RunReport
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.network.fault_proxy import Fault, FaultProxy, Gate, proxying
from tests.support.pleo.pleo_items import an_item
from tests.support.pleo.watched_pleo import EVENTS, GET_DATA, GET_ITEMS, PUT_ITEMS, Watched
from tests.support.processes import PrefectServer, until
from tests.survival.rivals import WITHIN_S, Rivals, Run, rivals

ITEMS, PAGE = 250, 100


@pytest.fixture
def way(erp: SmallErpServer) -> Iterator[FaultProxy]:
    """What the zombie's calls to the ERP go through."""
    with proxying(erp.base_url) as proxy:
        yield proxy


@pytest.fixture
def beside(
    pleo: Watched, server: PrefectServer, erp: SmallErpServer, way: FaultProxy, tmp_path: Path
) -> Iterator[Rivals]:
    with rivals(pleo, server, tmp_path, erp) as made:
        made.environment["SMALL_ERP_URL"] = way.address
        yield made


def _a_whole_run(pleo: Watched, erp: SmallErpServer) -> RunReport:
    return asyncio.run(pleo.export(erp=SmallErp(erp.base_url)))


def _all_is_booked_once_and_reported(pleo: Watched, erp: SmallErpServer, job_id: str) -> None:
    books = {id_: f"S-{entry.number}" for id_, entry in erp.entries.items()}
    told = {item.accounting_entry_id: item.external_id for item in pleo.sandbox.items(job_id)}
    assert told == books
    assert len(books) == len(set(books.values())) == ITEMS
    assert pleo.sandbox.job(job_id).status == "completed"
    assert [event.name for event in pleo.sandbox.received().events] == ["started", "completed"]


def _what_stands_was_looked_up_first(erp: SmallErpServer) -> None:
    """The zombie goes on with the page that it was at, and the other with what it did not find."""
    assert erp.calls.count("create") - ITEMS <= PAGE


@pytest.mark.slow
def test_beside_a_zombie_in_the_ledger_nobody_gets_in_and_it_ends_its_job_when_it_wakes_up(
    pleo: Watched, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    pleo.before(2, gate, GET_DATA)
    with rivals(pleo, prefect_server, tmp_path) as beside:
        zombie = beside.start()
        assert gate.reached(WITHIN_S)
        zombie.stop()
        gate.open()  # the answer waits for it
        second = asyncio.run(pleo.export())
        zombie.wake()
        ended = zombie.ended()
    assert (second.exit_status, second.jobs) == (0, [])
    assert "another run is at work on" in second.lines[0]
    assert (ended.status, ended.job["event"], ended.job["successful"]) == (0, "completed", ITEMS)
    assert pleo.entries() == ITEMS


Held = Callable[[Watched, FaultProxy, Gate], object]
HELD: dict[str, Held] = {
    "before it starts the job": lambda pleo, _, gate: pleo.before(1, gate, EVENTS),
    "before it reads the rows": lambda pleo, _, gate: pleo.before(1, gate, GET_ITEMS),
    "before it fetches the data": lambda pleo, _, gate: pleo.before(3, gate, GET_DATA),
    "before it looks entries up": lambda _, way, gate: way.add(Fault(path="/find", before=gate)),
    "while it books an entry": lambda _, way, gate: way.add(Fault(path="/create", skip=120, before=gate)),
    "after it booked an entry": lambda _, way, gate: way.add(Fault(path="/create", skip=120, after=gate)),
    "before it reports": lambda pleo, _, gate: pleo.before(1, gate, PUT_ITEMS),
    "before it reports the last": lambda pleo, _, gate: pleo.before(3, gate, PUT_ITEMS),
    "before it ends the job": lambda pleo, _, gate: pleo.before(2, gate, EVENTS),
}


@pytest.mark.parametrize(
    "held",
    [held if held == "while it books an entry" else pytest.param(held, marks=pytest.mark.slow) for held in HELD],
)
def test_a_zombie_that_wakes_up_when_another_has_ended_the_job_repeats_nothing_and_ends_with_success(
    pleo: Watched, erp: SmallErpServer, way: FaultProxy, beside: Rivals, held: str
) -> None:
    """What it had sent comes late, when the other has finished; in books without a lock."""
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    HELD[held](pleo, way, gate)
    zombie = beside.start_remote()
    assert gate.reached(WITHIN_S)
    zombie.stop()
    other = _a_whole_run(pleo, erp)
    assert (other.exit_status, other.jobs[0].event) == (0, "completed")
    gate.open()
    zombie.wake()
    ended = zombie.ended()
    assert ended.status == 0
    # Its own event would say the same; before that, of rows and data, which are asked for at once, either may be first.
    says_the_same = (ended.job["event"], ended.said) == ("completed", "")
    assert says_the_same or held != "before it ends the job"
    if not (says_the_same and held in ("before it reads the rows", "before it ends the job")):
        assert ended.job["event"] is None
        assert "it is completed in Pleo; what is booked stays booked" in ended.said
        assert "not yet reported" not in ended.said
    _all_is_booked_once_and_reported(pleo, erp, job_id)
    _what_stands_was_looked_up_first(erp)


@pytest.mark.slow
@pytest.mark.parametrize("call", [PUT_ITEMS, "/create"])
def test_what_a_killed_run_had_sent_may_come_while_the_next_is_at_it(
    pleo: Watched, erp: SmallErpServer, way: FaultProxy, beside: Rivals, call: str
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    late = Gate(WITHIN_S)
    if call == PUT_ITEMS:
        pleo.before(2, late, PUT_ITEMS)
    else:
        way.add(Fault(path="/create", skip=120, before=late))
    killed = beside.start_remote()
    assert late.reached(WITHIN_S)
    killed.kill()
    arrived = len(erp.calls)

    def comes_late() -> None:
        late.open()
        if call == "/create":
            until(lambda: len(erp.calls) > arrived, within_s=WITHIN_S)

    pleo.before(1, comes_late, GET_DATA)
    report = _a_whole_run(pleo, erp)
    assert (report.exit_status, report.jobs[0].event) == (0, "completed")
    _all_is_booked_once_and_reported(pleo, erp, job_id)
    _what_stands_was_looked_up_first(erp)


@pytest.mark.slow
def test_two_runs_and_a_zombie_in_one_erp_end_in_the_books_of_one(
    pleo: Watched, erp: SmallErpServer, way: FaultProxy, beside: Rivals
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    way.add(Fault(path="/create", skip=30, before=gate))
    runs: list[Run] = [beside.start_remote()]
    assert gate.reached(WITHIN_S)
    runs[0].stop()
    runs += [beside.start_remote(), beside.start_remote()]
    until(lambda: any(run.process.poll() is not None for run in runs), within_s=WITHIN_S)
    gate.open()
    runs[0].wake()
    ended = [run.ended() for run in runs]
    assert [one.status for one in ended] == [0, 0, 0]
    assert {job["event"] for one in ended for job in one.jobs} <= {"completed", None}
    _all_is_booked_once_and_reported(pleo, erp, job_id)
