"""Where a file may be fetched from: https, and addresses of the public internet alone.

The one exception is the origin of a Pleo that itself runs on loopback, such as the sandbox.
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote, urljoin, urlsplit

from blocks.pleo.errors import FileUnsafe

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
    literal = as_number(origin.host)
    if literal is not None and not is_public(literal):
        _refuse(f"{origin.host} is not an address of the public internet")
    if origin.host == "localhost" or origin.host.endswith(".localhost"):
        _refuse(f"{origin.host} means this machine")


def check_resolved(host: str, addresses: Sequence[str], *, loopback: bool) -> list[str]:
    """The addresses that a name has, all of which must be public, or with `loopback` all on this machine.

    Raises FileUnsafe when a single one is not.
    """
    for text in addresses:
        address = as_number(text)
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
        literal = as_number(host)
        if not isinstance(literal, ipaddress.IPv6Address):
            _refuse("the link's address is not IPv6")
        return literal.compressed
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host) or len(host) > 253:
        _refuse("the link's host is not a name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # what some resolvers take for a number
        literal = as_number(host)
        if literal is None:
            _refuse("the link's address is spelled in an unusual way")
        return literal.compressed
    return host


def as_number(host: str) -> IpAddress | None:
    """The host as an IP address, in the usual spelling and without a zone; None for a name."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    literal = as_number(host)
    return literal is not None and literal.is_loopback


def _refuse(why: str) -> NoReturn:
    raise FileUnsafe(f"not fetched: {why}")
