"""An expense that stands in the books already: what changed since, and what is to become of its entry therefore.

Pleo's word today is compared with what Pleo said when the entry was written, so that neither a changed setting nor a
person's hand looks like a change of Pleo's. Entries that carry no more than their lines are compared by those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from blocks.erp.base import Capabilities
from blocks.erp.choices import ChangedExpense
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Entry, EntryState, Recorded, Statement
from blocks.erp.reference import Periods
from blocks.pleo.models import ItemFailure
from blocks.text import one_line
from flows.bookkeeping import BookingContext
from flows.bookkeeping.statement import AMOUNTS
from flows.failures import MAX_REASON, Failure

_MAX_NAMED = 260
_MAX_CODES = 300
_MONEY = re.compile(r"(-?\d{1,40}) ([A-Z]{3})")


class Course(StrEnum):
    """What becomes of an entry that stands: it is reported as it is, replaced in place, or reversed and booked anew; or
    its expense fails."""

    STANDS = "stands"
    REPLACED = "replaced"
    REVERSED = "reversed"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Decision:
    """The course of an entry, what people should know of it, and why its expense fails where it does."""

    course: Course
    notices: tuple[str, ...] = ()
    failure: Failure | None = None


def decide(
    found: Recorded,
    statement: Statement,
    outcome: Entry | Failure,
    amount: tuple[str, int] | None,
    context: BookingContext,
) -> Decision:
    """What becomes of the entry `found`, of which Pleo now says `statement`.

    `outcome` is what bookkeeping makes of that today, `amount` the currency and minor units, None where nobody can read
    them.
    """  # fmt: skip
    units, setting = context.settings.minor_units, context.settings.changed_expense
    if found.statement is not None:
        changes = statement.changes_since(found.statement, lambda name, value: _shown(name, value, units))
        words = statement.words_changed_since(found.statement)
    else:
        changes, words = _of_lines(found, outcome, amount, units), ()
    if not changes:
        return _unchanged(found, words, outcome, context)
    what = _named(changes)
    if found.edits:
        undo = "delete" if found.state is EntryState.DRAFT else "reverse"
        return _fails(
            f"{found.external_id} was changed in the accounting system ({_named(found.edits, _MAX_NAMED // 2)}), and "
            f"the expense in Pleo: {_named(changes, _MAX_NAMED // 2)}. Correct the entry, or {undo} it and export the "
            "expense again."
        )
    course, to_do = _course(found, setting, context.limits)
    if course is Course.FAILS:
        return _fails(f"{found.external_id} is booked as it was, but Pleo has changed since: {what}. {to_do}")
    if isinstance(outcome, Failure):
        reason = f"{outcome.reason} ({found.external_id} stays as it was; changed in Pleo since: {what}.)"
        return Decision(Course.FAILS, failure=Failure(outcome.type, one_line(reason, MAX_REASON)))
    return Decision(course, (f"changed in Pleo since {found.external_id} was booked: {what}",))


def reversal_day(found: Recorded, entry: Entry, periods: Periods | None) -> date:
    """The day on which an entry is reversed: its own, or if that is closed the next open one, or that of the new entry,
    which is open in any case."""
    if periods is None or periods.is_open(found.posting_date):
        return found.posting_date
    return periods.next_open(found.posting_date) or entry.posting_date


def _course(found: Recorded, setting: ChangedExpense, limits: Capabilities) -> tuple[Course, str]:
    """What becomes of an entry whose expense has changed, and what its user can do where it fails."""
    again = "and export the expense again"
    if found.state is EntryState.DRAFT:
        if setting is ChangedExpense.FAIL:
            return Course.FAILS, f"The settings (changed_expense) have that fail: delete the draft {again}."
        if not limits.replaces:
            return Course.FAILS, f"The draft cannot be replaced from here: delete it {again}."
        return Course.REPLACED, ""
    if setting is ChangedExpense.REVERSE:
        if limits.reverses:
            return Course.REVERSED, ""
        return Course.FAILS, f"It is posted, and cannot be reversed from here: reverse it there {again}."
    if setting is ChangedExpense.UPDATE and limits.reverses:
        return Course.FAILS, f"It is posted: reverse it {again}, or let the settings (changed_expense) reverse it."
    return Course.FAILS, f"It is posted: reverse it in the accounting system {again}."


def _unchanged(found: Recorded, words: Sequence[str], outcome: Entry | Failure, context: BookingContext) -> Decision:
    """Pleo says what it said when the entry was written, but perhaps for words."""
    name = found.external_id
    if found.edits:
        return Decision(
            Course.STANDS, (f"{name} was changed in the accounting system and stays so: {_named(found.edits)}",)
        )
    notices: list[str] = []
    if words:
        is_open = found.state is EntryState.DRAFT and context.limits.replaces and isinstance(outcome, Entry)
        if is_open and context.settings.changed_expense is not ChangedExpense.FAIL:
            return Decision(Course.REPLACED, (f"changed in Pleo since {name} was booked: {_named(words)}",))
        notices.append(f"{name} keeps its texts, in Pleo they have changed: {_named(words)}")
    if isinstance(outcome, Entry) and not _is_booked_alike(found, outcome):
        notices.append(
            f"{name} stands on {_codes(found.accounts)}, with today's settings it would be booked on "
            f"{_codes(outcome.accounts)}"
            if outcome.accounts != found.accounts
            else f"{name} stands as it was booked, with today's settings its amounts would be split otherwise"
        )
    return Decision(Course.STANDS, tuple(notices))


def _of_lines(
    found: Recorded, outcome: Entry | Failure, amount: tuple[str, int] | None, units: MinorUnits
) -> tuple[str, ...]:
    """What differs between the lines that stand and those that would be written today."""
    changes: list[str] = []
    if amount is not None and amount != (found.currency, found.amount_minor):
        changes.append(
            f"amount from {units.amount(found.amount_minor, found.currency)} to {units.amount(amount[1], amount[0])}"
        )
    if not isinstance(outcome, Entry) or _is_booked_alike(found, outcome):
        return tuple(changes)
    if not found.balances:
        return (*changes, f"accounts from {_codes(found.accounts)} to {_codes(outcome.accounts)}")
    before, now = dict(found.balances), dict(outcome.balances)
    for code in sorted({*before, *now}):
        if before.get(code, 0) != now.get(code, 0):
            old, new = (units.number(one.get(code, 0), found.currency) for one in (before, now))
            changes.append(f"account {one_line(code, 60)} from {old} to {new}")
    return tuple(changes)


def _is_booked_alike(found: Recorded, entry: Entry) -> bool:
    """Whether the entry would come to the same on the same accounts; by the accounts alone where no more is known."""
    if not found.balances:
        return found.accounts == entry.accounts
    return _touched(found.balances) == _touched(entry.balances)


def _touched(balances: Sequence[tuple[str, int]]) -> dict[str, int]:
    return {code: minor for code, minor in balances if minor}


def _fails(reason: str) -> Decision:
    return Decision(Course.FAILS, failure=Failure(ItemFailure.VALIDATION, one_line(reason, MAX_REASON)))


def _shown(name: str, value: str, units: MinorUnits) -> str:
    """A value of a statement for people: amounts in their currency's own notation."""
    money = _MONEY.fullmatch(value) if name.endswith(AMOUNTS) else None
    return units.amount(int(money[1]), money[2]) if money is not None else one_line(value, 80)


def _named(changes: Sequence[str], most: int = _MAX_NAMED) -> str:
    """The changes in one line, as many as fit."""
    named: list[str] = []
    for change in changes:
        if named and len("; ".join([*named, change])) > most:
            return f"{'; '.join(named)}; and {len(changes) - len(named)} more"
        named.append(one_line(change, most))
    return "; ".join(named)


def _codes(codes: Sequence[str]) -> str:
    """Account codes in words; of an expense with hundreds of lines the first ones."""
    return one_line(", ".join(codes), _MAX_CODES)
