"""Money from Pleo, in the books and reported: equal by currency, or the run fails loudly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from blocks.erp.entries import Recorded
from blocks.erp.ledger import Ledger
from flows.artifacts import summary_markdown
from flows.report import summary_lines
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import an_item


@pytest.fixture
def at_work(at_work: Office) -> Office:
    """With a job."""
    at_work.sandbox.add_job_of(
        [an_item(1, value=12_345), an_item(2, value=-45), an_item(3, value=7, currency="EUR"), an_item(4, type="?")]
    )
    return at_work


async def test_the_three_sums_are_shown_and_agree(at_work: Office) -> None:
    (job,) = (await at_work.export()).jobs
    assert dict(job.totals) == dict(job.books) == dict(job.reported) == {"DKK": 12_300, "EUR": 7}
    assert [line.split() for line in summary_lines(job) if "total" in line] == [
        ["total", "123.00", "DKK", "as", "in", "the", "books"],
        ["total", "0.07", "EUR", "as", "in", "the", "books"],
    ]
    assert "| DKK | 123\\.00 | 123\\.00 | 123\\.00 |" in summary_markdown(job)


class _Leaking(Ledger):
    """Books in which an amount is not what was recorded."""

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        found = await super().find(accounting_entry_ids)
        return {id_: replace(one, amount_minor=one.amount_minor - 1) for id_, one in found.items()}


async def test_books_that_hold_another_sum_keep_the_job_open_and_fail_the_run(at_work: Office) -> None:
    report = await at_work.export(erp=_Leaking(at_work.books))
    (job,) = report.jobs
    assert report.exit_status == 1
    assert job.event is None
    assert job.reason == (
        "Pleo and the books differ: 123.00 DKK in Pleo against 122.98 in the books, "
        "0.07 EUR in Pleo against 0.06 in the books"
    )
    assert at_work.sandbox.job(job.job_id).status == "in_progress"
    assert "but 122.98 in the books" in "\n".join(summary_lines(job))
