"""An expense as documents of accounts payable: a bill or credit note, its payment, or both (Pleo: Accounts Payable)."""

from __future__ import annotations

from dataclasses import dataclass

from blocks.erp.entries import Account, Document, DocumentKind, Line, Vendor
from blocks.erp.reference import JournalUse, Role
from blocks.erp.settings import ErpSettings, Settlement, UnknownVendor
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from blocks.text import no_formula
from flows.bookkeeping.accounts import Accounts
from flows.bookkeeping.amounts import Amounts, supplier_money
from flows.bookkeeping.books import Books
from flows.bookkeeping.codes import clean
from flows.bookkeeping.direction import Rule
from flows.bookkeeping.lines import expense_lines, line_of
from flows.bookkeeping.text import invoice_of
from flows.bookkeeping.vendors import vendor_of
from flows.failures import VENDOR_UNKNOWN, ItemFails, invalid

_MAX_INVOICE_NUMBER = 120


@dataclass(frozen=True, slots=True)
class BillAccounts:
    """Who is owed, and the accounts on both sides. `mains` are those of the lines, of which a mere payment has none;
    `counter` is what pays, None for a bill that is paid by another expense."""

    vendor: Vendor | None
    payable: Account
    mains: tuple[Account, ...] | None
    counter: Account | None


def bill_accounts(item: ExportItem, rule: Rule, accounts: Accounts, books: Books) -> BillAccounts:
    """The vendor and accounts of an item; fails it where the vendor is unknown or an account is missing."""
    settings = books.settings
    vendor = vendor_of(item, books.reference.vendors)
    if vendor is not None:
        payable = vendor.payable or accounts.of_role(Role.PAYABLE)
    elif settings.unknown_vendor is not UnknownVendor.FALLBACK:
        raise ItemFails(ItemFailure.VENDOR_UNKNOWN, VENDOR_UNKNOWN)
    elif settings.unknown_vendor_account:
        payable = accounts.by_code(settings.unknown_vendor_account, Role.PAYABLE)
    else:
        payable = accounts.of_role(Role.PAYABLE)
    mains = accounts.main(None) if rule.main is None else None
    counter = accounts.of_role(rule.counter) if rule.counter is not Role.PAYABLE else None
    return BillAccounts(vendor, payable, mains, counter)


def documents_of(
    item: ExportItem, on: BillAccounts, amounts: Amounts, turned: bool, accounts: Accounts, books: Books
) -> tuple[Document, ...]:
    """The bill, the payment, or both; with `turned` a credit note and a refund. The last line of each settles it.

    Fails the item where another line of a document stands on the payable account too.
    """
    documents = []
    size = abs(amounts.header_minor)
    if on.mains is not None:
        costs = expense_lines(item, on.mains, amounts, not turned, accounts, books.settings)
        lines = (*costs, line_of(on.payable, size, turned, counter=on.counter is None))
        kind, use = (
            (DocumentKind.CREDIT_NOTE, JournalUse.CREDIT_NOTES) if turned else (DocumentKind.BILL, JournalUse.BILLS)
        )
        documents.append(_document(kind, books.journal(use), lines, -size if turned else size, on.payable))
    if on.counter is not None:
        supplier = supplier_money(item.amount) if on.mains is None else None
        lines = (
            line_of(on.payable, size, not turned, supplier=supplier),
            line_of(on.counter, size, turned, counter=True),
        )
        kind = DocumentKind.REFUND if turned else DocumentKind.PAYMENT
        documents.append(
            _document(kind, books.journal(JournalUse.PAYMENTS), lines, size if turned else -size, on.payable)
        )
    return tuple(documents)


def invoice_number(item: ExportItem, settings: ErpSettings) -> str:
    """The number by which a bill and its payment find each other; empty where there is none to go by.

    A number too long to be kept whole is none: cut, it would be another invoice's.
    """
    invoice = invoice_of(item)
    if settings.settlement is Settlement.NEVER or invoice is None:
        return ""
    number = no_formula(clean(invoice.invoice_number), 2 * _MAX_INVOICE_NUMBER)
    return number if len(number) <= _MAX_INVOICE_NUMBER else ""


def stays_open(item: ExportItem) -> bool:
    """Whether a bill was paid outside Pleo, so that no payment of it will ever come."""
    invoice = invoice_of(item)
    return item.type == "invoice" and invoice is not None and invoice.status == "marked_as_paid"


def _document(kind: DocumentKind, journal: str, lines: tuple[Line, ...], owed_minor: int, payable: Account) -> Document:
    """The document, if what is owed to the vendor is all that it books on the payable account."""
    if -sum(line.amount_minor for line in lines if line.account.code == payable.code) != owed_minor:
        raise invalid(
            f"The {kind.value.replace('_', ' ')} would stand on account {payable.code} on both sides, as that is also "
            "where the vendor is owed. Choose another category in Pleo, or another account in the settings."
        )
    return Document(kind=kind, journal=journal, owed_minor=owed_minor, lines=lines)
