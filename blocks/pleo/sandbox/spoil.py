"""How an export item is made such that no accounting system can take it."""

from __future__ import annotations

from collections.abc import Iterator

from blocks.pleo.sandbox.wire import Json


def spoil(item: Json, reason: str) -> None:
    """Change an item of one line or two, without tax, so that it cannot be booked for the given reason."""
    if reason == "unknown_type":
        item["type"] = "gift_card_purchase"
    elif reason == "no_account":
        item["accountingEntryLines"][0]["account"] = None
    elif reason == "amounts_differ":
        item["amount"]["inWalletCurrency"]["value"] += 101
    elif reason == "fraction":
        for money in _wallet_amounts(item):
            money["value"] += 0.5
    elif reason == "currency_xxx":
        for money in _wallet_amounts(item):
            money["currency"] = "XXX"
    elif reason == "no_lines":
        item["accountingEntryLines"] = []
    elif reason != "unknown_sub_type":  # that one is in the recipe already
        raise ValueError(f"no way to spoil an item is called {reason}")


def _wallet_amounts(item: Json) -> Iterator[Json]:
    """Every amount in wallet currency, each object once: lines may share one."""
    seen: set[int] = set()
    lines = item["accountingEntryLines"]
    holders = [item["amount"], *(line[name] for line in lines for name in ("lineAmount", "netAmount"))]
    for holder in holders:
        money: Json = holder["inWalletCurrency"]
        if id(money) not in seen:
            seen.add(id(money))
            yield money
