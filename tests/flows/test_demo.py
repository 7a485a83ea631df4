"""`--sandbox`: a whole export of its job into its books shows once each reason why an expense fails."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from blocks.erp.settings import Attachments
from flows.demo import ITEMS, RunningSandbox, demo_settings, expected_failures, unexpected
from tests.support.exporting import Office


async def test_each_reason_is_told_once_and_the_rest_is_booked_and_posted(at_work: Office) -> None:
    settings = demo_settings(at_work.books)
    for seed in (1, 2):
        job_id = at_work.sandbox.add_job(items=ITEMS, seed=seed, showcase=True)
        report = await at_work.export(erp=settings.connect(Path.cwd()), settings=settings)
        assert [(job.event, report.exit_status) for job in report.jobs] == [("completed_with_errors", 3)]
        items = at_work.sandbox.items(job_id)
        failures = [
            (str(item.failure_reason_type), str(item.failure_reason)) for item in items if item.status == "failed"
        ]
        assert unexpected(failures) == []
        assert Counter(item.status for item in items) == {"successful": ITEMS - 19, "failed": 19}
    assert at_work.journal("SELECT DISTINCT state FROM journal") == [("posted",)]
    assert at_work.entries() == 2 * (ITEMS - 19)


async def test_the_sandbox_checks_itself_and_says_what_did_not_come_out_as_it_should(at_work: Office) -> None:
    settings = demo_settings(at_work.books)
    at_work.sandbox.add_job(items=ITEMS, seed=1, showcase=True)
    lenient = settings.model_copy(update={"attachments": Attachments.OPTIONAL})
    report = await at_work.export(erp=settings.connect(Path.cwd()), settings=settings)
    RunningSandbox(at_work.sandbox, at_work.base_url).check(report)
    assert report.exit_status == 0
    assert report.lines[-1] == "The 19 failures are shown on purpose, once each reason, and all else is booked."
    at_work.sandbox.add_job(items=ITEMS, seed=2, showcase=True)
    report = await at_work.export(erp=settings.connect(Path.cwd()), settings=lenient)
    RunningSandbox(at_work.sandbox, at_work.base_url).check(report)
    assert report.exit_status == 1
    assert any("nothing failed as validation_failure: The expense has no receipt" in line for line in report.lines)


def test_each_failure_has_to_be_meant_and_each_that_is_meant_has_to_be() -> None:
    meant = expected_failures()
    assert unexpected(meant) == []
    assert unexpected(meant[1:]) == [f"nothing failed as {meant[0][0]}: {meant[0][1]}"]
    assert unexpected([*meant, meant[0]]) == [f"{meant[0][0]}: {meant[0][1]}"]
