"""Reports of runs as the export makes them, put together by hand: for tests of what people are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any

from blocks.erp.entries import (
    Account,
    AccountKind,
    Bill,
    Dimension,
    Document,
    DocumentKind,
    Entry,
    JournalEntry,
    Line,
    Vendor,
)
from blocks.pleo.models import ItemFailure, ItemStatus
from flows.failures import Failure
from flows.outcome import Ending, JobReport, RunReport
from flows.results import Facts, Row, failed
from tests.support.pleo.pleo_items import entry_id

JOB_ID = "11111111-2222-4333-8444-555555555555"
COMPANY_ID = "99999999-8888-4777-a666-555555555555"
WHY = Failure(ItemFailure.VALIDATION, "The amounts do not add up.")

TRAVEL = Account("6010", "Travel", AccountKind.EXPENSE)
INPUT_TAX = Account("5710", "Input VAT", AccountKind.ASSET)
WALLET = Account("5820", "Wallet", AccountKind.ASSET)
PAYABLE = Account("7440", "Payables", AccountKind.LIABILITY)
VENDOR = Vendor("V1", "DSB A/S")
DIMENSIONS = (Dimension("project", "P-17"), Dimension("team", "Sales"))


def facts(**changes: Any) -> Facts:
    """A train ticket of 89.95 DKK that Ann paid, with Pleo's link."""
    known: dict[str, Any] = {
        "type": "card_purchase",
        "date": date(2026, 10, 5),
        "supplier": "DSB",
        "employee": "Ann Example",
        "currency": "DKK",
        "amount_minor": 8995,
        "pleo_url": "https://app.pleo.io/expenses/1",
    }
    return Facts(**{**known, **changes})


def booked(number: int, *, found: bool = False, notice: str | None = None, **changes: Any) -> Row:
    """The row of an item that is booked, as Pleo states it."""
    known = facts(**changes)
    return Row(
        entry_id(number),
        ItemStatus.SUCCESSFUL,
        external_id=f"PX-{number:06}",
        external_url=f"http://127.0.0.1:5000/books/PX-{number:06}",
        exported_at=datetime(2026, 11, 30, 15, 55, 36, tzinfo=UTC),
        book_minor=known.amount_minor,
        found=found,
        notice=notice,
        facts=known,
    )


def unbooked(number: int, reason: str = WHY.reason, type_: ItemFailure = WHY.type, **changes: Any) -> Row:
    """The row of an item that failed."""
    return failed(entry_id(number), Failure(type_, reason), facts(**changes))


def job_of(rows: Iterable[Row], *, acknowledged: bool = True, **changes: Any) -> JobReport:
    """The report of a job with these results, all of which Pleo has taken unless a test wants it otherwise."""
    job = JobReport(JOB_ID, COMPANY_ID, **{"ending": Ending.COMPLETED_WITH_ERRORS, **changes})
    job.results.add(rows)
    if acknowledged:
        job.results.acknowledge(job.results.frame)
    return job


def run_of(*jobs: JobReport) -> RunReport:
    """The report of a run over these jobs."""
    return RunReport(jobs=list(jobs))


def entry_of(row: Row, **changes: Any) -> JournalEntry:
    """The entry that a dry run would make of a booked item: travel with tax, from the wallet."""
    known = row.facts
    minor = known.amount_minor or 0
    tax = minor // 5
    made: dict[str, Any] = {
        "accounting_entry_id": row.accounting_entry_id,
        "job_id": JOB_ID,
        "company_id": COMPANY_ID,
        "item_type": known.type,
        "posting_date": known.date,
        "original_date": known.date,
        "currency": known.currency,
        "amount_minor": minor,
        "description": f"{known.supplier} BOOK",
        "reference": "BOOK",
        "lines": (
            Line(TRAVEL, debit_minor=minor - tax, tax_code="I25", dimensions=DIMENSIONS, text="Train"),
            Line(INPUT_TAX, debit_minor=tax, tax=True),
            Line(WALLET, credit_minor=minor, counter=True),
        ),
    }
    return JournalEntry(**{**made, **changes})


def bill_of(row: Row, vendor: Vendor | None = VENDOR, number: str = "INV-7") -> Bill:
    """The bill and its payment that a dry run would make of a booked item."""
    entry = entry_of(row)
    made = {one.name: getattr(entry, one.name) for one in fields(Entry)}
    minor, (cost, tax, wallet) = entry.amount_minor, entry.lines
    documents = (
        Document(
            kind=DocumentKind.BILL, journal="P", owed_minor=minor, lines=(cost, tax, Line(PAYABLE, credit_minor=minor))
        ),
        Document(
            kind=DocumentKind.PAYMENT, journal="P", owed_minor=-minor, lines=(Line(PAYABLE, debit_minor=minor), wallet)
        ),
    )
    return Bill(vendor=vendor, payable=PAYABLE, documents=documents, invoice_number=number, **made)
