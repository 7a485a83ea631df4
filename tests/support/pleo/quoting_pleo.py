"""A Pleo that quotes what it was sent wherever an answer has room for it, in front of a sandbox that does the work.

It also puts bank accounts and links of its own into the export items, and serves the files behind those links.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

Answer = bytes
Quote = Callable[[str], Answer]
"""Makes a whole HTTP answer of what there is to quote."""


def _answer(status: str, body: bytes, kind: str, *headers: str) -> Answer:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


def refusal(status: int, type_: str = "BAD_REQUEST") -> Quote:
    """Pleo's ExceptionInfo, with the quotation in its message."""
    return lambda quoted: _answer(
        f"{status} No", json.dumps({"type": type_, "message": quoted}).encode(), "application/json"
    )


def in_type(quoted: str) -> Answer:
    """Pleo's ExceptionInfo, with the quotation as its type."""
    return _answer(
        "400 No", json.dumps({"type": quoted.replace(":", ";"), "message": "no"}).encode(), "application/json"
    )


def plain(status: int) -> Quote:
    """An error in plain text, with the quotation in its body, its reason and a header."""
    return lambda quoted: _answer(f"{status} {quoted}", quoted.encode(), "text/plain", f"x-sent: {quoted}")


def web_page(quoted: str) -> Answer:
    """A web page, with the quotation in it and in its content type."""
    return _answer("200 OK", f"<!doctype html><p>{quoted}".encode(), f"text/html; sent={quoted[:50]}")


def no_http(quoted: str) -> Answer:
    """Something that is not HTTP."""
    return f"{quoted[:60]}\r\n\r\n".encode()


def bad_header(quoted: str) -> Answer:
    """A header that cannot be read."""
    return f"HTTP/1.1 200 OK\r\nsent {quoted}\r\n\r\n".encode()


def redirect(quoted: str) -> Answer:
    """A redirect."""
    return _answer("302 Found", b"", "text/plain", f"location: http://127.0.0.1:9/?{quote(quoted)}")


@dataclass
class Rule:
    """What requests get whose `METHOD path?query` fits, the first `times` of them."""

    pattern: str
    quote: Quote
    times: int = 1


@dataclass
class QuotingPleo:
    """`edit` changes each export item before it goes out."""

    target: str
    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    edit: Callable[[dict[str, Any]], None] = lambda _item: None
    asked: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)

    def rule_for(self, request: str) -> Rule | None:
        for rule in self.rules:
            if rule.times > 0 and re.search(rule.pattern, request):
                rule.times -= 1
                return rule
        return None


def what_to_quote(authorization: str, target: str) -> str:
    """What a careless server would write into its answer: the credentials in several forms, and the address."""
    scheme, _, value = authorization.partition(" ")
    secret = base64.b64decode(value).decode().rstrip(":") if scheme == "Basic" else value
    encoded = base64.b64encode(secret.encode()).decode()
    return " | ".join(
        [secret, authorization, encoded, quote(secret, safe=""), secret[::-1], secret.encode().hex(), target]
    )


@contextmanager
def quoting_pleo(target: str, tls: ssl.SSLContext | None = None) -> Iterator[QuotingPleo]:
    """Such a server on a free port while the context lasts."""
    made = QuotingPleo(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            request = f"{self.command} {self.path}"
            made.asked.append(request)
            rule = made.rule_for(request)
            self.close_connection = True
            with suppress(OSError):
                if rule is not None:
                    quoted = what_to_quote(self.headers.get("authorization", "Bearer none"), self.path)
                    made.quoted.append(quoted)
                    self.wfile.write(rule.quote(quoted))
                else:
                    self.wfile.write(_passed_on(made, self.command, self.path, dict(self.headers), body))

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that does not believe us hangs up

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _passed_on(made: QuotingPleo, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    parts = urlsplit(made.target)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=60)
    try:
        kept = {name: value for name, value in headers.items() if name.lower() in {"authorization", "content-type"}}
        if path.startswith("/files/"):
            kept, path = {}, path.removeprefix("/files").partition("?")[0]
        connection.request(method, path, body or None, kept)
        response = connection.getresponse()
        content = response.read()
        if response.status == 200 and path.startswith("/v3/export-items"):
            page = json.loads(content, parse_float=_Exact)
            for item in page["data"]:
                made.edit(item)
            content = json.dumps(page).encode()
        kind = response.getheader("content-type", "application/json")
        return _answer(f"{response.status} {response.reason}", content, kind)
    finally:
        connection.close()


class _Exact(float):
    """A number that is written as it was read."""

    def __new__(cls, text: str) -> _Exact:
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str

    def __repr__(self) -> str:
        return self.text
