"""The proxy that the contract suite puts before servers: it passes everything on, and gets wrong what it is told to."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.support.network.fault_proxy import (
    Cut,
    Fault,
    FaultProxy,
    Gate,
    answered,
    dropped_after,
    dropped_before,
    proxying,
)


class _Target(ThreadingHTTPServer):
    """Answers with what it got; `acted` lists the requests that reached it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TargetHandler)
        self.acted: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _TargetHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, as two would wait for each other
    server: _Target

    def do_GET(self) -> None:
        self.server.acted.append(f"{self.command} {self.path}")
        self._answer(200, self.headers.get("x-asked", "").encode() * 10)

    def do_POST(self) -> None:
        self.server.acted.append(f"{self.command} {self.path}")
        digest, left = hashlib.sha256(), int(self.headers.get("content-length", 0))
        if self.path == "/full":
            self.close_connection = True
            self._answer(413, b"too large")
            return
        if "transfer-encoding" in self.headers:
            while size := int(self.rfile.readline(), 16):
                digest.update(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        while left:
            part = self.rfile.read(min(left, 1 << 20))
            digest.update(part)
            left -= len(part)
        self._answer(201, digest.hexdigest().encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.send_header("x-told", "yes")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def target() -> Iterator[_Target]:
    with _Target() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(target: _Target) -> Iterator[FaultProxy]:
    with proxying(target.address) as made:
        yield made
    assert made.problems == []


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.address, timeout=10, trust_env=False, verify=False) as made:
        yield made


def test_it_passes_requests_and_answers_on_and_counts_them(client: httpx.Client, proxy: FaultProxy) -> None:
    answer = client.get("/a?b=%20c", headers={"x-asked": "this"})
    assert (answer.status_code, answer.content, answer.headers["x-told"]) == (200, b"this" * 10, "yes")
    assert client.post("/a", content=b"x").text == hashlib.sha256(b"x").hexdigest()
    assert client.get("/a").status_code == 200
    assert proxy.counts == {("GET", "/a"): 2, ("POST", "/a"): 1}
    assert [(one.method, one.path, one.head) for one in proxy.seen][:2] == [
        ("GET", "/a?b=%20c", b""),
        ("POST", "/a", b"x"),
    ]
    proxy.clear()
    assert (proxy.counts, proxy.seen) == ({}, [])


@pytest.mark.parametrize("chunked", [False, True])
def test_thirty_megabytes_go_through_it_piece_by_piece(client: httpx.Client, chunked: bool) -> None:
    body = b"0123456789abcdef" * (30_000_000 // 16)
    pieces = (body[start : start + 1_000_000] for start in range(0, len(body), 1_000_000))
    answer = client.post("/large", content=pieces if chunked else body)
    assert answer.text == hashlib.sha256(body).hexdigest()


def test_an_answer_that_comes_before_the_body_was_read_is_passed_on(client: httpx.Client, proxy: FaultProxy) -> None:
    answer = client.post("/full", content=b"x" * 30_000_000)
    assert (answer.status_code, answer.text) == (413, "too large")


def test_a_drop_before_keeps_the_request_from_the_target_and_a_drop_after_does_not(
    client: httpx.Client, proxy: FaultProxy, target: _Target
) -> None:
    proxy.add(dropped_before(path="^/before"))
    proxy.add(dropped_after(path="^/after"))
    for path in ("/before", "/after"):
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(path, content=b"x")
    assert target.acted == ["POST /after"]
    assert client.post("/before").status_code == client.post("/after").status_code == 201  # one request each


@pytest.mark.parametrize(
    ("matches", "met"),
    [
        ({"method": "GET"}, [True, False, False]),
        ({"path": r"b\?q=1$"}, [False, True, False]),
        ({"contains": b"needle"}, [False, False, True]),
        ({"method": "POST", "skip": 1}, [False, False, True]),
        ({"times": 2}, [True, True, False]),
        ({"when": lambda seen: seen.head == b"hay"}, [False, True, False]),
    ],
)
def test_the_faulty_requests_are_chosen(
    client: httpx.Client, proxy: FaultProxy, matches: dict[str, Any], met: list[bool]
) -> None:
    fault = proxy.add(answered(503, **matches))
    answers = [
        client.get("/a"),
        client.post("/b?q=1", content=b"hay"),
        client.post("/b", content=b"hay " * 10_000 + b"needle"),
    ]
    assert [answer.status_code == 503 for answer in answers] == met
    assert fault.met == sum(met)


@pytest.mark.parametrize("passes", [False, True])
def test_an_answer_can_be_another_one(client: httpx.Client, proxy: FaultProxy, target: _Target, passes: bool) -> None:
    proxy.add(answered(429, b"<html>wait</html>", {"Retry-After": "7", "Content-Type": "text/html"}, passes=passes))
    answer = client.post("/a", content=b"x" * 200_000)
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (429, "<html>wait</html>", "7")
    assert target.acted == (["POST /a"] if passes else [])
    assert client.post("/a").status_code == 201


def test_an_answer_can_be_cut_short_or_broken_off(client: httpx.Client, proxy: FaultProxy, target: _Target) -> None:
    proxy.add(Fault(path="short", cut=Cut.SHORT))
    proxy.add(Fault(path="broken", cut=Cut.MID_BODY))
    whole = hashlib.sha256(b"x").hexdigest()
    assert client.post("/short", content=b"x").text == whole[:32]
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        client.post("/broken", content=b"x")
    assert target.acted == ["POST /short", "POST /broken"]


def test_a_delay_makes_the_client_give_up_and_the_target_has_acted(
    client: httpx.Client, proxy: FaultProxy, target: _Target
) -> None:
    proxy.add(Fault(after=Gate(for_s=5)))
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        client.post("/a", timeout=0.2)
    assert time.monotonic() - began < 2
    assert target.acted == ["POST /a"]


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_request_waits_at_a_gate(client: httpx.Client, proxy: FaultProxy, target: _Target, side: str) -> None:
    gate = Gate()
    fault = proxy.add(Fault(path="held"))
    setattr(fault, side, gate)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/held").status_code))
    thread.start()
    assert gate.reached(within_s=10)
    assert client.post("/other").status_code == 201
    assert target.acted == (["POST /other"] if side == "before" else ["POST /held", "POST /other"])
    assert answers == []
    gate.open()
    thread.join()
    assert answers == [201]


def test_it_is_quiet_once_its_clients_are_gone_and_the_target_has_acted(proxy: FaultProxy, target: _Target) -> None:
    gate = Gate()
    proxy.add(Fault(before=gate))
    assert proxy.quiet(within_s=10)
    with socket.create_connection(("127.0.0.1", int(proxy.address.rpartition(":")[2]))) as connection:
        connection.sendall(b"POST /late HTTP/1.1\r\ncontent-length: 1\r\n\r\nx")
        assert gate.reached(within_s=10)
    assert not proxy.quiet(within_s=0.1)
    assert target.acted == []
    gate.open()
    assert proxy.quiet(within_s=10)
    assert target.acted == ["POST /late"]


def test_a_target_that_is_away_gives_no_answer_and_one_that_is_back_does(
    client: httpx.Client, proxy: FaultProxy, target: _Target
) -> None:
    there, proxy.target = proxy.target, "http://127.0.0.1:9"
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/a")
    proxy.target = there
    assert client.get("/a").status_code == 200
