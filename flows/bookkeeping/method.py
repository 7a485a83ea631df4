"""How an expense is recorded: as a journal entry, or by accounts payable (Pleo: Bookkeeping Method Resolution)."""

from __future__ import annotations

from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from blocks.text import one_line
from flows.bookkeeping.books import Books
from flows.bookkeeping.direction import Rule
from flows.bookkeeping.vendors import known_vendor
from flows.failures import ItemFails, invalid


def is_payable(item: ExportItem, rule: Rule, books: Books) -> bool:
    """Whether the item becomes a bill and not a journal entry; fails the item for a method that we do not know.

    Movements of the balance are journal entries whatever the method says, and so are the types that move money between
    our own accounts: no vendor could bill them. Without a method an item goes by accounts payable where its supplier is
    a vendor of the accounting system that may be billed.
    """
    if rule.balance_movement:
        return False
    if item.bookkeeping is None:
        if not (rule.billable and books.limits.bills):
            return False
        known = known_vendor(item, books.reference.vendors)
        return known is not None and not known.blocked
    method = item.bookkeeping.method
    if method in ("journal", "none"):
        return False
    if method != "accounts_payable":
        raise invalid(
            f"The bookkeeping method {one_line(method, 60)!r} is not known, so it cannot be said how to book."
        )
    if rule.billable and not books.limits.bills:
        reason = "The expense is to be recorded as a bill, but the accounting system keeps no bills here."
        raise ItemFails(ItemFailure.INVALID_CONFIGURATION, f"{reason} Choose another bookkeeping method in Pleo.")
    return rule.billable
