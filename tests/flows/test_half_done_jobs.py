"""A job of which a part is done already: whatever keeps the rest from being done, the job's end tells of all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.erp.errors import ErpLoginRefused, ErpRateLimited, ErpUnavailable
from blocks.erp.ledger import Ledger
from flows.outcome import Ending, RunReport
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import an_item

PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"
EVENTS = "POST /v3/export-job-events"


class Refusing(Ledger):
    """Books that cannot be used when they are looked at before a job."""

    def __init__(self, books: Path, error: Exception) -> None:
        super().__init__(books)
        self.error = error

    async def validate(self) -> None:
        raise self.error


async def half_done(at_work: Office) -> str:
    """A job of four items of which two are booked and told, and two are booked and not told."""
    job_id = at_work.sandbox.add_job_of([an_item(n) for n in range(1, 5)])
    at_work.sandbox.inject("status", PUT_ITEMS, skip=1, times=6)
    report = await at_work.export(page_size=2, update_batch_size=2)
    assert (report.jobs[0].ending, at_work.sandbox.outcome(job_id)) == (
        Ending.UNFINISHED,
        {"successful": 2, "pending": 2},
    )
    return job_id


def told(at_work: Office) -> list[str]:
    return [event.name for event in at_work.sandbox.received().events]


@pytest.mark.parametrize("error", [ErpUnavailable("the books are away"), ErpRateLimited("too many calls", 60.0)])
async def test_a_resumed_job_stays_open_when_the_accounting_system_does_not_answer_at_first(
    at_work: Office, error: Exception
) -> None:
    job_id = await half_done(at_work)
    report = await at_work.export(erp=Refusing(at_work.books, error))
    assert (report.jobs[0].ending, report.jobs[0].reason, report.exit_status) == (Ending.UNFINISHED, str(error), 1)
    assert at_work.sandbox.job(job_id).status == "in_progress"
    again = await at_work.export()
    assert (again.jobs[0].event, at_work.sandbox.outcome(job_id)) == ("completed", {"successful": 4})
    assert told(at_work) == ["started", "completed"]


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (ErpLoginRefused("the key was revoked"), "accounting_system_authentication_failure"),
        (ErpRateLimited("no more calls this month", 99_999.0), "accounting_system_rate_limit"),
    ],
)
async def test_a_resumed_job_that_cannot_be_done_any_more_leaves_no_item_open_and_its_end_tells_of_all(
    at_work: Office, error: Exception, type_: str
) -> None:
    job_id = await half_done(at_work)
    report = await at_work.export(erp=Refusing(at_work.books, error))
    assert (report.jobs[0].event, report.jobs[0].reason, report.exit_status) == ("completed_with_errors", str(error), 3)
    assert at_work.sandbox.outcome(job_id) == {"successful": 2, "failed": 2}
    failed = [item for item in at_work.sandbox.items(job_id) if item.status == "failed"]
    assert {(item.failure_reason_type, item.failure_reason) for item in failed} == {(type_, str(error))}
    assert told(at_work) == ["started", "completed_with_errors"]
    at_work.sandbox.export_again(job_id, [item.accounting_entry_id for item in failed])
    again = await at_work.export()
    assert (again.jobs[0].event, again.jobs[0].found, at_work.entries()) == ("completed", 2, 4)


async def test_a_resumed_job_of_which_only_the_end_is_missing_is_completed_without_an_accounting_system(
    at_work: Office,
) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(1), an_item(2)])
    at_work.sandbox.inject("drop", EVENTS, skip=1, times=6)
    assert (await at_work.export()).jobs[0].ending is Ending.UNFINISHED
    report = await at_work.export(erp=Refusing(at_work.books, ErpLoginRefused("the key was revoked")))
    assert (report.jobs[0].event, report.jobs[0].already_final) == ("completed", 2)
    assert at_work.sandbox.outcome(job_id) == {"successful": 2}


async def test_contra_accounts_that_go_missing_in_a_resumed_job_fail_what_is_open_and_not_the_job(
    at_work: Office,
) -> None:
    job_id = await half_done(at_work)
    at_work.sandbox.miss_contra_accounts(["DKK"], job_id=job_id)
    report = await at_work.export()
    assert (report.jobs[0].event, at_work.sandbox.outcome(job_id)) == (
        "completed_with_errors",
        {"successful": 2, "failed": 2},
    )
    assert {failure.type for failure in report.jobs[0].failures} == {"missing_configuration"}
    assert all("DKK" in failure.reason for failure in report.jobs[0].failures)


async def test_a_start_that_may_have_been_anothers_does_not_make_a_job_ours_to_fail(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job_of([an_item(1), an_item(2)])
    other: list[RunReport] = []

    class Slow(Refusing):
        async def open(self, company_id: str, *, dry_run: bool) -> None:
            """While we get ready, another run starts the job and does a part of it; then our start gets no answer."""
            at_work.sandbox.inject("status", PUT_ITEMS, skip=1, times=6)
            other.append(await at_work.export(update_batch_size=1))
            at_work.sandbox.inject("drop", EVENTS)
            await super().open(company_id, dry_run=dry_run)

    erp = Slow(at_work.books.with_name("others.sqlite"), ErpUnavailable("the books are away"))
    report = await at_work.export(erp=erp)
    assert other[0].jobs[0].ending is Ending.UNFINISHED
    assert (report.jobs[0].ending, report.jobs[0].reason) == (Ending.UNFINISHED, "the books are away")
    assert told(at_work) == ["started"]
    again = await at_work.export()
    assert (again.jobs[0].event, at_work.sandbox.outcome(job_id)) == ("completed", {"successful": 2})
