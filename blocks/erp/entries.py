"""What is recorded in an accounting system, in the words of accounting.

Amounts are integers in *minor* units (`…_minor`) of Pleo's scale, see `blocks.erp.currencies`. A debit or credit is
never negative; the direction of a line is the column it stands in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path


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


class DocumentKind(StrEnum):
    """The documents of accounts payable. A refund is money that comes back from a vendor."""

    BILL = "bill"
    CREDIT_NOTE = "credit_note"
    PAYMENT = "payment"
    REFUND = "refund"


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
class Vendor:
    """A supplier as the accounting system keeps it; `payable` is its own payable account, where it has one."""

    code: str
    name: str
    payable: Account | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an entry, in the entry's currency.

    `counter` marks the lines of the side that settles the expense (wallet, out-of-pocket, payable …): their sum is the
    entry's amount. `tax` marks a line that is itself tax; on other lines `tax_code` tells how the line is taxed.
    `supplier` is what the supplier charged, for information. `company_minor` is the same line in the currency of the
    accounting system's company, on the same side, where that is another one.
    """

    account: Account
    debit_minor: int = 0
    credit_minor: int = 0
    counter: bool = False
    text: str = ""
    tax_code: str | None = None
    dimensions: tuple[Dimension, ...] = ()
    supplier: Money | None = None
    tax: bool = False
    company_minor: int | None = None

    @property
    def amount_minor(self) -> int:
        """Debit less credit."""
        return self.debit_minor - self.credit_minor


@dataclass(frozen=True, slots=True)
class Details:
    """What else Pleo says of an expense; empty where it says nothing. Cleaned, and cut to the system's lengths.

    `supplier_country` (ISO 3166, two letters) and `supplier_tax_number` are those of the vendor, else of the supplier.
    """

    note: str = ""
    attendees: str = ""
    employee: str = ""
    team: str = ""
    settles: str = ""
    """References of the expenses that a reimbursement pays."""
    invoice_number: str = ""
    invoice_date: date | None = None
    due_date: date | None = None
    payment_date: date | None = None
    service_from: date | None = None
    service_to: date | None = None
    sub_type: str = ""
    supplier_country: str = ""
    supplier_tax_number: str = ""


NO_DETAILS = Details()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A receipt, ready to be attached. `number` counts an expense's files from 1, in Pleo's order, and is 0 for all of
    them in one; `path` is where its bytes are now, `size` their number, `sha256` their hash in hexadecimal."""

    number: int
    name: str
    media_type: str
    size: int
    sha256: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(ABC):
    """What every entry has, in whichever form it is recorded.

    `amount_minor` is the signed header amount as Pleo states it. `posting_date` is the date it is booked on,
    `original_date` the date Pleo gave it. `accounting_entry_id` (a UUID in lower case) identifies it for ever.
    `rounding_minor` is what the lines' costs were changed by in all, so that they add up (0 nearly always).
    With `attachments_required` the entry stands with all its attachments or not at all. `notices` are what people
    should be told of it beside the entry, in words.
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
    state: EntryState = EntryState.DRAFT
    supplier: Money | None = None
    details: Details = NO_DETAILS
    rounding_minor: int = 0
    company_currency: str | None = None
    attachments: tuple[Attachment, ...] = ()
    attachments_required: bool = False
    notices: tuple[str, ...] = ()

    @property
    @abstractmethod
    def all_lines(self) -> tuple[Line, ...]:
        """The lines of all that is recorded for the expense, in order."""

    @property
    def difference_minor(self) -> int:
        """Debits less credits, in minor units: 0 for an entry that balances."""
        return sum(line.amount_minor for line in self.all_lines)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The codes of the accounts that the entry touches, sorted, each once."""
        return account_codes(line.account.code for line in self.all_lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry(Entry):
    """A balanced entry for one expense, ready to be recorded in the journal `journal`."""

    lines: tuple[Line, ...]
    journal: str = ""

    @property
    def all_lines(self) -> tuple[Line, ...]:
        """The lines, in order."""
        return self.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of accounts payable, which balances by itself.

    `owed_minor` is by how much it raises what is owed to the vendor: positive for a bill and for a refund, negative
    for a credit note and for a payment.
    """

    kind: DocumentKind
    journal: str
    owed_minor: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill(Entry):
    """The accounts-payable documents of one expense, recorded as one unit: a bill or credit note, its payment, or both.

    `vendor` is None where the settings book unknown vendors on a fallback account. `payable` is the account that the
    documents raise and settle. Those of one vendor, currency and `invoice_number` belong together; with `stays_open`
    it was paid outside Pleo, and waits for nobody.
    """

    vendor: Vendor | None
    payable: Account
    documents: tuple[Document, ...]
    invoice_number: str = ""
    stays_open: bool = False

    @property
    def all_lines(self) -> tuple[Line, ...]:
        """The lines of the documents, in order."""
        return tuple(line for document in self.documents for line in document.lines)

    @property
    def owed_minor(self) -> int:
        """What the documents together leave owed to the vendor: 0 where they settle each other."""
        return sum(document.owed_minor for document in self.documents)


@dataclass(frozen=True, slots=True)
class NotAttached:
    """A file that the accounting system did not take; `message` is its own answer."""

    number: int
    message: str
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry that stands in the accounting system.

    `found` tells that it stood there already. `amount_minor` and `currency` are what the books hold, so that they
    can be compared with what Pleo says now. `recorded_at` (aware, UTC) is when the accounting system made it.
    `attached` are the numbers of the files that hang on it, `not_attached` those refused in this call.
    `counterparts` are the external ids of the bills or payments that belong to it, `settled` whether nothing is open
    between them.
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
    posting_date: date
    original_date: date
    attached: frozenset[int] = frozenset()
    not_attached: tuple[NotAttached, ...] = ()
    counterparts: tuple[str, ...] = ()
    settled: bool = False


def account_codes(codes: Iterable[str]) -> tuple[str, ...]:
    """The given account codes, sorted, each once."""
    return tuple(sorted(set(codes)))
