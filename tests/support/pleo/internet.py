"""A small internet of file hosts for tests: names, addresses and hosts with certificates, all of it on loopback.

The client under test resolves names here and dials the public addresses that it was given; the dialler, which stands
for the network, carries that to the loopback port where the host really is. No check of the client's is relaxed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpcore

from blocks.ground.proxies import Proxy
from blocks.pleo.files.client import FileClient
from tests.support.pleo.certificates import authority, server_tls
from tests.support.pleo.scripted_pleo import Behaviour, Request, Step, VirtualClock, answer, scripted

PLEO = "https://external.pleo.example"
HOST = "files.example"
ADDRESS = "93.184.216.34"
SECRET = "X-Signature=s3cr3t-0f-a-link"
URL = f"https://{HOST}/s3cr3t-path/receipt.pdf?{SECRET}"
PDF = b"%PDF-1.4\n% a receipt\n%%EOF\n"


class Internet(httpcore.AsyncNetworkBackend):
    """Names, addresses, hosts, and everything that was asked of them."""

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str] | OSError]] = {}
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.requests: list[Request] = []
        self.silent: set[str] = set()
        self.by_proxy: list[bytes] = []
        self.time = VirtualClock()
        self._real: dict[tuple[str, int], int] = {}

    def client(self, base_url: str = PLEO, **settings: Any) -> FileClient:
        """A client on this internet; its clock is the virtual one."""
        usual: dict[str, Any] = {
            "clock": self.time.clock(),
            "resolver": self.resolve,
            "dialler": self,
            "tls": ssl.create_default_context(cadata=authority().pem),
            "find_proxy": lambda _host, _port: None,
        }
        return FileClient(base_url, **{**usual, **settings})

    @property
    def targets(self) -> list[str]:
        """Host and target of what was asked for."""
        return [f"{request.header('host')}{request.target}" for request in self.requests]

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """What the name service says, the last answer for ever."""
        self.asked.append(host)
        answers = self.names.get(host, [OSError(-2, "Name or service not known")])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, OSError):
            raise found
        return found

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host in self.silent:
            await asyncio.sleep(timeout or 0)
            raise httpcore.ConnectTimeout
        if (host, port) not in self._real:
            raise httpcore.ConnectError("nobody there")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self._real[host, port], timeout)

    @asynccontextmanager
    async def host(
        self,
        script: Behaviour | Sequence[Step],
        name: str = HOST,
        address: str = ADDRESS,
        port: int = 443,
        certified_for: str | None = None,
    ) -> AsyncIterator[None]:
        """A host that answers by a behaviour, or by a script of one step a request; its last step is repeated."""

        def behave(request: Request) -> Step:
            self.requests.append(request)
            return script(request) if callable(script) else script[min(len(self.requests), len(script)) - 1]

        async with scripted(behave, server_tls(certified_for or name) if port == 443 else None) as server:
            self.names.setdefault(name, [[address]])
            self._real[address, port] = int(server.url.rpartition(":")[2])
            yield

    @asynccontextmanager
    async def proxy(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> AsyncIterator[Proxy]:
        """A proxy that notes what it is asked in `by_proxy`, answers like this, and carries what comes then."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                head = await reader.readuntil(b"\r\n\r\n")
                self.by_proxy.append(head)
                host, port = head.split()[1].decode().rsplit(":", 1)
                addresses = self.names[host][0] if host in self.names else [host]
                assert not isinstance(addresses, OSError)
                real = self._real.get((addresses[0], int(port)))
                writer.write(answer if real is not None else b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                if real is None or not answer.startswith(b"HTTP/1.1 200"):
                    return
                there = await asyncio.open_connection("127.0.0.1", real)
                with closing(there[1]):
                    await asyncio.wait(
                        [asyncio.create_task(_carry(reader, there[1])), asyncio.create_task(_carry(there[0], writer))],
                        return_when=asyncio.FIRST_COMPLETED,
                    )

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            self._real["proxy.example", 3128] = server.sockets[0].getsockname()[1]
            yield Proxy("http", "proxy.example", 3128, "HTTPS_PROXY", "Basic bWU6czNjcjN0")


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


def held(folder: Path) -> list[str]:
    """The names of what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def a_file(content: bytes = PDF, kind: str = "application/pdf", **headers: str) -> bytes:
    """An answer that brings a file."""
    return answer(content, content_type=kind, **headers)


def redirect(to: str, status: int = 302) -> bytes:
    """An answer that leads elsewhere."""
    return answer(b"", status, location=to)
