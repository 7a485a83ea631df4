"""What the ledger's tests share: entries, an opened ledger, and raw looks into its file."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from blocks.erp.entries import (
    Account,
    AccountKind,
    Attachment,
    Bill,
    Document,
    DocumentKind,
    JournalEntry,
    Line,
    Vendor,
)
from blocks.erp.ledger import Ledger

COMPANY = "6d2a6b0e-5b0e-4c57-9a55-0d9f0a3c1b11"
OTHER_COMPANY = "0b5cf1f5-1c43-4ff5-8f0f-2f7d4c6f9a22"
NOW = datetime(2026, 11, 3, 10, 20, 30, 999999, tzinfo=UTC)
TRAVEL = Account("6000", "Travel", AccountKind.EXPENSE)
INPUT_TAX = Account("pleo-input-tax", "Pleo input tax", AccountKind.ASSET)
WALLET = Account("pleo-wallet-DKK", "Pleo wallet DKK", AccountKind.ASSET)
PAYABLE = Account("pleo-payable", "Pleo payable", AccountKind.LIABILITY)
ACME = Vendor("V-1", "Acme A/S")
BILL, CREDIT_NOTE = DocumentKind.BILL, DocumentKind.CREDIT_NOTE
PAYMENT, REFUND = DocumentKind.PAYMENT, DocumentKind.REFUND
CLAIMS = {BILL, CREDIT_NOTE}
RAISING = {BILL, REFUND}


def entry_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def an_entry(number: int, amount_minor: int = 1250, tax_minor: int = 250, **changes: Any) -> JournalEntry:
    """A purchase of three lines, with whatever `changes` says in place of its own fields."""
    fields: dict[str, Any] = {
        "accounting_entry_id": entry_id(number),
        "job_id": "job-1",
        "company_id": COMPANY,
        "item_type": "card_purchase",
        "posting_date": date(2026, 3, 1 + number % 28),
        "original_date": date(2026, 3, 1 + number % 28),
        "currency": "DKK",
        "amount_minor": amount_minor,
        "description": f"Supplier {number}",
        "reference": f"book-{number}",
        "lines": (
            Line(TRAVEL, debit_minor=amount_minor - tax_minor),
            Line(INPUT_TAX, debit_minor=tax_minor),
            Line(WALLET, credit_minor=amount_minor, counter=True),
        ),
    }
    return JournalEntry(**{**fields, **changes})


def entries(count: int, first: int = 1) -> list[JournalEntry]:
    return [an_entry(number) for number in range(first, first + count)]


def a_document(
    kind: DocumentKind, amount_minor: int = 1250, *, counter: bool = True, payable: Account = PAYABLE
) -> Document:
    """A bill of one cost line, or the payment of it, or the mirror of either."""
    other = TRAVEL if kind in CLAIMS else WALLET
    settles = payable if kind in CLAIMS else WALLET
    debit, credit = (other, payable) if kind in RAISING else (payable, other)
    return Document(
        kind=kind,
        journal=f"{kind.value}s",
        owed_minor=amount_minor if kind in RAISING else -amount_minor,
        lines=(
            Line(debit, debit_minor=amount_minor, counter=counter and debit == settles),
            Line(credit, credit_minor=amount_minor, counter=counter and credit == settles),
        ),
    )


def a_bill(number: int, *kinds: DocumentKind, amount_minor: int = 1250, **changes: Any) -> Bill:
    """The documents of these kinds for one invoice of Acme, or what `changes` says; a bill where no kind is given."""
    kinds = kinds or (BILL,)
    payable = changes.get("payable", PAYABLE)
    fields: dict[str, Any] = {
        "accounting_entry_id": entry_id(number),
        "job_id": "job-1",
        "company_id": COMPANY,
        "item_type": "invoice",
        "posting_date": date(2026, 3, 1 + number % 28),
        "original_date": date(2026, 3, 1 + number % 28),
        "currency": "DKK",
        "amount_minor": amount_minor,
        "description": f"Invoice {number}",
        "reference": f"book-{number}",
        "vendor": ACME,
        "payable": payable,
        "invoice_number": "2026-17",
        "documents": tuple(
            a_document(kind, amount_minor, counter=n == len(kinds), payable=payable) for n, kind in enumerate(kinds, 1)
        ),
    }
    return Bill(**{**fields, **changes})


def an_attachment(folder: Path, number: int = 1, content: bytes = b"%PDF-1.7 receipt", **changes: Any) -> Attachment:
    """A receipt of that content, lying in `folder`, with whatever `changes` says in place of the truth."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"download-{digest[:8]}"
    path.write_bytes(content)
    fields: dict[str, Any] = {
        "number": number,
        "name": f"receipt-{number}.pdf",
        "media_type": "application/pdf",
        "size": len(content),
        "sha256": digest,
        "path": path,
    }
    return Attachment(**{**fields, **changes})


@asynccontextmanager
async def opened(
    path: Path, company_id: str = COMPANY, *, dry_run: bool = False, **options: Any
) -> AsyncIterator[Ledger]:
    """The ledger at `path`, open; `options` are its own."""
    ledger = Ledger(path, clock=lambda: NOW, **options)
    await ledger.open(company_id, dry_run=dry_run)
    try:
        yield ledger
    finally:
        await ledger.close()


def rows(path: Path, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """What another program reads in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, parameters).fetchall()


def write(path: Path, sql: str, parameters: Sequence[Any] = ()) -> None:
    """One statement that another program writes to the file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, parameters)


def edit_lines(path: Path, statement: str) -> None:
    """Do what no program of ours does: the owner of the file takes the rule out, changes lines, and puts it back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        ((rule,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'line_stays'").fetchall()
        connection.execute("DROP TRIGGER line_stays")
        connection.execute(statement)
        connection.execute(rule)


def folder_content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_suffixes(path: Path, *suffixes: str) -> dict[Path, bytes]:
    """The content of the file and of its side files."""
    return {Path(f"{path}{suffix}"): Path(f"{path}{suffix}").read_bytes() for suffix in suffixes}


def put(content: dict[Path, bytes]) -> None:
    for path, data in content.items():
        path.write_bytes(data)
