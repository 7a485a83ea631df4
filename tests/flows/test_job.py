"""The seven steps from end to end, without Prefect: a sandbox over HTTP, a ledger on disk."""

import json
import logging
from math import ceil
from typing import Any

import pytest

from blocks.erp.entries import JournalEntry
from blocks.erp.ledger import Ledger
from blocks.pleo.errors import PleoUnavailable
from blocks.pleo.http.pages import ExportItemsPage
from flows.outcome import Ending
from flows.steps import PagesInMemory, plain_steps
from flows.stop import Stop
from tests.support.exporting import Office, page_of

PUT_ITEMS = "PUT /v3/export-jobs/{jobId}/items"
GET_ITEMS = "GET /v3/export-jobs/{jobId}/items"
GET_DATA = "GET /v3/export-items"
EVENTS = "POST /v3/export-job-events"
LIST_JOBS = "GET /v3/export-jobs"
RECEIPTS = "GET /receipts"


async def test_a_job_of_every_type_ends_with_each_item_final_and_the_books_equal(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=100, seed=3)
    report = await at_work.export()
    (job,) = report.jobs
    assert (job.event, report.exit_status) == ("completed_with_errors", 3)
    outcome = at_work.sandbox.outcome(job_id)
    assert outcome == {"successful": job.successful, "failed": job.failed}
    assert job.successful + job.failed == 100
    assert at_work.entries() == job.successful
    assert job.totals == job.books
    sums = at_work.journal("SELECT currency, sum(debit_minor), sum(credit_minor) FROM journal GROUP BY currency")
    assert all(debit == credit for _, debit, credit in sums)


async def test_what_pleo_is_told_is_what_stands_in_the_books(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=60, seed=4)
    await at_work.export()
    books = dict(at_work.journal("SELECT DISTINCT accounting_entry_id, external_id FROM journal"))
    told = {
        item.accounting_entry_id: item.external_id
        for item in at_work.sandbox.items(job_id)
        if item.status == "successful"
    }
    assert told == books
    links = [item.external_url for item in at_work.sandbox.items(job_id) if item.status == "successful"]
    assert all(link and link.startswith("http://127.0.0.1:5000/") for link in links)
    assert all(item.exported_at_sent for item in at_work.sandbox.items(job_id) if item.status == "successful")
    assert all(item.failure_reason for item in at_work.sandbox.items(job_id) if item.status == "failed")


async def test_a_job_without_failures_is_completed(at_work: Office) -> None:
    at_work.sandbox.add_job(items=30, failing=False)
    report = await at_work.export()
    assert (report.jobs[0].event, report.exit_status) == ("completed", 0)


async def test_a_job_whose_items_all_fail_is_failed_with_their_common_type(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=30, failing=False)
    for item in at_work.sandbox.items(job_id):
        at_work.sandbox.edit_export_item(item.accounting_entry_id, {"type": "unheard_of"}, even_locked=True)
    report = await at_work.export()
    assert (report.jobs[0].event, report.exit_status) == ("failed", 1)
    job = at_work.sandbox.job(job_id)
    assert (job.failure_reason_type, job.failure_reason) == (
        "validation_failure",
        "All 30 items failed; each item says why.",
    )
    assert at_work.entries() == 0


async def test_a_job_of_no_items_is_completed(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=0)
    report = await at_work.export()
    assert (report.jobs[0].event, report.exit_status) == ("completed", 0)
    assert at_work.sandbox.job(job_id).status == "completed"
    assert GET_DATA not in at_work.sandbox.received().by_call


async def test_nothing_to_do_is_one_line_and_success(at_work: Office) -> None:
    report = await at_work.export()
    assert (report.lines, report.exit_status) == (["nothing to do: no export job is waiting"], 0)
    assert not at_work.books.exists()


@pytest.mark.parametrize(("items", "page"), [(1, 100), (100, 100), (101, 100), (250, 100), (90, 40)])
async def test_no_request_is_made_that_is_not_needed(at_work: Office, items: int, page: int) -> None:
    at_work.sandbox.add_job(items=items, failing=False)
    report = await at_work.export(page_size=page)
    pages, batches = ceil(items / page), ceil(items / 100)
    by_call = {call: count for call, count in at_work.sandbox.received().by_call.items() if call != RECEIPTS}
    assert by_call == {
        LIST_JOBS: 2,
        EVENTS: 2,
        GET_ITEMS: pages,
        GET_DATA: pages,
        PUT_ITEMS: batches,
    }
    assert report.pleo_requests == 4 + 2 * pages + batches


async def test_jobs_are_taken_oldest_first_until_none_is_left(at_work: Office) -> None:
    ids = [at_work.sandbox.add_job(items=5, seed=seed, failing=False) for seed in (1, 2, 3)]
    report = await at_work.export()
    assert [job.job_id for job in report.jobs] == ids
    assert {job.status for job in at_work.sandbox.jobs()} == {"completed"}


async def test_with_a_job_given_only_that_one_is_taken(at_work: Office) -> None:
    first, second = (at_work.sandbox.add_job(items=5, seed=seed, failing=False) for seed in (1, 2))
    report = await at_work.export(job_id=second)
    assert [job.job_id for job in report.jobs] == [second]
    assert at_work.sandbox.job(first).status == "pending"


async def test_a_dry_run_tells_what_would_happen_and_changes_nothing(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=80, seed=5)
    dry = await at_work.export(dry_run=True)
    assert not at_work.books.exists()
    assert at_work.sandbox.outcome(job_id) == {"pending": 80}
    assert {call.split()[0] for call in at_work.sandbox.received().by_call} == {"GET"}
    real = await at_work.export()
    assert (dry.jobs[0].event, real.jobs[0].event) == (None, "completed_with_errors")
    assert dry.exit_status == real.exit_status == 3
    expected, actual = dry.document()["jobs"][0], real.document()["jobs"][0]
    assert expected == {**actual, "event": None}
    assert len(dry.jobs[0].preview) == real.jobs[0].successful


async def test_expenses_of_two_companies_never_mix(at_work: Office) -> None:
    other = "11111111-1111-4111-8111-111111111111"
    ours = at_work.sandbox.add_job(items=5, failing=False)
    theirs = at_work.sandbox.add_job(items=5, company_id=other, failing=False)
    report = await at_work.export()
    assert report.exit_status == 2
    assert "--company-id" in report.lines[0]
    assert {at_work.sandbox.job(id_).status for id_ in (ours, theirs)} == {"pending"}
    one = await at_work.export(company_id=at_work.sandbox.job(ours).company_id)
    assert [job.job_id for job in one.jobs] == [ours]
    refused = await at_work.export()
    assert refused.exit_status == 2
    assert at_work.sandbox.job(theirs).status == "pending"
    assert at_work.entries() == 5


async def test_a_run_that_is_asked_to_stop_reports_what_it_recorded_and_the_next_goes_on(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=60, failing=False)
    stop = Stop()

    async def stop_after_one_page(what: str, _done: int, _total: int) -> None:
        if what == "recorded":
            stop._set.set()

    report = await at_work.export(page_size=20, stop=stop, show=stop_after_one_page)
    assert report.jobs[0].ending is Ending.INTERRUPTED
    assert at_work.sandbox.outcome(job_id) == {"successful": 20, "pending": 40}
    assert at_work.sandbox.job(job_id).status == "in_progress"
    again = await at_work.export(page_size=20)
    assert (again.jobs[0].event, again.jobs[0].already_final) == ("completed", 20)


async def test_pages_of_an_earlier_run_that_do_not_hold_an_open_item_are_fetched_anew(at_work: Office) -> None:
    first = at_work.sandbox.add_job(items=30, failing=False)
    pages = PagesInMemory()
    at_work.sandbox.inject("status", PUT_ITEMS, times=6)
    await at_work.export(steps=plain_steps(pages))
    stale = {key: page for key, page in pages.kept.items() if key.job_id == first}
    assert stale
    for key in stale:
        nothing = {"data": [], "pagination": {"hasNextPage": False, "endCursor": None}}
        pages.kept[key] = page_of(nothing)
    report = await at_work.export(steps=plain_steps(pages))
    assert (report.jobs[0].event, report.jobs[0].successful) == ("completed", 30)
    assert pages.kept == {}


async def test_an_item_that_is_listed_but_never_sent_fails_and_says_so(at_work: Office) -> None:
    job_id = at_work.sandbox.add_job(items=10, failing=False)
    lost = at_work.sandbox.items(job_id)[3].accounting_entry_id

    class Forgetful(PagesInMemory):
        async def fetch_page_anew(self, *args: Any) -> ExportItemsPage:
            document = json.loads((await super().fetch_page_anew(*args)).text)
            document["data"] = [item for item in document["data"] if item["accountingEntryId"] != lost]
            return page_of(document)

    report = await at_work.export(steps=plain_steps(Forgetful()))
    (failure,) = report.jobs[0].failures
    assert (failure.accounting_entry_id, failure.type) == (lost, "validation_failure")
    assert at_work.sandbox.outcome(job_id) == {"successful": 9, "failed": 1}


async def test_a_bug_in_bookkeeping_costs_one_item_and_leaves_its_cause_in_the_log(
    at_work: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = at_work.sandbox.add_job(items=10, failing=False)
    cursed = at_work.sandbox.items(job_id)[0].accounting_entry_id
    ledger = Ledger(at_work.books)
    check = ledger.check

    def broken(entry: JournalEntry) -> object:
        if entry.accounting_entry_id == cursed:
            raise ZeroDivisionError("unforeseen")
        return check(entry)

    monkeypatch.setattr(ledger, "check", broken)
    with caplog.at_level(logging.ERROR):
        report = await at_work.export(erp=ledger)
    (failure,) = report.jobs[0].failures
    assert (failure.accounting_entry_id, failure.type) == (cursed, "unexpected_failure")
    assert "ZeroDivisionError" in caplog.text
    assert report.jobs[0].event == "completed_with_errors"


async def test_a_job_that_is_over_already_is_one_line_by_its_state(at_work: Office) -> None:
    completed = at_work.sandbox.add_job(items=5, failing=False)
    with_errors = at_work.sandbox.add_job(items=85, seed=2)
    await at_work.export()
    assert (await at_work.export(job_id=completed)).exit_status == 0
    report = await at_work.export(job_id=with_errors)
    assert (report.exit_status, report.jobs) == (3, [])
    assert report.lines == [f"job {with_errors} is completed_with_errors already"]


async def test_an_unknown_job_and_a_wrong_key_are_wrong_usage_and_cost_one_request(at_work: Office) -> None:
    unknown = await at_work.export(job_id="00000000-0000-4000-8000-000000000000")
    assert (unknown.exit_status, unknown.pleo_requests) == (2, 1)
    at_work.api_key = "not-the-key"
    wrong = await at_work.export()
    assert (wrong.exit_status, wrong.pleo_requests) == (2, 1)
    assert "not-the-key" not in wrong.lines[0]


async def test_exhausted_tries_raise_one_error_after_six_requests(at_work: Office) -> None:
    at_work.sandbox.inject("status", LIST_JOBS, times=100)
    report = await at_work.export()
    assert (report.exit_status, report.pleo_requests) == (1, 6)
    assert PleoUnavailable.__name__ not in report.lines[0]


async def test_items_that_are_nonsense_fail_alone_each_with_its_own_reason(at_work: Office) -> None:
    good = at_work.sandbox.add_job(items=40, failing=False)
    template = next(
        document
        for item in at_work.sandbox.items(good)
        for document in [at_work.sandbox.export_item(item.accounting_entry_id)]
        if document["type"] == "card_purchase"
        and len(document["accountingEntryLines"]) == 1
        and document["accountingEntryLines"][0]["tax"] is None
    )
    await at_work.export()
    line = template["accountingEntryLines"][0]
    variants: dict[str, dict[str, object]] = {
        "no accounting lines": {"accountingEntryLines": []},
        "no amount": {"amount": None},
        "missing: provide account": {"accountingEntryLines": [{**line, "account": None}]},
        "'surprise' is not known": {"type": "surprise"},
        "date": {"date": "yesterday"},
        "accountingEntryLines": {"accountingEntryLines": "none"},
        "NaN": {"amount": "NAN"},
        "belongs to company": {"companyId": "99999999-9999-4999-8999-999999999999"},
    }
    texts = []
    for number, changes in enumerate([*variants.values(), {"note": "n" * 10_000_000}, {}]):
        id_ = f"00000000-0000-4000-8000-{number:012d}"
        texts.append(json.dumps({**template, "accountingEntryId": id_, "files": [], **changes}))
    nan = {"currency": "DKK", "value": float("nan")}
    texts = [text.replace('"NAN"', json.dumps({"inWalletCurrency": nan, "inSupplierCurrency": nan})) for text in texts]
    at_work.sandbox.add_job_of(texts)
    report = await at_work.export()
    (job,) = report.jobs
    assert (job.event, job.successful, job.failed) == ("completed_with_errors", 2, len(variants))
    for (said, _), failure in zip(variants.items(), job.failures, strict=True):
        assert said in failure.reason, failure
        assert len(failure.reason) <= 500
    ((longest,),) = at_work.journal("SELECT max(length(description)) FROM journal")
    assert isinstance(longest, int)
    assert longest <= 1000
