"""What an entry says in words: description, reference, and what stands on its lines."""

from __future__ import annotations

from blocks.erp.entries import Dimension
from blocks.pleo.items import ExportItem, ItemLine
from blocks.text import one_line
from flows.bookkeeping.accounts import NOBODY

_MAX_DIMENSION = 60


def description_of(item: ExportItem, limit: int) -> str:
    """Supplier, employee and note as one line (Pleo: Data Mapping); the type where all three are missing."""
    parts = (
        item.supplier.name if item.supplier is not None else None,
        item.user.name if item.user is not None else None,
        item.note,
    )
    text = " · ".join(line for part in parts if part and (line := one_line(part, limit)))
    return one_line(text or item.type.replace("_", " "), limit)


def reference_of(item: ExportItem, limit: int) -> str:
    """Pleo's own reference of the expense, its reconciliation id."""
    information = item.additional_information
    return one_line((information.reconciliation_id if information is not None else None) or "", limit)


def dimensions_of(line: ItemLine) -> tuple[Dimension, ...]:
    """The line's tags as dimensions: the tag group is the dimension, the tag's code its value.

    A tag that stands for "I don't know" (an id of zeros, no code) is none.
    """
    named = (
        Dimension(one_line(tag.group_code, _MAX_DIMENSION), one_line(tag.code, _MAX_DIMENSION))
        for tag in line.tags or ()
        if tag is not None and tag.id != NOBODY
    )
    return tuple(dimension for dimension in named if dimension.code)
