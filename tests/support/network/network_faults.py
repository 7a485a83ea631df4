"""What a network, a gateway or a server does to one request: every fault by name.

A fault is told what the oracle needs: whether the request is carried out all the same (`acts`), whether the client
can read an answer that is right (`harmless`), whether the answer is one that nobody can read, which is taken for the
wrong address as long as Pleo has not been heard once (`foreign`), whether it is never tried again (`hopeless`), and
whether it can look like the right answer and be none (`deceives`). `BASIC` are those that the issue names.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

PAST_EVERY_TIMEOUT_S = 100.0
DRIBBLE_S = 5.0  # between two bytes: never silent for as long as a timeout, never done within a minute


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the real server."""

    status: int
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json;charset=UTF-8"),)
    body: bytes = b""

    def raw(self, *, length: int | None = None) -> bytes:
        """The answer as bytes; `length` is what it says of its body, where that is not true."""
        said = len(self.body) if length is None else length
        lines = [f"{name}: {value}\r\n" for name, value in (*self.headers, ("content-length", str(said)))]
        return f"HTTP/1.1 {self.status} Whatever\r\n{''.join(lines)}\r\n".encode("latin-1") + self.body

    def with_header(self, name: str, value: str) -> Reply:
        """The same with another value of this header."""
        kept = tuple(pair for pair in self.headers if pair[0] != name)
        return replace(self, headers=(*kept, (name, value)))


class Exchange(Protocol):
    """One request at the server: `act` carries it out, the rest is the way back."""

    earlier: Reply | None
    """The answer to the request before this one, whatever that was."""

    async def act(self) -> Reply: ...

    def send(self, data: bytes) -> None: ...

    def end(self, *, reset: bool = False) -> None: ...

    @property
    def is_gone(self) -> bool: ...


Perform = Callable[[Exchange], Awaitable[None]]

_seconds_are = 1.0


@contextmanager
def scaled_time(factor: float) -> Iterator[None]:
    """Faults take this fraction of their seconds meanwhile, where time is real."""
    global _seconds_are
    _seconds_are = factor
    try:
        yield
    finally:
        _seconds_are = 1.0


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds * _seconds_are)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `wait_s` is how long it asks a client to wait, for a client that honours a minute at most."""

    name: str
    perform: Perform
    acts: bool = False
    harmless: bool = False
    foreign: bool = False
    wait_s: float | None = None
    hopeless: bool = False
    deceives: bool = False

    def __str__(self) -> str:
        return self.name


HTML = b"<!doctype html><title>Just a moment</title><p>Please wait while we check your browser."


def _status(status: int, *, act: bool = False, body: bytes = b"", **headers: str) -> Perform:
    async def perform(exchange: Exchange) -> None:
        if act:
            await exchange.act()
        more = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        kind = "text/html" if body == HTML else "application/json"
        exchange.send(Reply(status, (("content-type", kind), *more), body).raw())

    return perform


async def _dropped_before(exchange: Exchange) -> None:
    exchange.end(reset=True)


async def _dropped_after(exchange: Exchange) -> None:
    await exchange.act()
    exchange.end(reset=True)


async def _closed_before(exchange: Exchange) -> None:
    exchange.end()  # as when a connection that was idle is closed while a request is on its way


async def _answered_late(exchange: Exchange) -> None:
    reply = await exchange.act()
    await _pause(PAST_EVERY_TIMEOUT_S)
    exchange.send(reply.raw())


async def _carried_out_late(exchange: Exchange) -> None:
    await _pause(PAST_EVERY_TIMEOUT_S)
    exchange.send((await exchange.act()).raw())


async def _twice(exchange: Exchange) -> None:
    reply = await exchange.act()
    await exchange.act()
    exchange.send(reply.raw())


async def _twice_second_read(exchange: Exchange) -> None:
    await exchange.act()
    exchange.send((await exchange.act()).raw())


def _changed(change: Callable[[Reply], bytes], *, close: bool = False) -> Perform:
    async def perform(exchange: Exchange) -> None:
        exchange.send(change(await exchange.act()))
        if close:
            exchange.end()

    return perform


def _dribble(every_s: float, pieces: int | None = None) -> Perform:
    """The answer byte by byte, or in so many pieces."""

    async def perform(exchange: Exchange) -> None:
        raw = (await exchange.act()).raw()
        size = 1 if pieces is None else -(-len(raw) // pieces)
        for start in range(0, len(raw), size):
            if exchange.is_gone:
                return
            await _pause(every_s)
            exchange.send(raw[start : start + size])

    return perform


async def _endless_chunks(exchange: Exchange) -> None:
    await exchange.act()
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    while not exchange.is_gone:
        exchange.send(b"1\r\n \r\n")
        await _pause(1.0)


async def _informed_for_ever(exchange: Exchange) -> None:
    while not exchange.is_gone:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await _pause(1.0)


async def _headers_for_ever(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    while not exchange.is_gone:
        exchange.send(b"x-more: " + b"a" * 20_000 + b"\r\n")
        await _pause(1.0)


async def _page_before(exchange: Exchange) -> None:
    """The page before this one, with the cursor of this one."""
    reply = await exchange.act()
    if exchange.earlier is not None and reply.body.startswith(b"{") and exchange.earlier.body.startswith(b"{"):
        now, before = json.loads(reply.body), json.loads(exchange.earlier.body)
        reply = replace(reply, body=json.dumps({**now, "data": before.get("data")}).encode())
    exchange.send(reply.raw())


async def _of_another_request(exchange: Exchange) -> None:
    await exchange.act()
    exchange.send((exchange.earlier or Reply(202)).raw())


@cache
def _zeros() -> bytes:
    return gzip.compress(bytes(70_000_000), 9)  # beyond what one answer may have


def _bomb(reply: Reply) -> bytes:
    return replace(reply, status=200, body=_zeros()).with_header("content-encoding", "gzip").raw()


def _half(reply: Reply) -> Reply:
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def _chunked(reply: Reply) -> bytes:
    head = (
        replace(reply, body=b"")
        .with_header("transfer-encoding", "chunked")
        .raw()
        .replace(b"content-length: 0\r\n", b"")
    )
    return head + f"{len(reply.body) + 50:x}\r\n".encode() + reply.body


def _page(status: int) -> Perform:
    return _status(status, body=HTML)


BASIC = (
    Fault("dropped before", _dropped_before),
    Fault("dropped after the act", _dropped_after, acts=True),
    Fault("answered past the timeout", _answered_late, acts=True),
    Fault("carried out past the timeout", _carried_out_late),
    Fault("delivered twice, first answer read", _twice, acts=True, harmless=True),
    Fault("delivered twice, second answer read", _twice_second_read, acts=True, harmless=True),
    Fault("429 for 7 seconds", _status(429, retry_after="7"), wait_s=7.0),
    Fault(
        "429 until a date",
        _status(429, retry_after="Mon, 02 Mar 2026 10:00:09 GMT", date="Mon, 02 Mar 2026 10:00:00 GMT"),
        wait_s=9.0,
    ),
    Fault("429 without Retry-After", _status(429)),
    Fault("429 for a negative time", _status(429, retry_after="-5")),
    Fault("429 for a huge time", _status(429, retry_after="1000000000"), wait_s=60.0),
    Fault("500", _status(500)),
    Fault("502", _page(502)),
    Fault("503", _status(503)),
    Fault("504", _page(504)),
    Fault("500 after the act", _status(500, act=True), acts=True),
    Fault("504 after the act", _status(504, act=True, body=HTML), acts=True),
    Fault("HTML", _page(200), foreign=True),
    Fault("truncated JSON", _changed(lambda reply: _half(reply).raw()), acts=True, foreign=True),
    Fault("wrong content type", _changed(lambda reply: reply.with_header("content-type", "text/html").raw()),
          acts=True, harmless=True),
    Fault("slow dribble", _dribble(DRIBBLE_S), acts=True),
)  # fmt: skip

BEYOND = (
    Fault("closed before", _closed_before),
    Fault("cut off", _changed(lambda reply: _half(reply).raw(length=len(reply.body) + 9), close=True), acts=True),
    Fault("slow to the last moment", _dribble(5.0, 10), acts=True, harmless=True),
    Fault("429 until a date long past", _status(429, retry_after="Thu, 01 Jan 1970 00:00:00 GMT")),
    Fault("429 until a date, told by a wrong clock", _status(429, retry_after="Fri, 01 Jan 2100 00:00:00 GMT"),
          wait_s=60.0),
    Fault("429 until a date, by our own clock", _status(429, retry_after="Mon, 02 Mar 2026 10:00:09 GMT")),
    Fault("429 for garbage", _status(429, retry_after="soon, we hope")),
    Fault("429 for nan", _status(429, retry_after="nan")),
    Fault("429 for infinity", _status(429, retry_after="inf")),
    Fault("429 for nothing", _status(429, retry_after="0")),
    Fault("503 for a huge time", _status(503, retry_after="1e9"), wait_s=60.0),
    Fault("500 without an end", _changed(lambda _: b"HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n"), acts=True),
    Fault("200 without a body", _status(200, act=True), acts=True, foreign=True),
    Fault("204", _status(204, act=True), acts=True, foreign=True),
    Fault("202 without a body", _status(202), foreign=True, deceives=True),
    Fault("301", _status(301, location="https://elsewhere.example/"), foreign=True),
    Fault("307 to nowhere", _status(307, location="http://["), foreign=True),
    Fault("304", _status(304), foreign=True),
    Fault("408", _status(408)),
    Fault("421", _status(421), foreign=True),
    Fault("425", _status(425), foreign=True),
    Fault("404 from a gateway", _page(404), foreign=True),
    Fault("422 from a gateway", _page(422), foreign=True),
    Fault("101", _changed(lambda _: b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\n\r\n"), acts=True),
    Fault("endless chunks", _endless_chunks, acts=True),
    Fault("chunks cut off", _changed(_chunked, close=True), acts=True),
    Fault("informed for ever", _informed_for_ever),
    Fault("headers for ever", _headers_for_ever),
    Fault("gzip bomb", _changed(_bomb), acts=True, hopeless=True),
    Fault("not gzip", _changed(lambda reply: replace(reply, status=200, body=b"plain").with_header(
        "content-encoding", "gzip").raw()), acts=True),
    Fault("no HTTP", _changed(lambda _: b"SSH-2.0-OpenSSH_9.9\r\n", close=True), acts=True),
    Fault("answer to another request", _of_another_request, acts=True, foreign=True, deceives=True),
    Fault("the page before", _page_before, acts=True, deceives=True),
    Fault("closed when idle", _changed(lambda reply: reply.raw(), close=True), acts=True, harmless=True),
)  # fmt: skip

ALL = BASIC + BEYOND
BY_NAME = {fault.name: fault for fault in ALL}
