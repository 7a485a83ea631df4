"""Bills and payments in Odoo that belong together, and settling them: their payable lines are reconciled.

Which do is told in `blocks.erp.remote.payables`. Bills and payments have the invoice's number as their reference.

Where they were booked at two rates, Odoo itself books what is left in the company's currency when it reconciles: in its
journal for exchange differences, on its account for gains or for losses, at the end of the later one's month. It does
so here where the settings name that very account; else they stay open, and it is told why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal

from blocks.erp.entries import DocumentKind, EntryState, Recorded
from blocks.erp.odoo.client import OdooClient, Row
from blocks.erp.odoo.directory import Directory
from blocks.erp.odoo.moves import Move, MoveReader, Standing
from blocks.erp.odoo.names import external_id
from blocks.erp.remote.calls import CallRefused
from blocks.erp.remote.payables import InvoiceGroup, Payable, counterparts, groups_of, to_settle

_LINES = "account.move.line"


@dataclass(frozen=True, slots=True)
class ExchangeAccounts:
    """The codes of the accounts that the settings name for differences of rates, empty where they name none."""

    gain: str = ""
    loss: str = ""


@dataclass(frozen=True, slots=True)
class OdooPayable(Payable):
    """A bill or a payment of the expense `entry`; `worth` is what is owed by it in the company's currency."""

    entry: str = ""
    worth: Decimal = Decimal(0)


Together = tuple[OdooPayable, ...]


class Settlements:
    """Settles one company's bills and payments, and tells how they stand."""

    def __init__(
        self, client: OdooClient, directory: Directory, reader: MoveReader, exchange: ExchangeAccounts
    ) -> None:
        self._client = client
        self._directory = directory
        self._reader = reader
        self._exchange = exchange
        self._owing = {one.id for one in directory.accounts.values() if one.payable or one.reconcile}

    async def told(self, standing: Mapping[str, Standing]) -> dict[str, Recorded]:
        """The entries as they are reported, with their counterparts."""
        own = {id_: self._payables(one) for id_, one in standing.items()}
        others = await self._of_groups(groups_of(own.values()))
        why = {
            payable.entry: text
            for together in to_settle(own.values(), others)
            if (text := self._obstacle(together))
            for payable in together
        }
        return {id_: self._told(one, own[id_], others, why.get(id_, "")) for id_, one in standing.items()}

    async def settle(self, standing: Collection[Standing]) -> None:
        """Reconcile the posted bills and payments among these, with each other or with what was recorded before.

        What Odoo refuses to reconcile stays open, and `told` tells so.
        """
        own = [self._payables(one) for one in standing if one.state is EntryState.POSTED]
        for together in to_settle(own, await self._of_groups(groups_of(own, alone=True))):
            if not self._obstacle(together):
                await self._reconcile(together)

    def _obstacle(self, together: Together) -> str:
        """Why they cannot be settled; empty where they can."""
        left = sum((one.worth for one in together), Decimal(0))
        if not left:
            return ""
        kind, named, odoos = "gain", self._exchange.gain, self._directory.exchange_gain
        if left < 0:
            kind, named, odoos = "loss", self._exchange.loss, self._directory.exchange_loss
        if named and named == odoos:
            return ""
        own = self._directory.currency
        text = f"{own.exactly(abs(left))} {own.code} of exchange {kind} would be left"
        if not odoos:
            return f"{text}, for which Odoo has no account: choose one in its settings of accounting"
        return f"{text}, which Odoo books on {odoos}: set exchange_{kind}_account to that, or choose another in Odoo"

    async def _reconcile(self, together: Together) -> None:
        lines = [one.line for one in together if one.line is not None]
        with suppress(CallRefused):  # another writer was faster, or somebody settled it otherwise
            await self._client.call(_LINES, "reconcile", lines, changes=True)

    async def _of_groups(self, groups: Collection[InvoiceGroup]) -> list[OdooPayable]:
        """All bills and payments of ours that are alone in their entry and belong to one of these groups."""
        if not groups:
            return []
        found = await self._reader.by_reference(sorted({group.number for group in groups}))
        alone = [
            several[0]
            for one in found.values()
            if one.standing is not None and len(several := self._payables(one.standing)) == 1
        ]
        return [one for one in alone if one.group in groups]

    def _payables(self, standing: Standing) -> list[OdooPayable]:
        """The bills and payments of an entry, the main one first; of an entry that is none of these there are none."""
        kept = standing.kept
        if kept is None or not kept.documents or len(kept.documents) != len(standing.moves):
            return []
        made = []
        for move, kind in zip(standing.moves, kept.documents, strict=True):
            number = kept.invoice_number if len(standing.moves) == 1 else ""
            payable = self._payable(move, kind, number, stays_open=kept.stays_open)
            if payable is not None:
                made.append(payable)
        return made

    def _payable(self, move: Move, kind: DocumentKind, number: str, *, stays_open: bool) -> OdooPayable | None:
        lines = self._owing_lines(move)
        if not lines:
            return None
        first = lines[0]
        partner = first["partner_id"] or None
        return OdooPayable(
            entry=move.name.accounting_entry_id,
            external_id=external_id(move.id),
            kind=kind,
            owed=-sum((Decimal(line["amount_currency"]) for line in lines), Decimal(0)),
            worth=-sum((Decimal(line["balance"]) for line in lines), Decimal(0)),
            group=InvoiceGroup(partner, first["currency_id"], first["account_id"], number if partner else ""),
            posted=move.state is EntryState.POSTED,
            settled=move.state is EntryState.POSTED and all(line["reconciled"] for line in lines),
            line=first["id"] if len(lines) == 1 else None,
            stays_open=stays_open,
        )

    def _owing_lines(self, move: Move) -> list[Row]:
        """The lines on the account that is owed on: the vendor's own line of a bill, else those that are reconciled."""
        terms = [line for line in move.lines if line["display_type"] == "payment_term"]
        return terms or [line for line in move.lines if line["account_id"] in self._owing]

    def _told(self, standing: Standing, own: Sequence[Payable], others: Sequence[Payable], why: str) -> Recorded:
        recorded = self._reader.recorded(standing)
        if not own:
            return recorded
        names, settled = counterparts(own, others)
        return replace(recorded, counterparts=names, settled=settled, open_because="" if settled else why)
