"""The corners of each rule that the golden table does not turn: charts, codes, methods, vendors, zones, rates."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from blocks.erp.entries import Account, AccountKind, Bill, DocumentKind, Entry, EntryState, JournalEntry, Vendor
from blocks.erp.reference import Chart, KnownVendor, Period, Periods, Vendors, check_names
from blocks.erp.settings import ClosedPeriod, ErpSettings, MoneyBackSign, UnknownVendor
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from flows.bookkeeping import BookingContext, book
from flows.failures import Failure
from tests.flows.bookkeeping.golden_table import LIMITS, context, item_with, parsed

TITLE = "card_purchase, tax exclusive, positive"
PURCHASE = item_with(TITLE, "journal")
PAYABLE = item_with(f"{TITLE}, by accounts payable", "accounts_payable")
UNKNOWN_ID = "00000000-0000-0000-0000-000000000000"
CHART = Chart(
    [
        Account("6100", "Stationery", AccountKind.EXPENSE),
        Account("1940", "Card wallet", AccountKind.ASSET),
        Account("2641", "VAT 25 %", AccountKind.ASSET),
        Account("2449", "Vendors to clear", AccountKind.LIABILITY),
    ],
    {"id-61": "6100", "id-19": "1940", "id-26": "2641"},
)


def item(document: dict[str, Any] = PURCHASE, **changes: Any) -> ExportItem:
    return parsed(document, **changes)


def on(code: str | None, identifier: str | None = None, id_: str | None = None, **tax: Any) -> list[dict[str, Any]]:
    (line,) = PURCHASE["accountingEntryLines"]
    account = {"id": id_, "name": "Office supplies", "code": code, "identifier": identifier}
    return [{**line, "account": account, "tax": {**line["tax"], **tax}}]


def with_(of: BookingContext | None = None, **reference: Any) -> BookingContext:
    of = of or context()
    return replace(of, reference=replace(of.reference, **reference))


def entry(made: ExportItem, of: BookingContext) -> JournalEntry:
    outcome = book(made, of)
    assert isinstance(outcome, JournalEntry), outcome
    return outcome


def bill(made: ExportItem, of: BookingContext) -> Bill:
    outcome = book(made, of)
    assert isinstance(outcome, Bill), outcome
    return outcome


def failure(made: ExportItem, of: BookingContext) -> tuple[ItemFailure, str]:
    outcome = book(made, of)
    assert isinstance(outcome, Failure), outcome
    return outcome.type, outcome.reason


# Accounts


@pytest.mark.parametrize(
    ("code", "identifier"), [("6100", None), ("6100", "id-19"), (None, "id-61"), ("61-00", "id-61"), (" 6100 ", "")]
)
def test_an_account_is_found_in_the_chart_by_number_and_then_by_identifier(
    code: str | None, identifier: str | None
) -> None:
    made = entry(item(accountingEntryLines=on(code, identifier)), with_(chart=CHART))
    assert made.lines[0].account == Account("6100", "Stationery", AccountKind.EXPENSE)


def test_contra_and_tax_accounts_are_found_in_the_chart_too() -> None:
    contra = {"id": None, "name": "Pleo", "code": None, "identifier": "id-19"}
    lines = on("6100", ingoingTaxAccount="id-26")
    made = entry(item(contraAccount=contra, accountingEntryLines=lines), with_(chart=CHART))
    assert [line.account.name for line in made.lines] == ["Stationery", "VAT 25 %", "Card wallet"]


def test_an_account_that_the_chart_lacks_stays_as_pleo_names_it_for_the_erp_to_refuse() -> None:
    reference = with_(chart=CHART)
    made = entry(item(accountingEntryLines=on("9999", "id-99")), reference)
    assert made.lines[0].account == Account("9999", "Office supplies", AccountKind.EXPENSE)
    refused = check_names(made, reference.reference)
    assert refused is not None
    assert refused.subject == "9999"


def test_a_long_identifier_that_the_chart_knows_is_no_long_number() -> None:
    long = "id-" + "6" * 90
    chart = Chart([Account("6100", "Stationery", AccountKind.EXPENSE)], {long: "6100"})
    assert entry(item(accountingEntryLines=on(None, long)), with_(chart=chart)).lines[0].account.code == "6100"
    assert failure(item(accountingEntryLines=on(None, long)), context())[0] is ItemFailure.VALIDATION


@pytest.mark.parametrize(
    "lines", [on(UNKNOWN_ID), on(UNKNOWN_ID, UNKNOWN_ID), on("6100", id_=UNKNOWN_ID), on(None), on(" ", "\x00")]
)
def test_an_account_of_zeros_is_missing_whichever_field_it_stands_in(lines: list[dict[str, Any]]) -> None:
    chosen = lines[0]["account"]["id"] != UNKNOWN_ID
    cure = "in the configurations (default_expense_account), or choose a category for it in Pleo"
    reason = "Account Office supplies for line 1 of Corner shop missing: provide account "
    reason += "number of this category in Pleo" if chosen else cure
    for of in (context(), with_(chart=CHART)):
        assert failure(item(accountingEntryLines=lines), of) == (ItemFailure.MISSING_CONFIGURATION, reason)


def test_an_account_from_the_settings_is_the_one_of_the_chart() -> None:
    of = with_(context(default_expense_account="6100", card_fee_account="2641"), chart=CHART)
    made = entry(item(accountingEntryLines=on(None, id_=UNKNOWN_ID)), of)
    assert made.lines[0].account == Account("6100", "Stationery", AccountKind.EXPENSE)
    lines = [{**on("6100")[0], "tax": None, "netAmount": PURCHASE["accountingEntryLines"][0]["lineAmount"]}]
    more = {"inWalletCurrency": {"currency": "DKK", "value": 20000}}
    assert entry(item(amount=more, accountingEntryLines=lines), of).lines[1].account.name == "VAT 25 %"


def test_the_failure_of_a_line_names_the_expense_and_the_line_once() -> None:
    lines = [*on("6100"), {**on(None)[0], "account": None}]
    of = {"supplier": {"name": "Hotel Post"}, "user": {"name": "Ada Holm", "code": None}, "note": "Two nights"}
    reason = failure(item(accountingEntryLines=lines, **of), context())[1]
    assert reason.startswith("Account for line 2 of Hotel Post · Ada Holm · Two nights missing: provide account in the")
    assert [reason.count(name) for name in ("Hotel Post", "Two nights", "line 2", "category")] == [1, 1, 1, 1]


def test_an_account_whose_code_is_zeros_may_still_be_known_by_its_identifier() -> None:
    assert entry(item(accountingEntryLines=on(UNKNOWN_ID, "77")), context()).lines[0].account.code == "77"


# Method


@pytest.mark.parametrize("method", ["", "JOURNAL", "accounts-payable", "journal "])
def test_a_method_is_taken_by_its_exact_name_only(method: str) -> None:
    type_, reason = failure(item(bookkeeping={"method": method}), context())
    assert type_ is ItemFailure.VALIDATION
    assert repr(method.strip()) in reason


def test_an_unknown_type_fails_before_an_unknown_method() -> None:
    assert "gift" in failure(item(type="gift", bookkeeping={"method": "by_pigeon"}), context())[1]


def test_a_method_is_looked_at_before_accounts_and_these_before_amounts_and_dates() -> None:
    wrong = {
        "bookkeeping": {"method": "by_pigeon"},
        "accountingEntryLines": [{**on(None)[0], "netAmount": None}],
    }
    of = with_(periods=Periods([]))
    assert "by_pigeon" in failure(item(**wrong), of)[1]
    wrong["bookkeeping"] = {"method": "journal"}
    assert failure(item(**wrong), of)[0] is ItemFailure.MISSING_CONFIGURATION
    wrong["accountingEntryLines"] = [{**on("6100")[0], "netAmount": None}]
    assert "net amount of line 1" in failure(item(**wrong), of)[1]
    wrong["accountingEntryLines"] = on("6100")
    assert failure(item(**wrong), of)[0] is ItemFailure.ERP_VALIDATION


def test_where_the_accounting_system_keeps_no_bills_none_is_made() -> None:
    of = replace(context(), limits=replace(LIMITS, bills=False))
    assert failure(item(PAYABLE), of)[0] is ItemFailure.INVALID_CONFIGURATION
    known = item_with(f"{TITLE}, by accounts payable", "known_supplier")
    assert isinstance(book(item(known), context()), Bill)
    assert isinstance(book(item(known), of), JournalEntry)
    topup = item_with("wallet_topup, tax none, positive", "accounts_payable")
    assert isinstance(book(item(topup), of), JournalEntry)


# Vendors


def test_of_several_vendors_with_one_external_id_or_account_none_is_found() -> None:
    twins = [KnownVendor(Vendor(code, code), external_id="E-1", account="70001") for code in ("V-1", "V-2")]
    of = with_(vendors=Vendors(twins))
    named = {"name": "V", "code": None, "externalId": "E-1"}
    assert failure(item(PAYABLE, vendor=named), of)[0] is ItemFailure.VENDOR_UNKNOWN
    supplied = {"vendor": None, "supplier": {"name": "V", "account": "70001"}}
    assert failure(item(PAYABLE, **supplied), of)[0] is ItemFailure.VENDOR_UNKNOWN
    assert bill(item(PAYABLE, vendor={**named, "code": "V-2"}), of).vendor == Vendor("V-2", "V-2")


def test_a_vendor_code_that_is_too_long_is_not_cut() -> None:
    of = with_(vendors=None)
    assert bill(item(PAYABLE, vendor={"name": "V", "code": "7" * 60}), of).vendor == Vendor("7" * 60, "V")
    type_, reason = failure(item(PAYABLE, vendor={"name": "V", "code": "7" * 61}), of)
    assert (type_, "vendor code" in reason) == (ItemFailure.VALIDATION, True)


def test_an_opened_vendor_without_a_name_is_called_by_its_code() -> None:
    assert bill(item(PAYABLE, vendor={"name": " \n", "code": "V-1"}), with_(vendors=None)).vendor == Vendor(
        "V-1", "V-1"
    )


def test_the_account_for_unknown_vendors_is_the_one_of_the_chart() -> None:
    of = with_(context(unknown_vendor=UnknownVendor.FALLBACK, unknown_vendor_account="2449"), chart=CHART)
    made = bill(item(PAYABLE, vendor={"name": "V", "code": "V-99"}), of)
    assert (made.vendor, made.payable) == (None, Account("2449", "Vendors to clear", AccountKind.LIABILITY))


# Documents


def test_an_invoice_number_too_long_to_be_kept_whole_matches_nothing() -> None:
    for number, kept in (("7" * 120, "7" * 120), ("7" * 121, ""), (" INV\n7 ", "INV 7"), (None, "")):
        information = {"invoiceInformation": {"invoiceNumber": number, "status": "paid"}}
        assert bill(item(PAYABLE, additionalInformation=information), context()).invoice_number == kept


def test_only_an_invoice_stays_open_when_it_was_paid_outside_pleo() -> None:
    outside = {"invoiceInformation": {"status": "marked_as_paid"}}
    assert not bill(item(PAYABLE, additionalInformation=outside), context()).stays_open
    invoice = item_with("invoice, tax none, positive, by accounts payable", "accounts_payable")
    assert bill(item(invoice, additionalInformation=outside), context()).stays_open
    assert not bill(item(invoice), context()).stays_open


def test_what_the_supplier_charged_travels_along_on_costs_and_on_a_mere_payment() -> None:
    def charged(amount: dict[str, Any]) -> dict[str, Any]:
        return {**amount, "inSupplierCurrency": {"currency": "USD", "value": 1833}}

    (line,) = PAYABLE["accountingEntryLines"]
    foreign = {"amount": charged(PAYABLE["amount"])}
    foreign["accountingEntryLines"] = [{**line, "lineAmount": charged(line["lineAmount"])}]
    of = context()
    made = bill(item(PAYABLE, **foreign), of)
    assert [line.supplier is not None for line in made.all_lines] == [True, False, False, False, False]
    made = bill(item(PAYABLE, **foreign, type="invoice_payment"), of)
    assert [line.supplier is not None for line in made.all_lines] == [True, False]
    assert [document.kind for document in made.documents] == [DocumentKind.PAYMENT]


def test_money_back_of_the_other_sign_is_a_bill_where_the_sign_is_known() -> None:
    refund = item_with("refund, tax none, positive, by accounts payable", "accounts_payable")
    kinds = {
        sign: [document.kind for document in bill(item(refund), context(money_back_sign=sign)).documents]
        for sign in MoneyBackSign
    }
    assert kinds == {
        MoneyBackSign.EITHER: [DocumentKind.CREDIT_NOTE, DocumentKind.REFUND],
        MoneyBackSign.POSITIVE: [DocumentKind.CREDIT_NOTE, DocumentKind.REFUND],
        MoneyBackSign.NEGATIVE: [DocumentKind.BILL, DocumentKind.PAYMENT],
    }


def test_entries_and_bills_are_posted_or_drafts_as_the_settings_say() -> None:
    for state in EntryState:
        for document in (PURCHASE, PAYABLE):
            outcome = book(item(document), context(posting=state))
            assert isinstance(outcome, Entry)
            assert outcome.state is state


# Dates and rates


def test_the_period_is_that_of_the_day_in_the_companys_zone() -> None:
    midnight = item(date="2026-10-31T23:30:00Z")
    november = with_(context(time_zone="Europe/Copenhagen"), periods=Periods([_november(is_open=True)]))
    made = entry(midnight, november)
    assert (made.posting_date, made.original_date) == (date(2026, 11, 1), date(2026, 11, 1))
    assert failure(midnight, replace(november, settings=ErpSettings()))[0] is ItemFailure.ERP_VALIDATION
    assert failure(item(date="2026-10-31T00:00:00Z"), november)[0] is ItemFailure.ERP_VALIDATION


def test_a_calendar_date_is_the_same_day_everywhere() -> None:
    for zone in ("America/New_York", "Pacific/Auckland", "UTC"):
        made = entry(item(date="2026-10-15T00:00:00Z"), context(time_zone=zone))
        assert (made.posting_date, made.original_date) == (date(2026, 10, 15), date(2026, 10, 15))


def test_the_original_date_is_kept_when_an_entry_is_moved() -> None:
    of = with_(context(closed_period=ClosedPeriod.NEXT_OPEN), periods=Periods([_november(is_open=True)]))
    for document in (PURCHASE, PAYABLE):
        outcome = book(item(document), of)
        assert isinstance(outcome, Entry)
        assert (outcome.posting_date, outcome.original_date) == (date(2026, 11, 1), date(2026, 10, 15))


def test_today_must_be_known_to_book_on_it() -> None:
    of = with_(context(closed_period=ClosedPeriod.TODAY), periods=Periods([_november(is_open=True)]))
    type_, reason = failure(item(), of)
    assert (type_, "which day is today" in reason) == (ItemFailure.ERP_VALIDATION, True)


@pytest.mark.parametrize("rate", [None, Decimal(0), Decimal(-1)])
def test_a_rate_that_is_none_or_nothing_fails_the_item(rate: Decimal | None) -> None:
    of = with_(company_currency="EUR", rates=lambda currency, day: rate)
    type_, reason = failure(item(), of)
    assert type_ is ItemFailure.MISSING_CONFIGURATION
    assert all(word in reason for word in ("DKK", "EUR", "2026-10-15"))


def test_without_any_rates_only_the_companys_own_currency_is_booked() -> None:
    assert failure(item(), with_(company_currency="EUR"))[0] is ItemFailure.MISSING_CONFIGURATION
    made = entry(item(), with_(company_currency="DKK"))
    assert (made.company_currency, {line.company_minor for line in made.lines}) == (None, {None})


def test_amounts_far_beyond_decimals_precision_are_converted_exactly() -> None:
    huge = {"inWalletCurrency": {"currency": "DKK", "value": 10**29 + 1}}
    lines = [{**on("6100")[0], "lineAmount": huge, "netAmount": huge, "tax": None}]
    of = with_(company_currency="EUR", rates=lambda currency, day: Decimal("0.1340000000000000000000000001"))
    made = entry(item(amount=huge, accountingEntryLines=lines), of)
    exact = (10**29 + 1) * 1340000000000000000000000001
    assert [line.company_minor for line in made.lines] == [(exact + 5 * 10**27) // 10**28] * 2


def test_a_line_of_nothing_takes_no_rounding_and_a_small_one_never_changes_sides() -> None:
    def euro(amounts: list[int], rate: str) -> list[int | None]:
        def money(value: int) -> dict[str, Any]:
            return {"inWalletCurrency": {"currency": "DKK", "value": value}}

        (line,) = on("6100")
        lines = [{**line, "lineAmount": money(one), "netAmount": money(one), "tax": None} for one in amounts]
        made = item(amount=money(sum(amounts)), accountingEntryLines=lines)
        of = with_(company_currency="EUR", rates=lambda currency, day: Decimal(rate))
        return [line.company_minor for line in entry(made, of).lines]

    assert euro([0, 1, 1], "0.3") == [0, 1, 0, 1]
    assert euro([1, 1, 1, 1], "0.5") == [0, 0, 1, 1, 2]
    assert euro([1, 1, 1, -1], "0.5") == [0, 1, 1, 1, 1]


def _november(is_open: bool) -> Period:
    return Period(date(2026, 11, 1), date(2026, 11, 30), is_open)
