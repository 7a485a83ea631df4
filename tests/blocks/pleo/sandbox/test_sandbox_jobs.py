"""Export jobs: lists, transitions, creation, expiry."""

from __future__ import annotations

import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.errors import NotNow

OTHER_COMPANY = "11111111-2222-4333-8444-555555555555"
NOBODY = "00000000-0000-4000-8000-00000000dead"
FINAL = ("completed", "completed_with_errors", "failed")
EVENTS = ("started", *FINAL)
PATHS = {"pending": [], "in_progress": ["started"], **{event: ["started", event] for event in FINAL}}
ALLOWED = {("pending", "started"): "in_progress", ("pending", "failed"): "failed"}
ALLOWED |= {("in_progress", event): event for event in FINAL}


def job_of(api, job_id):
    return api.get(f"/v3/export-jobs/{job_id}").json()["data"]


def ids(answer):
    return [job["id"] for job in answer.json()["data"]]


def test_a_new_job_is_pending_and_answers_as_the_contract_says(sandbox, api):
    job_id = sandbox.add_job(3)
    answer = api.get(f"/v3/export-jobs/{job_id.upper()}")
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert answer.json()["data"] == {
        "companyId": SANDBOX_COMPANY_ID,
        "completedAt": None,
        "createdAt": "2026-11-18T11:06:40Z",
        "createdBy": None,
        "expiredAt": None,
        "expiresIn": 3600,
        "failureReason": None,
        "failureReasonType": None,
        "id": job_id,
        "isInteractive": True,
        "lastUpdatedAt": None,
        "numberOfItems": 3,
        "startedAt": None,
        "status": "pending",
        "vendorBasedBookkeeping": False,
    }


def test_jobs_made_at_once_have_increasing_times_and_are_listed_newest_first_unless_sorted(sandbox, api):
    made = [sandbox.add_job(1, seed) for seed in range(3)]
    times = [job_of(api, job_id)["createdAt"] for job_id in made]
    assert times == sorted(set(times))
    assert [job.id for job in sandbox.jobs()] == made
    assert ids(api.get("/v3/export-jobs")) == made[::-1]
    oldest_first = {"sorting_keys": "createdAt", "sorting_order": "ASC"}
    assert ids(api.get("/v3/export-jobs", params=oldest_first)) == made


def test_the_list_is_filtered_by_company_and_by_repeated_statuses(sandbox, api, send):
    made = {state: sandbox.add_job(1, number) for number, state in enumerate(PATHS)}
    for state, events in sorted(PATHS.items(), key=lambda path: path[0] == "in_progress"):
        for event in events:
            assert send(made[state], event).status_code == 202
    other = sandbox.add_job(1, company_id=OTHER_COMPANY)
    assert ids(api.get("/v3/export-jobs", params={"company_id": OTHER_COMPANY})) == [other]
    for state in PATHS:
        answer = api.get("/v3/export-jobs", params={"company_id": SANDBOX_COMPANY_ID, "statuses": state})
        assert ids(answer) == [made[state]]
    both = api.get("/v3/export-jobs", params={"statuses": ["completed", "failed"]})
    assert set(ids(both)) == {made["completed"], made["failed"]}
    assert both.json()["pagination"]["total"] == 2
    assert both.json()["pagination"]["currentRequestPagination"]["parameters"] == {"statuses": ["completed", "failed"]}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", PATHS)
def test_a_transition_is_taken_or_refused_with_422(sandbox, api, state, event, send):
    job_id = sandbox.add_job(2)
    for earlier in PATHS[state]:
        send(job_id, earlier)
    answer = send(job_id, event)
    if (state, event) in ALLOWED:
        assert (answer.status_code, answer.content) == (202, b"")
        assert job_of(api, job_id)["status"] == ALLOWED[state, event]
        assert sandbox.received().events[-1].name == event
    else:
        assert answer.status_code == 422
        assert answer.json()["type"] == "INVALID_EXPORT_JOB_STATUS_CHANGE"
        assert job_of(api, job_id)["status"] == state
        assert len(sandbox.received().events) == len(PATHS[state])


def test_times_and_reasons_of_a_failed_job_are_kept(sandbox, api, clock, send):
    job_id = sandbox.add_job(2)
    clock.pass_by(10)
    send(job_id, "started")
    clock.pass_by(10)
    send(job_id, "failed", failureReason="No journal", failureReasonType="missing_configuration")
    job = job_of(api, job_id)
    assert (job["startedAt"], job["completedAt"]) == ("2026-11-18T11:06:50Z", "2026-11-18T11:07:00Z")
    assert job["lastUpdatedAt"] == "2026-11-18T11:07:00Z"
    assert (job["failureReason"], job["failureReasonType"]) == ("No journal", "missing_configuration")
    assert job["expiredAt"] is None


@pytest.mark.parametrize("event", ["started", "completed", "completed_with_errors"])
def test_reasons_of_failure_are_taken_with_any_event_and_shown_of_jobs_with_failures(sandbox, api, event, send):
    job_id = sandbox.add_job(1)
    if event != "started":
        send(job_id, "started")
    reason = {"failureReason": "x", "failureReasonType": "validation_failure"}
    assert send(job_id, event, **reason).status_code == 202
    assert (sandbox.received().events[-1].name, sandbox.received().events[-1].failure_reason) == (event, "x")
    shown = reason if event == "completed_with_errors" else dict.fromkeys(reason)
    assert job_of(api, job_id).items() >= shown.items()


WRONG_QUERIES = f"""
    /v3/export-jobs?company_id=x /v3/export-jobs?statuses=canceled /v3/export-jobs?statuses=pending&statuses=
    /v3/export-items /v3/export-items?jobId={NOBODY} /v3/export-items?job_id=x
    /v3/export-job-items /v3/export-job-items?accounting_entry_id=x
"""
WRONG_EVENTS = {
    "jobId": ["x", None],
    "event": ["canceled", ["started"], None],
    "failureReason": [1],
    "failureReasonType": ["accounting_system_validation_failure", []],
}


@pytest.mark.parametrize("path", WRONG_QUERIES.split())
def test_a_query_that_the_contract_does_not_have_is_400(api, path):
    answer = api.get(path)
    assert (answer.status_code, answer.json()["type"]) == (400, "BAD_REQUEST")


def test_an_event_that_the_contract_does_not_have_is_400(api):
    failed = {"jobId": NOBODY, "event": "failed"}
    bodies = [{**failed, field: value} for field, values in WRONG_EVENTS.items() for value in values]
    for body in [*bodies, {"event": "started", "exportJobId": NOBODY}, [], None]:
        assert api.post("/v3/export-job-events", json=body).status_code == 400, body
    answer = api.post("/v3/export-job-events", content=b"\xff{")
    assert (answer.status_code, answer.json()["type"]) == (400, "BAD_REQUEST")


def test_an_unknown_job_or_path_is_404_and_a_wrong_method_405_in_pleos_form(api, send, put):
    paths = ("export-jobs/x", f"export-jobs/{NOBODY}", f"export-jobs/{NOBODY}/items", f"export-items?job_id={NOBODY}")
    answers = [*(api.get(f"/v3/{path}") for path in paths), put(NOBODY), send(NOBODY, "started")]
    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(404, "EXPORT_NOT_FOUND")] * 6
    unknown, wrong = api.get("/v3/exports"), api.delete("/v3/export-jobs")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "NOT_FOUND")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("event", FINAL)
def test_a_final_event_abandons_the_items_still_open(sandbox, event, send, put):
    job_id = sandbox.add_job(4)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    send(job_id, "started")
    states = ["successful", "failed", "in_progress"]
    put(job_id, *({"accountingEntryId": name, "status": state} for name, state in zip(names, states, strict=False)))
    send(job_id, event)
    assert [item.status for item in sandbox.items(job_id)] == ["successful", "failed", "abandoned", "abandoned"]
    assert sandbox.outcome(job_id) == {"successful": 1, "failed": 1, "abandoned": 2}


def test_known_entries_are_moved_into_a_new_job_also_again(sandbox, api, send):
    first = sandbox.add_job(5)
    names = [item.accounting_entry_id for item in sandbox.items(first)]
    send(first, "failed")
    body = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": [*names[1:3], names[1]], "employeeId": NOBODY}
    answer = api.post("/v3/export-jobs", json=body)
    assert answer.status_code == 201
    job = answer.json()["data"]
    assert (job["status"], job["numberOfItems"], job["createdBy"]) == ("pending", 2, NOBODY)
    assert (job["isInteractive"], job["vendorBasedBookkeeping"]) == (True, False)
    assert [item.accounting_entry_id for item in sandbox.items(job["id"])] == names[1:3]
    found = api.get("/v3/export-items", params={"job_id": job["id"]}).json()["data"]
    assert [item["accountingEntryId"] for item in found] == names[1:3]
    assert {item.status for item in sandbox.items(first)} == {"abandoned"}


def test_the_same_entries_are_exported_again_at_the_press_of_a_button_as_they_are_now(sandbox, api):
    first = sandbox.add_job(5)
    names = [item.accounting_entry_id for item in sandbox.items(first)]
    again, part = (sandbox.export_again(first, some, even_locked=True) for some in (None, names[:2]))
    assert len({first, again, part}) == 3
    assert [item.accounting_entry_id for item in sandbox.items(again)] == names
    assert [item.accounting_entry_id for item in sandbox.items(part)] == names[:2]
    one, two = (api.get("/v3/export-items", params={"job_id": job}).json()["data"] for job in (first, again))
    without_links = [[{**item, "files": None} for item in items] for items in (one, two)]
    assert without_links[0] == without_links[1]
    with pytest.raises(NotNow, match=f"{names[0]} is locked by export job {first}"):
        sandbox.edit_export_item(names[0], {"note": "mended"})
    for job in (first, again, part):
        sandbox.cancel(job)
    sandbox.edit_export_item(names[0], {"note": "mended"})
    again = sandbox.export_again(first)
    assert api.get("/v3/export-items", params={"job_id": again}).json()["data"][0]["note"] == "mended"


def test_while_a_job_runs_another_of_the_company_is_409(sandbox, api, send):
    job_id, other = sandbox.add_job(1), sandbox.add_job(1, company_id=OTHER_COMPANY)
    entry, foreign = (sandbox.items(job)[0].accounting_entry_id for job in (job_id, other))
    send(other, "failed")
    send(job_id, "started")
    own = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": [entry]}
    elsewhere = {"companyId": OTHER_COMPANY, "accountingEntryIds": [foreign]}
    refused = api.post("/v3/export-jobs", json=own)
    assert (refused.status_code, refused.json()["type"]) == (409, "EXPORT_ALREADY_IN_PROGRESS")
    assert api.post("/v3/export-jobs", json=elsewhere).status_code == 201
    send(job_id, "completed")
    assert api.post("/v3/export-jobs", json=own).status_code == 201


def test_of_two_jobs_of_a_company_one_is_in_progress_and_the_other_waits(sandbox, api, send):
    first, second, elsewhere = sandbox.add_job(1), sandbox.add_job(1, 2), sandbox.add_job(1, company_id=OTHER_COMPANY)
    assert [send(job, "started").status_code for job in (first, elsewhere)] == [202, 202]
    refused = send(second, "started")
    assert (refused.status_code, refused.json()["type"]) == (422, "INVALID_EXPORT_JOB_STATUS_CHANGE")
    assert first in refused.json()["message"]
    assert job_of(api, second)["status"] == "pending"
    assert send(second, "failed").status_code == 202, "a job that waits can be given up"
    third = sandbox.add_job(1, 3)
    sandbox.cancel(first)
    assert send(third, "started").status_code == 202


def test_a_job_that_has_expired_keeps_no_other_from_starting(sandbox, clock, send):
    first, second = sandbox.add_job(1), sandbox.add_job(1, 2)
    send(first, "started")
    clock.pass_by(1800)
    assert send(second, "started").status_code == 422
    clock.pass_by(1799)
    assert send(second, "started").status_code == 422
    clock.pass_by(1)
    assert send(second, "started").status_code == 202


def test_an_entry_of_a_job_that_is_not_over_is_locked(sandbox, api, send):
    job_id = sandbox.add_job(3)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    body = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": [names[1]]}
    answers = [api.post("/v3/export-jobs", json=body), api.patch(f"/sandbox/entries/{names[1]}", json={"note": "x"})]
    answers.append(api.post(f"/sandbox/jobs/{job_id}/export-again", json={"accounting_entry_ids": [names[1]]}))
    said = [(answer.status_code, answer.json()["type"]) for answer in answers]
    assert said == [(409, "EXPORT_ALREADY_IN_PROGRESS"), (409, "SANDBOX_ERROR"), (409, "SANDBOX_ERROR")]
    assert all(names[1] in answer.json()["message"] and job_id in answer.json()["message"] for answer in answers)
    assert len(sandbox.jobs()) == 1
    assert sandbox.export_item(names[1])["note"] != "x"
    send(job_id, "failed")
    assert api.patch(f"/sandbox/entries/{names[1].upper()}", json={"note": "x"}).json()["export_item"]["note"] == "x"
    assert api.post("/v3/export-jobs", json=body).status_code == 201


def test_a_job_that_its_user_cancels_has_failed_so_and_abandons_what_is_open(sandbox, api, send, put):
    job_id = sandbox.add_job(3)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    send(job_id, "started")
    put(job_id, {"accountingEntryId": names[0], "status": "successful"})
    assert api.post(f"/sandbox/jobs/{job_id}/cancel").status_code == 204
    job = job_of(api, job_id)
    assert (job["status"], job["failureReasonType"]) == ("failed", "canceled_by_user")
    assert sandbox.outcome(job_id) == {"successful": 1, "abandoned": 2}
    assert put(job_id, {"accountingEntryId": names[1], "status": "successful"}).status_code == 422
    assert send(job_id, "completed").status_code == 422
    assert [event.name for event in sandbox.received().events] == ["started"], "no event of the integration's"
    again = api.post(f"/sandbox/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()["message"]) == (409, f"export job {job_id} is failed already")


WRONG = {
    "accountingEntryIds": [[NOBODY], "x", [1], None],
    "companyId": [None],
    "employeeId": ["me"],
    "isInteractive": ["yes"],
    "options": ["x", {"vendorBasedBookkeeping": 1}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_job_of_nothing_known_is_400_and_none_is_made(sandbox, api, field, value):
    job_id = sandbox.add_job(1)
    entry = sandbox.items(job_id)[0].accounting_entry_id
    body = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": [entry], field: value}
    assert api.post("/v3/export-jobs", json=body).status_code == 400
    assert len(sandbox.jobs()) == 1


@pytest.mark.parametrize("started", [False, True])
def test_a_job_expires_an_hour_after_its_last_update(sandbox, api, clock, started, send):
    job_id = sandbox.add_job(3)
    if started:
        clock.pass_by(1000)
        send(job_id, "started")
    clock.pass_by(3599)
    assert job_of(api, job_id)["expiredAt"] is None
    clock.pass_by(100)
    job = job_of(api, job_id)
    deadline = "2026-11-18T12:23:20Z" if started else "2026-11-18T12:06:40Z"
    assert (job["status"], job["expiredAt"], job["completedAt"]) == ("failed", deadline, None)
    assert job["failureReasonType"] == "job_expired"
    assert {item.status for item in sandbox.items(job_id)} == {"abandoned"}
    assert api.get("/v3/export-items", params={"job_id": job_id}).status_code == 422
    assert send(job_id, "completed").status_code == 422


def test_an_update_prolongs_a_jobs_life_and_reading_does_not(sandbox, api, clock, send, put):
    job_id = sandbox.add_job(2)
    send(job_id, "started")
    name = sandbox.items(job_id)[0].accounting_entry_id
    for _ in range(3):
        clock.pass_by(3000)
        assert put(job_id, {"accountingEntryId": name, "status": "in_progress"}).status_code == 200
    clock.pass_by(3000)
    assert put(job_id, {"accountingEntryId": NOBODY, "status": "failed"}).status_code == 200
    assert api.get("/v3/export-items", params={"job_id": job_id}).status_code == 200
    assert api.get(f"/v3/export-jobs/{job_id}/items").status_code == 200
    clock.pass_by(600)
    assert job_of(api, job_id)["failureReasonType"] == "job_expired"
