"""What a company has in Odoo that entries refer to, by the codes that people use, with Odoo's own ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from blocks.erp.entries import Account
from blocks.erp.reference import Reference
from blocks.erp.remote.names import ByCode, Currency, Journal


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """An account; `currency` is the only one that it takes, where there is such a one."""

    id: int
    account: Account
    payable: bool
    reconcile: bool
    currency: str | None


@dataclass(frozen=True, slots=True)
class TaxPart:
    """A part of a tax that makes a tax line (Odoo: a repartition line), for bills or for refunds. `due` tells that it
    stands on the other side than the cost, `tags` are what its line counts for in the tax report."""

    id: int
    due: bool
    account: str
    tags: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax: by whether it is for refunds its parts, and what the lines that it is computed on count for."""

    id: int
    parts: Mapping[bool, tuple[TaxPart, ...]]
    base_tags: Mapping[bool, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Locks:
    """Until which day, that one included, Odoo has locked a company's books for the user, None where it has not.

    The five lock dates of Odoo are read as one: whoever closed the tax report, or the purchases, of a month would not
    expect expenses of that month any more.
    """

    until: date | None

    def cover(self, day: date) -> bool:
        """Whether nothing is booked on that day any more."""
        return self.until is not None and day <= self.until


@dataclass(frozen=True, slots=True)
class Directory:
    """The names of one company.

    `analytic` are the values of dimensions by group and code; `codes` and `currency_codes` the codes of all accounts
    and currencies by id, archived ones too; `exchange_gain` and `exchange_loss` those of the accounts that Odoo itself
    books differences of rates on, empty where it has none. From 17 on one analytic line has values of several plans,
    and lines marked with the same number are reconciled in the transaction in which the last of them is posted.
    """

    company_id: int
    currency: Currency
    currencies: Mapping[str, Currency]
    accounts: ByCode[str, LedgerAccount]
    taxes: ByCode[str, Tax]
    analytic: ByCode[tuple[str, str], int]
    partners: Mapping[str, int]
    journals: ByCode[str, Journal]
    locks: Locks
    codes: Mapping[int, str]
    currency_codes: Mapping[int, str]
    exchange_gain: str
    exchange_loss: str
    plans_share_lines: bool
    settles_on_posting: bool
    reference: Reference = field(default_factory=Reference)
