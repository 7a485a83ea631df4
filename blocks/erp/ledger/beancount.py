"""The books as a Beancount file, so that other people's programs can check and show them, and where Fava shows them.

The same books give the same bytes. Each entry is one transaction that carries its voucher number as a link, a reversal
also that of the entry that it takes back, and where it has bills or payments one that all of one invoice share.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from blocks.erp.currencies import MinorUnits, in_own_digits
from blocks.erp.entries import AccountKind, Details, EntryState
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.alongside import Alongside
from blocks.erp.ledger.connection import sync_folder
from blocks.erp.ledger.schema_3_settlement import line_currency
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
_FIRST_DATE = "1970-01-01"

# CROSS JOIN keeps SQLite to this order of the tables: it reads entry by entry, and need not sort all lines there are.

_ENTRIES = f"""
    SELECT e.id, e.posting_date, e.state, substr(e.description, 1, {MAX_TEXT + 1}), e.external_id,
        e.accounting_entry_id, e.job_id, e.item_type, substr(e.reference, 1, {MAX_TEXT + 1}), e.original_date,
        e.supplier_currency, e.supplier_minor, e.journal, e.details, e.rounding_minor, e.currency, e.company_currency,
        (SELECT external_id FROM entry WHERE id = e.reverses),
        (SELECT external_id FROM entry WHERE reverses = e.id),
        l.account, l.debit_minor - l.credit_minor, {line_currency("l", "e")}, l.company_minor, l.document_no,
        coalesce(l.tax_code, ''), coalesce(l.tax_rate, ''), l.tax_base_minor, l.is_tax
    FROM entry AS e CROSS JOIN line AS l ON l.entry_id = e.id
    ORDER BY e.posting_date, e.id, l.line_no
"""  # noqa: S608  a constant of ours

_MOST_OTHERS = 20
"""How many other bills of its invoice a bill names: thousands may have been given one number, such as n/a."""

_DOCUMENTS = f"""
    SELECT e.id, d.document_no, d.kind, d.journal, d.invoice_number, d.vendor, v.name,
        (SELECT group_concat(external_id, ', ') FROM (
            SELECT other.external_id FROM document AS o JOIN entry AS other ON other.id = o.entry_id
            WHERE d.kind = 'bill' AND o.kind = 'bill' AND o.entry_id <> d.entry_id AND o.vendor = d.vendor
                AND o.invoice_number = d.invoice_number AND d.invoice_number <> ''
                AND e.in_force = 1 AND other.in_force = 1
            ORDER BY o.entry_id LIMIT {_MOST_OTHERS}))
    FROM entry AS e CROSS JOIN document AS d ON d.entry_id = e.id LEFT JOIN vendor AS v ON v.code = d.vendor
    ORDER BY e.posting_date, e.id, d.document_no
"""  # noqa: S608  a constant of ours

_ATTACHMENTS = """
    SELECT e.id, a.number, a.name, a.file FROM entry AS e CROSS JOIN attachment AS a ON a.entry_id = e.id
    ORDER BY e.posting_date, e.id, a.number
"""


def _first_line(company_id: str) -> str:
    """The line by which a Beancount file is known as one written here for that company."""
    return f"; The Pleo export's books of company {_quoted(company_id)}, written anew after each job: do not edit.\n"


def refuse_foreign_beancount(path: Path, company_id: str) -> None:
    """Raise ErpConfigurationError when `path` is a file that was not written here for that company."""
    expected = _first_line(company_id).encode()
    try:
        with path.open("rb") as file:
            if file.read(len(expected)) == expected:
                return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    raise ErpConfigurationError(
        f"{path} would be overwritten, and is not the Beancount file of company {company_id}; "
        "move it away or give another --ledger file"
    )


def write_beancount(
    connection: sqlite3.Connection, company_id: str, path: Path, units: MinorUnits, receipts: Path
) -> None:
    """Write the books to `path` at one stroke: a reader sees the old file or the new one, whole.

    `receipts` is the folder of the attachments. Raises OSError or sqlite3.Error; the file at `path` is then as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n", buffering=1 << 20) as file:
            file.writelines(_text(connection, company_id, units, _relative(receipts, path.parent)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error says what is the matter
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def title_of(company_id: str) -> str:
    """The title of a company's Beancount file, from which Fava makes the address of its pages."""
    return f"Pleo {company_id}"


def slug_of(title: str) -> str:
    """The part of the address that Fava derives from a file's title."""
    word = re.sub(r"[^\s\w-]", "", unicodedata.normalize("NFKC", title)).strip().lower()
    return re.sub(r"[-\s]+", "-", word)


def entry_address(fava_url: str, company_id: str, external_id: str) -> str:
    """The address of Fava's journal, filtered to the one entry that carries `external_id` as its link."""
    slug = quote(slug_of(title_of(company_id)))
    return f"{fava_url.rstrip('/')}/{slug}/journal/?filter={quote('^' + external_id, safe='')}"


def _text(connection: sqlite3.Connection, company_id: str, units: MinorUnits, receipts: str | None) -> Iterator[str]:
    yield _first_line(company_id)
    yield f'option "title" {_quoted(title_of(company_id))}\n'
    # What a price comes to has more decimals than any amount; without this Beancount would want it to balance to all.
    yield 'option "inferred_tolerance_default" "*:0.0001"\n'
    for (currency,) in connection.execute("SELECT DISTINCT currency FROM entry ORDER BY currency"):
        yield f'option "operating_currency" "{currency}"\n'
    earliest = connection.execute("SELECT min(posting_date) FROM entry").fetchone()[0] or _FIRST_DATE
    names: dict[str, str] = {}
    for code, name, kind in connection.execute("SELECT code, name, kind FROM account ORDER BY code"):
        names[code] = account_name(code, AccountKind(kind))
        yield f"\n{min(earliest, _FIRST_DATE)} open {names[code]}\n  code: {_quoted(code)}\n  name: {_quoted(name)}\n"
    notation = _Notation(names, units, receipts)
    documents = Alongside(connection.execute(_DOCUMENTS))
    attachments = Alongside(connection.execute(_ATTACHMENTS))
    for number, rows in groupby(connection.execute(_ENTRIES), itemgetter(0)):
        lines = list(rows)
        yield _transaction(
            _EntryRow(*lines[0][: len(_EntryRow._fields)]),
            [_LineRow(*row[len(_EntryRow._fields) :]) for row in lines],
            [_DocumentRow(*row) for row in documents.of(number)],
            [_AttachmentRow(*row) for row in attachments.of(number)],
            notation,
        )


def _relative(receipts: Path, folder: Path) -> str | None:
    """The folder of receipts as Beancount can name it, None where its name has characters that it cannot write."""
    path = Path(os.path.relpath(receipts, os.path.realpath(folder))).as_posix()
    return path if one_line(path, MAX_TEXT // 2) == path and path.isprintable() else None


class _EntryRow(NamedTuple):
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
    reverses: str | None
    reversed_by: str | None


class _LineRow(NamedTuple):
    """One row of the table line; `amount_minor` is debit less credit, `currency` the entry's, but for an exchange
    difference."""

    account: str
    amount_minor: int
    currency: str
    company_minor: int | None
    document_no: int | None
    tax_code: str
    tax_rate: str
    tax_base_minor: int | None
    is_tax: int


class _DocumentRow(NamedTuple):
    """One row of the table document, with its vendor's name, and the numbers of other bills of its invoice."""

    document_no: int
    kind: str
    journal: str
    invoice_number: str
    vendor: str | None
    vendor_name: str | None
    other_bills: str | None


class _AttachmentRow(NamedTuple):
    """One row of the table attachment."""

    number: int
    name: str
    file: str


@dataclass(frozen=True, slots=True)
class _Notation:
    """How the file writes accounts (by code) and amounts, and where it finds receipts (None: it cannot name them)."""

    names: Mapping[str, str]
    units: MinorUnits
    receipts: str | None


def _transaction(
    entry: _EntryRow,
    lines: Sequence[_LineRow],
    documents: Sequence[_DocumentRow],
    attachments: Sequence[_AttachmentRow],
    notation: _Notation,
) -> str:
    """One entry of the books, its lines in their order, and the receipts that hang on it."""
    reverses = [entry.reverses] if entry.reverses else []
    links = "".join(f" ^{link}" for link in (entry.external_id, *reverses, *_invoice_links(documents, entry.currency)))
    kinds = {one.document_no: _quoted(_words(one.kind)) for one in documents}
    parts = [f"\n{entry.posting_date} {_FLAGS[entry.state]} {_quoted(entry.description)}{links}\n"]
    parts += [f"  {key}: {value}\n" for key, value in _metadata(entry, documents, attachments, notation)]
    for line in lines:
        parts.append(f"  {notation.names[line.account]}  {notation.units.amount(line.amount_minor, line.currency)}")
        if line.company_minor is not None and entry.company_currency not in (None, line.currency):
            parts.append(f" @@ {notation.units.amount(line.company_minor, entry.company_currency or '')}")
        parts.append("\n")
        if line.document_no is not None:
            parts.append(f"    kind: {kinds[line.document_no]}\n")
        parts += [f"    {key}: {value}\n" for key, value in _of_tax(line, notation.units)]
    if notation.receipts is not None:
        for file in dict.fromkeys(one.file for one in attachments):
            path = _quoted(f"{notation.receipts}/{file}")
            parts.append(
                f"{entry.posting_date} document {notation.names[lines[0].account]} {path} ^{entry.external_id}\n"
            )
    return "".join(parts)


def _metadata(
    entry: _EntryRow, documents: Sequence[_DocumentRow], attachments: Sequence[_AttachmentRow], notation: _Notation
) -> Iterator[tuple[str, str]]:
    yield "pleo-id", _quoted(entry.accounting_entry_id)
    yield "pleo-job", _quoted(entry.job_id)
    yield "pleo-type", _quoted(entry.item_type)
    if entry.reference:
        yield "reference", _quoted(entry.reference)
    if entry.reverses is not None:
        yield "reverses", _quoted(entry.reverses)
    if entry.reversed_by is not None:
        yield "reversed-by", _quoted(entry.reversed_by)
    if entry.original_date != entry.posting_date:
        yield "original-date", entry.original_date
    if entry.supplier_minor is not None and entry.supplier_currency not in (None, entry.currency):
        yield "supplier-amount", _quoted(in_own_digits(entry.supplier_minor, str(entry.supplier_currency)))
    if entry.rounding_minor:
        yield "rounding", _quoted(notation.units.amount(entry.rounding_minor, entry.currency))
    journals = dict.fromkeys(code for code in (entry.journal, *(one.journal for one in documents)) if code)
    if journals:
        yield "journal", _quoted(", ".join(journals))
    details = json.loads(entry.details) if entry.details != "{}" else {}
    if documents:
        first = documents[0]
        # Fava takes every key that begins with "document" for the name of a file.
        yield "kinds", _quoted(", ".join(_words(one.kind) for one in documents))
        if first.vendor is not None:
            yield "vendor", _quoted(first.vendor)
            yield "vendor-name", _quoted(first.vendor_name or "")
        if first.invoice_number:
            details["invoice_number"] = first.invoice_number
        if others := next((one.other_bills for one in documents if one.other_bills), None):
            yield "also-billed-by", _quoted(others)
    for name, value in details.items():
        yield name.replace("_", "-"), value if name in _DATES else _quoted(value)
    for one in attachments:
        if notation.receipts is not None:
            yield f"document-{one.number}", _quoted(f"{notation.receipts}/{one.file}")
        yield f"receipt-{one.number}", _quoted(one.name)


def _of_tax(line: _LineRow, units: MinorUnits) -> Iterator[tuple[str, str]]:
    """How a line is taxed, or what of it is tax."""
    if line.tax_code:
        yield "tax-code", _quoted(line.tax_code)
    if line.tax_rate:
        yield "tax-rate", _quoted(line.tax_rate)
    if line.is_tax:
        yield "tax", "TRUE"
    if line.tax_base_minor is not None:
        base = -line.tax_base_minor if line.amount_minor < 0 else line.tax_base_minor
        yield "tax-base", units.amount(base, line.currency)


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _invoice_links(documents: Sequence[_DocumentRow], currency: str) -> Iterator[str]:
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


def _quoted(text: str) -> str:
    """A text as a Beancount string on one line, cut to `MAX_TEXT` characters."""
    return '"' + one_line(text, MAX_TEXT).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
