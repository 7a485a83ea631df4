"""What an accountant chooses for the files that a ledger hands over, and what each format can take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from blocks.erp.codes import OptionalText
from blocks.erp.settings import ErpSettings
from blocks.text import one_line

_SIE_DIMENSIONS = "1 is the cost centre, 6 the project, 7 the employee, from 20 on they are free"


class HandoverFormat(StrEnum):
    """The formats that batches are written in."""

    DATEV = "datev"
    SIE4 = "sie4"
    CSV = "csv"


def _month_and_day(value: object) -> object:
    if isinstance(value, str):
        try:
            date.fromisoformat(f"2023-{value.strip()}")
        except ValueError:
            raise ValueError('it should be a month and a day, such as "01-01"') from None
        return value.strip()
    return value


MonthAndDay = Annotated[str, BeforeValidator(_month_and_day)]


class DatevSettings(BaseModel):
    """A DATEV batch (EXTF). The tax adviser knows adviser, client, fiscal year and account length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adviser: int | None = Field(default=None, ge=1001, le=9_999_999, title="Adviser's number (Berater)")
    client: int | None = Field(default=None, ge=1, le=99_999, title="Client's number (Mandant)")
    fiscal_year_start: MonthAndDay = Field(
        default="01-01", title="First day of the fiscal year", description="Month and day, such as 01-01."
    )
    account_length: int = Field(
        default=4,
        ge=4,
        le=8,
        title="Digits of an account (Sachkontenlänge)",
        description="Accounts of vendors may have one digit more.",
    )
    label: OptionalText = Field(
        default="Pleo", max_length=18, title="Label", description="Stands before the batch's number in DATEV."
    )
    initials: OptionalText = Field(default="", max_length=2, title="Initials (Diktatkürzel)")
    chart: Literal["", "03", "04"] = Field(default="", title="Standard chart (SKR)", description="03, 04, or empty.")
    cost_centre: OptionalText = Field(default="", title="Dimension for KOST1", description="Such as COSTCENTRE.")
    cost_object: OptionalText = Field(default="", title="Dimension for KOST2", description="Such as PROJECT.")
    locked: bool = Field(
        default=False,
        title="Lock on import (Festschreibung)",
        description="Locked rows can only be reversed in DATEV, never deleted, even if a batch is imported twice.",
    )


class Sie4Settings(BaseModel):
    """A SIE 4I file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    company_name: OptionalText = Field(default="", max_length=100, title="Company name")
    organisation_number: OptionalText = Field(
        default="", pattern=r"^(\d{6}-?\d{4})?$", title="Organisation number", description="Such as 556000-0001."
    )
    fiscal_year_start: MonthAndDay = Field(default="01-01", title="First day of the fiscal year")
    voucher_series: OptionalText = Field(
        default="P",
        pattern=r"^[A-Za-z]{0,2}$",
        title="Voucher series",
        description="One of its own, so that an import can be undone without touching other vouchers.",
    )
    dimensions: dict[str, int] = Field(
        default_factory=dict,
        title="Dimensions",
        description=f"SIE's number of each dimension: {_SIE_DIMENSIONS}; 0 leaves one out.",
    )

    @field_validator("dimensions")
    @classmethod
    def _numbers_of_sie(cls, value: dict[str, int]) -> dict[str, int]:
        taken = [number for number in value.values() if number]
        for name, number in value.items():
            if number not in (0, 1, 6, 7) and number < 20:
                raise ValueError(f"{one_line(name, 60)} cannot have {number}: {_SIE_DIMENSIONS}")
            if taken.count(number) > 1:
                raise ValueError(f"two dimensions have the number {number}")
        return value


class CsvSettings(BaseModel):
    """A CSV file with one row a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Literal[",", ";", "\t"] = Field(default=";", title="Between the values")
    decimal: Literal[".", ","] = Field(default=".", title="Decimal sign")
    encoding: Literal["utf-8-sig", "utf-8", "cp1252", "latin-1"] = Field(default="utf-8-sig", title="Encoding")
    columns: dict[str, str] = Field(
        default_factory=dict,
        title="Columns",
        description='What each column holds, by its name and in its order: {"Konto": "account"}. Empty: all of them.',
    )

    @model_validator(mode="after")
    def _a_number_stays_in_its_column(self) -> CsvSettings:
        if self.decimal == self.delimiter:
            raise ValueError("the decimal sign cannot be what stands between the values")
        return self


class HandoverSettings(BaseModel):
    """Which batches are made, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    handover: tuple[HandoverFormat, ...] | Literal["manual"] = ()
    handover_from: date | None = None
    datev: DatevSettings = DatevSettings()
    sie4: Sie4Settings = Sie4Settings()
    csv: CsvSettings = CsvSettings()

    @field_validator("handover", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        if isinstance(value, str) and value != "manual":
            return [one.strip() for one in value.split(",") if one.strip()]
        return value

    @model_validator(mode="after")
    def _ready(self) -> HandoverSettings:
        for one in self.formats:
            for problem in self.lacking(one):
                raise ValueError(problem)
        return self

    @property
    def formats(self) -> tuple[HandoverFormat, ...]:
        """The formats of which batches are made after each job, each once."""
        return () if self.handover == "manual" else tuple(dict.fromkeys(self.handover))

    def lacking(self, wanted: HandoverFormat) -> list[str]:
        """What has to be set before a batch of that format can be made, a line each."""
        if wanted is HandoverFormat.DATEV:
            numbers = {"adviser": self.datev.adviser, "client": self.datev.client}
            return [
                f"datev.{name} is not set: DATEV wants the {name}'s number, which the tax adviser knows"
                for name, number in numbers.items()
                if number is None
            ]
        return []

    def takes_account(self, wanted: HandoverFormat, code: str) -> bool:
        """Whether that format can write this account."""
        match wanted:
            case HandoverFormat.DATEV:
                return _is_number(code, 1, self.datev.account_length + 1)
            case HandoverFormat.SIE4:
                return _is_number(code, 3, 8)
            case _:
                return bool(code)


def _joined(value: object) -> object:
    """A list of formats as the text that a form shows."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _as_text(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


class HandoverFields(BaseModel):
    """The same as fields that Prefect's form can show: texts, and the settings of each format as a table of its own."""

    handover: Annotated[OptionalText, BeforeValidator(_joined)] = Field(
        default="",
        title="Files for accountants",
        description="Which batches are written after each job: any of datev, sie4, csv. manual: by hand alone. "
        "Empty: none.",
    )
    handover_folder: OptionalText = Field(
        default="",
        title="Folder of the batches",
        description="Where the files are put. Empty: a folder beside the ledger, named after it.",
    )
    handover_from: Annotated[OptionalText, BeforeValidator(_as_text)] = Field(
        default="",
        title="Hand over from",
        description="Entries before this day are never handed over, such as 2026-07-01, for those who begin in "
        "mid-year. Empty: all are.",
    )
    datev: dict[str, Any] = Field(
        default_factory=dict,
        title="DATEV",
        description='Settings of the DATEV files: {"adviser": 1001, "client": 1, "account_length": 4}.',
    )
    sie4: dict[str, Any] = Field(
        default_factory=dict,
        title="SIE 4",
        description='Settings of the SIE files: {"organisation_number": "556000-0001", "dimensions": {"PROJECT": 6}}.',
    )
    csv: dict[str, Any] = Field(
        default_factory=dict,
        title="CSV",
        description='Settings of the CSV files: {"delimiter": ";", "columns": {"Konto": "account"}}.',
    )

    @model_validator(mode="after")
    def _is_whole(self) -> HandoverFields:
        self.handed_over()
        return self

    def handed_over(self) -> HandoverSettings:
        """The settings that these fields stand for. Raises ValueError, one line that names the setting."""
        values: dict[str, object] = {"handover": self.handover or [], "handover_from": self.handover_from or None}
        try:
            return HandoverSettings.model_validate({**values, "datev": self.datev, "sie4": self.sie4, "csv": self.csv})
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in problem["loc"] if isinstance(step, str) and step in _NAMES)
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {message}" if where else message)


def unfit_accounts(settings: HandoverSettings, formats: Iterable[HandoverFormat], codes: Sequence[str]) -> str | None:
    """One line about the first of these accounts that one of the formats cannot take, or None."""
    for wanted in formats:
        for code in codes:
            if not settings.takes_account(wanted, code):
                return f"account {one_line(code, 60)} cannot be written in {wanted}: {_RULES[wanted].format(settings)}"
    return None


def own_accounts(settings: ErpSettings) -> tuple[str, ...]:
    """The accounts that the settings name."""
    return (*settings.role_accounts.values(), *settings.wallet_accounts.values())


NAMES_IN_TABLES = {
    "datev": frozenset(DatevSettings.model_fields),
    "sie4": frozenset(Sie4Settings.model_fields),
    "csv": frozenset(CsvSettings.model_fields),
}
"""What the fields that are tables may name."""

_NAMES = {name for model in (HandoverSettings, DatevSettings, Sie4Settings, CsvSettings) for name in model.model_fields}
_RULES = {
    HandoverFormat.DATEV: "it takes digits only, {0.datev.account_length} of them, one more for vendors",
    HandoverFormat.SIE4: "it takes digits only, 3 to 8 of them",
    HandoverFormat.CSV: "it is empty",
}


def _is_number(code: str, least: int, most: int) -> bool:
    return code.isascii() and code.isdigit() and least <= len(code) <= most
