"""Bills and payments in Tryton that belong together, and settling them: their payable lines are reconciled.

Those of one expense belong together. Of several expenses they find each other by supplier, currency, payable account
and invoice number, which bills have as their reference and payments in the text of their payable line. Only records of
ours are ever settled, and only where the amounts are exactly opposite and there is no second one that it could be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from blocks.erp.settlement import settled_pairs
from blocks.erp.tryton.client import TrytonClient, TrytonRefused
from blocks.erp.tryton.directory import Directory
from blocks.erp.tryton.marks import Part
from blocks.erp.tryton.payables import OTHER_SIDE, Payable, PayableReader
from blocks.erp.tryton.records import Standing

RECONCILIATION = "account.move.reconciliation"

_MAX_COUNTERPARTS = 20

Entries = Mapping[str, Mapping[Part, Standing]]


@dataclass(frozen=True, slots=True)
class Together:
    """The other records of an entry's invoice, by external id, and whether nothing is open between them."""

    counterparts: tuple[str, ...] = ()
    settled: bool = False


async def belonging_together(
    client: TrytonClient, directory: Directory, entries: Entries, *, by_module: bool
) -> dict[str, Together]:
    """What belongs to each of these entries, by accounting entry id; those with no bill and no payment are left out."""
    reader = PayableReader(client, directory, by_module=by_module)
    own = await reader.of_entries(entries)
    others = await reader.of_groups({one.group for several in own.values() for one in several if one.group.number})
    return {id_: _together(several, others) for id_, several in own.items() if several}


async def settle(client: TrytonClient, directory: Directory, entries: Entries, *, by_module: bool) -> None:
    """Reconcile the bills and payments of these entries, with each other or with what was recorded before.

    What Tryton refuses to reconcile, as the rates of two days differ say, stays open, and `find` tells so.
    """
    reader = PayableReader(client, directory, by_module=by_module)
    own = await reader.of_entries(entries)
    couples = [(several[0], several[1]) for several in own.values() if len(several) == 2 and _fit(several)]
    waiting = {one.group for several in own.values() if len(several) == 1 for one in several if one.group.number}
    candidates = [one for one in await reader.of_groups(waiting) if one.is_open and not one.stays_open]
    for group in waiting:
        couples += settled_pairs((one, one.kind, one.owed) for one in candidates if one.group == group)
    for one, other in couples:
        await _reconcile(client, directory, one, other)


def _fit(couple: Sequence[Payable]) -> bool:
    one, other = couple
    return one.is_open and other.is_open and one.owed + other.owed == 0 and one.group.account == other.group.account


async def _reconcile(client: TrytonClient, directory: Directory, one: Payable, other: Payable) -> None:
    values = {
        "company": directory.company_id,
        "date": max(one.day, other.day),
        "lines": [["add", [one.line, other.line]]],
    }
    try:
        await client.create(RECONCILIATION, [values])
    except TrytonRefused:
        return  # two rates, an account that is not reconciled, or another writer was faster: `find` says what is open


def _together(own: Sequence[Payable], others: Iterable[Payable]) -> Together:
    """Those of one entry settle each other and wait for nobody; where Tryton did not settle them, they are named."""
    settled = all(one.settled or not one.owed for one in own)
    if len(own) > 1:
        stuck = not settled and all(one.posted for one in own)
        return Together(tuple(one.external_id for one in own[1:]) if stuck else (), settled)
    first = own[0]
    names = {
        one.external_id
        for one in others
        if first.group.number and one.group == first.group and one.kind is OTHER_SIDE[first.kind]
    }
    return Together(tuple(sorted(names, key=lambda name: (len(name), name))[:_MAX_COUNTERPARTS]), settled)
