"""Keys and tokens for some companies and scopes, and the calls that tell whose they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

import blocks.pleo.sandbox
from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.credentials import SCOPES

OTHER = "11111111-2222-4333-8444-555555555555"
THIRD = "22222222-2222-4333-8444-555555555555"


@pytest.fixture
def made(api, base_url):
    """Makes credentials by the control call; answers a client that has them, and what the call answered."""
    clients = []

    def make(**fields):
        answer = api.post("/sandbox/credentials", json=fields)
        assert answer.status_code == 201
        secret = answer.json()["secret"]
        auth = (secret, "") if answer.json()["kind"] == "key" else None
        headers = {} if auth else {"Authorization": f"Bearer {secret}"}
        clients.append(httpx.Client(base_url=base_url, auth=auth, headers=headers, trust_env=False))
        return clients[-1], answer.json()

    yield make
    for client in clients:
        client.close()


def test_keys_of_several_companies_see_their_own_and_the_others_say_403(sandbox, made):
    jobs = {company: sandbox.add_job(1, company_id=company) for company in (SANDBOX_COMPANY_ID, OTHER, THIRD)}
    for companies in ([OTHER], [OTHER, THIRD], [SANDBOX_COMPANY_ID]):
        client, _ = made(companies=companies)
        seen = {job["id"] for job in client.get("/v3/export-jobs").json()["data"]}
        assert seen == {jobs[company] for company in companies}
        for company, job_id in jobs.items():
            status = 200 if company in companies else 403
            assert client.get("/v3/export-jobs", params={"company_id": company}).status_code == status
            assert client.get(f"/v3/export-jobs/{job_id}/items").status_code == status
    everything, _ = made(companies=None)
    assert len(everything.get("/v3/export-jobs").json()["data"]) == 3


@pytest.mark.parametrize("kind", ["key", "token"])
def test_a_key_for_reading_starts_no_job_and_one_that_is_taken_back_opens_nothing(sandbox, api, made, kind):
    job_id = sandbox.add_job(1)
    client, said = made(kind=kind, scopes=["export-jobs:read"])
    assert said["companies"] == [SANDBOX_COMPANY_ID]
    assert client.get(f"/v3/export-jobs/{job_id}").status_code == 200
    assert client.get("/v1/installations/me").status_code == 200, "whoever has a key may ask whose it is"
    refused = [
        client.post("/v3/export-job-events", json={"jobId": job_id, "event": "started"}),
        client.get("/v3/export-items", params={"job_id": job_id}),
        client.get("/v1/companies"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 3
    assert "export-jobs:write" in refused[0].json()["message"]
    assert api.get("/sandbox/credentials").json()["credentials"] == [said]
    assert api.delete(f"/sandbox/credentials/{said['secret']}").status_code == 204
    assert client.get(f"/v3/export-jobs/{job_id}").status_code == 401
    assert api.delete(f"/sandbox/credentials/{said['secret']}").status_code == 404
    assert sandbox.job(job_id).status == "pending"


def test_the_example_of_the_readme_makes_a_key_that_reads(made):
    readme = (Path(blocks.pleo.sandbox.__file__).parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"/sandbox/credentials -d '(.+?)'", readme, re.DOTALL)
    client, said = made(**json.loads(example))
    assert said["companies"] == [OTHER]
    assert client.get("/v3/export-jobs", params={"company_id": OTHER}).status_code == 200
    assert [f"`{scope}`" in readme for scope in SCOPES] == [True] * len(SCOPES)


def test_a_key_can_be_named_and_else_begins_as_pleos_do(api, made):
    assert made(secret="mine")[1]["secret"] == "mine"
    assert made(secret="a/+ b=?%")[0].get("/v3/export-jobs").status_code == 200
    for secret in ("mine", "a%2F%2B%20b%3D%3F%25"):
        assert api.delete(f"/sandbox/credentials/{secret}").status_code == 204
    assert api.get("/sandbox/credentials").json() == {"credentials": []}
    assert made()[1]["secret"].startswith("pls_")


@pytest.mark.parametrize(
    "wrong",
    [
        {"companies": ["ACME"]},
        {"companies": OTHER},
        {"scopes": ["export-jobs:delete"]},
        {"kind": "password"},
        {"secret": ""},
        {"secret": "a:b"},
        {"company": OTHER},
    ],
)
def test_credentials_that_cannot_be_are_refused_in_a_line(api, wrong):
    answer = api.post("/sandbox/credentials", json=wrong)
    assert (answer.status_code, answer.json()["type"]) == (400, "SANDBOX_ERROR")
    assert "\n" not in answer.json()["message"]
    assert api.get("/sandbox/credentials").json() == {"credentials": []}


def test_an_installation_names_the_company_of_a_key_or_the_organisation_of_several(sandbox, api, made, clock):
    began = api.get("/v1/installations/me").json()
    assert (began["resource"], began["status"]) == (f"urn:pleo:company:{SANDBOX_COMPANY_ID}", "ACTIVATED")
    clock.pass_by(3600)
    (one, _), (both, _) = made(companies=[OTHER]), made(companies=[OTHER, THIRD])
    mine, ours = one.get("/v1/installations/me").json(), both.get("/v1/installations/me").json()
    assert mine["resource"] == f"urn:pleo:company:{OTHER}"
    assert ours["resource"].startswith("urn:pleo:organization:")
    assert len({began["id"], mine["id"], ours["id"]}) == 3
    assert mine["createdAt"] == began["createdAt"]
    assert one.get("/v1/installations/me").json() == mine


def test_companies_are_listed_for_those_who_see_them_page_by_page(sandbox, api, made):
    (both, _) = made(companies=[OTHER, THIRD])
    first = both.get("/v1/companies", params={"limit": 1}).json()
    after = {"limit": 1, "after": first["pagination"]["endCursor"]}
    second = both.get("/v1/companies", params=after).json()
    assert [company["id"] for page in (first, second) for company in page["data"]] == [OTHER, THIRD]
    assert (first["pagination"]["total"], second["pagination"]["hasNextPage"]) == (2, False)
    assert {company["id"] for company in api.get("/v1/companies").json()["data"]} == {SANDBOX_COMPANY_ID, OTHER, THIRD}
    organization = first["data"][0]["organizationId"]
    assert len(both.get("/v1/companies", params={"organization_id": organization}).json()["data"]) == 2
    assert both.get("/v1/companies", params={"organization_id": OTHER}).status_code == 403
    assert both.get("/v1/companies", params={"organization_id": "x"}).status_code == 400
