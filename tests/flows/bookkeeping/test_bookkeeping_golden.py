"""The golden table: every case becomes exactly the entry, or the failure, that stands under it."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from blocks.erp.entries import Bill, Entry, JournalEntry
from flows.bookkeeping import book
from tests.flows.bookkeeping.accountant import as_booked, by_the_book
from tests.flows.bookkeeping.golden_rows import outcome_rows
from tests.flows.bookkeeping.golden_table import TYPES, Run, runs

RUNS = runs()

TAX_KINDS = ("none", "zero", "inclusive", "exclusive", "reverse", "several", "rounding")
METHODS = ("journal", "none", "accounts_payable", "not_stated", "known_supplier", "by_pigeon")


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_case_of_the_golden_table_is_booked_as_it_stands_there(run: Run) -> None:
    assert outcome_rows(run.outcome(), run.case.units) == run.expected, run.case.where


@pytest.mark.parametrize("run", [run for run in RUNS if not run.fails], ids=str)
def test_an_accountant_who_never_saw_our_code_books_it_the_same_way(run: Run) -> None:
    assert as_booked(run) == by_the_book(run), run.case.where


def test_the_golden_table_holds_every_type_subtype_method_tax_and_sign() -> None:
    wanted = {
        (type_, sub_type, *rest)
        for type_, sub_types in TYPES.items()
        for sub_type, *rest in (
            *product(sub_types, METHODS, TAX_KINDS, ("positive", "negative")),
            *product(sub_types, METHODS, ("none",), ("zero",)),
        )
    }
    held = {
        (run.case.item["type"], run.case.item["subType"], run.method, run.case.tax_kind, run.case.sign) for run in RUNS
    }
    assert wanted - held == set()
    assert len(RUNS) > len(wanted) > 2000


def test_the_golden_table_holds_each_title_and_method_once() -> None:
    assert [title for title, count in Counter(map(str, RUNS)).items() if count > 1] == []


def test_a_method_that_nobody_knows_fails_all_but_movements_of_the_balance() -> None:
    booked = {run.case.item["type"] for run in RUNS if run.method == "by_pigeon" and not run.fails}
    assert booked == {"wallet_topup", "wallet_unload"}


def test_only_types_that_a_vendor_can_bill_become_bills() -> None:
    made: dict[str, set[type[Entry]]] = {}
    for run in RUNS:
        outcome = book(run.export_item(), run.case.context())
        if isinstance(outcome, Entry) and run.method == "accounts_payable":
            made.setdefault(run.case.item["type"], set()).add(type(outcome))
    movements = {"wallet_topup", "wallet_unload", "atm_withdrawal", "personal_spend"}
    movements |= {"direct_reimbursement", "external_reimbursement"}
    assert made == {type_: {JournalEntry if type_ in movements else Bill} for type_ in TYPES}


def test_the_entry_of_every_case_carries_the_amount_and_currency_that_pleo_states() -> None:
    for run in RUNS:
        if run.fails:
            continue
        entry = book(run.export_item(), run.case.context())
        stated = run.case.item["amount"]["inWalletCurrency"]
        assert isinstance(entry, Entry)
        assert (entry.amount_minor, entry.currency) == (stated["value"], stated["currency"]), run.case.where
        assert entry.difference_minor == 0
        in_company = [(line.company_minor or 0) * (1 if line.debit_minor else -1) for line in entry.all_lines]
        assert sum(in_company) == 0
