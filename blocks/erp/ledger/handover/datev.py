"""A DATEV batch of bookings (EXTF 700, category 21, format version 13), as DATEV's developer pages describe it.

A row has two legs, an account and its counter account, and its amount is gross: DATEV takes the tax out of it by a key
or by the account itself, in its own arithmetic. So a cost and its tax become one row only where that arithmetic comes
to Pleo's tax to the cent; else they are rows of their own, with a key that keeps an automatic account from computing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID, uuid5

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.charts import TaxKey
from blocks.erp.ledger.handover.datev_columns import COLUMNS
from blocks.erp.ledger.handover.encoding import Encoder
from blocks.erp.ledger.handover.members import Member, MemberDocument, MemberLine
from blocks.erp.ledger.handover.settings import DatevSettings

ENCODING = "cp1252"
MAX_ROW_MINOR = 999_999_999_999
"""The largest amount of a row, in cents: ten digits before the comma."""

_NO_AUTOMATIC_TAX = "40"
_NOT_IN_A_REFERENCE = re.compile(r"[^A-Za-z0-9$&%*+\-/]+")
_RECEIPTS = UUID("6f0f8a52-5d0d-5f0e-9d3f-0c7c5e0b8a11")  # a namespace of our own, for ever the same
_MAX_TEXT, _MAX_REFERENCE, _MAX_COST_CENTRE = 60, 36, 36
_KINDS = {"bill", "credit_note"}


@dataclass(frozen=True, slots=True)
class Period:
    """The month that a batch is for, the first day of its fiscal year, and the batch's number."""

    first: date
    last: date
    fiscal_year: date
    number: int


@dataclass(frozen=True, slots=True)
class _Leg:
    """What a row books on its own account: debit positive, in the batch's currency and in the entry's."""

    account: str
    amount_minor: int
    own_minor: int
    key: str = ""
    dimensions: tuple[tuple[str, str], ...] = ()
    counter: bool = False


class DatevWriter:
    """Writes one batch. `keys` are the tax codes' keys; `currency` is that of the books."""

    def __init__(self, settings: DatevSettings, keys: Mapping[str, TaxKey], currency: str, encoder: Encoder) -> None:
        self._settings = settings
        self._keys = keys
        self._currency = currency
        self._encoder = encoder
        self.rows = 0
        self.without_amount = 0
        self.in_net_and_tax = 0

    def head(self, period: Period) -> bytes:
        """The two lines before the rows. The time of making is that of the period: no clock changes the bytes."""
        chosen = self._settings
        made = f"{period.last:%Y%m%d}000000000"
        label = f"{chosen.label} {period.number:06d}".strip()
        fields = (
            _quoted("EXTF"), "700", "21", _quoted("Buchungsstapel"), "13", made, "", _quoted("RE"), _quoted(""),
            _quoted(""), str(chosen.adviser), str(chosen.client), f"{period.fiscal_year:%Y%m%d}",
            str(chosen.account_length), f"{period.first:%Y%m%d}", f"{period.last:%Y%m%d}", self._text(label, 30),
            self._text(chosen.initials, 2), "1", "0", str(int(chosen.locked)), _quoted(self._currency), "", _quoted(""),
            "", "", _quoted(chosen.chart), "", "", _quoted(""), _quoted(""),
        )  # fmt: skip
        return f"{';'.join(fields)}\r\n{';'.join(COLUMNS)}\r\n".encode(ENCODING)

    def entry(self, member: Member) -> bytes:
        """The rows of one entry, none where it has no amount. Raises ErpConfigurationError for what DATEV refuses."""
        rows = [row for document, lines in member.units() for row in self._unit(member, document, lines)]
        self.rows += len(rows)
        self.without_amount += not rows
        return "".join(f"{row}\r\n" for row in rows).encode(ENCODING)

    def _unit(self, member: Member, document: MemberDocument | None, lines: Sequence[MemberLine]) -> Iterator[str]:
        # A reversal is the same booking once more, marked as one that takes back: DATEV's Generalumkehr.
        sign = -1 if member.reverses is not None else 1
        legs = [leg for group in _groups(lines) for leg in self._legs(member, group, sign)]
        legs = [leg for leg in legs if leg.amount_minor or leg.own_minor]
        if not legs:
            return
        pivot = max(legs, key=lambda leg: (not leg.key, leg.counter, abs(leg.amount_minor)))
        if pivot.key:  # DATEV takes no tax out of a counter account, so one of them stands without a key
            raise ErpConfigurationError(f"{member.external_id}: it has no account that is free of tax")
        rest = list(legs)
        rest.remove(pivot)
        for leg in rest:
            yield self._row(member, document, leg, pivot)

    def _legs(self, member: Member, group: Sequence[MemberLine], sign: int) -> list[_Leg]:
        """A line that is no tax with the tax behind it: as one leg with a key where that comes to the same."""
        legs = [self._leg(member, line, sign) for line in group]
        key = self._keys.get(group[0].tax_code or "")
        if key is None or group[0].tax or group[0].counter:
            return legs
        taxes = legs[1:]
        gross = replace(
            legs[0],
            amount_minor=sum(leg.amount_minor for leg in legs),
            own_minor=sum(leg.own_minor for leg in legs),
            key="" if key.automatic else key.key,
        )
        if (key.key or key.automatic) and self._comes_to(gross, taxes, group[0].tax_rate):
            return [gross]
        self.in_net_and_tax += bool(taxes)
        if key.automatic:
            legs[0] = replace(legs[0], key=_NO_AUTOMATIC_TAX)
        return legs

    def _comes_to(self, gross: _Leg, taxes: Sequence[_Leg], rate: str | None) -> bool:
        """Whether DATEV's own arithmetic gives these taxes: out of the gross, or under reverse charge beside it."""
        if rate is None:
            return False
        share = Decimal(rate)
        amount = Decimal(gross.amount_minor)
        if len(taxes) == 2 and taxes[0].amount_minor == -taxes[1].amount_minor:
            return taxes[0].amount_minor == _rounded(amount * share)
        if len(taxes) > 1:
            return False
        tax = taxes[0].amount_minor if taxes else 0
        return tax == _rounded(amount * share / (1 + share))

    def _leg(self, member: Member, line: MemberLine, sign: int) -> _Leg:
        amount = member.minor(line, self._currency)
        if amount is None:
            raise ErpConfigurationError(
                f"{member.external_id} is in {member.currency}, and the batch in {self._currency}: "
                "set company_currency, so that the books keep both"
            )
        if (
            not (line.account.isascii() and line.account.isdigit())
            or len(line.account) > self._settings.account_length + 1
        ):
            raise ErpConfigurationError(
                f"{member.external_id}: DATEV cannot take account {self._encoder.text(line.account, 60)}: "
                f"{self._settings.account_length} digits, one more for vendors"
            )
        if abs(amount) > MAX_ROW_MINOR:
            raise ErpConfigurationError(f"{member.external_id}: its amount is too large for DATEV")
        return _Leg(line.account, sign * amount, sign * line.amount_minor, "", line.dimensions, line.counter)

    def _row(self, member: Member, document: MemberDocument | None, leg: _Leg, pivot: _Leg) -> str:
        values = [""] * len(COLUMNS)

        def put(number: int, value: str) -> None:
            values[number - 1] = value

        base = abs(leg.amount_minor)
        put(1, _amount(base))
        put(2, _quoted("S" if leg.amount_minor > 0 else "H"))
        put(3, _quoted(self._currency))
        if member.currency != self._currency and leg.own_minor and base:
            put(1, _amount(abs(leg.own_minor)))
            put(3, _quoted(member.currency))
            put(4, _rate(abs(leg.own_minor), base))
            put(5, _amount(base))
            put(6, _quoted(self._currency))
        put(7, leg.account)
        put(8, pivot.account)
        put(9, _quoted(leg.key))
        put(10, f"{member.posting_date:%d%m}")
        put(11, _quoted(_reference(member, document)))
        put(14, self._text(member.description, _MAX_TEXT))
        if member.has_receipts and member.reverses is None:
            put(20, _quoted(f'BEDI "{receipts_guid(member.accounting_entry_id)}"'))
        put(21, _quoted("Pleo-ID"))
        put(22, _quoted(member.accounting_entry_id))
        if document is not None and document.vendor is not None:
            put(23, _quoted("Kreditor"))
            put(24, self._text(f"{document.vendor} {document.vendor_name or ''}", 210))
        dimensions = dict(leg.dimensions) or dict(pivot.dimensions)
        put(37, self._text(dimensions.get(self._settings.cost_centre, ""), _MAX_COST_CENTRE))
        put(38, self._text(dimensions.get(self._settings.cost_object, ""), _MAX_COST_CENTRE))
        put(114, str(int(self._settings.locked)))
        due = member.details.get("due_date", "")
        if due and document is not None and document.kind in _KINDS:
            put(117, f"{date.fromisoformat(due):%d%m%Y}")
        put(118, _quoted("1" if member.reverses is not None else "0"))
        return ";".join(values)

    def _text(self, text: str, limit: int) -> str:
        return _quoted(self._encoder.text(text, limit))


def receipts_guid(accounting_entry_id: str) -> str:
    """The name of an expense's receipts at DATEV, always the same: sent twice, they are taken once."""
    return str(uuid5(_RECEIPTS, accounting_entry_id)).upper()


def _groups(lines: Sequence[MemberLine]) -> Iterator[list[MemberLine]]:
    """Each line with the lines of its tax behind it, as bookkeeping puts them."""
    group: list[MemberLine] = []
    for line in lines:
        belongs = line.tax and group and not group[0].tax and not group[0].counter
        if group and not (belongs and line.tax_code == group[0].tax_code):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _reference(member: Member, document: MemberDocument | None) -> str:
    """What open items are matched by: the vendor's number of the invoice, else Pleo's id of the expense."""
    number = document.invoice_number if document is not None else ""
    return _NOT_IN_A_REFERENCE.sub("-", number).strip("-")[:_MAX_REFERENCE] or member.accounting_entry_id


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def _amount(minor: int) -> str:
    return f"{minor // 100},{minor % 100:02d}"


def _rate(own_minor: int, base_minor: int) -> str:
    """How much of the foreign currency one unit of the books' is, never 0."""
    rate = (Decimal(own_minor) / Decimal(base_minor)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    return f"{max(rate, Decimal('0.000001')):f}".replace(".", ",")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
