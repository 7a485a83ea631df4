"""Which figures are booked and which are refused: any figures at all, and items that are odd in every other way."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.erp.entries import Account, AccountKind, Bill, JournalEntry, Vendor
from blocks.erp.reference import Chart, KnownVendor, Period, Periods, Reference, Vendors
from blocks.erp.settings import ClosedPeriod, ErpSettings, ReverseChargeCheck, UnknownVendor
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from flows.bookkeeping import BookingContext, book
from flows.failures import MAX_REASON, Failure
from tests.flows.bookkeeping.accountant import read
from tests.flows.bookkeeping.bookkeeping_items import (
    CATEGORY_TYPES,
    COMPANY,
    KINDS,
    Figures,
    LineFigures,
    colliding,
    document,
    export_item,
    readings,
    thoroughly,
    wild,
)
from tests.flows.bookkeeping.test_bookkeeping_properties import LIMITS, REFERENCE, assert_sound, context, parts

FAILURES = {
    ItemFailure.VALIDATION,
    ItemFailure.MISSING_CONFIGURATION,
    ItemFailure.VENDOR_UNKNOWN,
    ItemFailure.ERP_VALIDATION,
}
STRICT = dataclasses.replace(
    REFERENCE,
    chart=Chart([Account("6300", "Travel", AccountKind.EXPENSE)], {"77": "6300"}),
    vendors=Vendors([KnownVendor(Vendor("V-1", "One")), KnownVendor(Vendor("V-2", "Two"), blocked=True)]),
    periods=Periods([Period(date(2026, 11, 1), date(2026, 11, 30), is_open=True)]),
    company_currency="EUR",
    rates=lambda currency, day: Decimal("0.1340"),
)
SETTINGS = (
    ErpSettings(),
    ErpSettings(
        employee_dimension="employee",
        team_dimension="team",
        card_fee_account="6910",
        default_expense_account="6990",
        reverse_charge_check=ReverseChargeCheck.WARN,
        closed_period=ClosedPeriod.NEXT_OPEN,
        unknown_vendor=UnknownVendor.FALLBACK,
    ),
)


def shown(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"


def assert_as_designed(figures: Figures) -> None:
    """Booked in balance on the gross that a reading finds, or failed with the figures where none does."""
    possible = readings(figures)
    outcome = book(export_item(figures), context())
    if isinstance(outcome, Failure):
        assert possible == []
        assert outcome.type is ItemFailure.VALIDATION
        assert_shows_figures(figures, outcome.reason)
        return
    assert isinstance(outcome, JournalEntry)
    assert possible != []
    assert_sound(outcome, figures.header)
    way = -1 if figures.money_back or figures.header < 0 else 1
    costs = [way * (cost if figures.type in CATEGORY_TYPES else gross) for gross, cost, _ in read(document(figures))[0]]
    assert [line.amount_minor for line in outcome.lines[:-1] if not line.tax] == costs


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


@thoroughly(500)
@given(colliding())
def test_any_figures_on_several_lines_are_booked_or_refused_as_designed(figures: Figures) -> None:
    assert_as_designed(figures)


@pytest.mark.slow
@thoroughly(3000)
@given(colliding())
def test_many_more_figures_on_several_lines_are_booked_or_refused_as_designed(figures: Figures) -> None:
    assert_as_designed(figures)


WILD = given(
    wild(),
    st.sampled_from((1, 2, 40, 200)),
    st.sampled_from((REFERENCE, STRICT, Reference())),
    st.sampled_from(SETTINGS),
)


@thoroughly(250)
@WILD
def test_no_item_however_wild_raises(item: ExportItem, limit: int, reference: Reference, settings: ErpSettings) -> None:
    limits = dataclasses.replace(LIMITS, max_description=limit, max_reference=limit, max_detail=limit)
    outcome = book(item, BookingContext("job", COMPANY, reference, limits, settings))
    if isinstance(outcome, Failure):
        assert outcome.type in FAILURES
        assert 0 < len(outcome.reason) <= MAX_REASON
        assert outcome.reason.isprintable() or not any(mark in outcome.reason for mark in "\n\r\x00\u202e")
        return
    assert isinstance(outcome, JournalEntry | Bill)
    assert_sound(outcome, outcome.amount_minor)
    for lines in parts(outcome):
        assert sum((line.company_minor or 0) * (1 if line.debit_minor else -1) for line in lines) == 0
    assert len(outcome.description) <= limit
    texts = dataclasses.astuple(outcome.details)
    assert all(len(text) <= limit for text in (outcome.reference, *texts) if isinstance(text, str))
    assert all(line.account.code.strip() for line in outcome.all_lines)


@pytest.mark.slow
@thoroughly(1500)
@WILD
def test_no_item_of_many_more_however_wild_raises(item: ExportItem, limit: int, reference: Reference, of: Any) -> None:
    test_no_item_however_wild_raises.hypothesis.inner_test(item, limit, reference, of)
