"""A Pleo whose every byte the test chooses: a small HTTP/1.1 server on loopback, and a clock that only sleep moves."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hypothesis import settings

from blocks.pleo.http.auth import Auth, KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock

SAME_EVERY_TIME = settings(derandomize=True, database=None, deadline=None)

KEY = "k3y-Of-A-Test"
JOB_ID = "11111111-2222-4333-8444-555555555555"
COMPANY_ID = "99999999-8888-4777-8666-555555555555"
ENTRY_ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


async def no_waiting(_seconds: float) -> None:
    """Waits for nothing: between tries, tests need the order of things and not the time."""


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name} sent {len(found)} times"
        return found[0] if found else None

    def json(self) -> Any:
        return json.loads(self.body)


Performance = Callable[[asyncio.StreamWriter], Awaitable[None]]
Step = bytes | Performance
Behaviour = Callable[[Request], Step]


def answer(document: Any = None, status: int = 200, **headers: str) -> bytes:
    """A whole answer with this JSON; a string or bytes go out as they are, None as no body at all."""
    if isinstance(document, bytes):
        body = document
    elif document is None:
        body = b""
    else:
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    lines = {"content-type": "application/json;charset=UTF-8", "content-length": str(len(body))}
    lines |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


def page(
    data: Sequence[Any] = (), cursor: str | None = None, *, has_next: bool | None = None, **more: Any
) -> dict[str, Any]:
    """The envelope of a list."""
    there_is_more = cursor is not None if has_next is None else has_next
    return {"data": list(data), "pagination": {"hasNextPage": there_is_more, "endCursor": cursor, **more}}


def job(status: str = "in_progress", **more: Any) -> dict[str, Any]:
    """An export job as Pleo sends it."""
    return {
        "id": JOB_ID,
        "companyId": COMPANY_ID,
        "status": status,
        "createdAt": "2026-03-02T10:00:00Z",
        "numberOfItems": 3,
        "expiresIn": 3600,
        "isInteractive": True,
        "vendorBasedBookkeeping": False,
        **more,
    }


def refusal(status: int, type_: str, message: str | None = "No.") -> bytes:
    """Pleo's ExceptionInfo."""
    return answer({"type": type_, **({"message": message} if message is not None else {})}, status)


def html(status: int = 200) -> bytes:
    return answer("<!doctype html><title>Sign in</title>", status, content_type="text/html")


async def drop(writer: asyncio.StreamWriter) -> None:
    """The connection ends before the first byte of an answer."""
    writer.transport.abort()


def cut(whole: bytes, left_out: int = 5) -> Performance:
    """The connection ends before the answer does."""

    async def perform(writer: asyncio.StreamWriter) -> None:
        writer.write(whole[:-left_out])
        await writer.drain()
        writer.close()

    return perform


def endless(head: bytes, piece: bytes, every_s: float) -> Performance:
    """An answer that comes in pieces for ever."""

    async def perform(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every_s)

    return perform


@dataclass
class VirtualClock:
    """A clock that stands still until somebody sleeps."""

    seconds: float = 1000.0
    sleeps: list[float] = field(default_factory=list)
    today: datetime = datetime(2026, 3, 2, 12, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)

    def clock(self, jitter: float = 1.0) -> Clock:
        start = self.seconds
        return Clock(
            monotonic=lambda: self.seconds,
            now=lambda: self.today + timedelta(seconds=self.seconds - start),
            sleep=self.sleep,
            jitter=lambda: jitter,
        )


class ScriptedPleo:
    """Answers from a script, one step a request, or from a behaviour; keeps what it received."""

    def __init__(self, script: Sequence[Step] | Behaviour) -> None:
        self._script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self.time = VirtualClock()

    def client(self, auth: Auth | None = None, *, page_size: int = 100, jitter: float = 1.0) -> PleoClient:
        """A client of this Pleo, whose clock is the virtual one."""
        clock = self.time.clock(jitter)
        return PleoClient(self.url, auth or KeyAuth(KEY), page_size=page_size, clock=clock)

    @property
    def lines(self) -> list[str]:
        """Method and path of what came in."""
        return [f"{request.method} {request.path}" for request in self.requests]

    def _step(self, request: Request) -> Step:
        if callable(self._script):
            return self._script(request)
        if len(self.requests) > len(self._script):
            return refusal(400, "THE_SCRIPT_IS_OVER")
        return self._script[len(self.requests) - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                step = self._step(request)
                if not isinstance(step, bytes):
                    await step(writer)
                    break
                writer.write(step)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = int(dict(headers).get("content-length", "0"))
    return Request(method, target, headers, await reader.readexactly(length))


@asynccontextmanager
async def scripted(
    script: Sequence[Step] | Behaviour, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedPleo]:
    """A scripted Pleo behind a free port of its own while the context lasts; with `tls` it speaks https."""
    pleo = ScriptedPleo(script)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(pleo.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    pleo.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield pleo
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
