"""Pleo's webhook over HTTP, before a real Prefect server: what is taken, what is refused, and what is told once."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deliveries import delivered
from flows.outcome import USAGE
from flows.webhook import MAX_BODY_BYTES, main
from tests.support.installing import asked
from tests.support.processes import PrefectServer, a_prefect_server, free_port, until
from tests.support.webhook import (
    COMPANY,
    EVENT,
    OLD_SECRET,
    SECRET,
    a_deployment,
    deliver,
    runs_of,
    signed,
    taken,
    told,
    webhook,
)

SPELLINGS = ("v1.export-job.created", "v1.export.job-created", "v2.export-job.created", "v2.export.job-created")


@pytest.fixture(scope="module")
def deployment(prefect_server: PrefectServer) -> str:
    return a_deployment(prefect_server)


@pytest.fixture(scope="module")
def address(prefect_server: PrefectServer, deployment: str) -> Iterator[str]:
    with (
        temporary_settings(updates={PREFECT_API_URL: prefect_server.api_url}),
        webhook(deployment, {"PLEO_WEBHOOK_SECRET": SECRET, "PLEO_WEBHOOK_SECRET_OLD": OLD_SECRET}) as serving,
    ):
        yield serving


def _runs(server: PrefectServer, deployment: str, job_id: str) -> list[dict[str, object]]:
    return [run for run in runs_of(server, deployment) if run["parameters"].get("job_id") == job_id]


def _started(server: PrefectServer, deployment: str, job_id: str) -> list[dict[str, object]]:
    """The runs of a job that was taken, which may be before Prefect has one."""
    return until(lambda: _runs(server, deployment, job_id), within_s=30, otherwise="Prefect has no run")


def test_a_new_job_starts_the_deployment_for_its_company_and_job(
    address: str, prefect_server: PrefectServer, deployment: str
) -> None:
    job_id = str(uuid4())
    taken(address, told(job_id))
    (run,) = _started(prefect_server, deployment, job_id)
    assert run["parameters"] == {"company_id": COMPANY, "job_id": job_id}
    assert run["state_type"] == "SCHEDULED"
    assert set(run["tags"]) == {"webhook", f"company:{COMPANY}", f"job:{job_id}"}  # type: ignore[call-overload]


def test_a_message_that_comes_again_starts_nothing_even_when_the_webhook_was_started_anew(
    address: str, prefect_api: PrefectServer, deployment: str
) -> None:
    job_id, message_id = str(uuid4()), f"msg_{uuid4().hex}"
    taken(address, told(job_id), message_id)
    taken(address, told(job_id), message_id)
    with webhook(deployment) as another:
        taken(another, told(job_id), message_id)
    assert len(_started(prefect_api, deployment, job_id)) == 1


def test_what_is_signed_with_the_secret_before_the_last_one_is_taken(
    address: str, prefect_server: PrefectServer, deployment: str
) -> None:
    job_id = str(uuid4())
    taken(address, told(job_id), secret=OLD_SECRET)
    assert len(_started(prefect_server, deployment, job_id)) == 1


@pytest.mark.parametrize("event", SPELLINGS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["top", "payload"])
def test_pleos_four_spellings_and_both_layouts_tell_of_a_job(event: str, *, wrapped: bool) -> None:
    job_id = str(uuid4())
    body = told(job_id, event)
    found = delivered("msg_1", json.dumps({"payload": body, "webhook-id": "msg_1"} if wrapped else body).encode())
    assert found is not None
    assert (found.message_id, found.company_id, found.job_id) == ("msg_1", COMPANY, job_id)


@pytest.mark.parametrize(
    "event", ["v1.vendor.created", "v1.export-job.created.not", "export-job.deleted", "", 7, None, ["v1"]]
)
def test_any_other_event_is_a_204_and_starts_nothing(
    address: str, prefect_server: PrefectServer, deployment: str, event: object
) -> None:
    job_id = str(uuid4())
    answer = deliver(address, {**told(job_id), "eventType": event})
    assert (answer.status_code, answer.content) == (httpx.codes.NO_CONTENT, b"")
    assert not _runs(prefect_server, deployment, job_id)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"webhook-signature": None}),
        (401, {"webhook-id": None}),
        (401, {"webhook-timestamp": None}),
        (401, {"webhook-id": "msg_another"}),
        (401, {"webhook-timestamp": "nan"}),
        (401, {"webhook-timestamp": "1e400"}),
        (401, {"webhook-signature": "v1"}),
        (401, {"webhook-signature": "v1,??,??"}),
        (401, {"webhook-signature": "v1,é"}),
        (401, {"webhook-signature": "v2,AAAA v1,"}),
    ],
    ids=str,
)
def test_what_is_not_signed_is_refused(
    address: str, prefect_server: PrefectServer, deployment: str, status: int, headers: dict[str, str | None]
) -> None:
    job_id = str(uuid4())
    body = json.dumps(told(job_id)).encode()
    sent = {name: value for name, value in {**signed(body), **headers}.items() if value is not None}
    encoded = {name: value.encode("latin-1") for name, value in sent.items()}
    answer = httpx.post(f"{address}/pleo", content=body, headers=encoded, trust_env=False)
    assert answer.status_code == status
    assert not _runs(prefect_server, deployment, job_id)


@pytest.mark.parametrize(
    "how", [{"age_s": 301}, {"age_s": -330}, {"secret": "whsec_" + "QUFB" * 8}], ids=["old", "early", "forged"]
)
def test_what_is_older_than_five_minutes_or_signed_by_somebody_else_is_refused(
    address: str, prefect_server: PrefectServer, deployment: str, how: dict[str, float]
) -> None:
    job_id = str(uuid4())
    assert deliver(address, told(job_id), **how).status_code == httpx.codes.UNAUTHORIZED
    assert not _runs(prefect_server, deployment, job_id)
    taken(address, told(job_id), age_s=280)


def test_a_body_that_was_changed_on_its_way_is_refused(address: str) -> None:
    headers = signed(json.dumps(told(str(uuid4()))).encode())
    changed = json.dumps(told(str(uuid4()))).encode()
    answer = httpx.post(f"{address}/pleo", content=changed, headers=headers, trust_env=False)
    assert answer.status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_more_than_a_megabyte_is_refused_without_being_read(address: str, *, chunked: bool) -> None:
    body = json.dumps({**told(str(uuid4())), "more": "x" * MAX_BODY_BYTES}).encode()
    content = (body[start : start + 65_536] for start in range(0, len(body), 65_536)) if chunked else body
    with httpx.Client(trust_env=False) as client:
        try:
            answer = client.post(f"{address}/pleo", content=content, headers=signed(body))
        except httpx.TransportError:  # it was still sending when the connection was closed
            return
    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.parametrize(
    "document",
    [
        {"eventType": EVENT},
        {"eventType": EVENT, "data": {"id": "5a4db0c5-0000-4000-8000-00000000000a"}},
        {"eventType": EVENT, "data": {"id": "x", "companyId": COMPANY}},
        {"eventType": EVENT, "data": [1]},
    ],
    ids=str,
)
def test_a_job_without_its_ids_is_refused(address: str, document: object) -> None:
    assert deliver(address, document).status_code == httpx.codes.BAD_REQUEST


def test_a_signed_body_that_is_no_json_is_refused_and_any_other_json_is_none_of_ours(address: str) -> None:
    for body, status in ((b"{", 400), (b"\xef\xbb\xbf[]", 204), (b"7", 204), (b"[" * 100_000, 400)):
        answer = httpx.post(f"{address}/pleo", content=body, headers=signed(body), trust_env=False)
        assert answer.status_code == status, body[:10]


def test_nothing_but_a_post_to_pleo_and_a_look_at_its_health_is_answered(address: str) -> None:
    with httpx.Client(base_url=address, trust_env=False) as client:
        assert client.get("/health").text == "ok"
        assert client.get("/pleo").status_code == httpx.codes.METHOD_NOT_ALLOWED
        assert client.post("/").status_code == httpx.codes.NOT_FOUND


def test_while_prefect_is_away_or_hangs_a_delivery_is_a_503_in_less_than_a_second(deployment: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        for port in (hanging.getsockname()[1], free_port()):
            with (
                temporary_settings(updates={PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
                webhook(deployment) as address,
            ):
                began = time.monotonic()
                answer = deliver(address, told(str(uuid4())))
                assert time.monotonic() - began < 1.0
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
                assert int(answer.headers["retry-after"]) > 0
                assert httpx.get(f"{address}/health", trust_env=False).status_code == 503


def test_the_first_delivery_after_prefect_has_gone_is_refused(tmp_path: Path) -> None:
    with ExitStack() as server_runs:
        server = server_runs.enter_context(a_prefect_server(tmp_path))
        with temporary_settings(updates={PREFECT_API_URL: server.api_url}), webhook(a_deployment(server)) as address:
            taken(address, told(str(uuid4())))
            server_runs.close()
            assert deliver(address, told(str(uuid4()))).status_code == httpx.codes.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    ("environment", "arguments", "complaint"),
    [
        ({}, [], "PLEO_WEBHOOK_SECRET: it is not set"),
        ({"PLEO_WEBHOOK_SECRET": " "}, [], "PLEO_WEBHOOK_SECRET: it is not set"),
        ({"PLEO_WEBHOOK_SECRET": "whsec_no secret!"}, [], "PLEO_WEBHOOK_SECRET: no webhook secret"),
        ({"PLEO_WEBHOOK_SECRET": "whsec_QUFB"}, [], "PLEO_WEBHOOK_SECRET: no webhook secret: 3 bytes are too short"),
        ({"PLEO_WEBHOOK_SECRET": SECRET, "PLEO_WEBHOOK_SECRET_OLD": "é"}, [], "PLEO_WEBHOOK_SECRET_OLD: no webhook s"),
        ({"PLEO_WEBHOOK_SECRET": SECRET}, ["--deployment", "no/such"], "--deployment no/such: Prefect has no such"),
        ({"PLEO_WEBHOOK_SECRET": SECRET}, ["--deployment", "OTHER"], "it takes no company_id and job_id"),
        ({"PLEO_WEBHOOK_SECRET": SECRET}, ["--port", "TAKEN"], "Address already in use; choose another --port"),
        ({"PLEO_WEBHOOK_SECRET": SECRET}, ["--host", "no-such-host.invalid"], "cannot listen on no-such-host.invalid"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_status_2(
    prefect_api: PrefectServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    arguments: list[str],
    complaint: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        port = str(in_use.getsockname()[1])
        other = a_deployment(prefect_api, ("anything",)) if "OTHER" in arguments else ""
        given = [{"TAKEN": port, "OTHER": other}.get(argument, argument) for argument in arguments]
        status = main([*(["--port", "0"] if "--port" not in given else []), *given])
    said = capsys.readouterr().err.strip()
    assert status == USAGE
    assert said.splitlines()[-1].startswith("webhook: ")
    assert complaint in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "65536"], "'65536' is no port"),
        (["--deployment", "export"], "--deployment takes FLOW/NAME"),
        (["subscribe", "http://export.example/pleo", "--secret-file", "f"], "Pleo delivers over https alone"),
        (["subscribe", "export.example", "--secret-file", "f"], "it should look like https://export.example/pleo"),
        (["subscribe", "https://export.example/pleo"], "the following arguments are required: --secret-file"),
        (["delete", "7"], "'7' is not a UUID"),
        (["forget"], "invalid choice: 'forget'"),
    ],
)
def test_wrong_usage_is_one_line_before_anybody_is_asked(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_a_deployment_that_is_made_anew_is_found_again(prefect_api: PrefectServer) -> None:
    deployment = a_deployment(prefect_api)
    name = deployment.partition("/")[2]
    with webhook(deployment) as address, httpx.Client(base_url=prefect_api.api_url, trust_env=False) as client:
        taken(address, told(str(uuid4())))
        old = client.get(f"/deployments/name/told-by-webhook/{name}").json()
        asked(lambda: client.delete(f"/deployments/{old['id']}"))
        assert deliver(address, told(str(uuid4()))).status_code == httpx.codes.SERVICE_UNAVAILABLE
        made = {key: old[key] for key in ("name", "flow_id", "parameter_openapi_schema")}
        asked(lambda: client.post("/deployments/", json=made))
        until(
            lambda: deliver(address, told(str(uuid4()))).status_code == httpx.codes.ACCEPTED,
            within_s=10,
            otherwise="the deployment was not found again",
        )
