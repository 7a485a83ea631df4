"""Charts in the books: storing what the files gave, reading back what stands, and what entries may refer to therefore.

A kind of reference data that ever had a chart keeps to it. What a later chart no longer has stays for the entries
that name it, and is taken by no new one. A kind without a chart is open: whatever an entry names is taken.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, AccountKind, Vendor
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.charts import NO_CHARTS, ChartAccount, ChartFiles, ChartRate, Charts
from blocks.erp.ledger.connection import Query
from blocks.erp.reference import (
    JOURNAL_USES,
    ROLE_KINDS,
    Chart,
    JournalUse,
    KnownVendor,
    Period,
    Periods,
    Reference,
    Role,
    Vendors,
    rates_by_date,
)

KINDS = tuple(field.name for field in fields(ChartFiles))

_ACCOUNT = """
    INSERT INTO account (code, name, kind, identifier, source) VALUES (?, ?, ?, ?, 'chart')
    ON CONFLICT (code) DO UPDATE SET name = excluded.name, kind = excluded.kind, identifier = excluded.identifier,
        source = 'chart', active = 1
"""

_TAX_CODE = """
    INSERT INTO tax_code (code, source) VALUES (?, 'chart')
    ON CONFLICT (code) DO UPDATE SET source = 'chart', active = 1
"""

_DIMENSION = """
    INSERT INTO dimension (dimension_group, code, source) VALUES (?, ?, 'chart')
    ON CONFLICT (dimension_group, code) DO UPDATE SET source = 'chart', active = 1
"""

_PAYABLE = "INSERT INTO account (code, name, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

_VENDOR = """
    INSERT INTO vendor (code, name, external_id, account, tax_number, payable_account, blocked, source)
    VALUES (?, ?, ?, ?, ?, ?, ?, 'chart')
    ON CONFLICT (code) DO UPDATE SET name = excluded.name, external_id = excluded.external_id,
        account = excluded.account, tax_number = excluded.tax_number, payable_account = excluded.payable_account,
        blocked = excluded.blocked, source = 'chart', active = 1
"""

_STATES = {True: "open", False: "closed"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What the books are kept by: charts, what amounts count, and the currency of the company where it has its own.
    `exchange_accounts` are those of exchange gains and losses, empty where the settings name none."""

    charts: Charts = NO_CHARTS
    minor_units: MinorUnits = MinorUnits.HUNDREDTHS
    company_currency: str | None = None
    exchange_accounts: tuple[str, str] = ("", "")


def agreed_terms(path: Path, query: Query, terms: Terms) -> Terms:
    """The terms with what the file at `path` holds already.

    Raises ErpConfigurationError where the two cannot go together.
    """
    charts = _merged(charts_of(query), terms.charts)
    rows = query("SELECT minor_units, company_currency, EXISTS (SELECT 1 FROM entry) FROM company", ())
    units, currency, has_entries = rows[0] if rows else (terms.minor_units, None, False)
    if has_entries and units != terms.minor_units:
        raise ErpConfigurationError(
            f"{path} holds amounts in {_units(units)}, but minor_units is {terms.minor_units}; "
            f"set minor_units to {units} or give another --ledger file"
        )
    if has_entries and terms.company_currency not in (None, currency):
        begun = f"in {currency}" if currency else "without a company currency"
        advice = f"set it to {currency}" if currency else "leave it out"
        raise ErpConfigurationError(
            f"{path} holds books begun {begun}, but company_currency is {terms.company_currency}; "
            f"{advice} or give another --ledger file"
        )
    return replace(terms, charts=charts, company_currency=terms.company_currency or currency)


def charts_of(query: Query) -> Charts:
    """The charts that stand in the books, None where a kind never had one."""
    kinds = {kind for (kind,) in query("SELECT kind FROM chart", ())}
    return Charts(
        accounts=_accounts(query) if "accounts" in kinds else None,
        tax_codes=_tax_codes(query) if "tax_codes" in kinds else None,
        dimensions=_dimensions(query) if "dimensions" in kinds else None,
        vendors=_vendors(query) if "vendors" in kinds else None,
        periods=_periods(query) if "periods" in kinds else None,
        rates=_rates(query) if "rates" in kinds else None,
    )


def store_charts(connection: sqlite3.Connection, charts: Charts, now: datetime) -> None:
    """Put the charts that were read into the books, in the transaction under way; the other kinds stay as they are."""
    for kind in KINDS:
        if getattr(charts, kind) is not None:
            connection.execute(
                "INSERT INTO chart (kind, read_at) VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET read_at = ?",
                (kind, now.isoformat(), now.isoformat()),
            )
    if charts.accounts is not None:
        connection.execute("UPDATE account SET active = 0")
        connection.executemany(
            _ACCOUNT,
            [(one.account.code, one.account.name, one.account.kind.value, one.identifier) for one in charts.accounts],
        )
    if charts.tax_codes is not None:
        connection.execute("UPDATE tax_code SET active = 0")
        connection.executemany(_TAX_CODE, [(code,) for code in charts.tax_codes])
    if charts.dimensions is not None:
        connection.execute("UPDATE dimension SET active = 0")
        connection.executemany(_DIMENSION, charts.dimensions)
    if charts.vendors is not None:
        _store_vendors(connection, charts.vendors)
    if charts.periods is not None:
        connection.execute("DELETE FROM period")
        connection.executemany(
            "INSERT INTO period (first_date, last_date, state) VALUES (?, ?, ?)",
            [(one.first.isoformat(), one.last.isoformat(), _STATES[one.is_open]) for one in charts.periods],
        )
    if charts.rates is not None:
        connection.execute("DELETE FROM rate")
        connection.executemany(
            "INSERT INTO rate (currency, first_date, rate) VALUES (?, ?, ?)",
            [(one.currency, one.first.isoformat(), format(one.rate, "f")) for one in charts.rates],
        )


def reference_of(terms: Terms) -> Reference:
    """The reference data of books that are kept by these terms.

    Without a chart of accounts the ledger has role accounts, wallets and journals of its own. With one, settings name
    them.
    """
    charts, company_currency = terms.charts, terms.company_currency
    own = _OPEN_REFERENCE if charts.accounts is None else Reference()
    dimensions: dict[str, set[str]] = defaultdict(set)
    for group, code in charts.dimensions or ():
        dimensions[group].add(code)
    rates = rates_by_date((one.currency, one.first, one.rate) for one in charts.rates or ())
    return Reference(
        roles=own.roles,
        open_wallet=own.open_wallet,
        journals=own.journals,
        chart=None
        if charts.accounts is None
        else Chart(
            [one.account for one in charts.accounts],
            {one.identifier: one.account.code for one in charts.accounts if one.identifier},
        ),
        tax_codes=None if charts.tax_codes is None else frozenset(charts.tax_codes),
        dimensions=None
        if charts.dimensions is None
        else {group: frozenset(codes) for group, codes in dimensions.items()},
        vendors=None if charts.vendors is None else Vendors(charts.vendors),
        periods=None if charts.periods is None else Periods(charts.periods),
        company_currency=company_currency,
        rates=None
        if charts.rates is None
        else lambda currency, day: Decimal(1) if currency == company_currency else rates(currency, day),
    )


def _units(name: str) -> str:
    return "hundredths" if name == MinorUnits.HUNDREDTHS else "each currency's own minor units"


def _merged(standing: Charts, read: Charts) -> Charts:
    """What stands, with what was read in its place; vendors name their payable account as the chart has it."""
    charts = replace(standing, **{kind: one for kind in KINDS if (one := getattr(read, kind)) is not None})
    if charts.accounts is None or charts.vendors is None:
        return charts
    accounts = {one.account.code: one.account for one in charts.accounts}
    return replace(charts, vendors=[_with_payable_of(known, accounts) for known in charts.vendors])


def _with_payable_of(known: KnownVendor, accounts: dict[str, Account]) -> KnownVendor:
    payable = known.vendor.payable
    if payable is None:
        return known
    if payable.code not in accounts:
        raise ErpConfigurationError(
            f"vendor {known.vendor.code} has the payable account {payable.code}, which is not in the chart of "
            "accounts; add it there, or give the vendor another one"
        )
    return replace(known, vendor=replace(known.vendor, payable=accounts[payable.code]))


def _store_vendors(connection: sqlite3.Connection, vendors: Sequence[KnownVendor]) -> None:
    connection.execute("UPDATE vendor SET active = 0")
    payable = [one.vendor.payable for one in vendors if one.vendor.payable is not None]
    connection.executemany(_PAYABLE, [(one.code, one.name, one.kind.value) for one in payable])
    connection.executemany(
        _VENDOR,
        [
            (
                one.vendor.code,
                one.vendor.name,
                one.external_id,
                one.account,
                one.tax_number,
                None if one.vendor.payable is None else one.vendor.payable.code,
                one.blocked,
            )
            for one in vendors
        ],
    )


def _accounts(query: Query) -> list[ChartAccount]:
    rows = query("SELECT code, name, kind, identifier FROM account WHERE active = 1 ORDER BY code", ())
    return [ChartAccount(Account(code, name, AccountKind(kind)), identifier) for code, name, kind, identifier in rows]


def _tax_codes(query: Query) -> list[str]:
    return [code for (code,) in query("SELECT code FROM tax_code WHERE active = 1 ORDER BY code", ())]


def _dimensions(query: Query) -> list[tuple[str, str]]:
    rows = query("SELECT dimension_group, code FROM dimension WHERE active = 1 ORDER BY 1, 2", ())
    return [(group, code) for group, code in rows]


def _vendors(query: Query) -> list[KnownVendor]:
    rows = query(
        """SELECT v.code, v.name, v.external_id, v.account, v.tax_number, v.blocked, a.code, a.name, a.kind
           FROM vendor AS v LEFT JOIN account AS a ON a.code = v.payable_account
           WHERE v.active = 1 ORDER BY v.code""",
        (),
    )
    return [_vendor(*row) for row in rows]


def _vendor(
    code: str, name: str, external_id: str, account: str, tax_number: str, blocked: int, *payable: Any
) -> KnownVendor:
    payable_code, payable_name, kind = payable
    own = None if payable_code is None else Account(payable_code, payable_name, AccountKind(kind))
    return KnownVendor(Vendor(code, name, own), external_id, account, tax_number, bool(blocked))


def _periods(query: Query) -> list[Period]:
    rows = query("SELECT first_date, last_date, state FROM period ORDER BY first_date", ())
    return [Period(date.fromisoformat(first), date.fromisoformat(last), state == "open") for first, last, state in rows]


def _rates(query: Query) -> list[ChartRate]:
    rows = query("SELECT currency, first_date, rate FROM rate ORDER BY currency, first_date", ())
    return [ChartRate(currency, date.fromisoformat(first), Decimal(rate)) for currency, first, rate in rows]


def _wallet(currency: str) -> Account:
    return Account(f"pleo-wallet-{currency}", f"Pleo wallet {currency}", ROLE_KINDS[Role.WALLET])


_OPEN_REFERENCE = Reference(
    roles={
        role: Account(f"pleo-{role.value.replace('_', '-')}", f"Pleo {role.value.replace('_', ' ')}", ROLE_KINDS[role])
        for role in Role
        if role not in (Role.WALLET, Role.EXCHANGE_GAIN, Role.EXCHANGE_LOSS)  # without them such pairs stay open
    },
    open_wallet=_wallet,
    journals={use: use.value for use in (JournalUse.GENERAL, *JOURNAL_USES.values())},
)
