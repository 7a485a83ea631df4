"""Writing drafts anew in place: the same records with other lines, so that ids, links and receipts stay.

Each record is one request, which Tryton carries out wholly or not at all. Of a bill with its payment the payment comes
first and the note of what was written last, so that a run that is broken off in between is gone on with by the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from blocks.erp.entries import EntryState, Recorded
from blocks.erp.errors import ErpOutcomeUnknown, RefusalKind, Refused
from blocks.erp.remote.calls import CallRefused
from blocks.erp.tryton.client import Row, TrytonClient
from blocks.erp.tryton.finder import Finder
from blocks.erp.tryton.payloads import EntryPayload, RecordPayload
from blocks.erp.tryton.records import RecordRole, TrytonRecord, chosen
from blocks.erp.tryton.statements import Written, note_of, notes_on, put_notes
from blocks.erp.tryton.stock_recorder import Explain

_OWNED = ("lines", "taxes")
"""The records within a record, which are made anew."""

_FIXED = {"company", "type"}
"""What stays as it is whatever the entry is now."""


class Replacer:
    """Replaces the drafts of one company's entries."""

    def __init__(self, client: TrytonClient, finder: Finder, explain: Explain, *, by_module: bool) -> None:
        self._client = client
        self._finder = finder
        self._explain = explain
        self._by_module = by_module

    async def replace(self, payload: EntryPayload) -> Recorded | Refused:
        """What stands then, or why it is as it was. Raises ErpUnavailable, ErpOutcomeUnknown, ErpLoginRefused."""
        id_ = payload.entry.accounting_entry_id
        by_role = chosen((await self._finder.read([id_])).get(id_.lower(), []))
        stands = (await self._finder.find([id_])).get(id_.lower())
        why = _why_not(payload, by_role, stands)
        if why is not None or stands is None:
            return Refused(id_, RefusalKind.OTHER, "replacement", why or "it does not stand in Tryton any more")
        try:
            await self._write(payload, by_role, stands)
        except CallRefused as error:
            return await self._explain(payload, error)
        now = (await self._finder.find([id_])).get(id_.lower())
        if now is None:
            raise ErpOutcomeUnknown(f"Tryton does not find expense {id_}, just replaced")
        return now

    async def _write(self, payload: EntryPayload, by_role: Mapping[RecordRole, TrytonRecord], stands: Recorded) -> None:
        main = by_role[RecordRole.MAIN]
        old = (await notes_on(self._client, [main.external_id])).get(main.external_id)
        now = Written(stands.posting_date, stands.balances)
        holding = replace(old.holding(now), before=None) if old is not None else None
        shows = now != Written.of(payload.entry)  # whether what stands tells if it has been written yet
        if shows and holding is not None:
            await put_notes(self._client, [(main.external_id, note_of(payload.entry, holding))])
        for record in sorted(payload.records, key=lambda one: one.key.role is RecordRole.MAIN):
            await self._write_record(by_role[record.key.role], record)
        if not (shows and holding is not None):
            await put_notes(self._client, [(main.external_id, note_of(payload.entry))])

    async def _write_record(self, record: TrytonRecord, payload: RecordPayload) -> None:
        owned = [name for name in _OWNED if name in payload.values]
        (now,) = await self._client.search(record.model.value, [["id", "=", record.id]], owned) or [{}]
        values: Row = {name: value for name, value in payload.values.items() if name not in _FIXED}
        for name in owned:
            gone: list[Sequence[Any]] = [["delete", now[name]]] if now.get(name) else []
            values[name] = [*gone, *payload.values[name]]
        if self._by_module:
            values["description"] = payload.text  # else it is the key, which stays
        await self._client.write(record.model.value, record.id, values)


def _why_not(payload: EntryPayload, by_role: Mapping[RecordRole, TrytonRecord], stands: Recorded | None) -> str | None:
    if stands is None:
        return "it does not stand in Tryton any more"
    name = stands.external_id
    if any(one.state is EntryState.POSTED for one in by_role.values()):
        return f"{name} is posted in Tryton, and a posted entry is not written anew"
    if stands.edits:
        return f"{name} was edited in Tryton ({'; '.join(stands.edits)}), and stays as it is"
    if {role: one.model for role, one in by_role.items()} != {one.key.role: one.model for one in payload.records}:
        return (
            f"{name} would have to become another kind of record (a bill or a journal entry, with its payment or "
            "without): delete it in Tryton, and export the expense again"
        )
    return None
