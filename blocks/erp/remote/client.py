"""HTTP to one accounting system: one request at a time with its class of outcome, at the system's pace.

What it promises: nothing that may have changed something is ever sent twice, but for a call that was refused its login
or asked for a pause, which did nothing; every answer that cannot be read is told as what it may hide; no message shows
what we log in with; no redirect is followed; a body is read up to a bound.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from blocks.erp.errors import (
    ConfigurationProblem,
    ErpConfigurationError,
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
)
from blocks.erp.remote.calls import (
    Answer,
    Call,
    CallRefused,
    KeyLogin,
    Login,
    Meaning,
    NotAllowed,
    NotThere,
    Read,
    TooLarge,
    Verdict,
    note_write,
    read_by_status,
)
from blocks.erp.remote.pacing import Clock, Pace, Pacer, Sleep, asked_pause
from blocks.redaction import Redactor
from blocks.text import one_line
from blocks.tls import CannotVerify, tls_problem, verifying_tls

Transport = httpx.AsyncBaseTransport
"""What carries the requests: the HTTP library's own, or what a test puts in its place."""

MAX_BODY_BYTES = 64 * 1024 * 1024
MOST_PAUSES = 3
"""How often one call waits for a pause that the server asks for, each no longer than the pace has patience for."""

_CONNECT_S = 10.0
_USER_AGENT = "pleo-export/0.1"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_REFUSALS: Mapping[Meaning, tuple[type[CallRefused], str]] = {
    Meaning.REFUSED: (CallRefused, "{system} refuses it, and gives no reason (HTTP {status})"),
    Meaning.NOT_ALLOWED: (NotAllowed, "{system} does not allow it, and gives no reason (HTTP {status})"),
    Meaning.NOT_THERE: (NotThere, "{url} has nothing there (HTTP {status})"),
    Meaning.TOO_LARGE: (TooLarge, "the request is larger than {system} takes (HTTP {status})"),
}


class RemoteClient:
    """Calls to the server at `base_url`; `system` is its name for people.

    `timeout_s` is how long an answer may take, in seconds. `read` is how its answers are read, `login` what it is
    entered with, where a call says nothing else. Until something at the address has answered as this system does, an
    answer that is not one of its own means a wrong address, for which `not_there` is the sentence. Raises
    ErpConfigurationError where the authorities that certificates are verified by cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        *,
        system: str,
        login: Login | None = None,
        read: Read = read_by_status,
        pace: Pace | None = None,
        timeout_s: float = 50.0,
        not_there: str = "",
        headers: Mapping[str, str] | None = None,
        transport: Transport | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.system = system
        self.requests_sent = 0
        self._login: Login = login or KeyLogin({})
        self._read = read
        self._pace = pace or Pace()
        self._pacer = Pacer(self._pace, clock=clock, sleep=sleep)
        self._known = False
        self._not_there = not_there or f"{self.base_url} has no {system} for us: check the address in the settings"
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S, pool=None),
            verify=_trusted_tls(),
            transport=transport,
            follow_redirects=False,  # a redirect would carry the key elsewhere
            trust_env=self.base_url.lower().startswith("https:"),
            headers={"accept": "application/json", "user-agent": _USER_AGENT, **(headers or {})},
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call, *, read: Read | None = None, login: Login | None = None) -> Any:
        """The document that a call is answered with.

        Raises CallRefused and its kinds, ErpLoginRefused, ErpRateLimited and ErpConfigurationError, all of which say
        that nothing was changed; ErpOutcomeUnknown for a call that `changes`, ErpUnavailable for one that reads, where
        there was no answer to rely on.
        """
        entered = login or self._login
        authorization = await entered.headers()
        try:
            return await self._patiently(call, authorization, read or self._read, entered)
        except ErpLoginRefused:
            renewed = await entered.renewed(authorization)
            if renewed is None:
                raise
        return await self._patiently(call, renewed, read or self._read, entered)

    async def _patiently(self, call: Call, authorization: Mapping[str, str], read: Read, login: Login) -> Any:
        for pauses in range(MOST_PAUSES + 1):
            try:
                return await self._once(call, authorization, read, login)
            except ErpRateLimited as error:
                pause = error.clears_in_s
                if pause is None or pause > self._pace.patience_s or pauses == MOST_PAUSES:
                    raise
                self._pacer.hold(pause)
        raise AssertionError("the last pause raises")

    async def _once(self, call: Call, authorization: Mapping[str, str], read: Read, login: Login) -> Any:
        def hide(text: str) -> str:
            return Redactor(login.secrets)(text)  # a session's secrets change

        async with self._pacer.place():
            answer = await self._exchange(call, authorization, hide)
        if answer is None:
            raise self._no_answer(f"an answer over {MAX_BODY_BYTES} bytes", call)
        self._pacer.heed(answer.headers)
        verdict = read(answer)
        if verdict.meaning in {Meaning.DONE, Meaning.REFUSED}:
            self._known = True
        if verdict.meaning is Meaning.DONE:
            if call.changes:
                note_write()
            return verdict.document
        raise self._error(call, answer, verdict, one_line(hide(one_line(verdict.text, 4000)), 300))

    async def _exchange(
        self, call: Call, authorization: Mapping[str, str], hide: Callable[[str], str]
    ) -> Answer | None:
        """One request and its answer; None where that is larger than we take."""
        headers = {**call.headers, **authorization}
        if call.content is not None:
            headers.setdefault("content-type", "application/json")
        self.requests_sent += 1
        try:
            async with self._http.stream(
                call.method, f"{self.base_url}{call.path}", content=call.content, headers=headers
            ) as response:
                body = await _read_body(response)
        except _NEVER_SENT as error:
            problem = tls_problem(error)
            if problem is not None:
                raise ErpConfigurationError(
                    f"{self.base_url} cannot prove that it is {self.system} ({one_line(problem, 120)}), so nothing was "
                    "sent: check the address; an authority of your own is named by SSL_CERT_FILE"
                ) from None
            why = one_line(hide(one_line(str(error), 4000)), 120) or type(error).__name__
            raise ErpUnavailable(f"no {self.system} answers at {self.base_url} ({why})") from None
        except httpx.LocalProtocolError:  # its text quotes the header that was refused
            raise ErpUnavailable(f"the request to {self.base_url} could not be put on the wire") from None
        except httpx.RequestError as error:
            raise self._no_answer(f"no answer ({type(error).__name__})", call) from None
        if body is None:
            return None
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    def _error(self, call: Call, answer: Answer, verdict: Verdict, text: str) -> ErpError:
        status = answer.status
        if not self._known and verdict.meaning in {Meaning.FOREIGN, Meaning.NOT_THERE}:
            return ErpConfigurationError(self._not_there)
        match verdict.meaning:
            case Meaning.LOGIN:
                return ErpLoginRefused(text or f"{self.system} refused the login (HTTP {status}): check the key")
            case Meaning.SLOW_DOWN:
                return ErpRateLimited(
                    text or f"{self.system} asks for fewer calls (HTTP {status})", asked_pause(answer.headers)
                )
            case Meaning.SET_UP:
                return ErpConfigurationError(
                    text or f"{self.system} cannot be used as set up", ConfigurationProblem.INVALID
                )
            case Meaning.FOREIGN | Meaning.TROUBLE | Meaning.DONE:
                why = "an answer that cannot be read" if verdict.meaning is Meaning.FOREIGN else "trouble of its own"
                return self._no_answer(f"{text or why} (HTTP {status})", call)
        kind, usual = _REFUSALS[verdict.meaning]
        return kind(text or usual.format(system=self.system, url=self.base_url, status=status))

    def _no_answer(self, why: str, call: Call) -> ErpError:
        text = f"{self.system} at {self.base_url}: {why}"
        if not call.changes:
            return ErpUnavailable(text)
        note_write()
        return ErpOutcomeUnknown(text)


def is_http_url(url: str) -> bool:
    """Whether the HTTP library takes this address."""
    try:
        return bool(httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError):
        return False


def _trusted_tls() -> ssl.SSLContext:
    try:
        return verifying_tls()
    except CannotVerify as error:
        raise ErpConfigurationError(str(error)) from None


async def _read_body(response: httpx.Response) -> bytes | None:
    """The whole body, or None when it is larger than we take."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
