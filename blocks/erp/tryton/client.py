"""Calls to a Tryton server: REST with an application key, JSON-RPC with a user's session; every answer classed.

A JSON 400 is Tryton's own refusal (`TrytonRefused`). Everything else that is no readable answer is the server's
trouble: where the call may have changed something its outcome is unknown, and nothing here sends it again.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from blocks.erp.tryton.wire import UnreadableValue, context_header, decode, encode
from blocks.redaction import Redactor
from blocks.text import one_line
from blocks.tls import CannotVerify, tls_problem, verifying_tls

MAX_BODY_BYTES = 64 * 1024 * 1024
_CONNECT_S = 10.0
_MAX_PAUSE_S = 86_400.0
_USER_AGENT = "pleo-export/0.1"

Domain = Sequence[Any]
Row = dict[str, Any]


class TrytonRefused(ErpError):
    """Tryton understood the call and refuses what it asks for; nothing was changed. The message is Tryton's."""


class TrytonForbidden(TrytonRefused):
    """The same without a reason (HTTP 403): rights that the user lacks, or a record that must not be changed."""


class RecordGone(TrytonRefused):
    """The record that was named does not exist, or not any more."""


class TooLarge(TrytonRefused):
    """The server does not take requests of this size (HTTP 413)."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password, which JSON-RPC asks for. Neither is shown when this is printed."""

    user: str = field(repr=False)
    password: str = field(repr=False)


class TrytonClient:
    """One database of one server. `timeout_s` is how long an answer may take, in seconds.

    Raises ErpConfigurationError where the authorities that certificates are verified by cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        database: str,
        key: str,
        login: Login | None = None,
        *,
        timeout_s: float = 50.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.database = database
        self.context: dict[str, Any] = {}
        self.requests_sent = 0
        self._key = key
        self._login = login
        self._session: str | None = None
        self._login_lock = asyncio.Lock()
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            verify=_trusted_tls(),
            transport=transport,
            follow_redirects=False,  # a redirect would carry the key elsewhere
            trust_env=self.base_url.lower().startswith("https:"),
            headers={"accept": "application/json", "accept-language": "en", "user-agent": _USER_AGENT},
        )

    @property
    def can_batch(self) -> bool:
        """Whether many records can be posted in one call, which only JSON-RPC can."""
        return self._login is not None

    async def aclose(self) -> None:
        """Leave the session and close the connections."""
        try:
            if self._session is not None:
                await self._send("/rpc/", _rpc_body("common.db.logout", ()), f"Session {self._session}", changes=False)
        except ErpError:
            pass  # a server that does not hear it forgets the session by itself
        finally:
            self._session = None
            await self._http.aclose()

    async def search(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        order: Sequence[tuple[str, str]] = (("id", "ASC"),),
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Row]:
        """The records of a domain with these fields, dots leading to those of other records (`party.code`).

        A domain travels in the body: an address with a hundred ids is longer than web servers take.
        """
        answer = await self.call(
            model,
            "search_read",
            {
                "domain": domain,
                "fields_names": list(fields),
                "order": order,
                "offset": offset,
                "limit": limit,
            },
            changes=False,
        )
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            raise ErpUnavailable(f"Tryton answered a search of {model} with something else than records")
        return [_nested(row) for row in answer]

    async def search_all(self, model: str, domain: Domain, fields: Sequence[str], *, page: int = 1000) -> list[Row]:
        """As `search`, in pages, each of which goes on after the last id: rows that come and go do no harm."""
        rows: list[Row] = []
        last = 0
        while True:
            found = await self.search(model, [*domain, ["id", ">", last]], fields, limit=page)
            rows += found
            if len(found) < page:
                return rows
            last = max(row["id"] for row in found)

    async def create(self, model: str, values: Sequence[Row]) -> list[int]:
        """Create records in one transaction, all or none; returns their ids in order.

        One alone goes another way, on which Tryton gives its reason for every refusal.
        """
        if len(values) == 1:
            answer = await self._rest(f"/{model}?f=id", values[0], changes=True)
            answer = [answer.get("id")] if isinstance(answer, dict) else None
        else:
            answer = await self.call(model, "create", {"vlist": list(values)})
        ids = [id_ for id_ in answer if isinstance(id_, int)] if isinstance(answer, list) else []
        if len(ids) != len(values):
            raise ErpOutcomeUnknown(f"Tryton answered the creation of {model} with something else than ids")
        return ids

    async def create_large(self, model: str, values: Row) -> int:
        """Create one record of many bytes. Logged in as a user: a stock server takes no more than 2 MiB with a key."""
        if not self.can_batch:
            return (await self.create(model, [values]))[0]
        match await self.rpc(model, "create", [values]):
            case [int(id_)]:
                return id_
            case _:
                raise ErpOutcomeUnknown(f"Tryton answered the creation of {model} with something else than an id")

    async def write(self, model: str, id_: int, values: Row) -> None:
        """Change one record."""
        await self._rest(f"/{model}/{id_}?f=id", values, changes=True, method="PUT")

    async def delete(self, model: str, id_: int) -> None:
        """Delete one record. Raises RecordGone, TrytonRefused."""
        await self._rest(f"/{model}/{id_}", None, changes=True, method="DELETE")

    async def press(self, model: str, id_: int, button: str) -> None:
        """Call a method of one record, such as `post`."""
        await self._rest(f"/{model}/{id_}/{button}?f=id", {}, changes=True)

    async def call(self, model: str, method: str, arguments: Row, *, changes: bool = True) -> Any:
        """Call a method of a model by its named arguments. `changes` tells whether it may change anything."""
        return await self._rest(f"/{model}/{method}", arguments, changes=changes)

    async def rpc(self, model: str, method: str, *arguments: Any, context: Mapping[str, Any] | None = None) -> Any:
        """Call a method by JSON-RPC, logged in as the user. Raises ErpLoginRefused without one."""
        body = _rpc_body(f"model.{model}.{method}", (*arguments, {**self.context, **(context or {})}))
        session = await self._logged_in(None)
        try:
            status, answer = await self._send("/rpc/", body, f"Session {session}", changes=True)
        except ErpLoginRefused:  # a session ends by itself after some minutes; what was asked was not done
            session = await self._logged_in(session)
            status, answer = await self._send("/rpc/", body, f"Session {session}", changes=True)
        return self._rpc_result(status, answer)

    async def log_in(self) -> None:
        """Open the user's session, if there is a user. Raises ErpLoginRefused, ErpRateLimited."""
        if self._login is not None:
            await self._logged_in(None)

    async def _logged_in(self, ended: str | None) -> str:
        """The session to use; a new one where there is none, or `ended` was the last."""
        if self._login is None:
            raise ErpLoginRefused("this call needs a user and a password, and the settings have none")
        async with self._login_lock:
            if self._session is not None and self._session != ended:
                return self._session
            self._session = None
            parameters = (self._login.user, {"password": self._login.password}, "en")
            body = _rpc_body("common.db.login", parameters)
            try:
                status, answer = await self._send("/rpc/", body, None, changes=False)
            except ErpLoginRefused:
                raise ErpLoginRefused(
                    f"Tryton refused the user name or the password for database {self.database}: check both in the "
                    "settings, or leave both out"
                ) from None
            match self._rpc_result(status, answer):
                case [int(user_id), str(token), *_]:
                    text = f"{self._login.user}:{user_id}:{token}"
                    self._session = base64.b64encode(text.encode()).decode("ascii")
                    return self._session
                case _:
                    raise ErpUnavailable("Tryton answered the login with something else than a session")

    def _rpc_result(self, status: int, answer: Any) -> Any:
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise ErpOutcomeUnknown(f"Tryton gave no JSON-RPC answer (HTTP {status})")
        error = answer.get("error")
        match error:
            case None:
                return answer.get("result")
            case ["UserError" | "UserWarning" as kind, [*texts], *_]:
                shown = texts[1:] if kind == "UserWarning" else texts
                raise TrytonRefused(self._hide(_readable(*shown[:2])))
            case ["ConcurrencyException", *_]:
                raise TrytonRefused("the record was changed meanwhile")
            case _:
                raise ErpOutcomeUnknown(f"Tryton met an error of its own: {self._hide(_readable(str(error)))}")

    async def _rest(self, path: str, body: Any, *, changes: bool, method: str = "POST") -> Any:
        status, answer = await self._send(
            f"/rest/model{path}", body, f"Bearer {self._key}", changes=changes, method=method
        )
        if status == 400:
            if isinstance(answer, dict) and isinstance(answer.get("message"), str):
                raise TrytonRefused(self._hide(_readable(answer["message"], answer.get("description"))))
            raise self._no_answer(f"HTTP 400 without a reason on {path.split('?')[0]}", changes)
        return answer

    async def _send(
        self, path: str, body: Any, authorization: str | None, *, changes: bool, method: str = "POST"
    ) -> tuple[int, Any]:
        """One request; its status (below 300, or 400) and decoded document. Raises for every other answer."""
        headers = {"x-tryton-context": context_header(self.context)} if path.startswith("/rest/") else {}
        if authorization is not None:
            headers["authorization"] = authorization
        if body is not None:
            headers["content-type"] = "application/json"
        content = None if body is None else encode(body)
        url = f"{self.base_url}/{self.database}{path}"
        self.requests_sent += 1
        try:
            async with self._http.stream(method, url, content=content, headers=headers) as response:
                received = await _read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            problem = tls_problem(error)
            if problem is not None:
                raise ErpConfigurationError(
                    f"{self.base_url} cannot prove that it is Tryton ({one_line(problem, 120)}), so nothing was sent: "
                    "check the address; an authority of your own is named by SSL_CERT_FILE"
                ) from None
            why = one_line(self._hide(one_line(str(error), 4000)), 120) or type(error).__name__
            raise ErpUnavailable(f"no Tryton answers at {self.base_url} ({why})") from None
        except httpx.LocalProtocolError:  # its text quotes the header that was refused
            raise ErpUnavailable(f"the request to {self.base_url} could not be put on the wire") from None
        except httpx.RequestError as error:
            raise self._no_answer(f"no answer ({type(error).__name__})", changes) from None
        return response.status_code, self._understood(response, received, changes)

    def _understood(self, response: httpx.Response, received: bytes | None, changes: bool) -> Any:
        status = response.status_code
        match status:
            case 401:
                raise ErpLoginRefused(
                    f"Tryton refused the application key for database {self.database} (HTTP 401): check the key, and "
                    "that it is validated in the user's preferences"
                )
            case 403:
                raise TrytonForbidden("Tryton does not allow it, and gives no reason (HTTP 403)")
            case 404 | 410:
                raise RecordGone(f"{self.base_url} has nothing there (HTTP {status})")
            case 413:
                raise TooLarge("the request is larger than the server takes (HTTP 413)")
            case 429:
                raise ErpRateLimited("Tryton asks for fewer calls (HTTP 429)", _pause(response))
            case _ if not (200 <= status < 300 or status == 400):
                raise self._no_answer(f"HTTP {status}", changes)
        if received is None:
            raise self._no_answer(f"an answer over {MAX_BODY_BYTES} bytes", changes)
        if not received.strip():
            return None
        try:
            return decode(received)
        except UnreadableValue:
            raise self._no_answer(f"an answer that cannot be read (HTTP {status})", changes) from None

    def _hide(self, text: str) -> str:
        """The text without what we log in with, should anybody quote it."""
        return Redactor((self._key, self._login.password if self._login is not None else "", self._session or ""))(text)

    def _no_answer(self, why: str, changes: bool) -> ErpError:
        text = f"Tryton at {self.base_url}: {why}"
        return ErpOutcomeUnknown(text) if changes else ErpUnavailable(text)


def _trusted_tls() -> ssl.SSLContext:
    try:
        return verifying_tls()
    except CannotVerify as error:
        raise ErpConfigurationError(str(error)) from None


def is_http_url(url: str) -> bool:
    """Whether the HTTP library takes this address."""
    try:
        return bool(httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError):
        return False


def not_tryton(base_url: str, database: str) -> ErpConfigurationError:
    """What a 404 on everything means."""
    return ErpConfigurationError(
        f"{base_url} has no database {database} for us, or is no Tryton: check the address and the database's name",
        ConfigurationProblem.INVALID,
    )


def _rpc_body(method: str, parameters: Sequence[Any]) -> Mapping[str, Any]:
    return {"id": 0, "method": method, "params": list(parameters)}


def _nested(row: Row) -> Row:
    """A row with `party.` as `party`: Tryton marks with a dot what it has read of other records."""
    found: Row = {}
    for name, value in row.items():
        if name.endswith(".") and isinstance(value, dict):
            found[name[:-1]] = _nested(value)
        elif name.endswith(".") and isinstance(value, list):
            found[name[:-1]] = [_nested(one) if isinstance(one, dict) else one for one in value]
        else:
            found.setdefault(name.removesuffix("."), value)
    return found


def _readable(*texts: Any) -> str:
    """Tryton's words for people, as one line."""
    return one_line(" ".join(text for text in texts if isinstance(text, str) and text), 300) or "no reason given"


def _pause(response: httpx.Response) -> float | None:
    """The seconds that the server asks us to wait, where it says so in a way that can be read."""
    text = response.headers.get("retry-after", "").strip()
    return min(float(text), _MAX_PAUSE_S) if text.isascii() and text.isdigit() else None


async def _read(response: httpx.Response) -> bytes | None:
    """The whole body, or None when it is larger than we take."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
