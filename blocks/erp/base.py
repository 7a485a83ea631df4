"""What an accounting system must do, so that the export can run on it.

Every ERP implements `Erp`. The calls are made by one runner at a time: `open` first, then any of the others, `close`
at the end. All of them may raise the errors drawn in `blocks.erp.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from blocks.erp.entries import Account, AccountKind, JournalEntry, Recorded
from blocks.erp.errors import Refused


class Role(StrEnum):
    """What an account is for, where Pleo's item type decides it and not the expense's category."""

    WALLET = "wallet"
    OUT_OF_POCKET = "out_of_pocket"
    CONTRA = "contra"
    PAYABLE = "payable"
    REIMBURSEMENT_CONTRA = "reimbursement_contra"
    INPUT_TAX = "input_tax"
    OUTPUT_TAX = "output_tax"


ROLE_KINDS: Mapping[Role, AccountKind] = {
    Role.WALLET: AccountKind.ASSET,
    Role.OUT_OF_POCKET: AccountKind.LIABILITY,
    Role.CONTRA: AccountKind.ASSET,
    Role.PAYABLE: AccountKind.LIABILITY,
    Role.REIMBURSEMENT_CONTRA: AccountKind.LIABILITY,
    Role.INPUT_TAX: AccountKind.ASSET,
    Role.OUTPUT_TAX: AccountKind.LIABILITY,
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The limits of an accounting system.

    `max_entries` is how many entries one `record` call takes, `max_description` and `max_reference` are lengths in
    characters, `max_amount_minor` the largest magnitude of an amount. `open_accounts` tells that accounts need not
    exist beforehand, `bills` that it keeps supplier bills, `one_company` that it holds one Pleo company only.
    """

    name: str
    max_entries: int
    max_description: int
    max_reference: int
    max_amount_minor: int
    open_accounts: bool
    bills: bool = False
    one_company: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """The accounting system's reference data that bookkeeping needs.

    `roles` maps a role to its account, `wallets` an ISO 4217 currency to that currency's wallet account; where
    `open_wallet` is given it names the wallet account of any other currency.
    """

    roles: Mapping[Role, Account] = field(default_factory=dict)
    wallets: Mapping[str, Account] = field(default_factory=dict)
    open_wallet: Callable[[str], Account] | None = None

    def account(self, role: Role, currency: str) -> Account | None:
        """The account that plays `role` for money in `currency`, or None where none is set up."""
        if role is not Role.WALLET:
            return self.roles.get(role)
        if currency in self.wallets:
            return self.wallets[currency]
        return self.open_wallet(currency) if self.open_wallet is not None else None


Outcome = Recorded | Refused


class Erp(Protocol):
    """An accounting system that entries can be recorded in."""

    def describe(self) -> Capabilities:
        """The limits of this accounting system."""
        ...

    def company(self) -> str | None:
        """The Pleo company that these books belong to already, or None. Raises ErpConfigurationError."""
        ...

    async def open(self, company_id: str, *, dry_run: bool) -> None:
        """Make ready for one Pleo company, touching nothing in a dry run.

        Raises ErpConfigurationError when it cannot be used for that company, ErpBusy when another run holds it.
        """
        ...

    async def validate(self) -> None:
        """Check that entries can be recorded now; raises ErpConfigurationError or ErpUnavailable."""
        ...

    async def load_reference(self) -> Reference:
        """Role accounts, and the wallet account of each currency."""
        ...

    def check(self, entry: JournalEntry) -> Refused | None:
        """Why this entry would be refused, or None. Asks nobody and writes nothing."""
        ...

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand already, by accounting entry id, each with `found` set."""
        ...

    async def record(self, entries: Sequence[JournalEntry]) -> list[Outcome]:
        """Record entries, one outcome each in their order; a refused one never spoils its neighbours.

        An id that stands already is returned as found and not written again. Raises ErpUnavailable when nothing was
        written, ErpOutcomeUnknown when that cannot be told.
        """
        ...

    async def post(self, accounting_entry_ids: Sequence[str]) -> None:
        """Post those of these entries that are drafts; one that is posted stays as it is. Raises as `record`."""
        ...

    def link(self, external_id: str) -> str:
        """The address at which a person can look at that entry."""
        ...

    async def finish_job(self) -> None:
        """Bring everything that is derived from the books up to date, after a job."""
        ...

    async def close(self) -> None:
        """Let go of all that `open` took."""
        ...
