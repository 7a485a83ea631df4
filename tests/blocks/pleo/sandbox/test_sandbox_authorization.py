"""Authentication, companies and the rate limit."""

from __future__ import annotations

import base64

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_ACCESS_TOKEN, SANDBOX_API_KEY, SANDBOX_COMPANY_ID, Sandbox, serve

OTHER_COMPANY = "11111111-2222-4333-8444-555555555555"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_the_api_key_is_the_user_name_of_basic_and_the_access_token_a_bearer_token(anyone):
    for headers in (basic(f"{SANDBOX_API_KEY}:"), {"Authorization": f"Bearer {SANDBOX_ACCESS_TOKEN}"}):
        assert anyone.get("/v3/export-jobs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("wrong:"),
        basic(f"{SANDBOX_API_KEY}:password"),
        basic(SANDBOX_API_KEY),
        basic(f"{SANDBOX_ACCESS_TOKEN}:"),
        {"Authorization": "Basic not/base64/\u00e9".encode("latin-1").decode("latin-1")},
        {"Authorization": f"Bearer {SANDBOX_API_KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Digest {SANDBOX_API_KEY}"},
    ],
)
@pytest.mark.parametrize("path", ["/v3/export-jobs", "/v3/export-items", "/v3/unknown"])
def test_wrong_credentials_are_401_everywhere(anyone, headers, path):
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = anyone.get(path, headers=raw)
    assert answer.status_code == 401
    assert answer.json()["type"] == "UNAUTHORIZED"
    assert "Basic" in answer.headers["www-authenticate"]


def test_a_company_that_the_credentials_may_not_see_is_403(sandbox, base_url, anyone):
    own, other = sandbox.add_job(1), sandbox.add_job(1, company_id=OTHER_COMPANY)
    entry = sandbox.items(other)[0].accounting_entry_id
    sandbox.add_credential("narrow", [SANDBOX_COMPANY_ID])
    sandbox.add_credential("narrow-token", [SANDBOX_COMPANY_ID], token=True)
    bearer = {"Authorization": "Bearer narrow-token"}
    with httpx.Client(base_url=base_url, auth=("narrow", "")) as api:
        assert [job["id"] for job in api.get("/v3/export-jobs").json()["data"]] == [own]
        assert [job["id"] for job in anyone.get("/v3/export-jobs", headers=bearer).json()["data"]] == [own]
        refused = [
            api.get("/v3/export-jobs", params={"company_id": OTHER_COMPANY}),
            api.get(f"/v3/export-jobs/{other}"),
            api.get(f"/v3/export-jobs/{other}/items"),
            api.put(f"/v3/export-jobs/{other}/items", json=[]),
            api.get("/v3/export-items", params={"job_id": other}),
            api.post("/v3/export-job-events", json={"jobId": other, "event": "started"}),
            api.post("/v3/export-jobs", json={"companyId": OTHER_COMPANY, "accountingEntryIds": [entry]}),
        ]
        hidden = api.get("/v3/export-job-items", params={"accounting_entry_id": entry})
    assert [answer.status_code for answer in refused] == [403] * 7
    assert refused[0].json()["type"] == "FORBIDDEN"
    assert hidden.status_code == 404
    assert sandbox.job(other).status == "pending"


def test_a_company_that_nobody_knows_is_403_and_the_own_one_is_empty_at_first(api):
    assert api.get("/v3/export-jobs", params={"company_id": OTHER_COMPANY}).status_code == 403
    own = api.get("/v3/export-jobs", params={"company_id": SANDBOX_COMPANY_ID.upper()})
    assert own.status_code == 200
    assert own.json()["data"] == []


def test_no_sixty_seconds_hold_more_than_600_requests(clock):
    with (
        Sandbox(clock=clock) as sandbox,
        serve(sandbox) as url,
        httpx.Client(base_url=url, auth=(SANDBOX_API_KEY, "")) as api,
    ):
        for _ in range(300):
            assert api.get("/v3/export-jobs").status_code == 200
        clock.pass_by(20.5)
        for _ in range(300):
            assert api.get("/v3/export-jobs").status_code == 200
        refused = api.get("/v3/export-jobs")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "40"
        assert refused.json()["type"] == "TOO_MANY_REQUESTS"
        assert httpx.get(f"{url}/v3/export-jobs").status_code == 401, "strangers are told so, not to wait"
        clock.pass_by(39.4)
        assert api.get("/v3/export-jobs").status_code == 429
        clock.pass_by(0.1)
        answers = [api.get("/v3/export-jobs").status_code for _ in range(301)]
        assert answers == [200] * 300 + [429]
        assert sandbox.received().by_status == {200: 900, 429: 3, 401: 1}
