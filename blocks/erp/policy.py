"""The choices that an accountant makes once, whatever the accounting system: plain values, without Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, EntryState
from blocks.erp.reference import ROLE_KINDS, JournalUse, Reference, Role


class MoneyBackSign(StrEnum):
    """Which sign Pleo gives to money that comes back (refunds, top-ups, returned payments)."""

    EITHER = "either"
    NEGATIVE = "negative"
    POSITIVE = "positive"


class AllFailedEvent(StrEnum):
    """How a job ends of which every item failed."""

    FAILED = "failed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"


class ClosedPeriod(StrEnum):
    """What becomes of an expense whose date lies in a closed period."""

    FAIL = "fail"
    NEXT_OPEN = "next_open"
    TODAY = "today"


class Attachments(StrEnum):
    """Which receipts an expense is booked with: all of them or it fails, those that come, or none at all."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    SKIP = "skip"


class UnknownVendor(StrEnum):
    """What becomes of a bill whose vendor the accounting system does not know, or has blocked."""

    FAIL = "fail"
    FALLBACK = "fallback"


class Settlement(StrEnum):
    """By what a bill and its payment are known to belong together, when they come as two expenses."""

    INVOICE_NUMBER = "invoice_number"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Policy:
    """How expenses are booked where the accountant has a choice; the defaults are the safe ones.

    `companies` maps a Pleo company id to the accounting system's company; empty, every company is accepted. `accounts`,
    `wallets` and `journals` are codes that take the place of the accounting system's own role accounts, wallet accounts
    and journals. `dimensions` maps a tag group of Pleo's to a dimension, `tax_codes` a tax code of Pleo's to the
    accounting system's; what is not named keeps its name. `employee_dimension` and `team_dimension` are the dimensions
    that the employee's and the team's code go to, if any. `unknown_vendor_account` stands in for the payable account
    of a vendor that nobody knows.
    """

    posting: EntryState = EntryState.DRAFT
    money_back_sign: MoneyBackSign = MoneyBackSign.EITHER
    all_failed_event: AllFailedEvent = AllFailedEvent.FAILED
    time_zone: tzinfo = field(default_factory=lambda: ZoneInfo("UTC"))
    companies: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[Role, str] = field(default_factory=dict)
    wallets: Mapping[str, str] = field(default_factory=dict)
    journals: Mapping[JournalUse, str] = field(default_factory=dict)
    tax_codes: Mapping[str, str] = field(default_factory=dict)
    dimensions: Mapping[str, str] = field(default_factory=dict)
    employee_dimension: str | None = None
    team_dimension: str | None = None
    minor_units: MinorUnits = MinorUnits.HUNDREDTHS
    closed_period: ClosedPeriod = ClosedPeriod.FAIL
    attachments: Attachments = Attachments.OPTIONAL
    unknown_vendor: UnknownVendor = UnknownVendor.FAIL
    unknown_vendor_account: str | None = None
    settlement: Settlement = Settlement.INVOICE_NUMBER

    def accepts(self, company_id: str) -> bool:
        """Whether this company's jobs may be booked."""
        return not self.companies or company_id in self.companies

    def applied_to(self, reference: Reference) -> Reference:
        """The accounting system's reference data with the accounts and journals that were chosen here."""
        roles = {role: self._account(code, code, role, reference) for role, code in self.accounts.items()}
        wallets = {
            currency: self._account(code, f"Wallet {currency}", Role.WALLET, reference)
            for currency, code in self.wallets.items()
        }
        return replace(
            reference,
            roles={**reference.roles, **roles},
            wallets={**reference.wallets, **wallets},
            journals={**reference.journals, **self.journals},
        )

    @staticmethod
    def _account(code: str, name: str, role: Role, reference: Reference) -> Account:
        known = reference.chart.find(code) if reference.chart is not None else None
        return known or Account(code, name, ROLE_KINDS[role])
