"""Recording entries on a stock server: made as drafts, claimed as the only ones, and nothing left behind if refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from blocks.erp.entries import Bill, NotAttached
from blocks.erp.errors import ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable, RefusalKind, Refused
from blocks.erp.remote.calls import CallRefused, NotThere
from blocks.erp.remote.receipts import refused_for, unfit
from blocks.erp.tryton.attachments import attach
from blocks.erp.tryton.claims import NextStep, Writer, decide
from blocks.erp.tryton.client import TrytonClient
from blocks.erp.tryton.finder import Finder
from blocks.erp.tryton.payloads import EntryPayload, RecordPayload
from blocks.erp.tryton.records import RecordRole, TrytonRecord, external_id
from blocks.erp.tryton.statements import note_of, put_notes

ROUNDS = 16
PATIENT_ROUNDS = 8
WAIT_S = 0.25
"""How often an expense is looked at that others are recording too, for how many of these times they are waited for,
and the time between two."""

TROUBLES = 2
"""How often trouble in the midst of an entry of several records is looked behind within one call: without that a lost
answer would leave a bill posted and its payment not."""

KEPT_ROUNDS = 3
"""How often Tryton may refuse to delete a draft that does not change."""

Explain = Callable[[EntryPayload, CallRefused], Awaitable[Refused]]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class PendingEntry:
    """One entry on its way.

    `by_role` are its records that count, `found` tells that others made the main one. `refused` is why nothing of it
    was recorded, or not all. `own` are the drafts that we made, and `kept` how often Tryton kept one from being
    deleted, by its external id and state.
    """

    payload: EntryPayload
    by_role: dict[RecordRole, TrytonRecord] = field(default_factory=dict)
    found: bool = False
    refused: Refused | None = None
    not_attached: list[NotAttached] = field(default_factory=list)
    own: set[str] = field(default_factory=set)
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def id_(self) -> str:
        """The accounting entry id."""
        return self.payload.entry.accounting_entry_id

    async def look_at_files(self, max_bytes: int) -> None:
        """Refuse the entry at once where a file that it must have is not fit to be attached."""
        entry = self.payload.entry
        if entry.attachments_required:
            self.not_attached = await unfit(entry.attachments, max_bytes)
            if self.not_attached:
                self.refuse_for_files()

    def refuse_for_files(self) -> None:
        """Refuse the entry for the first file that could not be attached."""
        self.refused = refused_for(self.id_, self.not_attached)

    @property
    def is_bill(self) -> bool:
        """Whether it is a bill, a payment, or both."""
        return isinstance(self.payload.entry, Bill)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do for it."""
        return (
            self.refused is not None or self.found or all(one.key.role in self.by_role for one in self.payload.records)
        )


class StockRecorder:
    """Records entries of one company, all of them to be posted, or none."""

    def __init__(
        self,
        client: TrytonClient,
        finder: Finder,
        writer: Writer,
        explain: Explain,
        max_attachment_bytes: int,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._finder = finder
        self._writer = writer
        self._explain = explain
        self._max_attachment_bytes = max_attachment_bytes
        self._sleep = sleep

    async def record(self, pending: Sequence[PendingEntry]) -> None:
        """Bring every entry to its outcome, told in `pending` as soon as it is known.

        Raises ErpUnavailable, ErpOutcomeUnknown or ErpLoginRefused where it cannot go on; to call it again is safe.
        """
        for one in pending:
            await one.look_at_files(self._max_attachment_bytes)
        troubles = 0
        for round_ in range(ROUNDS):
            open_ = [one for one in pending if not one.is_done]
            left_behind = [one for one in pending if troubles and (one.refused is not None or one.found) and one.own]
            if not open_ and not left_behind:
                return
            try:
                for one in left_behind:
                    await self._drop_own(one)
                    one.own.clear()
                seen = await self._finder.look_up([one.id_ for one in open_])
                waiting = await self._round(open_, seen, patient=round_ < PATIENT_ROUNDS)
            except (ErpUnavailable, ErpOutcomeUnknown) as error:
                troubles += 1
                half_way = left_behind or any(map(_is_half_way, open_))
                if isinstance(error, ErpRateLimited) or troubles > TROUBLES or not half_way:
                    raise
                waiting = True
            if waiting:
                await self._sleep(WAIT_S)
        left = [one.id_ for one in pending if not one.is_done]
        if left:
            raise ErpUnavailable(f"others are recording the same expenses at the same time: {', '.join(left[:3])}")

    async def _round(
        self, open_: Sequence[PendingEntry], seen: dict[str, list[TrytonRecord]], *, patient: bool
    ) -> bool:
        """Take every entry one step further; returns whether others have to be waited for."""
        missing: list[tuple[PendingEntry, RecordPayload]] = []
        ready: list[tuple[PendingEntry, TrytonRecord]] = []
        waiting = False
        for one in open_:
            for payload in one.payload.records:
                role = payload.key.role
                if role in one.by_role or one.is_done:
                    continue
                records = [record for record in seen.get(one.id_, []) if record.key.role is role]
                decision = decide(records, one.own, patient=patient)
                await self._drop(one, decision.drop)
                match decision.step:
                    case NextStep.DONE if decision.record is not None:
                        await self._others_made(one, role, decision.record)
                    case NextStep.CREATE:
                        missing.append((one, payload))
                    case NextStep.CLAIM if decision.record is not None:
                        if role is RecordRole.MAIN or RecordRole.MAIN in one.by_role:
                            ready.append((one, decision.record))
                    case _:
                        waiting = True
        await self._create([(one, payload) for one, payload in missing if not one.is_done])
        await self._claim([(one, record) for one, record in ready if not one.is_done])
        return waiting

    async def _others_made(self, one: PendingEntry, role: RecordRole, record: TrytonRecord) -> None:
        """Go on from a record that counts already: a bill may still lack its payment, which is ours to make then."""
        one.by_role[role] = record
        if role is RecordRole.MAIN:
            one.found = one.id_ in await self._finder.find([one.id_])
            if one.found and one.own:
                await self._drop_own(one)  # the payment that we made for it, say
            if not one.found and len(one.payload.records) == 1:
                one.refused = without_payment(record)

    async def _create(self, missing: Sequence[tuple[PendingEntry, RecordPayload]]) -> None:
        notes = []
        async for place, result in self._writer.create([payload for _, payload in missing]):
            one, payload = missing[place]
            if not isinstance(result, CallRefused):
                one.own.add(external_id(payload.model, result))
                if payload.key.role is RecordRole.MAIN and one.payload.entry.statement is not None:
                    notes.append((external_id(payload.model, result), note_of(one.payload.entry)))
            elif one.refused is None:
                one.refused = await self._explain(one.payload, result)
        await put_notes(self._client, notes)  # on drafts that do not count yet: what counts has its note
        for one in {one.id_: one for one, _ in missing}.values():
            if one.refused is not None and one.own:
                await self._drop_own(one)  # one record may be made before the other is refused, or after

    async def _claim(self, ready: Sequence[tuple[PendingEntry, TrytonRecord]]) -> None:
        fit = [(one, record) for one, record in ready if await self._is_fit(one, record)]
        async for place, refused in self._writer.claim([record for _, record in fit]):
            one, record = fit[place]
            if refused is None:
                one.by_role[record.key.role] = record
            elif not isinstance(refused, NotThere):
                await self._give_up(one, refused)

    async def _is_fit(self, one: PendingEntry, record: TrytonRecord) -> bool:
        """Whether a draft has its receipts, as it should before it counts."""
        entry = one.payload.entry
        if record.key.role is RecordRole.MAIN and entry.attachments:
            try:
                refused = await attach(self._client, record, entry.attachments, self._max_attachment_bytes)
            except NotThere:
                return False
            if refused and not await self._stands(record):
                return False  # Tryton gives another reason where somebody has deleted the draft meanwhile
            one.not_attached = refused
            if refused and entry.attachments_required:
                one.refuse_for_files()
                await self._drop_own(one)
                return False
        return True

    async def _stands(self, record: TrytonRecord) -> bool:
        id_ = record.key.accounting_entry_id
        there = (await self._finder.look_up([id_])).get(id_, [])
        return record.external_id in {one.external_id for one in there}

    async def _give_up(self, one: PendingEntry, error: CallRefused) -> None:
        one.refused = await self._explain(one.payload, error)
        await self._drop_own(one)

    async def _drop(self, one: PendingEntry, drafts: Sequence[TrytonRecord]) -> None:
        """Delete drafts, and refuse the entry where one is in the way that Tryton never lets us delete."""
        for record in drafts:
            if not await self._writer.drop(record):
                state = f"{record.external_id} {record.row['_timestamp']}"
                one.kept[state] += 1
                if one.kept[state] == KEPT_ROUNDS:
                    one.refused = _stuck(one, record)

    async def _drop_own(self, one: PendingEntry) -> None:
        """Delete the drafts that we made for an entry and that do not count."""
        for record in (await self._finder.look_up([one.id_])).get(one.id_, []):
            if record.external_id in one.own and not record.counts:
                await self._writer.drop(record)


def _is_half_way(one: PendingEntry) -> bool:
    """Whether some of an entry's records may stand, and others not."""
    return not one.is_done and len(one.payload.records) > 1 and bool(one.own)


def without_payment(record: TrytonRecord) -> Refused:
    """The refusal of an expense of which Tryton holds the bill alone, and which is no bill and payment any more."""
    return Refused(
        record.key.accounting_entry_id,
        RefusalKind.OTHER,
        record.external_id,
        f"{record.external_id} stands in Tryton without the payment that was meant to settle it: complete "
        "or cancel it there, and export the expense again.",
    )


def _stuck(one: PendingEntry, record: TrytonRecord) -> Refused:
    name = record.external_id
    return Refused(
        one.id_,
        RefusalKind.OTHER,
        name,
        f"{name} stands in Tryton for this expense, is not complete, and cannot be deleted: delete or cancel it there, "
        "and export the expense again.",
    )
