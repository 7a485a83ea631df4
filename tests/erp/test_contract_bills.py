"""The contract: bills, credit notes, payments and refunds, and which of them settle each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from blocks.erp.entries import Bill, Details, Document, DocumentKind, EntryState, Line
from blocks.erp.errors import RefusalKind
from blocks.erp.precedents import NO_PRECEDENTS, bill_of
from tests.support.erp.contract.books import all_recorded, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, CREDIT_NOTE, DRAFT, PAYMENT, POSTED, REFUND, line
from tests.support.erp.contract.site import Site

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def site_with_bills(shared_site: Site) -> Site:
    """The shared ERP, if it keeps bills at all; else `test_contract_refusals` shows that it refuses them."""
    shared_site.needs_capability("bills")
    return shared_site


@pytest.fixture(params=[POSTED, DRAFT])
def state(request: pytest.FixtureRequest, site_with_bills: Site) -> EntryState:
    """Entries that are posted at once, and drafts where there are any."""
    chosen: EntryState = request.param
    if chosen is DRAFT:
        site_with_bills.needs_capability("drafts")
    return chosen


@pytest.mark.parametrize("kind", [BILL, CREDIT_NOTE, PAYMENT, REFUND])
async def test_each_kind_of_document_is_recorded_and_waits_for_its_counterpart(
    site_with_bills: Site, kind: DocumentKind, state: EntryState
) -> None:
    entry = site_with_bills.make.bill(kind, state=state, invoice_number=f"alone-{site_with_bills.make.id()}")
    is_recorded((await site_with_bills.record(entry))[0], entry)
    (booked,) = site_with_bills.hold(entry)
    assert not booked.settled
    (found,) = await site_with_bills.find(entry)
    is_recorded(found, entry, found=True)
    assert (found.counterparts, found.settled) == ((), False)
    assert found.external_id == booked.external_id


@pytest.mark.parametrize("kinds", [(BILL, PAYMENT), (CREDIT_NOTE, REFUND)])
async def test_documents_of_one_expense_are_one_entry_and_settle_each_other_once_they_are_posted(
    site_with_bills: Site, kinds: tuple[DocumentKind, ...], state: EntryState
) -> None:
    entry = site_with_bills.make.bill(*kinds, state=state, invoice_number=f"paid-{site_with_bills.make.id()}")
    (recorded,) = all_recorded(await site_with_bills.record(entry), [entry])
    (booked,) = site_with_bills.hold(entry)
    (found,) = await site_with_bills.find(entry)
    assert found == replace(recorded, found=True)
    assert found.external_id == booked.external_id
    assert (found.settled, booked.settled) == (state is POSTED, state is POSTED)
    assert found.counterparts == ()  # both have the one external id

    if state is DRAFT:
        assert await site_with_bills.erp.post([entry.accounting_entry_id]) == []
        (booked,) = site_with_bills.hold(entry, state=POSTED)
        (found,) = await site_with_bills.find(entry)
        assert (found.settled, booked.settled, found.external_id) == (True, True, recorded.external_id)


@pytest.mark.parametrize("kinds", [(BILL, PAYMENT), (PAYMENT, BILL), (CREDIT_NOTE, REFUND), (REFUND, CREDIT_NOTE)])
async def test_two_expenses_of_one_invoice_settle_each_other_whichever_comes_first(
    site_with_bills: Site, kinds: tuple[DocumentKind, ...]
) -> None:
    number = f"two-{site_with_bills.make.id()}"
    first, second = (site_with_bills.make.bill(kind, invoice_number=number) for kind in kinds)
    (one,) = all_recorded(await site_with_bills.record(first), [first])
    assert (one.counterparts, one.settled) == ((), False)
    (two,) = all_recorded(await site_with_bills.record(second), [second])
    assert await _ties(site_with_bills, first, second) == [((two.external_id,), True), ((one.external_id,), True)]
    assert [booked.settled for booked in site_with_bills.hold(first, second)] == [True, True]


async def test_two_expenses_of_one_invoice_settle_each_other_in_one_call(site_with_bills: Site) -> None:
    number = f"one-call-{site_with_bills.make.id()}"
    pair = [site_with_bills.make.bill(kind, invoice_number=number) for kind in (PAYMENT, BILL)]
    one, two = all_recorded(await site_with_bills.record(*pair), pair)
    assert await _ties(site_with_bills, *pair) == [((two.external_id,), True), ((one.external_id,), True)]
    assert all(booked.settled for booked in site_with_bills.hold(*pair))


async def test_drafts_of_one_invoice_name_each_other_and_are_settled_when_both_are_posted(
    site_with_bills: Site,
) -> None:
    site_with_bills.needs_capability("drafts")
    number = f"drafts-{site_with_bills.make.id()}"
    bill, payment = (site_with_bills.make.bill(kind, state=DRAFT, invoice_number=number) for kind in (BILL, PAYMENT))
    one, two = all_recorded(await site_with_bills.record(bill, payment), [bill, payment])
    named = [(two.external_id,), (one.external_id,)]
    assert await _ties(site_with_bills, bill, payment) == [(named[0], False), (named[1], False)]
    assert await site_with_bills.erp.post([payment.accounting_entry_id]) == []
    assert await _ties(site_with_bills, bill, payment) == [(named[0], False), (named[1], False)]
    assert await site_with_bills.erp.post([bill.accounting_entry_id]) == []
    assert await _ties(site_with_bills, bill, payment) == [(named[0], True), (named[1], True)]
    assert all(booked.settled for booked in site_with_bills.hold(bill, payment, state=POSTED))


async def test_what_does_not_belong_together_is_not_settled(site_with_bills: Site) -> None:
    make = site_with_bills.make
    number, other = f"n-{make.id()}", f"o-{make.id()}"
    strangers: dict[str, Sequence[Bill]] = {
        "another number": [make.bill(BILL, invoice_number=number), make.bill(PAYMENT, invoice_number=other)],
        "no number": [make.bill(BILL), make.bill(PAYMENT)],
        "another amount": [
            make.bill(BILL, invoice_number=f"{number}-a"),
            make.bill(PAYMENT, amount_minor=1249, invoice_number=f"{number}-a"),
        ],
        "paid outside": [
            make.bill(BILL, invoice_number=f"{number}-b", stays_open=True),
            make.bill(PAYMENT, invoice_number=f"{number}-b"),
        ],
        "money goes the wrong way": [
            make.bill(BILL, invoice_number=f"{number}-c"),
            make.bill(REFUND, invoice_number=f"{number}-c"),
        ],
        "another currency": [
            make.bill(BILL, invoice_number=f"{number}-d"),
            make.bill(PAYMENT, invoice_number=f"{number}-d", currency=make.names.second_currency),
        ],
        "nobody's": [
            make.bill(BILL, invoice_number=f"{number}-e", vendor=None, payable=make.names.fallback_payable),
            make.bill(PAYMENT, invoice_number=f"{number}-e"),
        ],
    }
    entries = [entry for group in strangers.values() for entry in group]
    all_recorded(await site_with_bills.record(*entries), entries)
    found = await site_with_bills.find(*entries)
    names = [name for name, group in strangers.items() for _ in group]
    assert [name for name, one in zip(names, found, strict=True) if one.settled] == []
    assert [name for name, one in zip(names, site_with_bills.hold(*entries), strict=True) if one.settled] == []
    assert [
        one.counterparts for name, one in zip(names, found, strict=True) if name in ("another number", "no number")
    ] == [()] * 4


async def test_a_payment_that_could_be_of_either_of_two_bills_settles_neither(site_with_bills: Site) -> None:
    """Whoever has no number at hand writes n/a, time and again."""
    site_with_bills.needs_capability("repeated_invoice_numbers")
    number = f"n/a {site_with_bills.make.id()}"
    entries = [site_with_bills.make.bill(kind, invoice_number=number) for kind in (BILL, BILL, PAYMENT)]
    one, two, payment = all_recorded(await site_with_bills.record(*entries), entries)
    bills = (one.external_id, two.external_id)
    ties = await _ties(site_with_bills, *entries)
    assert [settled for _, settled in ties] == [False] * 3
    assert [set(others) for others, _ in ties] == [{payment.external_id}, {payment.external_id}, set(bills)]
    assert not any(booked.settled for booked in site_with_bills.hold(*entries))


@pytest.mark.parametrize(("paid", "settled"), [(950, True), (900, False)])
async def test_a_bill_its_credit_note_and_the_payment_of_the_rest_come_to_nothing_together(
    site_with_bills: Site, paid: int, settled: bool
) -> None:
    make, number = site_with_bills.make, f"three-{site_with_bills.make.id()}"
    before = Details(invoice_date=make.names.open_day - timedelta(days=90))  # Tryton takes no two of 60 days
    entries = [
        make.bill(BILL, amount_minor=1250, invoice_number=number),
        make.bill(CREDIT_NOTE, amount_minor=300, tax_minor=60, invoice_number=number, details=before),
        make.bill(PAYMENT, amount_minor=paid, invoice_number=number),
    ]
    for entry in entries:
        all_recorded(await site_with_bills.record(entry), [entry])
    assert [one.settled for one in await site_with_bills.find(*entries)] == [settled] * 3
    assert [booked.settled for booked in site_with_bills.hold(*entries)] == [settled] * 3


async def test_a_vendor_s_number_may_come_twice_or_its_second_bill_is_refused(site_with_bills: Site) -> None:
    make = site_with_bills.make
    number = make.id()
    first, second = (make.bill(BILL, invoice_number=number) for _ in range(2))
    is_recorded((await site_with_bills.record(first))[0], first)
    (outcome,) = await site_with_bills.record(second)
    if site_with_bills.limits.repeated_invoice_numbers:
        is_recorded(outcome, second)
    else:
        is_refused(outcome, second, RefusalKind.OTHER)
        site_with_bills.lack(second)
    site_with_bills.hold(first)


async def test_a_bill_of_nobody_stands_on_the_fallback_account(site_with_bills: Site, state: EntryState) -> None:
    make = site_with_bills.make
    entries = [
        make.bill(*kinds, vendor=None, payable=make.names.fallback_payable, state=state, invoice_number=make.id())
        for kinds in ((BILL,), (PAYMENT,), (BILL, PAYMENT))
    ]
    all_recorded(await site_with_bills.record(*entries), entries)
    site_with_bills.hold(*entries)
    all_recorded(await site_with_bills.find(*entries), entries, found=True)


async def test_tax_is_booked_as_pleo_has_it_and_not_as_its_rate_would_make_it(
    site_with_bills: Site, state: EntryState
) -> None:
    entries = [
        site_with_bills.make.bill(BILL, amount_minor=1003, tax_minor=tax_minor, state=state)
        for tax_minor in (0, 1, 777)
    ]
    all_recorded(await site_with_bills.record(*entries), entries)
    site_with_bills.hold(*entries)
    all_recorded(await site_with_bills.find(*entries), entries, found=True)


async def test_reverse_charge_and_several_costs_on_one_bill(site_with_bills: Site, state: EntryState) -> None:
    make, names = site_with_bills.make, site_with_bills.make.names
    simple = make.bill(BILL, state=state, invoice_number=f"rc-{make.id()}")
    lines: list[Line] = [
        line(names.expense, 1000, credit=False, tax_code=names.tax_code),
        line(names.input_tax, 250, credit=False, tax_code=names.tax_code, tax=True),
        line(names.output_tax, 250, credit=True, tax_code=names.tax_code, tax=True),
        line(names.other_expense, 300, credit=False),
        line(names.other_expense, 50, credit=True),
        line(simple.payable, 1250, credit=True, counter=True),
    ]
    document: Document = replace(simple.documents[0], lines=tuple(lines))
    entry = replace(simple, documents=(document,))
    is_recorded((await site_with_bills.record(entry))[0], entry)
    site_with_bills.hold(entry)
    is_recorded((await site_with_bills.find(entry))[0], entry, found=True)


async def test_a_bill_of_zero(site_with_bills: Site, state: EntryState) -> None:
    entry = site_with_bills.make.bill(BILL, amount_minor=0, tax_minor=0, state=state)
    is_recorded((await site_with_bills.record(entry))[0], entry)
    site_with_bills.hold(entry)
    is_recorded((await site_with_bills.find(entry))[0], entry, found=True)


@pytest.mark.parametrize("sign", [1, -1])
async def test_the_sign_that_pleo_gave_to_a_credit_note_is_read_back(site_with_bills: Site, sign: int) -> None:
    entry = replace(site_with_bills.make.bill(CREDIT_NOTE, REFUND), amount_minor=1250 * sign)
    is_recorded((await site_with_bills.record(entry))[0], entry)
    is_recorded((await site_with_bills.find(entry))[0], entry, found=True)
    site_with_bills.hold(entry)


async def test_bills_among_journal_entries_keep_the_order_of_their_outcomes(site_with_bills: Site) -> None:
    make = site_with_bills.make
    entries = [
        make.purchase(),
        make.bill(),
        make.purchase(-300, tax_minor=0),
        make.bill(PAYMENT),
        make.bill(CREDIT_NOTE),
    ]
    recorded = all_recorded(await site_with_bills.record(*entries), entries)
    booked = site_with_bills.hold(*entries)
    assert [one.external_id for one in recorded] == [one.external_id for one in booked]
    assert len({one.external_id for one in recorded}) == len(entries)


async def _ties(site: Site, *entries: Bill) -> list[tuple[tuple[str, ...], bool]]:
    return [(one.counterparts, one.settled) for one in await site.find(*entries)]


async def test_an_erp_that_can_tell_knows_the_bills_of_an_invoice_and_which_signs_amounts_have(
    site_with_bills: Site, state: EntryState
) -> None:
    site_with_bills.needs_capability("tells_precedents")
    make = site_with_bills.make
    number, type_ = f"twice-{make.id()}", f"refund-{make.id()}"
    first = make.bill(state=state, invoice_number=number)
    other_amount = make.bill(state=state, invoice_number=number, amount_minor=999)
    elsewhere = [make.bill(state=state, invoice_number=f"{number}-2"), make.bill(CREDIT_NOTE, invoice_number=number)]
    before = await site_with_bills.erp.precedents([first])
    assert (before.bills, before.signs) == ((), frozenset())
    recorded = all_recorded(
        await site_with_bills.record(first, other_amount, *elsewhere), [first, other_amount, *elsewhere]
    )
    told = await site_with_bills.erp.precedents([make.bill(invoice_number=number)])
    assert sorted(told.bills, key=lambda one: one.external_id) == [
        bill_of(one, made.external_id) for one, made in zip([first, other_amount], recorded, strict=False)
    ]
    assert told.signs == frozenset()
    back = [
        make.purchase(700, item_type=type_, state=state),
        make.purchase(-700, item_type=type_, state=state, details=Details(sub_type="returned")),
    ]
    all_recorded(await site_with_bills.record(*back), back)
    told = await site_with_bills.erp.precedents([make.purchase(-1, item_type=type_)])
    assert (told.bills, told.signs) == ((), {(type_, "", 1), (type_, "returned", -1)})
    assert await site_with_bills.erp.precedents([make.purchase(1, item_type=type_)]) == NO_PRECEDENTS


async def test_a_bill_whose_number_settles_nothing_is_known_by_the_number_that_pleo_gave_it(
    site_with_bills: Site,
) -> None:
    site_with_bills.needs_capability("tells_precedents")
    make = site_with_bills.make
    details = Details(invoice_number=f"unsettled-{make.id()}")
    first = make.bill(details=details)
    (recorded,) = all_recorded(await site_with_bills.record(first), [first])
    told = await site_with_bills.erp.precedents([make.bill(details=details), make.bill()])
    assert told.bills == (bill_of(first, recorded.external_id),)
