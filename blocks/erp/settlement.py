"""Which documents of one invoice settle each other, told from their kinds and amounts alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from itertools import combinations
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


MOST_TOGETHER = 9
"""How many documents come to nothing together at most: of more nobody sees whether there is one way only."""


def settled_together(documents: Iterable[tuple[T, DocumentKind, int | Decimal]]) -> list[tuple[T, ...]]:
    """The pairs, and what is left beside them where all of it comes to nothing and no part of it does by itself.

    A bill, its credit note and its payment are such a group.
    """
    known = list(documents)
    found: list[tuple[T, ...]] = list(settled_pairs(known))
    done = {one for pair in found for one in pair}
    rest = [(one, owed) for one, _, owed in known if one not in done]
    if _comes_to_nothing_in_one_way([owed for _, owed in rest]):
        found.append(tuple(one for one, _ in rest))
    return found


def _comes_to_nothing_in_one_way(amounts: Sequence[int | Decimal]) -> bool:
    if not 2 <= len(amounts) <= MOST_TOGETHER or sum(amounts) != 0:
        return False
    # A part without the last one: of two parts that come to nothing one is without it.
    others = amounts[:-1]
    return all(sum(part) for size in range(1, len(amounts)) for part in combinations(others, size))
