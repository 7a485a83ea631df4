"""The sandbox as authorisation server: what it asks of a client, what it hands out, and when it takes it all back."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import parse_qs, quote_plus, urlsplit

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from blocks.pleo.sandbox.credentials import SCOPES

CLIENT, SECRET, BACK = "acme client", "s3cret:+/%&", "http://127.0.0.1:8919/callback"
VERIFIER = "v" * 20 + "-._~" + "0" * 40
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {
    "response_type": "code",
    "client_id": CLIENT,
    "redirect_uri": BACK,
    "scope": " ".join(SCOPES),
    "state": "st&te",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@pytest.fixture
def web(sandbox, anyone):
    sandbox.add_oauth_client(CLIENT, SECRET, redirect_uris=[BACK])
    return anyone


def ask(web, **changes):
    query = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    return web.get("/oauth/authorize", params=query)


def decide(web, decision, **changes):
    """What the browser is sent back with after Allow or Deny."""
    page = ask(web, **changes)
    assert page.status_code == 200, page.text
    (number,) = re.findall(r'name="page" value="([^"]+)"', page.text)
    done = web.post("/oauth/authorize", data={"page": number, "decision": decision})
    return done, number


def back(response):
    assert response.status_code == 303
    assert response.headers["location"].startswith(BACK + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["location"]).query).items()}


def code_of(web, **changes):
    return back(decide(web, "allow", **changes)[0])["code"]


def token(web, fields, *, client=(CLIENT, SECRET), header=False):
    if header:
        auth = base64.b64encode(":".join(map(quote_plus, client)).encode()).decode()
        return web.post("/oauth/token", data=fields, headers={"Authorization": f"Basic {auth}"})
    who = {"client_id": client[0], "client_secret": client[1]}
    return web.post("/oauth/token", data={**who, **fields})


def exchange(web, code, /, **changes):
    how = {name: changes.pop(name) for name in ("header", "client") if name in changes}
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    given = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    return token(web, given, **how)


def renew(web, refresh_token, **how):
    return token(web, {"grant_type": "refresh_token", "refresh_token": refresh_token}, **how)


def jobs(web, access_token):
    return web.get("/v3/export-jobs", headers={"Authorization": f"Bearer {access_token}"})


@pytest.mark.parametrize("header", [False, True])
def test_a_user_who_allows_it_gives_a_client_the_companies_and_scopes_that_were_asked_for(sandbox, web, header):
    sandbox.add_job(2)
    sandbox.add_job(2, company_id="11111111-2222-4333-8444-555555555555")
    answer = back(decide(web, "allow")[0])
    assert answer["state"] == ASKED["state"]
    response = exchange(web, answer["code"], header=header)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 900, " ".join(SCOPES))
    seen = jobs(web, tokens["access_token"]).json()["data"]
    assert [job["companyId"] for job in seen] == [SANDBOX_COMPANY_ID]


def test_the_page_names_what_is_asked_and_is_good_for_one_answer_and_deny_gives_nothing(sandbox, web):
    page = ask(web)
    assert all(f"<code>{scope}</code>" in page.text for scope in SCOPES)
    assert SANDBOX_COMPANY_ID in page.text
    assert "form-action 'self' http://127.0.0.1:8919;" in page.headers["content-security-policy"]
    assert "script" not in page.text.lower()
    denied, number = decide(web, "deny")
    assert back(denied)["error"] == "access_denied"
    assert web.post("/oauth/authorize", data={"page": number, "decision": "allow"}).status_code == 400
    assert sandbox.oauth_grants() == []


ELSEWHERE = [BACK + "/", BACK + "?x=1", "http://127.0.0.1:8920/callback", None]


@pytest.mark.parametrize(
    "changes", [{"client_id": "nobody"}, {"client_id": None}, *({"redirect_uri": uri} for uri in ELSEWHERE)]
)
def test_an_unknown_client_or_address_is_told_on_a_page_and_never_redirected(web, changes):
    response = ask(web, **changes)
    assert response.status_code == 400
    assert "location" not in response.headers


WRONG = {
    "unsupported_response_type": [{"response_type": "token"}],
    "invalid_request": [
        *({"code_challenge_method": method} for method in ("plain", None)),
        *({"code_challenge": challenge} for challenge in (VERIFIER, None)),
        {"state": None},
    ],
    "invalid_scope": [{"scope": "everything"}, {"scope": None}],
}


@pytest.mark.parametrize("error", WRONG)
def test_a_request_that_is_not_in_order_goes_back_with_its_error(web, error):
    assert [back(ask(web, **changes))["error"] for changes in WRONG[error]] == [error] * len(WRONG[error])


def test_a_code_is_bound_to_its_client_verifier_and_address_and_lives_for_a_minute(sandbox, web, clock):
    sandbox.add_oauth_client("other", "secret", redirect_uris=[BACK])
    code = code_of(web)
    wrong = {"code_verifier": [VERIFIER[:-1] + "1", "short", None], "redirect_uri": [BACK + "/", None]}
    wrong |= {"code": ["made-up"], "client": [("other", "secret")]}
    for field, values in wrong.items():
        for value in values:
            response = exchange(web, code, **{field: value})
            assert (response.status_code, response.json()["error"]) == (400, "invalid_grant"), (field, value)
    clock.pass_by(59)
    late = code_of(web)
    assert exchange(web, code).status_code == 200
    clock.pass_by(60)
    assert exchange(web, late).json()["error"] == "invalid_grant"


def test_a_code_that_comes_twice_takes_back_what_it_brought(sandbox, web):
    code = code_of(web)
    tokens = exchange(web, code).json()
    assert exchange(web, code).json()["error"] == "invalid_grant"
    assert jobs(web, tokens["access_token"]).status_code == 401
    assert sandbox.oauth_grants()[0].revoked == "the code was used twice"


def test_each_renewal_brings_two_new_tokens_and_drops_the_old_ones(sandbox, web):
    first = exchange(web, code_of(web)).json()
    second = renew(web, first["refresh_token"]).json()
    assert {first["access_token"], first["refresh_token"]}.isdisjoint({second["access_token"], second["refresh_token"]})
    assert jobs(web, first["access_token"]).status_code == 401
    assert jobs(web, second["access_token"]).status_code == 200
    (grant,) = sandbox.oauth_grants()
    assert (grant.renewals, grant.revoked) == (1, None)


def test_a_refresh_token_that_comes_twice_revokes_the_whole_grant(sandbox, web):
    first = exchange(web, code_of(web)).json()
    second = renew(web, first["refresh_token"]).json()
    assert renew(web, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert jobs(web, second["access_token"]).status_code == 401
    assert renew(web, second["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.oauth_grants()[0].revoked == "a refresh token was used twice"


def test_tokens_run_out_by_the_sandboxs_clock_and_an_expired_refresh_token_revokes_the_grant(sandbox, web, clock):
    tokens = exchange(web, code_of(web)).json()
    clock.pass_by(899)
    assert jobs(web, tokens["access_token"]).status_code == 200
    clock.pass_by(1)
    assert jobs(web, tokens["access_token"]).status_code == 401
    clock.pass_by(60 * 86400 - 901)
    renewed = renew(web, tokens["refresh_token"])
    assert renewed.status_code == 200
    clock.pass_by(60 * 86400)
    assert renew(web, renewed.json()["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.oauth_grants()[0].revoked == "an expired refresh token was used"


def test_what_a_user_takes_back_is_gone(sandbox, web):
    tokens = exchange(web, code_of(web)).json()
    sandbox.revoke_access(CLIENT)
    assert jobs(web, tokens["access_token"]).status_code == 401
    assert renew(web, tokens["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("client", "header", "registered"),
    [
        ((CLIENT, "wrong"), False, "either"),
        ((CLIENT, "wrong"), True, "either"),
        ((CLIENT, ""), False, "either"),
        (("nobody", SECRET), False, "either"),
        ((CLIENT, SECRET), False, "header"),
        ((CLIENT, SECRET), True, "parameters"),
    ],
)
def test_a_client_that_does_not_show_its_secret_as_it_should_gets_401(sandbox, web, client, header, registered):
    sandbox.add_oauth_client(CLIENT, SECRET, client_auth=registered, redirect_uris=[BACK])
    pair = sandbox.grant_access(CLIENT)
    response = renew(web, pair.refresh_token, client=client, header=header)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")
    assert sandbox.oauth_grants()[0].revoked is None


def test_two_ways_at_once_and_other_grants_are_refused(sandbox, web):
    fields = {"grant_type": "refresh_token", "refresh_token": sandbox.grant_access(CLIENT).refresh_token}
    both = token(web, {**fields, "client_secret": SECRET}, header=True)
    assert both.json()["error"] == "invalid_request"
    assert token(web, {"grant_type": "password"}).json()["error"] == "unsupported_grant_type"
    assert web.post("/oauth/token", json=fields).json()["error"] == "invalid_request"


def test_a_public_client_has_no_secret(sandbox, web):
    sandbox.add_oauth_client("public", redirect_uris=[BACK])
    pair = sandbox.grant_access("public")
    fields = {"grant_type": "refresh_token", "refresh_token": pair.refresh_token}
    assert token(web, fields, client=("public", "a guess")).json()["error"] == "invalid_client"
    assert web.post("/oauth/token", data={"client_id": "public", **fields}).status_code == 200


@pytest.mark.parametrize(
    ("scope", "call"),
    [
        ("export-jobs:read", "GET /v3/export-jobs"),
        ("export-items:read", "GET /v3/export-items"),
        ("export-jobs:read", "POST /v3/export-job-items:search"),
        ("companies:read", "GET /v1/companies"),
        ("export-jobs:write", "POST /v3/export-job-events"),
        ("export-jobs:write", "PUT /v3/export-jobs/00000000-0000-4000-8000-000000000000/items"),
    ],
)
def test_each_call_needs_its_scope(sandbox, web, scope, call):
    granted = sandbox.grant_access(CLIENT, [scope]).access_token
    lacking = sandbox.grant_access(CLIENT, [other for other in SCOPES if other != scope]).access_token
    bearers = [{"Authorization": f"Bearer {each}"} for each in (granted, lacking)]
    statuses = [web.request(*call.split(), headers=bearer).status_code for bearer in bearers]
    assert statuses[0] not in (401, 403)
    assert statuses[1] == 403


def test_nothing_of_it_is_in_the_log_nor_in_the_requests_that_count(sandbox, web):
    code = code_of(web)
    tokens = exchange(web, code).json()
    received = sandbox.received()
    assert received.total == 0
    assert received.by_call["POST /oauth/token"] == 1
    for secret in (code, VERIFIER, CHALLENGE, SECRET, tokens["access_token"], tokens["refresh_token"]):
        assert secret not in repr(received)
        assert secret not in web.get("/").text


def test_faults_can_be_ordered_for_it(sandbox, web):
    pair = sandbox.grant_access(CLIENT)
    sandbox.inject("status", "POST /oauth/token", status=503)
    assert renew(web, pair.refresh_token).status_code == 503
    sandbox.inject("lost", "POST /oauth/token")
    with pytest.raises(httpx.RemoteProtocolError):
        renew(web, pair.refresh_token)
    assert sandbox.oauth_grants()[0].renewals == 1


def test_tokens_are_granted_run_out_and_are_taken_back_by_control_calls(sandbox, anyone):
    client = {"client_id": "acme", "secret": "s3", "redirect_uris": ["http://127.0.0.1:1/back"], "access_life_s": 60}
    assert anyone.post("/sandbox/oauth/clients", json=client).status_code == 204
    granted = anyone.post("/sandbox/oauth/grants", json={"client_id": "acme", "scopes": ["export-jobs:read"]})
    assert granted.status_code == 201
    other = anyone.post("/sandbox/oauth/grants").json()["access_token"]
    assert (granted.json()["expires_in"], granted.json()["scope"]) == (60, "export-jobs:read")

    def status(token):
        return anyone.get("/v3/export-jobs", headers={"Authorization": f"Bearer {token}"}).status_code

    def renewed(refresh_token):
        form = {"grant_type": "refresh_token", "client_id": "acme", "client_secret": "s3"}
        return anyone.post("/oauth/token", data={**form, "refresh_token": refresh_token})

    assert [status(granted.json()["access_token"]), status(other)] == [200, 200]
    assert anyone.post("/sandbox/oauth/expire", json={"client_id": "acme"}).status_code == 204
    assert [status(granted.json()["access_token"]), status(other)] == [401, 200]
    pair = renewed(granted.json()["refresh_token"]).json()
    assert status(pair["access_token"]) == 200
    anyone.post("/sandbox/oauth/expire", json={"refresh_tokens": True})
    assert [status(pair["access_token"]), status(other)] == [401, 401]
    assert renewed(pair["refresh_token"]).json()["error"] == "invalid_grant"
    third = anyone.post("/sandbox/oauth/grants", json={"client_id": "acme"}).json()
    assert anyone.post("/sandbox/oauth/revoke", json={"client_id": "acme"}).status_code == 204
    assert status(third["access_token"]) == 401
    assert renewed(third["refresh_token"]).json()["error"] == "invalid_grant"
    shown = anyone.get("/sandbox/oauth/grants").json()["grants"]
    assert [(grant["client_id"], grant["renewals"], bool(grant["revoked"])) for grant in shown] == [
        ("acme", 1, True),
        ("sandbox-client", 0, False),
        ("acme", 0, True),
    ]


@pytest.mark.parametrize(
    ("call", "body", "status"),
    [
        ("clients", {}, 400),
        ("clients", {"client_id": "a", "client_auth": "never"}, 400),
        ("clients", {"client_id": "a", "companies": ["acme"]}, 400),
        ("clients", {"client_id": "a", "access_life_s": "1"}, 400),
        ("grants", {"client_id": "nobody"}, 404),
        ("grants", {"scopes": ["everything"]}, 400),
        ("grants", {"scope": "x"}, 400),
        ("expire", {"client_id": "nobody"}, 404),
        ("expire", {"refresh_tokens": "yes"}, 400),
        ("revoke", {"client_id": "nobody"}, 404),
    ],
)
def test_a_control_call_on_tokens_that_is_none_is_refused_in_a_line(anyone, call, body, status):
    answer = anyone.post(f"/sandbox/oauth/{call}", json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, "SANDBOX_ERROR")
