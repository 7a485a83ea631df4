"""`/v1/subscriptions`: made, listed, changed and deleted, by whom, with which addresses; and what is told of each."""

from __future__ import annotations

import base64

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_COMPANY_ID, Sandbox

PATH = "/v1/subscriptions"
OTHER = "11111111-2222-4333-8444-555555555555"
ASKED = {"endpointUrl": "http://127.0.0.1:1/pleo", "eventTypes": ["v1.export-job.created"]}


@pytest.fixture
def made(api):
    def make(**more):
        answer = api.post(PATH, json={**ASKED, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    return make


def test_one_is_made_read_listed_changed_and_deleted(api, made, clock):
    first = made()
    assert {name: first[name] for name in ("endpointUrl", "eventTypes", "status")} == {**ASKED, "status": "ACTIVE"}
    assert first["createdAt"] == first["updatedAt"] == "2026-11-18T11:06:40Z"
    secret = api.get(f"{PATH}/{first['id']}/secret").json()["data"]["secretKey"]
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24
    assert api.get(f"{PATH}/{first['id'].upper()}").json() == {"data": first}
    clock.pass_by(60)
    auth = {"type": "BASIC", "credentials": {"username": "me", "password": "pass:word"}}
    wanted = {**ASKED, "status": "INACTIVE", "customHeaders": {"X-Key": "1"}, "endpointAuth": auth}
    changed = api.put(f"{PATH}/{first['id']}", json=wanted)
    assert (changed.status_code, changed.json()["data"]["updatedAt"]) == (200, "2026-11-18T11:07:40Z")
    assert changed.json()["data"]["customHeaders"] == {"X-Key": "1"}
    assert "pass:word" not in api.get(PATH).text
    assert api.get(f"{PATH}/{first['id']}/secret").json()["data"]["secretKey"] == secret
    second = made()
    listed = api.get(PATH, params={"limit": 1}).json()
    assert [one["id"] for one in listed["data"]] == [first["id"]]
    after = {"after": listed["pagination"]["endCursor"]}
    assert [one["id"] for one in api.get(PATH, params=after).json()["data"]] == [second["id"]]
    assert [one["id"] for one in api.get(PATH, params={"status": "ACTIVE"}).json()["data"]] == [second["id"]]
    assert api.get(PATH, params={"event_types[]": ["v1.vendor.created"]}).json()["data"] == []
    assert len(api.get(PATH, params={"event_types[]": ["x", "v1.export-job.created"]}).json()["data"]) == 2
    answers = [api.delete(f"{PATH}/{first['id']}"), api.delete(f"{PATH}/{first['id']}")]
    assert [answer.status_code for answer in answers] == [204, 404]
    assert [one["id"] for one in api.get(PATH).json()["data"]] == [second["id"]]
    for path in ("", "/secret"):
        assert api.get(f"{PATH}/{first['id']}{path}").status_code == 404
    activities = f"{PATH}/{first['id']}/activities"
    assert [one["operationType"] for one in api.get(activities).json()["data"]] == ["CREATE", "UPDATE", "DELETE"]
    some = api.get(activities, params={"operation_types[]": ["CREATE", "DELETE"]}).json()["data"]
    assert [one["operationType"] for one in some] == ["CREATE", "DELETE"]
    assert api.get(activities, params={"operation_types[]": "READ"}).status_code == 400


def test_what_cannot_be_subscribed_to_is_refused_and_nothing_is_made(api):
    address = "endpointUrl"
    credentials = {"type": "BASIC", "credentials": {"username": "a:b", "password": "x"}}
    wrong = [
        {address: None},
        {address: "export.example/pleo"},
        {address: "http://export.example/pleo"},
        {address: "http://127.0.0.1@export.example/"},
        {address: "http://localhost.example/"},
        {address: "https://u:p@export.example/"},
        {address: "https://export.example/#x"},
        {address: "https://export.example/a b"},
        {address: "https://export.example:0/"},
        {address: "ftp://127.0.0.1/"},
        {address: "https://[::1/"},
        {address: "https://export.example/" + "x" * 2000},
        {"eventTypes": []},
        {"eventTypes": "v1.export-job.created"},
        {"eventTypes": ["a", "a"]},
        {"eventTypes": [1]},
        {"status": "PAUSED"},
        {"customHeaders": {"webhook-id": "1"}},
        {"customHeaders": {"Host": "1"}},
        {"customHeaders": {"a b": "1"}},
        {"customHeaders": {"X": "1\r\nY: 2"}},
        {"customHeaders": {"X": 1}},
        {"customHeaders": {"X": "1", "x": "2"}},
        {"customHeaders": []},
        {"endpointAuth": "BASIC"},
        {"endpointAuth": {"type": "BEARER"}},
        {"endpointAuth": {"type": "BASIC"}},
        {"endpointAuth": credentials},
    ]
    for one in wrong:
        answer = api.post(PATH, json={**ASKED, **one})
        assert (answer.status_code, answer.json()["type"]) == (400, "BAD_REQUEST"), one
    assert api.post(PATH, json=[]).status_code == 400
    assert api.get(PATH).json()["data"] == []
    for good in ("https://export.example/pleo?x=1", "http://[::1]:1/", "http://localhost:1", "http://127.8.8.8/"):
        assert api.post(PATH, json={**ASKED, address: good}).status_code == 200, good


def test_who_may_and_whose_subscriptions_they_see(sandbox, api, base_url, anyone, made):
    assert anyone.get(PATH).status_code == 401
    for secret, companies in (("one", [SANDBOX_COMPANY_ID]), ("two", [OTHER])):
        sandbox.add_credential(secret, companies)
    one, two = (httpx.Client(base_url=base_url, auth=(secret, "")) for secret in ("one", "two"))
    with one, two:
        mine = one.post(PATH, json=ASKED).json()["data"]["id"]
        whole = made()["id"]
        assert [found["id"] for found in one.get(PATH).json()["data"]] == [mine]
        assert two.get(PATH).json()["data"] == []
        for path in ("", "/secret", "/activities"):
            assert two.get(f"{PATH}/{mine}{path}").status_code == 404
        assert two.delete(f"{PATH}/{mine}").status_code == 404
        assert two.put(f"{PATH}/{mine}", json=ASKED).status_code == 404
    told = sandbox.webhooks.subscriptions.told_of
    assert sorted(found.id for found in told(SANDBOX_COMPANY_ID)) == sorted([mine, whole])
    assert [found.id for found in told(OTHER)] == [whole], "a credential is told of its own companies alone"


def test_they_outlive_a_restart(tmp_path, clock):
    with Sandbox(tmp_path / "state", clock=clock) as sandbox:
        made = sandbox.webhooks.subscriptions.make(None, ASKED, clock())
    with Sandbox(tmp_path / "state", clock=clock) as sandbox:
        assert sandbox.webhooks.subscriptions.find(None, made.id) == made
    assert made.secret not in repr(made)
