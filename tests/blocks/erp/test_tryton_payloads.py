"""What Tryton is sent for an entry: accounts, sides, taxes, dimensions and currencies, by its ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from blocks.erp.base import Capabilities
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import (
    Account,
    AccountKind,
    Bill,
    Details,
    Dimension,
    Document,
    DocumentKind,
    EntryState,
    JournalEntry,
    Line,
    Money,
    Vendor,
)
from blocks.erp.errors import RefusalKind
from blocks.erp.reference import Chart, KnownVendor, Reference, Vendors
from blocks.erp.remote.names import Currency, Journal
from blocks.erp.tryton.directory import (
    AccountingPeriod,
    AnalyticAccount,
    Directory,
    LedgerAccount,
    Party,
    TaxPart,
)
from blocks.erp.tryton.payloads import payload_of
from blocks.erp.tryton.records import Model, RecordRole
from blocks.erp.tryton.refusals import check_entry

ID = "3f0e7c1a-0000-4000-8000-000000000001"
DAY = date(2026, 3, 5)
COST, WALLET, INPUT, OUTPUT, PAYABLE, FOREIGN = (
    Account(code, code, AccountKind.EXPENSE) for code in ("6000", "5820", "7910", "7930", "2900", "5821")
)
DKK, EUR, JPY = Currency(1, "DKK", 2), Currency(2, "EUR", 2), Currency(3, "JPY", 0)
NORMAL = TaxPart(31, due=False, accounts=frozenset({"7910"}))
REVERSE = (
    TaxPart(32, due=False, accounts=frozenset({"7910"})),
    TaxPart(33, due=True, accounts=frozenset({"7930"})),
)
ACCOUNTS = {
    "6000": LedgerAccount(10, COST),
    "5820": LedgerAccount(11, WALLET),
    "7910": LedgerAccount(12, INPUT),
    "7930": LedgerAccount(13, OUTPUT),
    "2900": LedgerAccount(14, PAYABLE, party_required=True, reconcile=True, payable=True),
    "5821": LedgerAccount(15, FOREIGN, second_currency="EUR"),
    "6999": LedgerAccount(16, Account("6999", "Old", AccountKind.EXPENSE), last=date(2025, 12, 31)),
}
VENDOR = Vendor("V-1", "Acme", PAYABLE)
DIRECTORY = Directory(
    company_id=1,
    company_name="Acme",
    currency=DKK,
    currencies={"DKK": DKK, "EUR": EUR, "JPY": JPY},
    accounts=ACCOUNTS,
    taxes={"I25": (NORMAL,), "RC": REVERSE},
    analytic={("PROJECT", "P-1"): AnalyticAccount(41, 40)},
    parties={"V-1": Party(51, 52), "V-2": Party(53, None), "V-3": Party(54, 55)},
    journals={"GEN": Journal(61, "general"), "EXP": Journal(62, "expense"), "CASH": Journal(63, "cash")},
    periods=(
        AccountingPeriod(71, date(2026, 3, 1), date(2026, 3, 31), is_open=True),
        AccountingPeriod(72, date(2026, 2, 1), date(2026, 2, 28), is_open=False),
    ),
    reference=Reference(
        chart=Chart(one.account for one in ACCOUNTS.values()),
        tax_codes=frozenset({"I25", "RC"}),
        dimensions={"PROJECT": frozenset({"P-1"})},
        vendors=Vendors(
            [
                KnownVendor(VENDOR),
                KnownVendor(Vendor("V-2", "No address")),
                KnownVendor(Vendor("V-3", "Gone"), blocked=True),
            ]
        ),
    ),
)


def head(**changes: Any) -> dict[str, Any]:
    return {
        "accounting_entry_id": ID,
        "job_id": "job",
        "company_id": "company",
        "item_type": "card_purchase",
        "posting_date": DAY,
        "original_date": DAY,
        "currency": "DKK",
        "amount_minor": 12500,
        "description": "Flowers",
        "reference": "PX-1",
        "state": EntryState.POSTED,
        **changes,
    }


def purchase(lines: Sequence[Line], **changes: Any) -> JournalEntry:
    return JournalEntry(**head(**changes), lines=tuple(lines), journal="GEN")


def with_tax(side: str = "debit", code: str = "I25") -> list[Line]:
    other = "credit" if side == "debit" else "debit"
    lines = [
        Line(COST, **{f"{side}_minor": 10000}, tax_code=code, dimensions=(Dimension("PROJECT", "P-1"),)),
        Line(INPUT, **{f"{side}_minor": 2500}, tax_code=code, tax=True),
    ]
    gross = 12500
    if code == "RC":
        lines.append(Line(OUTPUT, **{f"{other}_minor": 2500}, tax_code=code, tax=True))
        gross = 10000
    lines.append(Line(WALLET, **{f"{other}_minor": gross}, counter=True))
    return lines


def made(entry: JournalEntry | Bill) -> list[dict[str, Any]]:
    assert check_entry(entry, DIRECTORY, MinorUnits.HUNDREDTHS, **AGAINST) is None
    return [record.values for record in payload_of(entry, DIRECTORY, MinorUnits.HUNDREDTHS).records]


def lines_of(values: dict[str, Any]) -> list[dict[str, Any]]:
    ((command, lines),) = values["lines"]
    assert command == "create"
    found: list[dict[str, Any]] = lines
    return found


def taxes_of(line: dict[str, Any]) -> list[tuple[int, str, Decimal]]:
    if "tax_lines" not in line:
        return []
    ((_, taxes),) = line["tax_lines"]
    return [(one["tax"], one["type"], one["amount"]) for one in taxes]


def test_a_purchase_is_a_move_with_its_cost_its_tax_and_its_dimension() -> None:
    (values,) = made(purchase(with_tax()))
    assert {name: values[name] for name in ("company", "journal", "period", "date")} == {
        "company": 1,
        "journal": 61,
        "period": 71,
        "date": DAY,
    }
    cost, tax, wallet = lines_of(values)
    assert (cost["account"], cost["debit"], cost["credit"]) == (10, Decimal("100.00"), Decimal(0))
    assert (tax["account"], tax["debit"]) == (12, Decimal("25.00"))
    assert (wallet["account"], wallet["credit"]) == (11, Decimal("125.00"))
    assert wallet["description"] == "Pleo 125.00 DKK, 2026-03-05; PX-1: Flowers"
    assert taxes_of(cost) == [(31, "base", Decimal("100.00"))]
    assert taxes_of(tax) == [(31, "tax", Decimal("25.00"))]
    assert taxes_of(wallet) == []
    ((_, (analytic,)),) = cost["analytic_lines"]
    assert analytic == {"account": 41, "debit": Decimal("100.00"), "credit": Decimal(0), "date": DAY}
    assert "party" not in cost
    assert "second_currency" not in cost


def test_money_back_turns_every_amount_round_its_tax_too() -> None:
    (values,) = made(purchase(with_tax("credit"), amount_minor=-12500))
    cost, tax, wallet = lines_of(values)
    assert (cost["credit"], tax["credit"], wallet["debit"]) == (Decimal("100.00"), Decimal("25.00"), Decimal("125.00"))
    assert taxes_of(cost) == [(31, "base", Decimal("-100.00"))]
    assert taxes_of(tax) == [(31, "tax", Decimal("-25.00"))]
    assert wallet["description"].startswith("Pleo -125.00 DKK, ")


AGAINST: dict[str, Any] = {
    "company_id": "company",
    "limits": Capabilities("Tryton", 1000, 200, 80, 10**17, bills=True),
}


@pytest.mark.parametrize(("side", "sign"), [("debit", 1), ("credit", -1)])
def test_reverse_charge_stands_on_both_parts_of_its_tax(side: str, sign: int) -> None:
    (values,) = made(purchase(with_tax(side, "RC"), amount_minor=sign * 10000))
    cost, ingoing, outgoing, _ = lines_of(values)
    assert taxes_of(cost) == [(32, "base", sign * Decimal(100)), (33, "base", sign * Decimal(100))]
    assert taxes_of(ingoing) == [(32, "tax", sign * Decimal(25))]
    assert taxes_of(outgoing) == [(33, "tax", -sign * Decimal(25))]


def test_another_currency_stands_beside_the_company_s_on_the_same_side() -> None:
    lines = [
        Line(COST, debit_minor=1000, company_minor=7459),
        Line(FOREIGN, credit_minor=1000, counter=True, company_minor=7459),
    ]
    (values,) = made(purchase(lines, currency="EUR", amount_minor=1000, company_currency="DKK"))
    cost, wallet = lines_of(values)
    assert (cost["debit"], cost["second_currency"], cost["amount_second_currency"]) == (
        Decimal("74.59"),
        2,
        Decimal("10.00"),
    )
    assert (wallet["credit"], wallet["amount_second_currency"]) == (Decimal("74.59"), Decimal("-10.00"))


def bill(*kinds: DocumentKind, **changes: Any) -> Bill:
    documents = []
    for place, kind in enumerate(kinds):
        last = place == len(kinds) - 1
        up = kind in {DocumentKind.BILL, DocumentKind.REFUND}
        owed = Line(PAYABLE, **{"credit_minor" if up else "debit_minor": 12500}, counter=last)
        if kind in {DocumentKind.BILL, DocumentKind.CREDIT_NOTE}:
            lines = (*with_tax("debit" if up else "credit")[:2], owed)
            documents.append(Document(kind=kind, journal="EXP", owed_minor=12500 if up else -12500, lines=lines))
        else:
            paid = Line(WALLET, **{"debit_minor" if up else "credit_minor": 12500}, counter=True)
            lines = (replace(owed, counter=False), paid)
            documents.append(Document(kind=kind, journal="CASH", owed_minor=12500 if up else -12500, lines=lines))
    own = {name: changes.pop(name) for name in ("invoice_number", "stays_open", "vendor") if name in changes}
    return Bill(**head(**changes), **{"vendor": VENDOR, **own}, payable=PAYABLE, documents=tuple(documents))


def test_a_bill_is_a_supplier_invoice_with_the_tax_that_pleo_has() -> None:
    details = Details(invoice_date=date(2026, 3, 1), due_date=date(2026, 4, 1))
    (values,) = made(bill(DocumentKind.BILL, invoice_number="F-17", details=details))
    expected = {
        "type": "in",
        "party": 51,
        "invoice_address": 52,
        "account": 14,
        "currency": 1,
        "journal": 62,
        "invoice_date": date(2026, 3, 1),
        "accounting_date": DAY,
        "payment_term_date": date(2026, 4, 1),
        "reference": "F-17",
        "source_total_amount": Decimal("125.00"),
        "comment": "Pleo 125.00 DKK, 2026-03-05; PX-1: Flowers",
    }
    assert {name: values[name] for name in expected} == expected
    (line,) = lines_of(values)
    assert (line["account"], line["quantity"], line["unit_price"]) == (10, 1, Decimal("100.00"))
    assert line["analytic_accounts"] == [["create", [{"root": 40, "account": 41}]]]
    ((_, (tax,)),) = values["taxes"]
    assert (tax["account"], tax["tax"], tax["base"], tax["amount"], tax["manual"]) == (
        12,
        31,
        Decimal("100.00"),
        Decimal("25.00"),
        True,
    )


def test_a_credit_note_is_an_invoice_of_negative_quantities() -> None:
    (values,) = made(bill(DocumentKind.CREDIT_NOTE, amount_minor=-12500))
    (line,) = lines_of(values)
    assert (line["quantity"], line["unit_price"]) == (-1, Decimal("100.00"))
    ((_, (tax,)),) = values["taxes"]
    assert (tax["base"], tax["amount"]) == (Decimal("-100.00"), Decimal("-25.00"))
    assert values["source_total_amount"] == Decimal("-125.00")


def test_a_bill_with_its_payment_is_an_invoice_and_a_move_that_settle_each_other() -> None:
    payload = payload_of(
        bill(DocumentKind.BILL, DocumentKind.PAYMENT, invoice_number="F-17"), DIRECTORY, MinorUnits.HUNDREDTHS
    )
    invoice, payment = payload.records
    assert (invoice.model, invoice.key.role) == (Model.INVOICE, RecordRole.MAIN)
    assert (payment.model, payment.key.role) == (Model.MOVE, RecordRole.PAYMENT)
    assert (payload.post, payload.settle) == (True, True)
    assert ", bill and payment; " in invoice.values["comment"]
    owed, paid = lines_of(payment.values)
    assert (owed["party"], owed["debit"], owed["description"]) == (51, Decimal("125.00"), "Payment of invoice F-17")
    assert paid["credit"] == Decimal("125.00")
    assert "party" not in paid


@pytest.mark.parametrize(
    ("entry", "kind", "subject"),
    [
        (purchase(with_tax(), posting_date=date(2026, 2, 5)), RefusalKind.CLOSED_PERIOD, "2026-02-05"),
        (purchase(with_tax(), posting_date=date(2026, 5, 5)), RefusalKind.CLOSED_PERIOD, "2026-05-05"),
        (replace(purchase(with_tax()), journal="NO"), RefusalKind.MISSING_JOURNAL, "NO"),
        (replace(purchase(with_tax()), journal=""), RefusalKind.MISSING_JOURNAL, "general"),
        (purchase(with_tax(), currency="CHF"), RefusalKind.OTHER, "CHF"),
        (
            purchase(
                [Line(ACCOUNTS["6999"].account, debit_minor=1), Line(WALLET, credit_minor=1, counter=True)],
                amount_minor=1,
            ),
            RefusalKind.UNKNOWN_ACCOUNT,
            "6999",
        ),
        (
            purchase([Line(COST, debit_minor=1), Line(PAYABLE, credit_minor=1, counter=True)], amount_minor=1),
            RefusalKind.OTHER,
            "2900",
        ),
        (
            purchase([Line(COST, debit_minor=1), Line(FOREIGN, credit_minor=1, counter=True)], amount_minor=1),
            RefusalKind.OTHER,
            "5821",
        ),
        (
            purchase(
                [
                    Line(COST, debit_minor=150, company_minor=7),
                    Line(WALLET, credit_minor=150, company_minor=7, counter=True),
                ],
                currency="JPY",
                amount_minor=150,
            ),
            RefusalKind.OTHER,
            "1.50 JPY",
        ),
        (bill(DocumentKind.BILL, vendor=Vendor("V-2", "No address")), RefusalKind.OTHER, "V-2"),
        (bill(DocumentKind.BILL, vendor=Vendor("V-3", "Gone")), RefusalKind.UNKNOWN_VENDOR, "V-3"),
        (bill(DocumentKind.BILL, vendor=Vendor("V-9", "Nobody")), RefusalKind.UNKNOWN_VENDOR, "V-9"),
        (bill(DocumentKind.BILL, vendor=None), RefusalKind.OTHER, "2900"),
    ],
)
def test_what_tryton_would_refuse_is_told_before_it_is_sent(
    entry: JournalEntry | Bill, kind: RefusalKind, subject: str
) -> None:
    refused = check_entry(entry, DIRECTORY, MinorUnits.HUNDREDTHS, **AGAINST)
    assert refused is not None
    assert (refused.accounting_entry_id, refused.kind, refused.subject) == (ID, kind, subject)


def test_a_payment_needs_no_address_of_its_vendor() -> None:
    vendor = Vendor("V-2", "No address", PAYABLE)
    assert check_entry(bill(DocumentKind.PAYMENT, vendor=vendor), DIRECTORY, MinorUnits.HUNDREDTHS, **AGAINST) is None


def test_what_the_supplier_charged_and_who_spent_it_is_told_to_people() -> None:
    details = Details(employee="Anna", note="for the\u202e office", team="Sales")
    entry = purchase(with_tax(), details=details, supplier=Money("USD", 1999))
    (values,) = made(entry)
    text = lines_of(values)[-1]["description"]
    assert (
        text == "Pleo 125.00 DKK, 2026-03-05; PX-1: Flowers; 19.99 USD; employee Anna; team Sales; note: for the office"
    )
