"""A network in memory, below the HTTP library: bytes go to and fro as on a socket, in the event loop's own time.

What httpx and httpcore make of an answer is therefore real: parsing, the pool of connections, timeouts, decoding.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import httpcore
import httpx


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; names of headers are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")


@dataclass(slots=True)
class Stream(httpcore.AsyncNetworkStream):
    """One connection, as the client holds it; the methods below `# the server's end` are the server's."""

    serve: Callable[[Stream, Request], None]
    closed: bool = False
    _incoming: bytearray = field(default_factory=bytearray)
    _outgoing: bytearray = field(default_factory=bytearray)
    _ended: bool = False
    _reset: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                while not (self._incoming or self._ended):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        if self._incoming:
            piece = bytes(self._incoming[:max_bytes])
            del self._incoming[:max_bytes]
            return piece
        if self._reset:
            raise httpcore.ReadError("connection reset by peer")
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await asyncio.sleep(0)
        if self._ended:
            raise httpcore.WriteError("broken pipe")
        self._outgoing += buffer
        request = taken_from(self._outgoing)
        if request is not None:
            self.serve(self, request)

    async def aclose(self) -> None:
        self.closed = True

    def get_extra_info(self, info: str) -> bool | None:
        return bool(self._incoming or self._ended) if info == "is_readable" else None

    # the server's end

    def send(self, data: bytes) -> None:
        """Let the client have these bytes; a connection that is gone loses them."""
        if not self._ended:
            self._incoming += data
            self._news.set()

    def end(self, *, reset: bool = False) -> None:
        """Close the connection; with `reset` the client sees that it broke."""
        self._ended, self._reset = True, reset
        self._news.set()


Server = Callable[[Stream, Request], Awaitable[None]]
HOST = "127.0.0.1"


class MemoryNetwork(httpcore.AsyncNetworkBackend):
    """Servers by host and port. Whatever the client has given up is still carried out: see `settled`."""

    sleep = None
    """How clients wait between tries, where not as they please."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], Server] = {}
        self._at_work: set[asyncio.Task[None]] = set()
        self.down_until = float("-inf")
        self.streams: list[Stream] = []

    @property
    def dialler(self) -> httpcore.AsyncNetworkBackend:
        """How to reach the servers by httpcore."""
        return self

    def url(self, port: int) -> str:
        """The address of a server."""
        return f"http://{HOST}:{port}"

    def add(self, port: int, server: Server) -> None:
        """Have this server answer at that port."""
        self._servers[HOST, port] = server

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        server = self._servers[host, port]  # anybody else is nobody's to call, the key would go astray
        await asyncio.sleep(0)
        if asyncio.get_running_loop().time() < self.down_until:
            raise httpcore.ConnectError("connection refused")

        def serve(stream: Stream, request: Request) -> None:
            task = asyncio.get_running_loop().create_task(server(stream, request))
            self._at_work.add(task)

        stream = Stream(serve)
        self.streams.append(stream)
        return stream

    async def settled(self) -> None:
        """Wait until every request has been carried out or lost; what a server did wrong is raised."""
        while self._at_work:
            task = self._at_work.pop()
            await task

    def transport(self, tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
        """A transport of httpx over this network."""
        made = httpx.AsyncHTTPTransport(verify=tls)
        limits = {"max_connections": 100, "max_keepalive_connections": 20, "keepalive_expiry": 5.0}  # as httpx has them
        made._pool = httpcore.AsyncConnectionPool(network_backend=self, **limits)  # type: ignore[arg-type]
        return made


def taken_from(sent: bytearray) -> Request | None:
    """The request in these bytes once it is complete; it is taken out of them."""
    head, found, rest = bytes(sent).partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = int(dict(headers).get("content-length", "0"))
    if len(rest) < length:
        return None
    del sent[: len(head) + 4 + length]
    return Request(method, target, headers, rest[:length])
