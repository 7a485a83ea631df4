"""Export items as Pleo sends them: the data layer (contract: Pleo Export API v3).

Unknown fields are ignored and Pleo's enums stay open strings. Amounts are exact `Decimal`s of Pleo's minor units.
Fields that bookkeeping can name better than a schema can are optional here, even where the contract requires them;
what is only shown counts as absent when it is odd. What decides how an expense is booked never does: its item fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from blocks.pleo.fields import (
    Amount,
    Bounded,
    Lenient,
    LenientCount,
    LenientName,
    LenientText,
    LenientTime,
    PleoModel,
    Text,
    TextOrEmpty,
    Timestamp,
    Uuid,
    canonical_uuid,
)
from blocks.text import one_line

_WEB_URL = re.compile(r"https://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9/._~%?=&#+,;:@!$*()-]{0,400})?")


class Money(PleoModel):
    """An amount in hundredths of the currency's unit, exact: 896.96 SEK is 89696."""

    currency: Text
    value: Amount


class ItemAmount(PleoModel):
    """One amount as the supplier charged it and as the wallet paid it."""

    in_wallet_currency: Money | None = None
    in_supplier_currency: Annotated[Money | None, Lenient] = None


class ItemAccount(PleoModel):
    """An account as Pleo knows it: `code` is the general-ledger number, `identifier` the ERP's own id."""

    id: Text | None = None
    name: LenientName = ""
    code: Text | None = None
    identifier: Text | None = None


class ItemTax(PleoModel):
    """The tax of one line; `rate` is a fraction (0.2 is 20 %), `type` inclusive, exclusive or reverse."""

    code: Text | None = None
    rate: Annotated[Amount | None, Lenient] = None
    type: TextOrEmpty = ""
    amount: ItemAmount | None = None
    ingoing_tax_account: Text | None = None
    outgoing_tax_account: Text | None = None


class ItemTag(PleoModel):
    """A value (`code`) of a dimension (`group_code`); without a code nobody chose one."""

    group_code: TextOrEmpty = ""
    code: TextOrEmpty = ""
    id: Text | None = None


class ItemLine(PleoModel):
    """One line of an export item. Which of the two amounts is the gross, bookkeeping finds out."""

    account: ItemAccount | None = None
    line_amount: ItemAmount | None = None
    net_amount: ItemAmount | None = None
    tax: ItemTax | None = None
    tags: Annotated[tuple[ItemTag | None, ...] | None, *Bounded] = None


class ItemUser(PleoModel):
    """The employee who made the expense; `code` is the employee's number in the accounting system."""

    name: LenientName = ""
    code: Text | None = None


class ItemTeam(PleoModel):
    """The team of the employee."""

    name: LenientText = None
    code: Text | None = None


class ItemSupplier(PleoModel):
    """The merchant as seen on the card; any number may lead to the vendor that it is in the accounting system."""

    name: LenientText = None
    code: Text | None = None
    account: Text | None = None
    tax_identifier: Text | None = None
    country: LenientText = None


class ItemVendor(PleoModel):
    """The accounting system's vendor that the user chose."""

    name: LenientName = ""
    code: Text | None = None
    external_id: Text | None = None
    tax_registration_number: Text | None = None
    country: LenientText = None


class ItemBookkeeping(PleoModel):
    """How the expense is to be recorded: `method` is journal, accounts_payable, none, or what Pleo adds to them."""

    method: Text


class ItemFile(PleoModel):
    """A receipt: a link that lives for 24 hours, and what Pleo says of the file (`size` in bytes)."""

    url: LenientText = None
    type: LenientText = None
    size: LenientCount = None


class InvoiceInformation(PleoModel):
    """What is known of the invoice behind an expense."""

    invoice_number: LenientText = None
    invoice_date: LenientTime = None
    status: Text | None = None
    due_date: LenientTime = None
    payment_date: LenientTime = None


class ServicePeriod(PleoModel):
    """The time that an expense is for, for accruals; it never moves the posting date."""

    from_: Annotated[LenientTime, Field(alias="from")] = None
    to: LenientTime = None


class AdditionalInformation(PleoModel):
    """Pleo's own reference of the expense, and what belongs to it."""

    reconciliation_id: Text | None = None
    attendees: Annotated[tuple[LenientText, ...] | None, *Bounded, Lenient] = None
    invoice_information: InvoiceInformation | None = None
    reconciled_entries: Annotated[tuple[LenientText, ...] | None, *Bounded, Lenient] = None


class ItemLinks(PleoModel):
    """Pleo's own links to the expense, by where they lead and what to; `web` is for people."""

    web: Annotated[dict[str, LenientText] | None, Lenient] = None


class ExportItem(PleoModel):
    """One approved expense or movement with its accounting data: the data layer."""

    accounting_entry_id: Uuid
    company_id: Uuid
    type: Text
    sub_type: Text | None = None
    date: Timestamp
    amount: ItemAmount | None = None
    accounting_entry_lines: Annotated[tuple[ItemLine, ...] | None, *Bounded] = None
    additional_information: AdditionalInformation | None = None
    contra_account: ItemAccount | None = None
    note: LenientText = None
    supplier: ItemSupplier | None = None
    user: ItemUser | None = None
    team: ItemTeam | None = None
    bookkeeping: ItemBookkeeping | None = None
    vendor: ItemVendor | None = None
    files: Annotated[tuple[ItemFile | None, ...] | None, *Bounded] = None
    service_period: Annotated[ServicePeriod | None, Lenient] = None
    links: Annotated[ItemLinks | None, Lenient, Field(alias="_links")] = None

    @property
    def web_url(self) -> str | None:
        """Pleo's page of the expense, where it gives a link that a person can follow safely: https, and no other."""
        links = (self.links.web if self.links else None) or {}
        for url in (links.get("exportItem"), *links.values()):
            if url and _WEB_URL.fullmatch(url):
                return url
        return None


@dataclass(frozen=True, slots=True)
class BrokenItem:
    """An element of a page that is not as the contract says; `problem` is one line that names the fields."""

    accounting_entry_id: str | None
    problem: str


def parse_item(document: Any) -> ExportItem | BrokenItem:
    """One element of an export-items page, or what is wrong with it."""
    try:
        return ExportItem.model_validate(document)
    except ValidationError as error:
        return BrokenItem(entry_id_of(document), describe(error))


def describe(error: ValidationError) -> str:
    """A validation error as one line that names fields, and shows of what they held a short id or date at most."""
    parts = [
        f"{'.'.join(str(step) for step in e['loc']) or 'item'}: {_in_words(e['type'], e['msg'])}"
        for e in error.errors()[:3]
    ]
    return one_line("; ".join(parts), 300)


def _in_words(kind: str, message: str) -> str:
    """What is wrong with a field, without the names that only a program has for it."""
    if kind == "missing":
        return "it is missing"
    if kind.endswith("_type"):
        return "it is of another kind than Pleo documents"
    return message.removeprefix("Value error, ")


def entry_id_of(document: Any) -> str | None:
    """The accounting entry id of an element of a page, or None where it has no usable one."""
    value = document.get("accountingEntryId") if isinstance(document, dict) else None
    try:
        return canonical_uuid(value) if isinstance(value, str) else None
    except ValueError:
        return None
