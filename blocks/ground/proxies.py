"""Proxies as the environment names them, read as the HTTP library of the clients reads them.

HTTPS_PROXY, HTTP_PROXY and ALL_PROXY name one for a scheme, NO_PROXY the hosts that are asked without; each may also be
written in small letters, which then count. What goes to this machine goes by no proxy.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from blocks.text import one_line

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SCHEMES = ("http", "https", "all")
_PORTS = {"http": 80, "https": 443}


class UnusableProxy(ValueError):
    """A variable that the HTTP library does not take; the message is one line with its name and value."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it. What logs it in never shows."""

    scheme: str
    host: str
    port: int
    variable: str
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port} ({self.variable})"


def settle_proxies(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let loopback go by no proxy, for whoever reads this environment. Raises UnusableProxy.

    Prefect's client and its stream of events know no other way to be told.
    """
    named = {scheme: _effective(f"{scheme}_proxy", environment) for scheme in (*_SCHEMES, "no")}
    if not any(value for _, value in named.values()):
        return  # else macOS and Windows would not be asked for theirs any more
    variable, spared = named.pop("no")
    entries = [entry.strip() for entry in spared.split(",") if entry.strip()]
    if "*" in entries:
        return
    for entry in entries:
        if _refused({"NO_PROXY": entry}) is not None:
            raise UnusableProxy(
                f"{variable}: {one_line(entry, 100)} cannot be used: it takes names of hosts, domains and single "
                "addresses, with commas between them"
            )
    for name, value in named.values():
        if value:
            _check(name, value)
    if any(value for _, value in named.values()):
        known = ",".join(dict.fromkeys([*entries, *LOOPBACK]))
        environment.update(NO_PROXY=known, no_proxy=known)


def https_proxy(host: str, port: int, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy by which `https://host:port` is asked, None where it is asked without one."""
    best: tuple[tuple[int, int, int], Proxy | None] | None = None
    for rule in _rules(environment):
        if rule.covers(host.lower(), port) and (best is None or rule.rank < best[0]):
            best = rule.rank, rule.proxy
    return best[1] if best is not None else None


def shown(value: str) -> str:
    """The value of a variable without what logs in to the proxy."""
    scheme, separator, rest = value.rpartition("://")
    *login, address = rest.rsplit("@", 1)
    if "[" not in address:  # a port that is none may be a password whose @ is missing
        address = re.sub(r":(?!\d{1,5}(?:[/?#]|$)).*", ":***", address)
    return one_line(f"{scheme}{separator}{'***@' if login else ''}{address}", 200)


# -- what a variable says ---------------------------------------------------------------------------------------------


def _effective(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The variable of that name that counts, and its value: the one in small letters, where there is one."""
    found = [one for one in environment if one.lower() == name]
    best = name if name in found else next(iter(sorted(found)), name.upper())
    return best, environment.get(best, "").strip()


def _check(name: str, value: str) -> None:
    """Raise UnusableProxy unless the HTTP library takes the value."""
    error = _refused({name.upper(): value})
    if isinstance(error, ImportError):
        raise UnusableProxy(
            f"{name}: {shown(value)} cannot be used: a SOCKS proxy needs a package, python -m pip install socksio"
        )
    if error is not None or not _parts(value).hostname:
        raise UnusableProxy(f"{name}: {shown(value)} cannot be used: it should look like http://proxy.example:3128")


def _refused(variables: Mapping[str, str]) -> Exception | None:
    """What the HTTP library has against these variables, when there are no others; it says so when a client is made."""
    import httpx  # here, as it is asked where a proxy is named at all

    with _only(variables):
        try:
            httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), follow_redirects=False).close()
        except Exception as error:  # noqa: BLE001 - it has no one class for them
            return error
    return None


@contextmanager
def _only(variables: Mapping[str, str]) -> Iterator[None]:
    """This process without any other variable about proxies."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(kept)


def _parts(value: str) -> SplitResult:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        return urlsplit("")
    return parts


# -- which one counts for a host --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """One entry of a variable: which hosts it is for, and the proxy, or none. The one with the smallest rank counts."""

    scheme: str
    host: str
    port: int | None
    proxy: Proxy | None

    @property
    def rank(self) -> tuple[int, int, int]:
        return (0 if self.port is not None else 1, -len(self.host), -len(self.scheme))

    def covers(self, host: str, port: int) -> bool:
        """Whether it is for `https://host:port`."""
        if self.scheme not in ("", "https") or (self.port is not None and (self.port != port or port == 443)):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        if self.host.startswith("*"):
            return host == self.host[1:] or host.endswith(f".{self.host[1:]}")
        return self.host in ("", host)


def _rules(environment: Mapping[str, str]) -> Iterator[_Rule]:
    _, spared = _effective("no_proxy", environment)
    entries = [entry.strip() for entry in spared.split(",") if entry.strip()]
    if "*" in entries:
        return
    for scheme in ("https", "all"):
        name, value = _effective(f"{scheme}_proxy", environment)
        if value:
            yield _Rule(scheme.removeprefix("all"), "", None, _proxy(name, value))
    for entry in entries:
        yield _spared(entry)


def _spared(entry: str) -> _Rule:
    """An entry of NO_PROXY: a domain with what belongs to it, an address, or a URL."""
    scheme, separator, rest = entry.rpartition("://")
    if not separator:
        address = entry.partition("/")[0]
        try:
            rest = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
        except ValueError:
            rest = entry if entry.lower() == "localhost" else f"*{entry}"
    parts = _parts(f"http://{rest}")
    return _Rule(scheme.lower().removeprefix("all"), parts.hostname or "", parts.port, None)


def _proxy(variable: str, value: str) -> Proxy:
    parts = _parts(value)
    login = None
    if parts.username is not None:
        name_and_word = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + b64encode(name_and_word.encode()).decode()
    port = parts.port or _PORTS.get(parts.scheme, 1080)
    return Proxy(parts.scheme, parts.hostname or "", port, variable, login)
