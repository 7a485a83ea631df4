"""Pleo's amounts as integers in minor units, exact or refused."""

from __future__ import annotations

import re

from blocks.erp.currencies import MinorUnits
from blocks.pleo.items import ItemAmount
from blocks.pleo.items import Money as PleoMoney
from blocks.text import one_line
from flows.failures import invalid

_CURRENCY = re.compile(r"[A-Z]{3}")
# Codes that no account is kept in: none at all, test, metals, and units of bond markets and funds.
_UNBOOKABLE = frozenset(
    {"UNDEFINED", "XXX", "XTS", "XAU", "XAG", "XPD", "XPT", "XBA", "XBB", "XBC", "XBD", "XUA", "XSU"}
)
_MAX_DIGITS = 30  # far beyond any ERP's limit, which is checked later; keeps a hostile exponent from filling memory

_UNIT_WORDS = {MinorUnits.HUNDREDTHS: "hundredths", MinorUnits.ISO4217: "minor units"}


def bookable(currency: str) -> bool:
    """Whether money can be kept in that currency: three capital letters, and no metal, test or undefined code."""
    return _CURRENCY.fullmatch(currency) is not None and currency not in _UNBOOKABLE


def wallet_minor(
    amount: ItemAmount | None, what: str, units: MinorUnits, currency: str | None = None
) -> tuple[str, int]:
    """Currency and signed minor units of an amount in wallet currency; `what` names it in a failure.

    Fails the item where it is missing, in a currency that cannot be booked or (with `currency`) in another one, or
    where it has a fraction of a minor unit.
    """
    money = amount.in_wallet_currency if amount is not None else None
    if money is None:
        raise invalid(f"{what} has no amount in wallet currency. Ask Pleo's support to look at this expense.")
    if not bookable(money.currency):
        raise invalid(f"{what} is in {one_line(money.currency, 20)!r}, which is no currency that can be booked.")
    if currency is not None and money.currency != currency:
        raise invalid(f"{what} is in {money.currency}, but the expense is in {currency}.")
    minor = to_minor(money)
    if minor is None:
        problem = "more than can be booked" if _beyond_reason(money) else "which is no whole number"
        value = one_line(str(money.value), 60)
        raise invalid(f"{what} is {value} {_UNIT_WORDS[units]} of {money.currency}, {problem}.")
    return money.currency, minor


def to_minor(money: PleoMoney) -> int | None:
    """Signed minor units, or None for a fraction of one or a number beyond reason."""
    if _beyond_reason(money):
        return None
    whole = int(money.value)
    return whole if whole == money.value else None


def _beyond_reason(money: PleoMoney) -> bool:
    return money.value != 0 and money.value.adjusted() >= _MAX_DIGITS
