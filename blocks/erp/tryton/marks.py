"""The texts by which our records are known again in Tryton, and the names that Pleo is told.

A stock Tryton has no field for a foreign id, so a record's description holds it, exactly and alone: what is said of the
expense stands on the lines. A draft that nobody may have reported yet has the mark bare; posting it, or adding
`draft` to the mark, makes it the one that counts (see `blocks.erp.tryton.claims`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from blocks.erp.entries import DocumentKind

_MARK = re.compile(r"pleo:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})( payment)?( draft)?")
_STATEMENT = re.compile(
    r"Pleo (-?)([0-9]+(?:\.[0-9]+)?) ([A-Z]{3}), ([0-9]{4}-[0-9]{2}-[0-9]{2})(?:, ([a-z ]+))?(?:;|$)"
)
PAID_ELSEWHERE = "paid elsewhere"
"""What a statement says of a bill that no payment will ever come for."""

PAYMENTS = {DocumentKind.PAYMENT: "Payment of invoice ", DocumentKind.REFUND: "Refund of invoice "}
"""What the payable line of a payment begins with, before the number of the invoice."""

EXTERNAL_ID = re.compile(r"(account\.move|account\.invoice),([0-9]{1,18})")
"""A record of ours as Tryton refers to it: model and id."""


class Model(StrEnum):
    """The models of Tryton that hold what is recorded."""

    MOVE = "account.move"
    INVOICE = "account.invoice"


class Part(StrEnum):
    """Which of an expense's records this is: the one that it is known by, or the payment of the bill."""

    MAIN = "main"
    PAYMENT = "payment"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a description says: whose record it is, which part, and whether a draft counts already."""

    accounting_entry_id: str
    part: Part
    claimed: bool = False

    def __str__(self) -> str:
        part = " payment" if self.part is Part.PAYMENT else ""
        return f"pleo:{self.accounting_entry_id}{part}{' draft' if self.claimed else ''}"


def read_mark(description: object) -> Mark | None:
    """The mark that a description is, or None for any other text."""
    match = _MARK.fullmatch(description) if isinstance(description, str) else None
    if match is None:
        return None
    return Mark(match[1], Part.PAYMENT if match[2] else Part.MAIN, match[3] is not None)


def marks_of(accounting_entry_id: str) -> list[str]:
    """Every mark that records of this expense can have."""
    return [str(Mark(accounting_entry_id, part, claimed)) for part in Part for claimed in (False, True)]


@dataclass(frozen=True, slots=True)
class Statement:
    """What Pleo said of the expense when it was recorded: the signed amount, its currency and date, and of which
    documents it consists (`bill and payment`), where it is more than one."""

    amount: Decimal
    currency: str
    day: date
    documents: str = ""

    def __str__(self) -> str:
        documents = f", {self.documents}" if self.documents else ""
        return f"Pleo {self.amount:f} {self.currency}, {self.day.isoformat()}{documents}"


def read_statement(text: object) -> Statement | None:
    """The statement that a text begins with, or None."""
    match = _STATEMENT.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        day = date.fromisoformat(match[4])
    except ValueError:
        return None
    return Statement(Decimal(match[1] + match[2]), match[3], day, match[5] or "")


def payment_text(kind: DocumentKind, invoice_number: str) -> str:
    """What stands on the payable line of a payment of that invoice."""
    return f"{PAYMENTS[kind]}{invoice_number}"


def read_payment_text(text: object) -> tuple[DocumentKind, str] | None:
    """The kind of payment and the invoice number that a text gives, or None."""
    for kind, beginning in PAYMENTS.items():
        if isinstance(text, str) and text.startswith(beginning):
            return kind, text.removeprefix(beginning)
    return None


def external_id(model: str, id_: int) -> str:
    """A record as Tryton itself refers to it: `account.move,12`. It stays the same from draft to posted."""
    return f"{model},{id_}"


def link_to(base_url: str, database: str, external_id_: str) -> str:
    """Where the web client shows a record. Raises ValueError for what is no record of ours."""
    match = EXTERNAL_ID.fullmatch(external_id_)
    if match is None:
        raise ValueError(f"{external_id_!r} names no record of Tryton's: it should look like account.move,12")
    return f"{base_url.rstrip('/')}/#{database}/model/{match[1]}/{match[2]}"
