"""Gross, cost and tax of every line as integers in minor units, from amounts whose names cannot be trusted.

Pleo's texts call either of a line's two amounts net or gross. So the arithmetic decides: the item's header is its
gross; the one of `lineAmount` and `netAmount` whose lines add up to it is the lines' gross; the other one must then be
the gross, or the gross less the tax. What fits no reading fails the item, with the figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Money
from blocks.pleo.items import ExportItem, ItemAmount, ItemTax
from blocks.pleo.items import Money as PleoMoney
from blocks.text import one_line
from flows.failures import ItemFails, invalid

_CURRENCY = re.compile(r"[A-Z]{3}")
# Codes that no account is kept in: none at all, test, metals, and units of bond markets and funds.
_UNBOOKABLE = frozenset(
    {"UNDEFINED", "XXX", "XTS", "XAU", "XAG", "XPD", "XPT", "XBA", "XBB", "XBC", "XBD", "XUA", "XSU"}
)
_MAX_DIGITS = 30  # far beyond any ERP's limit, which is checked later; keeps a hostile exponent from filling memory

_UNIT_WORDS = {MinorUnits.HUNDREDTHS: "hundredths", MinorUnits.ISO4217: "minor units"}
ROUNDING_MINOR = 1  # how far a line's amounts may be apart for rounding


@dataclass(frozen=True, slots=True)
class LineAmounts:
    """One line in minor units of the wallet currency, positive where it runs the way of the whole expense.

    `cost_minor` goes to the line's account. `tax_minor` is split off the gross, or with `reverse` it is owed and
    deducted at once and leaves the cost unchanged.
    """

    gross_minor: int
    cost_minor: int
    tax_minor: int
    reverse: bool = False

    @property
    def difference_minor(self) -> int:
        """What cost and tax lack of the gross, as each was rounded by itself."""
        return self.gross_minor - self.cost_minor - (0 if self.reverse else self.tax_minor)


@dataclass(frozen=True, slots=True)
class Amounts:
    """An item's amounts in minor units of its wallet currency, `header_minor` signed as Pleo sends it.

    Cost and tax of the lines add up to the gross. `rounding_minor` was added to the cost of the largest line for that.
    """

    currency: str
    header_minor: int
    lines: tuple[LineAmounts, ...]
    rounding_minor: int = 0


def amounts_of(item: ExportItem, units: MinorUnits) -> Amounts:
    """The item's amounts, every line split into cost and tax; fails the item where the figures contradict."""
    currency, header = wallet_minor(item.amount, "The expense", units)
    lines = item.accounting_entry_lines or ()
    if not lines:
        raise invalid("The expense has no accounting lines, so it cannot be said what it was for. Check it in Pleo.")
    numbered = tuple(enumerate(lines, 1))
    line_amounts = [wallet_minor(line.line_amount, f"Line {n}", units, currency)[1] for n, line in numbered]
    net_amounts = [
        wallet_minor(line.net_amount, f"The net amount of line {n}", units, currency)[1] for n, line in numbered
    ]
    taxes = [_tax_minor(line.tax, n, units, currency) for n, line in numbered]
    flip = -1 if header < 0 else 1  # the signs of lines are read relative to the header's
    problem: ItemFails | None = None
    for gross, other in ((line_amounts, net_amounts), (net_amounts, line_amounts)):
        if sum(gross) != header:
            continue
        try:
            split = [
                _Figures(n, units, currency, *figures).split(line.tax, flip)
                for (n, line), *figures in zip(numbered, gross, other, taxes, strict=True)
            ]
            return _rounded(currency, header, split)
        except ItemFails as error:
            problem = problem or error
    raise problem or invalid(
        f"The amounts do not add up: the expense is {units.amount(header, currency)}, its lines come to "
        f"{units.number(sum(line_amounts), currency)} and their net amounts to "
        f"{units.number(sum(net_amounts), currency)}."
    )


def supplier_money(amount: ItemAmount | None) -> Money | None:
    """What the supplier charged, in minor units; None where it cannot be told. It is information, never booked."""
    money = amount.in_supplier_currency if amount is not None else None
    if money is None or not bookable(money.currency):
        return None
    minor = to_minor(money)
    return None if minor is None else Money(money.currency, minor)


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


def _tax_minor(tax: ItemTax | None, n: int, units: MinorUnits, currency: str) -> int:
    return 0 if tax is None else wallet_minor(tax.amount, f"The tax of line {n}", units, currency)[1]


def _rounded(currency: str, header: int, lines: Sequence[LineAmounts]) -> Amounts:
    """The lines with what their roundings come to in all on the largest of them."""
    rounding = sum(line.difference_minor for line in lines)
    largest = max(range(len(lines)), key=lambda n: abs(lines[n].gross_minor))
    moved = tuple(
        replace(line, cost_minor=line.cost_minor + rounding) if n == largest else line for n, line in enumerate(lines)
    )
    return Amounts(currency, header, moved, rounding)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The amounts of line `n`, signed as Pleo sends them, if `gross` is its gross amount."""

    n: int
    units: MinorUnits
    currency: str
    gross: int
    other: int
    tax: int

    def split(self, tax: ItemTax | None, flip: int) -> LineAmounts:
        """The line's cost and tax, turned round with `flip` -1."""
        size, other, tax_size = abs(self.gross), abs(self.other), abs(self.tax)
        kind = self._kind(tax)
        equal = abs(other - size) <= ROUNDING_MINOR
        less_tax = abs(other - (size - tax_size)) <= ROUNDING_MINOR
        if kind == "exclusive" and other == size:
            raise invalid(f"The tax is stated as exclusive, yet both amounts are equal: {self}.")
        if not (less_tax or (equal and kind != "exclusive")):
            raise invalid(f"The amounts do not add up {f'with {kind} tax' if kind else 'without tax'}: {self}.")
        if tax_size > size:
            raise invalid(f"The tax is more than the amount itself: {self}.")
        sign = 0 if self.gross == 0 else flip if self.gross > 0 else -flip
        if kind == "reverse":
            return LineAmounts(sign * size, sign * size, sign * tax_size, reverse=True)
        # Beside a tax the other amount is the net that Pleo states, unless it is (nearer to) the gross once more.
        states_net = less_tax and abs(other - (size - tax_size)) <= abs(other - size)
        cost = other if kind and (states_net or kind == "exclusive") else size - tax_size
        return LineAmounts(sign * size, sign * cost, sign * tax_size)

    def _kind(self, tax: ItemTax | None) -> str:
        """The kind of tax, empty where there is none, or none to pay."""
        if tax is None or self.tax == 0:
            return ""
        if tax.type not in {"inclusive", "exclusive", "reverse"}:
            raise invalid(f"The tax type {one_line(tax.type, 40)!r} of line {self.n} is not known.")
        return tax.type

    def __str__(self) -> str:
        gross, other, tax = (self.units.number(each, self.currency) for each in (self.gross, self.other, self.tax))
        return f"line {self.n} is {gross}, the other amount {other}, the tax {tax}"
