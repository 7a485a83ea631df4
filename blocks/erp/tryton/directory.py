"""What a Tryton company has, by the codes that people use, with the ids that Tryton wants. Loaded once a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from blocks.erp.entries import Account
from blocks.erp.reference import Reference
from blocks.erp.remote.names import Currency, Journal

BILLS_MODULE = "account_invoice"
"""The module of Tryton's that keeps supplier invoices."""


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """An account that lines may stand on.

    `party_required` accounts take only lines with a party, all others only lines without. `second_currency` is the only
    currency that its lines may have besides the company's. Between `first` and `last`, where given, it may be used.
    """

    id: int
    account: Account
    party_required: bool = False
    reconcile: bool = False
    payable: bool = False
    second_currency: str | None = None
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class TaxPart:
    """A tax that is computed, one of a group's or a tax by itself. `due` tells that it is owed (a negative rate)."""

    id: int
    due: bool
    accounts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Party:
    """A supplier. `address_id` is where its bills come from, None where it has none, and then it takes no bills."""

    id: int
    address_id: int | None


@dataclass(frozen=True, slots=True)
class AnalyticAccount:
    """A value of an analytic dimension, and the dimension's root."""

    id: int
    root_id: int


@dataclass(frozen=True, slots=True)
class AccountingPeriod:
    """A standard period, both ends within it."""

    id: int
    first: date
    last: date
    is_open: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """One company's names with their ids.

    `invoices` tells that the server keeps supplier invoices, `analytic_invoices` that their lines take dimensions.
    """

    company_id: int
    company_name: str
    currency: Currency
    currencies: Mapping[str, Currency] = field(default_factory=dict)
    accounts: Mapping[str, LedgerAccount] = field(default_factory=dict)
    taxes: Mapping[str, tuple[TaxPart, ...]] = field(default_factory=dict)
    analytic: Mapping[tuple[str, str], AnalyticAccount] = field(default_factory=dict)
    parties: Mapping[str, Party] = field(default_factory=dict)
    journals: Mapping[str, Journal] = field(default_factory=dict)
    periods: tuple[AccountingPeriod, ...] = ()
    invoices: bool = True
    analytic_invoices: bool = True
    reference: Reference = field(default_factory=Reference)

    def period(self, day: date) -> AccountingPeriod | None:
        """The open period that a day lies in."""
        return next((one for one in self.periods if one.is_open and one.first <= day <= one.last), None)
