"""The contract: what an ERP does not take it refuses entry by entry, by the right kind, and leaves nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from blocks.erp.base import Capabilities
from blocks.erp.entries import Account, AccountKind, Bill, Dimension, Entry, Line, Vendor
from blocks.erp.errors import RefusalKind
from blocks.erp.reference import JournalUse
from tests.support.erp.contract.books import all_recorded, is_recorded, is_refused
from tests.support.erp.contract.entries import (
    BILL,
    DRAFT,
    NO_ACCOUNT,
    NO_TAX_CODE,
    NO_VENDOR,
    PAYMENT,
    POSTED,
    Maker,
    with_account,
    with_dimension,
    with_tax_code,
)
from tests.support.erp.contract.harness import Lever
from tests.support.erp.contract.site import Site

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

Make = Callable[[Maker], Entry]
NOBODY = Account(NO_ACCOUNT, "No such account", AccountKind.LIABILITY)


def _unknown_dimension(make: Maker) -> Entry:
    known = make.names.dimension
    return with_dimension(make.purchase(), Dimension(known.group if known else "project", "no-such-value"))


def _unknown_dimension_group(make: Maker) -> Entry:
    known = make.names.dimension
    return with_dimension(make.purchase(), Dimension("no-such-group", known.code if known else "P-1"))


def _unbalanced(make: Maker) -> Entry:
    entry = make.purchase()
    return replace(entry, lines=(replace(entry.lines[0], debit_minor=entry.lines[0].debit_minor + 1), *entry.lines[1:]))


def _settles_another_amount(make: Maker) -> Entry:
    return replace(make.purchase(1250), amount_minor=1251)


def _unbalanced_in_company_currency(make: Maker) -> Entry:
    entry = make.purchase(currency=make.names.second_currency)
    worth = entry.lines[0].company_minor or 0
    return replace(entry, lines=(replace(entry.lines[0], company_minor=worth + 1), *entry.lines[1:]))


def _document_unbalanced(make: Maker) -> Entry:
    """Both documents together balance, neither does by itself."""
    bill = make.bill(BILL, PAYMENT)
    first, second = bill.documents
    debit, credit = Line(make.names.expense, debit_minor=1), Line(make.names.expense, credit_minor=1)
    return replace(
        bill,
        documents=(replace(first, lines=(*first.lines, debit)), replace(second, lines=(*second.lines, credit))),
    )


JOURNAL_ENTRIES: dict[str, tuple[Make, RefusalKind, str | None]] = {
    "unknown account": (
        lambda make: with_account(make.purchase(), NO_ACCOUNT),
        RefusalKind.UNKNOWN_ACCOUNT,
        NO_ACCOUNT,
    ),
    "no account": (lambda make: with_account(make.purchase(), ""), RefusalKind.UNKNOWN_ACCOUNT, None),
    "unknown tax code": (
        lambda make: with_tax_code(make.purchase(), NO_TAX_CODE),
        RefusalKind.UNKNOWN_TAX_CODE,
        NO_TAX_CODE,
    ),
    "unknown dimension": (_unknown_dimension, RefusalKind.UNKNOWN_DIMENSION, "no-such-value"),
    "unknown dimension group": (_unknown_dimension_group, RefusalKind.UNKNOWN_DIMENSION, None),
    "no journal": (
        lambda make: make.purchase(journal=""),
        RefusalKind.MISSING_JOURNAL,
        JournalUse.GENERAL.value,
    ),
    "unbalanced": (_unbalanced, RefusalKind.UNBALANCED, None),
    "no lines": (lambda make: make.purchase(lines=()), RefusalKind.UNBALANCED, None),
    "settles another amount": (_settles_another_amount, RefusalKind.UNBALANCED, None),
    "unbalanced in company currency": (_unbalanced_in_company_currency, RefusalKind.UNBALANCED, None),
    "another currency without a worth": (
        lambda make: replace(make.purchase(currency=make.names.second_currency), lines=make.purchase().lines),
        RefusalKind.UNBALANCED,
        None,
    ),
}
BILLS: dict[str, tuple[Make, RefusalKind, str | None]] = {
    "unknown vendor": (
        lambda make: make.bill(vendor=Vendor(NO_VENDOR, "Nobody")),
        RefusalKind.UNKNOWN_VENDOR,
        NO_VENDOR,
    ),
    "unknown payable account": (lambda make: make.bill(payable=NOBODY), RefusalKind.UNKNOWN_ACCOUNT, NO_ACCOUNT),
    "no journal for bills": (
        lambda make: _without_journal(make.bill(BILL, PAYMENT), 0),
        RefusalKind.MISSING_JOURNAL,
        JournalUse.BILLS.value,
    ),
    "no journal for payments": (
        lambda make: _without_journal(make.bill(BILL, PAYMENT), 1),
        RefusalKind.MISSING_JOURNAL,
        JournalUse.PAYMENTS.value,
    ),
    "a document does not balance": (_document_unbalanced, RefusalKind.UNBALANCED, None),
}


def _without_journal(bill: Bill, number: int) -> Bill:
    documents = [replace(one, journal="" if n == number else one.journal) for n, one in enumerate(bill.documents)]
    return replace(bill, documents=tuple(documents))


def _kind(limits: Capabilities, name: str, kind: RefusalKind) -> RefusalKind:
    """An ERP without bills refuses them whatever else is wrong with them."""
    return RefusalKind.OTHER if name in BILLS and not limits.bills else kind


@pytest.mark.parametrize("name", [*JOURNAL_ENTRIES, *BILLS])
async def test_a_bad_entry_is_refused_by_its_kind(shared_site: Site, name: str) -> None:
    make, kind, subject = {**JOURNAL_ENTRIES, **BILLS}[name]
    bad, kind = make(shared_site.make), _kind(shared_site.limits, name, kind)
    before = shared_site.harness.footprint()
    subject = subject if kind is not RefusalKind.OTHER else None
    is_refused(shared_site.erp.check(bad), bad, kind, subject)
    (outcome,) = await shared_site.erp.record([bad])  # though nobody asked `check` first
    is_refused(outcome, bad, kind, subject)
    assert shared_site.harness.footprint() == before
    assert await shared_site.erp.find([bad.accounting_entry_id]) == {}


async def test_bad_entries_spoil_no_good_ones_and_outcomes_keep_their_order(shared_site: Site) -> None:
    cases = {**JOURNAL_ENTRIES, **BILLS}
    entries: list[Entry] = []
    for make, _, _ in cases.values():
        entries += [shared_site.make.purchase(), make(shared_site.make)]
    entries.append(shared_site.make.purchase())
    outcomes = await shared_site.erp.record(entries)
    all_recorded(outcomes[::2], entries[::2])
    for name, outcome, entry in zip(cases, outcomes[1::2], entries[1::2], strict=True):
        is_refused(outcome, entry, _kind(shared_site.limits, name, cases[name][1]))
    shared_site.hold(*entries[::2])
    shared_site.lack(*entries[1::2])


async def test_an_entry_that_was_refused_is_taken_once_it_is_mended(shared_site: Site) -> None:
    entry = shared_site.make.purchase()
    bad = with_account(entry, NO_ACCOUNT)
    is_refused((await shared_site.erp.record([bad]))[0], bad, RefusalKind.UNKNOWN_ACCOUNT)
    is_recorded((await shared_site.record(entry))[0], entry)
    shared_site.hold(entry)


async def test_a_blocked_vendor_takes_no_bills(shared_site: Site) -> None:
    vendor = shared_site.make.names.blocked_vendor
    shared_site.needs_capability("bills")
    if vendor is None:
        pytest.skip(f"the {shared_site.limits.name} blocks nobody")
    bad, good = shared_site.make.bill(vendor=vendor), shared_site.make.bill()
    is_refused(shared_site.erp.check(bad), bad, RefusalKind.UNKNOWN_VENDOR, vendor.code)
    refused, recorded = await shared_site.erp.record([bad, good])
    is_refused(refused, bad, RefusalKind.UNKNOWN_VENDOR, vendor.code)
    is_recorded(recorded, good)
    shared_site.lack(bad)
    shared_site.hold(good)


async def test_a_journal_that_is_not_there(shared_site: Site) -> None:
    name = shared_site.make.names.unknown_journal or "no-such-journal"
    entry = shared_site.make.purchase(journal=name)
    (outcome,) = await shared_site.erp.record([entry])
    if shared_site.make.names.unknown_journal is None:  # then any name is a journal's
        is_recorded(outcome, entry)
        shared_site.hold(entry)
    else:
        is_refused(outcome, entry, RefusalKind.MISSING_JOURNAL)
        is_refused(shared_site.erp.check(entry), entry, RefusalKind.MISSING_JOURNAL)
        shared_site.lack(entry)


@pytest.mark.parametrize("of_bills", [False, True], ids=["journal entry", "bill"])
async def test_a_closed_period_takes_nothing(shared_site: Site, of_bills: bool) -> None:
    if of_bills:
        shared_site.needs_capability("bills")
    make = shared_site.make.bill if of_bills else shared_site.make.purchase
    day = shared_site.make.names.closed_day
    entries = [make(), make(posting_date=day, original_date=day), make()]
    if shared_site.limits.drafts:
        entries.append(make(posting_date=day, state=DRAFT))
    before, _, after, *drafts = outcomes = await shared_site.erp.record(entries)
    is_recorded(before, entries[0])
    is_recorded(after, entries[2])
    for outcome, entry in [(outcomes[1], entries[1]), *zip(drafts, entries[3:], strict=True)]:
        is_refused(outcome, entry, RefusalKind.CLOSED_PERIOD, day.isoformat())
        shared_site.lack(entry)
    shared_site.hold(entries[0], entries[2])


async def test_an_entry_of_another_company_is_not_taken(shared_site: Site) -> None:
    entry = shared_site.make.purchase(company_id="0b5cf1f5-1c43-4ff5-8f0f-2f7d4c6f9a22")
    is_refused(shared_site.erp.check(entry), entry, RefusalKind.OTHER)
    is_refused((await shared_site.erp.record([entry]))[0], entry, RefusalKind.OTHER)
    shared_site.lack(entry)


async def test_without_bills_they_are_refused(shared_site: Site) -> None:
    if shared_site.limits.bills:
        pytest.skip(f"the {shared_site.limits.name} declares bills=True")
    bill, entry = shared_site.make.bill(), shared_site.make.purchase()
    is_refused(shared_site.erp.check(bill), bill, RefusalKind.OTHER)
    refused, recorded = await shared_site.erp.record([bill, entry])
    is_refused(refused, bill, RefusalKind.OTHER)
    is_recorded(recorded, entry)
    shared_site.lack(bill)


async def test_without_dimensions_they_are_refused(shared_site: Site) -> None:
    if shared_site.limits.dimensions:
        pytest.skip(f"the {shared_site.limits.name} declares dimensions=True")
    entry = with_dimension(shared_site.make.purchase(), Dimension("project", "P-1"))
    is_refused(shared_site.erp.check(entry), entry, RefusalKind.UNKNOWN_DIMENSION, "P-1")
    is_refused((await shared_site.erp.record([entry]))[0], entry, RefusalKind.UNKNOWN_DIMENSION, "P-1")
    shared_site.lack(entry)


async def test_a_period_that_was_closed_since_takes_nothing_and_spoils_nothing(site: Site) -> None:
    """Only the ERP itself can know."""
    site.needs(Lever.CLOSE_PERIOD)
    day = site.make.names.closing_day
    drafts = site.make.purchases(2, state=DRAFT) if site.limits.drafts else []
    if drafts:
        drafts[0] = replace(drafts[0], posting_date=day)
        all_recorded(await site.record(*drafts), drafts)
    entries: list[Entry] = [site.make.purchase(), site.make.purchase(posting_date=day), site.make.purchase()]
    if site.limits.bills:
        entries += [site.make.bill(posting_date=day), site.make.bill()]
    assert [site.erp.check(entry) for entry in entries] == [None] * len(entries)
    site.harness.close_period(day)

    for entry, outcome in zip(entries, await site.erp.record(entries), strict=True):
        if entry.posting_date == day:
            is_refused(outcome, entry, RefusalKind.CLOSED_PERIOD, day.isoformat())
            site.lack(entry)
        else:
            is_recorded(outcome, entry)
            site.hold(entry)
    if drafts:
        (refused,) = await site.erp.post([draft.accounting_entry_id for draft in drafts])
        is_refused(refused, drafts[0], RefusalKind.CLOSED_PERIOD, day.isoformat())
        site.hold(drafts[0])
        site.hold(drafts[1], state=POSTED)
