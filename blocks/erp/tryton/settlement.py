"""Bills and payments in Tryton that belong together, and settling them: their payable lines are reconciled.

Which do is told in `blocks.erp.remote.payables`. Bills have the invoice's number as their reference, payments in the
text of their payable line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from blocks.erp.entries import DocumentKind
from blocks.erp.remote.calls import CallRefused
from blocks.erp.remote.payables import InvoiceGroup, Payable, counterparts, groups_of, to_settle
from blocks.erp.tryton.client import Row, TrytonClient
from blocks.erp.tryton.directory import Directory
from blocks.erp.tryton.records import (
    PAID_ELSEWHERE,
    PAYMENTS,
    POSTED_STATES,
    Model,
    RecordRole,
    TrytonRecord,
    external_id,
    payment_text,
    read_key,
    read_payment_text,
    read_statement,
)

RECONCILIATION = "account.move.reconciliation"

Entries = Mapping[str, Mapping[RecordRole, TrytonRecord]]

_INVOICE_FIELDS = (
    "description", "party", "reference", "currency", "account", "total_amount", "comment", "state", "accounting_date",
    "invoice_date", "lines_to_pay",
)  # fmt: skip
_LINE_FIELDS = (
    "move.description", "move.state", "move.date", "description", "party", "account", "debit", "credit",
    "second_currency", "amount_second_currency", "reconciliation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrytonPayable(Payable):
    """A bill or a payment, and its day: `settle` reconciles on the later one."""

    day: date = date.min


class PayableReader:
    """Reads one company's bills and payments. With `by_module` ours are known by the fields of our module."""

    def __init__(self, client: TrytonClient, directory: Directory, *, by_module: bool) -> None:
        self._client = client
        self._directory = directory
        self._by_module = by_module
        self._payable_ids = {one.id for one in directory.accounts.values() if one.payable}

    async def of_entries(
        self, entries: Mapping[str, Mapping[RecordRole, TrytonRecord]]
    ) -> dict[str, list[TrytonPayable]]:
        """The bills and payments of each entry, the main one first, by accounting entry id."""
        records = [one for by_role in entries.values() for one in by_role.values()]
        invoices = [one.id for one in records if one.model is Model.INVOICE]
        moves = [one.id for one in records if one.model is Model.MOVE and self._may_owe(one)]
        found: dict[str, TrytonPayable] = {}
        if invoices:
            rows = await self._client.search(Model.INVOICE.value, [["id", "in", invoices]], self._invoice_fields())
            found |= {one.external_id: one for row in rows if (one := self._invoice(row)) is not None}
        if moves:
            domain = [["move", "in", moves], ["account", "in", sorted(self._payable_ids)]]
            found |= self._of_lines(await self._client.search("account.move.line", domain, self._line_fields()))
        told = {
            id_: [
                found[by_role[role].external_id]
                for role in RecordRole
                if role in by_role and by_role[role].external_id in found
            ]
            for id_, by_role in entries.items()
        }
        return {id_: several for id_, several in told.items() if several}

    async def of_groups(self, groups: Collection[InvoiceGroup]) -> list[TrytonPayable]:
        """All bills and payments of ours that are alone in their entry and belong to one of these groups."""
        if not groups:
            return []
        numbers = sorted({group.number for group in groups})
        parties = sorted({group.partner for group in groups if group.partner is not None})
        of_company = ["company", "=", self._directory.company_id]
        domain = [of_company, ["type", "=", "in"], ["party", "in", parties], ["reference", "in", numbers]]
        rows = await self._client.search(Model.INVOICE.value, domain, self._invoice_fields())
        found = [one for row in rows if self._is_ours(row) and (one := self._invoice(row)) is not None]
        texts = [payment_text(kind, number) for kind in PAYMENTS for number in numbers]
        accounts = sorted({group.account for group in groups})
        lines = [["party", "in", parties], ["account", "in", accounts], ["description", "in", texts]]
        rows = await self._client.search("account.move.line", lines, self._line_fields())
        found += self._of_lines([row for row in rows if self._is_ours(row["move"])]).values()
        return [one for one in found if one.group in groups]

    def _may_owe(self, record: TrytonRecord) -> bool:
        """Whether a move can be a bill or payment: it has a line on a payable account, where its lines are known."""
        lines = record.row.get("lines")
        return lines is None or any(
            (line["account"] or {}).get("id") in self._payable_ids and line.get("party") for line in lines
        )

    def _invoice_fields(self) -> Sequence[str]:
        return [*_INVOICE_FIELDS, "pleo_entry_id", "pleo_belongs_to"] if self._by_module else _INVOICE_FIELDS

    def _line_fields(self) -> Sequence[str]:
        return [*_LINE_FIELDS, "move.pleo_entry_id", "move.pleo_belongs_to"] if self._by_module else _LINE_FIELDS

    def _is_ours(self, row: Row) -> bool:
        """Whether a record is one of ours, and the main one of its expense with no other beside it."""
        if self._by_module:
            return bool(row["pleo_entry_id"]) and not row["pleo_belongs_to"]
        key = read_key(row["description"])
        return key is not None and key.role is RecordRole.MAIN

    def _invoice(self, row: Row) -> TrytonPayable | None:
        if row["state"] == "cancelled":
            return None
        told = read_statement(row["comment"])
        documents = told.documents if told is not None else ""
        lines: list[int] = row["lines_to_pay"] or []
        return TrytonPayable(
            external_id(Model.INVOICE, row["id"]),
            DocumentKind.CREDIT_NOTE if row["total_amount"] < 0 else DocumentKind.BILL,
            row["total_amount"],
            InvoiceGroup(
                row["party"], row["currency"], row["account"], "" if " and " in documents else row["reference"] or ""
            ),
            day=row["accounting_date"] or row["invoice_date"],
            posted=row["state"] in POSTED_STATES,
            settled=row["state"] == "paid",
            line=lines[0] if len(lines) == 1 else None,
            stays_open=documents == PAID_ELSEWHERE,
        )

    def _of_lines(self, rows: Sequence[Row]) -> dict[str, TrytonPayable]:
        """The payments that payable lines are of; a move with several of them can be settled by none of them."""
        by_move: dict[int, list[Row]] = {}
        for row in rows:
            by_move.setdefault(row["move"]["id"], []).append(row)
        return {external_id(Model.MOVE, id_): self._payment(id_, lines) for id_, lines in by_move.items()}

    def _payment(self, move_id: int, rows: Sequence[Row]) -> TrytonPayable:
        first = rows[0]
        told = read_payment_text(first["description"])
        foreign = first["second_currency"]
        owed = Decimal(0)
        for row in rows:
            owed -= (row["amount_second_currency"] or 0) if foreign else row["debit"] - row["credit"]
        kind = told[0] if told is not None else DocumentKind.REFUND if owed > 0 else DocumentKind.PAYMENT
        return TrytonPayable(
            external_id(Model.MOVE, move_id),
            kind,
            owed,
            InvoiceGroup(
                first["party"],
                foreign or self._directory.currency.id,
                first["account"],
                told[1] if told is not None else "",
            ),
            day=first["move"]["date"],
            posted=first["move"]["state"] == "posted",
            settled=all(row["reconciliation"] for row in rows),
            line=first["id"] if len(rows) == 1 else None,
        )


async def counterparts_of(
    client: TrytonClient, directory: Directory, entries: Entries, *, by_module: bool
) -> dict[str, tuple[tuple[str, ...], bool]]:
    """What belongs to each of these entries, and whether nothing is open between them, by accounting entry id; those
    with no bill and no payment are left out."""
    reader = PayableReader(client, directory, by_module=by_module)
    own = await reader.of_entries(entries)
    others = await reader.of_groups(groups_of(own.values()))
    return {id_: counterparts(several, others) for id_, several in own.items()}


async def settle(client: TrytonClient, directory: Directory, entries: Entries, *, by_module: bool) -> None:
    """Reconcile the bills and payments of these entries, with each other or with what was recorded before.

    What Tryton refuses to reconcile, as the rates of two days differ say, stays open, and `find` tells so.
    """
    reader = PayableReader(client, directory, by_module=by_module)
    own = await reader.of_entries(entries)
    for together in to_settle(own.values(), await reader.of_groups(groups_of(own.values(), alone=True))):
        values = {
            "company": directory.company_id,
            "date": max(one.day for one in together),
            "lines": [["add", [one.line for one in together]]],
        }
        with suppress(CallRefused):  # two rates, an account that is not reconciled, or another writer was faster
            await client.create(RECONCILIATION, [values])
