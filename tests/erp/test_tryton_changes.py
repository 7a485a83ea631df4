"""On a real Tryton: what Pleo said is kept with the entry, drafts are written anew in place, moves are reversed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Entry, Statement
from blocks.erp.errors import ErpOutcomeUnknown, ErpUnavailable, RefusalKind, Refused
from tests.support.erp.contract.books import all_recorded, hashes_of, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, DRAFT, PAYMENT, POSTED, Maker, with_account
from tests.support.erp.contract.harness import How
from tests.support.erp.contract.site import another
from tests.support.erp.tryton.harness import TrytonHarness, TrytonKeyHarness
from tests.support.erp.tryton.server import TrytonServer
from tests.support.network.fault_proxy import Cut, Fault, proxying

FIRST = Statement((("amount", "1250"), ("account", "6010")), (("note", "lunch"),))
SECOND = Statement((("amount", "1300"), ("account", "6020")))
MOST_REQUESTS = 40


@pytest.fixture(
    params=[
        pytest.param(TrytonHarness, id="password"),
        pytest.param(TrytonKeyHarness, id="key", marks=pytest.mark.slow),
    ]
)
def harness(request: pytest.FixtureRequest, shared_tryton: TrytonServer) -> TrytonHarness:
    harness: TrytonHarness = request.param(shared_tryton)
    return harness


@pytest.fixture
def make(harness: TrytonHarness, request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    return Maker(harness.names, request.node.nodeid, tmp_path)


def _changed(make: Maker, entry: Entry, **more: Any) -> Entry:
    """What the same expense is once Pleo says something else: of amount, account and day."""
    day = make.names.open_day + timedelta(days=1)
    other = make.purchase(1300, accounting_entry_id=entry.accounting_entry_id, statement=SECOND, posting_date=day)
    return replace(with_account(other, make.names.other_expense.code), state=DRAFT, **more)


def _hold(harness: TrytonHarness, entry: Entry) -> dict[str, int]:
    """What stands on each account, once it is shown that the entry stands once."""
    (booked,) = harness.books([entry.accounting_entry_id])
    found: dict[str, int] = {}
    for line in booked.lines:
        found[line.account] = found.get(line.account, 0) + line.debit_minor - line.credit_minor
    return found


async def test_what_pleo_said_is_kept_and_what_a_person_changed_is_told(harness: TrytonHarness, make: Maker) -> None:
    entries: list[Entry] = [
        make.purchase(state=DRAFT, statement=FIRST),
        make.bill(BILL, PAYMENT, state=DRAFT, statement=SECOND),
        make.purchase(state=POSTED, statement=FIRST, currency=make.names.second_currency),
        make.bill(BILL, state=POSTED, statement=FIRST),
        make.purchase(state=DRAFT),
    ]
    async with another(harness) as erp:
        told = all_recorded(await erp.record(entries), entries)
        found = await erp.find([entry.accounting_entry_id for entry in entries])
        for entry, one in zip(entries, told, strict=True):
            stands = found[entry.accounting_entry_id]
            assert (one.statement, stands.statement, stands.edits) == (entry.statement, entry.statement, ())
            assert one.balances == stands.balances == entry.balances
        move = int(told[0].external_id.partition(",")[2])
        harness.server.sql("update account_move set date = date + 1 where id = %s", (move,))
        stands = (await erp.find([entries[0].accounting_entry_id]))[entries[0].accounting_entry_id]
        assert stands.statement == FIRST
        day = make.names.open_day
        assert stands.edits == (f"posting date from {day} to {day + timedelta(days=1)}",)
        is_refused((await erp.replace([_changed(make, entries[0])]))[0], entries[0], RefusalKind.OTHER, "replacement")
        assert _hold(harness, entries[0]) == dict(entries[0].balances)


async def test_a_draft_is_written_anew_in_place(harness: TrytonHarness, make: Maker) -> None:
    files = make.files(1)
    entry = make.purchase(state=DRAFT, statement=FIRST, attachments=files)
    bill = make.bill(BILL, PAYMENT, state=DRAFT, statement=FIRST, attachments=make.files(1))
    dearer = replace(
        make.bill(BILL, PAYMENT, amount_minor=1300, state=DRAFT, statement=SECOND),
        accounting_entry_id=bill.accounting_entry_id,
    )
    async with another(harness) as erp:
        before = all_recorded(await erp.record([entry, bill]), [entry, bill])
        wanted: list[Entry] = [_changed(make, entry), dearer]
        after = all_recorded(await erp.replace(wanted), wanted, found=True)
        for old, new, now in zip(before, after, wanted, strict=True):
            assert (new.external_id, new.recorded_at, new.attached) == (old.external_id, old.recorded_at, {1})
            assert (new.statement, new.edits, new.balances) == (SECOND, (), now.balances)
            assert _hold(harness, now) == dict(now.balances)
        (booked,) = harness.books([entry.accounting_entry_id])
        assert booked.files == hashes_of(files)
        again = all_recorded(await erp.replace([entry]), [entry], found=True)
        assert again[0].statement == FIRST


async def test_what_is_no_draft_or_becomes_another_kind_stays_as_it_is(harness: TrytonHarness, make: Maker) -> None:
    posted, lone = make.purchase(statement=FIRST), make.purchase(state=DRAFT, statement=FIRST)
    async with another(harness) as erp:
        all_recorded(await erp.record([posted, lone]), [posted, lone])
        as_bill = make.bill(BILL, state=DRAFT, accounting_entry_id=lone.accounting_entry_id)
        nowhere = make.purchase(state=DRAFT)
        wrong = _changed(make, lone, posting_date=make.names.closed_day)
        outcomes = await erp.replace([_changed(make, posted), as_bill, nowhere, wrong])
        assert [type(one) for one in outcomes] == [Refused] * 4
        assert isinstance(outcomes[3], Refused)
        assert outcomes[3].kind is RefusalKind.CLOSED_PERIOD
        assert _hold(harness, posted) == dict(posted.balances)
        assert _hold(harness, lone) == dict(lone.balances)
        assert harness.books([nowhere.accounting_entry_id]) == []


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_replacement_meets_trouble_at_any_request(harness: TrytonHarness, make: Maker, side: str) -> None:
    """It is done, or not done yet, and the next run sees which."""
    with proxying(harness.address) as proxy:
        async with another(harness, How(address=proxy.address)) as erp:
            for n in range(MOST_REQUESTS):
                entry = make.purchase(state=DRAFT, statement=FIRST)
                changed = _changed(make, entry)
                proxy.clear()
                all_recorded(await erp.record([entry]), [entry])
                fault = proxy.add(Fault(skip=n, passes=side == "after", cut=Cut.NONE))
                try:
                    is_recorded((await erp.replace([changed]))[0], changed, found=True)
                except ErpUnavailable:
                    assert _hold(harness, entry) == dict(entry.balances)
                except ErpOutcomeUnknown:
                    pass
                proxy.clear()
                stands = (await erp.find([entry.accounting_entry_id]))[entry.accounting_entry_id]
                assert stands.edits == ()
                assert (stands.balances, stands.statement) in [
                    (entry.balances, FIRST),
                    (changed.balances, SECOND),
                ]
                is_recorded((await erp.replace([changed]))[0], changed, found=True)
                if not fault.met:
                    assert n > 3
                    return
    raise AssertionError(f"a replacement took {MOST_REQUESTS} requests")


def _reversals(harness: TrytonHarness, entry: Entry) -> list[tuple[str, str]]:
    return harness.server.sql(
        "select state, origin from account_move where description = %s", (f"pleo:{entry.accounting_entry_id} reversal",)
    )


def _sum_of(harness: TrytonHarness, entry: Entry) -> dict[str, int]:
    """What the posted moves of an expense, reversals among them, leave on each account, in hundredths."""
    rows = harness.server.sql(_SUMS, (f"pleo:{entry.accounting_entry_id}%",))
    return {code: int(amount * 100) for code, amount in rows if amount}


async def test_a_posted_move_is_reversed_and_booked_anew(harness: TrytonHarness, make: Maker) -> None:
    entry = make.purchase(statement=FIRST, currency=make.names.second_currency)
    day = make.names.open_day + timedelta(days=2)
    async with another(harness) as erp:
        (old,) = all_recorded(await erp.record([entry]), [entry])
        (stands,) = (await erp.find([entry.accounting_entry_id])).values()
        assert await erp.reverse([stands], day) == []
        assert await erp.find([entry.accounting_entry_id]) == {}
        assert _reversals(harness, entry) == [("posted", old.external_id)]
        assert _sum_of(harness, entry) == {}
        anew = replace(_changed(make, entry), state=POSTED)
        (new,) = all_recorded(await erp.record([anew]), [anew])
        assert new.external_id != old.external_id
        assert await erp.reverse([stands], day) == []  # as a repeated call does, which must not touch the new one
        (found,) = (await erp.find([entry.accounting_entry_id])).values()
        assert (found.external_id, found.statement, found.balances) == (new.external_id, SECOND, anew.balances)
        assert len(_reversals(harness, entry)) == 1
        assert await erp.reverse([found], day) == []
        assert _sum_of(harness, entry) == {}


async def test_what_cannot_be_reversed_stays_as_it_is(harness: TrytonHarness, make: Maker) -> None:
    draft, posted = make.purchase(state=DRAFT), make.purchase()
    bill = make.bill(BILL, PAYMENT)
    entries: Sequence[Entry] = [draft, posted, bill]
    async with another(harness) as erp:
        all_recorded(await erp.record(entries), list(entries))
        stands = await erp.find([entry.accounting_entry_id for entry in entries])
        some = [stands[draft.accounting_entry_id], stands[bill.accounting_entry_id]]
        refused = await erp.reverse(some, make.names.open_day)
        assert [one.kind for one in refused] == [RefusalKind.OTHER] * 2
        (closed,) = await erp.reverse([stands[posted.accounting_entry_id]], make.names.closed_day)
        assert (closed.kind, closed.subject) == (RefusalKind.CLOSED_PERIOD, make.names.closed_day.isoformat())
        assert len(await erp.find([entry.accounting_entry_id for entry in entries])) == 3
        assert [_reversals(harness, entry) for entry in entries] == [[], [], []]


@pytest.mark.slow
async def test_a_move_is_reversed_once_whoever_does_it_and_wherever_trouble_comes(
    harness: TrytonHarness, make: Maker
) -> None:
    day = make.names.open_day
    with proxying(harness.address) as proxy:
        async with another(harness, How(address=proxy.address)) as first, another(harness) as second:
            for n in range(MOST_REQUESTS):
                entry = make.purchase()
                proxy.clear()
                all_recorded(await first.record([entry]), [entry])
                (stands,) = (await first.find([entry.accounting_entry_id])).values()
                fault = proxy.add(Fault(skip=n, passes=bool(n % 2), cut=Cut.NONE))
                told = await asyncio.gather(
                    first.reverse([stands], day), second.reverse([stands], day), return_exceptions=True
                )
                for one in told:
                    assert one == [] or isinstance(one, ErpUnavailable | ErpOutcomeUnknown), one
                assert await second.reverse([stands], day) == []
                assert [state for state, _ in _reversals(harness, entry) if state == "posted"] == ["posted"]
                assert _sum_of(harness, entry) == {}
                if not fault.met:
                    assert n > 3
                    return
    raise AssertionError(f"a reversal took {MOST_REQUESTS} requests")


_SUMS = """
    select a.code, sum(l.debit - l.credit) from account_move_line l join account_move m on m.id = l.move
    join account_account a on a.id = l.account where m.state = 'posted' and m.description like %s group by a.code
"""
