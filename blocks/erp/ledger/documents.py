"""Bills and payments that settle each other: which of them, told without looking into any books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from blocks.erp.entries import Document, DocumentKind

T = TypeVar("T", bound=Hashable)

SETTLED_BY = {DocumentKind.BILL: DocumentKind.PAYMENT, DocumentKind.CREDIT_NOTE: DocumentKind.REFUND}
"""What each kind of document is settled by."""


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
    matched = _matched((number, one.kind, one.owed_minor) for number, one in enumerate(documents, 1))
    return {one: other for pair in matched for one, other in (pair, pair[::-1])}


def settlements(documents: Iterable[OpenDocument]) -> list[tuple[OpenDocument, OpenDocument]]:
    """Each document that is settled, with the one that settles it: their amounts are exactly opposite, and there is
    no second one that it could be."""
    by_account: dict[str, list[OpenDocument]] = defaultdict(list)
    for one in documents:
        by_account[one.payable_account].append(one)
    return [
        pair for group in by_account.values() for pair in _matched((one, one.kind, one.owed_minor) for one in group)
    ]


def _matched(documents: Iterable[tuple[T, DocumentKind, int]]) -> list[tuple[T, T]]:
    by_kind: dict[tuple[DocumentKind, int], list[T]] = defaultdict(list)
    for one, kind, owed in documents:
        by_kind[kind, owed].append(one)
    return [
        (claims[0], money[0])
        for (kind, owed), claims in by_kind.items()
        if kind in SETTLED_BY
        for money in [by_kind.get((SETTLED_BY[kind], -owed), [])]
        if len(claims) == len(money) == 1
    ]
