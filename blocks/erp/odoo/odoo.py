"""Odoo as an ERP, over HTTP alone: the rest of this package put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from blocks.erp.base import Capabilities, Outcome, Writers
from blocks.erp.entries import Attachment, Bill, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpLoginRefused, ErpRateLimited, RefusalKind, Refused
from blocks.erp.odoo.books import OdooBooks, number_key
from blocks.erp.odoo.changes import Changes
from blocks.erp.odoo.checks import MAX_AMOUNT_MINOR, MAX_DESCRIPTION, MAX_REFERENCE, check_entry, locked
from blocks.erp.odoo.client import OdooClient
from blocks.erp.odoo.directory import Directory, load_directory
from blocks.erp.odoo.moves import MoveReader, Standing
from blocks.erp.odoo.names import link_to
from blocks.erp.odoo.server import look_at_server
from blocks.erp.odoo.settlement import ExchangeAccounts, Settlements
from blocks.erp.reference import Reference
from blocks.erp.remote.adapter import RemoteErp, told_before
from blocks.erp.remote.calls import NotThere, writing
from blocks.erp.remote.recording import Recorder, halved

MAX_ENTRIES = 1000
BATCH = 100
"""How many entries one call of `load`, and one of posting, takes."""

NEWEST_LINKS = 18
"""The version whose form of links is used while the server's own is not known."""


@dataclass(frozen=True, slots=True)
class _Company:
    """What a company's entries are recorded with, once the server and its names are known."""

    directory: Directory
    books: OdooBooks
    settlements: Settlements
    recorder: Recorder[Standing]
    changes: Changes


class Odoo(RemoteErp[OdooClient, _Company]):
    """Companies of one Odoo database.

    Bills and payments of two rates are settled where `exchange` names the accounts that Odoo books differences on.
    `today` is the day of the clock, by UTC.
    """

    system = "Odoo"

    def __init__(
        self,
        connect: Callable[[], OdooClient],
        *,
        exchange: ExchangeAccounts = ExchangeAccounts(),  # noqa: B008 - it never changes
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        max_attachment_bytes: int = 20_000_000,
        **more: Any,
    ) -> None:
        super().__init__(connect, max_attachment_bytes=max_attachment_bytes, **more)
        self._exchange = exchange
        self._today = today

    def describe(self) -> Capabilities:
        """Odoo's limits. Texts have no limits there; these keep them readable."""
        return Capabilities(
            name="Odoo",
            max_entries=MAX_ENTRIES,
            max_description=MAX_DESCRIPTION,
            max_reference=MAX_REFERENCE,
            max_amount_minor=MAX_AMOUNT_MINOR,
            bills=True,
            repeated_invoice_numbers=False,
            max_attachment_bytes=self._max_attachment_bytes,
            replaces=True,
            reverses=True,
            remote=True,
            logs_in=True,
            writers=Writers.ANY,
        )

    async def validate(self) -> None:
        """Check address, version, database, key, company and rights; raises ErpConfigurationError, ErpUnavailable."""
        await look_at_server(self._opened(), self._company_name)

    async def load_reference(self) -> Reference:
        """The company's names, read anew. Raises ErpConfigurationError, ErpUnavailable, ErpLoginRefused."""
        return (await self._read_anew()).directory.reference

    def check(self, entry: Entry) -> Refused | None:
        """Why this entry would be refused, by what was read of Odoo, or None."""
        company = self._loaded()
        if entry.company_id.lower() != self._company_id:
            text = f"the entry is of company {entry.company_id}, and this run of {self._company_id}"
            return Refused(entry.accounting_entry_id, RefusalKind.OTHER, entry.company_id, text)
        return check_entry(entry, company.directory, self._minor_units, self._today())

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand in force among any number of ids."""
        company = await self._ready()
        return await company.settlements.told(dict(await company.books.look_up(accounting_entry_ids)))

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Record entries, one outcome each in their order. Raises RuntimeError in a dry run.

        Raises ErpUnavailable, ErpOutcomeUnknown, ErpLoginRefused and ErpRateLimited; the last two with the outcomes of
        the entries that came before.
        """
        company = await self._with_locks_of_now(await self._writable())
        outcomes: dict[int, Outcome] = {}
        left = list(range(len(entries)))
        try:
            with writing():
                while left:
                    places, left = self._without_repetitions(company, entries, left)
                    await self._record(company, entries, places, outcomes)
        except (ErpLoginRefused, ErpRateLimited) as error:
            error.outcomes = told_before(outcomes, len(entries))
            raise
        return [outcomes[place] for place in range(len(entries))]

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach files to an entry that stands; one whose number is there already is left alone."""
        company = await self._writable()
        standing = (await company.books.look_up([accounting_entry_id])).get(accounting_entry_id.lower())
        if standing is not None:
            with suppress(NotThere), writing():
                return await company.books.attach(standing, attachments)
        return [NotAttached(one.number, "the entry does not stand in Odoo any more") for one in attachments]

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        """Post those of these entries that are drafts, and settle them all; returns those that Odoo refuses to post."""
        company = await self._writable()
        books = company.books
        standing = await books.look_up(accounting_entry_ids)
        drafts = [one for one in standing.values() if one.state is EntryState.DRAFT]
        refused: dict[str, Refused] = {}
        with writing():
            if drafts:
                locks = await books.locks()
                late = {one.id_: day for one in drafts for day in _locked_days(one, locks.cover)}
                refused = {id_: locked(id_, day, locks) for id_, day in late.items()}

                async def act(some: Sequence[Standing]) -> Sequence[None]:
                    await books.post(some)
                    return [None] * len(some)

                async for one, error in halved([one for one in drafts if one.id_ not in late], act):
                    if error is not None and not await self._is_posted(books, one.id_):
                        why = f"Odoo refuses to post it: {error}"
                        refused[one.id_] = Refused(one.id_, RefusalKind.OTHER, "entry", why)
                standing = await books.look_up([id_ for id_ in standing if id_ not in refused])
            await company.settlements.settle(standing.values())
        return list(refused.values())

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Write drafts anew, in place, one outcome each in their order."""
        company = await self._writable()
        outcomes: list[Outcome] = []
        with writing():
            for entry in entries:
                refused = self.check(entry)
                outcomes.append(refused or await company.changes.replace(entry))
        return outcomes

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """Take back posted entries by others on that day; returns those that cannot be."""
        company = await self._writable()
        with writing():
            return await company.changes.reverse(entries, day)

    def link(self, external_id: str) -> str:
        """Where Odoo's web client shows a move."""
        version = self._client.version if self._client is not None else 0
        return link_to(self._base_url, external_id, version or NEWEST_LINKS)

    async def _read_books(self) -> _Company:
        client = self._opened()
        row = await look_at_server(client, self._company_name)
        directory = await load_directory(client, row)
        reader = MoveReader(client, directory, self._minor_units)
        books = OdooBooks(client, directory, reader, self._minor_units, self._max_attachment_bytes)
        settlements = Settlements(client, directory, reader, self._exchange)
        most = self._max_attachment_bytes
        recorder = Recorder(books, system="Odoo", batch=BATCH, max_attachment_bytes=most)
        changes = Changes(client, directory, reader, books, self._minor_units)
        return _Company(directory, books, settlements, recorder, changes)

    async def _with_locks_of_now(self, company: _Company) -> _Company:
        """The same with the lock dates read anew: Odoo takes drafts on locked days, and moves what it posts."""
        directory = replace(company.directory, locks=await company.books.locks())
        self._books = replace(company, directory=directory)
        return self._books

    def _without_repetitions(
        self, company: _Company, entries: Sequence[Entry], places: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Those of these places that can be recorded in one go, and the rest: an id, or a vendor's number, that came
        before among them is looked up once the first one stands."""
        seen: set[object] = set()
        now: list[int] = []
        later: list[int] = []
        for place in places:
            entry = entries[place]
            keys: set[object] = {entry.accounting_entry_id.lower()}
            number = number_key(entry, company.directory) if isinstance(entry, Bill) else None
            if number is not None:
                keys.add(number)
            (later if keys & seen else now).append(place)
            seen |= keys
        return now, later

    async def _record(
        self, company: _Company, entries: Sequence[Entry], places: Sequence[int], outcomes: dict[int, Outcome]
    ) -> None:
        some = [entries[place] for place in places]
        bills = [one for one in some if isinstance(one, Bill)]
        taken: Mapping[str, Refused] = {}
        if bills:
            stands = await company.books.look_up([one.accounting_entry_id for one in bills])
            new = [one for one in bills if one.accounting_entry_id.lower() not in stands]
            taken = await company.books.taken_numbers(new)

        def check(entry: Entry) -> Refused | None:
            return self.check(entry) or taken.get(entry.accounting_entry_id)

        try:
            told = await company.recorder.record(some, check)
        except (ErpLoginRefused, ErpRateLimited) as error:
            outcomes |= dict(zip(places, error.outcomes, strict=False))
            raise
        settled = await self._settle(company, some, told)
        for place, outcome in zip(places, told, strict=True):
            outcomes[place] = _with_counterparts(outcome, settled)

    async def _settle(
        self, company: _Company, entries: Sequence[Entry], outcomes: Sequence[Outcome]
    ) -> dict[str, Recorded]:
        """Settle what was posted now; returns the bills among these as they stand then."""
        bills = [
            outcome
            for entry, outcome in zip(entries, outcomes, strict=True)
            if isinstance(entry, Bill) and isinstance(outcome, Recorded)
        ]
        if not bills:
            return {}
        ids = [one.accounting_entry_id for one in bills]
        new = {one.accounting_entry_id for one in bills if not one.found and one.state is EntryState.POSTED}
        standing = await company.books.look_up(ids)
        if new:
            await company.settlements.settle([one for id_, one in standing.items() if id_ in new])
            standing = await company.books.look_up(ids)
        return await company.settlements.told(dict(standing))

    @staticmethod
    async def _is_posted(books: OdooBooks, id_: str) -> bool:
        """Whether it is posted by now, by somebody else."""
        now = (await books.look_up([id_])).get(id_)
        return now is not None and now.state is EntryState.POSTED


def _locked_days(standing: Standing, cover: Callable[[date], bool]) -> list[date]:
    return [move.day for move in standing.moves if move.state is EntryState.DRAFT and cover(move.day)]


def _with_counterparts(outcome: Outcome, told: Mapping[str, Recorded]) -> Outcome:
    """The outcome with what it is settled with, where that was asked for."""
    if not isinstance(outcome, Recorded) or outcome.accounting_entry_id not in told:
        return outcome
    now = told[outcome.accounting_entry_id]
    return replace(outcome, counterparts=now.counterparts, settled=now.settled)
