"""Bills and payments in an ERP's books that belong together, and which of them are to be settled against each other.

Those of one expense belong together. Of several expenses they find each other by vendor, currency, payable account and
invoice number. Only records of ours are ever settled, and only where what is open comes to nothing, and does so in one
way only (`blocks.erp.settlement`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from blocks.erp.entries import DocumentKind
from blocks.erp.settlement import SETTLED_BY, settled_together

_OTHER_SIDE = {**SETTLED_BY, **{payment: bill for bill, payment in SETTLED_BY.items()}}
"""The kind of document on the other side of each: payments for bills, bills for payments."""

_MAX_COUNTERPARTS = 20


@dataclass(frozen=True, slots=True)
class InvoiceGroup:
    """What bills and payments share that may settle each other; `number` is the invoice's, empty without one."""

    partner: int | None
    currency: int
    account: int
    number: str


@dataclass(frozen=True, slots=True)
class Payable:
    """A bill or a payment as it stands.

    `owed` is by how much it raises what is owed to the vendor, in its currency. `line` is its payable line, None where
    there is none yet, or several. `stays_open` tells that no payment of it will ever come.
    """

    external_id: str
    kind: DocumentKind
    owed: Decimal
    group: InvoiceGroup
    posted: bool
    settled: bool
    line: int | None
    stays_open: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can be settled now."""
        return self.posted and not self.settled and self.line is not None and self.owed != 0


P = TypeVar("P", bound=Payable)


def groups_of(own: Iterable[Sequence[Payable]], *, alone: bool = False) -> set[InvoiceGroup]:
    """The groups in which documents of other expenses may belong to those of these, `alone` only to those that are
    alone in their expense."""
    return {one.group for several in own if len(several) == 1 or not alone for one in several if one.group.number}


def to_settle(own: Iterable[Sequence[P]], others: Collection[P]) -> list[tuple[P, ...]]:
    """What comes to nothing together and is open: the documents of one expense, else `others`, group by group."""
    sets = [list(several) for several in own if len(several) > 1 and len({one.group.account for one in several}) == 1]
    for group in {one.group for one in others}:
        sets.append([one for one in others if one.group == group and one.is_open and not one.stays_open])
    return [
        together
        for several in sets
        if all(one.is_open for one in several)
        for together in settled_together((one, one.kind, one.owed) for one in several)
    ]


def counterparts(own: Sequence[Payable], others: Iterable[Payable]) -> tuple[tuple[str, ...], bool]:
    """The external ids of what belongs to an expense's documents, and whether nothing is open between them.

    Documents of one expense settle each other and wait for nobody; where they were not settled, they are named.
    """
    settled = all(one.settled or (one.posted and not one.owed) for one in own)
    if len(own) > 1:
        stuck = not settled and all(one.posted for one in own)
        return tuple(one.external_id for one in own[1:]) if stuck else (), settled
    (first,) = own
    names = {one.external_id for one in others if one.group == first.group and one.kind is _OTHER_SIDE[first.kind]}
    ordered = sorted(names if first.group.number else (), key=lambda name: (len(name), name))
    return tuple(ordered[:_MAX_COUNTERPARTS]), settled
