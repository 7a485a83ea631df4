"""Two runs on one job, in books that many may write in at once: who owns it, and what the slower one says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from flows.outcome import Ending, JobReport, RunReport
from flows.steps import PagesInMemory, plain_steps
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.network.fault_proxy import Gate
from tests.support.pleo.pleo_items import an_item, entry_id
from tests.support.pleo.watched_pleo import EVENTS, GET_DATA, GET_ITEMS, LIST_JOBS, PUT_ITEMS, WRITES, Watched
from tests.support.processes import until
from tests.survival.rivals import WITHIN_S, Meeting

ITEMS = 60


async def _run(pleo: Watched, erp: SmallErpServer, pages: PagesInMemory | None = None) -> RunReport:
    return await pleo.export(page_size=20, update_batch_size=20, erp=SmallErp(erp.base_url), steps=plain_steps(pages))


async def _both(pleo: Watched, erp: SmallErpServer, pages: PagesInMemory | None = None) -> tuple[JobReport, JobReport]:
    """Two runs at once, perhaps with the same stored pages: what they say of the job, the one that ended it first."""
    reports = await asyncio.gather(_run(pleo, erp, pages), _run(pleo, erp, pages))
    winner, loser = sorted((report.jobs[0] for report in reports), key=lambda job: job.event is None)
    return winner, loser


def _all_is_booked_once_and_reported(pleo: Watched, erp: SmallErpServer, job_id: str) -> None:
    books = {id_: f"S-{entry.number}" for id_, entry in erp.entries.items()}
    told = {item.accounting_entry_id: item.external_id for item in pleo.sandbox.items(job_id)}
    assert told == books
    assert len(books) == len(set(books.values())) == ITEMS
    assert [event.name for event in pleo.sandbox.received().events] == ["started", "completed"]


async def test_of_two_that_post_started_at_once_one_is_told_that_the_job_is_taken(
    pleo: Watched, erp: SmallErpServer
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    meeting, gate = Meeting(2), Gate(WITHIN_S)
    for nth in (1, 2):
        pleo.before(nth, meeting, EVENTS)
    pleo.before(1, gate, GET_DATA)
    pleo.before(3, gate.open, LIST_JOBS)  # the loser's second, as the winner is held
    winner, loser = await _both(pleo, erp)
    assert (winner.event, loser.ending, loser.exit_status, loser.successful) == ("completed", Ending.TAKEN, 0, 0)
    _all_is_booked_once_and_reported(pleo, erp, job_id)


async def test_one_that_is_told_that_the_job_is_taken_leaves_the_pages_to_the_run_at_work(
    pleo: Watched, erp: SmallErpServer
) -> None:
    pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    late, told = Gate(WITHIN_S), Gate(WITHIN_S)
    pleo.before(1, late, EVENTS)  # the loser is who comes first: it waits until the other has fetched and booked
    pleo.before(1, late.open, PUT_ITEMS)
    pleo.before(1, told, PUT_ITEMS)
    pleo.before(3, told.open, LIST_JOBS)
    winner, loser = await _both(pleo, erp, PagesInMemory())
    assert (winner.event, loser.ending) == ("completed", Ending.TAKEN)
    assert pleo.sandbox.received().by_call[GET_DATA] == 3


@pytest.mark.parametrize("loss", ["lost", "drop"])
async def test_one_whose_started_got_no_answer_believes_that_it_owns_the_job_and_books_nothing_twice(
    pleo: Watched, erp: SmallErpServer, loss: str
) -> None:
    """Pleo knows no owner: a job in progress may be ours or the other's, so both go on, and promise 1 holds."""
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    meeting = Meeting(2)
    for nth in (1, 2):
        pleo.before(nth, meeting, EVENTS)
    pleo.sandbox.inject(loss, EVENTS, skip=1)  # type: ignore[arg-type]  # that of the second, which came too late
    for nth in (1, 2):
        pleo.before(nth, meeting, GET_ITEMS)  # so that both are at it at once
    winner, loser = await _both(pleo, erp)
    assert (winner.event, winner.exit_status, loser.exit_status) == ("completed", 0, 0)
    assert loser.ending in {Ending.COMPLETED, Ending.FINISHED_ELSEWHERE, Ending.TAKEN}  # as their requests came in
    _all_is_booked_once_and_reported(pleo, erp, job_id)


async def test_while_another_is_at_work_on_a_job_the_companys_others_wait_for_it(pleo: Watched) -> None:
    """Pleo lets one job of a company run at a time."""
    first, second = (pleo.sandbox.add_job_of([an_item(n)]) for n in (1, 2))
    pleo.before(1, lambda: pleo.another(first, "started"), EVENTS)
    report = await pleo.export()
    assert [(job.job_id, job.ending) for job in report.jobs] == [(first, Ending.TAKEN)]
    assert (report.exit_status, pleo.entries(), pleo.sandbox.job(second).status) == (0, 0, "pending")
    assert pleo.answered().count((EVENTS, 422)) == 1
    asked = await pleo.export(job_id=second)
    (job,) = asked.jobs
    assert (job.ending, asked.exit_status, pleo.entries()) == (Ending.NOT_STARTED, 1, 0)
    assert f"job {first} of the company is in progress" in job.reason
    pleo.another(first, "completed")
    report = await pleo.export()
    assert [(job.job_id, job.event) for job in report.jobs] == [(second, "completed")]


WHEN = [
    (PUT_ITEMS, 2),
    (EVENTS, 2),
    *(
        pytest.param(call, nth, marks=pytest.mark.slow)
        for call, nth in ((GET_ITEMS, 1), (GET_DATA, 1), (GET_DATA, 3), (PUT_ITEMS, 1), (PUT_ITEMS, 3))
    ),
]


@pytest.mark.parametrize(("call", "nth"), WHEN)
async def test_of_two_that_resume_a_job_the_slower_reports_as_it_is_and_touches_the_finished_job_no_more(
    pleo: Watched, erp: SmallErpServer, call: str, nth: int
) -> None:
    """The slower is held before that request until the faster has ended the job."""
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    others: list[RunReport] = []
    pleo.before(nth, lambda: others.append(asyncio.run(_run(pleo, erp))), call)
    slower = (await _run(pleo, erp)).jobs[0]
    (faster,) = others[0].jobs
    assert (faster.event, slower.exit_status, slower.unreported) == ("completed", 0, {})
    if slower.event is None:
        assert slower.ending is Ending.FINISHED_ELSEWHERE
        assert slower.reason == "it is completed in Pleo; what is booked stays booked"
    else:  # it had nothing left to do but to say the same, which cannot be told from an event delivered twice
        assert (slower.event, call) in {("completed", GET_ITEMS), ("completed", EVENTS)}
    assert slower.successful <= ITEMS
    assert slower.difference() == ""
    assert faster.successful + faster.already_final == ITEMS
    refused = next(n for n, (_, status) in enumerate(pleo.answered()) if status == 422)
    assert not [one for one, _ in pleo.answered()[refused + 1 :] if one in WRITES]
    _all_is_booked_once_and_reported(pleo, erp, job_id)


async def test_the_same_job_into_two_books_at_once_stands_once_in_each_and_what_pleo_does_not_know_is_told(
    pleo: Watched, tmp_path: Path
) -> None:
    """Promise 1 holds for each accounting system: who keeps two books for a company has an expense in both of them."""
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    other, others = replace(pleo, books=tmp_path / "other.sqlite"), list[RunReport]()

    def the_others_turn() -> None:
        """Once both later updates of the first run are under way, and held."""
        until(lambda: pleo.door is not None and pleo.door.calls.count(PUT_ITEMS) == 3, within_s=WITHIN_S)
        others.append(asyncio.run(other.export(page_size=20, update_batch_size=20)))

    pleo.before(2, the_others_turn, PUT_ITEMS)
    pleo.before(3, lambda: until(lambda: others, within_s=WITHIN_S), PUT_ITEMS)
    report = await pleo.export(page_size=20, update_batch_size=20)
    twice = {entry_id(n) for n in range(20, ITEMS)}
    assert (report.jobs[0].ending, others[0].jobs[0].event) == (Ending.FINISHED_ELSEWHERE, "completed")
    assert (set(pleo.booked()) & set(other.booked()), len(pleo.booked())) == (twice, ITEMS)
    assert pleo.sandbox.outcome(job_id) == {"successful": ITEMS}
    assert (report.exit_status, set(report.jobs[0].unreported)) == (1, twice)  # Pleo names the other's entries
