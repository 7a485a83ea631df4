"""An event is told exactly once in effect, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blocks.pleo.errors import JobFinished, PleoAuthenticationError, PleoRejected, PleoUnavailable
from blocks.pleo.models import JobEvent, JobFailure
from tests.support.pleo.scripted_pleo import (
    JOB_ID,
    Request,
    Step,
    answer,
    cut,
    drop,
    html,
    job,
    page,
    refusal,
    scripted,
)

STATES = {
    "started": ({"pending"}, "in_progress"),
    "completed": ({"in_progress"}, "completed"),
    "completed_with_errors": ({"in_progress"}, "completed_with_errors"),
    "failed": ({"pending", "in_progress"}, "failed"),
}
ACCEPTED = answer(None, 202)
LOST: dict[str, Callable[[bytes], Step]] = {
    "dropped": lambda _: drop,
    "cut": lambda whole: cut(whole, len(whole) - 12),
    "500": lambda _: answer("", 500),
    "502 page": lambda _: html(502),
    "504": lambda _: answer("", 504),
    "HTML": lambda _: html(200),
    "200 instead of 202": lambda _: answer({}, 200),
}


class Job:
    """A job that keeps Pleo's rules, and loses the answers that it is told to lose."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.more: dict[str, Any] = {}
        self.taken: list[str] = []
        self.posts = 0
        self.faults: Iterator[tuple[str, Callable[[bytes], Step]]] = iter(())

    def after(self) -> None:
        """What happens between one post and the next."""

    def __call__(self, request: Request) -> Step:
        if request.method == "GET":
            return answer({"data": job(self.status, **self.more)})
        self.posts += 1
        when, lose = next(self.faults, ("never", None))
        if when == "before":
            assert lose is not None
            self.after()
            return lose(ACCEPTED)
        reply = self._act(request.json()["event"])
        if when == "after":
            assert lose is not None
            return lose(reply)
        return reply

    def _act(self, event: str) -> bytes:
        allowed, then = STATES[event]
        if self.status not in allowed:
            return refusal(422, "INVALID_EXPORT_JOB_STATUS_CHANGE", "Export Job status change failed")
        self.status = then
        self.taken.append(event)
        if event == "failed":
            self.more = {"failureReasonType": "validation_failure"}
        return ACCEPTED


def _status_before(event: JobEvent) -> str:
    return "pending" if event is JobEvent.STARTED else "in_progress"


@pytest.mark.parametrize("event", list(JobEvent))
@pytest.mark.parametrize("lose", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_event_whose_answer_is_lost_is_taken_once(
    event: JobEvent, lose: Callable[[bytes], Step], when: str
) -> None:
    state = Job(_status_before(event))
    state.faults = iter([(when, lose)])
    async with scripted(state) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, event)
    assert state.taken == [event.value]
    assert state.posts == (2 if when == "before" else 1)


@pytest.mark.parametrize("event", list(JobEvent))
async def test_an_event_is_carried_through_five_losses_of_any_kind(event: JobEvent) -> None:
    state = Job(_status_before(event))
    state.faults = iter([("before", LOST["500"]), ("before", LOST["dropped"])] * 2 + [("after", LOST["cut"])])
    async with scripted(state) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, event)
    assert state.taken == [event.value]
    assert state.posts == 5
    assert len(pleo.time.sleeps) == 4
    assert pleo.time.sleeps[0] <= 1.0


@pytest.mark.parametrize("losses", [[LOST["dropped"]], [lambda _: answer("", 429), LOST["504"]]])
async def test_an_event_that_never_gets_through_ends_after_six_tries_and_leaves_the_job(losses: list[Any]) -> None:
    state = Job("in_progress")
    state.faults = iter([("before", lose) for lose in losses] * 20)
    async with scripted(state) as pleo, pleo.client() as client:
        with pytest.raises(PleoUnavailable, match=r"event completed: .* after 6 tries|POST .* after 6 tries"):
            await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert (state.posts, state.taken, state.status) == (6, [], "in_progress")
    assert sum(pleo.time.sleeps) < 300.0


async def test_an_event_is_not_tried_for_longer_than_five_minutes() -> None:
    state = Job("in_progress")
    state.faults = iter([("before", LOST["500"])] * 20)
    async with scripted(state) as pleo:

        def slow() -> None:
            pleo.time.seconds += 80.0

        state.after = slow  # type: ignore[method-assign]
        async with pleo.client() as client:
            with pytest.raises(PleoUnavailable, match="after 4 tries"):
                await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert state.posts == 4


async def test_a_422_on_the_first_start_is_somebody_elses_doing() -> None:
    state = Job("in_progress")
    async with scripted(state) as pleo, pleo.client() as client:
        with pytest.raises(JobFinished):
            await client.post_event(JOB_ID, JobEvent.STARTED)
    assert len(pleo.requests) == 1


@pytest.mark.parametrize("event", [JobEvent.COMPLETED, JobEvent.COMPLETED_WITH_ERRORS, JobEvent.FAILED])
async def test_a_final_event_that_the_network_delivers_twice_has_arrived_whichever_answer_comes(
    event: JobEvent,
) -> None:
    state = Job("in_progress")

    def behave(request: Request) -> Step:
        if request.method == "POST":
            state(request)
        return state(request)

    async with scripted(behave) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, event)
    assert state.taken == [event.value]
    assert pleo.lines == ["POST /v3/export-job-events", f"GET /v3/export-jobs/{JOB_ID}"]


@pytest.mark.parametrize("lost", [True, False], ids=["after a loss", "on the first post"])
async def test_a_job_that_its_user_cancelled_was_not_failed_by_us(lost: bool) -> None:
    state = Job("failed")
    state.more = {"failureReasonType": "canceled_by_user"}
    state.faults = iter([("before", LOST["dropped"])] if lost else [])
    async with scripted(state) as pleo, pleo.client() as client:
        with pytest.raises(JobFinished):
            await client.post_event(JOB_ID, JobEvent.FAILED, reason="ours", reason_type=JobFailure.ERP_UNREACHABLE)
    assert len(pleo.requests) == 2


async def test_a_422_after_ones_own_event_that_did_arrive_is_a_success() -> None:
    """The event is taken only after the job has been read: the answer was late, not lost."""
    state = Job("in_progress")
    reads = iter(["in_progress"])

    def behave(request: Request) -> Step:
        if request.method == "GET":
            return answer({"data": job(next(reads, state.status))})
        return state(request)

    state.faults = iter([("after", LOST["504"])])
    async with scripted(behave) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert state.taken == ["completed"]
    assert state.posts == 2


@pytest.mark.parametrize(
    ("event", "rival"),
    [
        (JobEvent.STARTED, "completed"),
        (JobEvent.COMPLETED, "failed"),
        (JobEvent.COMPLETED, "completed_with_errors"),
        (JobEvent.COMPLETED_WITH_ERRORS, "completed"),
        (JobEvent.FAILED, "completed"),
        (JobEvent.COMPLETED, "a_status_of_tomorrow"),
    ],
)
@pytest.mark.parametrize("seen_first", [True, False], ids=["seen when the job is read", "seen by a 422"])
async def test_a_rival_that_ended_the_job_is_not_taken_for_us(event: JobEvent, rival: str, seen_first: bool) -> None:
    state = Job(_status_before(event))
    first_read = iter([] if seen_first else [_status_before(event)])

    def behave(request: Request) -> Step:
        if request.method == "GET":
            return answer({"data": job(next(first_read, state.status))})
        if state.posts == 0:
            state.posts = 1
            state.status = rival
            return drop
        return refusal(422, "INVALID_EXPORT_JOB_STATUS_CHANGE")

    async with scripted(behave) as pleo, pleo.client() as client:
        with pytest.raises(JobFinished):
            await client.post_event(JOB_ID, event)
    assert state.taken == []
    assert pleo.lines.count("POST /v3/export-job-events") == (1 if seen_first else 2)


@pytest.mark.parametrize("status", ["failed", "in_progress", "pending"])
@pytest.mark.parametrize("event", list(JobEvent))
async def test_a_job_that_expired_meanwhile_is_over_and_not_failed_by_us(event: JobEvent, status: str) -> None:
    state = Job(_status_before(event))

    def expire() -> None:
        state.status = status
        state.more = {"expiredAt": "2026-03-02T11:00:00Z", "failureReasonType": "job_expired"}

    state.after = expire  # type: ignore[method-assign]
    state.faults = iter([("before", LOST["dropped"])])
    async with scripted(state) as pleo, pleo.client() as client:
        with pytest.raises(JobFinished, match="expired"):
            await client.post_event(JOB_ID, event, reason="ours", reason_type=JobFailure.ERP_UNREACHABLE)
    assert state.posts == 1
    assert len(pleo.requests) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_an_event_waits_as_long_as_a_busy_pleo_asks_for_and_a_429_is_sure_to_have_done_nothing(
    status: int,
) -> None:
    state = Job("in_progress")
    state.faults = iter([("before", lambda _: answer("", status, retry_after="20"))])
    async with scripted(state) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert pleo.time.sleeps == [20.0]
    looked = [] if status == 429 else [f"GET /v3/export-jobs/{JOB_ID}"]
    assert pleo.lines == ["POST /v3/export-job-events", *looked, "POST /v3/export-job-events"]


async def test_another_jobs_state_is_not_taken_for_the_one_that_was_asked_for() -> None:
    other = {"data": job("completed", id="22222222-2222-4333-8444-555555555555")}
    script: list[Step] = [drop, answer(other), answer({"data": job("in_progress")}), ACCEPTED]
    async with scripted([answer(page()), *script]) as pleo, pleo.client() as client:
        await client.list_jobs()
        await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert pleo.lines.count("POST /v3/export-job-events") == 2


async def test_credentials_revoked_while_in_doubt_are_said_so() -> None:
    async with scripted([drop, answer("", 401)]) as pleo, pleo.client() as client:
        with pytest.raises(PleoAuthenticationError):
            await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert len(pleo.requests) == 2


@pytest.mark.parametrize("refused", [refusal(400, "BAD_REQUEST"), refusal(404, "EXPORT_NOT_FOUND")])
async def test_an_event_that_pleo_refuses_or_of_a_job_it_does_not_know_is_not_repeated(refused: bytes) -> None:
    async with scripted([refused]) as pleo, pleo.client() as client:
        with pytest.raises(PleoRejected):
            await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert len(pleo.requests) == 1


async def test_reading_the_job_in_doubt_is_itself_tried_again() -> None:
    behaviour: list[Step] = [drop, drop, html(503), answer({"data": job("completed")})]
    async with scripted(behaviour) as pleo, pleo.client() as client:
        await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert pleo.lines == ["POST /v3/export-job-events", *[f"GET /v3/export-jobs/{JOB_ID}"] * 3]


@pytest.mark.parametrize(("lose", "certain"), [([], True), ([("after", LOST["cut"])], False)])
async def test_whether_an_event_was_certainly_ours_is_told(lose: list[Any], certain: bool) -> None:
    state = Job("pending")
    state.faults = iter(lose)
    async with scripted(state) as pleo, pleo.client() as client:
        assert await client.post_event(JOB_ID, JobEvent.STARTED) is certain
