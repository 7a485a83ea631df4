"""What else Pleo says of an expense: kept with the entry, clean, within the limits, and never a hindrance."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from blocks.erp.entries import NO_DETAILS, Bill, Details, JournalEntry
from blocks.pleo.items import ExportItem, parse_item
from flows.bookkeeping import book
from tests.flows.bookkeeping.golden_table import LIMITS, context, item_with

PURCHASE = item_with("card_purchase, tax none, positive")
TALKATIVE: dict[str, Any] = {
    "note": "Two nights\nin Kolding",
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
    made = parse_item({**PURCHASE, **changes})
    assert isinstance(made, ExportItem)
    entry = book(made, replace(context(time_zone=zone), limits=replace(LIMITS, max_detail=limit)))
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
    )


def test_an_item_that_tells_nothing_has_no_details() -> None:
    assert details() == NO_DETAILS


def test_a_bill_has_the_same_details() -> None:
    made = parse_item(
        {**item_with("card_purchase, tax none, positive, by accounts payable", "known_supplier"), **TALKATIVE}
    )
    assert isinstance(made, ExportItem)
    entry = book(made, context())
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


def test_a_reference_of_fifty_characters_stays_whole() -> None:
    made = parse_item({**PURCHASE, "additionalInformation": {"reconciliationId": "R" * 50}})
    assert isinstance(made, ExportItem)
    entry = book(made, context())
    assert isinstance(entry, JournalEntry)
    assert entry.reference == "R" * 50


def test_an_employee_that_nobody_chose_is_none() -> None:
    assert details(user={"name": "Ada", "code": "00000000-0000-0000-0000-000000000000"}).employee == ""
