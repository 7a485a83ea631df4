"""What the tests of batches share: a month of a company with number accounts, and ways to read its files."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from blocks.erp.entries import (
    Account,
    AccountKind,
    Bill,
    Details,
    Dimension,
    Document,
    Entry,
    EntryState,
    JournalEntry,
    Line,
    Vendor,
)
from tests.support.erp.ledger_samples import BILL, COMPANY, PAYMENT, entry_id, rows

TRAVEL = Account("4670", "Reisekosten", AccountKind.EXPENSE)
AUTOMATIC = Account("4980", "Betriebsbedarf 19 %", AccountKind.EXPENSE)
"""An account of whose amounts DATEV takes out the tax by itself."""

OFFICE = Account("4930", "Bürobedarf", AccountKind.EXPENSE)
INPUT_TAX = Account("1576", "Abziehbare Vorsteuer", AccountKind.ASSET)
OUTPUT_TAX = Account("1787", "Umsatzsteuer § 13b", AccountKind.LIABILITY)
WALLET = Account("1210", "Pleo", AccountKind.ASSET)
PAYABLE = Account("1600", "Verbindlichkeiten", AccountKind.LIABILITY)
SUPPLIER = Vendor("70001", 'Müller & Söhne; "GmbH"')
TAX_CODES = """code,name,datev_key,automatic
I19,Input 19,9,
I7,Input 7,8,
R19,Reverse charge,94,
A19,Automatic,,yes
E0,Exempt,0,
"""


def purchase(
    number: int,
    gross: int,
    tax: int,
    *,
    code: str | None = "I19",
    rate: str | None = "0.19",
    reverse: bool = False,
    account: Account = OFFICE,
    **changes: Any,
) -> JournalEntry:
    """A purchase from the wallet, its tax behind its cost as bookkeeping puts it; negative is a refund."""
    cost = gross if reverse else gross - tax
    lines = [_line(account, cost, tax_code=code, tax_rate=rate, dimensions=(Dimension("COSTCENTRE", "100"),))]
    if tax:
        lines.append(_line(INPUT_TAX, tax, tax=True, tax_code=code, tax_rate=rate, tax_base_minor=abs(cost)))
    if tax and reverse:
        lines.append(_line(OUTPUT_TAX, -tax, tax=True, tax_code=code, tax_rate=rate, tax_base_minor=abs(cost)))
    lines.append(_line(WALLET, -gross, counter=True))
    return _entry(number, gross, lines, **changes)


def invoice(number: int, gross: int, tax: int, **changes: Any) -> Bill:
    """A bill with its payment."""
    bill = (
        _line(TRAVEL, gross - tax, tax_code="I19", tax_rate="0.19"),
        _line(INPUT_TAX, tax, tax=True, tax_code="I19", tax_rate="0.19", tax_base_minor=gross - tax),
        _line(PAYABLE, -gross),
    )
    payment = (_line(PAYABLE, gross), _line(WALLET, -gross, counter=True))
    fields: dict[str, Any] = {
        **_fields(number, gross),
        "item_type": "invoice",
        "vendor": SUPPLIER,
        "payable": PAYABLE,
        "invoice_number": f"RE 2026/{number} ä",
        "details": Details(due_date=date(2026, 4, 30)),
        "documents": (Document(kind=BILL, journal="B", owed_minor=gross, lines=bill),
                      Document(kind=PAYMENT, journal="P", owed_minor=-gross, lines=payment)),
    }  # fmt: skip
    return Bill(**{**fields, **changes})


def month() -> list[Entry]:
    """Purchases of every kind, an invoice, and texts that a file has to bear."""
    hostile = 'Kaffee; "süß"\r\n\x07=1+1 \u202eтест łódź €'
    return [
        purchase(1, 11900, 1900),
        purchase(2, 10000, 1598),  # a cent more than DATEV would compute
        purchase(3, 5000, 327, code="I7", rate="0.07"),
        purchase(4, 10000, 1900, code="R19", reverse=True),
        purchase(5, 2380, 380, code="A19", account=AUTOMATIC),
        purchase(6, 999, 161, code="A19", account=AUTOMATIC),
        purchase(7, 700, 0, code="E0", rate="0"),
        purchase(8, -11900, -1900, item_type="refund"),
        purchase(9, 1234, 0, code=None, rate=None, description=hostile, account=TRAVEL),
        invoice(10, 59500, 9500),
        purchase(11, 0, 0, code=None, rate=None),
        purchase(12, 2380, 380, posting_date=date(2026, 4, 2)),
    ]


def swedish_month() -> list[Entry]:
    """The same purchases in kronor, as a Swedish company books them."""
    return [replace(one, currency="SEK") for one in month()]


def drawn(count: int, seed: int, *, first: int = 1, **changes: Any) -> list[Entry]:
    """Purchases of that seed over a quarter, taxed as Pleo rounds or a cent off."""
    draw = random.Random(seed)
    made: list[Entry] = []
    for number in range(first, first + count):
        code, rate = draw.choice([("I19", "0.19"), ("I7", "0.07"), ("R19", "0.19"), ("A19", "0.19"), ("E0", "0")])
        gross = draw.choice([1, -1]) * draw.randint(1, 5_000_000)
        share = Decimal(rate)
        tax = _rounded(gross * share if code == "R19" else gross * share / (1 + share)) + (
            draw.choice([-1, 0, 0, 0, 1]) if rate != "0" else 0
        )
        day = date(2026, draw.randint(1, 3), draw.randint(1, 28))
        reverse = code == "R19"
        account = AUTOMATIC if code == "A19" else OFFICE
        made.append(
            purchase(
                number, gross, tax, code=code, rate=rate, reverse=reverse, account=account, posting_date=day, **changes
            )
        )
    return made


def trial_balance(path: Path) -> dict[str, int]:
    """What each account comes to over all entries that were posted, in cents."""
    found = rows(
        path, "SELECT account, sum(debit_minor - credit_minor) FROM journal WHERE state = 'posted' GROUP BY account"
    )
    return {account: amount for account, amount in found if amount}


def datev_rows(content: bytes) -> list[list[str]]:
    """The rows of a DATEV file, without its two first lines."""
    return list(csv.reader(io.StringIO(content.decode("cp1252"), newline=""), delimiter=";"))[2:]


def booked_by_datev(*files: Path) -> dict[str, int]:
    """What each account comes to once DATEV has booked these files, taxes taken out by its own arithmetic."""
    totals: Counter[str] = Counter()
    rates = {"9": Decimal("0.19"), "8": Decimal("0.07")}
    for row in (row for file in files for row in datev_rows(file.read_bytes())):
        minor = int(row[0].replace(",", "")) * (1 if row[1] == "S" else -1) * (-1 if row[117] == "1" else 1)
        key, account = row[8], row[6]
        totals[row[7]] -= minor
        rate = rates.get(key, Decimal("0.19") if account == AUTOMATIC.code and not key else None)
        if key == "94":
            tax = _rounded(minor * Decimal("0.19"))
            totals[OUTPUT_TAX.code] -= tax
        else:
            tax = _rounded(minor * rate / (1 + rate)) if rate is not None else 0
            minor -= tax
        totals[INPUT_TAX.code] += tax
        totals[account] += minor
    return {account: amount for account, amount in totals.items() if amount}


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def _entry(number: int, gross: int, lines: Sequence[Line], **changes: Any) -> JournalEntry:
    return JournalEntry(**{**_fields(number, gross), "item_type": "card_purchase", "lines": tuple(lines), **changes})


def _fields(number: int, gross: int) -> dict[str, Any]:
    day = date(2026, 3, 1 + number % 28)
    return {
        "accounting_entry_id": entry_id(number),
        "job_id": "job-1",
        "company_id": COMPANY,
        "posting_date": day,
        "original_date": day,
        "currency": "EUR",
        "amount_minor": gross,
        "description": f"Café Größe {number}",
        "reference": f"book-{number}",
        "state": EntryState.POSTED,
    }


def _line(account: Account, minor: int, **changes: Any) -> Line:
    return Line(account, debit_minor=max(minor, 0), credit_minor=max(-minor, 0), **changes)
