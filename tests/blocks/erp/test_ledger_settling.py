"""Bills and payments settled against each other: when both are posted, opposite, and nothing else could be meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blocks.erp.entries import Account, AccountKind, Bill, DocumentKind, EntryState, Recorded, Vendor
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger import Ledger
from tests.support.erp.ledger_samples import (
    ACME,
    BILL,
    CREDIT_NOTE,
    NOW,
    PAYMENT,
    REFUND,
    a_bill,
    entry_id,
    opened,
    rows,
    write,
)

POSTED = EntryState.POSTED


def posted(number: int, *kinds: DocumentKind, **changes: object) -> Bill:
    return a_bill(number, *kinds, state=POSTED, **changes)


async def record(ledger: Ledger, *entries: Bill) -> list[Recorded]:
    outcomes = await ledger.record(entries)
    recorded = [one for one in outcomes if isinstance(one, Recorded)]
    assert len(recorded) == len(entries), outcomes
    return recorded


def ties(one: Recorded) -> tuple[tuple[str, ...], bool]:
    return one.counterparts, one.settled


def settlements(path: Path) -> list[set[tuple[int, int]]]:
    """The documents of each settlement, by entry and number."""
    found: dict[int, set[tuple[int, int]]] = {}
    for number, *document in rows(path, "SELECT settlement, entry_id, document_no FROM settled_document ORDER BY 1"):
        found.setdefault(number, set()).add((document[0], document[1]))
    assert rows(path, "SELECT number FROM settlement ORDER BY 1") == [(number,) for number in found]
    return list(found.values())


@pytest.mark.parametrize(("first", "second"), [(BILL, PAYMENT), (CREDIT_NOTE, REFUND)])
@pytest.mark.parametrize("turned", [False, True])
async def test_what_comes_in_two_jobs_is_settled_when_the_second_is_posted(
    path: Path, first: DocumentKind, second: DocumentKind, turned: bool
) -> None:
    kinds = (second, first) if turned else (first, second)
    async with opened(path) as ledger:
        (one,) = await record(ledger, posted(1, kinds[0]))
    async with opened(path) as ledger:
        (other,) = await record(ledger, posted(2, kinds[1]))
        found = await ledger.find([entry_id(1), entry_id(2)])

    assert ties(one) == ((), False)
    assert ties(other) == ties(found[entry_id(2)]) == (("PX-000001",), True)
    assert ties(found[entry_id(1)]) == (("PX-000002",), True)
    assert settlements(path) == [{(1, 1), (2, 1)}]
    assert rows(path, "SELECT open_minor FROM open_item") == [(0,), (0,)]
    assert rows(path, "SELECT settled_at FROM settlement") == [(NOW.replace(microsecond=0).isoformat(),)]


async def test_the_documents_of_one_entry_settle_each_other_and_nothing_else(path: Path) -> None:
    async with opened(path) as ledger:
        draft, ready, lonely = await record(
            ledger, a_bill(1, BILL, PAYMENT), posted(2, CREDIT_NOTE, REFUND), posted(3, PAYMENT)
        )
        assert await ledger.post([entry_id(1)]) == []
        found = await ledger.find([entry_id(1)])
    assert [ties(one) for one in (draft, ready, lonely)] == [((), False), ((), True), ((), False)]
    assert ties(found[entry_id(1)]) == ((), True)
    assert settlements(path) == [{(2, 1), (2, 2)}, {(1, 1), (1, 2)}]


async def test_documents_of_one_entry_without_a_vendor_settle_each_other(path: Path) -> None:
    async with opened(path) as ledger:
        (one,) = await record(ledger, posted(1, BILL, PAYMENT, vendor=None, invoice_number=""))
    assert ties(one) == ((), True)


OTHER_ACCOUNT = Account("2411", "Another payable", AccountKind.LIABILITY)


@pytest.mark.parametrize(
    ("changes", "counterparts"),
    [
        ({"amount_minor": 1249}, ("PX-000001",)),
        ({"payable": OTHER_ACCOUNT}, ("PX-000001",)),
        ({"stays_open": True}, ("PX-000001",)),
        ({"vendor": Vendor("V-2", "Acme A/S")}, ()),
        ({"vendor": None}, ()),
        ({"currency": "EUR"}, ()),
        ({"invoice_number": "2026-18"}, ()),
        ({"invoice_number": ""}, ()),
        ({"state": EntryState.DRAFT}, ("PX-000001",)),
    ],
)
async def test_what_does_not_match_exactly_is_left_open(
    path: Path, changes: dict[str, object], counterparts: tuple[str, ...]
) -> None:
    async with opened(path) as ledger:
        _, payment = await record(ledger, posted(1, BILL), a_bill(2, PAYMENT, **{"state": POSTED, **changes}))
    assert ties(payment) == (counterparts, False)
    assert settlements(path) == []


async def test_a_bill_paid_outside_pleo_waits_for_nobody(path: Path) -> None:
    async with opened(path) as ledger:
        bill, payment = await record(ledger, posted(1, BILL, stays_open=True), posted(2, PAYMENT))
    assert ties(bill) == (("PX-000002",), False)
    assert ties(payment) == (("PX-000001",), False)
    assert settlements(path) == []


@pytest.mark.parametrize("empty", [{"invoice_number": ""}, {"vendor": None}])
async def test_nothing_is_matched_by_what_is_not_known(path: Path, empty: dict[str, object]) -> None:
    async with opened(path) as ledger:
        outcomes = await record(ledger, posted(1, BILL, **empty), posted(2, PAYMENT, **empty))
    assert [ties(one) for one in outcomes] == [((), False)] * 2
    assert settlements(path) == []


async def test_two_that_it_could_be_are_left_open_and_all_named(path: Path) -> None:
    async with opened(path) as ledger:
        *_, payment = await record(ledger, posted(1, BILL), posted(2, BILL), posted(3, PAYMENT))
        second = await record(ledger, posted(4, PAYMENT))
    assert ties(payment) == (("PX-000001", "PX-000002"), False)
    assert [ties(one) for one in second] == [(("PX-000001", "PX-000002"), False)]
    assert settlements(path) == []


async def test_of_several_the_one_with_the_same_amount_is_settled(path: Path) -> None:
    async with opened(path) as ledger:
        outcomes = await record(
            ledger,
            posted(1, BILL),
            posted(2, BILL, amount_minor=900),
            posted(3, PAYMENT, amount_minor=900),
            posted(4, PAYMENT, amount_minor=100),
        )
    assert [one.settled for one in outcomes] == [False, True, True, False]
    assert settlements(path) == [{(2, 1), (3, 1)}]


async def test_what_is_settled_is_no_candidate_any_more(path: Path) -> None:
    async with opened(path) as ledger:
        await record(ledger, posted(1, BILL), posted(2, PAYMENT))
        (again,) = await record(ledger, posted(3, PAYMENT))
        (bill,) = await record(ledger, posted(4, BILL))
    assert ties(again) == (("PX-000001",), False)
    assert ties(bill) == (("PX-000002", "PX-000003"), True)
    assert settlements(path) == [{(1, 1), (2, 1)}, {(3, 1), (4, 1)}]


async def test_an_entry_of_two_that_do_not_match_is_settled_document_by_document(path: Path) -> None:
    documents = (*posted(1, BILL).documents, *posted(1, PAYMENT, amount_minor=600).documents)
    async with opened(path) as ledger:
        (one,) = await record(ledger, posted(1, amount_minor=1850, documents=documents))
        (other,) = await record(ledger, posted(2, PAYMENT))
        found = await ledger.find([entry_id(1)])
    assert ties(one) == ((), False)
    assert ties(other) == (("PX-000001",), True)
    assert ties(found[entry_id(1)]) == (("PX-000002",), False)
    assert rows(path, "SELECT kind, open_minor FROM open_item") == [("bill", 0), ("payment", -600), ("payment", 0)]


async def test_the_first_twenty_counterparts_are_named_in_the_order_of_recording(path: Path) -> None:
    async with opened(path) as ledger:
        await record(ledger, *(a_bill(number, BILL) for number in range(2, 27)))
        (payment,) = await record(ledger, a_bill(1, PAYMENT))
    assert payment.counterparts == tuple(f"PX-{number:06d}" for number in range(1, 21))


async def test_posting_refuses_those_of_a_closed_period_and_posts_the_others(path: Path) -> None:
    async with opened(path) as ledger:
        await record(ledger, a_bill(1, BILL), a_bill(2, PAYMENT), a_bill(3, BILL, PAYMENT))
    write(path, "INSERT INTO period VALUES ('2026-03-03', '2026-03-03', 'closed')")
    ids = [entry_id(number) for number in (1, 2, 3, 99)]
    async with opened(path) as ledger:
        refused = await ledger.post(ids)
        found = await ledger.find(ids)
    assert refused == [
        Refused(
            entry_id(2), RefusalKind.CLOSED_PERIOD, "2026-03-03", "the posting date lies in a closed period: 2026-03-03"
        )
    ]
    assert [found[one].state for one in ids[:3]] == [POSTED, EntryState.DRAFT, POSTED]
    assert [found[one].settled for one in ids[:3]] == [False, False, True]


async def test_the_vendor_is_the_code_whatever_it_is_called(path: Path) -> None:
    async with opened(path) as ledger:
        _, payment = await record(
            ledger, posted(1, BILL), posted(2, PAYMENT, vendor=replace(ACME, name="Acme Holding A/S"))
        )
    assert ties(payment) == (("PX-000001",), True)
