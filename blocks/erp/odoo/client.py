"""Calls to one Odoo database: by JSON-2 where there is it (19 and later), else by XML-RPC's `execute_kw`.

What an answer means is told from the *name* of the error (JSON-2) or the number of the fault (XML-RPC), never from its
text, which follows the user's language. A fault of number 1 and an answer of 500 are trouble of the server's own: their
text is a traceback, which nobody is shown.
"""

from __future__ import annotations

import json
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree

from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError, ErpLoginRefused
from blocks.erp.remote.calls import Answer, Call, KeyLogin, Meaning, Verdict, read_by_status
from blocks.erp.remote.client import RemoteClient
from blocks.text import one_line

Row = dict[str, Any]
OLDEST, NEWEST = 16, 19
FIRST_WITH_JSON = 19

_BUSINESS = frozenset({"UserError", "ValidationError", "RedirectWarning", "LockError"})
_RIGHTS = frozenset({"AccessError", "AccessDenied"})
_NOTHING = "cannot marshal None unless allow_none is enabled"
"""Where Odoo stumbles over a method that returns nothing, after it was carried out: Python's own words."""
_FAULTS = {2: Meaning.REFUSED, 3: Meaning.LOGIN, 4: Meaning.NOT_ALLOWED}


class Protocol(StrEnum):
    """How Odoo is talked to. AUTO: by JSON-2 where the server's version has it."""

    AUTO = "auto"
    JSON2 = "json2"
    XMLRPC = "xmlrpc"


class OdooClient:
    """Calls as one user, whose key is sent in place of a password. `timeout_s` is how long an answer may take."""

    def __init__(
        self,
        base_url: str,
        database: str,
        user: str,
        key: str,
        *,
        protocol: Protocol = Protocol.AUTO,
        timeout_s: float = 50.0,
    ) -> None:
        self.database = database
        self.version = 0
        self.context: Mapping[str, Any] = {}
        """What goes with every call: the company, the user's language."""
        self._user = user
        self._key = key
        self._protocol = protocol
        self._uid = 0
        headers = {"authorization": f"bearer {key}", "x-odoo-database": database}
        self._json_login = KeyLogin(headers, key)
        self._http = RemoteClient(
            base_url, system="Odoo", login=KeyLogin({}, key), read=_read_json, timeout_s=timeout_s
        )

    @property
    def base_url(self) -> str:
        """The address, without a slash at its end."""
        return self._http.base_url

    @property
    def requests_sent(self) -> int:
        """How many there were."""
        return self._http.requests_sent

    @property
    def by_json(self) -> bool:
        """Whether JSON-2 is used, once `look` has found that out."""
        return self._protocol is Protocol.JSON2

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def look(self) -> int:
        """Which version answers there, and by which protocol it is talked to from now on.

        Raises ErpConfigurationError for an address without an Odoo, or with one that is too old or too new.
        """
        call = Call("/web/webclient/version_info", b"{}", changes=False)
        document = await self._http.send(call, read=_read_version)
        found = document["server_version_info"]
        self.version = int(str(found[0]).rpartition("~")[2].partition(".")[0])  # "saas~18" on odoo.com
        if not OLDEST <= self.version <= NEWEST:
            raise ErpConfigurationError(
                f"{self.base_url} is Odoo {self.version}, and this export books into Odoo {OLDEST} to {NEWEST}",
                ConfigurationProblem.INVALID,
            )
        if self._protocol is Protocol.AUTO:
            self._protocol = Protocol.JSON2 if self.version >= FIRST_WITH_JSON else Protocol.XMLRPC
        if not self.by_json:
            await self._authenticate()
        return self.version

    async def call(
        self,
        model: str,
        method: str,
        ids: Sequence[int] | None = None,
        *,
        changes: bool,
        context: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Any:
        """What a method of a model returns, numbers with a point as Decimal. One call is one transaction.

        `ids` are the records that it is called on. Raises as `RemoteClient.send`.
        """
        if self._protocol is Protocol.AUTO:
            await self.look()
        sent = {**self.context, **(context or {})}
        if self.by_json:
            body: Row = {**arguments, "context": sent}
            if ids is not None:
                body["ids"] = list(ids)
            call = Call(f"/json/2/{model}/{method}", json.dumps(body).encode(), changes=changes)
            return await self._http.send(call, login=self._json_login)
        if not self._uid:
            await self._authenticate()
        positional = [] if ids is None else [list(ids)]
        given = [self.database, self._uid, self._key, model, method, positional, {**arguments, "context": sent}]
        return await self._http.send(_xml_call("object", "execute_kw", given, changes=changes), read=read_xml)

    async def who(self) -> Row:
        """The preferences of the key's user. Raises ErpConfigurationError where there is no such database."""
        told: Row
        if self.by_json:
            call = Call("/json/2/res.users/context_get", b"{}", changes=False)
            told = await self._http.send(call, read=_read_first, login=self._json_login)
        else:
            told = await self.call("res.users", "context_get", changes=False)
        return told

    async def search_read(
        self,
        model: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        *,
        order: str = "id",
        context: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> list[Row]:
        """The rows of a model that a domain finds. A relation to one record is its id, or False: a name beside each,
        which Odoo would give unasked, takes it more time than the rows themselves."""
        given: Row = {"domain": list(domain), "fields": list(fields), "order": order, "load": "", **more}
        rows: list[Row] = await self.call(model, "search_read", changes=False, context=context, **given)
        return rows

    async def _authenticate(self) -> None:
        """Whose key this is, which XML-RPC wants to know by its number."""
        given = [self.database, self._user, self._key, {}]
        read = _read_authentication
        uid = await self._http.send(_xml_call("common", "authenticate", given, changes=False), read=read)
        if not uid:
            raise ErpLoginRefused(LOGIN_TEXT)
        self._uid = uid


LOGIN_TEXT = (
    "Odoo does not take the key, as it is wrong, was removed or has expired: make a new one in Odoo (the user's "
    "Preferences, Account Security, New API Key)"
)
_NO_DATABASE = "Odoo answers, but has no such database: check its name in the settings"


def read_error(answer: Answer) -> tuple[str, str] | None:
    """The name of an error without its module, and its message; None where the answer is none of Odoo's."""
    try:
        document = answer.document()
    except ValueError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        return None
    return document["name"].rpartition(".")[2], str(document.get("message") or "")


def _read_json(answer: Answer) -> Verdict:
    if answer.status < 400:
        return read_by_status(answer)
    if answer.status in {413, 429}:
        return read_by_status(answer)
    error = read_error(answer)
    if error is None:
        if answer.status == 401:
            return Verdict(Meaning.LOGIN, LOGIN_TEXT)
        if answer.status == 404:  # of Odoo's own for a database that is not there; a proxy's is no better
            return Verdict(Meaning.FOREIGN, _NO_DATABASE)
        return Verdict(Meaning.TROUBLE)
    name, message = error
    if answer.status == 401:
        return Verdict(Meaning.LOGIN, LOGIN_TEXT)
    if name in _RIGHTS:
        return Verdict(Meaning.NOT_ALLOWED, message)
    if name == "MissingError":
        return Verdict(Meaning.NOT_THERE, message)
    if name == "NotFound" and answer.status == 404:
        lacking = one_line(message, 120)
        return Verdict(Meaning.SET_UP, f"Odoo lacks what accounting needs ({lacking}): install its app Invoicing")
    if name in _BUSINESS:
        return Verdict(Meaning.REFUSED, message)
    return Verdict(Meaning.TROUBLE)


def _read_first(answer: Answer) -> Verdict:
    """The first answer by JSON-2 of a server that is an Odoo: one without a word of its own is about the database."""
    verdict = _read_json(answer)
    return Verdict(Meaning.SET_UP, _NO_DATABASE) if verdict.text == _NO_DATABASE else verdict


def _read_version(answer: Answer) -> Verdict:
    verdict = read_by_status(answer)
    if verdict.meaning is not Meaning.DONE:
        return Verdict(Meaning.FOREIGN) if answer.status in {400, 403, 404, 405, 415, 422} else verdict
    result = verdict.document.get("result") if isinstance(verdict.document, dict) else None
    info = result.get("server_version_info") if isinstance(result, dict) else None
    if not isinstance(info, list) or not info:
        return Verdict(Meaning.FOREIGN)
    return Verdict(Meaning.DONE, document=result)


def _xml_call(service: str, method: str, given: Sequence[Any], *, changes: bool) -> Call:
    content = xmlrpc.client.dumps(tuple(given), method, allow_none=True).encode()
    return Call(f"/xmlrpc/2/{service}", content, headers={"content-type": "text/xml"}, changes=changes)


def read_xml(answer: Answer) -> Verdict:
    """An answer of XML-RPC, which comes with status 200 whatever it says."""
    if answer.status != 200:
        return (
            read_by_status(answer)
            if answer.status in {401, 413, 429}
            else Verdict(Meaning.FOREIGN if answer.status < 500 else Meaning.TROUBLE)
        )
    if b"<!" in answer.body or b"\0" in answer.body:
        return Verdict(Meaning.FOREIGN)  # Odoo declares nothing (in UTF-8), and others may make gigabytes of that
    try:
        root = ElementTree.fromstring(answer.body)  # noqa: S314 - see above
        (told,) = list(root) if root.tag == "methodResponse" else []
        document = _value(told[0] if told.tag == "fault" else told[0][0])
        if told.tag != "fault":
            return Verdict(Meaning.DONE, document=document)
        code, text = int(document["faultCode"]), str(document["faultString"])
    except (ElementTree.ParseError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError):
        return Verdict(Meaning.FOREIGN)
    if code == 1 and _NOTHING in text:
        return Verdict(Meaning.DONE)
    meaning = _FAULTS.get(code, Meaning.TROUBLE)
    if meaning is Meaning.LOGIN:
        return Verdict(meaning, LOGIN_TEXT)
    return Verdict(meaning, "" if meaning is Meaning.TROUBLE else text)


def _read_authentication(answer: Answer) -> Verdict:
    """The same for who we are: of a database that is not there PostgreSQL tells by a name of its own."""
    verdict = read_xml(answer)
    missing = b"OperationalError" in answer.body and b"FATAL" in answer.body
    return Verdict(Meaning.SET_UP, _NO_DATABASE) if verdict.meaning is Meaning.TROUBLE and missing else verdict


def _value(element: ElementTree.Element) -> Any:
    """A value of XML-RPC, numbers with a point as Decimal, as JSON-2's answers have them. Python's own reader takes
    nearly three times as long, which is felt as everything is read back."""
    if not len(element):
        return element.text or ""
    (given,) = element
    match given.tag:
        case "struct":
            return {name.text or "": _value(value) for name, value in given}
        case "array":
            return [_value(value) for value in given[0]]
        case tag:
            return _SCALARS[tag](given.text or "")


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "i4": int,
    "i8": int,
    "boolean": lambda text: bool(int(text)),
    "double": Decimal,
    "string": str,
    "nil": lambda _text: None,
}
