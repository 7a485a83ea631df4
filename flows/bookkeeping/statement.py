"""What Pleo says of an expense, as far as bookkeeping reads it: kept with the entry, so that a change of it is seen.

Nothing in it depends on settings or on the accounting system. What decides how the expense is booked are facts; what
people only read (names, notes, dates of the invoice) are words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from blocks.erp.entries import Statement
from blocks.pleo.items import ExportItem, InvoiceInformation, ItemAccount, ItemLine
from blocks.pleo.items import Money as PleoMoney
from blocks.text import one_line
from flows.bookkeeping.amounts import supplier_money
from flows.bookkeeping.text import UNKNOWN_ID, clean_code, invoice_of

AMOUNTS = ("amount", "supplier amount", "net amount", "tax")
"""The last words of the names of facts that are amounts: minor units and a currency, as in 8995 DKK."""

_MAX_VALUE = 200
_MAX_EXPONENT = 30

# States of an invoice by which bookkeeping decides; all others come and go while nothing changes.
_STATUSES = frozenset({"marked_as_paid", "voided_by_user", "rejected_by_approver", "rejected_by_user"})

Pairs = Iterator[tuple[str, str | None]]


def statement_of(item: ExportItem) -> Statement:
    """What Pleo says of this expense; what it does not say is left out."""
    return Statement(_said(_facts(item)), _said(_words(item)))


def _said(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    return tuple((name, _value(value)) for name, value in pairs if value)


def _value(text: str) -> str:
    """The text as one short line; of a long one its beginning and a hash, so that no change of it is missed."""
    line = one_line(text, _MAX_VALUE)
    if len(text) <= _MAX_VALUE:
        return line
    return f"{one_line(text, _MAX_VALUE - 20)} #{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}"


def _unreadable(text: str) -> str:
    """What tells a change of a text and nothing else of it: a supplier's account may be that of its bank."""
    return f"#{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}" if text else ""


def _facts(item: ExportItem) -> Pairs:
    yield "type", item.type
    yield "subtype", item.sub_type
    yield "amount", _money(item.amount.in_wallet_currency if item.amount is not None else None)
    supplier = supplier_money(item.amount)
    yield "supplier amount", f"{supplier.amount_minor} {supplier.currency}" if supplier is not None else None
    yield "date", _time(item.date)
    yield "contra account", _account(item.contra_account)
    yield "bookkeeping method", item.bookkeeping.method if item.bookkeeping is not None else None
    if (vendor := item.vendor) is not None:
        yield "vendor", clean_code(vendor.code)
        yield "vendor's external id", clean_code(vendor.external_id)
        yield "vendor's tax number", clean_code(vendor.tax_registration_number)
        yield "vendor's country", clean_code(vendor.country)
    if (seen := item.supplier) is not None:
        yield "supplier", clean_code(seen.code)
        yield "supplier's account", _unreadable(clean_code(seen.account))
        yield "supplier's tax number", clean_code(seen.tax_identifier)
        yield "supplier's country", clean_code(seen.country)
    yield "employee", clean_code(item.user.code) if item.user is not None else None
    yield "team", clean_code(item.team.code) if item.team is not None else None
    invoice = invoice_of(item) or InvoiceInformation()
    yield "invoice number", clean_code(invoice.invoice_number)
    yield "invoice status", invoice.status if invoice.status in _STATUSES else None
    for number, line in enumerate(item.accounting_entry_lines or (), 1):
        yield from _of_line(f"line {number} ", line)


def _of_line(of: str, line: ItemLine) -> Pairs:
    yield f"{of}account", _account(line.account)
    yield f"{of}amount", _money(line.line_amount.in_wallet_currency if line.line_amount is not None else None)
    yield f"{of}net amount", _money(line.net_amount.in_wallet_currency if line.net_amount is not None else None)
    if (tax := line.tax) is not None:
        yield f"{of}tax code", clean_code(tax.code)
        yield f"{of}tax rate", None if tax.rate is None else _number(tax.rate)
        yield f"{of}tax type", tax.type
        yield f"{of}tax", _money(tax.amount.in_wallet_currency if tax.amount is not None else None)
        yield f"{of}input tax account", clean_code(tax.ingoing_tax_account)
        yield f"{of}output tax account", clean_code(tax.outgoing_tax_account)
    tags = sorted(
        f"{clean_code(tag.group_code)}={code}"
        for tag in line.tags or ()
        if tag is not None and (tag.id or "").strip() != UNKNOWN_ID and (code := clean_code(tag.code))
    )
    yield f"{of}tags", "; ".join(tags)


def _words(item: ExportItem) -> Pairs:
    yield "supplier's name", item.supplier.name if item.supplier is not None else None
    yield "vendor's name", item.vendor.name if item.vendor is not None else None
    yield "employee's name", item.user.name if item.user is not None else None
    yield "note", item.note
    invoice = invoice_of(item) or InvoiceInformation()
    yield "invoice date", _time(invoice.invoice_date)
    yield "due date", _time(invoice.due_date)
    yield "payment date", _time(invoice.payment_date)
    if (period := item.service_period) is not None:
        yield "service period", f"{_time(period.from_) or ''} to {_time(period.to) or ''}"
    if (information := item.additional_information) is not None:
        yield "reference", information.reconciliation_id
        yield "attendees", ", ".join(filter(None, information.attendees or ()))
        yield "reconciled entries", ", ".join(filter(None, information.reconciled_entries or ()))


def _account(account: ItemAccount | None) -> str | None:
    """The account's number, and the accounting system's own id of it, as far as somebody chose one."""
    if account is None or (account.id or "").strip() == UNKNOWN_ID:
        return None
    code, identifier = clean_code(account.code), clean_code(account.identifier)
    return f"{code} [{identifier}]" if code and identifier else code or identifier


def _money(money: PleoMoney | None) -> str | None:
    return None if money is None else f"{_number(money.value)} {one_line(money.currency, 20)}"


def _number(value: Decimal) -> str:
    """The same text for the same number, however Pleo writes it."""
    if value == 0:
        return "0"
    if abs(value.adjusted()) > _MAX_EXPONENT or len(value.as_tuple().digits) > _MAX_EXPONENT:
        return str(value)
    return format(value.normalize(), "f")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
