"""What a strict sandbox refuses, and what it answers like any other."""

from __future__ import annotations

import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox
from blocks.pleo.sandbox.strict import PARAMETERS
from tests.support.pleo.contract.judge import parameters

NOBODY = "00000000-0000-4000-8000-00000000dead"


@pytest.fixture
def sandbox(clock):
    with Sandbox(rate_limit=False, clock=clock, strict=True) as made:
        yield made


def test_it_knows_the_parameters_that_the_contract_has():
    contract = parameters()
    assert {call: set(known) for call, known in PARAMETERS.items()} == {call: contract[call] for call in PARAMETERS}
    assert {call for call in contract if " /v3/" in call} <= set(PARAMETERS)


@pytest.mark.parametrize(
    "query",
    ["companyId=x", "company-id=x", "jobId=x", "status=pending", "statuses[]=pending", "page=2", "limit=1&Limit=1"],
)
def test_a_parameter_that_the_contract_has_not_is_400_and_named(api, query):
    answer = api.get(f"/v3/export-jobs?company_id={SANDBOX_COMPANY_ID}&{query}")
    assert (answer.status_code, answer.json()["type"]) == (400, "BAD_REQUEST")
    assert answer.json()["message"].startswith("Unknown parameter ")


def test_a_call_that_can_be_given_a_company_has_to_be(sandbox, api):
    job_id = sandbox.add_job(1)
    entry = sandbox.items(job_id)[0].accounting_entry_id
    calls = [
        ("GET", "/v3/export-jobs", {}, None),
        ("GET", "/v3/export-job-items", {"accounting_entry_id": entry}, None),
        ("POST", "/v3/export-job-items:search", {}, {"accountingEntryIds": [entry]}),
    ]
    for method, path, query, body in calls:
        refused = api.request(method, path, params=query, json=body)
        assert (refused.status_code, refused.json()["message"]) == (400, "company_id must be provided")
        taken = api.request(method, path, params={**query, "company_id": SANDBOX_COMPANY_ID}, json=body)
        assert taken.status_code == 200
        data = taken.json()["data"]
        assert data if isinstance(data, dict) else len(data) == 1


@pytest.mark.parametrize("field", [{"failureReason": ""}, {"failureReasonType": "validation_failure"}])
@pytest.mark.parametrize("event", ["started", "completed", "completed_with_errors"])
def test_reasons_of_failure_are_taken_with_failed_only(sandbox, api, event, field, send):
    job_id = sandbox.add_job(1)
    if event != "started":
        send(job_id, "started")
    before = sandbox.job(job_id)
    assert send(job_id, event, **field).status_code == 400
    assert sandbox.job(job_id) == before
    assert send(job_id, "failed", **field).status_code == 202


def test_strangers_are_told_so_first(anyone):
    assert anyone.get("/v3/export-jobs?nonsense=1").status_code == 401


def test_a_path_that_is_none_is_404_whatever_is_asked_of_it(api):
    assert api.get("/v3/exports?nonsense=1").status_code == 404
