"""Real runs, started at the same moment on one company: one does the job, and the others have nothing to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.network.fault_proxy import Gate
from tests.support.pleo.pleo_items import an_item
from tests.support.pleo.watched_pleo import EVENTS, GET_DATA, GET_ITEMS, Watched
from tests.support.processes import PrefectServer, until
from tests.survival.rivals import WITHIN_S, Meeting, Rivals, Run, rivals

ITEMS = 60


@pytest.fixture
def at_once(pleo: Watched, prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Rivals]:
    with rivals(pleo, prefect_server, tmp_path) as made:
        yield made


def _events(pleo: Watched) -> list[str]:
    return [event.name for event in pleo.sandbox.received().events]


def _last_of(runs: Iterable[Run]) -> Run | None:
    """The only run that has not ended yet, once there is but one."""
    left = [run for run in runs if run.process.poll() is None]
    return left[0] if len(left) == 1 else None


@pytest.mark.parametrize("many", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_of_runs_on_one_ledger_one_does_the_job_and_the_others_end_with_success_and_a_line(
    pleo: Watched, at_once: Rivals, many: int
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    gate = Gate(WITHIN_S)
    pleo.before(1, gate, GET_DATA)
    runs = [at_once.start() for _ in range(many)]
    assert gate.reached(WITHIN_S)
    winner = until(lambda: _last_of(runs), within_s=WITHIN_S, otherwise="the others did not end")
    losers = [run.ended() for run in runs if run is not winner]
    gate.open()
    won = winner.ended()
    assert [(one.status, one.jobs) for one in losers] == [(0, [])] * (many - 1)
    assert all("another run is at work on" in one.said for one in losers)
    assert (won.status, won.job["event"], won.job["successful"]) == (0, "completed", ITEMS)
    assert _events(pleo) == ["started", "completed"]
    assert pleo.entries() == ITEMS
    assert all(item.updates == 1 for item in pleo.sandbox.items(job_id))


@pytest.mark.slow
def test_of_runs_with_books_of_their_own_that_start_a_job_at_once_one_does_it_and_the_other_books_nothing(
    pleo: Watched, at_once: Rivals, tmp_path: Path
) -> None:
    pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    meeting, gate = Meeting(2), Gate(WITHIN_S)
    for nth in (1, 2):
        pleo.before(nth, meeting, EVENTS)
    pleo.before(1, gate, GET_ITEMS)
    runs = {name: at_once.start("--ledger", name) for name in ("one.sqlite", "two.sqlite")}
    assert gate.reached(WITHIN_S)
    last = until(lambda: _last_of(runs.values()), within_s=WITHIN_S, otherwise="neither ended")
    winner, loser = sorted(runs, key=lambda name: runs[name] is not last)
    lost = runs[loser].ended()
    gate.open()
    won = last.ended()
    assert (lost.status, lost.job["event"], lost.job["successful"]) == (0, None, 0)
    assert "another runner or integration has just started it" in lost.said
    assert (won.status, won.job["event"]) == (0, "completed")
    assert _events(pleo) == ["started", "completed"]
    entries = {}
    for name in runs:
        pleo.books = tmp_path / name
        entries[name] = pleo.entries()
    assert entries == {winner: ITEMS, loser: 0}
