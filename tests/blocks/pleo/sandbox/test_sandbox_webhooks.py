"""The webhook's deliveries, taken by a real receiver: signed, again until taken, and wrong in every way on order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from blocks.pleo.sandbox import SANDBOX_API_KEY, SANDBOX_COMPANY_ID, Sandbox, SandboxError, serve
from blocks.pleo.sandbox.webhooks import Manner, sign
from tests.support.processes import free_port, until

JOB_FIELDS = {"companyId", "createdAt", "createdBy", "expiresIn", "id", "numberOfItems", "status"}


@dataclass
class Receiver:
    """Takes what is delivered: `answers` are its next statuses, `headers` go with each."""

    url: str
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None

    def bodies(self) -> list[dict]:
        return [json.loads(body) for _, _, body in self.got]

    def jobs(self) -> list[str]:
        return [body["data"]["id"] for body in self.bodies()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if made.hold is not None:
                made.hold.wait(20)
            self.send_response(made.answers.pop(0) if made.answers else 204)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Receiver(f"http://127.0.0.1:{server.server_address[1]}/pleo?from=sandbox")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """One by the real clock, as receivers look at the timestamps; it tries again at once."""
    with Sandbox(rate_limit=False) as made:
        made.webhooks.retry([0.01, 0.01])
        yield made


@pytest.fixture
def secret(api, receiver) -> str:
    """The secret of a subscription for the receiver."""
    asked = {"endpointUrl": receiver.url, "eventTypes": ["v1.export-job.created"], "customHeaders": {"X-Key": "k"}}
    made = api.post("/v1/subscriptions", json=asked).json()["data"]["id"]
    return api.get(f"/v1/subscriptions/{made}/secret").json()["data"]["secretKey"]


def settled(sandbox, *states):
    """The messages, once they have these states."""

    def so():
        found = sandbox.webhooks.sent()
        return found if [one.state for one in found] == list(states) else None

    return until(so, within_s=10, otherwise=f"the deliveries did not end so: {sandbox.webhooks.sent()}")


def verified(secret, headers, body):
    return Webhook(secret).verify(body, headers)


def test_signatures_are_those_of_the_standard_and_of_its_printed_example():
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    printed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == printed


def test_every_new_job_is_told_of_however_it_was_made(sandbox, api, receiver, secret):
    first = sandbox.add_job(3)
    second = api.post("/sandbox/jobs", json={"items": 2, "seed": 2}).json()["job_id"]
    settled(sandbox, "delivered", "delivered")
    for job_id in (first, second):
        api.post("/v3/export-job-events", json={"jobId": job_id, "event": "failed"})
    third = sandbox.export_again(first)
    api.post("/v3/export-job-events", json={"jobId": third, "event": "failed"})
    entries = [item.accounting_entry_id for item in sandbox.items(second)]
    asked = {"companyId": SANDBOX_COMPANY_ID, "accountingEntryIds": entries}
    fourth = api.post("/v3/export-jobs", json=asked).json()["data"]["id"]
    settled(sandbox, *["delivered"] * 4)
    assert receiver.jobs() == [first, second, third, fourth]
    path, headers, body = receiver.got[0]
    assert path == "/pleo?from=sandbox"
    assert (headers["x-key"], headers["content-type"]) == ("k", "application/json")
    event = verified(secret, headers, body)
    assert set(event) == {"data", "eventId", "eventType"}
    assert set(event["data"]) == JOB_FIELDS
    assert (event["eventType"], event["data"]["status"], event["data"]["numberOfItems"]) == (
        "v1.export-job.created",
        "pending",
        3,
    )
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 4


def test_a_delivery_comes_again_with_its_id_until_it_is_taken_and_is_given_up_in_the_end(sandbox, receiver, secret):
    receiver.answers = [503, 302, 200]
    receiver.headers = {"location": receiver.url.replace("/pleo", "/elsewhere")}
    sandbox.add_job(1)
    (taken,) = settled(sandbox, "delivered")
    assert [attempt.status for attempt in taken.attempts] == [503, 302, 200]
    assert {headers["webhook-id"] for _, headers, _ in receiver.got} == {taken.message_id}
    assert {path for path, _, _ in receiver.got} == {"/pleo?from=sandbox"}, "a redirect was followed"
    for _, headers, body in receiver.got:
        verified(secret, headers, body)
    receiver.answers = [500] * 3
    sandbox.add_job(1, 2)
    _, lost = settled(sandbox, "delivered", "given up")
    assert [attempt.status for attempt in lost.attempts] == [500] * 3


def test_nobody_there_and_no_host_of_that_name_are_failures_that_are_told(sandbox, api):
    for url in (f"http://127.0.0.1:{free_port()}/", "https://a..b/"):
        api.post("/v1/subscriptions", json={"endpointUrl": url, "eventTypes": ["v2.export.job-created"]})
    sandbox.add_job(1)
    for one in settled(sandbox, "given up", "given up"):
        assert [attempt.status for attempt in one.attempts] == [None] * 3
        assert all(attempt.error for attempt in one.attempts)


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ({"signature": "forged"}, "No matching signature"),
        ({"signature": "altered"}, "No matching signature"),
        ({"signature": "missing"}, "Missing required headers"),
        ({"age_s": 600}, "too old"),
        ({"age_s": -600}, "too new"),
    ],
)
def test_a_wrong_one_is_refused_by_who_verifies_and_is_tried_once(sandbox, api, receiver, secret, manner, reason):
    receiver.answers = [401]
    assert api.post("/sandbox/deliveries", json={"times": 1, **manner}).status_code == 204
    wrong, right = sandbox.add_job(1), sandbox.add_job(1, 2)
    given_up, _ = settled(sandbox, "given up", "delivered")
    assert (given_up.job_id, [attempt.status for attempt in given_up.attempts]) == (wrong, [401])
    (_, headers, body), (_, sound, taken) = receiver.got
    with pytest.raises(WebhookVerificationError, match=reason):
        verified(secret, headers, body)
    assert verified(secret, sound, taken)["data"]["id"] == right
    assert (wrong in body.decode()) == (manner.get("signature") != "altered")


def test_late_repeated_out_of_order_and_in_another_spelling(sandbox, api, receiver, secret):
    began = time.monotonic()
    api.post("/sandbox/deliveries", json={"times": 1, "delay_s": 0.3, "copies": 3})
    sandbox.add_job(1)
    (message,) = settled(sandbox, "delivered")
    until(lambda: len(receiver.got) == 3, within_s=5)
    assert time.monotonic() - began >= 0.3
    assert {headers["webhook-id"] for _, headers, _ in receiver.got} == {message.message_id}
    receiver.got.clear()
    api.post("/sandbox/deliveries", json={"times": 2, "held": True})
    jobs = [sandbox.add_job(1, seed) for seed in (2, 3)]
    assert [one.state for one in sandbox.webhooks.sent()][1:] == ["held", "held"]
    api.post("/sandbox/deliveries", json={"times": 1, "event_type": "v2.export.job-created"})
    jobs.append(sandbox.add_job(1, 4))
    settled(sandbox, *["delivered"] * 4)
    assert receiver.jobs() == [jobs[2], jobs[0], jobs[1]]
    assert [body["eventType"] for body in receiver.bodies()] == ["v2.export.job-created"] + [
        "v1.export-job.created"
    ] * 2
    told = api.get("/sandbox/deliveries").json()["deliveries"]
    assert [one["job_id"] for one in told][1:] == jobs
    assert told[1]["attempts"][0]["status"] == 204


def test_under_payload_the_headers_stand_beside_it_and_the_whole_body_is_signed(sandbox, api, receiver, secret):
    api.post("/sandbox/deliveries", json={"layout": "payload"})
    job_id = sandbox.add_job(1)
    settled(sandbox, "delivered")
    _, headers, body = receiver.got[0]
    whole = verified(secret, headers, body)
    assert whole["payload"]["data"]["id"] == job_id
    assert whole["webhook-id"] == headers["webhook-id"]
    assert whole["webhook-timestamp"] == int(headers["webhook-timestamp"])
    inner = json.dumps(whole["payload"], separators=(",", ":")).encode()
    assert verified(secret, {**headers, "webhook-signature": whole["webhook-signature"]}, inner)


def test_a_job_is_told_of_again_when_asked_and_not_when_nobody_listens(sandbox, api, receiver):
    job_id = sandbox.add_job(1)
    refused = api.post(f"/sandbox/jobs/{job_id}/deliver")
    assert (refused.status_code, refused.json()["type"]) == (400, "SANDBOX_ERROR")
    auth = {"type": "BASIC", "credentials": {"username": "me", "password": "pass:word"}}
    asked = {"endpointUrl": receiver.url, "eventTypes": ["export-job.created"], "endpointAuth": auth}
    made = api.post("/v1/subscriptions", json=asked).json()["data"]["id"]
    answer = api.post(f"/sandbox/jobs/{job_id}/deliver", json={"copies": 2})
    assert answer.status_code == 201
    until(lambda: len(receiver.got) == 2, within_s=5)
    (message_id,) = answer.json()["message_ids"]
    assert {headers["webhook-id"] for _, headers, _ in receiver.got} == {message_id}
    assert receiver.got[0][1]["authorization"] == httpx.BasicAuth("me", "pass:word")._auth_header
    api.put(f"/v1/subscriptions/{made}", json={**asked, "status": "INACTIVE"})
    assert api.post(f"/sandbox/jobs/{job_id}/deliver").status_code == 400
    assert api.post("/sandbox/jobs/nowhere/deliver").status_code == 404


def test_what_waits_for_a_subscription_that_is_deleted_is_dropped_and_forgotten_when_asked(sandbox, api, receiver):
    asked = {"endpointUrl": receiver.url, "eventTypes": ["v1.export-job.created"]}
    made = api.post("/v1/subscriptions", json=asked).json()["data"]["id"]
    sandbox.webhooks.order(Manner(delay_s=0.2), 1)
    sandbox.add_job(1)
    api.delete(f"/v1/subscriptions/{made}")
    settled(sandbox, "dropped")
    assert receiver.got == []
    assert api.delete("/sandbox/deliveries").status_code == 204
    assert sandbox.webhooks.sent() == []


def test_one_receiver_that_hangs_keeps_no_other_waiting_and_no_sandbox_from_ending(receiver):
    threads = threading.enumerate()
    receiver.hold = threading.Event()
    with Sandbox() as sandbox:
        sandbox.add_job(1)
        assert threading.enumerate() == threads, "no subscription, no thread"
        with serve(sandbox) as url, httpx.Client(base_url=url, auth=(SANDBOX_API_KEY, "")) as api:
            for port in (receiver.url, f"http://127.0.0.1:{free_port()}/"):
                api.post("/v1/subscriptions", json={"endpointUrl": port, "eventTypes": ["export-job.created"]})
            sandbox.webhooks.retry([])
            sandbox.add_job(1, 2)
            settled(sandbox, "waiting", "given up")
            until(lambda: receiver.got, within_s=5)
            began = time.monotonic()
    receiver.hold.set()
    assert time.monotonic() - began < 5
    until(lambda: "pleo-sandbox-webhook" not in {one.name for one in threading.enumerate()}, within_s=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay_s": -1},
        {"delay_s": "1"},
        {"copies": 0},
        {"copies": 101},
        {"held": 1},
        {"signature": "none"},
        {"layout": "body"},
        {"age_s": 1e10},
        {"event_type": ""},
        {"times": 0},
        {"retry_waits_s": [-1]},
        {"retry_waits_s": 5},
        {"late": True},
    ],
    ids=str,
)
def test_an_order_that_is_none_is_refused_in_a_line(sandbox, api, wrong):
    answer = api.post("/sandbox/deliveries", json=wrong)
    assert (answer.status_code, answer.json()["type"]) == (400, "SANDBOX_ERROR")
    assert "\n" not in answer.json()["message"]
    with pytest.raises(SandboxError):
        Manner(copies=0)
