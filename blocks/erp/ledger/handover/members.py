"""The entries of a batch as they are read out of the books: streamed in one order, whatever the order of recording."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from blocks.erp.ledger.alongside import Alongside

# By day and by Pleo's id, so that the same expenses give the same file however they came; of one expense its entry
# comes before its reversal. CROSS JOIN keeps SQLite to this order of the tables.
_MEMBERS = "FROM batch_entry AS m CROSS JOIN entry AS e ON e.id = m.entry_id"
_OF_BATCH = "WHERE m.format = ? AND m.number = ?"
_ORDER = "e.posting_date, e.accounting_entry_id, e.id"

_ENTRIES = f"""
    SELECT e.id, e.accounting_entry_id, e.external_id, e.posting_date, e.original_date, e.item_type, e.description,
        e.reference, e.currency, e.company_currency, e.journal, e.details,
        (SELECT external_id FROM entry WHERE id = e.reverses)
    {_MEMBERS} {_OF_BATCH} ORDER BY {_ORDER}
"""  # noqa: S608  constants of ours
_LINES = f"""
    SELECT e.id, l.account, a.name,
        iif(l.settlement IS NULL OR l.company_minor IS NULL, l.debit_minor - l.credit_minor, 0),
        iif(l.credit_minor > 0, -1, 1) * l.company_minor,
        l.counter, l.is_tax, l.tax_code, l.tax_rate, l.tax_base_minor, l.text, l.document_no, l.line_no,
        (SELECT json_group_array(json_array(dimension_group, code)) FROM (
            SELECT dimension_group, code FROM line_dimension
            WHERE entry_id = l.entry_id AND line_no = l.line_no ORDER BY dimension_group, code))
    {_MEMBERS} CROSS JOIN line AS l ON l.entry_id = e.id CROSS JOIN account AS a ON a.code = l.account
    {_OF_BATCH} ORDER BY {_ORDER}, l.line_no
"""  # noqa: S608  constants of ours
_DOCUMENTS = f"""
    SELECT e.id, d.document_no, d.kind, d.vendor, v.name, d.invoice_number
    {_MEMBERS} CROSS JOIN document AS d ON d.entry_id = e.id LEFT JOIN vendor AS v ON v.code = d.vendor
    {_OF_BATCH} ORDER BY {_ORDER}, d.document_no
"""
_RECEIPTS = f"""
    SELECT e.id, e.accounting_entry_id, a.number, a.name, a.file, a.sha256, a.size
    {_MEMBERS} CROSS JOIN attachment AS a ON a.entry_id = e.id
    {_OF_BATCH} AND a.number IN (SELECT value FROM json_each(m.receipts)) ORDER BY {_ORDER}, a.number
"""  # noqa: S608  constants of ours


@dataclass(frozen=True, slots=True)
class MemberLine:
    """One line: debit less credit in the entry's currency, `company_minor` the same in the company's, where kept. What
    is but an exchange difference is 0 in the entry's."""

    account: str
    account_name: str
    amount_minor: int
    company_minor: int | None
    counter: bool
    tax: bool
    tax_code: str | None
    tax_rate: str | None
    tax_base_minor: int | None
    text: str
    document_no: int | None
    line_no: int
    dimensions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MemberDocument:
    """A bill, credit note, payment or refund of an entry."""

    document_no: int
    kind: str
    vendor: str | None
    vendor_name: str | None
    invoice_number: str


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of a batch. `reverses` is the voucher number of the entry that it takes back."""

    id: int
    accounting_entry_id: str
    external_id: str
    posting_date: date
    original_date: date
    item_type: str
    description: str
    reference: str
    currency: str
    company_currency: str | None
    journal: str
    details: dict[str, str]
    reverses: str | None
    lines: tuple[MemberLine, ...]
    documents: tuple[MemberDocument, ...]
    has_receipts: bool

    def units(self) -> Iterator[tuple[MemberDocument | None, tuple[MemberLine, ...]]]:
        """The lines in parts that balance by themselves: those of each document, or all of them."""
        documents = {one.document_no: one for one in self.documents}
        parts: dict[int | None, list[MemberLine]] = {}
        for line in self.lines:
            parts.setdefault(line.document_no, []).append(line)
        for number, lines in parts.items():
            yield (documents[number] if number is not None else None), tuple(lines)

    def minor(self, line: MemberLine, currency: str) -> int | None:
        """A line's amount in that currency, None where the books do not say."""
        if self.currency == currency:
            return line.amount_minor
        return line.company_minor if self.company_currency == currency else None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt of an entry: its number, its name for people, its file in the folder of receipts, hash and bytes."""

    accounting_entry_id: str
    number: int
    name: str
    file: str
    sha256: str
    size: int


def members(connection: sqlite3.Connection, batch: tuple[str, int]) -> Iterator[Member]:
    """The entries of a batch, one at a time: never more in memory than of one."""
    lines = Alongside(connection.execute(_LINES, batch))
    documents = Alongside(connection.execute(_DOCUMENTS, batch))
    receipts = Alongside(connection.execute(_RECEIPTS, batch))
    for id_, accounting_entry_id, external_id, day, original, *texts, details, reverses in connection.execute(
        _ENTRIES, batch
    ):
        item_type, description, reference, currency, company_currency, journal = texts
        yield Member(
            id=id_,
            accounting_entry_id=accounting_entry_id,
            external_id=external_id,
            posting_date=date.fromisoformat(day),
            original_date=date.fromisoformat(original),
            item_type=item_type,
            description=description,
            reference=reference,
            currency=currency,
            company_currency=company_currency,
            journal=journal,
            details=json.loads(details),
            reverses=reverses,
            lines=tuple(map(_line, lines.of(id_))),
            documents=tuple(MemberDocument(*one) for one in documents.of(id_)),
            has_receipts=bool(receipts.of(id_)),
        )


def receipts_of(connection: sqlite3.Connection, batch: tuple[str, int]) -> Iterator[Receipt]:
    """The receipts that were on the entries of a batch when it was made; those of reversals are their entries'."""
    for row in connection.execute(_RECEIPTS, batch):
        yield Receipt(*row[1:])


def _line(row: Sequence[Any]) -> MemberLine:
    account, name, amount, company, counter, tax, *rest, dimensions = row
    tax_code, tax_rate, tax_base_minor, text, document_no, line_no = rest
    return MemberLine(
        account=account,
        account_name=name,
        amount_minor=amount,
        company_minor=company,
        counter=bool(counter),
        tax=bool(tax),
        tax_code=tax_code,
        tax_rate=tax_rate,
        tax_base_minor=tax_base_minor,
        text=text,
        document_no=document_no,
        line_no=line_no,
        dimensions=_pairs(dimensions),
    )


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((group, code) for group, code in json.loads(text)) if text != "[]" else ()
