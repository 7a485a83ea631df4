"""Every fault once more over real sockets: what httpx and the system's network make of it is what counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from blocks.pleo.files.client import FILE_S
from blocks.pleo.http import transport
from blocks.pleo.sandbox import Sandbox
from tests.support.network.network_faults import ALL, BY_NAME, Fault, scaled_time
from tests.support.network.socket_network import SocketNetwork
from tests.survival.fault_cells import EXIT, FINAL, JOB_ITEMS, KINDS, STARTED, UPDATE, Cell, Meeting, clean, state_of
from tests.survival.faulty_office import GET_JOB, LIST_JOBS, FaultyOffice, sandbox_time, tally

SCALE = 1 / 30  # a read may take a second, an answer two, and what is late comes after three
SCENARIO = "completed_with_errors"
AT_ONCE = 8


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    clean(SCENARIO)
    monkeypatch.setattr(transport, "_TIMEOUT", httpx.Timeout(30.0 * SCALE, connect=10.0))
    monkeypatch.setattr(transport, "ANSWER_TIMEOUT_S", 60.0 * SCALE)
    logging.disable(logging.CRITICAL)
    with scaled_time(SCALE):
        yield
    logging.disable(logging.NOTSET)


def _make(folder: Path) -> None:
    folder.mkdir()


@asynccontextmanager
async def _office(folder: Path) -> AsyncIterator[FaultyOffice]:
    _make(folder)
    network = SocketNetwork()
    with Sandbox(rate_limit=False, clock=sandbox_time) as sandbox:
        office = FaultyOffice(folder, sandbox, network, file_s=FILE_S * SCALE)
        await network.start()
        try:
            yield office
        finally:
            await network.stop()


async def _prove(cell: Cell, folder: Path) -> None:
    """The run meets the fault once or three times, and the one after it finds nothing to do, or the rest."""
    async with _office(folder) as office, asyncio.timeout(100.0):
        job_id = office.sandbox.add_job(items=7, seed=4, failing=1)
        office.meetings.append(Meeting(cell.kind, cell.fault, cell.times, cell.skip))
        report, _ = await office.export(job_id=job_id if cell.kind == GET_JOB else None)
        assert any(call.fault is cell.fault for call in office.calls), "no request met the fault"
        wanted, _ = clean(SCENARIO)
        twice = cell.kind == STARTED and "second answer" in cell.fault.name
        if not (cell.first_of_all and cell.fault.foreign) and not twice and not cell.fault.hopeless:
            assert cell.fault.deceives or state_of(office, job_id) == wanted, report.lines
            assert report.exit_status == EXIT[SCENARIO] or cell.fault.deceives, report.lines
        office.meetings.clear()
        await office.export(job_id=job_id if cell.kind == GET_JOB else None)
        assert state_of(office, job_id) == wanted


async def _prove_all(chosen: Sequence[Cell], folder: Path) -> None:
    """Some at once, as nearly all of their time is spent in waiting."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def what_is_wrong(number: int, cell: Cell) -> str:
        async with at_once:
            try:
                await _prove(cell, folder / str(number))
            except Exception as error:
                return f"{cell}: {type(error).__name__}: {error}"
        return ""

    wrong = [one for one in await asyncio.gather(*map(what_is_wrong, range(len(chosen)), chosen)) if one]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("fault", ALL[::6], ids=str)
async def test_a_fault_on_a_socket_is_what_it_is_in_memory(fault: Fault, tmp_path: Path) -> None:
    calls = (UPDATE, FINAL, JOB_ITEMS, STARTED)
    await _prove_all([Cell(calls[ALL.index(fault) % len(calls)], fault, 1)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL, ids=str)
async def test_a_fault_on_a_socket_is_borne_three_times_by_every_call(fault: Fault, tmp_path: Path) -> None:
    await _prove_all([Cell(kind, fault, 1 if fault.deceives else 3) for kind in KINDS], tmp_path)


async def test_connections_that_are_closed_when_idle_cost_no_request(tmp_path: Path) -> None:
    """An event may not be repeated blindly, so it must not go out on a connection that is known to be dead."""
    async with _office(tmp_path / "office") as office:
        office.sandbox.add_job(items=7, seed=4, failing=1)
        await office.export()
        wanted = tally(office.calls)
        office.calls.clear()
        office.sandbox.add_job(items=7, seed=4, failing=1)
        office.meetings.append(Meeting("*", BY_NAME["closed when idle"], 10**6))
        report, _ = await office.export()
    assert report.exit_status == EXIT[SCENARIO]
    for kind in (LIST_JOBS, STARTED, JOB_ITEMS, UPDATE, FINAL):
        assert tally(office.calls)[kind] == wanted[kind]
