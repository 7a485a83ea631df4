"""What holds for every item whatever its figures are, tried on many thousands of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import product
from typing import Any

from bookkeeping_items import (
    CATEGORY_TYPES,
    COMPANY,
    KINDS,
    Figures,
    LineFigures,
    colliding,
    export_item,
    fitting,
    readings,
    thoroughly,
    wild,
)
from hypothesis import given
from hypothesis import strategies as st

from blocks.erp.base import Capabilities
from blocks.erp.entries import Account, JournalEntry, Line
from blocks.erp.reference import ROLE_KINDS, Reference, Role
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from flows.bookkeeping import Books, book
from flows.failures import MAX_REASON, Failure

LIMITS = Capabilities("books", 100, 200, 50, 10**18)
REFERENCE = Reference(
    {role: Account(f"role-{role}", role.value, ROLE_KINDS[role]) for role in Role if role is not Role.WALLET},
    open_wallet=lambda currency: Account(f"wallet-{currency}", "Wallet", ROLE_KINDS[Role.WALLET]),
)
BOOKS = Books("job", COMPANY, REFERENCE, LIMITS)


def entry_of(figures: Figures) -> JournalEntry:
    outcome = book(export_item(figures), BOOKS)
    assert isinstance(outcome, JournalEntry), outcome
    return outcome


def shown(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"


def everything_in(value: Any) -> Iterator[Any]:
    yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from everything_in(getattr(value, field.name))
    elif isinstance(value, tuple):
        for element in value:
            yield from everything_in(element)


def assert_sound(entry: JournalEntry, header: int) -> None:
    """Debits equal credits, the counter side is the header, and every line stands in one column."""
    assert sum(line.debit_minor for line in entry.lines) == sum(line.credit_minor for line in entry.lines)
    assert [line.debit_minor + line.credit_minor for line in entry.lines if line.counter] == [abs(header)]
    assert entry.amount_minor == header
    for line in entry.lines:
        assert min(line.debit_minor, line.credit_minor) == 0
        assert max(line.debit_minor, line.credit_minor) >= 0
    assert not [value for value in everything_in(entry) if isinstance(value, (float, complex))]


def side(line: Line) -> int:
    return line.debit_minor - line.credit_minor


def debit_sign(figures: Figures) -> int:
    """1 where a gross amount, signed as Pleo sends it, is a debit: for money back only if it is sent as negative."""
    return -1 if figures.money_back and figures.header >= 0 else 1


def parts(figures: Figures, entry: JournalEntry) -> list[tuple[Line, ...]]:
    """The entry's lines less the counter line, by the line of the item that they come from."""
    rest = list(entry.lines[:-1])
    taken: list[tuple[Line, ...]] = []
    for line in figures.lines:
        count = 1
        if figures.type in CATEGORY_TYPES and line.kind != "none" and line.tax:
            count = 3 if line.kind == "reverse" else 2
        taken.append(tuple(rest[:count]))
        del rest[:count]
    assert rest == []
    return taken


@thoroughly(3000)
@given(fitting())
def test_figures_that_fit_are_booked_in_balance_without_a_float(figures: Figures) -> None:
    assert_sound(entry_of(figures), figures.header)


@thoroughly(3000)
@given(fitting())
def test_cost_and_tax_of_a_line_are_its_gross_to_the_hundredth(figures: Figures) -> None:
    turn = debit_sign(figures)
    gross_amounts = readings(figures)[0]
    for line, gross, part in zip(figures.lines, gross_amounts, parts(figures, entry_of(figures)), strict=True):
        sides = [side(each) for each in part]
        assert sum(sides) == turn * gross
        if len(part) == 2:
            assert abs(sides[1]) == abs(line.tax)
        if len(part) == 3:
            assert sides[0] == turn * gross
            assert sides[1] == -sides[2]
            assert abs(sides[1]) == abs(line.tax)


@thoroughly(3000)
@given(fitting())
def test_the_negative_of_an_item_is_its_mirror_and_of_money_back_the_same(figures: Figures) -> None:
    entry, negative = entry_of(figures), entry_of(figures.negated())
    assert negative.amount_minor == -entry.amount_minor
    if figures.money_back and figures.header != 0:
        assert negative.lines == entry.lines
    else:
        swapped = (
            dataclasses.replace(line, debit_minor=line.credit_minor, credit_minor=line.debit_minor)
            for line in entry.lines
        )
        assert negative.lines == tuple(swapped)


def assert_as_designed(figures: Figures) -> None:
    """Booked in balance on the gross that a reading finds, or failed with the figures where none does."""
    possible = readings(figures)
    outcome = book(export_item(figures), BOOKS)
    if isinstance(outcome, Failure):
        assert possible == []
        assert outcome.type is ItemFailure.VALIDATION
        assert_shows_figures(figures, outcome.reason)
        return
    assert possible != []
    assert_sound(outcome, figures.header)
    turn = debit_sign(figures)
    assert [sum(map(side, part)) for part in parts(figures, outcome)] == [turn * gross for gross in possible[0]]


def assert_shows_figures(figures: Figures, reason: str) -> None:
    """The reason has the figures of the whole item, or those of one line."""
    whole = [figures.header, sum(line.line for line in figures.lines), sum(line.net for line in figures.lines)]
    single = [(line.line, line.net, line.tax if line.kind != "none" else 0) for line in figures.lines]
    assert any(all(shown(figure) in reason for figure in each) for each in (whole, *single)), reason


def test_every_combination_of_small_figures_on_one_line_is_booked_or_refused_as_designed() -> None:
    small = range(-4, 5)
    count = 0
    for kind, header, line, net, tax in product(KINDS, small, small, small, small):
        if kind != "none" or tax == 0:
            assert_as_designed(Figures("card_purchase", None, header, (LineFigures(kind, line, net, tax),)))
            count += 1
    assert count == 3 * 9**4 + 9**3


@thoroughly(3000)
@given(colliding())
def test_any_figures_on_several_lines_are_booked_or_refused_as_designed(figures: Figures) -> None:
    assert_as_designed(figures)


@thoroughly(1200)
@given(wild(), st.sampled_from((1, 2, 40, 200)), st.booleans())
def test_no_item_however_wild_raises(item: ExportItem, limit: int, set_up: bool) -> None:
    limits = dataclasses.replace(LIMITS, max_description=limit, max_reference=limit)
    outcome = book(item, Books("job", COMPANY, REFERENCE if set_up else Reference(), limits))
    if isinstance(outcome, Failure):
        assert outcome.type in {ItemFailure.VALIDATION, ItemFailure.MISSING_CONFIGURATION}
        assert 0 < len(outcome.reason) <= MAX_REASON
        assert outcome.reason.isprintable() or not any(mark in outcome.reason for mark in "\n\r\x00\u202e")
        return
    assert_sound(outcome, outcome.amount_minor)
    assert len(outcome.description) <= limit
    assert len(outcome.reference) <= limit
    assert all(line.account.code.strip() for line in outcome.lines)
