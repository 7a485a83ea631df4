"""Writing a draft anew in place, and taking back what is posted by a move of its own.

A draft is written anew in one call, which is one transaction: its lines are replaced, its receipts stay. A reversal has
an external id of its own, so that there is one, whoever else is at it; once it is posted neither is in force any more,
and the expense can be booked anew under the next turn of its id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace as with_changes
from datetime import date
from decimal import Decimal
from typing import Any

from blocks.erp.base import Outcome
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Entry, EntryState, Recorded
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.odoo.books import OdooBooks, load_text
from blocks.erp.odoo.checks import locked
from blocks.erp.odoo.client import OdooClient, Row
from blocks.erp.odoo.directory import Directory
from blocks.erp.odoo.kept import FILE_NAME
from blocks.erp.odoo.moves import Move, MoveReader, Standing
from blocks.erp.odoo.names import MODEL, external_id, origin_of
from blocks.erp.odoo.payloads import LEFT_ALONE, NOTHING_ADDED, Cells, MovePayload, kept_cells, payload_of
from blocks.erp.remote.calls import CallRefused
from blocks.text import one_line

FIRST_WITH_SEVERAL = 18
"""The version from which several moves can be written in one transaction."""

_ANEW = NOTHING_ADDED | {"dynamic_unlink": True}
"""Lines of taxes and vendors make way only for who says that others take their place."""

_TURNED = {"entry": "entry", "in_invoice": "in_refund", "in_refund": "in_invoice"}
_NUMBERS = frozenset({"debit", "credit", "amount_currency", "price_unit", "quantity", "tax_base_amount"})
_SEVERAL = frozenset({"tax_ids", "tax_tag_ids"})


class Changes:
    """Changes in one company's books."""

    def __init__(
        self, client: OdooClient, directory: Directory, reader: MoveReader, books: OdooBooks, units: MinorUnits
    ) -> None:
        self._client = client
        self._directory = directory
        self._reader = reader
        self._books = books
        self._units = units

    async def replace(self, entry: Entry) -> Outcome:
        """Write the draft of an entry anew; `check` has found nothing wrong with it."""
        id_ = entry.accounting_entry_id
        standing = (await self._books.look_up([id_])).get(id_.lower())
        why = self._why_not(entry, standing)
        if standing is None or why:
            return Refused(id_, RefusalKind.OTHER, "replacement", why)
        made = payload_of(entry, self._directory, self._units, standing.main.name.turn)
        values = [_values(move) for move in made.moves]
        for one, move, payload in zip(values, standing.moves, made.moves, strict=True):
            if one["move_type"] == move.row["move_type"]:
                del one["move_type"]
            one.setdefault("partner_id", False)
            if move is standing.main:
                one["attachment_ids"] = await self._kept_anew(move, kept_cells(payload.name, made.kept))
        ids = [move.id for move in standing.moves]
        try:
            if len(ids) == 1:
                await self._client.call(MODEL, "write", ids, changes=True, context=_ANEW, vals=values[0])
            else:
                given: Row = {"vals_list": values, "specification": {}}
                await self._client.call(MODEL, "web_save_multi", ids, changes=True, context=_ANEW, **given)
        except CallRefused as error:
            return await self._books.explain(entry, error)
        stands = (await self._books.look_up([id_])).get(id_.lower())
        differs = self._books.differences(entry, stands) if stands is not None else ["it is not there any more"]
        if stands is None or differs:
            text = f"Odoo did not write it anew as it was sent ({external_id(ids[0])}): {'; '.join(differs)}"
            return Refused(id_, RefusalKind.OTHER, "replacement", text)
        return self._reader.recorded(stands)

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """Take back posted entries, each as it was found, by others on that day."""
        locks = await self._books.locks()
        refused = []
        for entry in entries:
            id_ = entry.accounting_entry_id
            standing = (await self._books.look_up([id_])).get(id_.lower())
            if standing is None or external_id(standing.main.id) != entry.external_id:
                continue  # it was reversed already, and what stands now was booked since
            why: Refused | None
            if standing.state is EntryState.DRAFT:
                why = self._refused(standing, "it is a draft: delete it in Odoo, or post it first")
            elif locks.cover(day):
                why = locked(id_, day, locks)
            elif len(standing.moves) == 1 and _is_settled(standing.main):
                why = self._refused(standing, "it is settled with another entry: undo that in Odoo first")
            else:
                why = await self._reverse(standing, day)
            if why is not None:
                refused.append(why)
        return refused

    def _why_not(self, entry: Entry, standing: Standing | None) -> str:
        """Why a draft cannot be written anew, empty where it can."""
        if standing is None:
            return "it does not stand in Odoo"
        name = external_id(standing.main.id)
        if any(move.state is not EntryState.DRAFT for move in standing.moves):
            return f"{name} is no draft any more"
        if edits := self._reader.edits(standing):
            return f"{name} was edited in Odoo: {'; '.join(edits)}"
        count = len(payload_of(entry, self._directory, self._units, 1).moves)
        if count != len(standing.moves):
            return f"{name} would have another number of documents: delete it in Odoo, and export the expense again"
        if count > 1 and self._client.version < FIRST_WITH_SEVERAL:
            return f"Odoo {self._client.version} cannot write a bill and its payment anew together: delete them there"
        return ""

    async def _kept_anew(self, move: Move, cells: Cells) -> list[Any]:
        """The command by which what is kept with a move is written anew."""
        domain = [["res_model", "=", MODEL], ["res_id", "=", move.id], ["name", "=", FILE_NAME]]
        rows = await self._client.search_read("ir.attachment", domain, ("id",), limit=1)
        if rows:
            return [[1, rows[0]["id"], {name: cells[name] for name in ("datas", "description")}]]
        return [[0, 0, {name: text for name, text in cells.items() if name != "id"}]]

    async def _reverse(self, standing: Standing, day: date) -> Refused | None:
        rows: list[list[Cells]] = [self._turned(move, day) for move in standing.moves]
        flat = [row for move_rows in rows for row in move_rows]
        columns = list(dict.fromkeys(name for row in flat for name in row))
        data = [[row.get(name, "") for name in columns] for row in flat]
        try:
            told = await self._client.call(
                MODEL, "load", changes=True, context=NOTHING_ADDED | LEFT_ALONE, fields=columns, data=data
            )
            if not told.get("ids"):
                return self._refused(standing, f"Odoo refuses to reverse it: {load_text(told)}")
            made = await self._moves(told["ids"])
            if wrong := self._not_opposite(standing, made):
                await self._client.call(MODEL, "unlink", told["ids"], changes=True)
                return self._refused(standing, f"Odoo did not reverse it as it was sent: {wrong}")
            drafts = [row["id"] for row, _ in made if row["state"] == "draft"]
            if drafts:
                await self._client.call(MODEL, "action_post", drafts, changes=True, context=NOTHING_ADDED)
            await self._close_between(told["ids"])
        except CallRefused as error:
            return self._refused(standing, f"Odoo refuses to reverse it: {error}")
        return None

    def _turned(self, move: Move, day: date) -> list[Cells]:
        """The rows of a move's reversal: the same lines on the other side."""
        name = with_changes(move.name, reversal=True)
        type_ = _TURNED[move.row["move_type"]]
        head: Cells = {
            "id": str(name),
            "move_type": type_,
            "journal_id/.id": str(move.row["journal_id"]),
            "date": day.isoformat(),
            "currency_id/.id": str(move.row["currency_id"]),
            "ref": one_line(f"Reversal of {move.row['name'] or move.id}", 200),
            "invoice_origin": origin_of(move.name.accounting_entry_id),
            "reversed_entry_id/.id": str(move.id),
        }
        if move.row["partner_id"]:
            head["partner_id/.id"] = str(move.row["partner_id"])
        if type_ != "entry":
            head |= {"invoice_date": day.isoformat(), "invoice_date_due": day.isoformat()}
        rows = []
        for place, line in enumerate(move.lines, 1):
            cells = self._turned_line(line, type_, day) | {"id": name.part(f"line{place}")}
            rows.append((head if place == 1 else {}) | {f"line_ids/{key}": text for key, text in cells.items()})
        return rows

    def _turned_line(self, line: Row, type_: str, day: date) -> Cells:
        made: Cells = {
            "account_id/.id": str(line["account_id"]),
            "debit": f"{max(-Decimal(line['balance']), Decimal(0)):f}",
            "credit": f"{max(Decimal(line['balance']), Decimal(0)):f}",
            "currency_id/.id": str(line["currency_id"]),
            "amount_currency": f"{-Decimal(line['amount_currency']):f}",
            "name": line["name"] or "",
            "display_type": line["display_type"],
        }
        if line["partner_id"]:
            made["partner_id/.id"] = str(line["partner_id"])
        if line["analytic_distribution"]:
            made["analytic_distribution"] = json.dumps(
                {key: float(share) for key, share in line["analytic_distribution"].items()}
            )
        if line["display_type"] == "payment_term":
            made["date_maturity"] = day.isoformat()
        elif type_ != "entry" and line["display_type"] == "product":
            amount = Decimal(line["amount_currency"]) * (1 if type_ == "in_refund" else -1)
            made |= {"quantity": "-1" if amount < 0 else "1", "price_unit": f"{abs(amount):f}"}
        for tax in self._directory.taxes.values():
            if tax.id in line["tax_ids"]:
                made |= {"tax_ids/.id": str(tax.id), "tax_tag_ids/.id": ",".join(map(str, tax.base_tags[True]))}
            for refund in (False, True):
                for place, part in enumerate(tax.parts[refund]):
                    if line["tax_repartition_line_id"] == part.id:
                        others = tax.parts[not refund]
                        other = others[place] if place < len(others) else part
                        made["tax_repartition_line_id/.id"] = str(other.id)
                        made["tax_tag_ids/.id"] = ",".join(map(str, other.tags))
        return made

    async def _moves(self, ids: Sequence[int]) -> list[tuple[Row, list[Row]]]:
        rows = await self._client.search_read(MODEL, [["id", "in", list(ids)]], ("state", "date"))
        lines = await self._client.search_read(
            "account.move.line",
            [["move_id", "in", list(ids)]],
            ("move_id", "account_id", "balance", "amount_currency", "reconciled"),
        )
        return [(row, [line for line in lines if line["move_id"] == row["id"]]) for row in rows]

    def _not_opposite(self, standing: Standing, made: Sequence[tuple[Row, list[Row]]]) -> str:
        """In what reversals are not the opposite of what stands, empty where they are."""
        before = Counter(
            (line["account_id"], Decimal(line["amount_currency"]), Decimal(line["balance"]))
            for move in standing.moves
            for line in move.lines
        )
        after = Counter(
            (line["account_id"], -Decimal(line["amount_currency"]), -Decimal(line["balance"]))
            for _, lines in made
            for line in lines
        )
        return "" if before == after else "its lines are other ones"

    async def _close_between(self, ids: Sequence[int]) -> None:
        """Of a bill and a payment that settled each other, let the reversals do so too."""
        if len(ids) < 2:
            return
        owing = {one.id for one in self._directory.accounts.values() if one.payable or one.reconcile}
        lines = [
            line
            for _, several in await self._moves(ids)
            for line in several
            if line["account_id"] in owing and not line["reconciled"] and Decimal(line["amount_currency"])
        ]
        if len(lines) == 2 and lines[0]["account_id"] == lines[1]["account_id"]:
            await self._client.call("account.move.line", "reconcile", [one["id"] for one in lines], changes=True)

    @staticmethod
    def _refused(standing: Standing, why: str) -> Refused:
        return Refused(standing.id_, RefusalKind.OTHER, external_id(standing.main.id), why)


def _is_settled(move: Move) -> bool:
    """Whether a line of it is reconciled with another move's."""
    return any(line["reconciled"] and Decimal(line["amount_currency"]) for line in move.lines)


def _values(move: MovePayload) -> Row:
    """A payload as values for `write`: the lines that are there make way."""
    values = _converted({name: text for name, text in move.head.items() if name != "id"})
    lines = [_converted({name: text for name, text in line.items() if name != "id"}) for line in move.lines]
    return {**values, "line_ids": [[5, 0, 0], *([0, 0, line] for line in lines)]}


def _converted(cells: Mapping[str, str]) -> Row:
    made: Row = {}
    for name, text in cells.items():
        field, _, kind = name.partition("/")
        if field in _SEVERAL:
            made[field] = [[6, 0, [int(one) for one in text.split(",") if one]]]
        elif kind == ".id":
            made[field] = int(text)
        elif field in _NUMBERS:
            made[field] = float(text)
        elif field == "analytic_distribution":
            made[field] = json.loads(text)
        else:
            made[field] = text
    return made
