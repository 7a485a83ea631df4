"""What a Tryton company has, by the codes that people use, with the ids that Tryton wants. Loaded once a job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from blocks.erp.entries import Account, AccountKind, Vendor
from blocks.erp.errors import ConfigurationProblem, ErpConfigurationError
from blocks.erp.reference import (
    Chart,
    JournalUse,
    KnownVendor,
    Period,
    Periods,
    Rates,
    Reference,
    Role,
    Vendors,
    rates_by_date,
)
from blocks.erp.remote.names import ByCode, Currency, Journal, by_group, journal_uses, readable_name
from blocks.erp.tryton.client import Row, TrytonClient

_TAX_FIELDS = ("name", "parent", "type", "rate", "amount", "invoice_account.code", "credit_note_account.code")


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


async def load_directory(client: TrytonClient, company: Row, modules: frozenset[str]) -> Directory:
    """The directory of a company (a row of `company.company`), as far as the server's activated modules go."""
    return await _Loader(client, company, modules).load()


class _Loader:
    def __init__(self, client: TrytonClient, company: Row, modules: frozenset[str]) -> None:
        self._client = client
        self._company = company
        self._modules = modules
        self._of_company = [["company", "=", company["id"]]]

    async def load(self) -> Directory:
        currencies = await self._currencies()
        currency = currencies.get(self._company["currency"]["code"])
        if currency is None:
            raise ErpConfigurationError(
                f"the currency of company {self._name()} is not active in Tryton: activate it there",
                ConfigurationProblem.INVALID,
            )
        accounts = await self._accounts()
        periods = await self._periods()
        journals = await self._journals()
        analytic = await self._analytic() if "analytic_account" in self._modules else {}
        parties, vendors = await self._parties(accounts)
        directory = Directory(
            company_id=self._company["id"],
            company_name=self._name(),
            currency=currency,
            currencies=currencies,
            accounts=accounts,
            taxes=await self._taxes(),
            analytic=analytic,
            parties=parties,
            journals=journals,
            periods=periods,
            invoices=BILLS_MODULE in self._modules,
            analytic_invoices="analytic_invoice" in self._modules,
        )
        rates = await self._rates(currency.code, min((one.first for one in periods if one.is_open), default=None))
        return replace(directory, reference=await self._reference(directory, vendors, rates))

    def _name(self) -> str:
        return readable_name(self._company["party"]["name"], "")

    async def _currencies(self) -> Mapping[str, Currency]:
        rows = await self._client.search_all("currency.currency", [], ("code", "digits"))
        found = ((row["code"], Currency(row["id"], row["code"], row["digits"])) for row in rows if row["code"])
        return ByCode("currency", "Tryton", found)

    async def _accounts(self) -> Mapping[str, LedgerAccount]:
        domain = [*self._of_company, ["type", "!=", None], ["closed", "!=", True]]
        fields = (
            "code", "name", "party_required", "reconcile", "second_currency.code", "start_date", "end_date",
            "type.statement", "type.assets", "type.expense", "type.payable",
        )  # fmt: skip
        rows = await self._client.search_all("account.account", domain, fields)
        return ByCode("account", "Tryton", ((row["code"], _account(row)) for row in rows if row["code"]))

    async def _taxes(self) -> Mapping[str, tuple[TaxPart, ...]]:
        rows = await self._client.search_all("account.tax", [*self._of_company, ["active", "=", True]], _TAX_FIELDS)
        children: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row["parent"]:
                children[row["parent"]].append(row)

        def parts(row: Row) -> tuple[TaxPart, ...]:
            if row["type"] == "none":
                return tuple(part for child in children[row["id"]] for part in parts(child))
            return (_tax_part(row),)

        return ByCode("tax", "Tryton", ((row["name"], parts(row)) for row in rows if not row["parent"]))

    async def _analytic(self) -> Mapping[tuple[str, str], AnalyticAccount]:
        domain = [*self._of_company, ["type", "=", "normal"], ["active", "=", True]]
        fields = ("code", "name", "root.code", "root.name")
        rows = await self._client.search_all("analytic_account.account", domain, fields)
        found = (
            ((root["code"] or root["name"], row["code"] or row["name"]), AnalyticAccount(row["id"], root["id"]))
            for row in rows
            if (root := row["root"])
        )
        return ByCode("analytic account", "Tryton", found)

    async def _journals(self) -> Mapping[str, Journal]:
        rows = await self._client.search_all("account.journal", [["active", "=", True]], ("code", "type"))
        return ByCode(
            "journal", "Tryton", ((row["code"], Journal(row["id"], row["type"])) for row in rows if row["code"])
        )

    async def _periods(self) -> tuple[AccountingPeriod, ...]:
        domain = [*self._of_company, ["type", "=", "standard"]]
        rows = await self._client.search_all("account.period", domain, ("start_date", "end_date", "state"))
        found = (
            AccountingPeriod(row["id"], row["start_date"], row["end_date"], row["state"] == "open") for row in rows
        )
        return tuple(sorted(found, key=lambda one: one.first))

    async def _parties(self, accounts: Mapping[str, LedgerAccount]) -> tuple[dict[str, Party], tuple[KnownVendor, ...]]:
        """The suppliers by code. Those that are not active are blocked."""
        domain = [["active", "in", [True, False]], ["code", "!=", None]]
        fields = ("code", "name", "active", "addresses", "identifiers.code", "account_payable.code")
        rows = await self._client.search_all("party.party", domain, fields)
        parties: dict[str, Party] = {}
        vendors = []
        for row in rows:
            parties[row["code"]] = Party(row["id"], min(row["addresses"] or (), default=None))
            payable = accounts.get((row["account_payable"] or {}).get("code", ""))
            numbers = [one["code"] for one in row["identifiers"] or () if one["code"]]
            vendor = Vendor(
                row["code"],
                readable_name(row["name"], row["code"]),
                payable.account if payable is not None else None,
            )
            vendors.append(
                KnownVendor(
                    vendor,
                    external_id=str(row["id"]),
                    tax_number=numbers[0] if numbers else "",
                    blocked=not row["active"],
                )
            )
        return parties, tuple(vendors)

    async def _rates(self, company_currency: str, since: date | None) -> Rates:
        """The rates that postings in open periods can need: those since then, and of each currency the last before."""
        if since is None:
            return lambda _currency, _day: None
        fields = ("currency.code", "date", "rate")
        rows = await self._client.search_all("currency.currency.rate", [["date", ">=", since]], fields)
        before = await self._client.search_all(
            "currency.currency.rate", [["date", "<", since], ["date", ">=", _years_before(since)]], fields
        )
        newest: dict[str, Row] = {}
        for row in before:
            code = row["currency"]["code"]
            if code not in newest or newest[code]["date"] < row["date"]:
                newest[code] = row
        return rates_from(company_currency, [*newest.values(), *rows])

    async def _reference(self, directory: Directory, vendors: tuple[KnownVendor, ...], rates: Rates) -> Reference:
        accounts = directory.accounts
        return Reference(
            roles=await self._roles(accounts),
            journals=journal_uses(directory.journals, _JOURNAL_TYPES),
            chart=Chart(
                (one.account for one in accounts.values()),
                {str(one.id): code for code, one in accounts.items()},
            ),
            tax_codes=frozenset(directory.taxes),
            dimensions=by_group(directory.analytic),
            vendors=Vendors(vendors),
            periods=Periods([Period(one.first, one.last, one.is_open) for one in directory.periods]),
            company_currency=directory.currency.code,
            rates=rates,
        )

    async def _roles(self, accounts: Mapping[str, LedgerAccount]) -> dict[Role, Account]:
        """Accounts payable as Tryton's configuration has it; the other roles have no place there."""
        rows = await self._client.search("account.configuration", [], ("default_account_payable.code",), limit=1)
        code = (rows[0]["default_account_payable"] or {}).get("code", "") if rows else ""
        known = accounts.get(code)
        return {Role.PAYABLE: known.account} if known is not None else {}


def rates_from(company_currency: str, rows: Iterable[Row]) -> Rates:
    """What one unit of a currency costs in the company's, from Tryton's rates, which count units per base currency.

    A rate holds from its date until the next one of its currency.
    """
    table = rates_by_date((row["currency"]["code"], row["date"], row["rate"]) for row in rows)

    def rates(currency: str, day: date) -> Decimal | None:
        own, company = table(currency, day), table(company_currency, day)
        return company / own if own is not None and company is not None and own > 0 and company > 0 else None

    return rates


def _years_before(day: date) -> date:
    return date(max(day.year - 5, 1), 1, 1)


def _account(row: Row) -> LedgerAccount:
    kind = row["type"]
    if kind["statement"] == "income":
        meaning = AccountKind.EXPENSE if kind["expense"] else AccountKind.INCOME
    else:
        meaning = AccountKind.ASSET if kind["assets"] else AccountKind.LIABILITY
    return LedgerAccount(
        id=row["id"],
        account=Account(row["code"], readable_name(row["name"], row["code"]), meaning),
        party_required=bool(row["party_required"]),
        reconcile=bool(row["reconcile"]),
        payable=bool(kind["payable"]),
        second_currency=(row["second_currency"] or {}).get("code"),
        first=row["start_date"],
        last=row["end_date"],
    )


def _tax_part(row: Row) -> TaxPart:
    accounts = {(row[field] or {}).get("code") for field in ("invoice_account", "credit_note_account")}
    size = row["rate"] if row["type"] == "percentage" else row["amount"]
    return TaxPart(row["id"], (size or 0) < 0, frozenset(code for code in accounts if code))


_JOURNAL_TYPES = {
    JournalUse.GENERAL: "general",
    JournalUse.BILLS: "expense",
    JournalUse.CREDIT_NOTES: "expense",
    JournalUse.PAYMENTS: "cash",
}
