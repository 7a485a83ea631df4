"""How expenses are booked where the accountant has a choice: the settings of every accounting system.

They are defined here once, as a plain model without Prefect, so that a job and its bookkeeping run without it. Each
accounting system's block (`blocks.erp.block`) has these fields beside its own: titles and descriptions are what
Prefect's form shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from blocks.erp.choices import (
    AllFailedEvent,
    Attachments,
    ChangedExpense,
    ClosedPeriod,
    DuplicateInvoice,
    MoneyBackSign,
    ReceiptProxy,
    ReverseChargeCheck,
    Settlement,
    UnknownVendor,
)
from blocks.erp.codes import Count, OptionalCode, StrippedText, choice, is_currency, readable_codes
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, EntryState
from blocks.erp.reference import ROLE_KINDS, JournalUse, Reference, Role

__all__ = [
    "AllFailedEvent", "Attachments", "ClosedPeriod", "DuplicateInvoice", "ErpSettings", "MoneyBackSign",
    "ReceiptProxy", "ReverseChargeCheck", "Settlement", "UnknownVendor",
]  # fmt: skip


class ErpSettings(BaseModel):
    """The choices that an accountant makes once, whatever the accounting system; the defaults are the safe ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    posting: Annotated[EntryState, choice(EntryState)] = Field(
        default=EntryState.DRAFT,
        title="Posting",
        description="draft: entries wait in the accounting system for somebody to post them. posted: they are final at "
        "once, and bills are settled with their payments.",
    )
    time_zone: StrippedText = Field(
        default="UTC",
        title="Time zone",
        description="The company's time zone, such as Europe/Copenhagen, which decides the date of an expense that was "
        "paid around midnight.",
    )
    attachments: Annotated[Attachments, choice(Attachments)] = Field(
        default=Attachments.OPTIONAL,
        title="Receipts",
        description="required: an expense whose receipt is missing or cannot be attached fails and is not booked. "
        "optional: it is booked, and the report says what is missing. skip: receipts are left in Pleo.",
    )
    receipt_proxy: Annotated[ReceiptProxy, choice(ReceiptProxy)] = Field(
        default=ReceiptProxy.PINNED,
        title="Receipts by a proxy",
        description="What a proxy of the environment (HTTPS_PROXY) is asked for. pinned: for an address of the host "
        "that was looked up and checked here. by_name: for the host's name, where this machine cannot look names up or "
        "the proxy takes names alone.",
    )
    closed_period: Annotated[ClosedPeriod, choice(ClosedPeriod)] = Field(
        default=ClosedPeriod.FAIL,
        title="Closed periods",
        description="What becomes of an expense whose date lies in a closed period. fail: it fails and says so. "
        "next_open: it is booked on the first day after it that is open. today: it is booked on the day of the "
        "export. The date that Pleo gave it is kept and shown.",
    )
    changed_expense: Annotated[ChangedExpense, choice(ChangedExpense)] = Field(
        default=ChangedExpense.UPDATE,
        title="Changed expenses",
        description="What becomes of an expense that was booked, changed in Pleo and exported again. update: a draft "
        "that nobody has touched is replaced; a posted entry stays, and the expense fails and says what changed. "
        "reverse: a posted entry is reversed, and booked anew. fail: it fails for drafts too.",
    )
    unknown_vendor: Annotated[UnknownVendor, choice(UnknownVendor)] = Field(
        default=UnknownVendor.FAIL,
        title="Unknown vendors",
        description="What becomes of a bill whose vendor the accounting system does not know, or has blocked. fail: it "
        "fails and says so. fallback: it is booked without the vendor, on the account below.",
    )
    unknown_vendor_account: OptionalCode = Field(
        default="",
        title="Account for unknown vendors",
        description="The payable account that takes the place of an unknown vendor's, such as 2909. "
        "Empty: accounts payable.",
    )
    companies: dict[str, str] = Field(
        default_factory=dict,
        title="Companies",
        description="Which Pleo company belongs to which company of the accounting system, as Pleo's company id and "
        'the other one\'s name: {"5a4db0c5-0000-4000-8000-000000000001": "Acme ApS"}. Jobs of a company that is not '
        "named here fail. Empty: every company is accepted.",
    )
    wallet_accounts: dict[str, str] = Field(
        default_factory=dict,
        title="Wallet accounts",
        description='The account of the Pleo wallet in each currency: {"DKK": "5820", "EUR": "5821"}. Used where Pleo '
        "names no contra account.",
    )
    out_of_pocket_account: OptionalCode = Field(
        default="",
        title="Out-of-pocket account",
        description="The account for what the company owes to employees, or they to it, such as 2920. "
        "Empty here and below: the accounting system's own, if it has one.",
    )
    contra_account: OptionalCode = Field(
        default="",
        title="Contra account",
        description="The account that balances money on its way between the bank and the wallet, such as 5890.",
    )
    payable_account: OptionalCode = Field(
        default="",
        title="Accounts payable",
        description="The account for what is owed to vendors that have none of their own, such as 2900.",
    )
    reimbursement_contra_account: OptionalCode = Field(
        default="",
        title="Reimbursement contra account",
        description="The account that balances reimbursements made outside Pleo, with the salary say, such as 2930.",
    )
    input_tax_account: OptionalCode = Field(
        default="",
        title="Input tax account",
        description="The account for tax that can be deducted, where Pleo names none, such as 7910.",
    )
    output_tax_account: OptionalCode = Field(
        default="",
        title="Output tax account",
        description="The account for tax that is due under reverse charge, where Pleo names none, such as 7930.",
    )
    default_expense_account: OptionalCode = Field(
        default="",
        title="Account without a category",
        description="The account for lines of expenses for which nobody chose a category, such as 6990. "
        "Empty: they fail and say so.",
    )
    card_fee_account: OptionalCode = Field(
        default="",
        title="Card fee account",
        description="The account for what a card purchase costs beyond its lines, a fee for a foreign currency say, "
        "such as 6910. Empty: such a purchase fails and says so.",
    )
    exchange_gain_account: OptionalCode = Field(
        default="",
        title="Exchange gain account",
        description="The account for what is gained when a bill and its payment are booked at two rates, such as 7610. "
        "Empty, here or below: they stay open and the report says so.",
    )
    exchange_loss_account: OptionalCode = Field(
        default="",
        title="Exchange loss account",
        description="The account for what is lost when a bill and its payment are booked at two rates, such as 7620.",
    )
    general_journal: OptionalCode = Field(
        default="",
        title="General journal",
        description="The journal for journal entries, such as GENERAL. "
        "Empty: the accounting system's own, if it has one.",
    )
    card_journal: OptionalCode = Field(
        default="",
        title="Card journal",
        description="The journal for journal entries of what was paid, withdrawn or given back on a card. "
        "Empty, here and in the next two: the general journal.",
    )
    out_of_pocket_journal: OptionalCode = Field(
        default="",
        title="Out-of-pocket journal",
        description="The journal for journal entries of what employees paid themselves, and of its reimbursement.",
    )
    invoice_payment_journal: OptionalCode = Field(
        default="",
        title="Invoice payment journal",
        description="The journal for journal entries of payments of invoices. Where these are booked as documents of "
        "a vendor it is the payment journal below.",
    )
    bill_journal: OptionalCode = Field(
        default="",
        title="Bill journal",
        description="The journal for vendors' bills, such as PURCHASES. "
        "Empty, here and below: the accounting system's own, if it has one.",
    )
    credit_note_journal: OptionalCode = Field(
        default="", title="Credit note journal", description="The journal for vendors' credit notes."
    )
    payment_journal: OptionalCode = Field(
        default="",
        title="Payment journal",
        description="The journal for payments to vendors, and what comes back from them.",
    )
    tax_codes: dict[str, str] = Field(
        default_factory=dict,
        title="Tax codes",
        description='The accounting system\'s tax code for each of Pleo\'s that has another name: {"I25": "VAT25"}. A '
        "tax code that is not named here is the same in both.",
    )
    dimensions: dict[str, str] = Field(
        default_factory=dict,
        title="Dimensions",
        description="The accounting system's dimension for each of Pleo's tag groups that has another name: "
        '{"COSTCENTRE": "CC"}. A tag group that is not named here is the same in both. One with an empty name is left '
        'out: {"MOOD": ""}.',
    )
    employee_dimension: OptionalCode = Field(
        default="",
        title="Employee dimension",
        description="The dimension that takes the employee's code, if there is one.",
    )
    team_dimension: OptionalCode = Field(
        default="", title="Team dimension", description="The dimension that takes the team's code, if there is one."
    )
    settlement: Annotated[Settlement, choice(Settlement)] = Field(
        default=Settlement.INVOICE_NUMBER,
        title="Settlement",
        description="By what a bill and a payment of it that come as two expenses are settled with each other. "
        "invoice_number: by vendor, currency and invoice number, once both are posted. never: they stay open.",
    )
    duplicate_invoice: Annotated[DuplicateInvoice, choice(DuplicateInvoice)] = Field(
        default=DuplicateInvoice.FAIL,
        title="The same invoice again",
        description="What becomes of a second bill of one vendor with the same number, amount and currency. fail: it "
        "fails and names the first. warn: it is booked, and the report names both. With another amount it is booked "
        "and the report names both, whatever is chosen here.",
    )
    reverse_charge_check: Annotated[ReverseChargeCheck, choice(ReverseChargeCheck)] = Field(
        default=ReverseChargeCheck.FAIL,
        title="Check of reverse charge",
        description="What becomes of an expense under reverse charge whose tax is not its rate of what was paid. fail: "
        "it fails and shows the figures. warn: it is booked with the tax that Pleo states, and the report shows them.",
    )
    minor_units: Annotated[MinorUnits, choice(MinorUnits)] = Field(
        default=MinorUnits.HUNDREDTHS,
        title="Minor units",
        description="What Pleo's amounts count. hundredths: hundredths of every currency's unit, as Pleo's pages say. "
        "iso4217: each currency's own smallest units, whole yen say. Do not change it once there are books.",
    )
    money_back_sign: Annotated[MoneyBackSign, choice(MoneyBackSign)] = Field(
        default=MoneyBackSign.EITHER,
        title="Sign of money back",
        description="Which sign Pleo gives to money that comes back (refunds, top-ups). either: it comes back "
        "whichever sign it has, until one type comes with both: then the second sign fails. negative, positive: with "
        "the other sign it goes out.",
    )
    all_failed_event: Annotated[AllFailedEvent, choice(AllFailedEvent)] = Field(
        default=AllFailedEvent.FAILED,
        title="If all items fail",
        description="How Pleo is told to end a job of which every item failed: failed or completed_with_errors.",
    )
    page_size: Count = Field(
        default=100,
        ge=1,
        le=100,
        title="Page size",
        description="How many records are asked of Pleo at once, 1 to 100.",
    )
    update_batch_size: Count = Field(
        default=100,
        ge=1,
        le=100,
        title="Update batch size",
        description="How many items are reported to Pleo at once, 1 to 100.",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, values: Any) -> Any:
        """Forms, other programs and YAML write null for what was emptied: its default counts."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None or name not in cls.model_fields}

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
        found: dict[str, str] = {}
        for pleo, own in value.items():
            try:
                company = str(UUID(pleo))
            except ValueError:
                raise ValueError("each Pleo company is named by its UUID") from None
            if company in found:
                raise ValueError(f"company {company} is named twice")
            found[company] = own
        return found

    @field_validator("wallet_accounts")
    @classmethod
    def _wallets_by_currency(cls, value: dict[str, str]) -> dict[str, str]:
        for currency in value:
            if not is_currency(currency):
                raise ValueError(f"{currency!r} is no currency: use its three capital letters")
        return readable_codes(value, "account")

    @field_validator("tax_codes")
    @classmethod
    def _tax_codes_by_pleos(cls, value: dict[str, str]) -> dict[str, str]:
        return readable_codes(value, "tax code")

    @field_validator("dimensions")
    @classmethod
    def _dimensions_by_tag_group(cls, value: dict[str, str]) -> dict[str, str]:
        return readable_codes(value, "dimension", may_be_empty=True)

    @property
    def zone(self) -> ZoneInfo:
        """The company's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def role_accounts(self) -> Mapping[Role, str]:
        """The codes of the accounts that take the place of the accounting system's own, wallets apart."""
        accounts: dict[Role, str] = {role: getattr(self, f"{role}_account") for role in Role if role is not Role.WALLET}
        return {role: code for role, code in accounts.items() if code}

    @property
    def journals(self) -> Mapping[JournalUse, str]:
        """The codes of the journals that take the place of the accounting system's own."""
        journals = {
            JournalUse.GENERAL: self.general_journal,
            JournalUse.CARD: self.card_journal,
            JournalUse.OUT_OF_POCKET: self.out_of_pocket_journal,
            JournalUse.INVOICE_PAYMENTS: self.invoice_payment_journal,
            JournalUse.BILLS: self.bill_journal,
            JournalUse.CREDIT_NOTES: self.credit_note_journal,
            JournalUse.PAYMENTS: self.payment_journal,
        }
        return {use: code for use, code in journals.items() if code}

    def accepts(self, company_id: str) -> bool:
        """Whether this Pleo company's jobs may be booked."""
        return not self.companies or company_id in self.companies

    def applied_to(self, reference: Reference) -> Reference:
        """The accounting system's reference data with the accounts and journals that were chosen here."""
        roles = {role: _account(code, code, role, reference) for role, code in self.role_accounts.items()}
        wallets = {
            currency: _account(code, f"Wallet {currency}", Role.WALLET, reference)
            for currency, code in self.wallet_accounts.items()
        }
        return replace(
            reference,
            roles={**reference.roles, **roles},
            wallets={**reference.wallets, **wallets},
            journals={**reference.journals, **self.journals},
        )


def _account(code: str, name: str, role: Role, reference: Reference) -> Account:
    known = reference.chart.find(code) if reference.chart is not None else None
    return known or Account(code, name, ROLE_KINDS[role])
