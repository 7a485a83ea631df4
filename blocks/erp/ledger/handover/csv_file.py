"""A CSV file with one row a line, whose columns stay what they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping

from blocks.erp.currencies import MinorUnits
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.handover.encoding import Encoder
from blocks.erp.ledger.handover.members import Member, MemberDocument, MemberLine
from blocks.erp.ledger.handover.settings import CsvSettings
from blocks.text import no_formula

_MAX_TEXT = 1000

Value = Callable[["_Row"], str]


class _Row:
    """What a row is made of."""

    def __init__(self, member: Member, line: MemberLine, document: MemberDocument | None, units: MinorUnits) -> None:
        self.member, self.line, self.document, self._units = member, line, document, units

    def amount(self, minor: int | None, currency: str | None) -> str:
        return "" if minor is None or currency is None else self._units.number(minor, currency)


def _own(part: Callable[[int], int]) -> Value:
    return lambda row: row.amount(part(row.line.amount_minor), row.member.currency)


def _company(part: Callable[[int], int]) -> Value:
    def value(row: _Row) -> str:
        minor = row.line.company_minor
        return row.amount(None if minor is None else part(minor), row.member.company_currency)

    return value


def _detail(name: str) -> Value:
    return lambda row: row.member.details.get(name, "")


_NUMBERS: Mapping[str, Value] = {
    "debit": _own(lambda minor: max(minor, 0)),
    "credit": _own(lambda minor: max(-minor, 0)),
    "amount": _own(lambda minor: minor),
    "company_debit": _company(lambda minor: max(minor, 0)),
    "company_credit": _company(lambda minor: max(-minor, 0)),
    "company_amount": _company(lambda minor: minor),
    "tax_base": lambda row: row.amount(row.line.tax_base_minor, row.member.currency),
    "tax_rate": lambda row: row.line.tax_rate or "",
}
_TEXTS: Mapping[str, Value] = {
    "accounting_entry_id": lambda row: row.member.accounting_entry_id,
    "line": lambda row: str(row.line.line_no),
    "posting_date": lambda row: row.member.posting_date.isoformat(),
    "original_date": lambda row: row.member.original_date.isoformat(),
    "type": lambda row: row.member.item_type,
    "reversal": lambda row: "yes" if row.member.reverses is not None else "no",
    "journal": lambda row: row.member.journal,
    "account": lambda row: row.line.account,
    "account_name": lambda row: row.line.account_name,
    "description": lambda row: row.member.description,
    "text": lambda row: row.line.text,
    "reference": lambda row: row.member.reference,
    "currency": lambda row: row.member.currency,
    "company_currency": lambda row: row.member.company_currency or "",
    "is_tax": lambda row: "yes" if row.line.tax else "no",
    "tax_code": lambda row: row.line.tax_code or "",
    "dimensions": lambda row: "; ".join(f"{group}={code}" for group, code in row.line.dimensions),
    "document": lambda row: row.document.kind if row.document else "",
    "vendor": lambda row: (row.document.vendor or "") if row.document else "",
    "vendor_name": lambda row: (row.document.vendor_name or "") if row.document else "",
    "invoice_number": lambda row: row.document.invoice_number if row.document else "",
    "invoice_date": _detail("invoice_date"),
    "due_date": _detail("due_date"),
    "employee": _detail("employee"),
    "supplier_country": _detail("supplier_country"),
    "supplier_tax_number": _detail("supplier_tax_number"),
    "voucher": lambda row: row.member.external_id,
}
DEFAULT_COLUMNS = (
    "accounting_entry_id", "line", "posting_date", "original_date", "type", "reversal", "journal", "account",
    "account_name", "description", "text", "debit", "credit", "currency", "company_debit", "company_credit",
    "company_currency", "is_tax", "tax_code", "tax_rate", "tax_base", "dimensions", "document", "vendor", "vendor_name",
    "invoice_number", "invoice_date", "due_date", "employee", "supplier_country", "supplier_tax_number",
)  # fmt: skip
"""The columns where nobody chose any. `voucher` is not among them: it depends on the order of recording."""

CODES = {"account", "tax_code", "vendor", "accounting_entry_id", "line", "currency", "company_currency", "voucher"}


def known_columns() -> tuple[str, ...]:
    """What a column can hold."""
    return tuple(sorted({*_NUMBERS, *_TEXTS}))


class CsvWriter:
    """Writes one file."""

    def __init__(self, settings: CsvSettings, units: MinorUnits, encoder: Encoder) -> None:
        self._settings = settings
        self._units = units
        self._encoder = encoder
        self._columns = dict(settings.columns) or {name: name for name in DEFAULT_COLUMNS}
        unknown = [name for name in self._columns.values() if name not in _NUMBERS and name not in _TEXTS]
        if unknown:
            raise ErpConfigurationError(
                f"csv.columns: there is no {encoder.text(unknown[0], 60)}; known are {', '.join(known_columns())}"
            )
        self.rows = 0

    def head(self) -> bytes:
        """The first line, with a byte order mark where the encoding has one."""
        mark = b"\xef\xbb\xbf" if self._settings.encoding == "utf-8-sig" else b""
        return mark + self._line([self._encoder.text(name, _MAX_TEXT) for name in self._columns])

    def entry(self, member: Member) -> bytes:
        """The rows of one entry."""
        documents = {one.document_no: one for one in member.documents}
        made = []
        for line in member.lines:
            document = documents.get(line.document_no) if line.document_no is not None else None
            row = _Row(member, line, document, self._units)
            made.append(self._line([self._value(name, row) for name in self._columns.values()]))
        self.rows += len(made)
        return b"".join(made)

    def _value(self, name: str, row: _Row) -> str:
        if name in _NUMBERS:
            return _NUMBERS[name](row).replace(".", self._settings.decimal)
        text = self._encoder.text(_TEXTS[name](row), _MAX_TEXT)
        return text if name in CODES else no_formula(text, _MAX_TEXT)

    def _line(self, values: list[str]) -> bytes:
        file = io.StringIO()
        csv.writer(file, delimiter=self._settings.delimiter, lineterminator="\r\n").writerow(values)
        return file.getvalue().encode("utf-8" if self._settings.encoding == "utf-8-sig" else self._settings.encoding)
