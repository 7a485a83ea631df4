"""Texts, names, amounts and transactions as Beancount writes them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import AccountKind, Details, EntryState
from blocks.text import one_line

MAX_TEXT = 1000
"""How many characters of a text the Beancount file shows; the books hold all of it."""

_ROOTS = {
    AccountKind.ASSET: "Assets",
    AccountKind.LIABILITY: "Liabilities",
    AccountKind.EQUITY: "Equity",
    AccountKind.INCOME: "Income",
    AccountKind.EXPENSE: "Expenses",
}
_FLAGS = {EntryState.DRAFT.value: "!", EntryState.POSTED.value: "*"}
_COMPONENT = re.compile(r"[A-Z0-9][A-Za-z0-9-]*")
_DERIVED = re.compile(r".*-x[0-9a-f]{12}")
_DATES = {field.name for field in fields(Details) if "date" in str(field.type)}


class EntryRow(NamedTuple):
    """One row of the table entry."""

    id: int
    posting_date: str
    state: str
    description: str
    external_id: str
    accounting_entry_id: str
    job_id: str
    item_type: str
    reference: str
    original_date: str
    supplier_currency: str | None
    supplier_minor: int | None
    journal: str
    details: str
    rounding_minor: int
    currency: str
    company_currency: str | None


class LineRow(NamedTuple):
    """One row of the table line; `amount_minor` is debit less credit."""

    account: str
    amount_minor: int
    company_minor: int | None
    document_no: int | None


class DocumentRow(NamedTuple):
    """One row of the table document, with its vendor's name."""

    document_no: int
    kind: str
    journal: str
    invoice_number: str
    vendor: str | None
    vendor_name: str | None


class AttachmentRow(NamedTuple):
    """One row of the table attachment."""

    number: int
    name: str
    file: str


@dataclass(frozen=True, slots=True)
class Terms:
    """How the file writes accounts (by code) and amounts, and where it finds receipts (None: it cannot name them)."""

    names: Mapping[str, str]
    units: MinorUnits
    receipts: str | None


def transaction(
    entry: EntryRow,
    lines: Sequence[LineRow],
    documents: Sequence[DocumentRow],
    attachments: Sequence[AttachmentRow],
    terms: Terms,
) -> str:
    """One entry of the books, its lines in their order, and the receipts that hang on it."""
    links = "".join(f" ^{link}" for link in (entry.external_id, *_invoice_links(documents, entry.currency)))
    kinds = {one.document_no: quoted(_words(one.kind)) for one in documents}
    parts = [f"\n{entry.posting_date} {_FLAGS[entry.state]} {quoted(entry.description)}{links}\n"]
    parts += [f"  {key}: {value}\n" for key, value in _metadata(entry, documents, attachments, terms)]
    for line in lines:
        parts.append(f"  {terms.names[line.account]}  {terms.units.amount(line.amount_minor, entry.currency)}")
        if line.company_minor is not None and entry.company_currency is not None:
            parts.append(f" @@ {terms.units.amount(line.company_minor, entry.company_currency)}")
        parts.append("\n" if line.document_no is None else f"\n    kind: {kinds[line.document_no]}\n")
    if terms.receipts is not None:
        for file in dict.fromkeys(one.file for one in attachments):
            path = quoted(f"{terms.receipts}/{file}")
            parts.append(f"{entry.posting_date} document {terms.names[lines[0].account]} {path} ^{entry.external_id}\n")
    return "".join(parts)


def _metadata(
    entry: EntryRow, documents: Sequence[DocumentRow], attachments: Sequence[AttachmentRow], terms: Terms
) -> Iterator[tuple[str, str]]:
    yield "pleo-id", quoted(entry.accounting_entry_id)
    yield "pleo-job", quoted(entry.job_id)
    yield "pleo-type", quoted(entry.item_type)
    if entry.reference:
        yield "reference", quoted(entry.reference)
    if entry.original_date != entry.posting_date:
        yield "original-date", entry.original_date
    if entry.supplier_currency is not None and entry.supplier_minor is not None:
        yield "supplier-amount", quoted(terms.units.amount(entry.supplier_minor, entry.supplier_currency))
    if entry.rounding_minor:
        yield "rounding", quoted(terms.units.amount(entry.rounding_minor, entry.currency))
    journals = dict.fromkeys(code for code in (entry.journal, *(one.journal for one in documents)) if code)
    if journals:
        yield "journal", quoted(", ".join(journals))
    details = json.loads(entry.details) if entry.details != "{}" else {}
    if documents:
        first = documents[0]
        # Fava takes every key that begins with "document" for the name of a file.
        yield "kinds", quoted(", ".join(_words(one.kind) for one in documents))
        if first.vendor is not None:
            yield "vendor", quoted(first.vendor)
            yield "vendor-name", quoted(first.vendor_name or "")
        if first.invoice_number:
            details["invoice_number"] = first.invoice_number
    for name, value in details.items():
        yield name.replace("_", "-"), value if name in _DATES else quoted(value)
    for one in attachments:
        if terms.receipts is not None:
            yield f"document-{one.number}", quoted(f"{terms.receipts}/{one.file}")
        yield f"receipt-{one.number}", quoted(one.name)


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _invoice_links(documents: Sequence[DocumentRow], currency: str) -> Iterator[str]:
    """The link that the documents of one vendor, currency and invoice share."""
    for vendor, number in dict.fromkeys((one.vendor, one.invoice_number) for one in documents):
        if vendor is not None and number:
            stem = re.sub("[^A-Za-z0-9]+", "-", f"{vendor}-{number}")[:40].strip("-")
            yield f"INV-{stem}{'-' if stem else ''}{_digest(json.dumps([vendor, currency, number]))}"


def account_name(code: str, kind: AccountKind) -> str:
    """The Beancount account of an account code; no two codes share one.

    A code that Beancount takes stands as it is. Any other is cut to what Beancount takes and told apart by a hash.
    """
    if _COMPONENT.fullmatch(code) and not _DERIVED.fullmatch(code):
        return f"{_ROOTS[kind]}:{code}"
    stem = re.sub("[^A-Za-z0-9]+", "-", code).strip("-")[:40] or "Account"
    return f"{_ROOTS[kind]}:{stem[0].upper()}{stem[1:]}-x{_digest(code)}"


def quoted(text: str) -> str:
    """A text as a Beancount string on one line, cut to `MAX_TEXT` characters."""
    return '"' + one_line(text, MAX_TEXT).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
