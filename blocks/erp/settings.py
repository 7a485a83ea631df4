"""What every accounting system's block has: the settings that do not depend on which one it is."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, field_validator

from blocks.erp.base import Erp
from blocks.erp.entries import EntryState
from blocks.erp.policy import AllFailedEvent, MoneyBackSign, Policy
from blocks.erp.reference import Role


class ErpSettings(Block):
    """What the export needs to know of every accounting system; each system's own block adds to it.

    Example:
        Load the stored settings of an accounting system:
        ```python
        from blocks.erp.settings import ErpSettings

        settings = ErpSettings.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "ERP Settings"
    _documentation_url = HttpUrl("https://developers.pleo.io/")
    _description: ClassVar[str] = "What the export needs to know of every accounting system."
    _block_schema_capabilities: ClassVar[list[str]] = ["record-entries"]

    companies: dict[str, str] = Field(
        default_factory=dict,
        description="Which Pleo company (UUID) belongs to which company of the accounting system. "
        "Empty: every company is accepted.",
    )
    posting: EntryState = Field(
        default=EntryState.DRAFT,
        title="Posting",
        description="Whether entries are drafts or posted at once. Anything that cannot be read counts as draft.",
    )
    time_zone: str = Field(
        default="UTC",
        description="The company's time zone, such as Europe/Copenhagen, for the date that an expense is booked on.",
    )
    money_back_sign: MoneyBackSign = Field(
        default=MoneyBackSign.EITHER,
        title="Sign of money back",
        description="The sign of money that comes back, if it is known: with negative or positive, "
        "the other sign turns the entry round.",
    )
    all_failed_event: AllFailedEvent = Field(
        default=AllFailedEvent.FAILED,
        title="If all items fail",
        description="How a job ends of which every item failed.",
    )
    wallet_accounts: dict[str, str] = Field(
        default_factory=dict,
        description="The wallet's account in each currency (DKK: 1940), where Pleo names no contra account.",
    )
    out_of_pocket_account: str | None = Field(
        default=None, description="Account for what is owed to employees, or by them."
    )
    contra_account: str | None = Field(default=None, description="Balancing account of wallet top-ups and withdrawals.")
    payable_account: str | None = Field(default=None, description="Accounts payable.")
    reimbursement_contra_account: str | None = Field(
        default=None, description="Balancing account of reimbursements that are made outside Pleo."
    )
    input_tax_account: str | None = Field(default=None, description="Account for tax to deduct, where Pleo names none.")
    output_tax_account: str | None = Field(default=None, description="Account for tax to pay, where Pleo names none.")
    page_size: int = Field(
        default=100, ge=1, le=100, description="How many records are asked of Pleo at once, 1 to 100."
    )
    update_batch_size: int = Field(
        default=100, ge=1, le=100, description="How many items are reported to Pleo at once, 1 to 100."
    )

    @field_validator("posting", mode="before")
    @classmethod
    def _draft_if_unreadable(cls, value: object) -> EntryState:
        return EntryState.POSTED if value in (EntryState.POSTED, "posted") else EntryState.DRAFT

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError("no time zone of the IANA database: it should look like Europe/Copenhagen") from None
        return value

    @field_validator("companies")
    @classmethod
    def _companies_by_uuid(cls, value: dict[str, str]) -> dict[str, str]:
        try:
            return {str(UUID(pleo)): own for pleo, own in value.items()}
        except ValueError:
            raise ValueError("each Pleo company is named by its UUID") from None

    @field_validator("wallet_accounts")
    @classmethod
    def _wallets_by_currency(cls, value: dict[str, str]) -> dict[str, str]:
        for currency in value:
            if len(currency) != 3 or not (currency.isascii() and currency.isupper()):
                raise ValueError(f"{currency!r} is no currency: use its three capital letters")
        return value

    def policy(self) -> Policy:
        """The choices in these settings as plain values."""
        accounts = {
            Role.OUT_OF_POCKET: self.out_of_pocket_account,
            Role.CONTRA: self.contra_account,
            Role.PAYABLE: self.payable_account,
            Role.REIMBURSEMENT_CONTRA: self.reimbursement_contra_account,
            Role.INPUT_TAX: self.input_tax_account,
            Role.OUTPUT_TAX: self.output_tax_account,
        }
        return Policy(
            posting=self.posting,
            money_back_sign=self.money_back_sign,
            all_failed_event=self.all_failed_event,
            time_zone=ZoneInfo(self.time_zone),
            companies=self.companies,
            accounts={role: code for role, code in accounts.items() if code},
            wallets=self.wallet_accounts,
        )

    @abstractmethod
    def connect(self, folder: Path) -> Erp:
        """The accounting system of these settings, not opened yet. Relative paths are read from `folder`."""
