"""Accounts payable: which expenses become bills, of which vendor, and as which documents (Pleo: Accounts Payable)."""

from __future__ import annotations

from dataclasses import dataclass

from blocks.erp.entries import Account, AccountKind, Document, DocumentKind, Line, Vendor
from blocks.erp.reference import JournalUse, KnownVendor, Role, Vendors
from blocks.erp.settings import ErpSettings, Settlement, UnknownVendor
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from blocks.text import no_formula, one_line
from flows.bookkeeping.accounts import Accounts, Rule
from flows.bookkeeping.amounts import Amounts, supplier_money
from flows.bookkeeping.context import BookingContext
from flows.bookkeeping.lines import expense_lines, fee_lines, line_of, owed_by
from flows.bookkeeping.text import clean_code, invoice_of, new_code
from flows.failures import VENDOR_UNKNOWN, ItemFails, invalid

_MAX_INVOICE_NUMBER = 120
_MAX_VENDOR_NAME = 120

_DEAD_STATES = frozenset({"voided_by_user", "rejected_by_approver", "rejected_by_user"})
_LIVE_STATES = frozenset(
    {"pending_approval", "parsed", "preparing", "prepared", "ready", "marked_as_paid", "scheduled"}
    | {"payment_in_progress", "paid", "failed_payment"}
)


@dataclass(frozen=True, slots=True)
class BillAccounts:
    """Who is owed, and the accounts on both sides. `mains` are those of the lines, of which a mere payment has none;
    `counter` is what pays, in the role `paid_by`, None for a bill that is paid by another expense."""

    vendor: Vendor | None
    payable: Account
    mains: tuple[Account, ...] | None
    counter: Account | None
    paid_by: Role


def is_payable(item: ExportItem, rule: Rule, context: BookingContext) -> bool:
    """Whether the item becomes a bill and not a journal entry; fails the item for a method that we do not know.

    Movements of the balance are journal entries whatever the method says, and so are the types that move money between
    our own accounts: no vendor could bill them. Without a method an item goes by accounts payable where its supplier is
    a vendor of the accounting system that may be billed.
    """
    if rule.balance_movement:
        return False
    if item.bookkeeping is None:
        if not (rule.billable and context.limits.bills):
            return False
        known = known_vendor(item, context.reference.vendors)
        return known is not None and not known.blocked
    method = item.bookkeeping.method
    if method in ("journal", "none"):
        return False
    if method != "accounts_payable":
        raise invalid(
            f"The bookkeeping method {one_line(method, 60)!r} is not known, so it cannot be said how to book."
        )
    if rule.billable and not context.limits.bills:
        reason = "The expense is to be recorded as a bill, but the accounting system keeps no bills here."
        raise ItemFails(ItemFailure.INVALID_CONFIGURATION, f"{reason} Choose another bookkeeping method in Pleo.")
    return rule.billable


def bill_accounts(item: ExportItem, rule: Rule, accounts: Accounts, context: BookingContext) -> BillAccounts:
    """The vendor and accounts of an item; fails it where the vendor is unknown or an account is missing."""
    settings = context.settings
    vendor = vendor_of(item, context.reference.vendors)
    if vendor is not None:
        payable = vendor.payable or accounts.of_role(Role.PAYABLE)
    elif settings.unknown_vendor is not UnknownVendor.FALLBACK:
        raise ItemFails(ItemFailure.VENDOR_UNKNOWN, VENDOR_UNKNOWN)
    elif settings.unknown_vendor_account:
        payable = accounts.by_code(settings.unknown_vendor_account, AccountKind.LIABILITY)
    else:
        payable = accounts.of_role(Role.PAYABLE)
    mains = accounts.main(None) if rule.main is None else None
    counter = accounts.of_role(rule.counter) if rule.counter is not Role.PAYABLE else None
    return BillAccounts(vendor, payable, mains, counter, rule.counter)


def documents_of(
    item: ExportItem, on: BillAccounts, amounts: Amounts, turned: bool, accounts: Accounts, context: BookingContext
) -> tuple[Document, ...]:
    """The bill, the payment, or both; with `turned` a credit note and a refund. The last line of each settles it.

    A card fee stands on the bill, as it does in what Pleo calls the value of the bill: so bill and payment are settled
    by the same amount everywhere. Fails the item where another line of a document stands on the payable account too.
    """
    documents = []
    size = abs(amounts.header_minor)
    if on.mains is not None:
        costs = expense_lines(item, on.mains, amounts, not turned, accounts, context.settings)
        costs += fee_lines(amounts, not turned, accounts, context.settings)
        lines = (*costs, line_of(on.payable, size, turned, counter=on.counter is None))
        kind, use = (
            (DocumentKind.CREDIT_NOTE, JournalUse.CREDIT_NOTES) if turned else (DocumentKind.BILL, JournalUse.BILLS)
        )
        documents.append(_document(kind, context.journal(use), lines, -size if turned else size, on.payable))
    if on.counter is not None:
        supplier = supplier_money(item.amount) if on.mains is None else None
        lines = (
            line_of(on.payable, size, not turned, supplier=supplier),
            line_of(on.counter, size, turned, counter=True, dimensions=owed_by(item, on.paid_by, context.settings)),
        )
        kind = DocumentKind.REFUND if turned else DocumentKind.PAYMENT
        documents.append(
            _document(kind, context.journal(JournalUse.PAYMENTS), lines, size if turned else -size, on.payable)
        )
    return tuple(documents)


def invoice_number(item: ExportItem, settings: ErpSettings) -> str:
    """The number by which a bill and its payment find each other; empty where there is none to go by.

    A number too long to be kept whole is none: cut, it would be another invoice's.
    """
    invoice = invoice_of(item)
    if settings.settlement is Settlement.NEVER or invoice is None:
        return ""
    number = no_formula(clean_code(invoice.invoice_number), 2 * _MAX_INVOICE_NUMBER)
    return number if len(number) <= _MAX_INVOICE_NUMBER else ""


def invoice_notices(item: ExportItem) -> tuple[str, ...]:
    """What people should know of the state that Pleo gives to the invoice behind an expense.

    Fails an invoice that nobody is to pay. A payment that has been made is booked whatever became of its invoice.
    """
    invoice = invoice_of(item)
    state = one_line((invoice.status if invoice is not None else None) or "", 60)
    if state in _DEAD_STATES:
        if item.type in ("invoice", "card_invoice"):
            raise invalid(
                f"This invoice was voided or rejected in Pleo ({state}), so nothing is booked. If it is to be booked "
                "after all, approve it in Pleo and export it again."
            )
        return (f"the invoice that this belongs to was voided or rejected in Pleo ({state})",)
    if state and state not in _LIVE_STATES:
        return (f"Pleo gives its invoice a state that is not known here, {state!r}: see whether it is to be booked",)
    return ()


def stays_open(item: ExportItem) -> bool:
    """Whether a bill was paid outside Pleo, so that no payment of it will ever come."""
    invoice = invoice_of(item)
    return item.type == "invoice" and invoice is not None and invoice.status == "marked_as_paid"


def known_vendor(item: ExportItem, vendors: Vendors | None) -> KnownVendor | None:
    """The vendor among those that the accounting system has, blocked or not; None where none is found.

    What stands first in Pleo's order and is known decides; a number that several vendors have decides nothing.
    """
    if vendors is None:
        return None
    code, second, tax_number = _keys(item)
    by_second = vendors.by_account if item.vendor is None else vendors.by_external_id
    source = item.vendor or item.supplier
    country = clean_code(source.country) if source is not None else ""
    return (
        (vendors.by_code(code) if code else None)
        or (by_second(second) if second else None)
        or (vendors.by_tax_number(tax_number, country) if tax_number else None)
    )


def vendor_of(item: ExportItem, vendors: Vendors | None) -> Vendor | None:
    """The vendor that bills the expense; None where none is named, or the one that is named is unknown or blocked.

    Where the accounting system takes any vendor it is the one that Pleo names, under the first number that it has.
    """
    if vendors is not None:
        known = known_vendor(item, vendors)
        return known.vendor if known is not None and not known.blocked else None
    code = new_code(next(filter(None, _keys(item)), ""), "vendor code")
    source = item.vendor or item.supplier
    name = no_formula(one_line((source.name if source else None) or "", _MAX_VENDOR_NAME), _MAX_VENDOR_NAME)
    return Vendor(code, name or code) if code else None


def _document(kind: DocumentKind, journal: str, lines: tuple[Line, ...], owed_minor: int, payable: Account) -> Document:
    """The document, if what is owed to the vendor is all that it books on the payable account."""
    if -sum(line.amount_minor for line in lines if line.account.code == payable.code) != owed_minor:
        raise invalid(
            f"The {kind.value.replace('_', ' ')} would stand on account {payable.code} on both sides, as that is also "
            "where the vendor is owed. Choose another category in Pleo, or another account in the settings."
        )
    return Document(kind=kind, journal=journal, owed_minor=owed_minor, lines=lines)


def _keys(item: ExportItem) -> tuple[str, str, str]:
    """The numbers that lead to the vendor, in Pleo's order; the supplier counts only where Pleo sends no vendor."""
    vendor, supplier = item.vendor, item.supplier
    if vendor is not None:
        return clean_code(vendor.code), clean_code(vendor.external_id), clean_code(vendor.tax_registration_number)
    if supplier is not None:
        return clean_code(supplier.code), clean_code(supplier.account), clean_code(supplier.tax_identifier)
    return "", "", ""
