"""Recording entries on a server that has our module: each call is one transaction, exact by a unique field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from blocks.erp.entries import EntryState
from blocks.erp.errors import ErpOutcomeUnknown
from blocks.erp.tryton.attaching import attach
from blocks.erp.tryton.client import Row, TrytonClient, TrytonRefused
from blocks.erp.tryton.finding import Finder
from blocks.erp.tryton.marks import EXTERNAL_ID, Mark, Model, Part
from blocks.erp.tryton.recording import Explain, Work, without_payment
from blocks.erp.tryton.records import Standing, chosen
from blocks.erp.tryton.writing import BATCH, Writer, halved


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

    async def record(self, work: Sequence[Work]) -> None:
        """Bring every entry to its outcome, told in `work` as soon as it is known. Raises as `Recorder.record`."""
        for one in work:
            await one.look_at_files(self._max_attachment_bytes)
        fit = [one for one in work if one.refused is None]
        for start in range(0, len(fit), BATCH):
            portion = fit[start : start + BATCH]
            async for one, answer in halved(portion, self._call):
                if isinstance(answer, TrytonRefused):
                    one.refused = await self._explain(one.wanted, answer)
                else:
                    self._take(one, answer)
            await self._finish([one for one in portion if one.refused is None])

    async def _call(self, portion: Sequence[Work]) -> Sequence[Row]:
        entries = [_as_sent(one) for one in portion]
        answer = await self._client.call("account.move", "pleo_record", {"entries": entries})
        match answer:
            case [*rows] if len(rows) == len(portion) and all(map(_is_outcome, rows)):
                return rows
            case _:
                raise ErpOutcomeUnknown("Tryton's module pleo_export answered with something else than outcomes")

    def _take(self, one: Work, answer: Row) -> None:
        """Take the module's word for what stands now, whatever becomes of our next call."""
        one.found = bool(answer["found"])
        if _waits_for_receipts(one) and not one.found:
            return  # a draft until it has them
        now = {"create_date": datetime.now(UTC)}  # until Tryton is asked
        for name, part in zip(answer["records"], Part, strict=False):
            model, _, number = str(name).partition(",")
            mark = Mark(one.id_, part, claimed=True)
            one.parts[part] = Standing(Model(model), int(number), mark, one.wanted.entry.state, now)

    async def _finish(self, made: Sequence[Work]) -> None:
        """Learn what stands now, and give it its receipts."""
        seen = await self._finder.look_up([one.id_ for one in made]) if made else {}
        whole = await self._finder.find([one.id_ for one in made if one.found])
        for one in made:
            parts = chosen(seen.get(one.id_, []))
            if Part.MAIN not in parts:
                raise ErpOutcomeUnknown(f"Tryton does not find expense {one.id_}, which it has just recorded")
            if one.found and one.id_ not in whole:
                one.refused = without_payment(parts[Part.MAIN])
            elif one.wanted.entry.attachments and (not one.found or _is_unfinished(one, parts)):
                await self._give_receipts(one, parts)
            if one.refused is None:
                one.parts = parts

    async def _give_receipts(self, one: Work, parts: Mapping[Part, Standing]) -> None:
        files = one.wanted.entry.attachments
        one.not_attached = await attach(self._client, parts[Part.MAIN], files, self._max_attachment_bytes)
        if not _waits_for_receipts(one):
            return
        if one.not_attached:
            one.refuse_for_files()
            for record in parts.values() if not one.found else ():
                await self._writer.drop(record)
        elif one.wanted.post:
            async for _, refused in self._writer.claim(list(parts.values())):
                if refused is not None and one.refused is None:
                    one.refused = await self._explain(one.wanted, refused)


def _is_outcome(row: Any) -> bool:
    match row:
        case {"found": bool(), "records": [str(), *_] as names}:
            return all(EXTERNAL_ID.fullmatch(str(name)) for name in names)
        case _:
            return False


def _waits_for_receipts(one: Work) -> bool:
    return one.wanted.entry.attachments_required and bool(one.wanted.entry.attachments)


def _is_unfinished(one: Work, parts: Mapping[Part, Standing]) -> bool:
    """Whether an entry that another has just made still waits for receipts; nobody may report it before it has them."""
    return _waits_for_receipts(one) and any(record.state is EntryState.DRAFT for record in parts.values())


def _as_sent(one: Work) -> Row:
    waits = _waits_for_receipts(one)
    return {
        "pleo_entry_id": one.id_,
        "post": one.wanted.post and not waits,
        "settle": one.wanted.settle and not waits,
        "documents": [
            {"model": record.model.value, "values": {**record.values, "description": record.text}}
            for record in one.wanted.records
        ],
    }
