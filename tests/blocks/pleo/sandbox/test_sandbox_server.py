"""The server in its thread: free ports, a clean end, nothing left behind."""

from __future__ import annotations

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, SandboxError, serve
from tests.support.processes import until

AUTH = (SANDBOX_API_KEY, "")


def test_it_answers_at_once_and_leaves_no_thread_and_no_port(sandbox):
    threads, handler = threading.enumerate(), signal.getsignal(signal.SIGTERM)
    with serve(sandbox) as url:
        assert httpx.get(f"{url}/v3/export-jobs", auth=AUTH).status_code == 200
        assert len(threading.enumerate()) == len(threads) + 1
        assert signal.getsignal(signal.SIGTERM) is handler
    assert threading.enumerate() == threads
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_it_stops_beneath_a_client_that_keeps_its_connection_and_is_served_again_on_the_same_port(sandbox):
    with httpx.Client(auth=AUTH) as api:
        with serve(sandbox) as url:
            assert api.get(f"{url}/v3/export-jobs").status_code == 200
        with pytest.raises(httpx.TransportError):
            api.get(f"{url}/v3/export-jobs")
        with serve(sandbox, port=int(url.rsplit(":", 1)[1])) as again:
            assert again == url
            assert api.get(f"{url}/v3/export-jobs").status_code == 200


def test_it_stops_when_the_context_fails(sandbox):
    threads = threading.enumerate()
    with pytest.raises(RuntimeError, match="mine"), serve(sandbox):
        raise RuntimeError("mine")
    assert threading.enumerate() == threads


def test_a_port_in_use_is_told_in_a_line(sandbox):
    threads = threading.enumerate()
    with serve(sandbox) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(SandboxError, match=r"in use; choose another port") as caught, serve(sandbox, port=port):
            pass
    assert str(port) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert threading.enumerate() == threads


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", -1), ("127.0.0.1", 65536), ("no.such.host.invalid", 0)])
def test_an_address_that_is_none_is_refused(sandbox, host, port):
    with pytest.raises(SandboxError), serve(sandbox, host, port):
        pass


def test_it_is_served_on_an_ipv6_address_too(sandbox):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    sandbox.add_job(40)
    with serve(sandbox, "::1") as url:
        assert url.startswith("http://[::1]:")
        job = httpx.get(f"{url}/v3/export-jobs", auth=AUTH).json()["data"][0]
        items = httpx.get(f"{url}/v3/export-items", params={"job_id": job["id"], "limit": 40}, auth=AUTH).json()["data"]
        link = next(file["url"] for item in items for file in item["files"] or [])
        assert httpx.get(link).status_code == 200


def test_a_request_that_is_broken_off_is_no_failure_of_the_sandbox(caplog):
    with Sandbox() as sandbox, serve(sandbox) as url:
        job_id = sandbox.add_job(2)
        head = (
            f"PUT /v3/export-jobs/{job_id}/items HTTP/1.1\r\nhost: pleo\r\nauthorization: Bearer sandbox-token\r\n"
            "content-length: 1000\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(head.encode() + b'{"data":[')
        (received,) = until(lambda: sandbox.received().requests, within_s=10)
        assert received.status == 400
        assert sandbox.outcome(job_id) == {"pending": 2}
    assert not caplog.records


def test_a_failure_of_its_own_is_told_and_not_hidden(caplog):
    with Sandbox() as sandbox, serve(sandbox) as url:
        sandbox.close()
        answers = [httpx.get(f"{url}/v3/export-jobs", auth=AUTH), httpx.get(f"{url}/")]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[0].json()["type"] == "INTERNAL_SERVER_ERROR"
    assert [record.message for record in caplog.records] == [
        "the sandbox failed to answer GET /v3/export-jobs",
        "the sandbox failed to answer GET /",
    ]


def test_many_clients_are_served_while_a_job_is_made(sandbox, put):
    job_id = sandbox.add_job(50)
    names = [item.accounting_entry_id for item in sandbox.items(job_id)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda name: put(job_id, {"accountingEntryId": name, "status": "successful"}), names)
        made = sandbox.add_job(2_000, 2)
        assert [answer.json()["errors"] for answer in answers] == [[]] * 50
    assert sandbox.outcome(job_id) == {"successful": 50}
    assert sandbox.job(made).number_of_items == 2_000
