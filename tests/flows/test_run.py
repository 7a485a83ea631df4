"""A run of several jobs: the exit status says the worst of them, and housekeeping keeps none of them waiting."""

from __future__ import annotations

import logging

import pytest

from flows.outcome import JOB_FAILED, OK, USAGE, Ending
from flows.steps import PagesInMemory, plain_steps
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import an_item

OTHER = "11111111-1111-4111-8111-111111111111"
GET_JOB = "GET /v3/export-jobs/{jobId}"
EVENT = "POST /v3/export-job-events"


async def test_books_that_are_another_companys_are_wrong_usage_only_where_no_job_was_touched(at_work: Office) -> None:
    at_work.sandbox.add_job_of([an_item(1)])
    await at_work.export()
    job_id = at_work.sandbox.add_job_of([an_item(2)])
    at_work.sandbox.add_job_of([an_item(3)], OTHER)
    report = await at_work.export()
    assert [(job.job_id, job.ending) for job in report.jobs] == [(job_id, Ending.COMPLETED)]
    assert any("one file holds one company" in line for line in report.lines)
    assert report.exit_status == JOB_FAILED
    assert (await at_work.export()).exit_status == USAGE


async def test_a_right_that_is_withdrawn_between_two_jobs_is_no_wrong_usage_any_more(at_work: Office) -> None:
    first, second = (at_work.sandbox.add_job_of([an_item(n)]) for n in (1, 2))
    at_work.sandbox.inject("status", EVENT, skip=2, times=9, status=403)
    report = await at_work.export()
    assert [(job.job_id, job.ending) for job in report.jobs] == [
        (first, Ending.COMPLETED),
        (second, Ending.NOT_ALLOWED),
    ]
    assert report.exit_status == JOB_FAILED
    assert (await at_work.export()).exit_status == USAGE


class _Left(PagesInMemory):
    """Has pages left of these jobs."""

    def __init__(self, jobs: list[str]) -> None:
        super().__init__()
        self._jobs = jobs

    async def jobs(self) -> list[str]:
        return self._jobs


async def test_of_pages_that_are_left_pleo_is_asked_no_more_once_it_does_not_answer(
    at_work: Office, caplog: pytest.LogCaptureFixture
) -> None:
    at_work.sandbox.add_job_of([an_item(1)])
    at_work.sandbox.inject("status", GET_JOB, times=99, status=503)
    left = [f"00000000-0000-4000-8000-{n:012}" for n in range(20)]
    with caplog.at_level(logging.WARNING):
        report = await at_work.export(steps=plain_steps(_Left(left)))
    assert (report.exit_status, report.jobs[0].ending) == (0, Ending.COMPLETED)
    assert "stay for now" in caplog.text
    assert report.pleo_requests < len(left)


async def test_a_pleo_that_wants_a_company_named_is_one_line_that_says_how(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(1)])
    at_work.sandbox.strict = True
    report = await at_work.export()
    (line,) = report.lines
    assert line == (
        "Pleo wants to know which company (Pleo refused: BAD_REQUEST (HTTP 400): company_id must be provided): "
        "name one with --company-id or PLEO_COMPANY_ID"
    )
    assert (report.exit_status, report.jobs, at_work.sandbox.received().total) == (USAGE, [], 1)
    report = await at_work.export(company_id=at_work.sandbox.jobs()[0].company_id)
    assert (report.exit_status, at_work.sandbox.job(job_id).status) == (OK, "completed"), "nothing else is missed"
    assert {one.status for one in at_work.sandbox.received().requests[1:]} <= {200, 202}


async def test_items_that_have_no_status_until_they_are_tried_are_exported_like_pending_ones(at_work: Office) -> None:
    at_work.sandbox.null_until_tried = True
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 4)])
    assert (await at_work.export()).exit_status == OK
    assert at_work.sandbox.outcome(job_id) == {"successful": 3}
