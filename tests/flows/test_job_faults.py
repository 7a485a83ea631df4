"""The seven steps when something goes wrong on the way: calls get lost, answers are bad, one side stays away."""

import pytest

from blocks.erp.base import Outcome
from blocks.erp.entries import JournalEntry
from blocks.erp.errors import ErpOutcomeUnknown, ErpUnavailable
from blocks.erp.ledger import Ledger
from blocks.erp.settings import Attachments, ErpSettings
from flows.outcome import Ending
from tests.support.exporting import Office

PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"


class _Trouble(Ledger):
    """A real ledger in front of which calls get lost, before or after they were carried out."""

    def __init__(self, office: Office, *, before: int = 0, after: int = 0) -> None:
        super().__init__(office.books)
        self.before, self.after = before, after
        self.looked_up: list[int] = []

    async def find(self, accounting_entry_ids):  # type: ignore[no-untyped-def]
        self.looked_up.append(len(accounting_entry_ids))
        return await super().find(accounting_entry_ids)

    async def record(self, entries: list[JournalEntry]) -> list[Outcome]:  # type: ignore[override]
        if self.before:
            self.before -= 1
            raise ErpUnavailable("the ledger is away")
        outcomes = await super().record(entries)
        if self.after:
            self.after -= 1
            raise ErpOutcomeUnknown("the answer was lost")
        return outcomes


@pytest.mark.parametrize(("before", "after", "look_ups"), [(5, 0, 7), (0, 5, 2), (2, 3, 4)])
async def test_a_write_without_an_answer_is_looked_up_before_it_is_tried_again(
    at_work: Office, before: int, after: int, look_ups: int
) -> None:
    at_work.sandbox.add_job(items=30, failing=False)
    trouble = _Trouble(at_work, before=before, after=after)
    report = await at_work.export(erp=trouble, settings=ErpSettings(attachments=Attachments.SKIP))
    assert (report.jobs[0].event, report.jobs[0].successful) == ("completed", 30)
    assert at_work.entries() == 30
    assert trouble.looked_up == [30] * look_ups  # and what is written at last is read back once


async def test_a_pleo_that_stays_away_leaves_the_job_open_and_no_item_reported_twice(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=60, failing=False)
    at_work.sandbox.inject("status", PUT_ITEMS, skip=1, times=6)
    report = await at_work.export(page_size=20, update_batch_size=20)
    assert (report.jobs[0].ending, report.exit_status) == (Ending.UNFINISHED, 1)
    first = at_work.sandbox.outcome(job_id)["successful"]
    assert first == 20
    again = await at_work.export(page_size=20, update_batch_size=20)
    assert (again.jobs[0].event, again.jobs[0].already_final) == ("completed", 20)
    assert again.jobs[0].successful == 40
    assert all(item.updates == 1 for item in at_work.sandbox.items(job_id))
    assert at_work.entries() == 60


async def test_items_that_pleo_refuses_for_a_while_are_read_again_and_sent_again(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=30, failing=False)
    items = at_work.sandbox.items(job_id)
    at_work.sandbox.refuse_item(job_id, items[0].accounting_entry_id, times=2)
    at_work.sandbox.refuse_item(job_id, items[1].accounting_entry_id, times=1, applied=True)
    report = await at_work.export()
    assert report.jobs[0].event == "completed"
    assert {item.updates for item in at_work.sandbox.items(job_id)} == {1}


async def test_items_that_pleo_keeps_refusing_keep_the_job_open_with_a_line_each(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=30, failing=False)
    refused = at_work.sandbox.items(job_id)[0].accounting_entry_id
    at_work.sandbox.refuse_item(job_id, refused, times=50)
    report = await at_work.export()
    assert (report.jobs[0].event, report.exit_status) == (None, 1)
    assert any(notice.startswith(refused) for notice in report.jobs[0].notices)
    assert at_work.sandbox.job(job_id).status == "in_progress"


async def test_missing_contra_accounts_fail_the_job_and_name_them(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=30)
    at_work.sandbox.miss_contra_accounts(["SEK"], job_id=job_id)
    report = await at_work.export()
    job = at_work.sandbox.job(job_id)
    assert (report.jobs[0].event, job.failure_reason_type) == ("failed", "missing_configuration")
    assert "SEK" in (job.failure_reason or "")
    assert "contra accounts" in (job.failure_reason or "").lower()
    assert report.exit_status == 1
