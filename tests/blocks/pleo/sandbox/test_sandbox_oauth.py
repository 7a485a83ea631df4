"""The sandbox as authorisation server: what it asks of a client, what it hands out, and when it takes it all back."""

from __future__ import annotations

import base64
import hashlib
import re
import sqlite3
from urllib.parse import parse_qs, quote_plus, urlsplit

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox
from blocks.pleo.sandbox.oauth import SCOPES
from blocks.pleo.sandbox.store import APPLICATION_ID, SCHEMA

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
def url(sandbox, base_url):
    sandbox.add_oauth_client(CLIENT, SECRET, redirect_uris=[BACK])
    return base_url


def ask(url, **changes):
    query = {name: value for name, value in {**ASKED, **changes}.items() if value is not None}
    return httpx.get(f"{url}/oauth/authorize", params=query)


def decide(url, decision, **changes):
    """What the browser is sent back with after Allow or Deny."""
    page = ask(url, **changes)
    assert page.status_code == 200, page.text
    (number,) = re.findall(r'name="page" value="([^"]+)"', page.text)
    done = httpx.post(f"{url}/oauth/authorize", data={"page": number, "decision": decision})
    return done, number


def back(response):
    assert response.status_code == 303
    assert response.headers["location"].startswith(BACK + "?")
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["location"]).query).items()}


def code_of(url, **changes):
    return back(decide(url, "allow", **changes)[0])["code"]


def token(url, fields, *, client=(CLIENT, SECRET), header=False):
    if header:
        auth = base64.b64encode(":".join(map(quote_plus, client)).encode()).decode()
        return httpx.post(f"{url}/oauth/token", data=fields, headers={"Authorization": f"Basic {auth}"})
    who = {"client_id": client[0], "client_secret": client[1]}
    return httpx.post(f"{url}/oauth/token", data={**who, **fields})


def exchange(url, code, /, **changes):
    header = changes.pop("header", False)
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    given = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    return token(url, given, header=header)


def renew(url, refresh_token, **how):
    return token(url, {"grant_type": "refresh_token", "refresh_token": refresh_token}, **how)


def jobs(url, access_token):
    return httpx.get(f"{url}/v3/export-jobs", headers={"Authorization": f"Bearer {access_token}"})


@pytest.mark.parametrize("header", [False, True])
def test_a_user_who_allows_it_gives_a_client_the_companies_and_scopes_that_were_asked_for(sandbox, url, header):
    sandbox.add_job(2)
    sandbox.add_job(2, company_id="11111111-2222-4333-8444-555555555555")
    answer = back(decide(url, "allow")[0])
    assert answer["state"] == ASKED["state"]
    response = exchange(url, answer["code"], header=header)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 900, " ".join(SCOPES))
    seen = jobs(url, tokens["access_token"]).json()["data"]
    assert [job["companyId"] for job in seen] == [SANDBOX_COMPANY_ID]


def test_a_user_who_denies_it_gives_nothing(sandbox, url):
    assert back(decide(url, "deny")[0])["error"] == "access_denied"
    assert sandbox.oauth_grants() == []


def test_the_page_names_what_is_asked_and_is_good_for_one_answer(url):
    page = ask(url)
    assert all(f"<code>{scope}</code>" in page.text for scope in SCOPES)
    assert SANDBOX_COMPANY_ID in page.text
    assert "form-action 'self' http://127.0.0.1:8919;" in page.headers["content-security-policy"]
    assert "script" not in page.text.lower()
    _, number = decide(url, "allow")
    assert httpx.post(f"{url}/oauth/authorize", data={"page": number, "decision": "allow"}).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": "http://127.0.0.1:8920/callback"},
        {"redirect_uri": None},
    ],
)
def test_an_unknown_client_or_address_is_told_on_a_page_and_never_redirected(url, changes):
    response = ask(url, **changes)
    assert response.status_code == 400
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": VERIFIER}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
    ],
)
def test_a_request_that_is_not_in_order_goes_back_with_its_error(url, changes, error):
    assert back(ask(url, **changes))["error"] == error


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": VERIFIER[:-1] + "1"},
        {"code_verifier": "short"},
        {"code_verifier": None},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": None},
        {"code": "made-up"},
    ],
)
def test_a_code_is_bound_to_its_verifier_and_address(url, changes):
    response = exchange(url, code_of(url), **changes)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_a_code_lives_for_a_minute(url, clock):
    code = code_of(url)
    clock.pass_by(60)
    assert exchange(url, code).json()["error"] == "invalid_grant"


def test_a_code_of_another_client_is_nothing(sandbox, url):
    sandbox.add_oauth_client("other", "secret", redirect_uris=[BACK])
    fields = {"grant_type": "authorization_code", "code": code_of(url), "redirect_uri": BACK}
    response = token(url, {**fields, "code_verifier": VERIFIER}, client=("other", "secret"))
    assert response.json()["error"] == "invalid_grant"


def test_a_code_that_comes_twice_takes_back_what_it_brought(sandbox, url):
    code = code_of(url)
    tokens = exchange(url, code).json()
    assert exchange(url, code).json()["error"] == "invalid_grant"
    assert jobs(url, tokens["access_token"]).status_code == 401
    assert sandbox.oauth_grants()[0].revoked == "the code was used twice"


def test_each_renewal_brings_two_new_tokens_and_drops_the_old_ones(sandbox, url):
    first = exchange(url, code_of(url)).json()
    second = renew(url, first["refresh_token"]).json()
    assert {first["access_token"], first["refresh_token"]}.isdisjoint({second["access_token"], second["refresh_token"]})
    assert jobs(url, first["access_token"]).status_code == 401
    assert jobs(url, second["access_token"]).status_code == 200
    (grant,) = sandbox.oauth_grants()
    assert (grant.renewals, grant.revoked) == (1, None)


def test_a_refresh_token_that_comes_twice_revokes_the_whole_grant(sandbox, url):
    first = exchange(url, code_of(url)).json()
    second = renew(url, first["refresh_token"]).json()
    assert renew(url, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert jobs(url, second["access_token"]).status_code == 401
    assert renew(url, second["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.oauth_grants()[0].revoked == "a refresh token was used twice"


def test_an_expired_refresh_token_revokes_the_grant(sandbox, url, clock):
    tokens = exchange(url, code_of(url)).json()
    clock.pass_by(60 * 86400)
    assert renew(url, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.oauth_grants()[0].revoked == "an expired refresh token was used"


def test_access_tokens_run_out_by_the_sandboxs_clock(url, clock):
    tokens = exchange(url, code_of(url)).json()
    clock.pass_by(899)
    assert jobs(url, tokens["access_token"]).status_code == 200
    clock.pass_by(1)
    assert jobs(url, tokens["access_token"]).status_code == 401
    assert renew(url, tokens["refresh_token"]).status_code == 200


def test_what_a_user_takes_back_is_gone(sandbox, url):
    tokens = exchange(url, code_of(url)).json()
    sandbox.revoke_access(CLIENT)
    assert jobs(url, tokens["access_token"]).status_code == 401
    assert renew(url, tokens["refresh_token"]).json()["error"] == "invalid_grant"


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
def test_a_client_that_does_not_show_its_secret_as_it_should_gets_401(sandbox, url, client, header, registered):
    sandbox.add_oauth_client(CLIENT, SECRET, client_auth=registered, redirect_uris=[BACK])
    pair = sandbox.grant_access(CLIENT)
    response = renew(url, pair.refresh_token, client=client, header=header)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")
    assert sandbox.oauth_grants()[0].revoked is None


def test_two_ways_at_once_and_other_grants_are_refused(sandbox, url):
    fields = {"grant_type": "refresh_token", "refresh_token": sandbox.grant_access(CLIENT).refresh_token}
    both = token(url, {**fields, "client_secret": SECRET}, header=True)
    assert both.json()["error"] == "invalid_request"
    assert token(url, {"grant_type": "password"}).json()["error"] == "unsupported_grant_type"
    assert httpx.post(f"{url}/oauth/token", json=fields).json()["error"] == "invalid_request"


def test_a_public_client_has_no_secret(sandbox, url):
    sandbox.add_oauth_client("public", redirect_uris=[BACK])
    pair = sandbox.grant_access("public")
    fields = {"grant_type": "refresh_token", "refresh_token": pair.refresh_token}
    assert token(url, fields, client=("public", "a guess")).json()["error"] == "invalid_client"
    assert httpx.post(f"{url}/oauth/token", data={"client_id": "public", **fields}).status_code == 200


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("export-jobs:read", "GET", "/v3/export-jobs"),
        ("export-items:read", "GET", "/v3/export-items"),
        ("export-jobs:write", "POST", "/v3/export-job-events"),
        ("export-jobs:write", "PUT", "/v3/export-jobs/00000000-0000-4000-8000-000000000000/items"),
    ],
)
def test_each_call_needs_its_scope(sandbox, url, scope, method, path):
    granted = sandbox.grant_access(CLIENT, [scope]).access_token
    lacking = sandbox.grant_access(CLIENT, [other for other in SCOPES if other != scope]).access_token
    statuses = [
        httpx.request(method, url + path, headers={"Authorization": f"Bearer {each}"}).status_code
        for each in (granted, lacking)
    ]
    assert statuses[0] not in (401, 403)
    assert statuses[1] == 403


def test_nothing_of_it_is_in_the_log_nor_in_the_requests_that_count(sandbox, url):
    code = code_of(url)
    tokens = exchange(url, code).json()
    received = sandbox.received()
    assert received.total == 0
    assert received.by_call["POST /oauth/token"] == 1
    for secret in (code, VERIFIER, CHALLENGE, SECRET, tokens["access_token"], tokens["refresh_token"]):
        assert secret not in repr(received)
        assert secret not in httpx.get(f"{url}/").text


def test_grants_outlive_a_restart_and_the_file_holds_no_token(tmp_path, clock):
    state = tmp_path / "state.sqlite"
    with Sandbox(state, clock=clock) as sandbox:
        sandbox.add_oauth_client(CLIENT, SECRET)
        pair = sandbox.grant_access(CLIENT)
    for secret in (SECRET, pair.access_token, pair.refresh_token):
        assert secret.encode() not in state.read_bytes()
    with Sandbox(state, clock=clock) as sandbox:
        assert [grant.client_id for grant in sandbox.oauth_grants()] == [CLIENT]


def test_a_state_of_the_version_before_gets_what_it_lacks(tmp_path):
    state = tmp_path / "state.sqlite"
    connection = sqlite3.connect(state)
    connection.executescript(SCHEMA + f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    connection.close()
    with Sandbox(state) as sandbox:
        sandbox.add_job(1)
        assert sandbox.grant_access().access_token
    Sandbox(state).close()


def test_faults_can_be_ordered_for_it(sandbox, url):
    pair = sandbox.grant_access(CLIENT)
    sandbox.inject("status", "POST /oauth/token", status=503)
    assert renew(url, pair.refresh_token).status_code == 503
    sandbox.inject("lost", "POST /oauth/token")
    with pytest.raises(httpx.RemoteProtocolError):
        renew(url, pair.refresh_token)
    assert sandbox.oauth_grants()[0].renewals == 1
