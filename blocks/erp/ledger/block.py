"""The embedded ledger's settings, as a Prefect block."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, HttpUrl, ValidationInfo, field_validator, model_validator

from blocks.erp.base import Erp
from blocks.erp.block import ErpBlock
from blocks.erp.codes import Count, OptionalText, StrippedText, is_currency
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.ledger.handover.settings import HandoverFields, HandoverFormat, own_accounts, unfit_accounts
from blocks.text import one_line

FILE_FIELDS = (
    "accounts_file", "tax_codes_file", "dimensions_file", "vendors_file", "periods_file", "rates_file",
)  # fmt: skip
"""The settings that name files, which stand beside the settings file where there is one."""

ROLE_ACCOUNTS = (
    "out_of_pocket_account", "contra_account", "payable_account", "reimbursement_contra_account", "input_tax_account",
    "output_tax_account",
)  # fmt: skip
"""The settings of role accounts, in whose place the ledger has accounts of its own where it has no chart."""


class LedgerFiles(BaseModel):
    """The files of a ledger, and the currency of its rates. As a base beside `ErpBlock` it puts
    them first in the form."""

    path: StrippedText = Field(
        default="books.sqlite",
        title="Ledger file",
        description="The SQLite file that holds the books of one Pleo company. It is made at the first run. With "
        "{company} in its name there is a file for each company, by its id.",
    )
    accounts_file: OptionalText = Field(
        default="",
        title="Accounts (CSV file)",
        description="The chart of accounts, with the columns code, name, type and perhaps identifier. "
        "Empty: every account that Pleo names is taken.",
    )
    tax_codes_file: OptionalText = Field(
        default="",
        title="Tax codes (CSV file)",
        description="The tax codes, with the columns code and perhaps name. Empty: every tax code is taken.",
    )
    dimensions_file: OptionalText = Field(
        default="",
        title="Dimensions (CSV file)",
        description="The values of the dimensions, with the columns group, code and perhaps name. "
        "Empty: every tag is taken.",
    )
    vendors_file: OptionalText = Field(
        default="",
        title="Vendors (CSV file)",
        description="The vendors, with the columns code, name and perhaps external_id, account, tax_number, "
        "payable_account, blocked. Empty: every vendor is taken.",
    )
    periods_file: OptionalText = Field(
        default="",
        title="Periods (CSV file)",
        description="The accounting periods, with the columns first_date, last_date, state (open or closed). A date in "
        "no period counts as closed. Empty: every date is open.",
    )
    rates_file: OptionalText = Field(
        default="",
        title="Exchange rates (CSV file)",
        description="What one unit of a currency costs in the company's, with the columns currency, first_date, rate. "
        "Only of use with a company currency.",
    )
    company_currency: OptionalText = Field(
        default="",
        validate_default=True,
        title="Company currency",
        description="The currency that the company's books are kept in, such as DKK: what is paid from a wallet in "
        "another one is shown in both, at the rate of the day. Empty: each expense in its wallet's currency alone.",
    )

    @field_validator("path", *FILE_FIELDS)
    @classmethod
    def _name_of_a_file(cls, value: str) -> str:
        try:
            Path(value).expanduser()
        except RuntimeError:
            raise ValueError(f"{one_line(value, 60)}: there is no such user's home folder") from None
        if "\0" in value:
            raise ValueError("this cannot be the name of a file")
        return value

    @field_validator("company_currency")
    @classmethod
    def _known_currency(cls, value: str, info: ValidationInfo) -> str:
        if value and not is_currency(value):
            raise ValueError(f"{value!r} is no currency: use its three capital letters")
        if not value and info.data.get("rates_file"):
            raise ValueError("with rates_file it must be said which currency the rates are in, such as DKK")
        return value


class LedgerSettings(ErpBlock, HandoverFields, LedgerFiles):
    """Where the embedded ledger keeps its books, and how expenses are booked in them.

    Example:
        Load the stored settings of a ledger:
        ```python
        from blocks.erp.ledger.block import LedgerSettings

        settings = LedgerSettings.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str] = "Pleo Export Ledger"
    _block_type_slug: ClassVar[str] = "ledger"
    _documentation_url = HttpUrl("https://beancount.github.io/docs/")
    _description: ClassVar[str] = "Books in one SQLite file on the machine that runs the export."
    _block_schema_capabilities: ClassVar[list[str]] = ["record-entries"]

    max_receipt_kilobytes: Count = Field(
        default=30_000,
        ge=1,
        le=30_000,
        title="Largest receipt (kB)",
        description="How large a receipt may be to be attached, in thousands of bytes, 1 to 30000.",
    )
    fava_url: StrippedText = Field(
        default="http://127.0.0.1:5000",
        title="Fava address",
        description="Where Fava shows the books; Pleo's links to entries lead there.",
    )
    kind: Literal["ledger"] = Field(
        default="ledger", title="Kind", description="Tells this block from those of other systems; it stays as it is."
    )

    @field_validator("fava_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("it should be a web address such as http://127.0.0.1:5000")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _accounts_can_be_handed_over(self) -> LedgerSettings:
        chosen = self.handed_over()
        if chosen.formats:
            if problem := unfit_accounts(chosen, chosen.formats, own_accounts(self)):
                raise ValueError(problem)
            if not self.accounts_file and any(one is not HandoverFormat.CSV for one in chosen.formats):
                missing = [name for name in ROLE_ACCOUNTS if not getattr(self, name)]
                if missing:
                    raise ValueError(f"{missing[0]} is not set, and the ledger's own account for it has letters in it")
        return self

    def connect(self, folder: Path) -> Erp:
        """The ledger at `path`, not opened yet. Relative paths are read from `folder`."""
        charts = ChartFiles(
            **{
                name.removesuffix("_file"): folder / Path(file).expanduser()
                for name in FILE_FIELDS
                if (file := getattr(self, name))
            }
        )
        return Ledger(
            folder / Path(self.path).expanduser(),
            fava_url=self.fava_url,
            minor_units=self.minor_units,
            charts=charts,
            company_currency=self.company_currency or None,
            max_attachment_bytes=self.max_receipt_kilobytes * 1000,
            handover=self.handed_over(),
            handover_folder=folder / Path(self.handover_folder).expanduser() if self.handover_folder else None,
            exchange_accounts=(self.exchange_gain_account, self.exchange_loss_account),
        )
