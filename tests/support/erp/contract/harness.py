"""What a running accounting system gives the contract suite: ways in, names to book with, and a look into its books.

To subscribe an ERP, write a `Harness` for it and add its name to `subscribers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from blocks.erp.base import Erp
from blocks.erp.entries import Account, Dimension, EntryState, Vendor
from blocks.erp.reference import JournalUse
from tests.support.network.fault_proxy import Answer, Seen

if TYPE_CHECKING:
    import pytest  # processes that only record have no need of it

H = TypeVar("H", bound="Harness")
Footprint = Mapping[str, int]


class Credentials(StrEnum):
    """What is logged in with: GOOD ones, WRONG ones, or those of a POWERLESS user who may not do accounting."""

    GOOD = "good"
    WRONG = "wrong"
    POWERLESS = "powerless"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How an Erp is to be connected, where a test wants it otherwise than a user would.

    `address` is a base URL to use in place of the server's own, `timeout_s` how long one answer may take,
    `max_attachment_bytes` a limit below the ERP's own. A harness raises NotImplementedError for what does not concern
    its ERP.
    """

    credentials: Credentials = Credentials.GOOD
    address: str | None = None
    timeout_s: float | None = None
    max_attachment_bytes: int | None = None


USUAL = How()


class Lever(StrEnum):
    """What a harness can do to its ERP."""

    CLOSE_PERIOD = "close a period"
    STOP = "stop and start the server"
    KILL = "kill the server"
    REVOKE = "revoke the login"
    EDIT = "edit a draft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What stands in the ERP to book with.

    `wallets` holds a wallet account for `currency`, the company's, and for `second_currency`, one unit of which costs
    `rate` in the company's on every open day. `fallback_payable` takes bills of nobody (an account that needs no
    vendor). `vendor` has a payable account of its own or else takes `payable`. `dimension` is None where the ERP has no
    dimensions; `blocked_vendor` where it blocks nobody; `unknown_journal` where it takes any name of a journal. The
    days `open_day` and `closing_day` lie in two open periods, `closed_day` in a closed one.
    """

    company_id: str
    currency: str
    second_currency: str
    rate: Decimal
    expense: Account
    other_expense: Account
    input_tax: Account
    output_tax: Account
    wallets: Mapping[str, Account]
    payable: Account
    fallback_payable: Account
    tax_code: str
    dimension: Dimension | None
    vendor: Vendor
    blocked_vendor: Vendor | None
    journals: Mapping[JournalUse, str]
    unknown_journal: str | None
    open_day: date
    closing_day: date
    closed_day: date


@dataclass(frozen=True, slots=True)
class BookedLine:
    """A line as the books hold it, amounts in minor units. `company_minor` is what it is worth in the company's
    currency, on the same side, where `currency` is another one."""

    account: str
    currency: str
    debit_minor: int
    credit_minor: int
    company_minor: int | None = None


@dataclass(frozen=True, slots=True)
class BookedEntry:
    """All that the books hold for one expense under one external id, read without the adapter.

    `lines` are those of all its documents, also of documents that are drafts; `texts` all that people can read on it;
    `files` the SHA-256 of the bytes of each attached file, sorted. `settled` tells that its documents are all settled.
    """

    accounting_entry_id: str
    external_id: str
    state: EntryState
    posting_date: date
    lines: tuple[BookedLine, ...]
    texts: tuple[str, ...]
    files: tuple[str, ...] = ()
    settled: bool = False
    vendor: str | None = None
    dimensions: frozenset[Dimension] = frozenset()
    tax_codes: frozenset[str] = frozenset()


class Harness(ABC):
    """One running ERP, prepared with a company, at its own address and with books of its own."""

    names: Names
    levers: frozenset[Lever] = frozenset()
    keeps_kind: bool = False
    """Whether its ERP says that a draft cannot become another kind of record: a bill in place of a journal entry."""
    reverses_bills: bool = True
    """Whether its ERP, where it reverses at all, reverses a bill with its payment; if not it says so, and refuses."""
    late_files_stay: bool = False
    """Whether a file that a run sent before it was killed, and that arrives after another run's, hangs there twice."""
    secrets: Collection[str] = ()
    """What is logged in with, good or wrong, and must never be shown."""
    troubles: Sequence[Answer] = ()
    """Answers of its server's own that say nothing of whether it acted, besides what every server may answer."""

    @classmethod
    @abstractmethod
    def running(cls: type[H], request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[H]:
        """The ERP, running while the context lasts. What it needs beforehand comes from fixtures of the session by
        `request.getfixturevalue`; it may keep files in `folder`. Where it cannot run here it calls `pytest.skip`."""

    @abstractmethod
    def connection(self, how: How = USUAL) -> partial[Erp]:
        """What makes an Erp that is not opened yet: a function of a module with its arguments, so that it can be
        pickled and another process makes the same."""

    @abstractmethod
    def books(self, accounting_entry_ids: Collection[str]) -> list[BookedEntry]:
        """Everything in the books that is known by one of these ids; an id that stands twice comes twice.

        What belongs to no entry that the Erp finds, such as the draft that a killed run left, is an entry of its own.
        """

    @abstractmethod
    def footprint(self) -> Footprint:
        """How many records of each kind the books hold in all, to see that nothing was left behind."""

    @property
    def address(self) -> str:
        """The base URL of the server."""
        raise NotImplementedError

    def may_change(self, seen: Seen) -> bool:
        """Whether a request of the adapter's is one that may change something."""
        raise NotImplementedError

    def close_period(self, day: date) -> None:
        """Close the period that a day lies in, drafts in it notwithstanding."""
        raise NotImplementedError

    def edit(self, accounting_entry_id: str, text: str) -> None:
        """Do what a person does to a draft in the ERP: give its first line another text."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server in good order. The books stay."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill the server at once. The books stay."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server again at the same address."""
        raise NotImplementedError

    def revoke(self) -> None:
        """Take the good credentials away, now and for ever."""
        raise NotImplementedError
