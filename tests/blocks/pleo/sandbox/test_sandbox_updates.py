"""Updates of a job's items."""

from __future__ import annotations

import pytest

NOBODY = "00000000-0000-4000-8000-00000000dead"


@pytest.fixture
def job_id(sandbox):
    return sandbox.add_job(120)


def test_outcomes_are_kept_and_answered(sandbox, api, job_id, names, put):
    good = {
        "accountingEntryId": names[0].upper(),
        "status": "successful",
        "exportedAt": "2026-11-01T08:00:00Z",
        "externalId": "JE-1",
        "externalUrl": "https://books.example/1",
    }
    bad = {
        "accountingEntryId": names[1],
        "status": "failed",
        "failureReason": "Tax Code X does not exist in the Accounting System",
        "failureReasonType": "invalid_configuration",
    }
    answer = put(job_id, good, bad)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    body = answer.json()
    assert body["errors"] == []
    assert body["data"][0] == {
        "accountingEntryId": names[0],
        "exportJobId": job_id,
        "exportedAt": "2026-11-18T11:06:40Z",
        "externalId": "JE-1",
        "externalUrl": "https://books.example/1",
        "failureReason": None,
        "failureReasonType": None,
        "status": "successful",
    }
    assert body["data"][1]["failureReasonType"] == "invalid_configuration"
    assert body["data"][1]["exportedAt"] is None
    listed = api.get(f"/v3/export-jobs/{job_id}/items", params={"limit": 2}).json()["data"]
    assert listed == body["data"]
    one = api.get("/v3/export-job-items", params={"accounting_entry_id": names[1]}).json()["data"]
    assert one == body["data"][1]
    assert sandbox.items(job_id)[0].exported_at_sent == "2026-11-01T08:00:00Z"


def test_the_same_update_again_changes_nothing_but_is_counted(sandbox, job_id, names, put):
    update = {"accountingEntryId": names[0], "status": "successful", "externalId": "JE-1"}
    first, second = put(job_id, update), put(job_id, update)
    assert first.json() == second.json()
    assert [item.updates for item in sandbox.items(job_id)[:2]] == [2, 0]


def test_a_later_update_replaces_an_earlier_one(sandbox, job_id, names, put):
    failed = {"status": "failed", "failureReason": "no", "failureReasonType": "validation_failure"}
    put(job_id, {"accountingEntryId": names[0], **failed})
    put(job_id, {"accountingEntryId": names[0], "status": "successful", "externalId": "JE-1"})
    item = sandbox.items(job_id)[0]
    assert (item.status, item.external_id) == ("successful", "JE-1")
    assert (item.failure_reason, item.failure_reason_type) == (None, None)


def test_a_hundred_items_are_taken_and_one_more_is_413(sandbox, job_id, names, put):
    updates = [{"accountingEntryId": name, "status": "in_progress"} for name in names[:101]]
    refused = put(job_id, *updates)
    assert (refused.status_code, refused.json()["type"]) == (413, "EXPORT_JOB_ITEMS_UPDATE_LIMIT")
    assert {item.status for item in sandbox.items(job_id)} == {"pending"}
    assert put(job_id, *updates[:100]).status_code == 200
    assert sandbox.outcome(job_id) == {"in_progress": 100, "pending": 20}


def test_a_finished_job_takes_no_updates(sandbox, job_id, names, send, put):
    for event in ("started", "completed"):
        send(job_id, event)
    refused = put(job_id, {"accountingEntryId": names[0], "status": "successful"})
    assert (refused.status_code, refused.json()["type"]) == (422, "EXPORT_JOB_STATUS_UNPROCESSABLE")
    assert sandbox.outcome(job_id) == {"abandoned": 120}


def test_an_unknown_entry_is_an_error_beside_the_others_success(sandbox, job_id, names, put):
    elsewhere = sandbox.items(sandbox.add_job(1, 2))[0].accounting_entry_id
    updates = [{"accountingEntryId": name, "status": "successful"} for name in (names[0], NOBODY, elsewhere, names[1])]
    body = put(job_id, *updates).json()
    assert [item["accountingEntryId"] for item in body["data"]] == names[:2]
    assert [(error["accountingEntryId"], error["type"]) for error in body["errors"]] == [
        (NOBODY, "ACCOUNTING_ENTRY_DOES_NOT_EXIST"),
        (elsewhere, "ACCOUNTING_ENTRY_DOES_NOT_EXIST"),
    ]
    assert all(error["message"] for error in body["errors"])


def test_an_item_is_refused_as_often_as_told(sandbox, job_id, names, put):
    sandbox.refuse_item(job_id, names[0], times=2)
    update = {"accountingEntryId": names[0], "status": "successful"}
    for _ in range(2):
        body = put(job_id, update).json()
        assert body["data"] == []
        assert body["errors"][0]["type"] == "EXPORT_ENTRY_STATUS_UPDATE_FAILED"
        assert sandbox.items(job_id)[0].status == "pending"
    assert put(job_id, update).json()["errors"] == []
    assert (sandbox.items(job_id)[0].status, sandbox.items(job_id)[0].updates) == ("successful", 1)


def test_a_refusal_may_tell_a_lie(sandbox, job_id, names, put):
    sandbox.refuse_item(job_id, names[0], error_type="ACCOUNTING_ENTRY_UPDATE_FAILED", applied=True)
    body = put(job_id, {"accountingEntryId": names[0], "status": "successful", "externalId": "7"}).json()
    assert body["errors"][0]["type"] == "ACCOUNTING_ENTRY_UPDATE_FAILED"
    assert (sandbox.items(job_id)[0].status, sandbox.items(job_id)[0].external_id) == ("successful", "7")


WRONG = {
    "accountingEntryId": ["x", None],
    "status": ["done", None, []],
    "exportedAt": ["yesterday", "2026-11-01", "2026-11-01T08:00:00", 1],
    "externalId": [7],
    "externalUrl": [["x"]],
    "failureReason": [1],
    "failureReasonType": ["job_expired", "because"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_an_update_that_the_contract_does_not_have_refuses_the_whole_call(sandbox, job_id, names, field, value, put):
    good = {"accountingEntryId": names[0], "status": "successful"}
    bad = {"accountingEntryId": names[1], "status": "successful", field: value}
    assert put(job_id, good, bad).status_code == 400
    assert sandbox.outcome(job_id) == {"pending": 120}


@pytest.mark.parametrize("body", [{}, {"items": []}, "x", None, [1], [[]]])
def test_the_body_is_a_bare_array_of_objects_which_may_be_empty(api, job_id, body, put):
    assert api.put(f"/v3/export-jobs/{job_id}/items", json=body).status_code == 400
    assert put(job_id).json() == {"data": [], "errors": []}


def test_a_null_field_is_one_that_is_not_sent(sandbox, job_id, names, put):
    nulls = dict.fromkeys(("exportedAt", "externalId", "externalUrl", "failureReason", "failureReasonType"))
    assert put(job_id, {"accountingEntryId": names[0], "status": "successful", **nulls}).status_code == 200
    assert sandbox.items(job_id)[0].external_id is None


def test_one_item_is_found_by_its_entry_in_the_newest_job(sandbox, api, job_id, names, put):
    put(job_id, {"accountingEntryId": names[0], "status": "successful"})
    query = {"accounting_entry_id": names[0]}
    assert api.get("/v3/export-job-items", params=query).json()["data"]["status"] == "successful"
    sandbox.cancel(job_id)
    again = sandbox.export_again(job_id)
    query["company_id"] = sandbox.job(job_id).company_id
    found = api.get("/v3/export-job-items", params=query).json()["data"]
    assert (found["exportJobId"], found["status"]) == (again, "pending")
    unknown = api.get("/v3/export-job-items", params={"accounting_entry_id": NOBODY})
    assert (unknown.status_code, unknown.json()["type"]) == (404, "EXPORT_ENTRY_NOT_FOUND")
