"""Every kind of call to Pleo meets every fault, once, three times, for ever: the run ends as it must, none hangs.

`python -m pytest -m slow tests/survival/test_faults_that_stay.py` runs the whole matrix, this module's quick part some
forty of its cells. Time is virtual, the HTTP library is real: see `faulty_office`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import pytest

from tests.support.network import virtual_time
from tests.support.network.network_faults import ALL, BASIC, BEYOND, BY_NAME, Fault
from tests.survival.fault_cells import FOR_EVER, KINDS, SEVERAL_TIMES, Cell, cells, prove, weather
from tests.survival.faulty_office import EXPORT_ITEMS, faulty_office

ALL_CELLS = cells()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # thousands of warnings would cost more than the runs
    yield
    logging.disable(logging.NOTSET)


def _prove_all(chosen: Sequence[Cell], folder: Path) -> Counter[int]:
    """Prove the cells; whatever is wrong with any of them fails the test, cell by cell."""
    ended: Counter[int] = Counter()
    wrong = []
    for number, cell in enumerate(chosen):
        try:
            proof = prove(cell, folder / str(number))
            assert proof.met, "no request met the fault"
            ended[proof.status] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"{cell}: {type(error).__name__}: {error}")
    assert not wrong, f"{len(wrong)} of {len(chosen)} cells:\n" + "\n".join(wrong)
    return ended


def _sample(fault: Fault, turn: int, kinds: Sequence[str]) -> list[Cell]:
    """A cell a kind, with how long and from where on taken in turns."""
    lasting = cycle((1,) if fault.deceives else (1, FOR_EVER, 3))
    for _ in range(turn % 3):
        next(lasting)
    return [
        Cell(kind, fault, next(lasting), skip=int(kind in SEVERAL_TIMES and (turn + n) % 2))
        for n, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize("fault", BASIC[::3], ids=str)
def test_a_fault_that_the_network_knows_well_ends_a_third_of_the_calls_well(fault: Fault, tmp_path: Path) -> None:
    turn = BASIC.index(fault) // 3
    _prove_all(_sample(fault, turn, KINDS[turn % 3 :: 3]), tmp_path)


@pytest.mark.parametrize("fault", BEYOND[::2], ids=str)
def test_a_fault_that_nobody_expects_ends_a_call_well(fault: Fault, tmp_path: Path) -> None:
    turn = BEYOND.index(fault)
    _prove_all(_sample(fault, turn, [KINDS[turn // 2 % len(KINDS)]]), tmp_path)


def test_a_page_that_comes_in_place_of_another_costs_no_item_its_entry(tmp_path: Path) -> None:
    proof = prove(Cell(EXPORT_ITEMS, BY_NAME["the page before"], 1, skip=1), tmp_path / "one")
    assert (proof.status, proof.met) == (3, 1)  # and the books are those of a run without a fault


@pytest.mark.parametrize(
    "seeds", [range(40, 50), pytest.param(range(50, 500), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_bad_weather_loses_nothing(seeds: range, tmp_path: Path) -> None:
    ended: Counter[int] = Counter()
    for seed in seeds:
        try:
            ended[weather(seed, tmp_path / str(seed)).status] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert ended[3] >= len(seeds) // 5  # a good part gets through in spite of it
    assert ended[1]  # and some are broken off


@pytest.mark.slow
def test_more_requests_than_a_minute_allows_meet_no_429(tmp_path: Path) -> None:
    with faulty_office(tmp_path, rate_limit=True) as office:
        office.sandbox.add_job(items=250, failing=0)
        report, seconds = virtual_time.run(office.export(page_size=1))
        assert report.exit_status == 0
        assert (report.pleo_requests > 600, 60.0 <= seconds < 125.0) == (True, True)
        assert 429 not in office.sandbox.received().by_status


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL, ids=str)
def test_every_kind_of_call_meets_the_fault_for_as_long_as_it_lasts(fault: Fault, tmp_path: Path) -> None:
    ended = _prove_all([cell for cell in ALL_CELLS if cell.fault is fault], tmp_path)
    assert ended


def test_the_matrix_holds_every_kind_fault_and_length() -> None:
    assert len(BASIC) == 21
    assert {(cell.kind, cell.fault.name, cell.times) for cell in ALL_CELLS if not cell.fault.deceives} == {
        (kind, fault.name, times) for kind in KINDS for fault in ALL if not fault.deceives for times in (1, 3, FOR_EVER)
    }
    assert {cell.kind for cell in ALL_CELLS if cell.skip} == set(SEVERAL_TIMES)
