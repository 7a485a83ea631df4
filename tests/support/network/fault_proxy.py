"""An HTTP proxy on loopback that passes requests on to a server, and gets chosen ones wrong.

What is sent goes through it piece by piece, however large it is; answers are kept whole for a moment.
"""

from __future__ import annotations

import http.client
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

HEAD_BYTES = 1 << 16
_CHUNK = 1 << 16
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_TARGET_S = 120.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A request: `path` with its query, `head` the first 65,536 bytes of its body."""

    method: str
    path: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets in place of the target's answer. Its length is added."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Cut(StrEnum):
    """What becomes of the answer: it comes WHOLE, SHORT (its second half is missing, and its length says so), broken
    off in MID_BODY (its length is that of the whole), or there is NONE, and the connection is closed."""

    WHOLE = "whole"
    SHORT = "short"
    MID_BODY = "mid_body"
    NONE = "none"


@dataclass
class Fault:
    """What requests meet that fit all of `method`, `path` (a regular expression, searched), `contains` (among the first
    65,536 bytes of the body) and `when`: the first `skip` of them nothing, the next `times` of them this.

    `before` is called once the request has begun to come; it is then passed on if `passes`, and `after` is called
    before the client hears of it. It hears `answer`, or without one the target's, cut as `cut` says. `told` is called
    with the client's address, host and port, once all that it is to hear has been sent.
    """

    method: str = ""
    path: str = ""
    contains: bytes = b""
    when: Callable[[Seen], bool] | None = None
    skip: int = 0
    times: int = 1
    before: Callable[[], object] | None = None
    passes: bool = True
    after: Callable[[], object] | None = None
    answer: Answer | None = None
    cut: Cut = Cut.WHOLE
    told: Callable[[tuple[str, int]], object] | None = None
    met: int = 0
    """How many requests have met it."""

    def fits(self, seen: Seen) -> bool:
        """Whether it is meant for such requests."""
        return (
            self.method in ("", seen.method)
            and re.search(self.path, seen.path) is not None
            and self.contains in seen.head
            and (self.when is None or self.when(seen))
        )


class Gate:
    """Where a request waits: as `before` or `after` of a fault. It waits `for_s` seconds at most."""

    def __init__(self, for_s: float = 60.0) -> None:
        self._for_s = for_s
        self._came = False
        self._reached = threading.Event()
        self._open = threading.Event()

    def __call__(self) -> None:
        """Wait here until the gate is opened."""
        self._came = True
        self._reached.set()
        self._open.wait(self._for_s)

    def reached(self, within_s: float) -> bool:
        """Wait until a request waits here; false when none came in time, or before the gate was opened."""
        self._reached.wait(within_s)
        return self._came

    def open(self) -> None:
        """Let it go on, and everybody who waits for it."""
        self._open.set()
        self._reached.set()


def dropped_before(**matches: Any) -> Fault:
    """The connection is closed, and the target never hears of it."""
    return Fault(passes=False, cut=Cut.NONE, **matches)


def dropped_after(**matches: Any) -> Fault:
    """The target acts, and then the connection is closed."""
    return Fault(cut=Cut.NONE, **matches)


def answered(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, **matches: Any) -> Fault:
    """The client gets this answer. The target hears of the request only with `passes=True`."""
    return Fault(answer=Answer(status, body, headers or {}), **{"passes": False, **matches})


class FaultProxy:
    """The proxy at work. `target` may be changed, and faults added, at any time."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults: list[Fault] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        """How many requests came, by method and path without the query."""
        self.seen: list[Seen] = []
        self.problems: list[BaseException] = []
        """What went wrong in the proxy itself."""
        self._lock = threading.Lock()
        self._server = _Server(self)

    @property
    def address(self) -> str:
        """The base URL at which it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, fault: Fault) -> Fault:
        """From now on requests may meet this fault. Of several that fit, the oldest counts."""
        with self._lock:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """No more faults, and counts from 0."""
        with self._lock:
            self.faults.clear()
            self.counts.clear()
            self.seen.clear()

    def due(self, seen: Seen) -> Fault | None:
        """Count a request, and say what it meets."""
        with self._lock:
            self.counts[seen.method, seen.path.partition("?")[0]] += 1
            self.seen.append(seen)
            for fault in self.faults:
                if fault.times <= 0 or not fault.fits(seen):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                fault.met += 1
                return fault
        return None

    def quiet(self, within_s: float) -> bool:
        """Wait until its clients have hung up and the target has answered all they had asked; whether that came."""
        return self._server.quiet(within_s)

    @contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """At work while the context lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.end()


def proxying(target: str) -> AbstractContextManager[FaultProxy]:
    """A proxy before `target`, a base URL `http://host:port`, while the context lasts."""
    return FaultProxy(target).running()


class _Server(ThreadingHTTPServer):
    """Takes the connections of clients, each in a thread of its own."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._changed:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()
        super().shutdown_request(request)

    def quiet(self, within_s: float) -> bool:
        """Wait until nobody is connected."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, within_s)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """What a handler did not foresee is told to the test."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.proxy.problems.append(error)

    def end(self) -> None:
        """Close everything."""
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):  # its client may have closed it
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, request after request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, as two would wait for each other
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = _body_of(self)
        head = b""
        for part in body:
            head += part
            if len(head) >= HEAD_BYTES:
                break
        fault = self.server.proxy.due(Seen(self.command, self.path, head[:HEAD_BYTES]))
        if fault is not None and fault.before is not None:
            fault.before()
        status, headers, content = 200, list[tuple[str, str]](), b""
        if fault is None or fault.passes:
            try:
                status, headers, content = self._pass_on(head, body)
            except (OSError, http.client.HTTPException):
                self.close_connection = True  # what a client hears of a server that is away: nothing
                return
        else:
            for _ in body:
                pass  # a client that still writes would not hear the answer
        if fault is not None and fault.after is not None:
            fault.after()
        if fault is not None and fault.answer is not None:
            answer = fault.answer
            status, headers, content = answer.status, list(answer.headers.items()), answer.body
        self._send(status, headers, content, fault.cut if fault is not None else Cut.WHOLE)
        if fault is not None and fault.told is not None:
            self.wfile.flush()
            fault.told(self.client_address)

    def _pass_on(self, head: bytes, body: Iterable[bytes]) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask the target: its status, headers and whole body, which is small beside what it is sent."""
        target = urlsplit(self.server.proxy.target)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=_TARGET_S)
        chunked = "transfer-encoding" in self.headers
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            if chunked:
                connection.putheader("transfer-encoding", "chunked")
            connection.endheaders()
            try:
                for part in chain((head,) if head else (), body):
                    connection.send(_framed(part) if chunked else part)
                if chunked:
                    connection.send(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # a server may answer before it has read everything, that it is too much for instance
            response = connection.getresponse()
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
            return response.status, headers, response.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: Iterable[tuple[str, str]], content: bytes, cut: Cut) -> None:
        if cut is Cut.NONE:
            self.close_connection = True
            return
        sent = content if cut is Cut.WHOLE else content[: len(content) // 2]
        length = len(content) if cut is Cut.MID_BODY else len(sent)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        if status not in (204, 304) and self.command != "HEAD":
            self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(sent)
        if cut is Cut.MID_BODY:
            self.close_connection = True


def _framed(part: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(part), part)


def _body_of(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    """The body of a request in pieces, whichever way its length is told."""
    if "transfer-encoding" in handler.headers:
        while size := int(handler.rfile.readline().partition(b";")[0] or b"0", 16):
            yield _exactly(handler, size)
            handler.rfile.readline()
        handler.rfile.readline()
        return
    left = int(handler.headers.get("content-length") or 0)
    while left > 0:
        part = _exactly(handler, min(left, _CHUNK))
        left -= len(part)
        yield part


def _exactly(handler: BaseHTTPRequestHandler, size: int) -> bytes:
    part = handler.rfile.read(size)
    if len(part) < size:
        raise ConnectionAbortedError("the client went away")
    return part
