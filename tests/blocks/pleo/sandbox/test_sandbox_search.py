"""The search of job items: where Pleo stands with entries, in whichever jobs they are."""

from __future__ import annotations

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox

OTHER_COMPANY = "11111111-2222-4333-8444-555555555555"
SEARCH = "/v3/export-job-items:search"


def found(answer):
    assert answer.status_code == 200
    return [(item["exportJobId"], item["accountingEntryId"], item["status"]) for item in answer.json()["data"]]


@pytest.fixture
def twice(sandbox, send, put):
    """Two jobs that have the same four entries: the first is over, of the second one entry is told."""
    first = sandbox.add_job(6)
    names = [item.accounting_entry_id for item in sandbox.items(first)]
    send(first, "failed")
    second = sandbox.export_again(first, names[:4])
    put(second, {"accountingEntryId": names[1], "status": "successful", "externalId": "JE-1"})
    return first, second, names


def test_entries_are_found_in_every_job_that_has_them_the_newest_first(api, twice):
    first, second, names = twice
    answer = api.post(SEARCH, json={"accountingEntryIds": [names[5], names[1].upper(), names[1]]})
    assert found(answer) == [
        (second, names[1], "successful"),
        (first, names[1], "abandoned"),
        (first, names[5], "abandoned"),
    ]
    assert answer.json()["data"][0]["externalId"] == "JE-1"
    assert answer.json()["pagination"]["total"] == 3


def test_a_status_narrows_the_search_and_nothing_is_found_of_nothing(api, twice):
    _, second, names = twice
    asked = {"accountingEntryIds": names, "status": "pending"}
    assert {job for job, *_ in found(api.post(SEARCH, json=asked))} == {second}
    assert found(api.post(SEARCH, json={"accountingEntryIds": []})) == []
    nobody = "00000000-0000-4000-8000-00000000dead"
    assert found(api.post(SEARCH, json={"accountingEntryIds": [nobody]})) == []


@pytest.mark.parametrize("order", [{}, {"sorting_keys": "accountingEntryId", "sorting_order": "DESC"}])
def test_the_pages_of_a_search_have_each_item_once(api, twice, order):
    _, _, names = twice
    whole = found(api.post(SEARCH, params={"limit": 100, **order}, json={"accountingEntryIds": names}))
    seen, after = [], {}
    while True:
        answer = api.post(SEARCH, params={"limit": 3, **order, **after}, json={"accountingEntryIds": names})
        seen += found(answer)
        info = answer.json()["pagination"]
        if not info["hasNextPage"]:
            break
        after = {"after": info["endCursor"]}
    assert (seen, len(seen)) == (whole, 10)
    strange = api.post(SEARCH, params={"limit": 3, **order, **after}, json={"accountingEntryIds": names[:3]})
    assert strange.status_code == 400, "a cursor belongs to what was searched for"


def test_what_other_companies_have_is_not_found(sandbox, api, base_url, twice):
    _, _, names = twice
    other = sandbox.add_job(1, company_id=OTHER_COMPANY)
    foreign = sandbox.items(other)[0].accounting_entry_id
    sandbox.add_credential("narrow", [OTHER_COMPANY])
    asked = {"accountingEntryIds": [foreign, *names]}
    with httpx.Client(base_url=base_url, auth=("narrow", "")) as narrow:
        assert found(narrow.post(SEARCH, json=asked)) == [(other, foreign, "pending")]
        own = narrow.post(SEARCH, params={"company_id": SANDBOX_COMPANY_ID}, json=asked)
    assert own.status_code == 403
    assert len(found(api.post(SEARCH, params={"company_id": SANDBOX_COMPANY_ID}, json=asked))) == 10


WRONG = [{}, {"accountingEntryIds": "x"}, {"accountingEntryIds": ["x"]}, [], None]
WRONG += [{"accountingEntryIds": [], "status": status} for status in ("done", ["pending"], 1)]


@pytest.mark.parametrize("body", WRONG)
def test_a_search_for_what_cannot_be_is_400(api, body):
    answer = api.post(SEARCH, json=body)
    assert (answer.status_code, answer.json()["type"]) == (400, "BAD_REQUEST")
    assert api.get(SEARCH).status_code == 405


def test_the_status_of_what_nobody_has_tried_is_null_where_it_is_asked_for(clock, door):
    stands, url = door
    with Sandbox(rate_limit=False, clock=clock, null_until_tried=True) as sandbox:
        stands.open_for(sandbox)
        job_id = sandbox.add_job(2)
        names = [item.accounting_entry_id for item in sandbox.items(job_id)]
        with httpx.Client(base_url=url, auth=("sandbox-key", "")) as api:
            tried = {"accountingEntryId": names[0], "status": "pending"}
            assert api.put(f"/v3/export-jobs/{job_id}/items", json=[tried]).json()["data"][0]["status"] == "pending"
            rows = api.get(f"/v3/export-jobs/{job_id}/items").json()["data"]
            asked = api.post(SEARCH, json={"accountingEntryIds": names}).json()["data"]
            one = api.get("/v3/export-job-items", params={"accounting_entry_id": names[1]}).json()["data"]
        stands.close()
    assert [row["status"] for row in rows] == [row["status"] for row in asked] == ["pending", None]
    assert one["status"] is None
