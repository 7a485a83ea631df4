"""The choices that an accountant makes once, whatever the accounting system: plain values, without Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from blocks.erp.base import ROLE_KINDS, Reference, Role
from blocks.erp.entries import Account, EntryState


class MoneyBackSign(StrEnum):
    """Which sign Pleo gives to money that comes back (refunds, top-ups, returned payments)."""

    EITHER = "either"
    NEGATIVE = "negative"
    POSITIVE = "positive"


class AllFailedEvent(StrEnum):
    """How a job ends of which every item failed."""

    FAILED = "failed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"


@dataclass(frozen=True, slots=True)
class Policy:
    """How expenses are booked where the accountant has a choice; the defaults are the safe ones.

    `companies` maps a Pleo company id to the accounting system's company; empty, every company is accepted. `accounts`
    and `wallets` are account codes that take the place of the accounting system's own role and wallet accounts.
    """

    posting: EntryState = EntryState.DRAFT
    money_back_sign: MoneyBackSign = MoneyBackSign.EITHER
    all_failed_event: AllFailedEvent = AllFailedEvent.FAILED
    time_zone: tzinfo = field(default_factory=lambda: ZoneInfo("UTC"))
    companies: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[Role, str] = field(default_factory=dict)
    wallets: Mapping[str, str] = field(default_factory=dict)

    def accepts(self, company_id: str) -> bool:
        """Whether this company's jobs may be booked."""
        return not self.companies or company_id in self.companies

    def applied_to(self, reference: Reference) -> Reference:
        """The accounting system's reference data with the accounts that were chosen here in their places."""
        roles = {role: Account(code, code, ROLE_KINDS[role]) for role, code in self.accounts.items()}
        wallets = {
            currency: Account(code, f"Wallet {currency}", ROLE_KINDS[Role.WALLET])
            for currency, code in self.wallets.items()
        }
        return replace(reference, roles={**reference.roles, **roles}, wallets={**reference.wallets, **wallets})
