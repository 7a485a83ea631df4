"""Step 5, process and record: the items of one page into the accounting system, each once.

Every call looks all its ids up first, so it may be repeated as it stands whenever its outcome is unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blocks.erp.base import Erp
from blocks.erp.entries import EntryState, JournalEntry, Recorded
from blocks.erp.errors import Refused
from blocks.pleo.client import items_of
from blocks.pleo.items import BrokenItem, ExportItem
from blocks.pleo.models import ItemFailure, ItemStatus
from flows.bookkeeping import Books, book
from flows.bookkeeping.money import show, wallet_minor
from flows.failures import Failure, ItemFails, refusal
from flows.results import Row, failed

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RecordedPage:
    """The outcome of a page: a row for every wanted item on it, and in a dry run the entries that would be made."""

    rows: list[Row] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)


async def record_page(erp: Erp, books: Books, page_text: str, wanted: Sequence[str], dry_run: bool) -> RecordedPage:
    """Book the wanted items of a page. In a dry run nothing is written and the rows are what would be.

    Raises ErpUnavailable or ErpOutcomeUnknown, after which the same call is safe.
    """
    page = RecordedPage()
    open_ids = dict.fromkeys(wanted)
    found = await erp.find(list(open_ids))
    to_record: list[JournalEntry] = []
    for item in items_of(page_text):
        id_ = item.accounting_entry_id
        if id_ is None or id_ not in open_ids:
            continue
        del open_ids[id_]
        outcome = _prepare(item, books, erp)
        if id_ in found:
            page.rows.append(_found_row(item, outcome, found[id_]))
        elif isinstance(outcome, Failure):
            page.rows.append(failed(id_, outcome))
        else:
            to_record.append(outcome)
    if dry_run:
        page.entries = to_record
        page.rows += [_would_be(entry) for entry in to_record]
        return page
    await _post_found_drafts(erp, books, page.rows, found)
    size = books.limits.max_entries
    for start in range(0, len(to_record), size):
        chunk = to_record[start : start + size]
        outcomes = await erp.record(chunk)
        page.rows += [_row(entry, outcome) for entry, outcome in zip(chunk, outcomes, strict=True)]
    return page


async def _post_found_drafts(erp: Erp, books: Books, rows: Sequence[Row], found: Mapping[str, Recorded]) -> None:
    """Post what an earlier run left as a draft and is now to be posted; what failed stays a draft."""
    drafts = [
        row.accounting_entry_id
        for row in rows
        if row.status is ItemStatus.SUCCESSFUL and found[row.accounting_entry_id].state is EntryState.DRAFT
    ]
    if drafts and books.policy.posting is EntryState.POSTED:
        await erp.post(drafts)


def _prepare(item: ExportItem | BrokenItem, books: Books, erp: Erp) -> JournalEntry | Failure:
    """The item's entry, checked against the accounting system's limits, or why there is none."""
    if isinstance(item, BrokenItem):
        return Failure(ItemFailure.VALIDATION, f"Pleo's data of this expense cannot be read: {item.problem}")
    try:
        outcome = book(item, books)
        refused = erp.check(outcome) if isinstance(outcome, JournalEntry) else None
    except Exception:  # an item that nobody foresaw must not take its job with it
        log.exception("Unexpected while booking %s", item.accounting_entry_id)
        return Failure(
            ItemFailure.UNEXPECTED, "The integration met something unforeseen in this expense; its log has the cause."
        )
    return refusal(refused) if refused is not None else outcome


def _row(entry: JournalEntry, outcome: Recorded | Refused) -> Row:
    if isinstance(outcome, Refused):
        return failed(entry.accounting_entry_id, refusal(outcome))
    return _compare(outcome, entry.currency, entry.amount_minor, entry.accounts)


def _found_row(item: ExportItem | BrokenItem, outcome: JournalEntry | Failure, found: Recorded) -> Row:
    """The row of an expense that stands in the books already, whatever bookkeeping would make of it today."""
    if isinstance(outcome, JournalEntry):
        return _compare(found, outcome.currency, outcome.amount_minor, outcome.accounts)
    if isinstance(item, ExportItem):
        try:
            currency, minor = wallet_minor(item.amount, "The expense")
        except ItemFails:
            log.debug("no amount to compare %s with", found.external_id)
        else:
            return _compare(found, currency, minor, found.accounts)
    return failed(
        found.accounting_entry_id,
        Failure(outcome.type, f"{outcome.reason} (An earlier export booked it as {found.external_id}.)"),
    )


def _compare(recorded: Recorded, currency: str, amount_minor: int, accounts: Sequence[str]) -> Row:
    """A success, unless the entry that stands has another amount than Pleo says now."""
    if recorded.found and (recorded.currency, recorded.amount_minor) != (currency, amount_minor):
        return failed(
            recorded.accounting_entry_id,
            Failure(
                ItemFailure.VALIDATION,
                f"Already booked as {recorded.external_id} with {show(recorded.amount_minor, recorded.currency)}, "
                f"but Pleo now says {show(amount_minor, currency)}. Correct the entry or the expense.",
            ),
        )
    notice = None
    if recorded.found and tuple(accounts) != recorded.accounts:
        notice = f"{recorded.external_id} stands on {', '.join(recorded.accounts)}, Pleo now says {', '.join(accounts)}"
    return Row(
        accounting_entry_id=recorded.accounting_entry_id,
        status=ItemStatus.SUCCESSFUL,
        external_id=recorded.external_id,
        external_url=recorded.url,
        exported_at=recorded.recorded_at,
        currency=currency,
        amount_minor=amount_minor,
        book_minor=recorded.amount_minor if recorded.currency == currency else None,
        found=recorded.found,
        notice=notice,
    )


def _would_be(entry: JournalEntry) -> Row:
    return Row(
        accounting_entry_id=entry.accounting_entry_id,
        status=ItemStatus.SUCCESSFUL,
        currency=entry.currency,
        amount_minor=entry.amount_minor,
        book_minor=entry.amount_minor,
    )
