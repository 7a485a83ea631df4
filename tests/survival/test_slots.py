"""A company's concurrency slot on a Prefect server: runs wait for each other by it, and no run depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.installing import asked, run
from tests.support.network.fault_proxy import Gate
from tests.support.pleo.pleo_items import an_item
from tests.support.pleo.watched_pleo import GET_DATA, LIST_JOBS, Watched
from tests.support.processes import PrefectServer, until
from tests.survival.rivals import WITHIN_S, Rivals, rivals

pytestmark = pytest.mark.slow
ITEMS = 60
NAME = f"pleo-export-{SANDBOX_COMPANY_ID}"
WENT_ON = f"another run holds the slot of company {SANDBOX_COMPANY_ID}, or held it when it was killed: going on"


class Slot:
    """The company's slot, as README says to make it."""

    def __init__(self, server: PrefectServer) -> None:
        self._address = f"{server.api_url}/v2/concurrency_limits/{NAME}"
        run(["-m", "prefect", "gcl", "create", NAME, "--limit", "1"], server.environment)

    def remove(self) -> None:
        """Take it away."""
        asked(lambda: httpx.delete(self._address, trust_env=False))

    def held(self) -> int:
        """How many runs hold it."""
        answer: dict[str, Any] = asked(lambda: httpx.get(self._address, trust_env=False)).json()
        return int(answer["active_slots"])


@pytest.fixture
def slot(server: PrefectServer) -> Iterator[Slot]:
    made = Slot(server)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def at_once(pleo: Watched, server: PrefectServer, erp: SmallErpServer, slot: Slot, tmp_path: Path) -> Iterator[Rivals]:
    with rivals(pleo, server, tmp_path, erp) as made:
        yield made


def _all_is_booked_once_and_reported(pleo: Watched, erp: SmallErpServer, job_id: str) -> None:
    books = {id_: f"S-{entry.number}" for id_, entry in erp.entries.items()}
    assert {item.accounting_entry_id: item.external_id for item in pleo.sandbox.items(job_id)} == books
    assert len(books) == ITEMS
    assert [event.name for event in pleo.sandbox.received().events] == ["started", "completed"]


def test_of_two_runs_the_second_waits_for_the_first_or_says_that_it_goes_on(
    pleo: Watched, erp: SmallErpServer, at_once: Rivals, slot: Slot
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    pleo.before(1, gate, GET_DATA)
    first = at_once.start_remote()
    assert gate.reached(WITHIN_S)
    assert slot.held() == 1
    pleo.before(1, gate.open, LIST_JOBS)  # the second has come: from here on the first can go on
    second = at_once.start_remote()
    ended = [first.ended(), second.ended()]
    assert [one.status for one in ended] == [0, 0]
    assert (ended[0].job["event"] == "completed") or WENT_ON in ended[1].said
    assert (ended[1].job["successful"] == 0) or WENT_ON in ended[1].said
    _all_is_booked_once_and_reported(pleo, erp, job_id)
    assert slot.held() == 0


def test_a_run_that_holds_the_slot_for_long_is_waited_for_a_few_seconds_only(
    pleo: Watched, erp: SmallErpServer, at_once: Rivals, slot: Slot
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    pleo.before(1, gate, GET_DATA)
    first = at_once.start_remote()
    assert gate.reached(WITHIN_S)
    second = at_once.start_remote().ended()
    assert (second.status, second.job["event"]) == (0, "completed")
    assert WENT_ON in second.said
    gate.open()
    ended = first.ended()
    assert (ended.status, ended.job["event"]) == (0, None)
    assert "it is completed in Pleo" in ended.said
    _all_is_booked_once_and_reported(pleo, erp, job_id)


def test_a_slot_that_a_killed_run_has_left_taken_does_not_keep_the_next_from_its_work(
    pleo: Watched, erp: SmallErpServer, at_once: Rivals, slot: Slot
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    pleo.before(1, gate, GET_DATA)
    killed = at_once.start_remote()
    assert gate.reached(WITHIN_S)
    killed.kill()
    gate.open()
    assert slot.held() == 1
    ended = at_once.start_remote().ended()
    assert (ended.status, ended.job["event"], ended.job["successful"]) == (0, "completed", ITEMS)
    assert WENT_ON in ended.said
    assert slot.held() == 1, "as it was"
    _all_is_booked_once_and_reported(pleo, erp, job_id)


def test_a_slot_that_a_sleeping_run_holds_does_not_keep_the_next_from_its_work_either(
    pleo: Watched, erp: SmallErpServer, at_once: Rivals, slot: Slot
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    pleo.before(1, gate, GET_DATA)
    zombie = at_once.start_remote()
    assert gate.reached(WITHIN_S)
    zombie.stop()
    gate.open()
    second = at_once.start_remote().ended()
    assert (second.status, second.job["event"]) == (0, "completed")
    assert WENT_ON in second.said
    zombie.wake()
    ended = zombie.ended()
    assert (ended.status, ended.job["event"]) == (0, None)
    until(lambda: slot.held() == 0, within_s=WITHIN_S, otherwise="the woken run did not give the slot back")
    _all_is_booked_once_and_reported(pleo, erp, job_id)
