"""The job itself changes while we are at it: it gets more items or fewer, or becomes another company's."""

from __future__ import annotations

import pytest

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.ledger import Ledger
from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from flows.outcome import Ending, RunReport
from flows.report import counts
from flows.updates import MOST_AT_ONCE
from tests.support.pleo.pleo_items import an_item, entry_id
from tests.support.pleo.watched_pleo import EVENTS, GET_DATA, GET_ITEMS, PUT_ITEMS, READ_JOB, Watched
from tests.support.processes import until

OTHER = "11111111-1111-4111-8111-111111111111"
MOST_UNDER_WAY = MOST_AT_ONCE + 2
"""Updates, and a page of each list: what has been sent already when the first refusal is heard."""


async def _export(pleo: Watched) -> RunReport:
    return await pleo.export(page_size=20, update_batch_size=20)


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_items_that_are_added_before_the_data_is_all_there_are_booked_and_reported_too(
    pleo: Watched, nth: int
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(50)])
    pleo.sandbox.add_job_of([an_item(n) for n in range(50, 55)], OTHER)  # where the new ones come from

    def once_all_rows_were_read() -> None:
        until(lambda: pleo.sandbox.received().by_call.get(GET_ITEMS) == 3, within_s=60)
        pleo.put_in(job_id, map(entry_id, range(50, 55)))

    pleo.before(nth, once_all_rows_were_read, GET_DATA)
    report = await pleo.export(page_size=20, update_batch_size=20, company_id=SANDBOX_COMPANY_ID)
    assert (report.exit_status, report.jobs[0].successful) == (0, 55)
    assert pleo.sandbox.outcome(job_id) == {"successful": 55}
    assert pleo.entries() == 55
    assert pleo.sandbox.received().by_call[GET_ITEMS] == 6


async def test_an_item_that_pleo_sends_and_never_lists_is_left_alone_and_costs_one_more_look(pleo: Watched) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(10)])
    pleo.change("UPDATE job_items SET accounting_entry_id = ? WHERE position = 10", entry_id(999))
    report = await _export(pleo)
    assert (report.exit_status, pleo.entries()) == (3, 9)
    assert [item.accounting_entry_id for item in report.jobs[0].failures] == [entry_id(999)]
    (notice,) = report.jobs[0].notices
    assert notice == f"not booked, as Pleo sends them with this job and no row of it has them: {entry_id(9)}"
    assert pleo.sandbox.received().by_call[GET_ITEMS] == 2
    assert pleo.sandbox.outcome(job_id) == {"successful": 9, "failed": 1}


async def test_items_that_are_taken_out_before_they_are_booked_are_not_booked_and_the_next_run_ends_the_job(
    pleo: Watched,
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(50)])
    pleo.before(1, lambda: pleo.take_out(job_id, [entry_id(7), entry_id(8)]), GET_DATA)
    report = await _export(pleo)
    (job,) = report.jobs
    assert (report.exit_status, job.ending, pleo.entries()) == (1, Ending.UNFINISHED, 48)
    assert [notice for notice in job.notices if "not updated in Pleo" in notice]
    assert (await _export(pleo)).jobs[0].event == "completed"
    assert pleo.sandbox.outcome(job_id) == {"successful": 48}


async def test_items_that_are_taken_out_after_they_were_booked_are_named_and_the_next_run_ends_the_job(
    pleo: Watched,
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(50)])
    pleo.before(1, lambda: pleo.take_out(job_id, [entry_id(7), entry_id(8)]), PUT_ITEMS)
    report = await _export(pleo)
    (job,) = report.jobs
    assert (report.exit_status, job.event, pleo.entries()) == (1, None, 50)
    assert set(job.unreported) == {entry_id(7), entry_id(8)}
    assert (await _export(pleo)).jobs[0].event == "completed"
    again = pleo.sandbox.export_again(job_id, [entry_id(n) for n in range(50)])
    report = await _export(pleo)
    assert (report.jobs[0].found, pleo.entries()) == (50, 50)
    assert pleo.sandbox.outcome(again) == {"successful": 50}


@pytest.mark.parametrize(
    ("call", "nth"),
    [
        (EVENTS, 1),
        (PUT_ITEMS, 2),
        *(pytest.param(call, 2, marks=pytest.mark.slow) for call in (GET_ITEMS, GET_DATA, EVENTS)),
    ],
)
async def test_a_job_that_becomes_another_companys_is_touched_no_more_and_what_is_booked_is_told(
    pleo: Watched, call: str, nth: int
) -> None:
    pleo.api_key = "one-company"
    pleo.sandbox.add_credential("one-company", [SANDBOX_COMPANY_ID])
    pleo.sandbox.add_job_of([an_item(99)], OTHER)
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(50)])
    pleo.before(nth, lambda: pleo.change("UPDATE jobs SET company_id = ? WHERE id = ?", OTHER, job_id), call)
    report = await _export(pleo)
    (job,) = report.jobs
    assert "does not allow" in job.reason
    assert (job.event, report.exit_status) == (None, 2 if (call, nth) == (EVENTS, 1) else 1)
    assert {id_: entry.external_id for id_, entry in job.unreported.items()} == pleo.unreported(job_id)
    statuses = [status for _, status in pleo.answered()]
    from_the_first_refusal = statuses[statuses.index(403) :]
    assert set(from_the_first_refusal) <= {403, 400}  # 400: an update that we broke off while it was being sent
    assert len(from_the_first_refusal) <= MOST_UNDER_WAY


async def test_items_that_have_become_another_companys_fail_each_and_are_not_booked(pleo: Watched) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(10)])
    for n in (3, 4):
        pleo.sandbox.edit_export_item(entry_id(n), {"companyId": OTHER}, even_locked=True)
    report = await _export(pleo)
    assert (report.exit_status, pleo.entries()) == (3, 8)
    assert {item.accounting_entry_id for item in report.jobs[0].failures} == {entry_id(3), entry_id(4)}
    assert pleo.sandbox.outcome(job_id) == {"successful": 8, "failed": 2}


async def test_an_item_in_a_state_that_is_not_known_keeps_its_job_open_and_is_named(pleo: Watched) -> None:
    """It may be done or to do: nothing is booked for it, and no final event says that all is done."""
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(10)])
    pleo.change("UPDATE job_items SET status = 'queued' WHERE position IN (4, 5)")
    report = await _export(pleo)
    assert (report.exit_status, report.jobs[0].ending, pleo.entries()) == (1, Ending.UNFINISHED, 8)
    reason = f"item {entry_id(3)} is in a state that is not known here, queued, and 1 more like it; see to it in Pleo"
    assert report.jobs[0].reason == reason
    assert pleo.sandbox.outcome(job_id) == {"successful": 8, "queued": 2}
    assert [event.name for event in pleo.sandbox.received().events] == ["started"]
    pleo.change("UPDATE job_items SET status = 'pending' WHERE status = 'queued'")
    report = await _export(pleo)
    assert (report.exit_status, report.jobs[0].event, pleo.entries()) == (0, "completed", 10)


async def test_items_that_are_abandoned_already_are_told_apart_from_what_an_earlier_run_has_booked(
    pleo: Watched,
) -> None:
    pleo.sandbox.add_job_of([an_item(n) for n in range(10)])
    pleo.change("UPDATE job_items SET status = 'abandoned' WHERE position IN (4, 5)")
    report = await _export(pleo)
    assert (report.exit_status, report.jobs[0].event, pleo.entries()) == (3, "completed_with_errors", 8)
    assert counts(report.jobs[0]) == "8 booked, 0 failed, 2 final before this run (2 of them failed or abandoned)"


@pytest.mark.parametrize(("nth", "event", "state"), [(1, "started", "pending"), (2, "completed", "in_progress")])
async def test_an_event_that_pleo_refuses_for_a_job_that_goes_on_is_told_with_pleos_reason(
    pleo: Watched, nth: int, event: str, state: str
) -> None:
    pleo.sandbox.add_job_of([an_item(n) for n in range(10)])
    ending = Ending.NOT_STARTED if state == "pending" else Ending.UNFINISHED
    pleo.before(nth, lambda: pleo.change("UPDATE jobs SET status = 'completed'"), EVENTS)
    pleo.before(1, lambda: pleo.change("UPDATE jobs SET status = ?", state), READ_JOB)
    report = await pleo.export()
    assert (report.exit_status, report.jobs[0].ending) == (1, ending)
    assert report.jobs[0].reason.startswith("Pleo refused: INVALID_EXPORT_JOB_STATUS_CHANGE (HTTP 422): ")
    assert report.jobs[0].reason.endswith(f"; in Pleo it is still {state}")
    report = await _export(pleo)
    assert (report.exit_status, report.jobs[0].event, pleo.entries()) == (0, "completed", 10)


async def test_a_job_that_pleo_does_not_let_us_start_keeps_no_other_job_waiting(pleo: Watched) -> None:
    first = pleo.sandbox.add_job_of([an_item(1)])
    second = pleo.sandbox.add_job_of([an_item(2)])
    pleo.before(1, lambda: pleo.change("UPDATE jobs SET status = 'completed' WHERE id = ?", first), EVENTS)
    pleo.before(1, lambda: pleo.change("UPDATE jobs SET status = 'pending' WHERE id = ?", first), READ_JOB)
    report = await _export(pleo)
    assert [(job.job_id, job.ending) for job in report.jobs] == [
        (first, Ending.NOT_STARTED),
        (second, Ending.COMPLETED),
    ]
    assert report.exit_status == 1


class _Misconfigured(Ledger):
    async def validate(self) -> None:
        raise ErpConfigurationError("there is no such journal", ConfigurationProblem.PERMISSION)


@pytest.mark.parametrize(("strange", "outcome"), [(2, {"exported": 2, "failed": 1}), (3, {"exported": 3})])
async def test_items_in_an_unknown_state_keep_a_job_that_cannot_be_done_from_being_failed_as_a_whole(
    pleo: Watched, strange: int, outcome: dict[str, int]
) -> None:
    job_id = pleo.sandbox.add_job_of([an_item(n) for n in range(3)])
    pleo.another(job_id, "started")
    pleo.change("UPDATE job_items SET status = 'exported' WHERE position <= ?", strange)
    report = await pleo.export(erp=_Misconfigured(pleo.books))
    assert (report.exit_status, report.jobs[0].ending) == (1, Ending.UNFINISHED)
    assert "is in a state that is not known here, exported" in report.jobs[0].reason
    assert pleo.sandbox.outcome(job_id) == outcome
    assert pleo.sandbox.job(job_id).status == "in_progress"
