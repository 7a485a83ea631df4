"""How an export item is made such that it cannot be booked: by nobody, or not in the demonstration's books."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from blocks.pleo.sandbox import company, receipts
from blocks.pleo.sandbox.company import Supplier
from blocks.pleo.sandbox.wire import Json


def spoil(item: Json, reason: str) -> None:
    """Change an item of one line or two so that it cannot be booked for the given reason."""
    _SPOILERS[reason](item)


def _as_it_is(_item: Json) -> None:
    """Some reasons are in the recipe already."""


def _unknown_type(item: Json) -> None:
    item["type"] = "gift_card_purchase"


def _no_account(item: Json) -> None:
    item["accountingEntryLines"][0]["account"] = None


def _amounts_differ(item: Json) -> None:
    item["amount"]["inWalletCurrency"]["value"] += 101


def _fraction(item: Json) -> None:
    for money in _wallet_amounts(item):
        money["value"] += 0.5


def _currency_xxx(item: Json) -> None:
    for money in _wallet_amounts(item):
        money["currency"] = "XXX"


def _no_lines(item: Json) -> None:
    item["accountingEntryLines"] = []


def _account_unknown(item: Json) -> None:
    account = item["accountingEntryLines"][0]["account"]
    item["accountingEntryLines"][0]["account"] = {**account, "name": "Gifts", "code": "6666", "identifier": "gl-6666"}


def _tax_code_unknown(item: Json) -> None:
    item["accountingEntryLines"][0]["tax"]["code"] = "I99"


def _tag_unknown(item: Json) -> None:
    item["accountingEntryLines"][0]["tags"] = [{**company.TAGS[0][0], "code": "P-9999"}]


def _bought_from(supplier: Supplier) -> Callable[[Json], None]:
    def spoiler(item: Json) -> None:
        item["supplier"] = supplier.on_card()
        item["vendor"] = supplier.vendor

    return spoiler


def _receipt_too_large(item: Json) -> None:
    name = receipts.large(f"{item['accountingEntryId']}.pdf")
    item["files"] = [{"size": receipts.size(name), "type": receipts.TYPES["pdf"], "url": receipts.mark(name)}]


def _receipt_gone(item: Json) -> None:
    name = receipts.gone(f"{item['accountingEntryId']}.pdf")
    item["files"] = [{"size": receipts.size(name), "type": receipts.TYPES["pdf"], "url": receipts.mark(name)}]


def _closed_period(item: Json) -> None:
    item["date"] = "2026-08-14T00:00:00Z"


def _unknown_method(item: Json) -> None:
    item["bookkeeping"] = {"method": "accounts_receivable"}


_SPOILERS: dict[str, Callable[[Json], None]] = {
    "unknown_type": _unknown_type,
    "no_account": _no_account,
    "amounts_differ": _amounts_differ,
    "fraction": _fraction,
    "currency_xxx": _currency_xxx,
    "no_lines": _no_lines,
    "unknown_sub_type": _as_it_is,
    "no_journal": _as_it_is,
    "no_role_account": _as_it_is,
    "account_unknown": _account_unknown,
    "tax_code_unknown": _tax_code_unknown,
    "tag_unknown": _tag_unknown,
    "vendor_unknown": _bought_from(company.NEW_SUPPLIER),
    "vendor_blocked": _bought_from(company.BLOCKED_SUPPLIER),
    "receipt_too_large": _receipt_too_large,
    "receipt_gone": _receipt_gone,
    "no_receipt": _as_it_is,
    "closed_period": _closed_period,
    "unknown_method": _unknown_method,
}


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
