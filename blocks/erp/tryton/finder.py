"""Looks expenses up in Tryton: one search a model, however many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Recorded
from blocks.erp.tryton.attachments import attached_numbers
from blocks.erp.tryton.client import Row, TrytonClient
from blocks.erp.tryton.directory import Directory
from blocks.erp.tryton.records import (
    LOOK_UP_FIELDS,
    READ_FIELDS,
    Model,
    RecordKey,
    RecordRole,
    TrytonRecord,
    chosen,
    keys_of,
    link_to,
    read_key,
    record_of,
    recorded,
    reversed_by,
)
from blocks.erp.tryton.settlement import counterparts_of
from blocks.erp.tryton.statements import Note, Written, notes_on

MAX_IDS = 250
"""How many expenses one search asks for."""


class Finder:
    """Searches of one company's records. With `by_module` they are known by the fields of our module, else by their
    descriptions; `models` are those that the server keeps."""

    def __init__(
        self, client: TrytonClient, directory: Directory, units: MinorUnits, models: Sequence[Model], *, by_module: bool
    ) -> None:
        self._client = client
        self._directory = directory
        self._units = units
        self._models = tuple(models)
        self._by_module = by_module

    async def look_up(self, ids: Sequence[str]) -> dict[str, list[TrytonRecord]]:
        """All records of these expenses, in as few words as tell whether they count."""
        return await self._search(ids, LOOK_UP_FIELDS)

    async def read(self, ids: Sequence[str]) -> dict[str, list[TrytonRecord]]:
        """All records of these expenses, with what `entry` needs."""
        return await self._search(ids, READ_FIELDS)

    async def find(self, ids: Sequence[str]) -> dict[str, Recorded]:
        """The expenses that stand wholly, with their files and what they are settled with."""
        found = {id_: chosen(records) for id_, records in (await self.read(ids)).items()}
        mains = {id_: by_role[RecordRole.MAIN] for id_, by_role in found.items() if RecordRole.MAIN in by_role}
        files = await attached_numbers(self._client, list(mains.values()))
        entries = {
            id_: entry
            for id_, main in mains.items()
            if (entry := self.entry(found[id_], files.get(main.external_id))) is not None
        }
        notes = await notes_on(self._client, [main.external_id for main in mains.values()])
        entries = {id_: self._with_statement(entry, notes.get(entry.external_id)) for id_, entry in entries.items()}
        together = await counterparts_of(
            self._client, self._directory, {id_: found[id_] for id_ in entries}, by_module=self._by_module
        )
        return {
            id_: replace(entry, counterparts=together[id_][0], settled=together[id_][1]) if id_ in together else entry
            for id_, entry in entries.items()
        }

    def entry(self, by_role: Mapping[RecordRole, TrytonRecord], files: frozenset[int] | None = None) -> Recorded | None:
        """The records as the entry that they are, or None where one is missing."""
        main = by_role.get(RecordRole.MAIN)
        if main is None:
            return None
        link = link_to(self._client.base_url, self._client.database, main.external_id)
        return recorded(by_role, self._directory.currency.code, self._units, link, files or frozenset())

    def _with_statement(self, entry: Recorded, note: Note | None) -> Recorded:
        if note is None:
            return entry
        now = Written(entry.posting_date, entry.balances)
        holding = note.holding(now)
        edits = holding.written.edits_in(now, entry.currency, self._units)
        return replace(entry, statement=holding.statement, edits=edits)

    async def _search(self, ids: Sequence[str], fields: Mapping[Model, Sequence[str]]) -> dict[str, list[TrytonRecord]]:
        wanted = {id_.lower() for id_ in ids}
        found: dict[str, list[TrytonRecord]] = defaultdict(list)
        reversed_: set[str] = set()
        for portion in _portions(sorted(wanted)):
            for model in self._models:
                rows = await self._client.search(model.value, self._domain(portion), self._fields(fields[model]))
                for row in rows:
                    if taken_back := reversed_by(row):
                        reversed_.add(taken_back)
                    for key in self._keys(row):
                        record = record_of(model, row, key)
                        if record is not None and key.accounting_entry_id in wanted:
                            found[key.accounting_entry_id].append(record)
        standing = {id_: [one for one in some if one.external_id not in reversed_] for id_, some in found.items()}
        return {id_: some for id_, some in standing.items() if some}

    def _domain(self, ids: Sequence[str]) -> list[Any]:
        company = ["company", "=", self._directory.company_id]
        if self._by_module:
            return [company, ["OR", ["pleo_entry_id", "in", list(ids)], ["pleo_belongs_to", "in", list(ids)]]]
        return [company, ["description", "in", [text for id_ in ids for text in keys_of(id_)]]]

    def _fields(self, fields: Sequence[str]) -> list[str]:
        return [*fields, "pleo_entry_id", "pleo_belongs_to"] if self._by_module else list(fields)

    def _keys(self, row: Row) -> Iterator[RecordKey]:
        if not self._by_module:
            key = read_key(row["description"])
            if key is not None:
                yield key
            return
        for field, role in (("pleo_entry_id", RecordRole.MAIN), ("pleo_belongs_to", RecordRole.PAYMENT)):
            if row[field]:
                yield RecordKey(str(row[field]), role, claimed=True)


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]
