"""The token endpoint: a code or a refresh token goes in, a new pair of tokens comes out.

Both are good once, so what matters is whether a request can have arrived. It is sent again only where it cannot (no
connection came about) or did nothing for sure (429). Everything else that is no readable answer is `TokensUnknown`.
"""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeGuard
from urllib.parse import quote_plus

import httpx

from blocks.pleo.errors import NotTrusted
from blocks.pleo.http.retries import read_retry_after, wait_s
from blocks.pleo.http.transport import trusted_tls
from blocks.redaction import Redactor
from blocks.text import one_line
from blocks.tls import tls_problem

ANSWER_TIMEOUT_S = 30.0
MAX_TRIES = 4
Sleep = Callable[[float], Awaitable[None]]

_MAX_BODY_BYTES = 64 * 1024
_LONGEST_LIFE_S = 366 * 86400.0
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.LocalProtocolError, httpx.ProxyError)


class ClientAuth(StrEnum):
    """How this program shows who it is when it asks for tokens."""

    PARAMETERS = "parameters"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Registration:
    """What Pleo knows this program as, and where its tokens come from. Without a secret it is a public client."""

    client_id: str
    client_secret: str | None = field(repr=False)
    client_auth: ClientAuth
    authorization_server: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        if self.client_secret is None:
            return ()
        return (self.client_secret, self._basic(self.client_secret))

    def fields(self) -> dict[str, str]:
        """The part of the form that says who we are."""
        if self.client_secret is None:
            return {"client_id": self.client_id}
        if self.client_auth is ClientAuth.HEADER:
            return {}
        return {"client_id": self.client_id, "client_secret": self.client_secret}

    def headers(self) -> dict[str, str]:
        """The headers that say who we are."""
        if self.client_secret is None or self.client_auth is not ClientAuth.HEADER:
            return {}
        return {"authorization": f"Basic {self._basic(self.client_secret)}"}

    def _basic(self, secret: str) -> str:
        return b64encode(f"{quote_plus(self.client_id)}:{quote_plus(secret)}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token, the refresh token that replaces both, and for how many seconds the former is good, if told."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_in_s: float | None = None


class TokensRefused(Exception):
    """The authorisation server said no. The message is one line without secrets."""


class TokensNotAsked(Exception):
    """The request never arrived, or was not carried out for sure: what it held is as good as before."""


class TokensUnknown(Exception):
    """The request may have been carried out, and no tokens came back."""


async def exchange(registration: Registration, code: str, verifier: str, redirect_uri: str) -> Tokens:
    """The tokens for a code. Raises TokensRefused, TokensNotAsked, TokensUnknown, or PleoConfigurationError."""
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return await _ask(registration, fields, (code, verifier))


async def renew(registration: Registration, refresh_token: str, sleep: Sleep = asyncio.sleep) -> Tokens:
    """The next pair of tokens. Raises TokensRefused, TokensNotAsked, TokensUnknown, or PleoConfigurationError."""
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return await _ask(registration, fields, (refresh_token,), refresh=refresh_token, sleep=sleep)


async def _ask(
    registration: Registration,
    fields: dict[str, str],
    secrets: tuple[str, ...],
    *,
    refresh: str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Tokens:
    url = f"{registration.authorization_server}/oauth/token"
    hide = Redactor((*secrets, *registration.secrets))
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=10.0),
        verify=trusted_tls(),
        follow_redirects=False,
        trust_env=url.lower().startswith("https:"),
    ) as client:
        for tries in range(1, MAX_TRIES + 1):
            retry_after_s = None
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    response = await _post(client, url, registration, fields)
            except _NOT_SENT as error:
                if (problem := tls_problem(error)) is not None:
                    server = registration.authorization_server
                    raise NotTrusted(
                        f"{server} cannot prove that it is Pleo's ({one_line(problem, 120)}): check its address"
                    ) from None
                why = f"no connection to {registration.authorization_server} ({type(error).__name__})"
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise TokensUnknown(f"no answer from {registration.authorization_server} ({_name(error)})") from None
            else:
                if response.status_code != 429:
                    return _tokens(response, hide, refresh)
                why = "HTTP 429, too many requests"
                headers = response.headers
                retry_after_s = read_retry_after(headers.get("retry-after"), headers.get("date"), _now)
            if tries < MAX_TRIES:
                limited = why.startswith("HTTP 429")
                jitter = random.random
                await sleep(wait_s(tries, rate_limited=limited, retry_after_s=retry_after_s, jitter=jitter))
        raise TokensNotAsked(f"{why}, after {MAX_TRIES} tries")


async def _post(
    client: httpx.AsyncClient, url: str, registration: Registration, fields: dict[str, str]
) -> httpx.Response:
    """The answer with as much of its body as an answer of tokens can have."""
    headers = {"accept": "application/json", "connection": "close", **registration.headers()}  # a used one may be dead
    async with client.stream("POST", url, data={**fields, **registration.fields()}, headers=headers) as response:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > _MAX_BODY_BYTES:
                break
        return httpx.Response(response.status_code, headers=_plain(response.headers), content=body)


def _plain(headers: httpx.Headers) -> list[tuple[str, str]]:
    """The headers of a body that is here already, as it came."""
    kept = {"retry-after", "date"}
    return [(name, value) for name, value in headers.items() if name in kept]


def _tokens(response: httpx.Response, hide: Redactor, refresh: str | None) -> Tokens:
    status = response.status_code
    document = _document(response.content)
    if 300 <= status < 500 and status != 408:
        said = _said(document, hide)
        raise TokensRefused(f"HTTP {status}{', ' + said if said else ': this is not how a token endpoint answers'}")
    if status != 200:
        raise TokensUnknown(f"HTTP {status}")
    access, next_refresh = document.get("access_token"), document.get("refresh_token", refresh)
    kind = document.get("token_type", "Bearer")
    bearer = isinstance(kind, str) and kind.lower() == "bearer"
    if not _usable(access) or not _usable(next_refresh) or not bearer:
        raise TokensUnknown("an answer without tokens that can be used")
    return Tokens(access, next_refresh, _life_s(document.get("expires_in")))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _said(document: dict[str, Any], hide: Redactor) -> str:
    """The error in the server's words, RFC 6749's code first."""
    texts = [document.get(name) for name in ("error", "error_description")]
    said = ": ".join(text for text in texts if isinstance(text, str) and text)
    return one_line(hide(said), 200)


def _usable(token: object) -> TypeGuard[str]:
    return isinstance(token, str) and 0 < len(token) <= 16_384 and token.isascii() and token.isprintable()


def _life_s(value: object) -> float | None:
    """Seconds as a number or its digits; None for what makes no sense, which is as good as not being told."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_LIFE_S:
        return None
    return float(value)


def _name(error: Exception) -> str:
    return "timeout" if isinstance(error, TimeoutError | httpx.TimeoutException) else type(error).__name__


def _now() -> datetime:
    return datetime.now(UTC)
