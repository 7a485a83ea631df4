"""The reference data that a ledger's owner may give as CSV files: once given, entries may name nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from blocks.erp.entries import Account, AccountKind, Vendor
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.csv_table import Columns, Row, Unique, codes_as_written, name_of, read_table, shown
from blocks.erp.reference import KnownVendor, Period

ACCOUNT_COLUMNS = Columns(("code", "name", "type"), ("identifier",))
TAX_CODE_COLUMNS = Columns(("code",), ("name", "datev_key", "automatic"))
DIMENSION_COLUMNS = Columns(("group", "code"), ("name",))
VENDOR_COLUMNS = Columns(("code", "name"), ("external_id", "account", "tax_number", "payable_account", "blocked"))
PERIOD_COLUMNS = Columns(("first_date", "last_date", "state"))
RATE_COLUMNS = Columns(("currency", "first_date", "rate"))

_CODES = ("code", "identifier", "account", "payable_account")

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,15})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}")
_DATEV_KEY = re.compile(r"\d{1,4}", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChartFiles:
    """Where the CSV files are; a kind without a file stays as it is in the ledger."""

    accounts: Path | None = None
    tax_codes: Path | None = None
    dimensions: Path | None = None
    vendors: Path | None = None
    periods: Path | None = None
    rates: Path | None = None


@dataclass(frozen=True, slots=True)
class ChartAccount:
    """One account of the chart; `identifier` is another name that Pleo may know it by."""

    account: Account
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class TaxKey:
    """How DATEV knows a tax code: by a key of a booking (BU-Schlüssel), or by accounts that compute it themselves.

    Without either, cost and tax are booked as rows of their own.
    """

    key: str = ""
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class ChartRate:
    """What one unit of `currency` costs in the company's, from `first` on until the next rate."""

    currency: str
    first: date
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Charts:
    """What the files hold; None where a kind has no file."""

    accounts: Sequence[ChartAccount] | None = None
    tax_codes: Sequence[str] | None = None
    dimensions: Sequence[tuple[str, str]] | None = None
    vendors: Sequence[KnownVendor] | None = None
    periods: Sequence[Period] | None = None
    rates: Sequence[ChartRate] | None = None
    tax_keys: Mapping[str, TaxKey] = field(default_factory=dict)
    """Of the tax codes in the file whose line says how DATEV knows them."""


NO_CHARTS = Charts()


def read_charts(files: ChartFiles) -> Charts:
    """The content of the files. Raises ErpConfigurationError with file, line number and what is wrong."""
    accounts = _read(files.accounts, ACCOUNT_COLUMNS, _accounts)
    chart = None if accounts is None else {one.account.code: one.account for one in accounts}
    tax_codes = _read(files.tax_codes, TAX_CODE_COLUMNS, _tax_codes)
    return Charts(
        accounts=_not_empty(files.accounts, accounts, "account"),
        tax_codes=None if tax_codes is None else tuple(code for code, _ in tax_codes),
        dimensions=_read(files.dimensions, DIMENSION_COLUMNS, _dimensions),
        vendors=_read(files.vendors, VENDOR_COLUMNS, lambda rows: _vendors(rows, chart)),
        periods=_not_empty(files.periods, _read(files.periods, PERIOD_COLUMNS, _periods), "period"),
        rates=_read(files.rates, RATE_COLUMNS, _rates),
        tax_keys={code: key for code, key in tax_codes or () if key is not None},
    )


def _read(path: Path | None, columns: Columns, read: Callable[[Iterable[Row]], tuple[T, ...]]) -> tuple[T, ...] | None:
    return None if path is None else read(codes_as_written(read_table(path, columns), *_CODES))


def _not_empty(path: Path | None, rows: tuple[T, ...] | None, what: str) -> tuple[T, ...] | None:
    """Without any account, or any period, nothing at all could be booked: that is a mistake."""
    if path is not None and not rows:
        raise ErpConfigurationError(f"{name_of(path)}: it has a header line, but no {what}")
    return rows


def _accounts(rows: Iterable[Row]) -> tuple[ChartAccount, ...]:
    codes, identifiers = Unique("account"), Unique("identifier")
    found = []
    for row in rows:
        code, identifier, kind = row.code("code"), row.text("identifier"), row.text("type")
        codes.take(row, code)
        if identifier:
            identifiers.take(row, identifier)
        if kind.lower() not in {one.value for one in AccountKind}:
            raise row.wrong(f"type is {shown(kind)}, but should be {_one_of(AccountKind)}")
        account = Account(code, row.text("name") or code, AccountKind(kind.lower()))
        found.append(ChartAccount(account, identifier))
    return tuple(found)


def _tax_codes(rows: Iterable[Row]) -> tuple[tuple[str, TaxKey | None], ...]:
    unique, found = Unique("tax code"), []
    for row in rows:
        code = row.code("code")
        unique.take(row, code)
        row.text("name")
        found.append((code, _tax_key(row)))
    return tuple(found)


def _tax_key(row: Row) -> TaxKey | None:
    key, automatic = row.text("datev_key"), row.boolean("automatic")
    if key and not _DATEV_KEY.fullmatch(key):
        raise row.wrong(f"datev_key is {shown(key)}, but should be up to four digits, 0 for none")
    if automatic and key:
        raise row.wrong("an automatic account takes no datev_key: leave one of the two empty")
    return TaxKey("" if key.strip("0") == "" else key, automatic) if key or automatic else None


def _dimensions(rows: Iterable[Row]) -> tuple[tuple[str, str], ...]:
    unique, found = Unique("dimension"), []
    for row in rows:
        found.append((row.code("group"), row.code("code")))
        unique.take(row, *found[-1])
        row.text("name")
    return tuple(found)


def _vendors(rows: Iterable[Row], chart: dict[str, Account] | None) -> tuple[KnownVendor, ...]:
    unique, found = Unique("vendor"), []
    for row in rows:
        code = row.code("code")
        unique.take(row, code)
        found.append(
            KnownVendor(
                Vendor(code, row.text("name") or code, _payable(row, chart)),
                external_id=row.text("external_id"),
                account=row.text("account"),
                tax_number=row.text("tax_number"),
                blocked=row.boolean("blocked"),
            )
        )
    return tuple(found)


def _payable(row: Row, chart: dict[str, Account] | None) -> Account | None:
    """A vendor's own payable account, which must be one of the chart where there is a chart."""
    if not row.text("payable_account"):
        return None
    code = row.code("payable_account")
    if chart is None:
        return Account(code, code, AccountKind.LIABILITY)
    if code not in chart:
        raise row.wrong(f"payable_account {shown(code)} is not in the file of accounts")
    return chart[code]


def _periods(rows: Iterable[Row]) -> tuple[Period, ...]:
    dated: list[tuple[Period, Row]] = []
    for row in rows:
        first, last, state = _date(row, "first_date"), _date(row, "last_date"), row.text("state")
        if last < first:
            raise row.wrong(f"last_date {last} is before first_date {first}")
        if state.lower() not in ("open", "closed"):
            raise row.wrong(f"state is {shown(state)}, but should be open or closed")
        dated.append((Period(first, last, state.lower() == "open"), row))
    dated.sort(key=lambda one: one[0].first)
    for (before, earlier), (after, later) in pairwise(dated):
        if after.first <= before.last:
            lines = sorted((earlier, later), key=lambda row: row.line)
            raise lines[1].wrong(f"the period overlaps the one on line {lines[0].line}")
    return tuple(period for period, _ in dated)


def _rates(rows: Iterable[Row]) -> tuple[ChartRate, ...]:
    unique, found = Unique("rate"), []
    for row in rows:
        currency, first, number = row.text("currency"), _date(row, "first_date"), row.text("rate")
        if not _CURRENCY.fullmatch(currency):
            raise row.wrong(f"currency is {shown(currency)}, but should be three capital letters, such as EUR")
        if not _NUMBER.fullmatch(number) or not Decimal(number):
            raise row.wrong(f"rate is {shown(number)}, but should be above 0 and with a decimal point, such as 7.46")
        unique.take(row, currency, first.isoformat())
        found.append(ChartRate(currency, first, Decimal(number)))
    return tuple(found)


def _date(row: Row, column: str) -> date:
    text = row.text(column)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise row.wrong(f"{column} is {shown(text)}, but should be a date such as 2026-01-31")


def _one_of(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
