"""Every operation of the contract, and every listed deviation from it: none is missing, and none is listed in vain.

All other tests of this room have their answers held to the contract on the way (`conftest.Door`).
"""

from __future__ import annotations

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY, SANDBOX_COMPANY_ID, Sandbox, serve
from tests.support.pleo.contract.deviations import DEVIATIONS, Guard, unexplained
from tests.support.pleo.contract.judge import CONTENT_TYPE, findings, operations

NOBODY = "00000000-0000-4000-8000-00000000dead"
OTHER = "11111111-2222-4333-8444-555555555555"
JOB = "/v3/export-jobs/{}"
ITEMS = "/v3/export-jobs/{}/items"


def everything(sandbox: Sandbox, api: httpx.Client) -> None:
    """Each operation at least once with each of its answers, and what the contract does not list."""
    job_id, showcase = sandbox.add_job(300, vendor_based=True), sandbox.add_job(130, 2, showcase=True)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    both = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": names[:2]}

    def event(name: str, job: str = job_id) -> None:
        api.post("/v3/export-job-events", json={"jobId": job, "event": name})

    for job in (job_id, showcase):
        for offset in (0, 100, 200):
            api.get("/v3/export-items", params={"job_id": job, "limit": 100, "offset": offset})
    api.post("/v3/export-jobs", json=both)  # 409: locked
    event("started")
    event("started", showcase)  # 422: one at a time
    done = {"accountingEntryId": names[0], "status": "successful", "exportedAt": "2026-11-18T11:06:40Z"}
    failed = {"accountingEntryId": names[1], "status": "failed", "failureReasonType": "vendor_unknown"}
    api.put(ITEMS.format(job_id), json=[done, failed, {"accountingEntryId": NOBODY, "status": "failed"}])
    api.put(ITEMS.format(job_id), json=[done] * 101)  # 413
    api.get(ITEMS.format(job_id), params={"limit": 100})
    api.get("/v3/export-job-items", params={"accounting_entry_id": names[0]})
    api.post("/v3/export-job-items:search", json={"accountingEntryIds": names[:5]})
    event("completed_with_errors")
    event("completed")  # 422
    api.get("/v3/export-items", params={"job_id": job_id})  # 422
    api.put(ITEMS.format(job_id), json=[done])  # 422
    api.get(JOB.format(job_id))
    api.get("/v3/export-jobs", params={"statuses": ["pending", "completed_with_errors"]})
    made = api.post("/v3/export-jobs", json=both).json()["data"]["id"]
    for path in (JOB.format(NOBODY), ITEMS.format(NOBODY), f"/v3/export-items?job_id={NOBODY}"):
        api.get(path)  # 404
    api.get("/v3/export-job-items", params={"accounting_entry_id": NOBODY})  # 404
    api.put(ITEMS.format(NOBODY), json=[])  # 404
    event("started", NOBODY)
    api.get("/v3/export-items")  # 400
    api.get("/v3/export-jobs", params={"limit": -1})  # 400
    sandbox.miss_contra_accounts(["DKK"])
    api.get("/v3/export-items", params={"job_id": made})
    api.post("/v3/export-jobs", json={**both, "accountingEntryIds": []})
    api.get("/v3/export-jobs", params={"company_id": OTHER})  # 403
    api.get("/v3/export-jobs", auth=("wrong", ""))  # 401
    api.get("/v1/companies")
    api.get("/v1/installations/me")
    sandbox.null_until_tried = True
    api.get(ITEMS.format(showcase))


def test_every_operation_keeps_the_contract_but_for_the_listed_deviations_and_each_of_these_occurs(clock, caplog):
    with Sandbox(clock=clock) as sandbox:
        guard = Guard(sandbox.app, sandbox, most_rows=None)
        sandbox.app = guard
        with serve(sandbox) as url, httpx.Client(base_url=url, auth=(SANDBOX_API_KEY, ""), timeout=60) as api:
            everything(sandbox, api)
            while api.get(JOB.format(NOBODY)).status_code != 429:
                pass
            clock.pass_by(60)
            sandbox.close()
            api.get("/v3/export-jobs")
    assert [record.message for record in caplog.records] == ["the sandbox failed to answer GET /v3/export-jobs"]
    assert guard.found == []
    met = {name for name, deviation in DEVIATIONS.items() if any(map(deviation.covers, guard.all))}
    assert met == set(DEVIATIONS)
    judged = {operation.call for pattern, operation in operations() if any(map(pattern.fullmatch, guard.judged))}
    assert {operation.call for _, operation in operations() if " /v3/" in operation.call} <= judged


def job_answer(**changes: object) -> bytes:
    """The answer of a job, changed."""
    with Sandbox() as sandbox:
        job = sandbox.job(sandbox.add_job(1)).wire()
    data = {name: value for name, value in {**job, **changes}.items() if value != "left out"}
    return httpx.Request("POST", "http://x", json={"data": data}).content


WRONG = {
    "a field too few": ({"numberOfItems": "left out"}, "required"),
    "a field too many": ({"owner": "me"}, "additionalProperties"),
    "a text for a number": ({"expiresIn": "3600"}, "type"),
    "an id that is none": ({"id": "1"}, "format"),
    "a time without a zone": ({"createdAt": "2026-11-18T11:06:40"}, "format"),
    "a status of nobody's": ({"status": "running"}, "enum"),
    "null where none may be": ({"status": None}, "type"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_guard_sees_what_leaves_the_contract(what):
    changes, rule = WRONG[what]
    found = findings("GET", JOB.format(NOBODY), 200, CONTENT_TYPE, job_answer(**changes))
    assert rule in {one.rule for one in found}
    assert unexplained(found)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "rule"),
    [
        (201, CONTENT_TYPE, job_answer(), "undocumented status"),
        (500, CONTENT_TYPE, b'{"type": "OOPS", "message": ""}', "undocumented status"),
        (404, CONTENT_TYPE, b'{"message": "no"}', "required"),
        (400, CONTENT_TYPE, b'{"type": "BAD_REQUEST"}', "error"),
        (200, "text/html", job_answer(), "content type"),
        (200, CONTENT_TYPE, b"<!doctype html>", "not JSON"),
    ],
)
def test_the_guard_sees_answers_that_are_none_of_the_contracts(status, content_type, body, rule):
    found = unexplained(findings("GET", JOB.format(NOBODY), status, content_type, body))
    assert rule in {one.rule for one in found}
