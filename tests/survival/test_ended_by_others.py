"""Others end the job, or time does, before any one of our requests: stop, tell what stands, go on in the next job.

The job has 60 expenses on three pages, so that a whole run makes thirteen requests.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import pytest

from flows.outcome import Ending, RunReport
from flows.updates import MOST_AT_ONCE
from tests.support.pleo.pleo_items import an_item
from tests.support.pleo.watched_pleo import EVENTS, GET_DATA, GET_ITEMS, LIST_JOBS, PUT_ITEMS, READ_JOB, WRITES, Watched

ITEMS = 60
REQUESTS = 13
"""1 list, 1 start, 3 pages of rows, 3 of data, 3 updates, 1 final event, 1 list."""

QUICK = (2, 9, 10, 12)
End = Callable[[Watched, str], None]
ENDS: dict[str, End] = {
    "completed": lambda pleo, job_id: pleo.another(job_id, "completed"),
    "completed_with_errors": lambda pleo, job_id: pleo.another(job_id, "completed_with_errors"),
    "failed": lambda pleo, job_id: pleo.another(job_id, "failed", "service_timeout"),
    "canceled_by_user": lambda pleo, job_id: pleo.cancel(job_id),
    "expired": lambda pleo, job_id: pleo.expire(job_id),
    "gone": lambda pleo, job_id: pleo.remove(job_id),
}
SAID = {
    "completed": "it is completed in Pleo",
    "completed_with_errors": "it is completed_with_errors in Pleo",
    "failed": "it is failed in Pleo: service_timeout by somebody else",
    "canceled_by_user": "it is failed in Pleo: canceled_by_user by somebody else",
    "expired": "it expired in Pleo: job_expired",
    "gone": "EXPORT_NOT_FOUND",
}
STATUS = {"completed": 0, "completed_with_errors": 3}


def _points() -> list[object]:
    points: list[object] = []
    for end in ENDS:
        for nth in range(1, REQUESTS + 1):
            marks = () if nth in QUICK and end in ("completed", "canceled_by_user") else (pytest.mark.slow,)
            points.append(pytest.param(end, nth, marks=marks))
    return points


async def _export(pleo: Watched) -> RunReport:
    return await pleo.export(page_size=20, update_batch_size=20)


async def test_a_run_that_nobody_disturbs_makes_as_many_requests_as_the_driver_counts_on(pleo: Watched) -> None:
    pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    assert (await _export(pleo)).exit_status == 0
    assert len(pleo.answered()) == REQUESTS


@pytest.mark.parametrize(("end", "nth"), _points())
async def test_a_job_that_is_ended_before_our_next_request_stops_us_and_is_found_by_the_next(
    pleo: Watched, end: str, nth: int
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(ITEMS)])
    ended: list[float] = []

    def end_it() -> None:
        ENDS[end](pleo, job_id)
        ended.append(time.time())

    pleo.before(nth, end_it)
    report = await _export(pleo)
    if end == "gone":
        pleo.bring_back(job_id)
    answered, booked, unreported = pleo.answered(), pleo.booked(), pleo.unreported(job_id)

    # It stops: after the first answer that tells of the end the job is read (twice after a final event, which may have
    # arrived), its rows too where something may not have been reported, and nothing is written any more. What was under
    # way beside that request (rows, data, two more updates) still comes in before.
    over = next((n for n, (_, status) in enumerate(answered) if status in (404, 422)), len(answered))
    later = answered[over + 1 :]
    updates = [status for call, status in later if call == PUT_ITEMS]  # that were under way beside it
    assert len(updates) < MOST_AT_ONCE
    assert set(updates) <= {200, 400, 404, 422}
    rest = [call for call, _ in later if call != PUT_ITEMS]
    first = rest.index(READ_JOB) if READ_JOB in rest else 0
    beside, after = Counter(rest[:first]), rest[first:]
    assert beside <= Counter({GET_ITEMS: 3, GET_DATA: 1})
    refused_event = answered[over : over + 1] == [(EVENTS, 422)] and nth > 2
    read = [READ_JOB] * (2 if refused_event and not (end == "completed" and over == REQUESTS - 2) else 1)  # whose end?
    assert after in ([], [*read, LIST_JOBS], [*read, *[GET_ITEMS] * 3, LIST_JOBS])
    assert (GET_ITEMS in after) == bool(unreported) or end == "gone"
    came_later = [
        one for one in pleo.sandbox.received().requests if one.at - one.duration_ms / 1000 > ended[0]
    ]  # and not what was under way
    assert not [
        one.call for one in came_later if one.call in WRITES and one.status not in (400, 404, 422)
    ]  # 400: broken off

    # It says how the job ended, and what stands in the books without Pleo knowing.
    if nth == 1:
        assert (report.exit_status, report.lines) == (0, ["nothing to do: no export job is waiting"])
    else:
        (job,) = report.jobs
        as_we_say = end == "completed" and nth == REQUESTS - 1  # which may as well be our own event, delivered twice
        ours = nth == REQUESTS or as_we_say
        assert job.ending is (Ending.COMPLETED if ours else Ending.FINISHED_ELSEWHERE)
        assert (job.event is not None, SAID[end] in job.reason) == (ours, not ours)
        assert {id_: entry.external_id for id_, entry in job.unreported.items()} == unreported
        assert report.exit_status == (0 if ours else 1 if unreported else STATUS.get(end, 1))
        assert job.successful == len(booked)
        assert job.difference() == "" or unreported

    # And the next job finds it all: no expense is booked twice, none is lost.
    again = pleo.sandbox.export_again(job_id)
    report = await _export(pleo)
    assert (report.exit_status, report.jobs[0].found) == (0, len(booked))
    assert pleo.sandbox.outcome(again) == {"successful": ITEMS}
    assert len(pleo.booked()) == ITEMS
    assert pleo.booked().items() >= booked.items()


async def wait_for_the_update(what: str, done: int, _total: int) -> None:
    """Goes on after six pages only when the update under way has been answered."""
    sending = [one for one in asyncio.all_tasks() if getattr(one.get_coro(), "__qualname__", "") == "Updates._send"]
    if (what, done) == ("recorded", 120) and sending:
        await asyncio.wait(sending)


async def test_once_an_update_is_refused_one_page_more_is_booked_at_most(pleo: Watched) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(300)])
    pleo.before(1, lambda: pleo.cancel(job_id), PUT_ITEMS)
    report = await pleo.export(page_size=20, update_batch_size=100, show=wait_for_the_update)
    assert report.jobs[0].ending is Ending.FINISHED_ELSEWHERE
    assert pleo.entries() == len(report.jobs[0].unreported)
    assert 100 < pleo.entries() <= 140
