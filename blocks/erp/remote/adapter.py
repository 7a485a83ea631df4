"""What adapters do alike beside recording: made ready for one company, writing nothing in a dry run, letting go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from blocks.erp.base import Outcome
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Answer, Entry
from blocks.erp.precedents import NO_PRECEDENTS, Precedents


class _Client(Protocol):
    async def aclose(self) -> None:
        """Close the connections."""
        ...


C = TypeVar("C", bound=_Client)
B = TypeVar("B")


class RemoteErp(ABC, Generic[C, B]):
    """The base of an adapter. `C` is its client, which `connect` makes, and `B` what a company's entries are recorded
    with, once the server and its names are known.

    `company` is the name of the company in the system, `companies` that of single Pleo companies, by id; where neither
    gives a name it is the only one that the user may enter. `base_url` makes the links.
    """

    system: ClassVar[str]

    def __init__(
        self,
        connect: Callable[[], C],
        *,
        base_url: str,
        company: str = "",
        companies: Mapping[str, str] | None = None,
        minor_units: MinorUnits = MinorUnits.HUNDREDTHS,
        max_attachment_bytes: int,
    ) -> None:
        self._connect = connect
        self._base_url = base_url
        self._usual_company = company
        self._companies = dict(companies or {})
        self._minor_units = minor_units
        self._max_attachment_bytes = max_attachment_bytes
        self._client: C | None = None
        self._company_id = ""
        self._company_name = ""
        self._dry_run = False
        self._books: B | None = None

    def company(self) -> str | None:
        """None: which Pleo company it is for is a matter of the settings alone."""
        return None

    async def open(self, company_id: str, *, dry_run: bool = False) -> None:
        """Make ready for one Pleo company; nothing is sent yet."""
        if self._client is not None:
            raise RuntimeError(f"{self.system} is open already")
        self._company_id = company_id.lower()
        self._company_name = self._companies.get(self._company_id, self._usual_company)
        self._dry_run = dry_run
        self._client = self._connect()

    async def precedents(self, entries: Sequence[Entry]) -> Precedents:
        """It cannot tell."""
        return NO_PRECEDENTS

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """Nothing: these systems have a history of their own."""

    async def finish_job(self) -> Sequence[str]:
        """Nothing: these systems derive what they show by themselves."""
        return ()

    async def close(self) -> None:
        """Let go of the connections; may be called twice."""
        client, self._client, self._books = self._client, None, None
        if client is not None:
            await client.aclose()

    @abstractmethod
    async def _read_books(self) -> B:
        """The books with the company's names, read anew. Raises as `Erp.load_reference`."""

    def _opened(self) -> C:
        if self._client is None:
            raise RuntimeError(f"{self.system} is not open")
        return self._client

    def _loaded(self) -> B:
        if self._books is None:
            raise RuntimeError("load_reference comes first")
        return self._books

    async def _read_anew(self) -> B:
        self._books = await self._read_books()
        return self._books

    async def _ready(self) -> B:
        """The books, read if they were not yet."""
        return self._books if self._books is not None else await self._read_anew()

    async def _writable(self) -> B:
        """The same for what writes. Raises RuntimeError in a dry run."""
        if self._dry_run:
            raise RuntimeError("nothing is recorded in a dry run")
        return await self._ready()


def told_before(outcomes: Mapping[int, Outcome], count: int) -> tuple[Outcome, ...]:
    """The outcomes by place up to the first that is not known: what an error tells that ends a call in its midst."""
    first = next((place for place in range(count) if place not in outcomes), count)
    return tuple(outcomes[place] for place in range(first))
