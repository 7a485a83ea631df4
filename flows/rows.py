"""What becomes of one item: the row that says whether it is booked, where, and what people should know besides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Entry, Recorded
from blocks.erp.errors import Refused
from blocks.erp.settings import ErpSettings
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure, ItemStatus
from blocks.text import one_line
from flows.bookkeeping import BookingContext
from flows.bookkeeping.amounts import wallet_minor
from flows.bookkeeping.context import calendar_date
from flows.failures import Failure, ItemFails, refusal
from flows.results import NOTHING_KNOWN, Facts, Row, failed

_MAX_NAME = 120


def facts_of(item: ExportItem, settings: ErpSettings) -> Facts:
    """How people know this expense; what cannot be read of it is left out, as this only serves to find it."""
    amount: tuple[str, int] | tuple[None, None]
    try:
        amount = wallet_minor(item.amount, "The expense", settings.minor_units)
    except ItemFails:
        amount = None, None
    try:
        day = calendar_date(item.date, settings.zone)
    except OverflowError:
        day = None
    return Facts(
        type=sys.intern(one_line(item.type, _MAX_NAME)),
        date=day,
        supplier=_name(item.supplier.name if item.supplier else None),
        employee=_name(item.user.name if item.user else None),
        currency=amount[0],
        amount_minor=amount[1],
        pleo_url=item.web_url,
    )


def _name(text: str | None) -> str | None:
    # Few people and suppliers have many expenses: a name is one text for all rows that have it.
    return sys.intern(one_line(text, _MAX_NAME)) or None if text else None


def recorded_row(recorded: Recorded, entry: Entry, facts: Facts, units: MinorUnits) -> Row:
    """The row of an entry that stands now. The amount of one that was found is compared with Pleo's at once; the sums
    of those made in this run are compared at the end of the job."""
    facts = replace(facts, currency=entry.currency, amount_minor=entry.amount_minor)
    notices = [*_rounding(entry, units), *_told(entry)]
    return _compare(entry.accounting_entry_id, recorded, (entry.currency, entry.amount_minor), units, facts, notices)


def found_row(
    item: ExportItem, outcome: Entry | Failure, found: Recorded, facts: Facts, context: BookingContext
) -> Row:
    """The row of an expense that stands in the books already, whatever bookkeeping would make of it today."""
    units = context.settings.minor_units
    amount = amount_of(item, outcome, units)
    if amount is None and isinstance(outcome, Failure):  # no amount to compare: the reason is told
        return unreadable_row(outcome, found, facts)
    notices = _told(outcome) if isinstance(outcome, Entry) else []
    amount = amount or (found.currency, found.amount_minor)
    return _compare(item.accounting_entry_id, found, amount, units, facts, notices)


def amount_of(item: ExportItem, outcome: Entry | Failure, units: MinorUnits) -> tuple[str, int] | None:
    """The currency and signed minor units that Pleo states, whether or not it can be booked; None where they cannot be
    read."""
    if isinstance(outcome, Entry):
        return outcome.currency, outcome.amount_minor
    try:
        return wallet_minor(item.amount, "The expense", units)
    except ItemFails:
        return None


def replaced_row(entry: Entry, stands: Recorded, facts: Facts, units: MinorUnits, dry_run: bool) -> Row:
    """The row of a draft that was replaced by this entry, or in a dry run would be."""
    if dry_run:
        stands = replace(
            stands,
            currency=entry.currency,
            amount_minor=entry.amount_minor,
            posting_date=entry.posting_date,
            original_date=entry.original_date,
            counterparts=(),
        )
    return recorded_row(stands, entry, facts, units)


def unreadable_row(failure: Failure, found: Recorded, facts: Facts = NOTHING_KNOWN) -> Row:
    """The row of an expense that stands in the books, but of which Pleo now sends what nobody can read."""
    reason = f"{failure.reason} (An earlier export booked it as {found.external_id}.)"
    return failed(found.accounting_entry_id, Failure(failure.type, reason), facts)


def preview_row(entry: Entry, facts: Facts, units: MinorUnits) -> Row:
    """The row of an entry that a dry run would have made."""
    return Row(
        accounting_entry_id=entry.accounting_entry_id,
        status=ItemStatus.SUCCESSFUL,
        book_minor=entry.amount_minor,
        notice=_joined([*_other_date(entry, "the entry"), *_rounding(entry, units), *_told(entry)]),
        facts=replace(facts, currency=entry.currency, amount_minor=entry.amount_minor),
    )


def still_draft_row(row: Row, refused: Refused) -> Row:
    """The row of a draft that should have been posted and could not be."""
    failure = refusal(refused)
    reason = f"{failure.reason} ({row.external_id} stays a draft.)"
    return failed(row.accounting_entry_id, Failure(failure.type, reason), row.facts)


def with_notices(row: Row, notices: Sequence[str]) -> Row:
    """The row with more that people should know."""
    return replace(row, notice=_joined([*([row.notice] if row.notice else []), *notices])) if notices else row


def _compare(
    id_: str, recorded: Recorded, amount: tuple[str, int], units: MinorUnits, facts: Facts, notices: Sequence[str]
) -> Row:
    """A success, unless the entry that stands has another amount than Pleo says now.

    `id_` is the item's, and not the same text once more as the accounting system gave it: rows are many.
    """
    currency, amount_minor = amount
    if recorded.found and (recorded.currency, recorded.amount_minor) != amount:
        return failed(
            id_,
            Failure(
                ItemFailure.VALIDATION,
                f"{recorded.external_id} stands with {units.amount(recorded.amount_minor, recorded.currency)}, but "
                f"Pleo says {units.amount(amount_minor, currency)}. Correct the entry or the expense.",
            ),
            facts,
        )
    return Row(
        accounting_entry_id=id_,
        status=ItemStatus.SUCCESSFUL,
        external_id=recorded.external_id,
        external_url=recorded.url,
        exported_at=recorded.recorded_at,
        book_minor=recorded.amount_minor if recorded.currency == currency else None,
        found=recorded.found,
        notice=_joined([*_of_recorded(recorded), *notices]),
        facts=facts,
    )


def _of_recorded(recorded: Recorded) -> list[str]:
    notices = _other_date(recorded, recorded.external_id)
    if recorded.counterparts and not recorded.settled:
        others = ", ".join(recorded.counterparts)
        why = f": {recorded.open_because}" if recorded.open_because else ""
        notices.append(f"{recorded.external_id} belongs to {others}; they are not settled against each other{why}")
    return notices


def _other_date(entry: Entry | Recorded, name: str) -> list[str]:
    if entry.posting_date == entry.original_date:
        return []
    return [f"{name} is dated {entry.posting_date}, as the period of {entry.original_date} is closed"]


def _rounding(entry: Entry, units: MinorUnits) -> list[str]:
    if not entry.rounding_minor:
        return []
    amount = units.amount(entry.rounding_minor, entry.currency)
    return [f"{amount} of rounding stands on the taxed lines of {entry.reference or entry.accounting_entry_id}"]


def _told(entry: Entry) -> list[str]:
    """What bookkeeping would have people know of an entry, which names itself."""
    return [f"{entry.reference or entry.accounting_entry_id}: {notice}" for notice in entry.notices]


def _joined(notices: Sequence[str]) -> str | None:
    return "; ".join(notices) or None
