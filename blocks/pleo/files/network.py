"""Connections to file hosts: the name is resolved once, all its addresses are checked, and one of them is dialled.

As the connection goes to the very address that was checked, a name that resolves differently the next time gains
nothing. TLS is verified against the name. No proxy is ever used: it would resolve the name itself, unchecked.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

import httpcore

from blocks.pleo.files.address import Origin, as_number, check_resolved
from blocks.tls import causes

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text. Raises OSError when it has none."""

_AT_MOST = 2  # of each family; more would leave each too little of the time for connecting
_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_fetching: ContextVar[bool] = ContextVar("fetching a file", default=False)


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host as the machine's resolver gives them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) if len(address) < 4 or not address[3] else f"{address[0]}%" for *_, address in found]


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses; `dialler` opens them in earnest, and is asked for numbers only.

    Raises FileUnsafe for a host with an address that is not public.
    """

    def __init__(self, loopback: Origin | None, resolver: Resolver, dialler: httpcore.AsyncNetworkBackend) -> None:
        self._loopback = loopback
        self._resolver = resolver
        self._dialler = dialler

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, dial one address after the other; all of it within the timeout (seconds)."""
        started = monotonic()
        addresses = await self._addresses(host, port, timeout)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = None if timeout is None else max(0.1, (timeout - (monotonic() - started)) / left)
            try:
                return await self._dialler.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise httpcore.ConnectError("the name has no address")

    async def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        try:
            async with asyncio.timeout(timeout):
                found = [host] if as_number(host) else await self._resolver(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(f"the name cannot be resolved ({error.strerror or 'no answer'})") from None
        loopback = self._loopback is not None and (host, port) == (self._loopback.host, self._loopback.port)
        good = check_resolved(host, found, loopback=loopback)
        by_number = [[text for text in good if (":" in text) is wanted][:_AT_MOST] for wanted in (True, False)]
        return [text for text in good if text in by_number[0] or text in by_number[1]]

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def is_ours(error: BaseException) -> OSError | None:
    """The error of this machine's that kept a connection from being opened: no more file handles, or no memory."""
    found = (one for one in causes(error) if isinstance(one, OSError) and one.errno in _OURS)
    return next(found, None)


@contextmanager
def without_a_trace() -> Iterator[None]:
    """Keep the HTTP library from logging what is sent and received meanwhile, at any level: links are secrets."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_keeps_quiet)
    token = _fetching.set(True)
    try:
        yield
    finally:
        _fetching.reset(token)


def _keeps_quiet(_record: logging.LogRecord) -> bool:
    return not _fetching.get()
