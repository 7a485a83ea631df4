"""Every kind of call to an accounting system meets every fault, as long as it lasts; the books come out the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from blocks.erp.entries import EntryState
from blocks.erp.errors import ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.settings import Attachments, ErpSettings
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.network import virtual_time
from tests.support.network.network_faults import BASIC, BEYOND, Fault
from tests.survival.fault_cells import EXIT, FOR_EVER, MAX_TRIES, RUN_BUDGET_S, SCENARIOS, clean, state_of
from tests.survival.faulty_erp import ANSWER_S, RemoteErp, Trouble, TroubledLedger, serve_erp
from tests.survival.faulty_office import START, FaultyOffice, Meeting, faulty_office

CALLS = ("erp ping", "erp find", "erp create", "erp attach", "erp post")
SCENARIO, PAGES = "completed_with_errors", 3
STEP_BUDGET_S = 300.0 + 2 * ANSWER_S + 10.0
"""Five minutes of tries, the last of which may take its time; and one before that, which told a part of the page."""
SETTINGS = ErpSettings(posting=EntryState.POSTED, attachments=Attachments.REQUIRED)
BUSY_FOR_EVER = frozenset({"429 for a huge time", "429 until a date, told by a wrong clock"})


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _books(server: SmallErpServer) -> dict[str, Any]:
    return {
        id_: (entry.posted, entry.document["amount_minor"], entry.document["accounts"], sorted(entry.files))
        for id_, entry in server.entries.items()
    }


def _outcomes(office: FaultyOffice, job_id: str) -> list[Any]:
    return [(item.accounting_entry_id, item.status, item.failure_reason_type) for item in office.sandbox.items(job_id)]


def _events(office: FaultyOffice) -> list[str]:
    return [event.name for event in office.sandbox.received().events]


@cache
def _clean_remote() -> tuple[dict[str, Any], list[Any], list[str]]:
    with TemporaryDirectory() as folder, faulty_office(Path(folder)) as office:
        server = SmallErpServer()
        serve_erp(office, server)
        job_id = office.sandbox.add_job(**SCENARIOS[SCENARIO])
        report, _ = virtual_time.run(_export(office))
        assert report.exit_status == EXIT[SCENARIO]
        assert all(posted for posted, *_ in _books(server).values())
        return _books(server), _outcomes(office, job_id), _events(office)


async def _export(office: FaultyOffice) -> Any:
    erp = RemoteErp(office)
    try:
        return await office.export(erp=erp, settings=SETTINGS)
    finally:
        await erp.close()


def _prove_remote(call: str, fault: Fault, times: int, skip: int, folder: Path) -> None:
    wanted = _clean_remote()
    with faulty_office(folder) as office:
        server = SmallErpServer()
        serve_erp(office, server)
        job_id = office.sandbox.add_job(**SCENARIOS[SCENARIO])
        office.meetings.append(Meeting(call, fault, times, skip))

        async def both() -> None:
            report, seconds = await _export(office)
            assert any(one.fault is fault for one in office.calls), "no request met the fault"
            goes_on = fault.acts or fault.name == "carried out past the timeout"  # some entries more with every try
            assert seconds <= (PAGES if goes_on else 1) * STEP_BUDGET_S, f"it took {seconds:g} s"
            _check_what_is_reported(server, office, job_id)
            done = (_books(server), _outcomes(office, job_id), _events(office)) == wanted
            job = office.sandbox.job(job_id)
            if fault.name in BUSY_FOR_EVER:  # it will not clear in the job's life, so what is open fails
                assert job.failure_reason_type or any(
                    why == "accounting_system_rate_limit" for *_, why in _outcomes(office, job_id)
                )
                assert job.status not in {"pending", "in_progress"}
                return
            if done:
                assert report.exit_status == EXIT[SCENARIO]
                return
            assert report.exit_status == 1
            assert times > MAX_TRIES - 1, "three tries in a row are to be borne"
            if call == "erp ping":  # nothing was begun, so the job can be failed and says why
                assert job.failure_reason_type in {"accounting_system_unreachable", "accounting_system_rate_limit"}
                assert not server.entries
                return
            assert job.status == "in_progress", "a job was ended for a fault on the way"
            office.meetings.clear()
            again, _ = await _export(office)
            assert again.exit_status == EXIT[SCENARIO], again.lines
            assert (_books(server), _outcomes(office, job_id), _events(office)) == wanted

        virtual_time.run(both())


def _check_what_is_reported(server: SmallErpServer, office: FaultyOffice, job_id: str) -> None:
    for item in office.sandbox.items(job_id):
        if item.status == "successful":
            assert item.external_id == f"S-{server.entries[item.accounting_entry_id].number}"
            assert server.entries[item.accounting_entry_id].posted


def _prove_all(chosen: Sequence[tuple[str, Fault, int, int]], folder: Path) -> None:
    wrong = []
    for number, (call, fault, times, skip) in enumerate(chosen):
        try:
            _prove_remote(call, fault, times, skip, folder / str(number))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"{call}: {fault} {times} times, after {skip}: {type(error).__name__}: {error}")
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong)


def _fitting(faults: Sequence[Fault]) -> list[Fault]:
    """Answers to other requests are the adapter's to tell from its own, and this one cannot."""
    return [fault for fault in faults if not fault.deceives]


@pytest.mark.parametrize("fault", _fitting(BASIC)[1::4], ids=str)
def test_a_remote_erp_that_fails_gets_every_entry_once(fault: Fault, tmp_path: Path) -> None:
    turn = BASIC.index(fault)
    lasting = (1, FOR_EVER, 3)
    _prove_all(
        [(call, fault, lasting[(turn + n) % 3], (turn + n) % 2 if n else 0) for n, call in enumerate(CALLS)], tmp_path
    )


@pytest.mark.slow
@pytest.mark.parametrize("fault", _fitting([*BASIC, *BEYOND]), ids=str)
def test_a_remote_erp_that_fails_for_as_long_as_it_likes_gets_every_entry_once(fault: Fault, tmp_path: Path) -> None:
    _prove_all(
        [
            (call, fault, times, skip)
            for call in CALLS
            for times in ((1, 3, FOR_EVER) if fault in BASIC else (1, FOR_EVER))
            for skip in ((0, 1) if call in {"erp find", "erp create"} and fault in BASIC else (0,))
        ],
        tmp_path,
    )


ERRORS = {
    "unavailable": lambda: ErpUnavailable("away"),
    "unknown": lambda: ErpOutcomeUnknown("the answer was lost"),
    "busy": lambda: ErpRateLimited("slower"),
    "busy for 7 s": lambda: ErpRateLimited("slower", 7.0),
    "busy for -5 s": lambda: ErpRateLimited("slower", -5.0),
    "busy for nan s": lambda: ErpRateLimited("slower", float("nan")),
}


def test_a_ledger_whose_answers_are_lost_three_times_gets_every_entry_once(tmp_path: Path) -> None:
    _prove_ledgers("unknown", 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3, FOR_EVER], ids=["once", "three times", "for ever"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_ledger_that_fails_gets_every_entry_once(error: str, times: int, tmp_path: Path) -> None:
    _prove_ledgers(error, times, tmp_path)


def _prove_ledgers(error: str, times: int, tmp_path: Path) -> None:
    for number, (method, after_act, skip) in enumerate(
        (method, after_act, skip)
        for method in ("validate", "load_reference", "find", "record", "finish_job")
        for after_act in (False, True)
        for skip in (0, 1)
        if not (after_act and error == "unavailable")  # which says that nothing was written
        if not (skip and method in {"validate", "load_reference", "finish_job"})
    ):
        _prove_ledger(Trouble(method, ERRORS[error], after_act, times, skip), tmp_path / str(number))


def _prove_ledger(trouble: Trouble, folder: Path) -> None:
    wanted, _ = clean(SCENARIO)
    with faulty_office(folder) as office:
        job_id = office.sandbox.add_job(**SCENARIOS[SCENARIO])
        ledger = TroubledLedger(folder / "books.sqlite", clock=lambda: START)
        ledger.trouble = trouble
        lasts = trouble.times == FOR_EVER

        async def both() -> None:
            report, seconds = await office.export(erp=ledger)
            assert trouble.met
            assert seconds <= RUN_BUDGET_S
            job = office.sandbox.job(job_id)
            if lasts and trouble.method in {"validate", "load_reference"}:
                assert (report.exit_status, job.status) == (1, "failed")
                assert not state_of(office, job_id).journal
                return
            goes_on = trouble.after_act and trouble.method == "record"  # what is written is found by the next try
            if not lasts or goes_on or trouble.method == "finish_job":  # which books do not depend on
                assert report.exit_status == EXIT[SCENARIO]
            else:
                assert (report.exit_status, job.status) == (1, "in_progress")
                assert len(trouble.met) in {MAX_TRIES, MAX_TRIES + 1}
                again, _ = await office.export()
                assert again.exit_status == EXIT[SCENARIO]
            assert state_of(office, job_id) == wanted

        virtual_time.run(both())
