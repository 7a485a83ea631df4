"""The items of a page as Pleo sends it, each once."""

from __future__ import annotations

from collections.abc import Collection

from blocks.pleo.http.client import items_of
from blocks.pleo.items import BrokenItem, ExportItem


def each_once(page_text: str, wanted: Collection[str]) -> dict[str, ExportItem | BrokenItem]:
    """The wanted items of a page by id. What Pleo sends twice counts once, and is broken where its figures differ."""
    items: dict[str, ExportItem | BrokenItem] = {}
    for item in items_of(page_text):
        id_ = item.accounting_entry_id
        if id_ is None or id_ not in wanted:
            continue
        first = items.setdefault(id_, item)
        if first is item or isinstance(first, BrokenItem):
            continue
        if isinstance(item, BrokenItem):
            items[id_] = item
        elif _figures(first) != _figures(item):
            items[id_] = BrokenItem(id_, "item: it comes twice, with different figures")
    return items


def _figures(item: ExportItem) -> tuple[object, ...]:
    """What an entry says of an item: kind, day, amounts and accounts."""
    lines = [
        (line.account and line.account.code, line.line_amount, line.net_amount)
        for line in item.accounting_entry_lines or ()
    ]
    contra = item.contra_account and item.contra_account.code
    return item.type, item.sub_type, item.date, item.amount, contra, lines
