"""What entries may refer to: everything while the ledger is open, and what its charts have where it has charts."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from blocks.erp.entries import Account
from blocks.erp.ledger.chart_store import Terms
from blocks.erp.ledger.charts import ChartRate
from blocks.erp.reference import ROLE_KINDS, Chart, JournalUse, Periods, Rates, Reference, Role, Vendors


def reference_of(terms: Terms) -> Reference:
    """The reference data of books that are kept by these terms.

    Without a chart of accounts the ledger has role accounts, wallets and journals of its own. With one, settings name
    them.
    """
    charts = terms.charts
    own = _OPEN if charts.accounts is None else Reference()
    dimensions: dict[str, set[str]] = defaultdict(set)
    for group, code in charts.dimensions or ():
        dimensions[group].add(code)
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
        company_currency=terms.company_currency,
        rates=None if charts.rates is None else _rates(charts.rates, terms.company_currency),
    )


def _rates(rates: Sequence[ChartRate], company_currency: str | None) -> Rates:
    days: dict[str, list[date]] = defaultdict(list)
    values: dict[str, list[Decimal]] = defaultdict(list)
    for one in sorted(rates, key=lambda one: one.first):
        days[one.currency].append(one.first)
        values[one.currency].append(one.rate)

    def rate(currency: str, day: date) -> Decimal | None:
        if currency == company_currency:
            return Decimal(1)
        before = bisect_right(days.get(currency, []), day)
        return values[currency][before - 1] if before else None

    return rate


def _wallet(currency: str) -> Account:
    return Account(f"pleo-wallet-{currency}", f"Pleo wallet {currency}", ROLE_KINDS[Role.WALLET])


_OPEN = Reference(
    roles={
        role: Account(f"pleo-{role.value.replace('_', '-')}", f"Pleo {role.value.replace('_', ' ')}", ROLE_KINDS[role])
        for role in Role
        if role is not Role.WALLET
    },
    open_wallet=_wallet,
    journals={use: use.value for use in JournalUse},
)
