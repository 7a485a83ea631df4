"""What becomes of one item: the row that says whether it is booked, where, and what people should know besides."""

from __future__ import annotations

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

_MAX_CODES = 300  # characters
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
        type=one_line(item.type, _MAX_NAME),
        date=day,
        supplier=_name(item.supplier.name if item.supplier else None),
        employee=_name(item.user.name if item.user else None),
        currency=amount[0],
        amount_minor=amount[1],
        pleo_url=item.web_url,
    )


def _name(text: str | None) -> str | None:
    return one_line(text, _MAX_NAME) or None if text else None


def recorded_row(recorded: Recorded, entry: Entry, facts: Facts, units: MinorUnits) -> Row:
    """The row of an entry that stands now. The amount of one that was found is compared with Pleo's at once; the sums
    of those made in this run are compared at the end of the job."""
    facts = replace(facts, currency=entry.currency, amount_minor=entry.amount_minor)
    notices = [*_rounding(entry, units), *_told(entry)]
    return _compare(recorded, entry.currency, entry.amount_minor, entry.accounts, units, facts, notices)


def found_row(
    item: ExportItem, outcome: Entry | Failure, found: Recorded, facts: Facts, context: BookingContext
) -> Row:
    """The row of an expense that stands in the books already, whatever bookkeeping would make of it today."""
    units = context.settings.minor_units
    if isinstance(outcome, Entry):
        notices = _told(outcome)
        return _compare(found, outcome.currency, outcome.amount_minor, outcome.accounts, units, facts, notices)
    try:
        currency, minor = wallet_minor(item.amount, "The expense", units)
    except ItemFails:  # there is no amount to compare, so the reason why it could not be booked is the answer
        return unreadable_row(outcome, found, facts)
    return _compare(found, currency, minor, found.accounts, units, facts)


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
    recorded: Recorded,
    currency: str,
    amount_minor: int,
    accounts: Sequence[str],
    units: MinorUnits,
    facts: Facts,
    notices: Sequence[str] = (),
) -> Row:
    """A success, unless the entry that stands has another amount than Pleo says now."""
    if recorded.found and (recorded.currency, recorded.amount_minor) != (currency, amount_minor):
        return failed(
            recorded.accounting_entry_id,
            Failure(
                ItemFailure.VALIDATION,
                f"Already booked as {recorded.external_id} with "
                f"{units.amount(recorded.amount_minor, recorded.currency)}, but Pleo now says "
                f"{units.amount(amount_minor, currency)}. Correct the entry or the expense.",
            ),
            facts,
        )
    return Row(
        accounting_entry_id=recorded.accounting_entry_id,
        status=ItemStatus.SUCCESSFUL,
        external_id=recorded.external_id,
        external_url=recorded.url,
        exported_at=recorded.recorded_at,
        book_minor=recorded.amount_minor if recorded.currency == currency else None,
        found=recorded.found,
        notice=_joined([*_of_recorded(recorded, accounts), *notices]),
        facts=facts,
    )


def _of_recorded(recorded: Recorded, accounts: Sequence[str]) -> list[str]:
    notices = _other_date(recorded, recorded.external_id)
    if recorded.found and tuple(accounts) != recorded.accounts:
        notices.append(
            f"{recorded.external_id} stands on {_named(recorded.accounts)}, Pleo now says {_named(accounts)}"
        )
    if recorded.counterparts and not recorded.settled:
        others = ", ".join(recorded.counterparts)
        notices.append(f"{recorded.external_id} belongs to {others}; they are not settled against each other")
    return notices


def _named(codes: Sequence[str]) -> str:
    """Account codes in words; of an expense with hundreds of lines the first ones."""
    return one_line(", ".join(codes), _MAX_CODES)


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
