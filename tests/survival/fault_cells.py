"""One cell of the matrix: a kind of call, a fault, how long it lasts; and what must be true of runs that meet it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flows.outcome import Ending, RunReport
from tests.support.network import virtual_time
from tests.support.network.network_faults import ALL, BY_NAME, Exchange, Fault
from tests.survival.faulty_office import (
    EXPORT_ITEMS,
    FINAL,
    GET_JOB,
    JOB_ITEMS,
    LIST_JOBS,
    RECEIPT,
    STARTED,
    UPDATE,
    Call,
    FaultyOffice,
    Heard,
    Meeting,
    faulty_office,
)

FOR_EVER = 10**6
CALL_BUDGET_S, MAX_TRIES = 300.0, 6
RUN_BUDGET_S = 2 * CALL_BUDGET_S + 60.0
"""A call that is given up costs five minutes, and before it at most one more is tried for as long (an event's job)."""

KINDS = (LIST_JOBS, GET_JOB, STARTED, JOB_ITEMS, EXPORT_ITEMS, RECEIPT, UPDATE, FINAL)
SEVERAL_TIMES = (LIST_JOBS, JOB_ITEMS, EXPORT_ITEMS, RECEIPT, UPDATE)
PAGED = (LIST_JOBS, JOB_ITEMS, EXPORT_ITEMS)
EVENTS = (STARTED, FINAL)
SCENARIOS: dict[str, dict[str, Any]] = {
    "completed_with_errors": {"items": 7, "seed": 4, "failing": 1},
    "completed": {"items": 4, "seed": 5, "failing": 0},
    "failed": {"items": 2, "seed": 6, "failing": 2},
}
EXIT = {"completed": 0, "completed_with_errors": 3, "failed": 1}


@dataclass(frozen=True, slots=True)
class Cell:
    """The fault is met by the `times` requests of the kind that come after the first `skip` of them.

    A job is read (GET_JOB) by runs that are given its id, and by any run whose event got no answer (`in_doubt`).
    """

    kind: str
    fault: Fault
    times: int
    skip: int = 0
    scenario: str = "completed_with_errors"
    in_doubt: str = ""

    def __str__(self) -> str:
        lasting = "for ever" if self.times == FOR_EVER else f"{self.times} times"
        where = f", after {self.skip}" if self.skip else ""
        doubt = f", in doubt of the {self.in_doubt}" if self.in_doubt else ""
        ending = "" if self.scenario == "completed_with_errors" else f", {self.scenario}"
        return f"{self.kind}: {self.fault} {lasting}{where}{doubt}{ending}"

    @property
    def first_of_all(self) -> bool:
        """Whether the fault meets the run's very first request, before which nothing is known of the other side."""
        return self.skip == 0 and (self.kind == LIST_JOBS or (self.kind == GET_JOB and not self.in_doubt))


@dataclass(frozen=True, slots=True)
class State:
    """What counts in the end: the books, each item's outcome in Pleo, and the job's events."""

    journal: tuple[tuple[object, ...], ...]
    items: tuple[tuple[str, str, str | None, str | None, str | None, str | None], ...]
    events: tuple[tuple[str, str | None, str | None], ...]


def state_of(office: FaultyOffice, job_id: str) -> State:
    """The state as it is now, times left out: Pleo sets its own."""
    items = tuple(
        (one.accounting_entry_id, one.status, one.external_id, one.external_url, one.failure_reason_type,
         one.failure_reason)
        for one in office.sandbox.items(job_id)
    )  # fmt: skip
    events = tuple((one.name, one.failure_reason, one.failure_reason_type) for one in office.sandbox.received().events)
    return State(tuple(office.journal()), items, events)


@cache
def clean(scenario: str) -> tuple[State, dict[str, Any]]:
    """The state after a run without any fault, and the JSON document of its job."""
    with TemporaryDirectory() as folder, faulty_office(Path(folder)) as office:
        job_id = office.sandbox.add_job(**SCENARIOS[scenario])
        report, seconds = virtual_time.run(office.export())
        assert (report.exit_status, seconds) == (EXIT[scenario], 0.0)
        return state_of(office, job_id), report.jobs[0].document()


@dataclass(frozen=True, slots=True)
class Proof:
    """What a cell's runs did: exit status and virtual seconds of the first, and how often the fault was met."""

    status: int
    seconds: float
    met: int


def prove(cell: Cell, folder: Path) -> Proof:
    """Run the cell: once with the fault, then with the fault gone. Fails where anything is not as it must be."""
    clean(cell.scenario)  # which has a loop of its own
    with faulty_office(folder) as office:
        job_id = office.sandbox.add_job(**SCENARIOS[cell.scenario])
        office.meetings.append(Meeting(cell.kind, cell.fault, cell.times, cell.skip))
        if cell.in_doubt:
            office.meetings.append(Meeting(cell.in_doubt, BY_NAME["dropped after the act"], 1))
        given = job_id if cell.kind == GET_JOB and not cell.in_doubt else None

        async def both() -> Proof:
            report, seconds = await office.export(job_id=given)
            met = sum(call.fault is cell.fault for call in office.calls)
            _check_first_run(cell, office, job_id, report, seconds)
            office.meetings.clear()
            again, _ = await office.export(job_id=given)
            _check_in_the_end(cell, office, job_id, report, again)
            _check_requests(office)
            return Proof(report.exit_status, seconds, met)

        return virtual_time.run(both())


def _check_first_run(cell: Cell, office: FaultyOffice, job_id: str, report: RunReport, seconds: float) -> None:
    state, (wanted, document) = state_of(office, job_id), clean(cell.scenario)
    lines = [*report.lines, *(job.reason for job in report.jobs)]
    assert seconds <= RUN_BUDGET_S, f"it took {seconds:g} s"
    _check_promises(state)
    if state == wanted and _may_end_with(cell, report, "done"):
        told = [job.document() for job in report.jobs]
        in_the_dark = cell.in_doubt == FINAL and report.exit_status == 1  # the job cannot be read to the last
        assert told == [{**document, "event": None} if in_the_dark else document], told
        return
    if _may_end_with(cell, report, "open"):
        assert office.sandbox.job(job_id).status in {"pending", "in_progress"}, "a job was ended for a fault on the way"
        assert len(state.events) <= 1
        assert all(len(line.splitlines()) == 1 for line in lines if line)
        if cell.first_of_all:
            assert not state.events
            assert not state.journal
        return
    if report.exit_status in (0, 2) and _may_end_with(cell, report, "untouched"):
        assert state.events == (("started", None, None),) * (cell.kind == STARTED)
        assert not state.journal
        assert not any(one[2] for one in state.items)
        return
    raise AssertionError(f"exit {report.exit_status}, {state.events}, {lines}")


def _may_end_with(cell: Cell, report: RunReport, how: str) -> bool:
    """Whether the run may end so: with the job `done`, with it left `open`, or with it not even begun, `untouched`."""
    fault, status = cell.fault, report.exit_status
    in_parts = cell.kind in PAGED and cell.times == 1  # what is too large at once comes in smaller pages
    hopeless = fault.hopeless and not in_parts
    if cell.first_of_all and (fault.foreign or hopeless):
        return how == "untouched" and status == 2
    if fault.deceives:  # a lie that cannot always be told from the truth: nothing is lost by it, that is all
        return how in ("done", "open") and status in (0, 1, 3)
    if cell.kind == STARTED and fault.name == "delivered twice, second answer read":  # a rival would look the same
        return how == "untouched" and status == 0 and report.jobs[0].ending is Ending.TAKEN
    if fault.harmless or cell.kind == RECEIPT:
        return how == "done" and status == EXIT[cell.scenario]
    if cell.kind == LIST_JOBS and cell.skip:  # is there another job? Pleo cannot be asked
        is_over = cell.times < MAX_TRIES and not hopeless
        return how == "done" and status == (EXIT[cell.scenario] if is_over else (1 if not hopeless else status))
    if cell.kind in EVENTS and (fault.acts or fault.name == "carried out past the timeout"):
        return how == "done" and status == EXIT[cell.scenario]
    if cell.times < MAX_TRIES and not hopeless:
        return how == "done" and status == EXIT[cell.scenario]
    return how == ("done" if cell.in_doubt == FINAL else "open") and status == 1


def _check_promises(state: State) -> None:
    """What holds at any time: what Pleo shows as booked stands in the books under that id."""
    booked = {(row[0], row[1]) for row in state.journal}
    for entry_id, status, external_id, *_ in state.items:
        assert status != "successful" or (entry_id, external_id) in booked, f"{entry_id} is not in the books"
    assert sum(name == "started" for name, *_ in state.events) <= 1
    assert sum(name != "started" for name, *_ in state.events) <= 1


def _check_in_the_end(cell: Cell, office: FaultyOffice, job_id: str, first: RunReport, again: RunReport) -> None:
    state, (wanted, _) = state_of(office, job_id), clean(cell.scenario)
    assert state == wanted
    was_done = bool(first.jobs) and first.jobs[0].event is not None
    allowed = {EXIT[cell.scenario]} | ({0} if was_done or cell.in_doubt else set())
    assert again.exit_status in allowed, f"the second run: {again.exit_status}, {again.lines}"


def _check_requests(office: FaultyOffice) -> None:
    """What went over the wire: few tries, within their time, soon again, and nothing twice that Pleo has taken."""
    tries: defaultdict[tuple[object, ...], list[Call]] = defaultdict(list)
    for call in office.calls:
        tries[(call.run, call.fault and call.fault.name, *call.key)].append(call)
    for (_, fault, *_), calls in tries.items():
        if fault is None or BY_NAME[str(fault)].harmless:
            continue
        assert len(calls) <= MAX_TRIES, f"{calls[0].kind} was tried {len(calls)} times"
        assert calls[-1].at - calls[0].at <= CALL_BUDGET_S, "tries for longer than five minutes"
        _check_waiting(calls, BY_NAME[str(fault)])
    for calls in _updates(office.calls):
        if (first := calls[0].fault) is not None and not first.harmless and not first.deceives:
            _check_waiting(calls, first)
    _check_nothing_acknowledged_is_sent_again(office.calls)
    _check_doubtful_events_are_looked_up(office.calls)
    _check_spread_after_a_429(office.heard)


def _check_doubtful_events_are_looked_up(calls: list[Call]) -> None:
    """An event without a readable answer is followed by reading the job, before anything else."""
    for before, call in pairwise(calls):
        fault = before.fault
        if fault is None or before.kind not in EVENTS or before.run != call.run:
            continue
        readable = fault.harmless or fault.deceives or fault.name == "truncated JSON"  # it has no body to be cut
        if not readable and not fault.name.startswith("429"):
            assert call.kind == GET_JOB, f"the {before.kind} got no answer and is followed by: {call.kind}"


def _check_spread_after_a_429(heard: list[Heard]) -> None:
    """For a minute after a 429 was heard, requests leave one at a time, evenly: 600 in a minute at most.

    What is under way when it is heard has left already, in the same instant perhaps: so the client's own order counts.
    """
    for _, one_run in groupby(heard, key=lambda one: one.run):  # another process knows of none
        refused = sent = float("-inf")
        for one in one_run:
            if one.refused:
                refused = one.at
                continue
            if one.at < refused + 60.0:
                assert one.at - sent >= 0.1 - 1e-6, f"{one.at - sent:g} s between two requests after a 429"
            sent = one.at


def _updates(calls: list[Call]) -> list[list[Call]]:
    """The tries of each update: several updates are under way at once, so that each may meet a fault only once."""
    tries: defaultdict[tuple[object, ...], list[Call]] = defaultdict(list)
    for call in calls:
        if call.kind == UPDATE:
            tries[call.run, call.key].append(call)
    return list(tries.values())


def _check_waiting(calls: list[Call], fault: Fault) -> None:
    if len(calls) < 2 or calls[0].done_at is None or calls[0].kind == RECEIPT:
        return
    waited = calls[1].at - calls[0].done_at
    if fault.wait_s is not None:
        assert fault.wait_s <= waited <= fault.wait_s + 1.0, f"waited {waited:g} s, asked for {fault.wait_s:g}"
    elif calls[0].done_at == calls[0].at:
        assert 0.0 < waited <= 1.0, f"waited {waited:g} s before the second try"


def _check_nothing_acknowledged_is_sent_again(calls: list[Call]) -> None:
    acknowledged: set[tuple[str, str, bytes]] = set()
    for call in calls:
        if call.kind == UPDATE:
            assert call.key not in acknowledged, "an update that Pleo has acknowledged is sent again"
            if call.fault is None and call.replies[-1].status == 200:
                acknowledged.add(call.key)


def weather(seed: int, folder: Path) -> Proof:
    """A run in which any request may meet any fault, by the seed's choice, and quiet ones until nothing is to do."""
    wanted, _ = clean("completed_with_errors")
    chance = random.Random(seed)
    honest = [fault for fault in ALL if not fault.deceives]

    async def perform(exchange: Exchange) -> None:
        if chance.random() < 0.5:
            await chance.choice(honest).perform(exchange)
        else:
            exchange.send((await exchange.act()).raw())

    bad = Fault("weather", perform)
    with faulty_office(folder, expires_in=10**6) as office:
        job_id = office.sandbox.add_job(**SCENARIOS["completed_with_errors"])
        office.meetings.append(Meeting("*", bad, FOR_EVER))

        async def until_done() -> Proof:
            first, seconds = await office.export()
            _check_promises(state_of(office, job_id))
            posts = Counter(call.key for call in office.calls if call.kind in EVENTS)
            assert all(times <= MAX_TRIES for times in posts.values()), posts
            office.meetings.clear()
            for _ in range(2):  # at most two, whatever was broken off
                await office.export()
            assert state_of(office, job_id) == wanted
            return Proof(first.exit_status, seconds, len(office.calls))

        return virtual_time.run(until_done())


def cells(faults: tuple[Fault, ...] = ALL, wanted: Callable[[Cell], bool] = lambda _: True) -> list[Cell]:
    """The whole matrix, or the cells of it that are wanted."""
    found = []
    for fault in faults:
        for times in (1,) if fault.deceives else (1, 3, FOR_EVER):
            for kind in KINDS:
                found.append(Cell(kind, fault, times))
                if kind in SEVERAL_TIMES:
                    found.append(Cell(kind, fault, times, skip=1))
            for event in EVENTS:
                found.append(Cell(GET_JOB, fault, times, in_doubt=event))
            for scenario in ("completed", "failed"):
                found.append(Cell(FINAL, fault, times, scenario=scenario))
    return [cell for cell in found if wanted(cell)]
