"""Recording entries on a server that has our module: each call is one transaction, exact by a unique field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.erp.entries import EntryState
from blocks.erp.errors import ErpOutcomeUnknown
from blocks.erp.remote.calls import CallRefused
from blocks.erp.remote.recording import halved
from blocks.erp.tryton.attachments import attach
from blocks.erp.tryton.claims import BATCH, Writer
from blocks.erp.tryton.client import Row, TrytonClient
from blocks.erp.tryton.finder import Finder
from blocks.erp.tryton.records import EXTERNAL_ID, Model, RecordKey, RecordRole, TrytonRecord, chosen
from blocks.erp.tryton.statements import note_of, put_notes
from blocks.erp.tryton.stock_recorder import Explain, PendingEntry, without_payment


class ModuleRecorder:
    """Records entries of one company by the module's method. With required receipts an entry is a draft until it has
    them; a draft that has its id stands, so that a run that is broken off there is gone on with by the next."""

    def __init__(
        self, client: TrytonClient, finder: Finder, writer: Writer, explain: Explain, max_attachment_bytes: int
    ) -> None:
        self._client = client
        self._finder = finder
        self._writer = writer
        self._explain = explain
        self._max_attachment_bytes = max_attachment_bytes

    async def record(self, pending: Sequence[PendingEntry]) -> None:
        """Bring every entry to its outcome, told in `pending` as soon as it is known. Raises as `StockRecorder`'s."""
        for one in pending:
            await one.look_at_files(self._max_attachment_bytes)
        fit = [one for one in pending if one.refused is None]
        for start in range(0, len(fit), BATCH):
            portion = fit[start : start + BATCH]
            async for one, answer in halved(portion, self._call):
                if isinstance(answer, CallRefused):
                    one.refused = await self._explain(one.payload, answer)
                else:
                    self._take(one, answer)
            await self._finish([one for one in portion if one.refused is None])

    async def _call(self, portion: Sequence[PendingEntry]) -> Sequence[Row]:
        entries = [_as_sent(one) for one in portion]
        answer = await self._client.call("account.move", "pleo_record", {"entries": entries})
        match answer:
            case [*rows] if len(rows) == len(portion) and all(map(_is_outcome, rows)):
                return rows
            case _:
                raise ErpOutcomeUnknown("Tryton's module pleo_export answered with something else than outcomes")

    def _take(self, one: PendingEntry, answer: Row) -> None:
        """Take the module's word for what stands now, whatever becomes of our next call."""
        one.found = bool(answer["found"])
        if _waits_for_receipts(one) and not one.found:
            return  # a draft until it has them
        now = {"create_date": datetime.now(UTC)}  # until Tryton is asked
        for name, role in zip(answer["records"], RecordRole, strict=False):
            model, _, number = str(name).partition(",")
            key = RecordKey(one.id_, role, claimed=True)
            one.by_role[role] = TrytonRecord(Model(model), int(number), key, one.payload.entry.state, now)

    async def _finish(self, made: Sequence[PendingEntry]) -> None:
        """Learn what stands now, and give it its receipts."""
        seen = await self._finder.look_up([one.id_ for one in made]) if made else {}
        whole = await self._finder.find([one.id_ for one in made if one.found])
        notes = []
        for one in made:
            by_role = chosen(seen.get(one.id_, []))
            if RecordRole.MAIN not in by_role:
                raise ErpOutcomeUnknown(f"Tryton does not find expense {one.id_}, which it has just recorded")
            if one.found and one.id_ not in whole:
                one.refused = without_payment(by_role[RecordRole.MAIN])
            elif one.payload.entry.attachments and (not one.found or _is_unfinished(one, by_role)):
                await self._give_receipts(one, by_role)
            if one.refused is None:
                one.by_role = by_role
                if not one.found and one.payload.entry.statement is not None:
                    notes.append((by_role[RecordRole.MAIN].external_id, note_of(one.payload.entry)))
        await put_notes(self._client, notes)

    async def _give_receipts(self, one: PendingEntry, by_role: Mapping[RecordRole, TrytonRecord]) -> None:
        files = one.payload.entry.attachments
        one.not_attached = await attach(self._client, by_role[RecordRole.MAIN], files, self._max_attachment_bytes)
        if not _waits_for_receipts(one):
            return
        if one.not_attached:
            one.refuse_for_files()
            for record in by_role.values() if not one.found else ():
                await self._writer.drop(record)
        elif one.payload.post:
            async for _, refused in self._writer.claim(list(by_role.values())):
                if refused is not None and one.refused is None:
                    one.refused = await self._explain(one.payload, refused)


def _is_outcome(row: Any) -> bool:
    match row:
        case {"found": bool(), "records": [str(), *_] as names}:
            return all(EXTERNAL_ID.fullmatch(str(name)) for name in names)
        case _:
            return False


def _waits_for_receipts(one: PendingEntry) -> bool:
    return one.payload.entry.attachments_required and bool(one.payload.entry.attachments)


def _is_unfinished(one: PendingEntry, by_role: Mapping[RecordRole, TrytonRecord]) -> bool:
    """Whether an entry that another has just made still waits for receipts; nobody may report it before it has them."""
    return _waits_for_receipts(one) and any(record.state is EntryState.DRAFT for record in by_role.values())


def _as_sent(one: PendingEntry) -> Row:
    waits = _waits_for_receipts(one)
    return {
        "pleo_entry_id": one.id_,
        "post": one.payload.post and not waits,
        "settle": one.payload.settle and not waits,
        "documents": [
            {"model": record.model.value, "values": {**record.values, "description": record.text}}
            for record in one.payload.records
        ],
    }
