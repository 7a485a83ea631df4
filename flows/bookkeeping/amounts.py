"""Gross, cost and tax of every line, from amounts whose names cannot be trusted.

Pleo's texts call either of a line's two amounts net or gross. So the arithmetic decides: the item's header is its
gross; the one of `lineAmount` and `netAmount` whose lines add up to it is the lines' gross; the other one must then be
the gross, or the gross less the tax. What fits no reading fails the item, with the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from blocks.erp.entries import Money
from blocks.pleo.items import ExportItem, ItemAmount, ItemLine, ItemTax
from blocks.text import one_line
from flows.bookkeeping.money import bookable, show, to_minor, wallet_minor
from flows.failures import ItemFails, invalid

ROUNDING_MINOR = 1  # how far a line's amounts may be apart for rounding


@dataclass(frozen=True, slots=True)
class LineAmounts:
    """One line in minor units of the wallet currency, signed as Pleo sends it.

    `cost_minor` goes to the line's account. `tax_minor` is split off the gross, or with `reverse` it is owed and
    deducted at once and leaves the cost unchanged.
    """

    gross_minor: int
    cost_minor: int
    tax_minor: int
    reverse: bool


@dataclass(frozen=True, slots=True)
class Amounts:
    """An item's amounts in minor units of its wallet currency, `header_minor` signed as Pleo sends it."""

    currency: str
    header_minor: int
    lines: tuple[LineAmounts, ...]


def amounts_of(item: ExportItem) -> Amounts:
    """The item's amounts, every line split into cost and tax; fails the item where the figures contradict."""
    currency, header = wallet_minor(item.amount, "The expense")
    lines = item.accounting_entry_lines or ()
    if not lines:
        raise invalid("The expense has no accounting lines, so it cannot be said what it was for. Check it in Pleo.")
    line_amounts = [wallet_minor(line.line_amount, f"Line {n}", currency)[1] for n, line in enumerate(lines, 1)]
    net_amounts = [
        wallet_minor(line.net_amount, f"The net amount of line {n}", currency)[1] for n, line in enumerate(lines, 1)
    ]
    taxes = [_tax_minor(line.tax, n, currency) for n, line in enumerate(lines, 1)]
    problem: ItemFails | None = None
    for gross, other in ((line_amounts, net_amounts), (net_amounts, line_amounts)):
        if sum(gross) != header:
            continue
        try:
            return Amounts(currency, header, tuple(map(_split, range(1, len(lines) + 1), lines, gross, other, taxes)))
        except ItemFails as error:
            problem = problem or error
    raise problem or invalid(
        f"The amounts do not add up: the expense is {show(header, currency)}, its lines come to "
        f"{show(sum(line_amounts))} and their net amounts to {show(sum(net_amounts))}."
    )


def supplier_money(amount: ItemAmount | None) -> Money | None:
    """What the supplier charged, in minor units; None where it cannot be told. It is information, never booked."""
    money = amount.in_supplier_currency if amount is not None else None
    if money is None or not bookable(money.currency):
        return None
    minor = to_minor(money)
    return None if minor is None else Money(money.currency, minor)


def _tax_minor(tax: ItemTax | None, n: int, currency: str) -> int:
    return 0 if tax is None else wallet_minor(tax.amount, f"The tax of line {n}", currency)[1]


def _split(n: int, line: ItemLine, gross: int, other: int, tax: int) -> LineAmounts:
    """One line's cost and tax, if `gross` is its gross amount."""
    figures = f"line {n} is {show(gross)}, the other amount {show(other)}, the tax {show(tax)}"
    if line.tax is None or tax == 0:
        if abs(abs(other) - abs(gross)) > ROUNDING_MINOR:
            raise invalid(f"The amounts do not add up without tax: {figures}.")
        return LineAmounts(gross, gross, 0, reverse=False)
    kind = line.tax.type
    if kind not in {"inclusive", "exclusive", "reverse"}:
        raise invalid(f"The tax type {one_line(kind, 40)!r} of line {n} is not known.")
    size, tax_size = abs(gross), abs(tax)
    equal = abs(abs(other) - size) <= ROUNDING_MINOR
    less_tax = abs(abs(other) - (size - tax_size)) <= ROUNDING_MINOR
    if kind == "exclusive" and abs(other) == size:
        raise invalid(f"The tax is stated as exclusive, yet both amounts are equal: {figures}.")
    if not (less_tax or (equal and kind != "exclusive")):
        raise invalid(f"The amounts do not add up with {kind} tax: {figures}.")
    signed_tax = tax_size if gross >= 0 else -tax_size
    if tax_size > size:
        raise invalid(f"The tax is more than the amount itself: {figures}.")
    if kind == "reverse":
        return LineAmounts(gross, gross, signed_tax, reverse=True)
    return LineAmounts(gross, gross - signed_tax, signed_tax, reverse=False)
