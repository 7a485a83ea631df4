"""What holds for every item whatever its figures are, tried on many thousands of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.erp.base import Capabilities
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, Bill, Document, JournalEntry, Line
from blocks.erp.reference import ROLE_KINDS, JournalUse, Reference, Role
from blocks.erp.settings import ErpSettings, ReverseChargeCheck
from flows.bookkeeping import BookingContext, book
from tests.flows.bookkeeping.accountant import DOCUMENTS_OF, RAISES_DEBT, read
from tests.flows.bookkeeping.bookkeeping_items import (
    CATEGORY_TYPES,
    COMPANY,
    TYPES,
    Figures,
    document,
    export_item,
    fitting,
    thoroughly,
)

LIMITS = Capabilities("books", 100, 200, 50, 10**18, bills=True)
REFERENCE = Reference(
    {role: Account(f"role-{role}", role.value, ROLE_KINDS[role]) for role in Role if role is not Role.WALLET},
    open_wallet=lambda currency: Account(f"wallet-{currency}", "Wallet", ROLE_KINDS[Role.WALLET]),
    journals={use: use.value for use in JournalUse},
)
DECIMALS = {"JPY": 0, "DKK": 2, "KWD": 3}
METHODS = ("journal", "accounts_payable", "none", None)
RATES = tuple(map(Decimal, ("0.1340", "7.4601", "1", "0.000001", "1234.5", "0.5", "0.0066")))
COMPANY_CURRENCIES = ("EUR", "KWD", "JPY")
THOROUGH = 5000

_VARIANTS = tuple(product(METHODS[:2], MinorUnits, DECIMALS))


def context(
    units: MinorUnits = MinorUnits.HUNDREDTHS, company: str | None = None, rate: Decimal | None = None
) -> BookingContext:
    reference = dataclasses.replace(REFERENCE, company_currency=company, rates=lambda currency, day: rate)
    return BookingContext("job", COMPANY, reference, LIMITS, ErpSettings(minor_units=units), date(2026, 11, 3))


def entry_of(figures: Figures, of: BookingContext) -> JournalEntry | Bill:
    outcome = book(export_item(figures), of)
    assert isinstance(outcome, JournalEntry | Bill), outcome
    return outcome


def everything_in(value: Any) -> Iterator[Any]:
    yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from everything_in(getattr(value, field.name))
    elif isinstance(value, tuple | list | set | frozenset):
        for element in value:
            yield from everything_in(element)


def parts(entry: JournalEntry | Bill) -> list[tuple[Line, ...]]:
    """What balances by itself: a journal entry, or each document of a bill."""
    return [entry.lines] if isinstance(entry, JournalEntry) else [document.lines for document in entry.documents]


def assert_sound(entry: JournalEntry | Bill, header: int) -> None:
    """Debits equal credits in every part, the one counter line is the header, every line stands in one column."""
    assert not [value for value in everything_in(entry) if isinstance(value, float | complex)]
    assert entry.amount_minor == header
    assert [line.debit_minor + line.credit_minor for line in entry.all_lines if line.counter] == [abs(header)]
    for lines in parts(entry):
        assert sum(line.debit_minor for line in lines) == sum(line.credit_minor for line in lines)
        for line in lines:
            assert min(line.debit_minor, line.credit_minor) == 0
            assert max(line.debit_minor, line.credit_minor) >= 0
            assert not (line.counter and (line.tax or line.tax_code))
            owed = line.account.code == "role-out_of_pocket"  # which says who is owed
            assert owed or not (line.counter and line.dimensions)
            assert line.tax or line.tax_base_minor is None


def assert_cost_and_tax(figures: Figures, entry: JournalEntry | Bill) -> int:
    """Each line's cost and tax are those that an accountant reads, and all together the header; returns how many
    lines there are to a cost."""
    reading, rounding = read(document(figures))
    assert abs(rounding) <= sum(line.kind in ("inclusive", "exclusive") and line.tax != 0 for line in figures.lines)
    way = -1 if figures.money_back or figures.header < 0 else 1
    assert entry.rounding_minor == way * rounding * (figures.type in CATEGORY_TYPES)
    rest = [line.amount_minor for line in parts(entry)[0][:-1]]
    assert_taxes(figures, entry)
    if figures.type not in CATEGORY_TYPES:
        expected = [way * gross for gross, _, _ in reading]
        assert rest == ([way * sum(gross for gross, _, _ in reading)] if figures.as_bill else expected)
        return len(rest)
    expected = []
    for line, (_, cost, tax) in zip(figures.lines, reading, strict=True):
        expected += [way * cost]
        expected += [way * tax] if tax else []
        expected += [-way * tax] if tax and line.kind == "reverse" else []
    assert rest == expected
    assert sum(rest) == way * abs(figures.header)
    return len(rest)


def assert_taxes(figures: Figures, entry: JournalEntry | Bill) -> None:
    """The tax of each line is Pleo's to the hundredth, and knows its rate and the base that its cost line has."""
    way = -1 if figures.money_back or figures.header < 0 else 1
    for number, line in enumerate(figures.lines, 1):
        if figures.type not in CATEGORY_TYPES or line.kind == "none":
            continue
        booked = [one for one in entry.all_lines if one.tax_code == f"T{number}"]
        (cost,) = [one for one in booked if not one.tax]
        taxes = [one for one in booked if one.tax]
        assert len(taxes) == (0 if line.tax == 0 else 2 if line.kind == "reverse" else 1)
        rate = None if line.rate is None else str(Decimal(line.rate) / 100)
        assert {one.tax_rate for one in booked} == {rate}
        for n, one in enumerate(taxes):
            assert abs(one.amount_minor) == abs(line.tax)
            assert one.tax_base_minor == abs(cost.amount_minor)
            if cost.amount_minor:  # due tax stands on the other side than what it is due on
                assert (one.amount_minor > 0) == ((cost.amount_minor > 0) != (n == 1))
            elif line.kind != "reverse":
                assert (one.amount_minor > 0) == (way * line.tax > 0) or way * figures.header <= 0


def assert_documents(figures: Figures, entry: JournalEntry | Bill) -> None:
    """Which documents there are, and what each adds to what is owed."""
    assert isinstance(entry, Bill) == figures.as_bill
    if isinstance(entry, JournalEntry):
        return
    turned = figures.money_back or figures.header < 0
    kinds = DOCUMENTS_OF[figures.type][turned]
    assert [one.kind.replace("_", " ") for one in entry.documents] == list(kinds)
    for one, kind in zip(entry.documents, kinds, strict=True):
        assert one.owed_minor == RAISES_DEBT[kind] * abs(figures.header) == owed(one, entry.payable)
    assert entry.owed_minor == sum(one.owed_minor for one in entry.documents)
    assert len(kinds) == 1 or entry.owed_minor == 0
    assert [line.counter for one in entry.documents for line in one.lines].index(True) == len(entry.all_lines) - 1


def owed(one: Document, payable: Account) -> int:
    return sum(-line.amount_minor for line in one.lines if line.account == payable)


def assert_mirrored(figures: Figures, entry: JournalEntry | Bill, of: BookingContext) -> None:
    """The negative is the mirror image; of money back, which has one direction, it is the same."""
    negative = entry_of(figures.negated(), of)
    assert negative.amount_minor == -entry.amount_minor
    if figures.money_back and figures.header:
        assert parts(negative) == parts(entry)
        assert negative.rounding_minor == entry.rounding_minor
        return
    assert [tuple(map(swapped, lines)) for lines in parts(entry)] == parts(negative)
    assert negative.rounding_minor == -entry.rounding_minor
    if isinstance(entry, Bill) and isinstance(negative, Bill) and figures.header:
        assert [one.owed_minor for one in negative.documents] == [-one.owed_minor for one in entry.documents]


def swapped(line: Line) -> Line:
    return dataclasses.replace(line, debit_minor=line.credit_minor, credit_minor=line.debit_minor)


def assert_company_currency(entry: JournalEntry | Bill, company: str, rate: Decimal, units: MinorUnits) -> None:
    """Every part balances in the company's currency, the settling line is exact, and rounding is on one line."""
    assert entry.company_currency == company
    exact = Fraction(rate) * Fraction(10) ** (units.decimals(company) - units.decimals(entry.currency))
    for lines in parts(entry):
        sizes = [line.company_minor for line in lines if line.company_minor is not None]
        assert len(sizes) == len(lines)
        assert min(sizes) >= 0
        sides = [(line.amount_minor > 0) - (line.amount_minor < 0) for line in lines]
        assert sum(side * size for side, size in zip(sides, sizes, strict=True)) == 0
        apart = [abs(abs(line.amount_minor) * exact - size) for line, size in zip(lines, sizes, strict=True)]
        assert apart[-1] <= Fraction(1, 2)
        if min(sizes) >= len(lines):  # not so small that one line cannot take the difference
            off = [n for n, distance in enumerate(apart) if distance > Fraction(1, 2)]
            largest = max(range(len(lines) - 1), key=lambda n: (abs(lines[n].amount_minor), -n))
            assert off in ([], [largest])
            assert max(apart) <= len(lines)


@pytest.mark.parametrize("examples", [500, pytest.param(THOROUGH, marks=pytest.mark.slow)])
def test_thousands_of_items_are_booked_in_balance_with_nothing_lost(examples: int) -> None:
    items: Counter[str] = Counter()  # by currency, and what more was tried on them
    seen: set[tuple[object, ...]] = set()

    @thoroughly(examples)
    @given(fitting(), st.integers(0, len(_VARIANTS) - 1), st.sampled_from(RATES), st.sampled_from(COMPANY_CURRENCIES))
    def each(drawn: Figures, turn: int, rate: Decimal, company: str) -> None:
        variants = [_VARIANTS[(turn + 5 * n) % len(_VARIANTS)] for n in range(6)]
        plain = (METHODS[turn % len(METHODS)], MinorUnits.HUNDREDTHS, "EUR")
        for method, units, currency in (*variants[:4], plain):
            figures = dataclasses.replace(drawn, method=method, currency=currency)
            entry = entry_of(figures, context(units))
            assert_sound(entry, figures.header)
            assert_documents(figures, entry)
            assert_cost_and_tax(figures, entry)
            assert entry.company_currency is None
            items.update([currency])
            seen.add((figures.type, figures.sub_type, method, DECIMALS.get(currency), units))
            seen.add((len(figures.lines),))
            seen.update((method, line.kind) for line in figures.lines)
        assert_mirrored(figures, entry, context(units))
        items.update(["mirrored"])
        for method, units, currency in variants[4:]:
            figures = dataclasses.replace(drawn, method=method, currency=currency)
            of = context(units, company, rate)
            entry = entry_of(figures, of)
            assert_sound(entry, figures.header)
            if currency != company:
                assert_company_currency(entry, company, rate, units)
                items.update(["in company currency"])
            assert_mirrored(figures, entry, of)
            items.update(["mirrored"])

    each()
    assert items.total() >= 2 * examples
    assert min(items[currency] for currency in DECIMALS) >= examples
    assert items["in company currency"] >= 0.6 * examples
    if examples < THOROUGH:
        return
    assert {(type_, sub_type, method, decimals, units) for type_, sub_type in TYPES for method in METHODS[:2]
            for decimals in DECIMALS.values() for units in MinorUnits} <= seen  # fmt: skip
    assert {(count,) for count in range(1, 7)} <= seen
    assert set(product(METHODS, ("none", "inclusive", "exclusive", "reverse"))) <= seen


@thoroughly(200)
@given(fitting(), st.integers(1, 10**6), st.sampled_from(("journal", "accounts_payable")))
def test_what_a_card_purchase_costs_beyond_its_lines_is_a_fee_and_nothing_is_lost(
    drawn: Figures, fee: int, method: str
) -> None:
    gross = drawn.header
    header = gross + fee if gross >= 0 else gross - fee
    figures = dataclasses.replace(drawn, type="card_purchase", sub_type=None, header=header, method=method)
    if any(sum(amounts) == header for amounts in zip(*((line.line, line.net) for line in figures.lines), strict=True)):
        return  # then it is no fee
    assert "card_fee_account" in str(book(export_item(figures), context()))
    # Where either amount may be the gross the other reading may be taken, and its base is not what the rate is of.
    takes_fees = ErpSettings(card_fee_account="6910", reverse_charge_check=ReverseChargeCheck.WARN)
    entry = entry_of(figures, dataclasses.replace(context(), settings=takes_fees))
    assert_sound(entry, header)
    assert_taxes(figures, entry)
    (booked,) = [line for line in entry.all_lines if line.account.code == "6910"]
    assert 0 < abs(booked.amount_minor) <= fee
    way = 1 if header > 0 else -1
    rest = [line.amount_minor for line in parts(entry)[0][:-1] if line is not booked]
    assert way * booked.amount_minor > 0
    assert sum(rest) + booked.amount_minor == header
    assert sum(rest) in {sum(line.line for line in figures.lines), sum(line.net for line in figures.lines)}
