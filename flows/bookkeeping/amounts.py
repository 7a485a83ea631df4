"""Gross, cost and tax of every line, from amounts whose names cannot be trusted.

Pleo's texts call either of a line's two amounts net or gross. So the arithmetic decides: the item's header is its
gross; the one of `lineAmount` and `netAmount` whose lines add up to it is the lines' gross; the other one must then be
the gross, or the gross less the tax. What fits no reading fails the item, with the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Money
from blocks.pleo.items import ExportItem, ItemAmount, ItemTax
from blocks.text import one_line
from flows.bookkeeping.money import bookable, to_minor, wallet_minor
from flows.failures import ItemFails, invalid

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
