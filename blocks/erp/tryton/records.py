"""What stands in Tryton for an expense, read from its moves and supplier invoices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_UP, Decimal

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import EntryState, Recorded, account_codes
from blocks.erp.tryton.client import Row
from blocks.erp.tryton.marks import Mark, Model, Part, Statement, external_id, read_statement

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
        "total_amount", "comment", "account.code", "lines.account.code", "taxes.account.code",
    ),
}  # fmt: skip
"""What tells all that there is to know of it."""

_POSTED = {"posted", "paid"}


@dataclass(frozen=True, slots=True)
class Standing:
    """A record of ours as it stands: a draft that counts only if it is `claimed`, or posted."""

    model: Model
    id: int
    mark: Mark
    state: EntryState
    row: Row

    @property
    def counts(self) -> bool:
        """Whether it is the one: nothing that counts is ever taken away again by us."""
        return self.state is EntryState.POSTED or self.mark.claimed

    @property
    def external_id(self) -> str:
        """The record as Tryton refers to it."""
        return external_id(self.model, self.id)

    @property
    def created_at(self) -> datetime:
        """When Tryton made it (aware, UTC)."""
        created: datetime = self.row["create_date"]
        return created


def standing(model: Model, row: Row, mark: Mark) -> Standing | None:
    """A row as a record of ours. None for what only looks like one: the reversal of a move, a cancelled invoice."""
    if row.get("origin") or row["state"] == "cancelled":
        return None
    state = EntryState.POSTED if row["state"] in _POSTED else EntryState.DRAFT
    return Standing(model, row["id"], mark, state, row)


def chosen(records: Iterable[Standing]) -> dict[Part, Standing]:
    """Of each part the record that counts: one that is posted before a draft, and then the oldest."""
    order = sorted((one for one in records if one.counts), key=lambda one: (one.state is not EntryState.POSTED, one.id))
    found: dict[Part, Standing] = {}
    for one in order:
        found.setdefault(one.mark.part, one)
    return found


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read: whose currency the company keeps, and what Pleo's amounts count."""

    company_currency: str
    units: MinorUnits


def recorded(parts: Mapping[Part, Standing], reading: Reading, link: str, attached: frozenset[int]) -> Recorded | None:
    """The whole entry, or None while a part of it is missing: a bill whose payment was not made yet."""
    main = parts.get(Part.MAIN)
    if main is None:
        return None
    told = _statement(main)
    if told is not None and " and " in told.documents and Part.PAYMENT not in parts:
        return None
    currency, amount = _amount(main, reading)
    day = _day(main)
    return Recorded(
        accounting_entry_id=main.mark.accounting_entry_id,
        external_id=main.external_id,
        url=link,
        recorded_at=main.created_at,
        currency=currency,
        amount_minor=_minor(-amount if told is not None and told.amount < 0 else amount, currency, reading.units),
        accounts=account_codes(code for one in parts.values() for code in _accounts(one)),
        state=EntryState.POSTED if all(one.state is EntryState.POSTED for one in parts.values()) else EntryState.DRAFT,
        found=True,
        posting_date=day,
        original_date=told.day if told is not None else day,
        attached=attached,
    )


def _statement(record: Standing) -> Statement | None:
    if record.model is Model.INVOICE:
        return read_statement(record.row["comment"])
    return next((told for line in record.row["lines"] if (told := read_statement(line["description"]))), None)


def _amount(record: Standing, reading: Reading) -> tuple[str, Decimal]:
    """The currency and the magnitude that the books hold, whatever their texts say."""
    row = record.row
    if record.model is Model.INVOICE:
        return row["currency"]["code"], abs(row["total_amount"])
    lines = sorted(row["lines"], key=lambda line: int(line["id"]))
    settling = [line for line in lines if read_statement(line["description"]) is not None] or lines[-1:]
    if not settling:
        return reading.company_currency, Decimal(0)
    currency = settling[0]["second_currency"]
    if currency is not None:
        return currency["code"], abs(sum((line["amount_second_currency"] or 0 for line in settling), Decimal(0)))
    return reading.company_currency, abs(sum((line["debit"] - line["credit"] for line in settling), Decimal(0)))


def _accounts(record: Standing) -> list[str]:
    row = record.row
    lines = row["lines"]
    if record.model is Model.INVOICE:
        lines = [*lines, *row["taxes"], {"account": row["account"]}]
    return [line["account"]["code"] for line in lines if line["account"] is not None]


def _day(record: Standing) -> date:
    if record.model is Model.MOVE:
        day: date = record.row["date"]
    else:
        day = record.row["accounting_date"] or record.row["invoice_date"]
    return day


def _minor(amount: Decimal, currency: str, units: MinorUnits) -> int:
    """An amount in Pleo's minor units. One between two of them was not recorded by us, and passes for neither's."""
    return int(amount.scaleb(units.decimals(currency)).to_integral_value(ROUND_UP))
