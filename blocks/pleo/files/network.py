"""Where a file may be fetched from, and connections that go there and nowhere else.

https, and addresses of the public internet alone; the one exception is the origin of a Pleo that itself runs on
loopback, such as the sandbox. A name is resolved once, all its addresses are checked, and one of them is dialled: as
the connection goes to the very address that was checked, a name that resolves differently the next time gains nothing.
TLS is verified against the name.

Where the environment names a proxy for the host, as it does for Pleo's, the proxy is asked for the checked address and
not for the name, which it would resolve itself, unchecked. Where this machine cannot resolve names, or the proxy takes
names alone, it has to be: `by_name`. Then nothing is known of the address but that whoever answers there proves by TLS,
before a link is sent, that it is the host; addresses in links, and names of this machine, are refused as ever.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import re
import socket
import ssl
import string
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from blocks.ground.proxies import Proxy
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

FindProxy = Callable[[str, int], Proxy | None]
"""The proxy by which a host and port are asked over https, None where they are asked without one."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_MAX_HEAD = 16_384
_MAX_ADDRESSES = 2  # of each family; more would leave each too little of the time for connecting
_LOGGERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_fetching: ContextVar[bool] = ContextVar("fetching a file", default=False)


class NotReached(httpcore.ConnectError):
    """No connection came about; the message is in our own words, without anything of the link but its host."""


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
    """Opens connections to checked addresses; `dialler` opens them in earnest, and is asked for numbers only, and for
    proxies. `find_proxy` says which; with `by_name` those are asked for names.

    Raises FileUnsafe for a host with an address that is not public.
    """

    def __init__(
        self,
        loopback: Origin | None,
        resolver: Resolver,
        dialler: httpcore.AsyncNetworkBackend,
        *,
        find_proxy: FindProxy,
        proxy_tls: ssl.SSLContext,
        by_name: bool,
    ) -> None:
        self._loopback = loopback
        self._resolver = resolver
        self._dialler = dialler
        self._find_proxy = find_proxy
        self._proxy_tls = proxy_tls
        self._by_name = by_name

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
        here = self._loopback is not None and (host, port) == (self._loopback.host, self._loopback.port)
        proxy = None if here else self._find_proxy(host, port)
        if proxy is not None and self._by_name:
            addresses = [host]
        else:
            addresses = await self._addresses(host, port, timeout, here, proxy)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = None if timeout is None else max(0.1, (timeout - (monotonic() - started)) / left)
            try:
                if proxy is not None:
                    return await self._by(proxy, address, port, share)
                return await self._dialler.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise httpcore.ConnectError("the name has no address")

    async def _addresses(
        self, host: str, port: int, timeout: float | None, here: bool, proxy: Proxy | None
    ) -> list[str]:
        try:
            async with asyncio.timeout(timeout):
                found = [host] if ip_literal(host) else await self._resolver(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from None
        except OSError as error:
            why = f"the name cannot be resolved ({error.strerror or 'no answer'})"
            if proxy is not None:
                why += f", which {proxy} is asked by; the setting receipt_proxy = by_name leaves that to the proxy"
            raise NotReached(why) from None
        good = check_resolved(host, found, loopback=here)
        by_number = [[text for text in good if (":" in text) is wanted][:_MAX_ADDRESSES] for wanted in (True, False)]
        return [text for text in good if text in by_number[0] or text in by_number[1]]

    async def _by(self, proxy: Proxy, address: str, port: int, timeout: float | None) -> httpcore.AsyncNetworkStream:
        """A connection to the address that the proxy has made, on which TLS is still to come."""
        if proxy.scheme not in {"http", "https"}:
            raise NotReached(f"receipts cannot be fetched by {proxy}: it would have to be an http proxy")
        try:
            stream = await self._dialler.connect_tcp(proxy.host, proxy.port, timeout)
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            raise NotReached(f"{proxy} does not answer") from None
        try:
            async with asyncio.timeout(timeout):
                if proxy.scheme == "https":
                    stream = await stream.start_tls(self._proxy_tls, proxy.host, timeout)
                await stream.write(_connect(address, port, proxy), timeout)
                status = await _status(stream, timeout)
        except TimeoutError:
            why = f"{proxy} does not answer in time"
        except (httpcore.NetworkError, httpcore.TimeoutException, ssl.SSLError):
            why = f"{proxy} broke off"
        else:
            if 200 <= status < 300:
                return stream
            asks = ": it asks for a name and a password" if status == 407 else ""
            by = "" if self._by_name else "; where it takes names alone, set receipt_proxy = by_name"
            why = f"{proxy} answers with {f'HTTP {status}' if status else 'what is no HTTP'}{asks or by}"
        await stream.aclose()
        raise NotReached(why)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def _connect(address: str, port: int, proxy: Proxy) -> bytes:
    """The request that has a proxy connect to an address."""
    target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    login = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode("ascii")


async def _status(stream: httpcore.AsyncNetworkStream, timeout: float | None) -> int:
    """The status of a proxy's answer; 0 for what is none, or has more behind it than belongs there."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = await stream.read(_MAX_HEAD, timeout)
        head += more
        if not more or len(head) > _MAX_HEAD:
            return 0
    found = _STATUS.match(head)
    status = int(found[1]) if found else 0
    return 0 if 200 <= status < 300 and not head.endswith(b"\r\n\r\n") else status


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
