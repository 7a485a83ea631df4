"""What must be true of a recorded entry: in the books, read without the adapter, and in the adapter's own words."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from blocks.erp.base import Outcome
from blocks.erp.entries import Attachment, Bill, Entry, EntryState, Recorded
from blocks.erp.errors import RefusalKind, Refused
from tests.support.erp.contract.harness import BookedEntry, BookedLine, Harness

Sums = dict[tuple[str, str], tuple[int, int, int]]


def books_hold(harness: Harness, entries: Iterable[Entry], state: EntryState | None = None) -> dict[str, BookedEntry]:
    """What the books hold for these entries, by id, once it is shown that each stands there once, and whole.

    `state` is the one that they must have, where it is not their own.
    """
    expected = {entry.accounting_entry_id: entry for entry in entries}
    booked = harness.books(list(expected))
    assert sorted(one.accounting_entry_id for one in booked) == sorted(expected)
    for one in booked:
        entry = expected[one.accounting_entry_id]
        assert sums_of(one.lines) == expected_sums(entry), one.accounting_entry_id
        assert one.posting_date == entry.posting_date
        assert one.state is (state or entry.state)
        if isinstance(entry, Bill):
            assert one.vendor == (entry.vendor and entry.vendor.code)
    return {one.accounting_entry_id: one for one in booked}


def books_are_sound(harness: Harness, entries: Iterable[Entry], *, files_once: bool = True) -> None:
    """Nothing is posted that is not whole, and nothing twice, whatever was left undone."""
    expected = {entry.accounting_entry_id: entry for entry in entries}
    posted = [one for one in harness.books(list(expected)) if one.state is EntryState.POSTED]
    assert len({one.accounting_entry_id for one in posted}) == len(posted)
    for one in posted:
        entry = expected[one.accounting_entry_id]
        assert sums_of(one.lines) == expected_sums(entry)
        if entry.attachments_required:
            files = one.files if files_once else tuple(sorted(set(one.files)))
            assert files == hashes_of(entry.attachments)


def hashes_of(files: Iterable[Attachment]) -> tuple[str, ...]:
    """The SHA-256 of their bytes as they are now, in the order in which the books show them."""
    return tuple(sorted(hashlib.sha256(one.path.read_bytes()).hexdigest() for one in files))


def books_lack(harness: Harness, entries: Iterable[Entry]) -> None:
    """Nothing of these entries is in the books."""
    assert harness.books([entry.accounting_entry_id for entry in entries]) == []


def net_of(harness: Harness, *entries: Entry) -> Counter[str]:
    """What the books hold on each account of all that bears these ids, in force or not, in minor units."""
    sums: Counter[str] = Counter()
    for one in harness.books([entry.accounting_entry_id for entry in entries]):
        for line in one.lines:
            sums[line.account] += line.debit_minor - line.credit_minor
    return Counter({account: minor for account, minor in sums.items() if minor})


def sums_of(lines: Iterable[BookedLine]) -> Sums:
    """By account and currency: debits, credits, and debits less credits in the company's currency, in minor units."""
    sums: defaultdict[tuple[str, str], tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for one in lines:
        debit, credit, company = sums[one.account, one.currency]
        worth = one.company_minor or 0
        sums[one.account, one.currency] = (
            debit + one.debit_minor,
            credit + one.credit_minor,
            company + (-worth if one.credit_minor else worth),
        )
    return dict(sums)


def expected_sums(entry: Entry) -> Sums:
    """What the entry itself says."""
    return sums_of(
        BookedLine(line.account.code, entry.currency, line.debit_minor, line.credit_minor, line.company_minor)
        for line in entry.all_lines
    )


def is_recorded(outcome: Outcome | None, entry: Entry, *, found: bool = False) -> Recorded:
    """The outcome, once it is shown that it is a record of just this entry."""
    assert isinstance(outcome, Recorded), outcome
    assert outcome.found is found
    assert outcome.accounting_entry_id == entry.accounting_entry_id
    assert outcome.external_id
    assert (outcome.currency, outcome.amount_minor) == (entry.currency, entry.amount_minor)
    assert outcome.accounts == entry.accounts
    assert outcome.state is entry.state
    assert (outcome.posting_date, outcome.original_date) == (entry.posting_date, entry.original_date)
    assert outcome.recorded_at.utcoffset() is not None
    return outcome


def all_recorded(outcomes: Sequence[Outcome], entries: Sequence[Entry], *, found: bool = False) -> list[Recorded]:
    """One record for each entry, in their order."""
    return [is_recorded(outcome, entry, found=found) for outcome, entry in zip(outcomes, entries, strict=True)]


def is_refused(outcome: Outcome | None, entry: Entry, kind: RefusalKind, subject: str | None = None) -> Refused:
    """The outcome, once it is shown that it refuses just this entry for that reason, in words for one line."""
    assert isinstance(outcome, Refused), outcome
    assert (outcome.accounting_entry_id, outcome.kind) == (entry.accounting_entry_id, kind), outcome
    if subject is not None:
        assert outcome.subject == subject
    assert outcome.message.strip()
    assert len(outcome.message.splitlines()) == 1
    return outcome
