"""What stands in Tryton for an expense: the texts by which our records are known again, and how they are read.

A stock Tryton has no field for a foreign id, so a record's description holds it, exactly and alone, as its *key*: what
is said of the expense stands on the lines. A draft that nobody may have reported yet has the key bare; posting it, or
adding `draft` to the key, makes it the one that counts (see `blocks.erp.tryton.claims`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_UP, Decimal
from enum import StrEnum

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import DocumentKind, EntryState, Recorded, account_balances, account_codes
from blocks.erp.tryton.client import Row

_KEY = re.compile(r"pleo:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})( payment)?( draft)?")
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


LOOK_UP_FIELDS: Mapping[Model, tuple[str, ...]] = {
    Model.MOVE: ("id", "state", "description", "origin", "create_date", "_timestamp"),
    Model.INVOICE: ("id", "state", "description", "create_date", "_timestamp"),
}
"""What tells whether a record stands."""

READ_FIELDS: Mapping[Model, tuple[str, ...]] = {
    Model.MOVE: (
        *LOOK_UP_FIELDS[Model.MOVE], "date", "lines.account.code", "lines.debit", "lines.credit",
        "lines.second_currency.code", "lines.amount_second_currency", "lines.description", "lines.party",
        "period.state",
    ),
    Model.INVOICE: (
        *LOOK_UP_FIELDS[Model.INVOICE], "accounting_date", "invoice_date", "currency.code",
        "total_amount", "comment", "account.code", "lines.account.code", "lines.amount", "taxes.account.code",
        "taxes.amount",
    ),
}  # fmt: skip
"""What tells all that there is to know of it."""

POSTED_STATES = frozenset({"posted", "paid"})
"""Of moves and invoices: what cannot be taken back any more."""


class RecordRole(StrEnum):
    """Which of an expense's records this is: the one that it is known by, or the payment of the bill."""

    MAIN = "main"
    PAYMENT = "payment"


@dataclass(frozen=True, slots=True)
class RecordKey:
    """What a description says: whose record it is, in which role, and whether a draft counts already."""

    accounting_entry_id: str
    role: RecordRole
    claimed: bool = False

    def __str__(self) -> str:
        role = " payment" if self.role is RecordRole.PAYMENT else ""
        return f"pleo:{self.accounting_entry_id}{role}{' draft' if self.claimed else ''}"


def read_key(description: object) -> RecordKey | None:
    """The key that a description is, or None for any other text."""
    match = _KEY.fullmatch(description) if isinstance(description, str) else None
    if match is None:
        return None
    return RecordKey(match[1], RecordRole.PAYMENT if match[2] else RecordRole.MAIN, match[3] is not None)


def keys_of(accounting_entry_id: str) -> list[str]:
    """Every key that records of this expense can have, and what its reversals are described by."""
    keys = [RecordKey(accounting_entry_id, role, claimed) for role in RecordRole for claimed in (False, True)]
    return [*map(str, keys), reversal_key(accounting_entry_id)]


def reversal_key(accounting_entry_id: str) -> str:
    """What the reversal of an expense's move is described by; its origin names the move."""
    return f"pleo:{accounting_entry_id.lower()} reversal"


def reversed_by(row: Row) -> str | None:
    """The external id of the move that a row takes back, None where it takes none back, or not yet."""
    description = row.get("description") or ""
    if not (description.startswith("pleo:") and description.endswith(" reversal")) or row["state"] != "posted":
        return None
    origin: str | None = row.get("origin")
    return origin


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


@dataclass(frozen=True, slots=True)
class TrytonRecord:
    """A record of ours as it stands: a draft that counts only if it is `claimed`, or posted."""

    model: Model
    id: int
    key: RecordKey
    state: EntryState
    row: Row

    @property
    def counts(self) -> bool:
        """Whether it is the one: nothing that counts is ever taken away again by us."""
        return self.state is EntryState.POSTED or self.key.claimed

    @property
    def external_id(self) -> str:
        """The record as Tryton refers to it."""
        return external_id(self.model, self.id)

    @property
    def created_at(self) -> datetime:
        """When Tryton made it (aware, UTC)."""
        created: datetime = self.row["create_date"]
        return created


def record_of(model: Model, row: Row, key: RecordKey) -> TrytonRecord | None:
    """A row as a record of ours. None for what only looks like one: the reversal of a move, a cancelled invoice."""
    if row.get("origin") or row["state"] == "cancelled":
        return None
    state = EntryState.POSTED if row["state"] in POSTED_STATES else EntryState.DRAFT
    return TrytonRecord(model, row["id"], key, state, row)


def chosen(records: Iterable[TrytonRecord]) -> dict[RecordRole, TrytonRecord]:
    """Of each role the record that counts: one that is posted before a draft, and then the oldest."""
    order = sorted((one for one in records if one.counts), key=lambda one: (one.state is not EntryState.POSTED, one.id))
    found: dict[RecordRole, TrytonRecord] = {}
    for one in order:
        found.setdefault(one.key.role, one)
    return found


def recorded(
    by_role: Mapping[RecordRole, TrytonRecord],
    company_currency: str,
    units: MinorUnits,
    link: str,
    attached: frozenset[int],
) -> Recorded | None:
    """The whole entry, or None while a part of it is missing: a bill whose payment was not made yet."""
    main = by_role.get(RecordRole.MAIN)
    if main is None:
        return None
    told = _statement(main)
    if told is not None and " and " in told.documents and RecordRole.PAYMENT not in by_role:
        return None
    currency, amount = _amount(main, company_currency)
    day = _day(main)
    return Recorded(
        accounting_entry_id=main.key.accounting_entry_id,
        external_id=main.external_id,
        url=link,
        recorded_at=main.created_at,
        currency=currency,
        amount_minor=_minor(-amount if told is not None and told.amount < 0 else amount, currency, units),
        accounts=account_codes(code for one in by_role.values() for code in _accounts(one)),
        state=EntryState.POSTED
        if all(one.state is EntryState.POSTED for one in by_role.values())
        else EntryState.DRAFT,
        found=True,
        posting_date=day,
        original_date=told.day if told is not None else day,
        attached=attached,
        balances=account_balances(
            (code, _minor(amount, currency, units))
            for one in by_role.values()
            for code, amount in _balances(one, currency, company_currency)
        ),
    )


def _statement(record: TrytonRecord) -> Statement | None:
    if record.model is Model.INVOICE:
        return read_statement(record.row["comment"])
    return next((told for line in record.row["lines"] if (told := read_statement(line["description"]))), None)


def _amount(record: TrytonRecord, company_currency: str) -> tuple[str, Decimal]:
    """The currency and the magnitude that the books hold, whatever their texts say."""
    row = record.row
    if record.model is Model.INVOICE:
        return row["currency"]["code"], abs(row["total_amount"])
    lines = sorted(row["lines"], key=lambda line: int(line["id"]))
    settling = [line for line in lines if read_statement(line["description"]) is not None] or lines[-1:]
    if not settling:
        return company_currency, Decimal(0)
    currency = settling[0]["second_currency"]
    if currency is not None:
        return currency["code"], abs(sum((line["amount_second_currency"] or 0 for line in settling), Decimal(0)))
    return company_currency, abs(sum((line["debit"] - line["credit"] for line in settling), Decimal(0)))


def _accounts(record: TrytonRecord) -> list[str]:
    row = record.row
    lines = row["lines"]
    if record.model is Model.INVOICE:
        lines = [*lines, *row["taxes"], {"account": row["account"]}]
    return [line["account"]["code"] for line in lines if line["account"] is not None]


def _balances(record: TrytonRecord, currency: str, company_currency: str) -> list[tuple[str, Decimal]]:
    """What stands on each account in the entry's currency, debit less credit."""
    row = record.row
    if record.model is Model.INVOICE:
        booked = [*row["lines"], *row["taxes"], {"account": row["account"], "amount": -row["total_amount"]}]
        return [(one["account"]["code"], one["amount"] or Decimal(0)) for one in booked if one["account"]]
    if currency == company_currency:
        amounts = ((line, line["debit"] - line["credit"]) for line in row["lines"])
    else:
        amounts = ((line, line["amount_second_currency"] or Decimal(0)) for line in row["lines"])
    return [(line["account"]["code"], amount) for line, amount in amounts if line["account"] is not None]


def _day(record: TrytonRecord) -> date:
    if record.model is Model.MOVE:
        day: date = record.row["date"]
    else:
        day = record.row["accounting_date"] or record.row["invoice_date"]
    return day


def _minor(amount: Decimal, currency: str, units: MinorUnits) -> int:
    """An amount in Pleo's minor units. One between two of them was not recorded by us, and passes for neither's."""
    return int(amount.scaleb(units.decimals(currency)).to_integral_value(ROUND_UP))
