"""Tryton as an ERP, over HTTP alone: the rest of this package put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from blocks.erp.base import Capabilities, Outcome, Writers, reverses_nothing
from blocks.erp.entries import Attachment, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpLoginRefused, ErpRateLimited, RefusalKind, Refused
from blocks.erp.reference import Reference
from blocks.erp.remote.adapter import RemoteErp, told_before
from blocks.erp.remote.calls import NotThere, writing
from blocks.erp.tryton.attachments import attach
from blocks.erp.tryton.changes import Replacer, Reverser
from blocks.erp.tryton.claims import Writer
from blocks.erp.tryton.client import TrytonClient
from blocks.erp.tryton.directory import BILLS_MODULE, Directory, load_directory
from blocks.erp.tryton.finder import Finder
from blocks.erp.tryton.module_recorder import ModuleRecorder
from blocks.erp.tryton.payloads import payload_of
from blocks.erp.tryton.records import Model, RecordRole, TrytonRecord, chosen, link_to
from blocks.erp.tryton.refusals import Refusals, check_entry
from blocks.erp.tryton.server import Server, look_at_server
from blocks.erp.tryton.settlement import settle
from blocks.erp.tryton.statements import Written
from blocks.erp.tryton.stock_recorder import PendingEntry, StockRecorder

MAX_ENTRIES = 1000
MAX_DESCRIPTION = 200
MAX_REFERENCE = 80
MAX_AMOUNT_MINOR = 10**17


@dataclass(frozen=True, slots=True)
class _Books:
    """What a company's entries are recorded with, once the server and its names are known."""

    client: TrytonClient
    server: Server
    directory: Directory
    finder: Finder
    refusals: Refusals


class Tryton(RemoteErp[TrytonClient, _Books]):
    """Companies of one Tryton database, whose name makes the links."""

    system = "Tryton"

    def __init__(
        self, connect: Callable[[], TrytonClient], *, database: str, max_attachment_bytes: int = 1_500_000, **more: Any
    ) -> None:
        super().__init__(connect, max_attachment_bytes=max_attachment_bytes, **more)
        self._database = database
        self._server: Server | None = None

    def describe(self) -> Capabilities:
        """Tryton's limits; whether it keeps bills is known after `validate`.

        Texts have no limits there; these keep them readable.
        """
        return Capabilities(
            name="Tryton",
            max_entries=MAX_ENTRIES,
            max_description=MAX_DESCRIPTION,
            max_reference=MAX_REFERENCE,
            max_amount_minor=MAX_AMOUNT_MINOR,
            bills=self._server is None or BILLS_MODULE in self._server.modules,
            bills_need=f"activate Tryton's module {BILLS_MODULE}",
            repeated_invoice_numbers=False,
            max_attachment_bytes=self._max_attachment_bytes,
            replaces=True,
            reverses=self._server is None or not self._server.has_our_module,
            remote=True,
            logs_in=True,
            writers=Writers.ANY,
        )

    async def validate(self) -> None:
        """Check address, database, key, company, rights and modules; raises ErpConfigurationError, ErpUnavailable."""
        self._server = await look_at_server(self._opened(), self._company_name)

    async def load_reference(self) -> Reference:
        """The company's names, read anew. Raises ErpConfigurationError, ErpUnavailable, ErpLoginRefused."""
        return (await self._read_anew()).directory.reference

    def check(self, entry: Entry) -> Refused | None:
        """Why Tryton would refuse this entry, by what was read of it, or None."""
        directory = self._loaded().directory
        limits = replace(self.describe(), bills=True)  # which of them need a module is told document by document
        return check_entry(entry, directory, self._minor_units, company_id=self._company_id, limits=limits)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand, wholly, among any number of ids."""
        return await (await self._ready()).finder.find(accounting_entry_ids)

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Record entries, one outcome each in their order. Raises RuntimeError in a dry run.

        Raises ErpUnavailable, ErpOutcomeUnknown, ErpLoginRefused and ErpRateLimited; the last two with the outcomes of
        the entries that came before.
        """
        books = await self._writable()
        refused = {place: why for place, entry in enumerate(entries) if (why := self.check(entry)) is not None}
        pending = {
            place: PendingEntry(payload_of(entry, books.directory, self._minor_units))
            for place, entry in enumerate(entries)
            if place not in refused
        }
        try:
            with writing():
                for post in (False, True):
                    await self._record(books, [one for one in pending.values() if one.payload.post is post], post=post)
                told = [one for one in pending.values() if one.refused is None]
                found = await books.finder.find([one.id_ for one in told])
                for one in told:
                    if not one.found and one.id_ in found:
                        await self._compare(books, one, found[one.id_])
        except (ErpLoginRefused, ErpRateLimited) as error:
            known = {place: outcome for place, one in pending.items() if (outcome := self._known(one)) is not None}
            error.outcomes = told_before(refused | known, len(entries))
            raise
        return [refused.get(place) or self._outcome(pending[place], found) for place in range(len(entries))]

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach files to an entry that stands; one whose number is there already is left alone."""
        books = await self._writable()
        with writing():
            by_role = chosen((await books.finder.look_up([accounting_entry_id])).get(accounting_entry_id.lower(), []))
            if RecordRole.MAIN not in by_role:
                return [NotAttached(one.number, "the entry does not stand in Tryton any more") for one in attachments]
            return await attach(books.client, by_role[RecordRole.MAIN], attachments, self._max_attachment_bytes)

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        """Post those of these entries that are drafts, and settle them; returns those that Tryton refuses to post."""
        books = await self._writable()
        with writing():
            return await self._post(books, accounting_entry_ids)

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Write drafts anew in place. One that would become another kind of record is refused."""
        books = await self._writable()
        replacer = Replacer(books.client, books.finder, books.refusals.explain, by_module=books.server.has_our_module)
        outcomes: list[Outcome] = []
        with writing():
            for entry in entries:
                draft = replace(entry, state=EntryState.DRAFT, attachments=(), attachments_required=False)
                why = self.check(draft)
                outcomes.append(why or await replacer.replace(payload_of(draft, books.directory, self._minor_units)))
        return outcomes

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """Take posted moves back on a stock server. Bills are refused, and with our module everything is."""
        books = await self._writable()
        if books.server.has_our_module:
            return reverses_nothing(entries)
        analytic = "analytic_account" in books.server.modules
        reverser = Reverser(books.client, books.directory, books.finder, analytic=analytic)
        with writing():
            outcomes = [await reverser.reverse(entry, day) for entry in entries]
        return [one for one in outcomes if one is not None]

    def link(self, external_id: str) -> str:
        """Where Tryton's web client shows a record."""
        return link_to(self._base_url, self._database, external_id)

    async def close(self) -> None:
        """Leave the session and the connections; may be called twice."""
        await super().close()
        self._server = None

    async def _read_books(self) -> _Books:
        client = self._opened()
        server = self._server or await look_at_server(client, self._company_name)
        directory = await load_directory(client, server.company, server.modules)
        models = list(Model) if BILLS_MODULE in server.modules else [Model.MOVE]
        finder = Finder(client, directory, self._minor_units, models, by_module=server.has_our_module)
        self._server = server
        return _Books(client, server, directory, finder, Refusals(client, directory))

    async def _record(self, books: _Books, pending: Sequence[PendingEntry], *, post: bool) -> None:
        writer = Writer(books.client, post=post)
        by = ModuleRecorder if books.server.has_our_module else StockRecorder
        recorder = by(books.client, books.finder, writer, books.refusals.explain, self._max_attachment_bytes)
        await recorder.record(pending)
        if post:
            new = [one.id_ for one in pending if one.refused is None and not one.found and one.is_bill]
            await self._settle(books, new)

    async def _post(self, books: _Books, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        seen = await books.finder.read(accounting_entry_ids)
        entries = {id_: chosen(records) for id_, records in seen.items()}
        writer = Writer(books.client, post=True)
        refused: dict[str, Refused] = {}
        for role in RecordRole:
            drafts = [
                by_role[role]
                for id_, by_role in entries.items()
                if role in by_role and by_role[role].state is EntryState.DRAFT and id_ not in refused
            ]
            late = [record for record in drafts if books.refusals.is_late(record)]
            for record in late:
                refused[record.key.accounting_entry_id] = books.refusals.closed(record)
            drafts = [record for record in drafts if record not in late]
            async for place, why in writer.claim(drafts):
                record = drafts[place]
                if why is not None and not isinstance(why, NotThere):
                    id_ = record.key.accounting_entry_id
                    refused[id_] = await books.refusals.of_posting(record, why)
        await self._settle(books, [id_ for id_ in entries if id_ not in refused])
        return list(refused.values())

    async def _compare(self, books: _Books, one: PendingEntry, stands: Recorded) -> None:
        """Refuse what Tryton did not record as it was sent; a draft of it is taken away again."""
        now, units = Written(stands.posting_date, stands.balances), self._minor_units
        differs = Written.of(one.payload.entry).edits_in(now, stands.currency, units)
        if differs:
            text = f"Tryton did not record it as it was sent ({stands.external_id}): {'; '.join(differs)}"
            one.refused = Refused(one.id_, RefusalKind.OTHER, "entry", text)
            for records in (await books.finder.look_up([one.id_])).values():
                for record in records:
                    if record.state is EntryState.DRAFT:
                        await Writer(books.client, post=False).drop(record)

    async def _settle(self, books: _Books, ids: Sequence[str]) -> None:
        """Settle the bills and payments among these entries that are posted."""
        if not ids:
            return
        entries = {id_: chosen(records) for id_, records in (await books.finder.look_up(ids)).items()}
        posted = {
            id_: by_role
            for id_, by_role in entries.items()
            if by_role and all(one.state is EntryState.POSTED for one in by_role.values())
        }
        await settle(books.client, books.directory, posted, by_module=books.server.has_our_module)

    def _outcome(self, one: PendingEntry, found: Mapping[str, Recorded]) -> Outcome:
        if one.refused is None and one.id_ in found:
            return replace(found[one.id_], found=one.found, not_attached=tuple(one.not_attached))
        outcome = self._known(one)
        assert outcome is not None  # noqa: S101 - the recorder leaves nothing open
        return outcome

    def _known(self, one: PendingEntry) -> Outcome | None:
        """The outcome as far as it is known without asking again, None where it is not."""
        if one.refused is not None or not one.is_done:
            return one.refused
        return self._made(one, one.by_role[RecordRole.MAIN])

    def _made(self, one: PendingEntry, main: TrytonRecord) -> Recorded:
        entry = one.payload.entry
        lacking = {refused.number for refused in one.not_attached}
        return Recorded(
            accounting_entry_id=entry.accounting_entry_id,
            external_id=main.external_id,
            url=self.link(main.external_id),
            recorded_at=main.created_at,
            currency=entry.currency,
            amount_minor=entry.amount_minor,
            accounts=entry.accounts,
            state=entry.state,
            found=one.found,
            posting_date=entry.posting_date,
            original_date=entry.original_date,
            attached=frozenset(file.number for file in entry.attachments if file.number not in lacking),
            not_attached=tuple(one.not_attached),
            statement=entry.statement,
            balances=entry.balances,
        )
