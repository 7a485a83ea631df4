"""What tax lines carry besides their amounts: codes, rates, bases; and that VAT can be told from them by code."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import pytest

from blocks.erp.entries import Entry
from blocks.erp.settings import ReverseChargeCheck
from flows.bookkeeping import book
from tests.flows.bookkeeping.golden_table import context, item_with, runs
from tests.flows.bookkeeping.test_bookkeeping_rules import PAYABLE, TITLE, bill, entry, failure, item, on


def test_tax_lines_are_marked_and_the_others_are_not() -> None:
    for title, marks in (
        (TITLE, [False, True, False]),
        ("card_purchase, tax reverse, positive", [False, True, True, False]),
        ("card_purchase, tax zero, positive", [False, False]),
    ):
        assert [line.tax for line in entry(item(item_with(title)), context()).lines] == marks
    made = bill(item(PAYABLE), context())
    assert [[line.tax for line in document.lines] for document in made.documents] == [
        [False, True, False],
        [False, False],
    ]


@pytest.mark.parametrize(("mapped", "code"), [({"DKK25": "I25"}, "I25"), ({"dkk25": "X"}, "DKK25")])
def test_a_tax_code_has_the_name_that_the_settings_give_it(mapped: dict[str, str], code: str) -> None:
    made = entry(item(), context(tax_codes=mapped))
    assert [line.tax_code for line in made.lines] == [code, code, None]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0.25", "0.25"),
        ("0.250", "0.25"),
        ("0", "0"),
        ("0E+40", "0"),
        ("-0.0", "0"),
        ("1", "1"),
        ("0.081", "0.081"),
        ("1E+1", "10"),
        ("1E+999999", None),
        ("1E-999999", None),
        ("0." + "3" * 99, None),
    ],
)
def test_a_rate_is_a_decimal_fraction_that_anybody_can_read(sent: str, kept: str | None) -> None:
    made = entry(item(accountingEntryLines=on("6100", rate=Decimal(sent))), context())
    assert [line.tax_rate for line in made.lines] == [kept, kept, None]
    assert [line.tax_base_minor for line in made.lines] == [None, abs(made.lines[0].amount_minor), None]


@pytest.mark.parametrize("rate", ["1E+999999", "-1E+999999", "1E-999999", "NaN", "abc"])
def test_a_rate_beyond_reason_is_no_rate_of_reverse_charge_and_is_never_computed(rate: str) -> None:
    reverse = item_with("card_purchase, tax reverse, positive")
    (line,) = reverse["accountingEntryLines"]
    given: Any = Decimal(rate) if rate[-1].isdecimal() else rate
    made = item(reverse, accountingEntryLines=[{**line, "tax": {**line["tax"], "rate": given}}])
    if rate[-1].isdecimal():
        assert "and not its rate of" in failure(made, context())[1]
        warned = entry(made, context(reverse_charge_check=ReverseChargeCheck.WARN))
        assert [one.tax for one in warned.lines] == [False, True, True, False]
        assert len(warned.notices) == 1
    else:
        assert entry(made, context()).notices == ()


def test_vat_by_code_comes_to_what_stands_on_the_accounts() -> None:
    """The base of each code by its tax lines alone is what the cost lines come to, over the whole golden table."""
    by_code: dict[tuple[str, bool], Counter[str]] = defaultdict(Counter)
    checked = 0
    for run in runs():
        outcome = book(run.export_item(), run.case.context())
        if not isinstance(outcome, Entry):
            continue
        for one in outcome.all_lines:
            if not one.tax_code:
                continue
            side = 1 if one.amount_minor > 0 else -1
            due = one.account.code in ("2610", "2611")
            if one.tax:
                by_code[one.tax_code, due]["tax"] += one.amount_minor
                by_code[one.tax_code, due]["base of tax"] += side * (one.tax_base_minor or 0)
                checked += 1
            elif any(line.tax and line.tax_code == one.tax_code for line in outcome.all_lines):
                by_code[one.tax_code, due]["base"] += one.amount_minor
    assert checked > 1000
    for (code, due), sums in by_code.items():
        if due:
            assert sums["base of tax"] == -by_code[code, False]["base of tax"], code
        else:
            assert sums["base of tax"] == sums["base"], code
