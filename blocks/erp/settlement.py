"""Which bills and payments settle each other, told from their kinds and amounts alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from decimal import Decimal
from typing import TypeVar

from blocks.erp.entries import DocumentKind

T = TypeVar("T", bound=Hashable)

SETTLED_BY = {DocumentKind.BILL: DocumentKind.PAYMENT, DocumentKind.CREDIT_NOTE: DocumentKind.REFUND}
"""What each kind of document is settled by."""


def settled_pairs(documents: Iterable[tuple[T, DocumentKind, int | Decimal]]) -> list[tuple[T, T]]:
    """Each document that is settled, with the one that settles it.

    The documents come with their kind and what they owe, all in one unit. Two of them settle
    each other where these are exactly opposite, and there is no second one that it could be.
    """
    by_kind: dict[tuple[DocumentKind, int | Decimal], list[T]] = defaultdict(list)
    for one, kind, owed in documents:
        by_kind[kind, owed].append(one)
    return [
        (claims[0], money[0])
        for (kind, owed), claims in by_kind.items()
        if kind in SETTLED_BY
        for money in [by_kind.get((SETTLED_BY[kind], -owed), [])]
        if len(claims) == len(money) == 1
    ]
