"""What an entry carries besides its amounts: ids, dates, currencies, kinds of account; and the texts of refusals."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from blocks.erp.entries import Account, AccountKind, EntryState, JournalEntry, Money
from blocks.erp.errors import RefusalKind, Refused
from blocks.pleo.models import ItemFailure
from flows.bookkeeping import book
from flows.bookkeeping.accounts import RULES
from flows.failures import Failure, refusal
from tests.flows.bookkeeping.golden_rows import outcome_rows
from tests.flows.bookkeeping.golden_table import COMPANY, ENTRY, JOB, TYPES, context, item_with, parsed

PURCHASE = item_with("card_purchase, tax exclusive, positive")


def entry_of(document: dict[str, Any]) -> JournalEntry:
    entry = book(parsed(document), context())
    assert isinstance(entry, JournalEntry), entry
    return entry


def in_supplier_currency(amount: dict[str, Any], currency: str, value: int | float) -> dict[str, Any]:
    return {**amount, "inSupplierCurrency": {"currency": currency, "value": value}}


def test_there_is_a_rule_for_every_type_of_the_contract_and_no_other() -> None:
    assert set(RULES) == set(TYPES)


def test_an_entry_carries_the_ids_that_it_is_found_by() -> None:
    entry = entry_of(PURCHASE)
    assert (entry.accounting_entry_id, entry.job_id, entry.company_id) == (ENTRY, JOB, COMPANY)
    assert entry.item_type == "card_purchase"
    assert entry.state is EntryState.DRAFT


def test_ids_in_capitals_are_the_same_ids() -> None:
    shouted = {**PURCHASE, "accountingEntryId": ENTRY.upper(), "companyId": COMPANY.upper()}
    assert entry_of(shouted) == entry_of(PURCHASE)


@pytest.mark.parametrize(
    ("sent", "booked"),
    [
        ("2026-10-31T00:00:00Z", date(2026, 10, 31)),
        ("2026-10-31", date(2026, 10, 31)),
        ("2026-10-31T23:59:59.999999Z", date(2026, 10, 31)),
        ("2026-10-31T23:30:00-02:00", date(2026, 11, 1)),
        ("2026-11-01T01:30:00+02:00", date(2026, 10, 31)),
    ],
)
def test_an_expense_is_booked_on_its_date_in_utc(sent: str, booked: date) -> None:
    entry = entry_of({**PURCHASE, "date": sent})
    assert (entry.posting_date, entry.original_date) == (booked, booked)


def test_a_service_period_never_moves_the_date() -> None:
    period = {"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}
    entry = entry_of({**PURCHASE, "servicePeriod": period})
    assert (entry.posting_date, entry.original_date) == (date(2026, 10, 15), date(2026, 10, 15))
    assert (entry.details.service_from, entry.details.service_to) == (date(2026, 1, 1), date(2026, 12, 31))


def test_what_the_supplier_charged_travels_along_and_is_not_booked() -> None:
    (line,) = PURCHASE["accountingEntryLines"]
    document = {
        **PURCHASE,
        "amount": in_supplier_currency(PURCHASE["amount"], "USD", -1833),
        "accountingEntryLines": [{**line, "lineAmount": in_supplier_currency(line["lineAmount"], "USD", 1833)}],
    }
    entry = entry_of(document)
    assert entry.supplier == Money("USD", -1833)
    assert [made.supplier for made in entry.lines] == [Money("USD", 1833), None, None]
    assert outcome_rows(entry) == outcome_rows(entry_of(PURCHASE))


@pytest.mark.parametrize(("currency", "value"), [("XXX", 100), ("UNDEFINED", 100), ("usd", 100), ("USD", 10**40)])
def test_a_supplier_amount_that_cannot_be_told_costs_nobody_the_entry(currency: str, value: int) -> None:
    document = {**PURCHASE, "amount": in_supplier_currency(PURCHASE["amount"], currency, value)}
    assert entry_of(document) == entry_of(PURCHASE)


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("card_purchase, tax reverse, positive", "expense asset liability asset"),
        ("out_of_pocket, tax exclusive, positive", "expense asset liability"),
        ("invoice, tax none, positive", "expense liability"),
        ("invoice_payment, tax none, positive", "liability asset"),
        ("external_reimbursement, tax none, positive", "liability liability"),
        ("wallet_topup, tax none, positive", "asset asset"),
        ("cashback, tax none, positive", "income asset"),
        ("fee, tax none, positive", "expense asset"),
        ("Reverse charge on both accounts that Pleo names", "expense asset liability asset"),
    ],
)
def test_accounts_have_the_kind_that_their_part_in_the_entry_says(title: str, kinds: str) -> None:
    assert [line.account.kind.value for line in entry_of(item_with(title)).lines] == kinds.split()


def test_nothing_is_nothing_however_it_is_written() -> None:
    nothing = {"inWalletCurrency": {"currency": "DKK", "value": Decimal("0E+40")}}
    (line,) = PURCHASE["accountingEntryLines"]
    lines = [{**line, "lineAmount": nothing, "netAmount": nothing, "tax": None}]
    assert entry_of({**PURCHASE, "amount": nothing, "accountingEntryLines": lines}).amount_minor == 0


def test_an_account_without_a_name_is_called_by_its_code() -> None:
    (line,) = PURCHASE["accountingEntryLines"]
    nameless = {"id": None, "name": "", "code": "6100", "identifier": "77"}
    entry = entry_of({**PURCHASE, "accountingEntryLines": [{**line, "account": nameless}]})
    assert entry.lines[0].account == Account("6100", "6100", AccountKind.EXPENSE)


def test_a_code_of_blanks_is_no_code() -> None:
    (line,) = PURCHASE["accountingEntryLines"]
    for blank in (" ", "\x00\u202e", "\n" * 100_000):
        account = {"id": None, "name": "Office supplies", "code": blank, "identifier": "77"}
        entry = entry_of({**PURCHASE, "accountingEntryLines": [{**line, "account": account}]})
        assert entry.lines[0].account.code == "77"


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        (RefusalKind.CLOSED_PERIOD, ItemFailure.ERP_VALIDATION),
        (RefusalKind.UNBALANCED, ItemFailure.VALIDATION),
        (RefusalKind.OTHER, ItemFailure.ERP_VALIDATION),
    ],
)
def test_a_refusal_that_pleos_table_has_no_text_for_is_told_in_the_erps_own_words(
    kind: RefusalKind, type_: ItemFailure
) -> None:
    assert refusal(Refused(ENTRY, kind, "6100", "its\nown words")) == Failure(type_, "its own words")
