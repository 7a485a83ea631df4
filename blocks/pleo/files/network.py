"""Where a file may be fetched from, and connections that go there and nowhere else.

https, and addresses of the public internet alone; the one exception is the origin of a Pleo that itself runs on
loopback, such as the sandbox. A name is resolved once, all its addresses are checked, and one of them is dialled: as
the connection goes to the very address that was checked, a name that resolves differently the next time gains nothing.
TLS is verified against the name. No proxy is ever used: it would resolve the name itself, unchecked.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import re
import socket
import string
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from blocks.pleo.errors import FileUnsafe
from blocks.tls import causes

MAX_URL = 16_384
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_BRACKETED = re.compile(r"\[[^\]]*\](?::[0-9]*)?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_DEFAULT_PORTS = {"https": 443, "http": 80}

# What `ipaddress` calls global and is not a host of the public internet.
_REFUSED_V4 = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24")))
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # outside of it: IPv4-mapped, NAT64, site-local, multicast and more
_REFUSED_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text. Raises OSError when it has none."""

_MAX_ADDRESSES = 2  # of each family; more would leave each too little of the time for connecting
_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_fetching: ContextVar[bool] = ContextVar("fetching a file", default=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case, IPv6 without brackets) and port."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A link taken apart. `target`, its path and query, is a secret: it never shows in the representation."""

    origin: Origin
    target: str

    def __repr__(self) -> str:
        return f"FileAddress({self.origin!r})"

    def follow(self, location: str) -> str:
        """The URL that a redirect from here leads to, which may be no better than the redirect."""
        host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
        if not location.isprintable():
            return ""
        try:
            return urljoin(f"{self.origin.scheme}://{host}:{self.origin.port}{self.target}", location)
        except ValueError:
            return ""


def parse_address(url: str) -> FileAddress:
    """The link's parts. Raises FileUnsafe for what is no plain http(s) URL, or is spelled to deceive."""
    if len(url) > MAX_URL or not url.isprintable() or " " in url or "\\" in url:
        _refuse("the link is not a plain URL")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = None, "", None
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not host or port == 0:
        _refuse("the link is not a plain http(s) URL")
    if "@" in parts.netloc:
        _refuse("the link holds a user name")
    bracketed = "[" in parts.netloc
    if not parts.netloc.isascii() or (bracketed and not _BRACKETED.fullmatch(parts.netloc)):
        _refuse("the link's host is not a name")
    host = _plain_host(host, bracketed=bracketed)
    path = quote(parts.path or "/", safe=string.punctuation)
    query = quote(parts.query, safe=string.punctuation)
    target = f"{path}?{query}" if parts.query else path
    return FileAddress(Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme]), target)


def loopback_origin(pleo_base_url: str) -> Origin | None:
    """The origin of a Pleo on loopback, the only one there that files may come from; None for any other Pleo."""
    try:
        origin = parse_address(pleo_base_url).origin
    except FileUnsafe:
        return None
    return origin if origin.host == "localhost" or _is_loopback(origin.host) else None


def check_origin(address: FileAddress, loopback: Origin | None, coming_from: Origin | None) -> None:
    """Refuse what needs no resolver to be refused; `coming_from` is where a redirect leads away from.

    Raises FileUnsafe.
    """
    origin = address.origin
    if origin == loopback and coming_from in (None, loopback):
        return
    if origin.scheme != "https":
        _refuse(f"plain http to {origin.host}")
    literal = ip_literal(origin.host)
    if literal is not None and not is_public(literal):
        _refuse(f"{origin.host} is not an address of the public internet")
    if origin.host == "localhost" or origin.host.endswith(".localhost"):
        _refuse(f"{origin.host} means this machine")


def check_resolved(host: str, addresses: Sequence[str], *, loopback: bool) -> list[str]:
    """The addresses that a name has, all of which must be public, or with `loopback` all on this machine.

    Raises FileUnsafe when a single one is not.
    """
    for text in addresses:
        address = ip_literal(text)
        good = address is not None and (address.is_loopback if loopback else is_public(address))
        if not good:
            _refuse(f"{host} has an address that is not one of the public internet")
    return list(dict.fromkeys(addresses))


def is_public(address: IpAddress) -> bool:
    """Whether this can be a host of the public internet. Addresses that carry another one inside them are not."""
    odd = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    if odd or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)
    return not any(address in network for network in _REFUSED_V4)


def _plain_host(host: str, *, bracketed: bool) -> str:
    """The host in the one spelling that we go on with."""
    if bracketed:
        literal = ip_literal(host)
        if not isinstance(literal, ipaddress.IPv6Address):
            _refuse("the link's address is not IPv6")
        return literal.compressed
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host) or len(host) > 253:
        _refuse("the link's host is not a name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # what some resolvers take for a number
        literal = ip_literal(host)
        if literal is None:
            _refuse("the link's address is spelled in an unusual way")
        return literal.compressed
    return host


def ip_literal(host: str) -> IpAddress | None:
    """The host as an IP address, in the usual spelling and without a zone; None for a name."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    literal = ip_literal(host)
    return literal is not None and literal.is_loopback


def _refuse(why: str) -> NoReturn:
    raise FileUnsafe(f"not fetched: {why}")


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
                found = [host] if ip_literal(host) else await self._resolver(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        except OSError as error:
            raise httpcore.ConnectError(f"the name cannot be resolved ({error.strerror or 'no answer'})") from None
        loopback = self._loopback is not None and (host, port) == (self._loopback.host, self._loopback.port)
        good = check_resolved(host, found, loopback=loopback)
        by_number = [[text for text in good if (":" in text) is wanted][:_MAX_ADDRESSES] for wanted in (True, False)]
        return [text for text in good if text in by_number[0] or text in by_number[1]]

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def local_error(error: BaseException) -> OSError | None:
    """The error of this machine's that kept a connection from being opened: no more file handles, or no memory."""
    found = (one for one in causes(error) if isinstance(one, OSError) and one.errno in _LOCAL_ERRORS)
    return next(found, None)


@contextmanager
def no_http_logs() -> Iterator[None]:
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
