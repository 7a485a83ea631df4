"""What a company has in Odoo that entries refer to, by the codes that people use, with Odoo's own ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from blocks.erp.entries import Account, AccountKind, Vendor
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.odoo.client import OdooClient, Row
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
from blocks.erp.remote.calls import NotAllowed
from blocks.erp.remote.names import ByCode, Currency, Journal, by_group, journal_uses, readable_name
from blocks.erp.remote.pages import all_rows, pages_after_key

PAGE = 1000
_SYSTEM = "Odoo"
_RATES_DAYS = 400
"""How old a rate may be to be found by the first question; of currencies without one the last is asked for."""

LOCK_DATES = ("fiscalyear_lock_date", "hard_lock_date", "purchase_lock_date", "tax_lock_date", "sale_lock_date")
"""From 18 on; the company's field has `user_` before it, for what holds for the user, exceptions counted."""
_OLD_LOCK_DATES = ("fiscalyear_lock_date", "period_lock_date", "tax_lock_date")
"""Of 16 and 17, where the second holds for all but advisers."""

_KINDS = {
    "asset": AccountKind.ASSET,
    "liability": AccountKind.LIABILITY,
    "equity": AccountKind.EQUITY,
    "income": AccountKind.INCOME,
    "expense": AccountKind.EXPENSE,
}
_JOURNAL_TYPES = {
    JournalUse.GENERAL: "general",
    JournalUse.BILLS: "purchase",
    JournalUse.CREDIT_NOTES: "purchase",
    JournalUse.PAYMENTS: "bank",
}


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


async def read_locks(client: OdooClient, company_id: int) -> Locks:
    """The lock dates of a company as they are now."""
    fields = [f"user_{name}" for name in LOCK_DATES] if client.version >= 18 else list(_OLD_LOCK_DATES)
    rows = await client.search_read("res.company", [["id", "=", company_id]], fields)
    days = [day for row in rows for name in fields if (day := _day(row[name])) is not None]
    return Locks(max(days, default=None))


async def load_directory(client: OdooClient, company: Row) -> Directory:
    """The directory of a company, a row of `res.company` with its id, name and currency."""
    return await _Loader(client, company).load()


class _Loader:
    def __init__(self, client: OdooClient, company: Row) -> None:
        self._client = client
        self._company = company
        self._id: int = company["id"]
        self._own = ["company_id", "=", self._id]
        self._own_or_shared = ["company_id", "in", [False, self._id]]

    async def load(self) -> Directory:
        known = await self._all("res.currency", [], ("name", "decimal_places", "active"), active_test=False)
        currency_codes = {row["id"]: row["name"] for row in known}
        currencies = {
            row["name"]: Currency(row["id"], row["name"], row["decimal_places"]) for row in known if row["active"]
        }
        code = currency_codes[self._company["currency_id"]]
        if code not in currencies:
            name = readable_name(self._company["name"], "the company")
            raise ErpConfigurationError(f"currency {code} of {name} is not active in Odoo: activate it there")
        rows = await self._account_rows()
        codes = {row["id"]: row["code"] for row in rows if row["code"]}
        accounts = _accounts(rows, currency_codes)
        names = ("income_currency_exchange_account_id", "expense_currency_exchange_account_id")
        (exchange,) = await self._client.search_read("res.company", [["id", "=", self._id]], names)
        analytic = await self._analytic()
        journals = await self._journals()
        taxes = await self._taxes(codes)
        locks = await read_locks(self._client, self._id)
        vendors, partners = await self._vendors(accounts)
        rates = await self._rates(code, currencies, locks)
        reference = Reference(
            roles=await self._roles(accounts),
            journals=journal_uses(journals, _JOURNAL_TYPES),
            chart=Chart(
                (one.account for one in accounts.values()), {str(one.id): code for code, one in accounts.items()}
            ),
            tax_codes=frozenset(taxes),
            dimensions=by_group(analytic),
            vendors=Vendors(vendors),
            periods=_periods(locks),
            company_currency=code,
            rates=rates,
        )
        return Directory(
            company_id=self._id,
            currency=currencies[code],
            currencies=currencies,
            accounts=accounts,
            taxes=taxes,
            analytic=analytic,
            partners=partners,
            journals=journals,
            locks=locks,
            codes=codes,
            currency_codes=currency_codes,
            exchange_gain=codes.get(exchange["income_currency_exchange_account_id"], ""),
            exchange_loss=codes.get(exchange["expense_currency_exchange_account_id"], ""),
            plans_share_lines=self._client.version >= 17,
            settles_on_posting=self._client.version >= 17,
            reference=reference,
        )

    async def _all(self, model: str, domain: Sequence[Any], fields: Sequence[str], **context: Any) -> list[Row]:
        """All rows that a domain finds, a page of bounded size after the other."""

        async def read(last: int) -> Sequence[Row]:
            found = [*domain, ["id", ">", last]]
            return await self._client.search_read(model, found, fields, context=context, limit=PAGE)

        return await all_rows(pages_after_key(read, lambda row: row["id"], size=PAGE))

    async def _account_rows(self) -> list[Row]:
        """The accounts, archived ones too. One belongs to several companies from 18 on; until 17 it is called
        deprecated where it is archived later."""
        names = ("company_ids", "active") if self._client.version >= 18 else ("company_id", "deprecated")
        fields = ("code", "name", "account_type", "reconcile", "currency_id", names[1])
        return await self._all("account.account", [[names[0], "in", [self._id]]], fields, active_test=False)

    async def _taxes(self, codes: Mapping[int, str]) -> ByCode[str, Tax]:
        """The taxes on purchases by their names, those for nothing in particular too."""
        domain = [self._own, ["type_tax_use", "in", ["purchase", "none"]]]
        rows = await self._all("account.tax", domain, ("name", "active", "children_tax_ids"), active_test=False)
        parts = await self._all(
            "account.tax.repartition.line",
            [self._own],
            ("tax_id", "document_type", "repartition_type", "factor_percent", "account_id", "tag_ids"),
        )
        by_tax: dict[int, list[Row]] = defaultdict(list)
        for part in parts:
            by_tax[part["tax_id"]].append(part)
        in_groups = {child for row in rows for child in row["children_tax_ids"]}
        made = (
            (
                row["name"],
                _tax(row["id"], [part for id_ in [row["id"], *row["children_tax_ids"]] for part in by_tax[id_]], codes),
            )
            for row in rows
            if row["active"] and row["id"] not in in_groups
        )
        return ByCode("tax", _SYSTEM, made, {row["name"]: "archived" for row in rows if not row["active"]})

    async def _analytic(self) -> ByCode[tuple[str, str], int]:
        """The values of dimensions by the name of their plan and their own reference, or name where they have none.

        There are none for a user who may not see them.
        """
        fields = ("code", "name", "active", "root_plan_id")
        try:
            rows = await self._all("account.analytic.account", [self._own_or_shared], fields, active_test=False)
            plans = {row["id"]: row["name"] for row in await self._all("account.analytic.plan", [], ("name",))}
        except NotAllowed:
            rows, plans = [], {}
        named = [
            ((plans[row["root_plan_id"]], row["code"] or row["name"]), row)
            for row in rows
            if row["root_plan_id"] in plans
        ]
        return ByCode(
            "dimension",
            _SYSTEM,
            ((key, row["id"]) for key, row in named if row["active"]),
            {key: "archived" for key, row in named if not row["active"]},
        )

    async def _journals(self) -> ByCode[str, Journal]:
        rows = await self._all("account.journal", [self._own], ("code", "type", "active"), active_test=False)
        return ByCode(
            "journal",
            _SYSTEM,
            ((row["code"], Journal(row["id"], row["type"])) for row in rows if row["active"]),
            {row["code"]: "archived" for row in rows if not row["active"]},
        )

    async def _vendors(self, accounts: Mapping[str, LedgerAccount]) -> tuple[list[KnownVendor], dict[str, int]]:
        """The partners that Odoo knows as vendors, by their reference, or id where they have none; archived ones are
        blocked. A contact within a company is none, as Odoo books on the company."""
        domain = [self._own_or_shared, ["supplier_rank", ">", 0]]
        fields = ("ref", "name", "vat", "active", "commercial_partner_id", "property_account_payable_id")
        rows = await self._all("res.partner", domain, fields, active_test=False)
        own = [row for row in rows if row["commercial_partner_id"] in (False, row["id"])]
        partners = ByCode("vendor", _SYSTEM, ((row["ref"] or str(row["id"]), row["id"]) for row in own))
        by_id = {one.id: one.account for one in accounts.values()}
        found = []
        for row in own:
            code = row["ref"] or str(row["id"])
            if partners.get(code) != row["id"]:
                continue  # two have this reference: nobody could say which one is meant
            vendor = Vendor(code, readable_name(row["name"], code), by_id.get(row["property_account_payable_id"]))
            found.append(
                KnownVendor(vendor, external_id=str(row["id"]), tax_number=row["vat"] or "", blocked=not row["active"])
            )
        return found, dict(partners)

    async def _roles(self, accounts: Mapping[str, LedgerAccount]) -> dict[Role, Account]:
        """Accounts payable as Odoo gives it to new vendors; the other roles have no place there."""
        name = "property_account_payable_id"
        given = await self._client.call("res.partner", "default_get", changes=False, fields=[name])
        by_id = {one.id: one.account for one in accounts.values()}
        payable = by_id.get(given.get(name) or 0)
        return {Role.PAYABLE: payable} if payable is not None else {}

    async def _rates(self, own: str, currencies: Mapping[str, Currency], locks: Locks) -> Rates:
        """The rates that open days can need: those since the lock date, and of each currency the last before.

        Odoo itself takes 1 where it has none; here there is none then.
        """
        model, fields = "res.currency.rate", ("currency_id", "name", "inverse_company_rate")
        first = locks.until or datetime.now(UTC).date() - timedelta(days=_RATES_DAYS)
        since = first - timedelta(days=_RATES_DAYS)
        domain = [self._own_or_shared, ["name", ">=", since.isoformat()]]
        rows = await self._all(model, domain, fields)
        told = {row["currency_id"] for row in rows if date.fromisoformat(row["name"]) <= first}
        for currency in currencies.values():
            if currency.id not in told and currency.code != own:
                older = [self._own_or_shared, ["currency_id", "=", currency.id], ["name", "<", since.isoformat()]]
                rows += await self._client.search_read(model, older, fields, order="name desc", limit=1)
        codes = {one.id: one.code for one in currencies.values()}
        table = rates_by_date(
            (codes[row["currency_id"]], date.fromisoformat(row["name"]), _rate(row["inverse_company_rate"]))
            for row in rows
            if row["currency_id"] in codes
        )
        return lambda currency, day: Decimal(1) if currency == own else table(currency, day)


def _rate(number: Decimal | int) -> Decimal:
    """What one unit costs in the company's currency, as it was entered: Odoo keeps its inverse, as a float."""
    return Decimal(f"{Decimal(number):.12g}").normalize() + 0


def _accounts(rows: Sequence[Row], currency_codes: Mapping[int, str]) -> ByCode[str, LedgerAccount]:
    """What can be booked on."""
    usable = [row for row in rows if row["code"] and row["account_type"] != "off_balance" and _is_used(row)]
    archived = {row["code"]: "archived" for row in rows if row["code"] and not _is_used(row)}
    return ByCode("account", _SYSTEM, ((row["code"], _account(row, currency_codes)) for row in usable), archived)


def _account(row: Row, currency_codes: Mapping[int, str]) -> LedgerAccount:
    kind = row["account_type"]
    return LedgerAccount(
        id=row["id"],
        account=Account(row["code"], readable_name(row["name"], row["code"]), _KINDS[kind.partition("_")[0]]),
        payable=kind == "liability_payable",
        reconcile=bool(row["reconcile"]),
        currency=currency_codes.get(row["currency_id"]),
    )


def _is_used(row: Row) -> bool:
    return bool(row.get("active", True)) and not row.get("deprecated", False)


def _tax(id_: int, parts: Iterable[Row], codes: Mapping[int, str]) -> Tax:
    of_tax: dict[bool, list[TaxPart]] = {False: [], True: []}
    of_base: dict[bool, list[int]] = {False: [], True: []}
    for row in parts:
        refund = row["document_type"] == "refund"
        if row["repartition_type"] == "base":
            of_base[refund] += row["tag_ids"]
        else:
            account = codes.get(row["account_id"], "")
            of_tax[refund].append(TaxPart(row["id"], row["factor_percent"] < 0, account, tuple(row["tag_ids"])))
    return Tax(
        id_,
        {refund: tuple(several) for refund, several in of_tax.items()},
        {refund: tuple(dict.fromkeys(several)) for refund, several in of_base.items()},
    )


def _periods(locks: Locks) -> Periods:
    if locks.until is None:
        return Periods([Period(date.min, date.max, True)])
    closed = Period(date.min, locks.until, False)
    return Periods([closed, Period(locks.until + timedelta(days=1), date.max, True)])


def _day(value: object) -> date | None:
    """A lock date; Odoo writes the first day of the year 1 where there is none."""
    if not isinstance(value, str) or not value[:4].isdigit():
        return None
    return date.fromisoformat(value)
