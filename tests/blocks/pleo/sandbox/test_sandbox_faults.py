"""Faults on order, and the count of what was received."""

from __future__ import annotations

import socket

import httpx
import pytest

from blocks.pleo.sandbox import serve

JOBS = "GET /v3/export-jobs"
PUT = "PUT /v3/export-jobs/{jobId}/items"


@pytest.fixture
def job_id(sandbox):
    return sandbox.add_job(30)


def test_a_status_comes_instead_of_an_answer_to_its_call_as_often_as_told_after_letting_some_pass(sandbox, api, job_id):
    sandbox.inject("status", JOBS, status=503, times=2, skip=1, retry_after="7")
    assert api.get(f"/v3/export-jobs/{job_id}").status_code == 200
    answers = [api.get("/v3/export-jobs") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert [answer.headers.get("retry-after") for answer in answers] == [None, "7", "7", None]


def test_a_web_page_comes_with_success(sandbox, api, job_id):
    sandbox.inject("html")
    answer = api.get("/v3/export-jobs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!doctype html>")
    assert api.get("/v3/export-jobs").json()["data"]


def test_half_an_answer_comes(sandbox, api, job_id):
    sandbox.inject("cut", JOBS)
    cut, whole = api.get("/v3/export-jobs"), api.get("/v3/export-jobs")
    assert cut.status_code == 200
    assert cut.text == whole.text[: len(cut.text)]
    assert len(cut.text) == len(whole.text) // 2


@pytest.mark.parametrize(("kind", "done"), [("drop", "pending"), ("lost", "successful")])
def test_the_connection_breaks_before_or_after_the_work(sandbox, job_id, kind, done, put):
    name = sandbox.items(job_id)[0].accounting_entry_id
    sandbox.inject(kind, PUT)
    update = {"accountingEntryId": name, "status": "successful"}
    with pytest.raises(httpx.TransportError):
        put(job_id, update)
    assert sandbox.items(job_id)[0].status == done
    assert sandbox.received().requests[-1].status == 0
    assert put(job_id, update).status_code == 200


def test_faults_can_be_taken_back(sandbox, api, job_id):
    sandbox.inject("status", times=100)
    assert api.get("/v3/export-jobs").status_code == 503
    sandbox.clear_faults()
    assert api.get("/v3/export-jobs").status_code == 200


def test_every_request_is_counted_refused_ones_too(sandbox, api, job_id, anyone, send, put):
    api.get("/v3/export-jobs", params={"statuses": "pending"})
    anyone.get("/v3/export-jobs")
    send(job_id, "started")
    send(job_id, "started")
    name = sandbox.items(job_id)[0].accounting_entry_id
    put(job_id, {"accountingEntryId": name, "status": "failed"})
    items = api.get("/v3/export-items", params={"job_id": job_id, "limit": 30}).json()["data"]
    link = next(file["url"] for item in items for file in item["files"] or [])
    anyone.get(link)
    api.get("/")
    received = sandbox.received()
    assert (received.total, received.receipts) == (6, 1)
    assert received.by_call == {
        "GET /v3/export-jobs": 2,
        "POST /v3/export-job-events": 2,
        "PUT /v3/export-jobs/{jobId}/items": 1,
        "GET /v3/export-items": 1,
        "GET /receipts": 1,
    }
    assert received.by_status == {200: 4, 401: 1, 202: 1, 422: 1}
    assert [(request.method, request.status, request.detail) for request in received.requests] == [
        ("GET", 200, ""),
        ("GET", 401, ""),
        ("POST", 202, "started"),
        ("POST", 422, ""),
        ("PUT", 200, "1 item"),
        ("GET", 200, "30 items"),
        ("GET", 200, ""),
    ]
    assert received.requests[0].path == "/v3/export-jobs?statuses=pending"
    assert [(event.job_id, event.name) for event in received.events] == [(job_id, "started")]
    sandbox.forget_requests()
    assert (sandbox.received().total, sandbox.received().requests) == (0, ())


@pytest.mark.parametrize(
    ("call", "met"),
    [
        ("*", [503, 503, 503]),
        ("GET *", [503, 503, 200]),
        ("* /v3/export-jobs/*", [200, 503, 503]),
        ("GET /v3/export-jobs/{jobId}", [200, 503, 200]),
        ("GET /v3/export-jobs/JOB", [200, 503, 200]),
        ("GET /v3/export-jobs/another", [200, 200, 200]),
        ("GET /v3/export-job", [200, 200, 200]),
    ],
)
def test_a_call_is_named_by_the_contract_by_its_id_or_by_a_pattern(sandbox, api, job_id, put, call, met):
    sandbox.inject("status", call.replace("JOB", job_id), times=9)
    answers = [api.get("/v3/export-jobs"), api.get(f"/v3/export-jobs/{job_id}"), put(job_id)]
    assert [answer.status_code for answer in answers] == met


def test_faults_are_ordered_shown_and_taken_back_over_http(sandbox, api, anyone, job_id, put):
    limit = {"kind": "status", "call": "GET /v3/export-jobs", "status": 429, "retry_after": 7, "times": 2, "skip": 1}
    lost = {"kind": "lost", "call": PUT}
    for order in (limit, lost):
        assert anyone.post("/sandbox/faults", json=order).status_code == 204
    waiting = anyone.get("/sandbox/faults").json()["faults"]
    assert waiting == [
        {**limit, "retry_after": "7"},
        {**lost, "status": 503, "retry_after": None, "times": 1, "skip": 0},
    ]
    answers = [api.get("/v3/export-jobs") for _ in range(2)]
    assert [(one.status_code, one.headers.get("retry-after")) for one in answers] == [(200, None), (429, "7")]
    with pytest.raises(httpx.TransportError):
        put(job_id, {"accountingEntryId": sandbox.items(job_id)[0].accounting_entry_id, "status": "successful"})
    assert sandbox.items(job_id)[0].status == "successful"
    assert [(fault["kind"], fault["times"]) for fault in anyone.get("/sandbox/faults").json()["faults"]] == [
        ("status", 1)
    ]
    assert anyone.delete("/sandbox/faults").status_code == 204
    assert anyone.get("/sandbox/faults").json() == {"faults": []}
    assert api.get("/v3/export-jobs").status_code == 200


@pytest.mark.parametrize("kind", ["drop", "lost"])
def test_of_a_connection_that_breaks_not_one_byte_comes(sandbox, kind):
    sandbox.inject(kind)
    with serve(sandbox) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            asked = b"GET /v3/export-jobs HTTP/1.1\r\nHost: pleo\r\nAuthorization: Bearer sandbox-token\r\n\r\n"
            connection.sendall(asked)
            assert connection.recv(100) == b""


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "explode"},
        {"kind": 7},
        {"call": "/v3/export-jobs"},
        {"call": "get /v3/export-jobs"},
        {"call": ""},
        {"status": 200},
        {"status": "x"},
        {"times": 0},
        {"skip": -1},
        {"retry_after": "1\r\nX: 2"},
        {"retry_after": True},
        {"time": 1},
    ],
    ids=str,
)
def test_a_fault_that_is_none_is_refused_in_a_line(sandbox, anyone, wrong):
    answer = anyone.post("/sandbox/faults", json=wrong)
    assert (answer.status_code, answer.json()["type"]) == (400, "SANDBOX_ERROR")
    assert sandbox.faults.waiting() == []
