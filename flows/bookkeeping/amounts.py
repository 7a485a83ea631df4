"""Gross, cost and tax of every line as integers in minor units, from amounts whose names cannot be trusted.

Pleo's texts call either of a line's two amounts net or gross. So the arithmetic decides: the item's header is its
gross; the one of `lineAmount` and `netAmount` whose lines add up to it is the lines' gross; the other one must then be
the gross, or the gross less the tax, or under reverse charge the gross with the tax on top. What fits no reading fails
the item, with the figures. A card purchase may cost more than its lines: the rest is a fee, where it has an account.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

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
_WITH_FEES = frozenset({"card_purchase"})


@dataclass(frozen=True, slots=True)
class LineAmounts:
    """One line in minor units of the wallet currency, positive where it runs the way of the whole expense.

    `cost_minor` goes to the line's account. `tax_minor` is split off the gross, or with `reverse` it is owed and
    deducted at once and leaves the cost unchanged. `rounding_minor` is what the cost, which is the gross less the tax,
    has more than Pleo states, as Pleo rounds each by itself.
    """

    gross_minor: int
    cost_minor: int
    tax_minor: int
    reverse: bool = False
    rounding_minor: int = 0


@dataclass(frozen=True, slots=True)
class Amounts:
    """An item's amounts in minor units of its wallet currency, `header_minor` signed as Pleo sends it.

    Cost and tax of each line add up to its gross, and these with `fee_minor` to the header.
    """

    currency: str
    header_minor: int
    lines: tuple[LineAmounts, ...]
    fee_minor: int = 0

    @property
    def rounding_minor(self) -> int:
        """What the costs have in all more than Pleo states."""
        return sum(line.rounding_minor for line in self.lines)


def amounts_of(item: ExportItem, units: MinorUnits, *, takes_fees: bool = False) -> Amounts:
    """The item's amounts, every line split into cost and tax; fails the item where the figures contradict.

    With `takes_fees` a card purchase may cost more than its lines.
    """
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

    def split(gross: Sequence[int], other: Sequence[int]) -> tuple[LineAmounts, ...]:
        return tuple(
            _Figures(n, units, currency, *figures).split(line.tax, flip)
            for (n, line), *figures in zip(numbered, gross, other, taxes, strict=True)
        )

    problem: ItemFails | None = None
    fees: dict[int, tuple[LineAmounts, ...]] = {}
    for gross, other in ((line_amounts, net_amounts), (net_amounts, line_amounts)):
        fee = flip * (header - sum(gross))
        if fee and not (item.type in _WITH_FEES and fee > 0 and flip * sum(gross) >= 0):
            continue
        try:
            read = split(gross, other)
        except ItemFails as error:
            problem = problem or (None if fee else error)
            continue
        if not fee:
            return Amounts(currency, header, read)
        fees.setdefault(fee, read)
    if problem is None and fees and takes_fees:
        return Amounts(currency, header, fees[min(fees)], min(fees))
    raise problem or invalid(
        f"The amounts do not add up: the expense is {units.amount(header, currency)}, its lines come to "
        f"{units.number(sum(line_amounts), currency)} and their net amounts to "
        f"{units.number(sum(net_amounts), currency)}."
        + (" If the rest is a fee, name its account in the settings (card_fee_account)." if fees else "")
    )


def reverse_charge_problems(item: ExportItem, amounts: Amounts, units: MinorUnits) -> Iterator[str]:
    """The lines whose tax under reverse charge is not the rate that Pleo names of what was paid, in words."""
    for n, (line, split) in enumerate(zip(item.accounting_entry_lines or (), amounts.lines, strict=True), 1):
        if line.tax is None or line.tax.type != "reverse" or line.tax.rate is None:
            continue
        base, tax, rate = abs(split.cost_minor), abs(split.tax_minor), _bounded(line.tax.rate)
        due = None if rate is None else rate * base
        if due is not None and abs(due - tax) <= ROUNDING_MINOR:
            continue
        shown = one_line(f"{line.tax.rate * 100:f}".rstrip("0").rstrip("."), 20) if rate is not None else "its rate"
        stated, of = (units.number(amount, amounts.currency) for amount in (tax, base))
        comes_to = f", which is {units.number(round(due), amounts.currency)}" if due is not None else ""
        percent = f"{shown} %" if rate is not None else shown
        yield f"the reverse charge of line {n} is {stated}, and not {percent} of {of}{comes_to}"


def rate_text(rate: Decimal | None) -> str | None:
    """A rate as a decimal fraction, 0.25 for 25 %; None for none that anybody can read."""
    if rate is None or _bounded(rate) is None:
        return None
    text = f"{rate or 0:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return (text or "0") if len(text) <= _MAX_DIGITS else None


def _bounded(rate: Decimal) -> Fraction | None:
    """The rate exactly, None for a number beyond reason, whose digits would fill memory."""
    if rate == 0:
        return Fraction(0)
    return Fraction(rate) if abs(rate.adjusted()) <= _MAX_DIGITS and len(rate.as_tuple().digits) <= 99 else None


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
    return sys.intern(money.currency), minor  # one text for all expenses that are kept in mind


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
        with_tax = kind == "reverse" and abs(other - (size + tax_size)) <= ROUNDING_MINOR
        if kind == "exclusive" and other == size:
            raise invalid(f"The tax is stated as exclusive, yet both amounts are equal: {self}.")
        if not (less_tax or with_tax or (equal and kind != "exclusive")):
            raise invalid(f"The amounts do not add up {f'with {kind} tax' if kind else 'without tax'}: {self}.")
        if tax_size > size:
            raise invalid(f"The tax is more than the amount itself: {self}.")
        sign = 0 if self.gross == 0 else flip if self.gross > 0 else -flip
        if kind == "reverse":
            return LineAmounts(sign * size, sign * size, sign * tax_size, reverse=True)
        # Beside a tax the other amount is the net that Pleo states, unless it is (nearer to) the gross once more.
        states_net = less_tax and abs(other - (size - tax_size)) <= abs(other - size)
        cost = size - tax_size
        rounding = cost - other if kind and (states_net or kind == "exclusive") else 0
        return LineAmounts(sign * size, sign * cost, sign * tax_size, rounding_minor=sign * rounding)

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
