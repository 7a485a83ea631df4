"""The golden table: every case becomes exactly the entry, or the failure, that stands under it."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from golden_table import TYPES, Case, books, cases, outcome_rows

from blocks.erp.entries import JournalEntry
from flows.bookkeeping import book

CASES = cases()

TAX_KINDS = ("none", "zero", "inclusive", "exclusive", "reverse")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_of_the_golden_table_is_booked_as_it_stands_there(case: Case) -> None:
    outcome = book(case.export_item(), books(case.without))
    assert outcome_rows(outcome) == case.expected, case.where


def test_the_golden_table_holds_every_type_subtype_tax_and_sign() -> None:
    wanted = {
        (type_, sub_type, tax, sign)
        for type_, sub_types in TYPES.items()
        for sub_type, tax, sign in product(sub_types, TAX_KINDS, ("positive", "negative"))
    } | {(type_, sub_type, "none", "zero") for type_, sub_types in TYPES.items() for sub_type in sub_types}
    held = {(case.item["type"], case.item["subType"], case.tax_kind, case.sign) for case in CASES if not case.fails}
    assert wanted - held == set()


def test_the_golden_table_holds_each_title_once() -> None:
    assert [title for title, count in Counter(case.title for case in CASES).items() if count > 1] == []


def test_every_expected_entry_of_the_golden_table_balances_by_itself() -> None:
    for case in CASES:
        if case.fails:
            continue
        sums: Counter[str] = Counter()
        for row in case.expected:
            side, _, amount, *_ = row.split("  ")
            sums[side] += int(amount.replace(".", ""))
        assert sums["debit"] == sums["credit"], case.where


def test_the_entry_of_every_case_carries_the_amount_and_currency_that_pleo_states() -> None:
    for case in CASES:
        if case.fails:
            continue
        entry = book(case.export_item(), books(case.without))
        stated = case.item["amount"]["inWalletCurrency"]
        assert isinstance(entry, JournalEntry)
        assert (entry.amount_minor, entry.currency) == (stated["value"], stated["currency"]), case.where
