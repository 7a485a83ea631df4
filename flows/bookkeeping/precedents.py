"""Whether an entry may be recorded beside what stands already: the same invoice again, money back of both signs.

What stands is told by the accounting system, where it can tell, and by what the job has shown so far.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Bill, Entry
from blocks.erp.precedents import Precedents, StandingBill, bill_of
from blocks.erp.settings import DuplicateInvoice, ErpSettings, MoneyBackSign
from blocks.pleo.items import BrokenItem, ExportItem
from blocks.pleo.models import ItemFailure
from flows.bookkeeping.accounts import money_back_kind
from flows.bookkeeping.amounts import wallet_minor
from flows.failures import Failure, ItemFails

_NAMED = 3


def judged(entry: Entry, stands: Precedents, settings: ErpSettings) -> Entry | Failure:
    """The entry, with what people should know of bills beside it, or why it cannot stand beside them."""
    return _second_sign(entry, stands, settings) or _same_invoice(entry, stands, settings)


def asks_for_precedents(entry: Entry, settings: ErpSettings) -> bool:
    """Whether it depends on what stands if this entry may be recorded."""
    return bill_of(entry) is not None or (
        settings.money_back_sign is MoneyBackSign.EITHER and _kind(entry) is not None and entry.amount_minor != 0
    )


class JobMemory:
    """What the items of one job have shown so far, whatever the accounting system can tell.

    `see` every page in Pleo's order, and those of its items too that an earlier run has finished: then the same one of
    two comes first, whichever run looks, and however often a page is tried.
    """

    def __init__(self, settings: ErpSettings) -> None:
        self._settings = settings
        self._first_signs: dict[tuple[str, str], int] = {}
        self._bills: dict[str, StandingBill] = {}

    def see(self, items: Iterable[ExportItem | BrokenItem]) -> None:
        """Note which sign each kind of money back comes with first."""
        for item in items:
            if isinstance(item, BrokenItem) or (kind := money_back_kind(item.type, item.sub_type)) is None:
                continue
            try:
                _, minor = wallet_minor(item.amount, "The expense", self._settings.minor_units)
            except ItemFails:
                continue  # it fails for that
            if minor:
                self._first_signs.setdefault(kind, _sign(minor))

    def stands(self, entry: Entry, external_id: str = "") -> None:
        """An entry stands under that external id, or would in a dry run; one of this job's bills from now on."""
        bill = bill_of(entry, external_id or entry.reference)
        if bill is not None:
            self._bills[bill.accounting_entry_id] = bill

    def precedents(self, books: Precedents) -> Precedents:
        """What the books hold and, where they say nothing, what this job has shown."""
        told = {(type_, sub_type) for type_, sub_type, _ in books.signs}
        own = {(*kind, sign) for kind, sign in self._first_signs.items() if kind not in told}
        bills = {**self._bills, **{bill.accounting_entry_id: bill for bill in books.bills}}
        return Precedents(tuple(bills.values()), books.signs | own)


def _second_sign(entry: Entry, stands: Precedents, settings: ErpSettings) -> Failure | None:
    """Where nobody has said which sign money back has, the second sign of one kind may be money that goes out again."""
    kind = _kind(entry)
    if settings.money_back_sign is not MoneyBackSign.EITHER or kind is None or not entry.amount_minor:
        return None
    signs = {sign for type_, sub_type, sign in stands.signs if money_back_kind(type_, sub_type) == kind}
    if -_sign(entry.amount_minor) not in signs:
        return None
    what = " ".join(filter(None, kind)).replace("_", " ")
    amount = settings.minor_units.amount(entry.amount_minor, entry.currency)
    other = "negative" if entry.amount_minor > 0 else "positive"
    return Failure(
        ItemFailure.MISSING_CONFIGURATION,
        f"Pleo sends amounts of {what} with both signs: {other} ones were booked as money back, and this one of "
        f"{amount} may be money that goes out again. Say in the settings (money_back_sign: negative or positive) which "
        "sign money back has, and export the expense again.",
    )


def _same_invoice(entry: Entry, stands: Precedents, settings: ErpSettings) -> Entry | Failure:
    own, others = bill_of(entry), others_of(entry, stands)
    if not others or own is None or not isinstance(entry, Bill) or entry.vendor is None:
        return entry
    units = settings.minor_units
    same = next((one for one in others if (one.currency, one.amount_minor) == (own.currency, own.amount_minor)), None)
    if same is not None and settings.duplicate_invoice is DuplicateInvoice.FAIL:
        amount = units.amount(own.amount_minor, own.currency)
        return Failure(
            ItemFailure.VALIDATION,
            f"Invoice {own.invoice_number} of {entry.vendor.name} over {amount} is booked already as "
            f"{_name(same)}. Delete one of the two in Pleo, or let the settings (duplicate_invoice) book both.",
        )
    return replace(entry, notices=(*entry.notices, same_invoice_notice(own, others, units)))


def others_of(entry: Entry, stands: Precedents) -> list[StandingBill]:
    """The bills that stand of the same vendor and number."""
    own = bill_of(entry)
    if own is None:
        return []
    return [
        bill
        for bill in stands.bills
        if (bill.vendor, bill.invoice_number) == (own.vendor, own.invoice_number)
        and bill.accounting_entry_id != own.accounting_entry_id
    ]


def same_invoice_notice(own: StandingBill, others: Iterable[StandingBill], units: MinorUnits) -> str:
    """What people are told at a bill of the others that have its vendor and number."""
    named = [f"{_name(one)} ({units.amount(one.amount_minor, one.currency)})" for one in others]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"invoice {own.invoice_number} of {own.vendor} stands as {', '.join(named[:_NAMED])}{more} too"


def _name(bill: StandingBill) -> str:
    return bill.external_id or f"the expense {bill.accounting_entry_id}"


def _kind(entry: Entry) -> tuple[str, str] | None:
    return money_back_kind(entry.item_type, entry.details.sub_type)


def _sign(minor: int) -> int:
    return 1 if minor > 0 else -1
