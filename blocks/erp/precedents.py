"""What stands in the books already that decides whether an entry may be recorded beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from blocks.erp.entries import Bill, DocumentKind, Entry

Sign = tuple[str, str, int]
"""Pleo's type and subtype (empty: none) of an entry, and 1 or -1 for the sign of its amount."""


@dataclass(frozen=True, slots=True)
class StandingBill:
    """A bill in force: the vendor's code and number of it, and its amount in minor units.

    `external_id` is empty for one that is not recorded yet.
    """

    accounting_entry_id: str
    external_id: str
    vendor: str
    invoice_number: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Precedents:
    """The bills in force of the vendors and invoice numbers that some entries have, and the signs that amounts of their
    types have in the books."""

    bills: tuple[StandingBill, ...] = ()
    signs: frozenset[Sign] = field(default_factory=frozenset)


NO_PRECEDENTS = Precedents()
"""What an accounting system answers that cannot tell."""


def bill_of(entry: Entry, external_id: str = "") -> StandingBill | None:
    """The bill that an entry is, or has among its documents, as it stands or will stand under that external id.

    None where it has none, or nobody can say whose it is, or under which number.
    """
    if not isinstance(entry, Bill) or entry.vendor is None:
        return None
    number = entry.invoice_number or entry.details.invoice_number
    owed = [document.owed_minor for document in entry.documents if document.kind is DocumentKind.BILL]
    if not (number and owed):
        return None
    id_ = entry.accounting_entry_id.lower()
    return StandingBill(id_, external_id, entry.vendor.code, number, entry.currency, owed[0])
