"""What is recorded in an accounting system, in the words of accounting.

Amounts are integers in *minor* units (`…_minor`): Pleo's scale, hundredths of the currency's unit.
A debit or credit is never negative; the direction of a line is the column it stands in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class AccountKind(StrEnum):
    """The five kinds of account of double-entry bookkeeping."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"


class EntryState(StrEnum):
    """Whether an entry may still be changed in the accounting system."""

    DRAFT = "draft"
    POSTED = "posted"


@dataclass(frozen=True, slots=True)
class Account:
    """A general-ledger account as an entry names it: its number, and a name for people."""

    code: str
    name: str
    kind: AccountKind


@dataclass(frozen=True, slots=True)
class Dimension:
    """One value of one analytic dimension, such as project P-17."""

    group: str
    code: str


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units, signed, with its ISO 4217 currency."""

    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal entry, in the entry's currency.

    `counter` marks the lines of the side that settles the expense (wallet, out-of-pocket, payable …):
    their sum is the entry's amount. `supplier` is what the supplier charged, for information.
    """

    account: Account
    debit_minor: int = 0
    credit_minor: int = 0
    counter: bool = False
    text: str = ""
    tax_code: str | None = None
    dimensions: tuple[Dimension, ...] = ()
    supplier: Money | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A balanced entry for one expense, ready to be recorded.

    `amount_minor` is the signed header amount as Pleo states it. `posting_date` is the date it is booked on,
    `original_date` the date Pleo gave it. `accounting_entry_id` (a UUID in lower case) identifies it for ever.
    """

    accounting_entry_id: str
    job_id: str
    company_id: str
    item_type: str
    posting_date: date
    original_date: date
    currency: str
    amount_minor: int
    description: str
    reference: str
    lines: tuple[Line, ...]
    state: EntryState = EntryState.DRAFT
    supplier: Money | None = None

    @property
    def difference_minor(self) -> int:
        """Debits less credits, in minor units: 0 for an entry that balances."""
        return sum(line.debit_minor - line.credit_minor for line in self.lines)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The codes of the accounts that the entry touches, sorted, each once."""
        return account_codes(line.account.code for line in self.lines)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry that stands in the accounting system.

    `found` tells that it stood there already. `amount_minor` and `currency` are what the books hold, so that they
    can be compared with what Pleo says now. `recorded_at` (aware, UTC) is when the accounting system made it.
    """

    accounting_entry_id: str
    external_id: str
    url: str
    recorded_at: datetime
    currency: str
    amount_minor: int
    accounts: tuple[str, ...]
    state: EntryState
    found: bool


def account_codes(codes: Iterable[str]) -> tuple[str, ...]:
    """The given account codes, sorted, each once."""
    return tuple(sorted(set(codes)))
