"""How a user is sent to the authorisation server, and comes back to this machine with a code, or with its refusal.

The address they open holds one-time secrets; the listener on loopback waits for the answer to that very request.

Browsers connect ahead of time, fetch ahead, ask for icons and load pages twice, and other programs may knock too. So
only a request for the right path with the right `state` counts, and only the first. Every page is without scripts.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from blocks.text import one_line

HOST = "127.0.0.1"
PATH = "/callback"

_HEAD_TIMEOUT_S = 20.0
_MAX_HEAD_BYTES = 32 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 17px/1.6 system-ui, sans-serif; max-width: 34rem; margin: 20vh auto 0; padding: 0 1.5rem }}
h1 {{ font-size: 1.5rem; margin: 0 0 .5rem }} p {{ margin: 0; opacity: .75 }}
</style>
</head>
<body><h1>{title}</h1><p>{text}</p></body>
</html>
"""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One request to be authorised. The verifier proves later that the code was meant for us (RFC 7636)."""

    redirect_uri: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)  # 86 of 43 to 128 characters

    @property
    def challenge(self) -> str:
        """The SHA-256 of the verifier, in base64url without padding."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def url(self, authorization_server: str, client_id: str, scopes: str) -> str:
        """Where the user allows it."""
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self.redirect_uri,
            "scope": scopes,
            "state": self.state,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        }
        return f"{authorization_server}/oauth/authorize?{urlencode(query)}"


class PortInUse(Exception):
    """Nobody can listen there; the message says why."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """What came back: a code, or the server's error in one line."""

    code: str | None = field(default=None, repr=False)
    error: str = ""
    description: str = ""


class RedirectListener:
    """Waits for the answer to one authorisation request, which is known by its state."""

    def __init__(self, state: str) -> None:
        self._state = state
        self.answer: asyncio.Future[Redirect] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, title, text, redirected = self._read(head)
                writer.write(_response(status, title, text))
                await writer.drain()
            if redirected is not None and not self.answer.done():
                self.answer.set_result(redirected)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # nobody there any more, or nobody who speaks HTTP
        finally:
            writer.close()

    def _read(self, head: str) -> tuple[int, str, str, Redirect | None]:
        """What a request gets, and what it brings."""
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if method != "GET":
            return 405, "Not here", "This address only waits for Pleo's answer.", None
        if "prefetch" in headers.get("sec-purpose", "") + headers.get("purpose", "") + headers.get("x-moz", ""):
            return 503, "Not yet", "Open this page to go on.", None  # only a person's own visit counts
        try:
            target = urlsplit(rest.rpartition(" ")[0])
        except ValueError:  # "//[", say
            target = urlsplit("")
        if target.path != PATH:
            return 404, "Not here", "This address only waits for Pleo's answer.", None
        pairs = parse_qsl(target.query, keep_blank_values=True)
        given = dict(pairs)
        mine = hmac.compare_digest(given.get("state", "").encode(), self._state.encode())
        if not mine or len(pairs) != len(given) or bool(given.get("code")) == bool(given.get("error")):
            return (
                400,
                "Not the answer that is waited for",
                "Go back to the terminal, and open the address there.",
                None,
            )
        if given.get("code"):
            redirected = Redirect(code=given["code"])
            return 200, "Thank you", "You may close this window. The terminal says how it went on.", redirected
        redirected = Redirect(
            error=one_line(given["error"], 60), description=one_line(given.get("error_description", ""), 200)
        )
        return 200, "Nothing was allowed", "You may close this window. Nothing has changed.", redirected


def _response(status: int, title: str, text: str) -> bytes:
    body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'\r\n"
        "Cache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def redirect_listener(port: int, state: str) -> AsyncIterator[RedirectListener]:
    """A listener on loopback while the context lasts. Raises PortInUse."""
    listener = RedirectListener(state)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(listener.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    try:
        server = await asyncio.start_server(connected, HOST, port, limit=_MAX_HEAD_BYTES)
    except OSError as error:
        raise PortInUse(f"cannot listen on {HOST}:{port}: {error.strerror or error}") from error
    try:
        yield listener
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
