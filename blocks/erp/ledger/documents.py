"""Bills and payments that settle each other: which of them, told without looking into any books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blocks.erp.entries import Document, DocumentKind
from blocks.erp.matching import matched


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A posted document that is not settled, of one vendor, currency and invoice."""

    entry_id: int
    document_no: int
    kind: DocumentKind
    payable_account: str
    owed_minor: int


def pairs(documents: Sequence[Document]) -> dict[int, int]:
    """The documents of one entry that settle each other, by number from 1: each with its partner's."""
    couples = matched((number, one.kind, one.owed_minor) for number, one in enumerate(documents, 1))
    return {one: other for pair in couples for one, other in (pair, pair[::-1])}


def settlements(documents: Iterable[OpenDocument]) -> list[tuple[OpenDocument, OpenDocument]]:
    """Each document that is settled, with the one that settles it: their amounts are exactly opposite, and there is
    no second one that it could be."""
    by_account: dict[str, list[OpenDocument]] = defaultdict(list)
    for one in documents:
        by_account[one.payable_account].append(one)
    return [pair for group in by_account.values() for pair in matched((one, one.kind, one.owed_minor) for one in group)]
