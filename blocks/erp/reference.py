"""What an accounting system holds that entries refer to: accounts, tax codes, dimensions, vendors, periods, rates.

Where a kind is None it is *open*: whatever an entry names is taken.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from blocks.erp.entries import Account, AccountKind, DocumentKind, Entry, Vendor
from blocks.erp.errors import RefusalKind, Refused


class Role(StrEnum):
    """What an account is for, where Pleo's item type decides it and not the expense's category."""

    WALLET = "wallet"
    OUT_OF_POCKET = "out_of_pocket"
    CONTRA = "contra"
    PAYABLE = "payable"
    REIMBURSEMENT_CONTRA = "reimbursement_contra"
    INPUT_TAX = "input_tax"
    OUTPUT_TAX = "output_tax"
    EXCHANGE_GAIN = "exchange_gain"
    EXCHANGE_LOSS = "exchange_loss"


ROLE_KINDS: Mapping[Role, AccountKind] = {
    Role.WALLET: AccountKind.ASSET,
    Role.OUT_OF_POCKET: AccountKind.LIABILITY,
    Role.CONTRA: AccountKind.ASSET,
    Role.PAYABLE: AccountKind.LIABILITY,
    Role.REIMBURSEMENT_CONTRA: AccountKind.LIABILITY,
    Role.INPUT_TAX: AccountKind.ASSET,
    Role.OUTPUT_TAX: AccountKind.LIABILITY,
    Role.EXCHANGE_GAIN: AccountKind.INCOME,
    Role.EXCHANGE_LOSS: AccountKind.EXPENSE,
}


class JournalUse(StrEnum):
    """What a journal of the accounting system is for. The three after `GENERAL` are for kinds of journal entries, which
    stand in the general journal where they have none of their own."""

    GENERAL = "general"
    CARD = "card"
    OUT_OF_POCKET = "out_of_pocket"
    INVOICE_PAYMENTS = "invoice_payments"
    BILLS = "bills"
    CREDIT_NOTES = "credit_notes"
    PAYMENTS = "payments"


JOURNAL_USES: Mapping[DocumentKind, JournalUse] = {
    DocumentKind.BILL: JournalUse.BILLS,
    DocumentKind.CREDIT_NOTE: JournalUse.CREDIT_NOTES,
    DocumentKind.PAYMENT: JournalUse.PAYMENTS,
    DocumentKind.REFUND: JournalUse.PAYMENTS,
}
"""The journal of each document of accounts payable."""


class Chart:
    """The accounts that exist, found by number or by the accounting system's own identifier."""

    def __init__(self, accounts: Iterable[Account], identifiers: Mapping[str, str] | None = None) -> None:
        """`identifiers` maps an identifier to the number of its account."""
        self._by_code = {account.code: account for account in accounts}
        self._codes = dict(identifiers or {})

    def find(self, code: str, identifier: str = "") -> Account | None:
        """The account of that number, else the one of that identifier, else None."""
        return self._by_code.get(code) or self._by_code.get(self._codes.get(identifier, ""))

    def __contains__(self, code: object) -> bool:
        return code in self._by_code


@dataclass(frozen=True, slots=True)
class KnownVendor:
    """A vendor of the accounting system, with all that it can be known by. One that is blocked takes no bills."""

    vendor: Vendor
    external_id: str = ""
    account: str = ""
    """The vendor's account number in the sub-ledger."""
    tax_number: str = ""
    blocked: bool = False


class Vendors:
    """The vendors that exist, found by what Pleo may know of them. An ambiguous number finds nobody."""

    def __init__(self, vendors: Iterable[KnownVendor]) -> None:
        self._by_code: dict[str, KnownVendor] = {}
        self._by_external_id: dict[str, KnownVendor | None] = {}
        self._by_account: dict[str, KnownVendor | None] = {}
        self._by_tax_number: dict[str, KnownVendor | None] = {}
        self._by_bare_tax_number: dict[str, list[tuple[str, KnownVendor]]] = defaultdict(list)
        for known in vendors:
            self._by_code[known.vendor.code] = known
            for index, key in (
                (self._by_external_id, known.external_id),
                (self._by_account, known.account),
                (self._by_tax_number, tax_key(known.tax_number)),
            ):
                if key:
                    index[key] = None if key in index else known
            country, bare = _country_and_rest(tax_key(known.tax_number))
            if bare:
                self._by_bare_tax_number[bare].append((country, known))

    def by_code(self, code: str) -> KnownVendor | None:
        """The vendor of that code."""
        return self._by_code.get(code)

    def by_external_id(self, external_id: str) -> KnownVendor | None:
        """The vendor whose id in the accounting system this is."""
        return self._by_external_id.get(external_id)

    def by_account(self, account: str) -> KnownVendor | None:
        """The vendor of that account number."""
        return self._by_account.get(account)

    def by_tax_number(self, number: str, country: str = "") -> KnownVendor | None:
        """The vendor of that tax registration number, whatever spaces, dots and dashes it is written with.

        Where nobody has it as it is, those count who have it with or without the letters of its country, which is the
        one that the number begins with or else `country` (ISO 3166); where they are several it finds nobody.
        """
        key = tax_key(number)
        if key in self._by_tax_number:
            return self._by_tax_number[key]
        letters, bare = _country_and_rest(key)
        wanted = letters or _VAT_LETTERS.get(country.strip().upper(), country.strip().upper())
        found = [
            known for own, known in self._by_bare_tax_number.get(bare, ()) if not (own and wanted) or own == wanted
        ]
        return found[0] if len(found) == 1 else None


def tax_key(number: str) -> str:
    """A tax number without what people write between its digits."""
    return "".join(character for character in number.upper() if character.isalnum())


_VAT_LETTERS = {"GR": "EL"}
"""The letters that tax numbers of a country begin with, where they are not its own."""


def _country_and_rest(key: str) -> tuple[str, str]:
    """The two letters of a country that a tax number begins with, empty where it has none, and what follows them."""
    letters, rest = key[:2], key[2:]
    if len(letters) == 2 and letters.isascii() and letters.isalpha() and any(map(str.isdecimal, rest)):
        return _VAT_LETTERS.get(letters, letters), rest
    return "", key


@dataclass(frozen=True, slots=True)
class Period:
    """A span of posting dates, both ends within it."""

    first: date
    last: date
    is_open: bool


class Periods:
    """The accounting periods. A date in none of them is as closed as one in a closed period."""

    def __init__(self, periods: Sequence[Period]) -> None:
        self._periods = sorted(periods, key=lambda period: period.first)

    def is_open(self, day: date) -> bool:
        """Whether entries may be posted on that day."""
        return any(period.is_open and period.first <= day <= period.last for period in self._periods) and not any(
            not period.is_open and period.first <= day <= period.last for period in self._periods
        )

    def next_open(self, day: date) -> date | None:
        """The first open day after that one, None where there is none."""
        candidates = {period.first for period in self._periods if period.is_open and period.first > day}
        candidates |= {
            period.last + timedelta(days=1)
            for period in self._periods
            if not period.is_open and period.last >= day and period.last < date.max
        }
        return min((candidate for candidate in candidates if self.is_open(candidate)), default=None)


Rates = Callable[[str, date], Decimal | None]
"""What one unit of a currency costs in the company's on a day, None where no rate is known."""


def rates_by_date(rates: Iterable[tuple[str, date, Decimal]]) -> Rates:
    """The rates of a table of currency, date and rate: each holds from its date until the next one of its currency."""
    days: dict[str, list[date]] = defaultdict(list)
    values: dict[str, list[Decimal]] = defaultdict(list)
    for currency, first, value in sorted(rates, key=lambda row: row[1]):
        days[currency].append(first)
        values[currency].append(value)

    def rate(currency: str, day: date) -> Decimal | None:
        place = bisect_right(days.get(currency, []), day)
        return values[currency][place - 1] if place else None

    return rate


@dataclass(frozen=True, slots=True)
class Reference:
    """The accounting system's reference data that bookkeeping needs.

    `roles` maps a role to its account, `wallets` an ISO 4217 currency to that currency's wallet account; where
    `open_wallet` is given it names the wallet account of any other currency. `dimensions` holds the codes of each
    group. `company_currency` is None where the books are kept in each entry's own currency.
    """

    roles: Mapping[Role, Account] = field(default_factory=dict)
    wallets: Mapping[str, Account] = field(default_factory=dict)
    open_wallet: Callable[[str], Account] | None = None
    journals: Mapping[JournalUse, str] = field(default_factory=dict)
    chart: Chart | None = None
    tax_codes: frozenset[str] | None = None
    dimensions: Mapping[str, frozenset[str]] | None = None
    vendors: Vendors | None = None
    periods: Periods | None = None
    company_currency: str | None = None
    rates: Rates | None = None

    def account(self, role: Role, currency: str) -> Account | None:
        """The account that plays `role` for money in `currency`, or None where none is set up."""
        if role is not Role.WALLET:
            return self.roles.get(role)
        if currency in self.wallets:
            return self.wallets[currency]
        return self.open_wallet(currency) if self.open_wallet is not None else None


def check_names(entry: Entry, reference: Reference) -> Refused | None:
    """The first account, tax code or dimension that an entry names and the accounting system does not know."""
    for line in entry.all_lines:
        if reference.chart is not None and line.account.code not in reference.chart:
            return _refused(entry, RefusalKind.UNKNOWN_ACCOUNT, line.account.code, "there is no such account")
        if reference.tax_codes is not None and line.tax_code and line.tax_code not in reference.tax_codes:
            return _refused(entry, RefusalKind.UNKNOWN_TAX_CODE, line.tax_code, "there is no such tax code")
        for one in line.dimensions if reference.dimensions is not None else ():
            if one.code not in (reference.dimensions or {}).get(one.group, frozenset()):
                return _refused(
                    entry, RefusalKind.UNKNOWN_DIMENSION, one.code, f"dimension {one.group} has no such value"
                )
    return None


def _refused(entry: Entry, kind: RefusalKind, subject: str, message: str) -> Refused:
    return Refused(entry.accounting_entry_id, kind, subject, message)
