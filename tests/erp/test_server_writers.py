"""One entry per expense on a real server: whoever records it at the same time, wherever runs and server die or hang.

What a simulation shows of thousands of orders of events (`tests/blocks/erp/test_tryton_claims.py`) is shown here of
Tryton itself: on a stock one with user and password, with the key alone, and on one that has our module; and of Odoo,
by JSON-2 and by XML-RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Bill, Entry, EntryState, Recorded
from tests.support.erp.contract.books import books_hold
from tests.support.erp.contract.entries import BILL, DRAFT, PAYMENT, POSTED, Maker
from tests.support.erp.contract.harness import Harness, How
from tests.support.erp.contract.site import another
from tests.support.erp.contract.writers import (
    Hang,
    Job,
    Killer,
    Strike,
    Watched,
    begin,
    running,
    server_of,
    stands_once,
    waiting_for_a_lock,
    writers,
)
from tests.support.erp.watched import WATCHED
from tests.support.network.fault_proxy import Answer, Cut, Fault, FaultProxy, Seen, proxying

MOST_REQUESTS = 100
SOON_S = 0.02
"""How soon a run looks again after others that are known to be dead."""

PATIENT_S = 1.0
"""The same after others that are alive: on a slow machine they would delete a draft that is still given its receipt."""

USES = [(kind, state) for kind in WATCHED for state in (POSTED, DRAFT)]
HANGS_S, PATIENCE_S = 2.5, 1.0
"""How long the server hangs, and how long an adapter waits for an answer then."""


@dataclass(frozen=True)
class Site:
    """A server that is used in one way, and entries of the test's own, all posted or all drafts."""

    watched: Watched
    harness: Harness
    make: Maker
    state: EntryState

    def entries(self, count: int) -> list[Entry]:
        """Purchases and bills with their payments, some of which need a receipt."""
        made: list[Entry] = []
        for n in range(count):
            more: dict[str, Any] = {"state": self.state}
            if n % 4 == 1:
                more |= {"attachments": self.make.files(1), "attachments_required": True}
            made.append(self.make.bill(BILL, PAYMENT, **more) if n % 5 == 3 else self.make.purchase(1000 + n, **more))
        return made

    def page(self) -> list[Entry]:
        """Two purchases, one of which needs a receipt, and a bill with its payment."""
        receipt: dict[str, Any] = {"attachments": self.make.files(1), "attachments_required": True}
        return [
            self.make.purchase(state=self.state),
            self.make.purchase(state=self.state, **receipt),
            self.make.bill(BILL, PAYMENT, state=self.state),
        ]

    def job(
        self, entries: Sequence[Entry], address: str | None = None, timeout_s: float | None = None, **options: Any
    ) -> Job:
        """Have them recorded by a process."""
        connection = self.harness.connection(How(address=address, timeout_s=timeout_s))
        return Job(connection, self.harness.names.company_id, entries, self.watched.waits, **options)

    def stands_once(self, entries: Sequence[Entry]) -> dict[str, str]:
        """The external id of each, once it is shown that it stands once."""
        return stands_once(self.watched, self.harness, entries)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A server of the kind, used in the way, that the test is for."""
    name, state = request.param
    watched = WATCHED[name]
    harness = watched.harness(request.getfixturevalue(watched.server))
    return Site(watched, harness, Maker(watched.names, request.node.nodeid, tmp_path), state)


def _used(*uses: tuple[str, EntryState]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", uses, indirect=True, ids=[f"{kind}-{state.value}" for kind, state in uses])


def _record_together(site: Site, count: int, how_many: int) -> None:
    """Have as many writers record the same expenses, half of them from the other end."""
    entries = site.entries(count)
    jobs = [site.job(entries[:: 1 if n % 2 else -1], at_once=True, wait_s=PATIENT_S) for n in range(how_many)]
    told = writers(jobs)
    stands = site.stands_once(entries)
    for one in told:
        assert one.refused == {}
        assert one.first.items() <= stands.items()
        assert one.end == stands
    print(f"\n{how_many} writers, {count} expenses, {len(stands)} entries:", *(f"{one.runs} runs" for one in told))


@_used(("tryton password", POSTED))
def test_two_writers_record_each_expense_once(site: Site) -> None:
    _record_together(site, 8, 2)


@pytest.mark.slow
@_used(*USES)
def test_four_writers_record_each_expense_once(site: Site) -> None:
    _record_together(site, 20, 4)


def _killed(site: Site, proxy: FaultProxy, fault: Fault, side: str) -> bool:
    """Kill a run before the request of that fault reaches the server, or after the server has acted on it and before
    the run hears of that, and have another run go on; False where there was no such request."""
    entries = site.page()
    killer = Killer()
    fault.cut, fault.passes = Cut.NONE, side == "after"
    setattr(fault, side, killer)
    jobs = [site.job(entries, proxy.address), site.job(entries, wait_s=SOON_S)]
    with running(jobs) as (first, second):
        killer.pid = first.pid
        proxy.clear()
        proxy.add(fault)
        begin(first)
        told = first.told()
        assert (told is None) is killer.done.is_set()
        begin(second)
        then = second.told()
    assert then is not None
    assert then.runs <= 2, then.trouble
    assert then.end == site.stands_once(entries)
    if told is not None:
        assert told.end == then.end
    bills = [entry for entry in entries if isinstance(entry, Bill)]
    assert [one.settled for one in books_hold(site.harness, bills).values()] == [site.state is POSTED] * len(bills)
    return told is None


def _killed_at_each(site: Site, side: str, *, changing: bool) -> int:
    """Kill runs at their first request, their second, and so on, or at those that may change something; how many."""
    with proxying(site.harness.address) as proxy:
        for n in range(MOST_REQUESTS):
            fault = Fault(skip=n, when=site.harness.may_change if changing else None)
            if not _killed(site, proxy, fault, side):
                print(f"\n{n} requests, {n} runs killed, {3 * n} expenses, none twice")
                return n
    raise AssertionError(f"a page took {MOST_REQUESTS} requests")


@_used(("tryton key", DRAFT))
def test_a_run_may_be_killed_after_it_has_made_drafts(site: Site) -> None:
    with proxying(site.harness.address) as proxy:
        for n in (0, 1):
            assert _killed(site, proxy, Fault(skip=n, when=site.harness.may_change), "after")


@pytest.mark.slow
@_used(("tryton password", POSTED), ("odoo", POSTED))
def test_a_run_may_be_killed_before_any_request(site: Site) -> None:
    assert _killed_at_each(site, "before", changing=False) > 20


@pytest.mark.slow
@_used(("tryton password", POSTED), *((kind, DRAFT) for kind in WATCHED))  # the contract has all that are posted
def test_a_run_may_be_killed_after_whatever_it_changes(site: Site) -> None:
    assert _killed_at_each(site, "after", changing=True) > 0  # drafts of Odoo come with their receipts, in one request


@pytest.mark.slow
@_used(("tryton password", POSTED), ("tryton key", POSTED))
def test_a_run_may_be_killed_between_posting_a_bill_with_its_payment_and_settling_them(site: Site) -> None:
    with proxying(site.harness.address) as proxy:
        assert _killed(site, proxy, Fault(when=lambda seen: "/account.move.reconciliation" in seen.path), "before")


def _server_killed(site: Site, fault: Fault) -> bool:
    """Kill the server in the middle of a request, start it again, and have the run go on."""
    entries = site.page()
    strike = Strike(server_of(site.harness), site.watched.written)
    fault.before = strike
    with (
        proxying(site.harness.address) as proxy,
        running([site.job(entries, proxy.address, wait_s=SOON_S, pause_s=0.5)]) as (process,),
    ):
        proxy.add(fault)
        begin(process)
        told = process.told()
        strike.over()
    assert told is not None
    assert bool(told.trouble) is strike.met
    assert told.end == site.stands_once(entries)
    return strike.met


def _server_hangs(site: Site, n: int) -> bool:
    """Have the server hang in the n-th request, longer than the adapter waits, and the run go on."""
    entries = site.page()
    hang = Hang(server_of(site.harness), HANGS_S)
    options: dict[str, Any] = {"wait_s": SOON_S, "pause_s": HANGS_S, "timeout_s": PATIENCE_S}
    with (
        proxying(site.harness.address) as proxy,
        running([site.job(entries, proxy.address, **options)]) as (process,),
    ):
        proxy.add(Fault(skip=n, before=hang))
        begin(process)
        told = process.told()
        hang.over()
        assert proxy.quiet(60)
    assert told is not None
    assert told.end == site.stands_once(entries)
    return hang.met


@pytest.mark.slow
@_used(("tryton key", POSTED), ("odoo", POSTED), ("odoo by xml-rpc", DRAFT))
def test_the_server_may_hang_in_any_request(site: Site) -> None:
    n = 0
    while _server_hangs(site, n):
        n += 1
    assert n > 8
    print(f"\n{n} requests, the server hung in each of them, {3 * n} expenses, none twice")


@pytest.mark.slow
@_used(("tryton key", DRAFT), ("odoo", POSTED), ("odoo by xml-rpc", POSTED))
def test_the_server_may_be_switched_to_maintenance_at_any_request(site: Site) -> None:
    """It answers with a page of HTML from the n-th request on; and one day, it does not any more."""
    page = Answer(503, b"<html><h1>Down for maintenance</h1></html>", {"content-type": "text/html"})
    with proxying(site.harness.address) as proxy:
        for n in range(MOST_REQUESTS):
            entries = site.page()
            with running([site.job(entries, proxy.address, wait_s=SOON_S)]) as (process,):
                proxy.clear()
                fault = proxy.add(Fault(skip=n, times=5, passes=False, answer=page))
                begin(process)
                told = process.told()
            assert told is not None
            assert told.end == site.stands_once(entries)
            if not fault.met:
                assert n > 8
                return
    raise AssertionError(f"a page took {MOST_REQUESTS} requests")


def _is_post(seen: Seen) -> bool:
    return b".post" in seen.head or "/post" in seen.path or b"action_post" in seen.head or "action_post" in seen.path


@pytest.mark.slow
@_used(("tryton password", POSTED), ("odoo", POSTED))
def test_the_server_may_be_killed_while_it_creates_and_while_it_posts(site: Site) -> None:
    assert _server_killed(site, Fault(when=site.harness.may_change))
    assert _server_killed(site, Fault(when=_is_post))


@pytest.mark.slow
@_used(*USES)
def test_the_server_may_be_killed_in_the_middle_of_whatever_it_changes(site: Site) -> None:
    n = 0
    while _server_killed(site, Fault(skip=n, when=site.harness.may_change)):
        n += 1
    assert n > 0
    print(f"\n{n} requests, the server killed in each of them, {3 * n} expenses, none twice")


@pytest.mark.slow
@_used(*((kind, state) for kind, state in USES if kind in ("tryton password", "tryton key")))
async def test_a_lower_id_may_be_seen_after_a_higher_one_counts(site: Site) -> None:
    """A transaction that gave out its id first, and commits last, as `deployments/tryton` has them take turns."""
    server, make, harness = server_of(site.harness), site.make, site.harness
    late = make.purchase(state=site.state, posting_date=make.names.open_day + timedelta(days=1))
    early = replace(late, posting_date=make.names.open_day)
    server.sql(_WAIT_WITH_SOME.format(day=late.posting_date.isoformat()))
    server.sql(_TRIGGER)
    async with another(harness) as first, another(harness) as second:
        with server.holding("select pg_advisory_xact_lock(42)"):
            slow = asyncio.ensure_future(first.record([late]))
            await asyncio.to_thread(waiting_for_a_lock, server)
            ((lower,),) = server.sql("select last_value from account_move_id_seq")
            (quick,) = await second.record([early])
        (told,) = await slow
    assert isinstance(quick, Recorded)
    assert isinstance(told, Recorded)
    assert int(quick.external_id.partition(",")[2]) > lower
    assert (quick.found, told.found, told.external_id) == (False, True, quick.external_id)
    assert site.stands_once([early]) == {early.accounting_entry_id: quick.external_id}


_WAIT_WITH_SOME = """
    create function wait_with_some() returns trigger language plpgsql as $$ begin
        if new.date = '{day}' then perform pg_advisory_xact_lock(42); end if; return new;
    end $$
"""
_TRIGGER = "create trigger wait_with_some after insert on account_move for each row execute function wait_with_some()"
