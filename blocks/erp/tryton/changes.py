"""Writing drafts anew in place, and taking posted moves back on a stock server.

A draft keeps its records, so that ids, links and receipts stay. Each record is one request, which Tryton carries out
wholly or not at all. Of a bill with its payment the payment comes first and the note of what was written last, so that
a run that is broken off in between is gone on with by the next.

A move is taken back by a move of its own, which has the first one as its origin. A reversal is found by its description
(`pleo:`, the expense's id, ` reversal`) and by its origin. It is made as every record of ours is
(`blocks.erp.tryton.claims`): a draft that is posted only after a search, begun when it was there for everyone to see,
has found it to be the only reversal of its move. From then on the first move does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from blocks.erp.entries import EntryState, Recorded
from blocks.erp.errors import ErpOutcomeUnknown, ErpUnavailable, RefusalKind, Refused
from blocks.erp.remote.calls import CallRefused, NotThere
from blocks.erp.tryton.claims import NextStep, Writer, decide
from blocks.erp.tryton.client import Row, TrytonClient
from blocks.erp.tryton.directory import Directory
from blocks.erp.tryton.finder import Finder
from blocks.erp.tryton.payloads import EntryPayload, RecordPayload
from blocks.erp.tryton.records import Model, RecordKey, RecordRole, TrytonRecord, chosen, record_of, reversal_key
from blocks.erp.tryton.settlement import RECONCILIATION
from blocks.erp.tryton.statements import MODEL as NOTE
from blocks.erp.tryton.statements import Written, note_of, notes_on, put_notes
from blocks.erp.tryton.stock_recorder import PATIENT_ROUNDS, ROUNDS, WAIT_S, Explain
from blocks.text import one_line

_OWNED = ("lines", "taxes")
"""The records within a record, which are made anew."""

_FIXED = {"company", "type"}
"""What stays as it is whatever the entry is now."""
_MAX_TEXT = 500
_FIELDS = (
    "number", "journal", "state", "lines.account", "lines.account.reconcile", "lines.party", "lines.debit",
    "lines.credit", "lines.second_currency", "lines.amount_second_currency", "lines.description",
    "lines.reconciliation", "lines.tax_lines.tax", "lines.tax_lines.type", "lines.tax_lines.amount",
)  # fmt: skip
_ANALYTIC = ("lines.analytic_lines.account", "lines.analytic_lines.debit", "lines.analytic_lines.credit")


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


class Reverser:
    """Reverses moves of one company. With `analytic` its lines have analytic ones."""

    def __init__(self, client: TrytonClient, directory: Directory, finder: Finder, *, analytic: bool) -> None:
        self._client = client
        self._directory = directory
        self._finder = finder
        self._fields = (*_FIELDS, *_ANALYTIC) if analytic else _FIELDS

    async def reverse(self, entry: Recorded, day: date) -> Refused | None:
        """Why it cannot be taken back, or None once it is. Raises as `StockRecorder.record`."""
        id_ = entry.accounting_entry_id.lower()
        if any(one.row["state"] == "posted" for one in await self._reversals(entry)):
            await self._reconcile(entry)
            return None
        by_role = chosen((await self._finder.read([id_])).get(id_, []))
        why = self._why_not(entry, by_role, day)
        if why is not None:
            return why
        (move,) = await self._move(entry)
        if any(line["reconciliation"] for line in move["lines"]):
            return _refused(entry, f"{entry.external_id} is settled with another entry: undo that in Tryton first")
        refused = await self._make(entry, move, day)
        if refused is None:
            await self._reconcile(entry)
        return refused

    def _why_not(self, entry: Recorded, by_role: Mapping[RecordRole, TrytonRecord], day: date) -> Refused | None:
        main = by_role.get(RecordRole.MAIN)
        if main is None or main.external_id != entry.external_id:
            return _refused(entry, f"{entry.external_id} does not stand in Tryton any more")
        if main.model is Model.INVOICE or len(by_role) > 1:
            return _refused(
                entry, f"{entry.external_id} is a bill: cancel it in Tryton, or enter its credit note there, by hand"
            )
        if main.row["state"] != "posted":
            return _refused(entry, f"{entry.external_id} is a draft in Tryton")
        if self._directory.period(day) is None:
            text = f"The period of {day.isoformat()} is closed in Tryton, or there is none."
            return Refused(entry.accounting_entry_id, RefusalKind.CLOSED_PERIOD, day.isoformat(), text)
        return None

    async def _make(self, entry: Recorded, move: Row, day: date) -> Refused | None:
        writer, own = Writer(self._client, post=True), set[str]()
        for round_ in range(ROUNDS):
            decision = decide(await self._reversals(entry), own, patient=round_ < PATIENT_ROUNDS)
            for record in decision.drop:
                await writer.drop(record)
            if decision.step is NextStep.DONE:
                return None
            try:
                if decision.step is NextStep.CREATE:
                    (made,) = await self._client.create(Model.MOVE.value, [self._values(entry, move, day)])
                    own.add(f"{Model.MOVE.value},{made}")
                elif decision.step is NextStep.CLAIM and decision.record is not None:
                    await self._post(writer, decision.record)
                    text = f"Reversed by {decision.record.external_id}."
                    await self._client.create(NOTE, [{"resource": entry.external_id, "message": text}])
                else:
                    await asyncio.sleep(WAIT_S)
            except NotThere:
                continue  # somebody took our draft for one that nobody goes on with
            except CallRefused as error:
                for record in await self._reversals(entry):
                    if record.external_id in own and not record.counts:
                        await writer.drop(record)
                return _refused(entry, f"Tryton refuses the reversal: {error}")
        raise ErpUnavailable(f"others are reversing {entry.external_id} at the same time")

    @staticmethod
    async def _post(writer: Writer, record: TrytonRecord) -> None:
        async for _, refused in writer.claim([record]):
            if refused is not None:
                raise refused

    async def _reversals(self, entry: Recorded) -> list[TrytonRecord]:
        """The moves that take this one back, drafts too."""
        domain = [["description", "=", reversal_key(entry.accounting_entry_id)], ["origin", "=", entry.external_id]]
        rows = await self._client.search(
            Model.MOVE.value, domain, ("id", "state", "description", "create_date", "_timestamp")
        )
        key = RecordKey(entry.accounting_entry_id, RecordRole.MAIN)
        return [one for row in rows if (one := record_of(Model.MOVE, row, key)) is not None]

    async def _move(self, entry: Recorded) -> list[Row]:
        id_ = int(entry.external_id.partition(",")[2])
        return await self._client.search(Model.MOVE.value, [["id", "=", id_]], self._fields)

    def _values(self, entry: Recorded, move: Row, day: date) -> Row:
        period = self._directory.period(day)
        assert period is not None  # noqa: S101 - a day without one was refused
        return {
            "company": self._directory.company_id,
            "journal": move["journal"],
            "period": period.id,
            "date": day,
            "description": reversal_key(entry.accounting_entry_id),
            "origin": entry.external_id,
            "lines": [["create", [_turned(line, move["number"] or entry.external_id, day) for line in move["lines"]]]],
        }

    async def _reconcile(self, entry: Recorded) -> None:
        """Settle what the two moves leave open on accounts that are reconciled; what Tryton refuses stays open."""
        counting = [one for one in await self._reversals(entry) if one.counts]
        moves = [int(entry.external_id.partition(",")[2]), *(one.id for one in counting)]
        domain = [["move", "in", moves], ["account.reconcile", "=", True], ["reconciliation", "=", None]]
        lines = await self._client.search("account.move.line", domain, ("account", "party"))
        groups: dict[tuple[Any, Any], list[int]] = {}
        for line in lines:
            groups.setdefault((line["account"], line["party"]), []).append(line["id"])
        for ids in groups.values():
            if len(ids) > 1:
                values = {"company": self._directory.company_id, "date": entry.posting_date, "lines": [["add", ids]]}
                try:
                    await self._client.create(RECONCILIATION, [values])
                except CallRefused:
                    continue  # a person, or another run, was faster


def _turned(line: Row, number: str, day: date) -> Row:
    """The line on the other side, with its taxes and analytic lines."""
    made: Row = {
        "account": line["account"]["id"],
        "debit": line["credit"],
        "credit": line["debit"],
        "description": one_line(f"Reversal of {number}: {line['description'] or ''}", _MAX_TEXT),
    }
    if line["party"]:
        made["party"] = line["party"]
    if line["second_currency"]:
        made["second_currency"] = line["second_currency"]
        made["amount_second_currency"] = -line["amount_second_currency"]
    if line["tax_lines"]:
        taxes = [{"tax": one["tax"], "type": one["type"], "amount": -one["amount"]} for one in line["tax_lines"]]
        made["tax_lines"] = [["create", taxes]]
    if line.get("analytic_lines"):
        values = [
            {"account": one["account"], "debit": one["credit"], "credit": one["debit"], "date": day}
            for one in line["analytic_lines"]
        ]
        made["analytic_lines"] = [["create", values]]
    return made


def _refused(entry: Recorded, text: str) -> Refused:
    return Refused(entry.accounting_entry_id, RefusalKind.OTHER, entry.external_id, text)
