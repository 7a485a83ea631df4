"""Downloads receipts by the links in Pleo's items: from hosts that nobody vouches for, files that nobody has looked at.

What goes out is a bare GET: no credentials and no cookies, whatever the environment holds. What comes in is bound in
size, time and memory. Where it may come from, and how connections are made, by a proxy too, is told in `network`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import httpcore

from blocks.ground.proxies import https_proxy
from blocks.pleo.errors import FileLinkDead, FileNoReceipt, FileNotFetched, FileUnavailable, FileUnsafe
from blocks.pleo.files.content import (
    HTML,
    NO_RECEIPTS,
    BrokenBody,
    Spool,
    decoded,
    encoding_of,
    is_known,
    media_type,
    too_large,
)
from blocks.pleo.files.network import (
    CheckedNetwork,
    FileAddress,
    FindProxy,
    NotReached,
    Origin,
    Resolver,
    check_origin,
    local_error,
    loopback_origin,
    no_http_logs,
    parse_address,
    resolve,
)
from blocks.pleo.http.retries import read_retry_after, wait_s
from blocks.pleo.http.transport import Clock, trusted_tls
from blocks.tls import causes, tls_problem

MAX_FILE_BYTES = 30_000_000
MAX_REDIRECTS = 5
AT_ONCE = 6
CONNECT_S = 5.0
SILENCE_S = 15.0
FILE_S = 60.0
MAX_TRIES = 3
GIVEN_UP_IN_A_ROW = 3
DOWN_S = 60.0

_DEAD = frozenset({400, 401, 403, 404, 410})  # 400: how one storage says that a signature has expired
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file as it lies on the disk: its bytes' number, their SHA-256 in hexadecimal, and what kind of file it is."""

    path: Path
    size: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class _FailedTry:
    """A try that brought none: why, whether the host kept silent, what it says of waiting, and if waiting is no use;
    and what the file is, if it is no receipt."""

    why: str
    silent: bool = False
    rate_limited: bool = False
    retry_after_s: float | None = None
    final: bool = False
    what: str | None = None


class FileClient:
    """Fetches files by link, at most `at_once` of them at a time. Use it as an asynchronous context manager.

    `pleo_base_url` decides one thing only: a Pleo on loopback may have its files there too, at its own host and port.
    `max_bytes` bounds a file, decoded. Times are in seconds: `connect_s` for a connection, `silence_s` without a byte,
    `file_s` for all of a file, tries, redirects and waiting included. `resolver`, `dialler` and `tls` stand for the
    name service, the network and the trusted authorities, `find_proxy` for the environment's proxies; whatever they
    are, every address is checked, but for those that a proxy finds itself, `by_name`.
    """

    def __init__(
        self,
        pleo_base_url: str,
        *,
        clock: Clock | None = None,
        max_bytes: int = MAX_FILE_BYTES,
        at_once: int = AT_ONCE,
        connect_s: float = CONNECT_S,
        silence_s: float = SILENCE_S,
        file_s: float = FILE_S,
        resolver: Resolver = resolve,
        dialler: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
        find_proxy: FindProxy = https_proxy,
        by_name: bool = False,
    ) -> None:
        self._clock = clock or Clock()
        self._max_bytes = max_bytes
        self._file_s = file_s
        self._timeouts = {"connect": connect_s, "read": silence_s, "write": silence_s}
        self._loopback = loopback_origin(pleo_base_url)
        self._health = HostHealth(self._clock.monotonic)
        self._places = asyncio.Semaphore(at_once)
        trusted = tls or trusted_tls()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=at_once,
            max_keepalive_connections=0,  # what a host sends too much must not become the next file's beginning
            network_backend=CheckedNetwork(
                self._loopback,
                resolver,
                dialler or httpcore.AnyIOBackend(),
                find_proxy=find_proxy,
                proxy_tls=trusted,
                by_name=by_name,
            ),
        )

    async def __aenter__(self) -> FileClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def download(
        self, url: str, target: Path, max_bytes: int | None = None, *, stated_type: str | None = None
    ) -> Downloaded:
        """Fetch one file to `target`, which must not exist yet and is readable for this user alone.

        `max_bytes` can only lower the client's own limit. `stated_type` is the media type that Pleo names, heard last.
        Raises FileLinkDead, FileTooLarge, FileUnsafe, FileNoReceipt, FileUnavailable, and OSError when this machine
        does not take it; `target` does not exist then.
        """
        limit = self._max_bytes if max_bytes is None else min(max_bytes, self._max_bytes)
        address = parse_address(url)
        check_origin(address, self._loopback, None)
        async with self._places:
            with no_http_logs():
                return await self._fetch(address, target, limit, stated_type)

    async def _fetch(self, address: FileAddress, target: Path, limit: int, stated: str | None) -> Downloaded:
        host, tries, deadline = address.origin.host, 0, self._clock.monotonic() + self._file_s
        allowed = self._health.tries(host)
        if not allowed:
            raise FileUnavailable(f"{host} has not been answering; it is left alone for a minute")
        while True:
            tries += 1
            outcome = await self._try(address, target, limit, stated, deadline)
            if isinstance(outcome, Downloaded | FileNotFetched) or not outcome.silent:
                self._health.answered(host)
            if isinstance(outcome, Downloaded):
                return outcome
            if isinstance(outcome, FileNotFetched):
                raise outcome
            wait = wait_s(
                tries,
                rate_limited=outcome.rate_limited,
                retry_after_s=outcome.retry_after_s,
                jitter=self._clock.jitter,
            )
            late = self._clock.monotonic() + wait > deadline
            if outcome.final or late or tries >= min(allowed, self._health.tries(host) or tries):
                await self._clock.sleep(0)  # a run that was asked to end ends here, and blames no host
                if outcome.silent:
                    self._health.given_up(host)
                if outcome.what is not None:
                    raise FileNoReceipt(f"{host}: {outcome.why}, after {tries} tries", outcome.what)
                raise FileUnavailable(f"{host}: {outcome.why}, after {tries} tries")
            await self._clock.sleep(wait)

    async def _try(
        self, address: FileAddress, target: Path, limit: int, stated: str | None, deadline: float
    ) -> Downloaded | FileNotFetched | _FailedTry:
        """One try. Its errors are told anew, in our own words: those of the library may quote what was sent."""
        try:
            async with self._clock.limit(max(0.1, deadline - self._clock.monotonic())):
                return await self._follow(address, target, limit, stated)
        except FileNotFetched as error:
            return error.with_traceback(None)
        except BrokenBody as error:
            return _FailedTry(str(error), what=error.what)
        except (TimeoutError, httpcore.TimeoutException):
            return _FailedTry("no answer in time", silent=True)
        except httpcore.ConnectError as error:
            trouble = local_error(error)
            if trouble is not None:  # no fault of the host's, nor of the expense's
                raise OSError(trouble.errno, trouble.strerror) from None
            if tls_problem(error) is not None:
                return FileUnsafe(f"not fetched: {address.origin.host} cannot prove that it is what it is called")
            told = next((str(one) for one in causes(error) if isinstance(one, NotReached)), None)
            return _FailedTry(f"no connection: {told}" if told else "no connection", silent=True)
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError):
            return _FailedTry("the connection broke, or was cut off")

    async def _follow(
        self, address: FileAddress, target: Path, limit: int, stated: str | None
    ) -> Downloaded | FileNotFetched | _FailedTry:
        coming_from: Origin | None = None
        for _ in range(MAX_REDIRECTS + 1):
            check_origin(address, self._loopback, coming_from)
            async with self._pool.stream(
                "GET", _url(address), headers=_headers(address.origin), extensions={"timeout": self._timeouts}
            ) as response:
                if response.status == 200:
                    return await self._keep(response, target, limit, stated)
                status, location = response.status, _header(response, "location")
                asked = read_retry_after(_header(response, "retry-after"), _header(response, "date"), self._clock.now)
            if status not in _REDIRECTS or not location:
                return _judge(address.origin.host, status, asked)
            address, coming_from = parse_address(address.follow(location)), address.origin
        return _FailedTry(f"more than {MAX_REDIRECTS} redirects", final=True)

    async def _keep(
        self, response: httpcore.Response, target: Path, limit: int, stated: str | None
    ) -> Downloaded | _FailedTry:
        encoding, is_sure = encoding_of(_header(response, "content-encoding"))
        length = _header(response, "content-length") or ""
        if length.isdecimal() and (len(length) > 18 or int(length) > limit):
            raise too_large(limit)
        with Spool(target, limit) as spool:
            async with aclosing(decoded(response.aiter_stream(), encoding, limit)) as pieces:
                async for piece in pieces:
                    spool.write(piece)
            if not spool.size:
                raise BrokenBody("an empty file", "is empty")
            if not is_sure and not is_known(spool.head, spool.tail):
                raise BrokenBody("an encoding that was not asked for", "comes in an encoding that is not known")
            kind = media_type(spool.head, spool.tail, _header(response, "content-type"), stated)
            if kind in NO_RECEIPTS:
                told = "a web page" if kind == HTML else "a message"
                raise BrokenBody(f"{told} instead of a file", f"is {told} and no file")
        return Downloaded(target, spool.size, spool.sha256, kind)


def _judge(host: str, status: int, asked_wait_s: float | None) -> FileNotFetched | _FailedTry:
    """What an answer means that is neither the file nor a redirect."""
    if status in _DEAD:
        return FileLinkDead(f"{host} says that the link is no good (HTTP {status})")
    if status == 429:
        return _FailedTry("HTTP 429, too many requests", silent=True, rate_limited=True, retry_after_s=asked_wait_s)
    if status >= 500 or status == 408:
        return _FailedTry(f"HTTP {status}", silent=True, retry_after_s=asked_wait_s)
    return _FailedTry(f"HTTP {status}", final=True)


def _url(address: FileAddress) -> httpcore.URL:
    origin = address.origin
    return httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=address.target)


def _headers(origin: Origin) -> list[tuple[str, str]]:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    default = origin.port == {"https": 443, "http": 80}[origin.scheme]
    return [
        ("Host", host if default else f"{host}:{origin.port}"),
        ("User-Agent", "pleo-export/0.1"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _header(response: httpcore.Response, name: str) -> str | None:
    wanted = name.encode()
    return next((value.decode("utf-8", "replace") for key, value in response.headers if key.lower() == wanted), None)


@dataclass(slots=True)
class _Host:
    given_up: int = 0
    down_until: float = float("-inf")


class HostHealth:
    """Counts files, not tries: a host is down once three files in a row were given up with nothing in between.

    For a minute its files get no try at all, after that one quick try each until one of them brings an answer, with
    a minute's pause whenever one does not. `clock` gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    def tries(self, host: str) -> int:
        """How many tries a file of this host has now: 3, 1 or 0."""
        known = self._hosts.get(host)
        if known is None or known.given_up < GIVEN_UP_IN_A_ROW:
            return MAX_TRIES
        return 0 if self._clock() < known.down_until else 1

    def answered(self, host: str) -> None:
        """The host answered, whatever it said."""
        self._hosts.pop(host, None)

    def given_up(self, host: str) -> None:
        """A file of this host was given up, as no answer came."""
        known = self._hosts.setdefault(host, _Host())
        known.given_up += 1
        known.down_until = self._clock() + DOWN_S
