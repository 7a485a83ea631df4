"""One request to an ERP and its answer: what an answer means, and what we log in with.

An adapter reads an answer into a `Verdict`, which says in its system's terms what the answer means. `RemoteClient`
makes of it what the runner must do, because that depends on whether the call could have changed something:

    DONE                                           the document
    REFUSED · NOT_ALLOWED · NOT_THERE · TOO_LARGE  CallRefused and its kinds: nothing was changed
    LOGIN                                          ErpLoginRefused, after one renewal where something can be renewed
    SLOW_DOWN                                      ErpRateLimited: nothing was changed
    SET_UP                                         ErpConfigurationError
    FOREIGN · TROUBLE                              ErpOutcomeUnknown if something may have changed, else ErpUnavailable
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

from blocks.erp.errors import ErpError, ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable


class CallRefused(ErpError):
    """The server understood the call and refuses what it asks for; nothing was changed. The message is the server's."""


class NotAllowed(CallRefused):
    """It is refused for rights that the user lacks, or because the record must not be changed."""


class NotThere(CallRefused):
    """What the call names does not exist, or not any more."""


class TooLarge(CallRefused):
    """The server does not take requests of this size."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `path` is what follows the base URL, with its query. `changes` tells whether it may change anything;
    a call that only reads must say so, or its lost answer counts as a write in doubt."""

    path: str
    content: bytes | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    changes: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: names of headers in lower case, the body as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """The body as JSON with exact decimals; None where it is empty. Raises ValueError for anything else."""
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body, parse_float=Decimal)
        except RecursionError:
            raise ValueError("nested too deeply") from None


class Meaning(Enum):
    """What an answer says."""

    DONE = "done"
    REFUSED = "refused"
    NOT_ALLOWED = "not allowed"
    NOT_THERE = "not there"
    TOO_LARGE = "too large"
    LOGIN = "the login is refused"
    SLOW_DOWN = "fewer calls"
    SET_UP = "it cannot be used as it is set up"
    FOREIGN = "no answer of this system's"
    TROUBLE = "trouble of the server's own"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an answer is read: its meaning, the `document` where it is done, else `text`, the system's words for people
    or a whole sentence of the adapter's (without one the client has its own)."""

    meaning: Meaning
    text: str = ""
    document: Any = None


Read = Callable[[Answer], Verdict]

_BY_STATUS = {
    401: Meaning.LOGIN,
    403: Meaning.NOT_ALLOWED,
    404: Meaning.NOT_THERE,
    410: Meaning.NOT_THERE,
    413: Meaning.TOO_LARGE,
    429: Meaning.SLOW_DOWN,
}


def read_by_status(answer: Answer) -> Verdict:
    """What every HTTP server means by its status, and JSON where it is a success.

    A redirect is followed by nobody, as it would carry the key elsewhere. A 400 or 422 counts as trouble: in which form
    a system gives its reasons for a refusal is the adapter's to know.
    """
    if answer.status in _BY_STATUS:
        return Verdict(_BY_STATUS[answer.status])
    if 300 <= answer.status < 400:
        return Verdict(Meaning.FOREIGN)
    if not 200 <= answer.status < 300:
        return Verdict(Meaning.TROUBLE)
    try:
        return Verdict(Meaning.DONE, document=answer.document())
    except ValueError:
        return Verdict(Meaning.FOREIGN)


class Login(Protocol):
    """What a call is authorised by."""

    async def headers(self) -> Mapping[str, str]:
        """The headers to send; may log in first."""
        ...

    async def renewed(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        """Others in place of those that were just refused, or None where there is nothing to renew."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, should the server quote it."""
        ...


class KeyLogin:
    """A key that is valid until somebody revokes it. `headers` are those that it is sent in."""

    def __init__(self, headers: Mapping[str, str], *secrets: str) -> None:
        self._headers = dict(headers)
        self.secrets = secrets

    async def headers(self) -> Mapping[str, str]:
        """Always the same."""
        return self._headers

    async def renewed(self, refused: Mapping[str, str]) -> None:
        """Nothing can be renewed."""


class SessionLogin:
    """A session or token that ends by itself and is opened again. `open_` logs in: it returns the headers, of which
    all values are secret, and raises ErpLoginRefused where the credentials do not do."""

    def __init__(self, open_: Callable[[], Awaitable[Mapping[str, str]]], *secrets: str) -> None:
        self._open = open_
        self._secrets = secrets
        self._current: Mapping[str, str] | None = None
        self._turn = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is a session, as far as we know."""
        return self._current is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The credentials, and what was made of them, with and without the word before it (`Bearer`, say)."""
        made = (self._current or {}).values()
        return (*self._secrets, *made, *(value.rpartition(" ")[2] for value in made))

    async def headers(self) -> Mapping[str, str]:
        """Those of the session that is open, after opening one if there is none."""
        return self._current or await self.renewed({})

    async def renewed(self, refused: Mapping[str, str]) -> Mapping[str, str]:
        """Those of another session. Callers who were refused at the same time share the one that the first opens."""
        async with self._turn:
            if self._current is None or self._current == refused:
                self._current = None
                self._current = await self._open()
            return self._current


@dataclass(slots=True)
class _Writes:
    count: int = 0


_writes: ContextVar[_Writes | None] = ContextVar("writes", default=None)


def note_write() -> None:
    """Remember that a call changed something, or may have."""
    writes = _writes.get()
    if writes is not None:
        writes.count += 1


@contextmanager
def writing() -> Iterator[None]:
    """Around all that `record`, `attach`, `post`, `replace` or `reverse` does.

    ErpUnavailable promises that nothing was written. When it comes from a later call than one that wrote, it becomes
    ErpOutcomeUnknown, so that the entries are looked up.
    """
    writes = _Writes()
    token = _writes.set(writes)
    try:
        yield
    except ErpUnavailable as error:
        if isinstance(error, ErpRateLimited) or not writes.count:
            raise
        raise ErpOutcomeUnknown(f"something was written before this: {error}") from None
    finally:
        _writes.reset(token)
        for _ in range(writes.count):
            note_write()  # for whoever is around this
