"""A Pleo and an accounting system behind a network that gets chosen requests wrong, and runs between them.

Everything of the product is real, down to the HTTP library; servers are called in the process, and time is virtual.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpcore
import httpx

from blocks.erp.base import Erp
from blocks.erp.ledger import Ledger
from blocks.erp.settings import ErpSettings
from blocks.pleo.files.client import FILE_S, FileClient
from blocks.pleo.http.auth import KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox
from flows.outcome import RunReport
from flows.run import export_jobs
from flows.session import Session
from flows.steps import plain_steps
from flows.stop import Stop
from tests.support.exporting import export_one
from tests.support.network.memory_network import HOST, MemoryNetwork, Request, Stream
from tests.support.network.network_faults import Fault, Reply
from tests.support.network.socket_network import SocketNetwork, SocketStream
from tests.support.network.virtual_time import AtOnce

PORT, ERP_PORT = 8765, 8766
START = datetime(2026, 3, 2, 10, tzinfo=UTC)
LOCAL_CLOCK_IS_WRONG_BY = timedelta(hours=7)
_TLS = httpcore.default_ssl_context()

LIST_JOBS, GET_JOB, STARTED, FINAL = "list jobs", "get job", "started event", "final event"
JOB_ITEMS, EXPORT_ITEMS, UPDATE, RECEIPT = "list job items", "export items", "update items", "receipt"


@dataclass(slots=True)
class Meeting:
    """Which requests meet a fault: of this kind, after `skip` of them, `times` of them."""

    kind: str
    fault: Fault
    times: int
    skip: int = 0


@dataclass(slots=True)
class Call:
    """A request as the server saw it, and its way back. `done_at` is when the client heard the last of it."""

    kind: str
    request: Request
    stream: Stream | SocketStream
    at: float
    carry_out: Callable[[Request], Awaitable[Reply]]
    earlier: Reply | None
    fault: Fault | None = None
    run: int = 0
    done_at: float | None = None
    replies: list[Reply] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, bytes]:
        """What the same request has in common with this one."""
        return self.request.method, self.request.target, self.request.body

    @property
    def is_gone(self) -> bool:
        return self.stream.closed

    async def act(self) -> Reply:
        self.replies.append(await self.carry_out(self.request))
        return self.replies[-1]

    def send(self, data: bytes) -> None:
        self.done_at = asyncio.get_running_loop().time()
        self.stream.send(data)

    def end(self, *, reset: bool = False) -> None:
        self.done_at = asyncio.get_running_loop().time()
        self.stream.end(reset=reset)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client did, in its own order: a request left it, or with `refused` it heard a 429."""

    run: int
    at: float
    refused: bool


class _Listening(httpx.AsyncBaseTransport):
    """Notes what passes between a client and the transport below it."""

    def __init__(self, below: httpx.AsyncBaseTransport, note: Callable[[bool], None]) -> None:
        self._below = below
        self._note = note

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._note(False)
        response = await self._below.handle_async_request(request)
        if response.status_code == 429:
            self._note(True)
        return response

    async def aclose(self) -> None:
        await self._below.aclose()


@dataclass
class FaultyOffice:
    """A sandbox, books in `folder`, a network with faults, and what went over it (`calls`, and as clients `heard`)."""

    folder: Path
    sandbox: Sandbox
    network: MemoryNetwork | SocketNetwork = field(default_factory=MemoryNetwork)
    meetings: list[Meeting] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    runs: int = 0
    file_s: float = FILE_S
    _last: dict[int, Reply] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.serve(PORT, self._to_pleo, kind_of)

    @property
    def base_url(self) -> str:
        """Where Pleo is."""
        return self.network.url(PORT)

    def serve(
        self, port: int, carry_out: Callable[[Request], Awaitable[Reply]], kind: Callable[[Request], str]
    ) -> None:
        """Have a server answer at this port, behind the faults."""

        async def server(stream: Stream | SocketStream, request: Request) -> None:
            now = asyncio.get_running_loop().time()
            call = Call(kind(request), request, stream, now, carry_out, self._last.get(port), run=self.runs)
            self.calls.append(call)
            call.fault = self._due(call.kind)
            if call.fault is not None:
                await call.fault.perform(call)
            else:
                call.send((await call.act()).raw())
            if call.replies:
                self._last[port] = call.replies[-1]

        self.network.add(port, server)

    def _due(self, kind: str) -> Fault | None:
        for meeting in self.meetings:
            if meeting.kind not in (kind, "*") or meeting.times <= 0:
                continue
            if meeting.skip > 0:
                meeting.skip -= 1
                continue
            meeting.times -= 1
            return meeting.fault
        return None

    async def _to_pleo(self, request: Request) -> Reply:
        return await _asgi(self.sandbox.app, request)

    async def export(
        self,
        *,
        erp: Erp | None = None,
        job_id: str | None = None,
        page_size: int = 3,
        settings: ErpSettings | None = None,
    ) -> tuple[RunReport, float]:
        """One run with everything that a process of its own would have anew; and the seconds that it took."""
        self.runs += 1
        loop, stop, report = asyncio.get_running_loop(), Stop(), RunReport()
        began = loop.time()
        clock = Clock(
            monotonic=loop.time,
            now=self.local_time,
            sleep=self.network.sleep or stop.sleep,
            jitter=random.Random(self.runs).random,
            limit=stop.limit,
        )
        base_url, auth, run = self.base_url, KeyAuth(SANDBOX_API_KEY), self.runs
        transport = _Listening(
            self.network.transport(_TLS),
            lambda refused: self.heard.append(Heard(run, loop.time(), refused)),
        )
        async with (
            PleoClient(base_url, auth, page_size=page_size, clock=clock, transport=transport) as pleo,
            FileClient(base_url, clock=clock, file_s=self.file_s, dialler=self.network.dialler, tls=_TLS) as files,
        ):
            session = Session(
                pleo, files, erp or self.ledger(), plain_steps(), stop, settings=settings, update_batch_size=page_size,
                clock=loop.time, now=self.local_time, sleep=clock.sleep,
            )  # fmt: skip
            await export_jobs(session, report, export_one, company_id=None, job_id=job_id)
            report.pleo_requests = pleo.requests_sent
        seconds = loop.time() - began
        await self.network.settled()
        return report, seconds

    def local_time(self) -> datetime:
        """The machine's clock, which is hours off."""
        return START + LOCAL_CLOCK_IS_WRONG_BY + timedelta(seconds=asyncio.get_running_loop().time())

    def ledger(self) -> Ledger:
        """The embedded ledger, as another run would open it."""
        return Ledger(self.folder / "books.sqlite", clock=lambda: START)

    def journal(self) -> list[tuple[object, ...]]:
        """The ledger's documented view; none without a file."""
        path = self.folder / "books.sqlite"
        if not path.exists():
            return []
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT * FROM journal ORDER BY 1, 2, 5, 6, 8, 9").fetchall()
            twice = connection.execute(
                "SELECT accounting_entry_id FROM journal GROUP BY 1 HAVING count(DISTINCT external_id) > 1"
            ).fetchall()
        assert not twice, f"two entries for {twice}"
        return rows


def kind_of(request: Request) -> str:
    """Which call of Pleo's this is."""
    path = request.path
    if path.startswith("/receipts/"):
        return RECEIPT
    if path == "/v3/export-job-events":
        return STARTED if json.loads(request.body)["event"] == "started" else FINAL
    if path == "/v3/export-items":
        return EXPORT_ITEMS
    if path == "/v3/export-jobs":
        return LIST_JOBS
    if path.endswith("/items"):
        return UPDATE if request.method == "PUT" else JOB_ITEMS
    return GET_JOB


async def _asgi(app: Any, request: Request) -> Reply:
    """The app's answer to a request."""
    path, _, query = request.target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in request.headers],
        "server": (HOST, PORT), "client": (HOST, 1),
    }  # fmt: skip
    start: dict[str, Any] = {}
    body = bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, send)
    headers = ((name.decode(), value.decode("latin-1")) for name, value in start["headers"])
    return Reply(start["status"], tuple(pair for pair in headers if pair[0] != "content-length"), bytes(body))


@contextmanager
def faulty_office(folder: Path, **sandbox: Any) -> Iterator[FaultyOffice]:
    """An office whose sandbox lives in the time of the loop that runs in it, and whose ledger needs no thread."""
    folder.mkdir(exist_ok=True)
    at_once = patch("blocks.erp.ledger.ledger.ThreadPoolExecutor", AtOnce)
    with at_once, Sandbox(**{"rate_limit": False, "clock": sandbox_time, **sandbox}) as made:
        yield FaultyOffice(folder, made)


def sandbox_time() -> float:
    """Seconds since 1970 by the running loop's time."""
    loop = asyncio._get_running_loop()
    return START.timestamp() + (loop.time() if loop is not None else 0.0)


def tally(calls: list[Call]) -> Counter[str]:
    """How many requests there were of each kind."""
    return Counter(call.kind for call in calls)
