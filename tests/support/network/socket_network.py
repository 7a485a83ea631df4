"""The same servers behind real sockets on loopback, in real time: what a network in memory may have got wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import httpcore
import httpx

from tests.support.network.memory_network import HOST, Request, taken_from

Server = Callable[["SocketStream", Request], Awaitable[None]]


class SocketStream:
    """The server's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def closed(self) -> bool:
        """Whether the client has gone."""
        return self._writer.is_closing() or self._reader.at_eof()

    def send(self, data: bytes) -> None:
        """Let the client have these bytes."""
        if not self._writer.is_closing():
            self._writer.write(data)

    def end(self, *, reset: bool = False) -> None:
        """Close the connection; with `reset` so that the client sees that it broke."""
        if reset:
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()


class SocketNetwork:
    """Servers by the port that others know them by; the real ports are free ones."""

    dialler: httpcore.AsyncNetworkBackend | None = None

    def __init__(self) -> None:
        self._listeners: dict[int, socket.socket] = {}
        self._servers: dict[int, Server] = {}
        self._running: list[asyncio.Server] = []
        self._at_work: set[asyncio.Task[None]] = set()

    async def sleep(self, _seconds: float) -> None:
        """Nobody waits between tries: their order counts here, not their time."""
        await asyncio.sleep(0)

    def url(self, port: int) -> str:
        """The address of a server."""
        return f"http://{HOST}:{self._listeners[port].getsockname()[1]}"

    def add(self, port: int, server: Server) -> None:
        """Have this server answer at a free port, from `start` on."""
        listener = socket.socket()
        listener.bind((HOST, 0))
        self._listeners[port] = listener
        self._servers[port] = server

    def transport(self, tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
        """The library's own."""
        return httpx.AsyncHTTPTransport(verify=tls)

    async def start(self) -> None:
        """Answer from here on, in this loop."""
        for port, listener in self._listeners.items():
            self._running.append(await asyncio.start_server(self._connection(port), sock=listener))

    async def stop(self) -> None:
        """Answer no more, and let go of the ports."""
        for server in self._running:
            server.close()
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    async def settled(self) -> None:
        """Whatever is under way goes on: another run may come upon it."""

    def _connection(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._talk(port, reader, writer))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

        return connected

    async def _talk(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream, sent = SocketStream(reader, writer), bytearray()
        try:
            while piece := await reader.read(65_536):
                sent += piece
                while (request := taken_from(sent)) is not None:
                    await self._servers[port](stream, request)
                    await writer.drain()
        except ConnectionError:
            pass  # the client has had enough
        finally:
            writer.close()


@contextmanager
def answering(network: SocketNetwork) -> Iterator[None]:
    """Answer in a thread while the context lasts, for clients in other processes."""
    ready, loop, over = Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        await network.start()
        ready.set()
        await over.wait()
        await network.stop()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = Thread(target=run)
    thread.start()
    try:
        assert ready.wait(30.0)
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
