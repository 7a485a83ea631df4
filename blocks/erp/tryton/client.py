"""Calls to a Tryton server: REST with an application key, JSON-RPC with a user's session.

A JSON 400 is Tryton's own refusal, and so are some errors of JSON-RPC, which come inside of HTTP 200. Decimals, dates
and bytes travel as objects that name their class.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from blocks.erp.errors import ErpError, ErpLoginRefused, ErpOutcomeUnknown, ErpUnavailable
from blocks.erp.remote.calls import (
    Answer,
    Call,
    KeyLogin,
    Meaning,
    NotThere,
    SessionLogin,
    Verdict,
    read_by_status,
)
from blocks.erp.remote.client import RemoteClient, Transport
from blocks.erp.remote.pages import all_rows, pages_after_key
from blocks.text import one_line

Domain = Sequence[Any]
Row = dict[str, Any]


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
        transport: Transport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.database = database
        self.context: dict[str, Any] = {}
        self._login = login
        secrets = (key, login.password if login is not None else "")
        self._session = SessionLogin(self._log_in, *secrets)
        self._nobody = KeyLogin({}, *secrets)
        self._remote = RemoteClient(
            self.base_url,
            system="Tryton",
            login=KeyLogin({"authorization": f"Bearer {key}"}, *secrets),
            read=self._read_rest,
            timeout_s=timeout_s,
            not_there=f"{self.base_url} has no database {database} for us, or is no Tryton: check the address and the "
            "database's name",
            headers={"accept-language": "en"},
            transport=transport,
        )

    @property
    def requests_sent(self) -> int:
        """How many requests went out."""
        return self._remote.requests_sent

    @property
    def can_batch(self) -> bool:
        """Whether many records can be posted in one call, which only JSON-RPC can."""
        return self._login is not None

    async def aclose(self) -> None:
        """Leave the session and close the connections."""
        try:
            if self._session.is_open:
                await self._remote.send(self._rpc_call("common.db.logout"), read=_read_rpc, login=self._session)
        except ErpError:
            pass  # a server that does not hear it forgets the session by itself
        finally:
            await self._remote.aclose()

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
        arguments = {"domain": domain, "fields_names": list(fields), "order": order, "offset": offset, "limit": limit}
        try:
            answer = await self.call(model, "search_read", arguments, changes=False)
        except NotThere as error:  # no search names a record: it is the database that went away
            raise ErpUnavailable(str(error)) from None
        if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
            raise ErpUnavailable(f"Tryton answered a search of {model} with something else than records")
        return [_nested(row) for row in answer]

    async def search_all(self, model: str, domain: Domain, fields: Sequence[str], *, page: int = 1000) -> list[Row]:
        """As `search`, in pages that go on after the last id."""

        async def read(last: int) -> Sequence[Row]:
            return await self.search(model, [*domain, ["id", ">", last]], fields, limit=page)

        return await all_rows(pages_after_key(read, lambda row: row["id"], size=page))

    async def create(self, model: str, values: Sequence[Row]) -> list[int]:
        """Create records in one transaction, all or none; returns their ids in order.

        One alone goes another way, on which Tryton gives its reason for every refusal.
        """
        if len(values) == 1:
            answer = await self._rest(f"/{model}?f=id", values[0])
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
        await self._rest(f"/{model}/{id_}?f=id", values, method="PUT")

    async def delete(self, model: str, id_: int) -> None:
        """Delete one record. Raises NotThere, CallRefused."""
        await self._rest(f"/{model}/{id_}", None, method="DELETE")

    async def press(self, model: str, id_: int, button: str) -> None:
        """Call a method of one record, such as `post`."""
        await self._rest(f"/{model}/{id_}/{button}?f=id", {})

    async def call(self, model: str, method: str, arguments: Row, *, changes: bool = True) -> Any:
        """Call a method of a model by its named arguments. `changes` tells whether it may change anything."""
        return await self._rest(f"/{model}/{method}", arguments, changes=changes)

    async def rpc(self, model: str, method: str, *arguments: Any, context: Mapping[str, Any] | None = None) -> Any:
        """Call a method by JSON-RPC, logged in as the user. Raises ErpLoginRefused without one."""
        call = self._rpc_call(f"model.{model}.{method}", *arguments, {**self.context, **(context or {})}, changes=True)
        return await self._remote.send(call, read=_read_rpc, login=self._session)

    async def log_in(self) -> None:
        """Open the user's session, if there is a user. Raises ErpLoginRefused, ErpRateLimited."""
        if self._login is not None:
            await self._session.headers()

    async def _log_in(self) -> Mapping[str, str]:
        if self._login is None:
            raise ErpLoginRefused("this call needs a user and a password, and the settings have none")
        call = self._rpc_call("common.db.login", self._login.user, {"password": self._login.password}, "en")
        try:
            answer = await self._remote.send(call, read=_read_rpc, login=self._nobody)
        except ErpLoginRefused:
            raise ErpLoginRefused(
                f"Tryton refused the user name or the password for database {self.database}: check both in the "
                "settings, or leave both out"
            ) from None
        match answer:
            case [int(user_id), str(token), *_]:
                text = f"{self._login.user}:{user_id}:{token}"
                return {"authorization": f"Session {base64.b64encode(text.encode()).decode('ascii')}"}
            case _:
                raise ErpUnavailable("Tryton answered the login with something else than a session")

    async def _rest(self, path: str, body: Any, *, changes: bool = True, method: str = "POST") -> Any:
        headers = {"x-tryton-context": context_header(self.context)}
        content = None if body is None else encode(body)
        return await self._remote.send(Call(f"/{self.database}/rest/model{path}", content, method, headers, changes))

    def _rpc_call(self, method: str, *parameters: Any, changes: bool = False) -> Call:
        content = encode({"id": 0, "method": method, "params": list(parameters)})
        return Call(f"/{self.database}/rpc/", content, changes=changes)

    def _read_rest(self, answer: Answer) -> Verdict:
        if answer.status == 401:
            return Verdict(
                Meaning.LOGIN,
                f"Tryton refused the application key for database {self.database} (HTTP 401): check the key, and that "
                "it is validated in the user's preferences",
            )
        if answer.status != 400:
            return _read(answer)
        match _document(answer):
            case {"message": str(message), **more}:
                return Verdict(Meaning.REFUSED, _readable(message, more.get("description")))
            case _:
                return Verdict(Meaning.TROUBLE, "no reason for a refusal")


def _read(answer: Answer) -> Verdict:
    """By its status, and Tryton's own JSON where it is a success."""
    if not 200 <= answer.status < 300:
        return read_by_status(answer)
    try:
        return Verdict(Meaning.DONE, document=decode(answer.body) if answer.body.strip() else None)
    except UnreadableValue:
        return Verdict(Meaning.FOREIGN)


def _read_rpc(answer: Answer) -> Verdict:
    verdict = _read(answer)
    if verdict.meaning is not Meaning.DONE:
        return verdict
    match verdict.document:
        case {"error": ["UserError" | "UserWarning" as kind, [*texts], *_]}:
            shown = texts[1:] if kind == "UserWarning" else texts
            return Verdict(Meaning.REFUSED, _readable(*shown[:2]))
        case {"error": ["ConcurrencyException", *_]}:
            return Verdict(Meaning.REFUSED, "the record was changed meanwhile")
        case {"error": error} if error is not None:
            return Verdict(Meaning.TROUBLE, f"an error of its own: {_readable(str(error))}")
        case {"result": result}:
            return Verdict(Meaning.DONE, document=result)
        case {"error": None}:
            return Verdict(Meaning.DONE)
        case _:
            return Verdict(Meaning.FOREIGN, "no JSON-RPC answer")


def _document(answer: Answer) -> Any:
    try:
        return decode(answer.body)
    except UnreadableValue:
        return None


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
    return one_line(" ".join(text for text in texts if isinstance(text, str) and text), 4000) or "no reason given"


class UnreadableValue(ValueError):
    """A document that is not JSON as Tryton writes it."""


def encode(document: Any) -> bytes:
    """A document for Tryton. Raises TypeError for values that it has no form for."""
    return json.dumps(document, default=_typed, ensure_ascii=True, separators=(",", ":")).encode()


def decode(text: bytes) -> Any:
    """A document of Tryton's with decimals, dates and times (aware, UTC) as Python has them. Raises UnreadableValue."""
    try:
        return json.loads(text, object_hook=_untyped)
    except (ValueError, TypeError, KeyError, OverflowError, InvalidOperation, RecursionError) as error:
        raise UnreadableValue(f"no JSON of Tryton's ({type(error).__name__})") from error


def context_header(context: dict[str, Any]) -> str:
    """A context as the header `X-Tryton-Context` takes it."""
    return base64.urlsafe_b64encode(encode(context)).decode("ascii")


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
        case date() if not isinstance(value, datetime):
            return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        case bytes():
            return {"__class__": "bytes", "base64": base64.b64encode(value).decode("ascii")}
        case _:
            raise TypeError(f"Tryton's JSON has no form for {type(value).__name__}")


def _untyped(value: dict[str, Any]) -> Any:
    kind = value.get("__class__")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    return reader(value) if reader is not None else value


_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Decimal": lambda value: Decimal(value["decimal"]),
    "date": lambda value: date(**{part: value[part] for part in _PARTS[:3]}),
    "datetime": lambda value: datetime(**{part: value[part] for part in _PARTS}, tzinfo=UTC),
    "bytes": lambda value: base64.b64decode(value["base64"]),
}
