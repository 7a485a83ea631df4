"""What is recorded in an accounting system, in the words of accounting.

Amounts are integers in *minor* units (`…_minor`) of Pleo's scale, see `blocks.erp.currencies`. A debit or credit is
never negative; the direction of a line is the column it stands in.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
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
    accounting system's company, on the same side, where that is another one. `tax_rate` is a decimal fraction as text
    (0.25 is 25 %), `tax_base_minor` on a tax line the base that the tax was computed on, positive where it stands on
    the line's own side; both None where nobody says.
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
    tax_rate: str | None = None
    tax_base_minor: int | None = None

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
class Statement:
    """What Pleo says of an expense as far as bookkeeping reads it. It is kept with the entry, so that what Pleo changes
    later can be told from what other settings or a person's hand change.

    Pairs of a name for people and a value, in Pleo's order, each one short line; what Pleo does not say has no pair.
    The `facts` decide how the expense is booked, the `words` only inform. Nothing in it depends on settings.
    """

    facts: tuple[tuple[str, str], ...]
    words: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The statement as JSON, always the same text for the same statement."""
        kept = {"version": _STATEMENT_VERSION, "facts": self.facts, "words": self.words}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the text, in hexadecimal: two statements are the same where these are."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def read(cls, text: str) -> Statement | None:
        """The statement of a text; None for one that is none, or of another version, whose facts are other ones."""
        try:
            kept = json.loads(text)
            if kept["version"] != _STATEMENT_VERSION:
                return None
            facts, words = (tuple((str(name), str(value)) for name, value in kept[of]) for of in ("facts", "words"))
        except (ValueError, KeyError, TypeError):
            return None
        return cls(facts, words)

    def changes_since(
        self, earlier: Statement, shown: Callable[[str, str], str] = lambda _, value: value
    ) -> tuple[str, ...]:
        """Which facts changed, each with its name, from what and to what; `shown` writes a value for people."""
        return _changes(earlier.facts, self.facts, shown)

    def words_changed_since(self, earlier: Statement) -> tuple[str, ...]:
        """Which words changed, as `changes_since`."""
        return _changes(earlier.words, self.words, lambda _, value: value)


def _changes(
    before: tuple[tuple[str, str], ...], now: tuple[tuple[str, str], ...], shown: Callable[[str, str], str]
) -> tuple[str, ...]:
    old, new = dict(before), dict(now)
    return tuple(
        f"{name} from {shown(name, old[name]) if name in old else 'none'} "
        f"to {shown(name, new[name]) if name in new else 'none'}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    )


_STATEMENT_VERSION = 1


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
    `rounding_minor` is what the costs of taxed lines have in all more than Pleo states (0 nearly always).
    With `attachments_required` the entry stands with all its attachments or not at all. `notices` are what people
    should be told of it beside the entry, in words. `statement` is what Pleo says of the expense, which the accounting
    system keeps with the entry and tells again.
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
    statement: Statement | None = None

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

    @property
    def balances(self) -> tuple[tuple[str, int], ...]:
        """What the entry comes to on each account that it touches, by the account's code."""
        return account_balances((line.account.code, line.amount_minor) for line in self.all_lines)


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
    """An entry that stands in the accounting system, in force: not one that was reversed, and not a reversal.

    `found` tells that it stood there already. `amount_minor` and `currency` are what the books hold, so that they
    can be compared with what Pleo says now. `recorded_at` (aware, UTC) is when the accounting system made it.
    `attached` are the numbers of the files that hang on it, `not_attached` those refused in this call.
    `counterparts` are the external ids of the bills or payments that belong to it, `settled` whether nothing is open
    between them, `open_because` what the settings lack for that, where it is known, in words.

    `statement` is what Pleo said when the entry was written, None where that was not kept: then `balances`, what it
    comes to on each account, are compared. `edits` are what a person has changed in it since it was written, in words,
    each one short line.
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
    open_because: str = ""
    statement: Statement | None = None
    edits: tuple[str, ...] = ()
    balances: tuple[tuple[str, int], ...] = ()

    @property
    def may_be_settled(self) -> bool:
        """Whether a run may have been broken off between posting it and settling it: `Erp.post` makes up for that."""
        return self.state is EntryState.POSTED and bool(self.counterparts) and not (self.settled or self.open_because)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Pleo was told of an expense in an export job, and has taken: `successful` with the entry's external id, or
    not, for a `reason` (its type and text)."""

    accounting_entry_id: str
    job_id: str
    successful: bool
    external_id: str = ""
    reason: str = ""


def account_codes(codes: Iterable[str]) -> tuple[str, ...]:
    """The given account codes, sorted, each once."""
    return tuple(sorted(set(codes)))


def account_balances(amounts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The sum of the amounts (debit less credit) of each account, sorted by its code."""
    sums: dict[str, int] = {}
    for code, amount_minor in amounts:
        sums[code] = sums.get(code, 0) + amount_minor
    return tuple(sorted(sums.items()))
