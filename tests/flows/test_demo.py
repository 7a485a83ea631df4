"""`--sandbox`: a whole export of its job into its books shows once each reason why an expense fails."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from flows.demo import ITEMS, demo_settings
from tests.support.demo_failures import expected, told
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
        assert told(failures) == expected()
        assert Counter(item.status for item in items) == {"successful": ITEMS - 19, "failed": 19}
    assert at_work.journal("SELECT DISTINCT state FROM journal") == [("posted",)]
    assert at_work.entries() == 2 * (ITEMS - 19)
