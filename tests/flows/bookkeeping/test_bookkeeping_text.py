"""What an entry says in words, whatever words Pleo sends: one line, within the limit, and nothing that deceives.

What else Pleo tells of the expense is kept with it, clean, within the limits, and never a hindrance.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.erp.entries import NO_DETAILS, Bill, Details, Dimension, JournalEntry
from blocks.pleo.items import ExportItem
from flows.bookkeeping import book
from flows.failures import MAX_REASON, Failure
from tests.flows.bookkeeping.bookkeeping_items import thoroughly
from tests.flows.bookkeeping.golden_table import LIMITS, context, item_with, parsed

PURCHASE = item_with("card_purchase, tax exclusive, positive")
ASTRONAUT = "👩🏽‍🚀"  # four characters of Unicode that are one for people
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
BREAKS = "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def item(**changes: Any) -> ExportItem:
    return parsed(PURCHASE, **changes)


def said(*, supplier: Any = None, user: Any = None, note: Any = None, limit: int = 200) -> str:
    made = item(supplier={"name": supplier}, user={"name": user or "", "code": None}, note=note)
    entry = book(made, replace(context(), limits=replace(LIMITS, max_description=limit)))
    assert isinstance(entry, JournalEntry)
    return entry.description


def test_a_description_is_supplier_employee_and_note() -> None:
    assert said(supplier="Hotel Post", user="Ada Holm", note="Two nights") == "Hotel Post · Ada Holm · Two nights"


def test_a_description_leaves_out_what_is_missing() -> None:
    assert said(supplier="Hotel Post", note="Two nights") == "Hotel Post · Two nights"
    assert said(user="Ada Holm") == "Ada Holm"


@pytest.mark.parametrize("nothing", [None, "", "   ", "\n\u2028\t", "\x00\u202e"])
def test_an_item_without_words_is_described_by_its_type(nothing: str | None) -> None:
    assert said(supplier=nothing, note=nothing) == "card purchase"


def test_control_and_bidirectional_characters_leave_the_description() -> None:
    assert said(note=f"pay\x00ment\x1b[31m {BIDI}gnp.exe{BIDI} end") == "pay ment [31m gnp.exe end"


def test_every_kind_of_line_break_becomes_a_space() -> None:
    assert said(note="a" + "b".join(BREAKS) + "c") == "a " + "b ".join([""] * len(BREAKS)).strip() + " c"


def test_markup_and_numbers_stay_the_text_that_they_are() -> None:
    for note in ("<script>alert(1)</script>", "+1", "-12.50", "[bold]red[/bold]", "**b** | c |"):
        assert said(note=note) == note


def test_half_a_character_never_reaches_the_reference() -> None:
    assert said(note="a\ud83db").encode("utf-8").decode("utf-8").startswith("a")


@pytest.mark.parametrize("limit", range(1, 14))
def test_a_cut_never_splits_an_emoji_from_its_modifiers(limit: int) -> None:
    text = said(note=ASTRONAUT * 5, limit=limit)
    assert len(text) <= limit
    assert text == ASTRONAUT * ((limit - 1) // len(ASTRONAUT)) + "…"


def test_an_accent_goes_with_its_letter() -> None:
    assert said(note="caf" + "e\u0301" + " au lait", limit=5) == "caf…"
    assert said(note="caf" + "e\u0301" + " au lait", limit=6) == "cafe\u0301…"


def test_a_note_of_megabytes_is_cut_at_once() -> None:
    started = time.monotonic()
    for note in ("x" * 10_000_000, "\n" * 3000 + "x" * 10_000_000, "e" + "\u0301" * 10_000_000, ASTRONAUT * 1_000_000):
        text = said(supplier="Hotel Post", note=note)
        assert text.startswith("Hotel Post · ")
        assert text.endswith("…")
        assert len(text) <= 200
    assert time.monotonic() - started < 5


@thoroughly(500)
@given(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.text(st.sampled_from(BIDI + BREAKS + " ab" + ASTRONAUT + "\u0301\x00\ud83d"), max_size=60),
    st.integers(1, 40),
)
def test_a_description_is_one_line_within_the_limit_whatever_is_sent(supplier: str, note: str, limit: int) -> None:
    text = said(supplier=supplier, note=note, limit=limit)
    assert 0 < len(text) <= limit
    assert text == text.strip()
    assert not set(text) & set(BIDI + BREAKS + "\x00")
    assert text.splitlines() == [text]
    text.encode("utf-8")


def test_the_reference_is_pleos_reconciliation_id_on_one_line() -> None:
    for sent, kept in (
        ("BOOK-7", "BOOK-7"),
        (" BOOK\n7\u202e", "BOOK 7"),
        ("R" * 50, "R" * 50),
        ("7" * 99, "7" * 49 + "…"),
        (None, ""),
    ):
        entry = book(item(additionalInformation={"reconciliationId": sent}), context())
        assert isinstance(entry, JournalEntry)
        assert entry.reference == kept
    entry = book(item(additionalInformation=None), context())
    assert isinstance(entry, JournalEntry)
    assert entry.reference == ""


def test_accounts_tax_codes_and_tags_are_cleaned_too() -> None:
    line = PURCHASE["accountingEntryLines"][0]
    account = {"id": None, "name": "Off\u202eice\nsupplies", "code": " 61\x0000\u200e", "identifier": None}
    tax = {**line["tax"], "code": "\u2066DKK25\n", "ingoingTaxAccount": "26\u200f41"}
    tags = [{"groupCode": "pro\tject", "code": "P-17\u202c"}, None]
    made = item(accountingEntryLines=[{**line, "account": account, "tax": tax, "tags": tags}])
    entry = book(made, context())
    assert isinstance(entry, JournalEntry)
    cost, input_tax, counter = entry.lines
    assert (cost.account.code, cost.account.name) == ("61 00", "Off ice supplies")
    assert input_tax.account.code == "2641"
    assert cost.tax_code == input_tax.tax_code == "DKK25"
    assert cost.dimensions == (Dimension("pro ject", "P-17"),)
    assert input_tax.dimensions == counter.dimensions == ()


def test_a_failure_is_one_line_that_pleo_takes_whatever_it_quotes() -> None:
    for hostile in ("a\nb\u202ec" + "x" * 10_000_000, ASTRONAUT * 1000, "\x00", "<b>"):
        for changes in ({"type": hostile}, {"type": "invoice_payment", "subType": hostile}):
            failure = book(item(**changes), context())
            assert isinstance(failure, Failure)
            assert len(failure.reason) <= MAX_REASON
            assert failure.reason.splitlines() == [failure.reason]
            assert not set(failure.reason) & set(BIDI + BREAKS + "\x00")


def test_tags_become_dimensions_and_those_that_say_nothing_do_not() -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    tags = [
        {"groupCode": "project", "code": "P-17", "id": "0b9d0f3e-0000-4000-8000-000000000001"},
        None,
        {"groupCode": "team", "code": "T-1", "id": nobody},
        {"groupCode": "team", "code": nobody},
        {"groupCode": "team", "code": "  "},
        {"groupCode": "project", "code": " P-17\u200e"},
    ]
    made = item(accountingEntryLines=[{**PURCHASE["accountingEntryLines"][0], "tags": tags}])
    entry = book(made, context())
    assert isinstance(entry, JournalEntry)
    assert entry.lines[0].dimensions == (Dimension("project", "P-17"),)


def test_words_that_a_spreadsheet_would_compute_are_marked_as_words() -> None:
    formula = '=HYPERLINK("http://evil.example","x")'
    information = {"reconciliationId": formula, "attendees": [formula], "invoiceInformation": {"invoiceNumber": "@a"}}
    entry = book(item(supplier={"name": formula}, note="-1+1", additionalInformation=information), context())
    assert isinstance(entry, JournalEntry)
    assert entry.description.startswith(f"'{formula}")
    assert (entry.reference[:12], entry.details.attendees[:12]) == ("'=HYPERLINK(", "'=HYPERLINK(")
    assert (entry.details.note, entry.details.invoice_number) == ("'-1+1", "'@a")


@pytest.mark.parametrize("code", ["=1+1", "@a", "+cmd|x", "-1+1"])
def test_an_account_that_nobody_has_and_that_is_a_formula_is_not_opened(code: str) -> None:
    line = PURCHASE["accountingEntryLines"][0]
    lines = [{**line, "account": {**line["account"], "code": code}}]
    outcome = book(item(accountingEntryLines=lines), context())
    assert isinstance(outcome, Failure)
    assert outcome.reason == f"The account number {code} would be a formula in a spreadsheet, and is no code."


def test_a_code_with_characters_that_nobody_sees_is_the_code_that_is_seen() -> None:
    line = PURCHASE["accountingEntryLines"][0]
    codes = []
    for code in ("6010", "60\u200b10\u2060"):
        entry = book(item(accountingEntryLines=[{**line, "account": {**line["account"], "code": code}}]), context())
        assert isinstance(entry, JournalEntry)
        codes.append(entry.accounts)
    assert codes[0] == codes[1]


# What else Pleo tells


UNTAXED = item_with("card_purchase, tax none, positive")
TALKATIVE: dict[str, Any] = {
    "note": "Two nights\nin Kolding",
    "supplier": {"name": "Hotel Post", "country": " dk ", "taxIdentifier": "DK 10\u202e10"},
    "subType": "interest",
    "user": {"name": "Ada Holm", "code": " E-7 "},
    "team": {"name": "Sales", "code": "T-3"},
    "servicePeriod": {"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"},
    "additionalInformation": {
        "reconciliationId": "BOOK-7",
        "attendees": ["Ada Holm", None, "  ", "Bo\u202e Ek"],
        "reconciledEntries": ["BOOK-1", "BOOK-2"],
        "invoiceInformation": {
            "invoiceNumber": "INV-7",
            "status": "paid",
            "invoiceDate": "2026-09-30T22:30:00Z",
            "dueDate": "2026-10-31T00:00:00Z",
            "paymentDate": "2026-10-14",
        },
    },
}


def details(limit: int = 255, zone: str = "UTC", **changes: Any) -> Details:
    entry = book(parsed(UNTAXED, **changes), replace(context(time_zone=zone), limits=replace(LIMITS, max_detail=limit)))
    assert isinstance(entry, JournalEntry), entry
    return entry.details


def test_everything_that_pleo_tells_is_kept() -> None:
    assert details(**TALKATIVE) == Details(
        note="Two nights in Kolding",
        attendees="Ada Holm, Bo Ek",
        employee="E-7",
        team="T-3",
        settles="BOOK-1, BOOK-2",
        invoice_number="INV-7",
        invoice_date=date(2026, 9, 30),
        due_date=date(2026, 10, 31),
        payment_date=date(2026, 10, 14),
        service_from=date(2026, 1, 1),
        service_to=date(2026, 12, 31),
        sub_type="interest",
        supplier_country="DK",
        supplier_tax_number="DK 1010",
    )


@pytest.mark.parametrize(
    ("vendor", "supplier", "kept"),
    [
        ({"country": "SE", "taxRegistrationNumber": "SE1"}, {"country": "DK", "taxIdentifier": "DK2"}, ("SE", "SE1")),
        ({"country": "SE"}, {"country": "DK", "taxIdentifier": "DK2"}, ("SE", "")),
        ({"taxRegistrationNumber": "SE1"}, {"country": "DK", "taxIdentifier": "DK2"}, ("", "SE1")),
        ({}, {"country": "DK", "taxIdentifier": "DK2"}, ("DK", "DK2")),
        (None, {"country": "DK"}, ("DK", "")),
        (None, {"country": "Danmark"}, ("", "")),
        (None, {"country": 45, "taxIdentifier": "45"}, ("", "45")),
        (None, None, ("", "")),
    ],
)
def test_country_and_tax_number_are_the_vendors_else_the_suppliers_and_never_of_both(
    vendor: Any, supplier: Any, kept: tuple[str, str]
) -> None:
    named = None if vendor is None else {"name": "Vendor", **vendor}
    made = details(vendor=named, supplier=supplier and {"name": "Shop", **supplier})
    assert (made.supplier_country, made.supplier_tax_number) == kept


def test_an_item_that_tells_nothing_has_no_details() -> None:
    assert details() == NO_DETAILS


def test_a_bill_has_the_same_details() -> None:
    purchase = item_with("card_purchase, tax none, positive, by accounts payable", "known_supplier")
    known = {**TALKATIVE["supplier"], "code": "V-10"}
    entry = book(parsed(purchase, **{**TALKATIVE, "supplier": known}), context())
    assert isinstance(entry, Bill)
    assert entry.details == details(**TALKATIVE)


def test_dates_are_the_companys_and_calendar_dates_are_not_shifted() -> None:
    made = details(zone="Europe/Copenhagen", **TALKATIVE)
    assert (made.invoice_date, made.due_date) == (date(2026, 10, 1), date(2026, 10, 31))


def test_an_odd_date_is_left_out_and_costs_nobody_the_entry() -> None:
    invoice = {"invoiceDate": "soon", "dueDate": "9999-12-31T23:30:00Z", "paymentDate": "0001-01-01T00:00:00Z"}
    made = details(zone="Europe/Copenhagen", additionalInformation={"invoiceInformation": invoice})
    assert (made.invoice_date, made.due_date, made.payment_date) == (None, None, date(1, 1, 1))


def test_a_service_period_may_be_open_but_not_run_backwards() -> None:
    first, last = "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"
    made = details(servicePeriod={"from": first, "to": None})
    assert (made.service_from, made.service_to) == (date(2026, 2, 1), None)
    made = details(servicePeriod={"from": first, "to": last})
    assert (made.service_from, made.service_to) == (None, None)
    made = details(servicePeriod={"from": first, "to": first})
    assert (made.service_from, made.service_to) == (date(2026, 2, 1), date(2026, 2, 1))


def test_details_are_cut_to_the_accounting_systems_length() -> None:
    information = {"attendees": [f"Guest {n}" for n in range(10_000)], "reconciledEntries": ["BOOK-1" * 99]}
    made = details(limit=20, note="x" * 21, additionalInformation=information)
    assert made.note == "x" * 19 + "…"
    assert made.attendees == "Guest 0, Guest 1, G…"
    assert len(made.settles) == 20


def test_attendees_and_references_of_a_hundred_characters_stay_whole() -> None:
    names = ["A" * 49, "B" * 49]
    made = details(limit=100, additionalInformation={"attendees": names, "reconciledEntries": names})
    assert made.attendees == made.settles == f"{names[0]}, {names[1]}"


def test_an_employee_that_nobody_chose_is_none() -> None:
    assert details(user={"name": "Ada", "code": "00000000-0000-0000-0000-000000000000"}).employee == ""
