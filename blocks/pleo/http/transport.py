"""One call to Pleo: paced, bounded in time and size, tried again where that is harmless, its answer classed.

Whatever the answer, the caller gets a readable `Answer` or one of the errors drawn in `blocks.pleo.errors`.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx

from blocks.pleo.errors import (
    AlreadyInProgress,
    AnswerTooLarge,
    JobFinished,
    MissingContraAccounts,
    NotPleo,
    NotTrusted,
    PleoAuthenticationError,
    PleoConfigurationError,
    PleoNotFound,
    PleoOutcomeUnknown,
    PleoPermissionError,
    PleoRejected,
    PleoUnavailable,
)
from blocks.pleo.http.answer_body import MAX_BODY_BYTES, MAX_KEPT_BYTES, read_body
from blocks.pleo.http.auth import Auth, FixedAuth
from blocks.pleo.http.pacing import Pacer
from blocks.pleo.http.retries import RetryState, http_date, read_retry_after, wait_s
from blocks.pleo.http.wire import UnreadableAnswer, decode, decoded
from blocks.redaction import Redactor
from blocks.text import one_line
from blocks.tls import CannotVerify, tls_problem, verifying_tls

ANSWER_TIMEOUT_S = 60.0
RENEWAL_TIMEOUT_S = 240.0
MAX_RENEWALS = 3  # a call: another process may have renewed the access, and that one may have run out again
REQUESTS_A_MINUTE = 590  # Pleo's limit is 600; the rest is reserve
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_USER_AGENT = "pleo-export/0.1"
_FIRST_YEAR, _LAST_YEAR = 2025, 2200  # a Date header beyond them is none

HttpTransport = httpx.AsyncBaseTransport
"""What carries requests to a server; tests and simulations bring their own."""

Query = Sequence[tuple[str, str]]
Check = Callable[[Any], object]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the client sees it, so that a simulation can bring its own."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    limit: Callable[[float], AbstractAsyncContextManager[object]] = asyncio.timeout


@dataclass(frozen=True, slots=True)
class Answer:
    """A readable answer: its HTTP status, the body as text, and what the check made of the decoded document."""

    status: int
    text: str
    value: Any


@dataclass(frozen=True, slots=True)
class _FailedTry:
    """A try that brought nothing to go on: why, what it says about waiting, and the error if waiting is no use.

    `refused` is the access token that Pleo answered 401 to, where it can be renewed.
    """

    why: str
    rate_limited: bool = False
    retry_after_s: float | None = None
    final: PleoRejected | None = None
    refused: str | None = None


class Transport:
    """Sends the calls of one client. `requests_sent` counts every request that left, repeats included."""

    def __init__(self, base_url: str, auth: Auth, *, clock: Clock, transport: HttpTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.requests_sent = 0
        self._clock = clock
        self._auth = auth
        self._provider = None if isinstance(auth, FixedAuth) else auth
        self._redactor = Redactor()
        self._secrets: tuple[str, ...] = ()
        self._known_as_pleo = False
        self._dated: tuple[datetime, float] | None = None
        self._pacer = Pacer(REQUESTS_A_MINUTE, clock=clock.monotonic, sleep=clock.sleep)
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT,
            verify=trusted_tls(),
            transport=transport,
            follow_redirects=False,
            trust_env=self.base_url.lower().startswith("https:"),  # no proxy stands between us and loopback
            headers={"accept": "application/json", "accept-encoding": "gzip", "user-agent": _USER_AGENT},
        )

    async def aclose(self) -> None:
        """Close the connections, and let a renewal of the access come to its end."""
        await self._http.aclose()
        if self._provider is not None:
            await self._provider.aclose()

    def now(self) -> datetime:
        """The time of day at Pleo, as its last answer told it; by the local clock, which may be wrong, before that."""
        if self._dated is None:
            return self._clock.now()
        date, at = self._dated
        return date + timedelta(seconds=self._clock.monotonic() - at)

    def redact(self, text: str) -> str:
        """The text without the credentials, in whichever usual form it quotes them."""
        return self._redactor_now()(text)

    def _redactor_now(self) -> Redactor:
        secrets = self._auth.secrets
        if secrets != self._secrets:  # tokens are renewed
            self._secrets, self._redactor = secrets, Redactor({*self._secrets, *secrets})
        return self._redactor

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        check: Check | None = None,
        repeatable: bool = True,
        retry: RetryState | None = None,
    ) -> Answer:
        """Make one call and return its readable answer.

        `check` turns the decoded document into a value and raises UnreadableAnswer for a foreign one; without it no
        body is expected. A call that is not `repeatable` is sent again only after a 429, or a 401 where the access can
        be renewed, as both did nothing; in every other case it raises PleoOutcomeUnknown. `retry` is what the call has
        cost before, if it was made already.
        """
        retry = retry or RetryState(self._clock.monotonic())
        renewals, renewed = 0, False
        while True:
            retry.tries += 1
            answer = await self._try(method, path, query, body, check, deadline=retry.deadline)
            if isinstance(answer, Answer):
                return answer
            if answer.refused is not None and self._provider is not None:
                if renewed or renewals >= MAX_RENEWALS:
                    raise self._provider.given_up()
                renewed = await self._in_time(self._provider.renewed(answer.refused))
                renewals += 1
                retry.tries -= 1
                continue
            if not repeatable and not answer.rate_limited:
                raise PleoOutcomeUnknown(f"{method} {path}: {answer.why}", answer.retry_after_s)
            if answer.final is not None:
                raise answer.final
            wait = wait_s(
                retry.tries,
                rate_limited=answer.rate_limited,
                retry_after_s=answer.retry_after_s,
                jitter=self._clock.jitter,
            )
            if not retry.allows(wait, self._clock.monotonic()):
                raise PleoUnavailable(f"{method} {path}: {answer.why}, after {retry.tries} tries")
            await self._clock.sleep(wait)

    async def _try(
        self, method: str, path: str, query: Query, body: Any, check: Check | None, *, deadline: float
    ) -> Answer | _FailedTry:
        content = None if body is None else json.dumps(body, ensure_ascii=True).encode()
        headers = {} if body is None else {"content-type": "application/json;charset=UTF-8"}
        url = self.base_url + path
        token = None
        if isinstance(self._auth, FixedAuth):
            headers["authorization"] = self._auth.header
        else:
            token = await self._in_time(self._auth.token())
            headers["authorization"] = f"Bearer {token}"
        try:
            async with self._pacer.place():
                left_s = max(1.0, deadline - self._clock.monotonic())
                async with self._clock.limit(min(ANSWER_TIMEOUT_S, left_s)):
                    self.requests_sent += 1
                    async with self._http.stream(
                        method, url, params=list(query), content=content, headers=headers
                    ) as response:
                        encoding = response.headers.get("content-encoding", "identity")
                        enough = _status_is_enough(response.status_code)
                        received = b"" if enough else await read_body(response.aiter_bytes(), encoding)
        except (httpx.TimeoutException, TimeoutError):
            return _FailedTry("no answer in time")
        except httpx.LocalProtocolError:
            return _FailedTry("the request could not be put on the wire")  # its text quotes the header that was refused
        except httpx.RequestError as error:
            self._raise_if_untrusted(error)
            why = self.redact(one_line(str(error), 4000))  # the library quotes what it could not read
            return _FailedTry(f"no connection ({one_line(why, 120) or type(error).__name__})")
        if response.status_code == 401 and token is not None:
            return _FailedTry("HTTP 401", refused=token)
        if received is None:
            return self._classify(method, path, response, None, check)
        received = self._redactor_now().in_bytes(received)  # whatever is made of it, the credentials are not in it
        return self._classify(method, path, response, decoded(received), check)

    def _raise_if_untrusted(self, error: httpx.RequestError) -> None:
        """Raise NotTrusted where a server that was never known as Pleo cannot prove who it is."""
        problem = tls_problem(error)
        if problem is not None and not self._known_as_pleo:
            raise NotTrusted(
                f"{self.base_url} cannot prove that it is Pleo ({one_line(problem, 120)}), so nothing was sent: check "
                "the base URL; an authority of your own is named by SSL_CERT_FILE"
            )

    async def _in_time(self, renewal: Coroutine[Any, Any, _T]) -> _T:
        """What the access answers, within a time that a run which is asked to end makes shorter."""
        try:
            async with self._clock.limit(RENEWAL_TIMEOUT_S):
                return await renewal
        except TimeoutError:
            raise PleoUnavailable("the access to Pleo could not be renewed in time") from None

    def _classify(
        self, method: str, path: str, response: httpx.Response, received: str | None, check: Check | None
    ) -> Answer | _FailedTry:
        status = response.status_code
        if status == 401:
            raise PleoAuthenticationError(
                f"Pleo refused the credentials (HTTP 401): check the API key or access token for {self.base_url}"
            )
        if status == 403:
            raise PleoPermissionError(
                f"Pleo does not allow {method} {path} with these credentials (HTTP 403): check company and scopes"
            )
        if status == 429:
            self._pacer.slow_down()
            return _FailedTry(
                "HTTP 429, too many requests", rate_limited=True, retry_after_s=self._asked_wait(response)
            )
        if status >= 500 or status == 408:
            return _FailedTry(f"HTTP {status}", retry_after_s=self._asked_wait(response))
        if received is None:
            why = f"{method} {path}: more than {MAX_KEPT_BYTES >> 20} MiB, or {MAX_BODY_BYTES >> 20} with its texts"
            return _FailedTry(why, final=AnswerTooLarge(status, "ANSWER_TOO_LARGE", why))
        try:
            value = self._value(status, received, check)
        except PleoRejected:
            self._known_as_pleo = True
            raise
        except UnreadableAnswer as error:
            if not self._known_as_pleo:
                raise NotPleo(
                    f"{self.base_url} does not answer as Pleo does (HTTP {status}, "
                    f"{one_line(self.redact(response.headers.get('content-type', 'no content type')), 60)}): "
                    "check the base URL"
                ) from error
            return _FailedTry(f"an answer that cannot be read (HTTP {status})")
        self._known_as_pleo |= check is not None or status == 202  # any web page is a 200
        date = http_date(response.headers.get("date", ""))
        if date is not None and _FIRST_YEAR <= date.year < _LAST_YEAR:
            self._dated = date, self._clock.monotonic()
        return Answer(status, received, value)

    def _value(self, status: int, received: str, check: Check | None) -> Any:
        """What the check makes of the body; raises Pleo's refusal, or UnreadableAnswer for what is not Pleo's."""
        if status >= 400:
            raise _refusal(status, decode(received), self.redact)
        if status >= 300:
            raise UnreadableAnswer("a redirect")  # never followed: it would carry the key elsewhere
        return check(decode(received)) if check is not None else None

    def _asked_wait(self, response: httpx.Response) -> float | None:
        return read_retry_after(response.headers.get("retry-after"), response.headers.get("date"), self._clock.now)


def trusted_tls() -> ssl.SSLContext:
    """TLS that verifies whoever answers. Raises PleoConfigurationError when the authorities cannot be read."""
    try:
        return verifying_tls()
    except CannotVerify as error:
        raise PleoConfigurationError(str(error)) from None


def is_http_url(url: str) -> bool:
    """Whether the HTTP library takes this URL."""
    try:
        return bool(httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError):
        return False


def _status_is_enough(status: int) -> bool:
    """Whether the status alone tells what to do, so that a body cut off or without an end changes nothing."""
    return status in {401, 403, 408, 429} or status >= 500


def _refusal(status: int, document: Any, redact: Callable[[str], str]) -> PleoRejected:
    """Pleo's refusal as an error; raises UnreadableAnswer when the document is not Pleo's ExceptionInfo.

    `redact` takes the credentials out of what is quoted, should the server quote what it was sent.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or ":" in kind:  # a URI is the type of RFC 9457, which Pleo does not use
        raise UnreadableAnswer("no ExceptionInfo")
    message = document.get("message")
    text = redact(message) if isinstance(message, str) else ""
    kind = redact(kind)
    name = kind.upper()
    if name == "MISSING_CONTRA_ACCOUNTS":
        return MissingContraAccounts(status, kind, text)
    if name == "EXPORT_ALREADY_IN_PROGRESS":
        return AlreadyInProgress(status, kind, text)
    if name in {"EXPORT_JOB_STATUS_UNPROCESSABLE", "INVALID_EXPORT_JOB_STATUS_CHANGE"}:
        return JobFinished(status, kind, text)
    if status == 404:
        return PleoNotFound(status, kind, text)
    return PleoRejected(status, kind, text)
