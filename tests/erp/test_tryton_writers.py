"""One entry per expense on a real Tryton: whoever records it at the same time, and wherever runs and server die.

What a simulation shows of thousands of orders of events (`tests/blocks/erp/test_tryton_claims.py`) is shown here of
the server itself: on a stock one with user and password, with the key alone, and on one that has our module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from contract_entries import BILL, DRAFT, PAYMENT, POSTED, Maker
from contract_harness import How
from fault_proxy import Cut, Fault, FaultProxy, proxying
from tryton_harness import TrytonHarness, TrytonKeyHarness, TrytonModuleHarness
from tryton_server import TrytonServer
from tryton_writers import Job, Killer, begin, running, stands_once, writers

from blocks.erp.entries import Entry, EntryState

MOST_REQUESTS = 100
SOON_S = 0.02
"""How soon a run looks again after others that are known to be dead."""

KINDS = {"password": TrytonHarness, "key": TrytonKeyHarness, "module": TrytonModuleHarness}
USES = [(kind, state) for kind in KINDS for state in (POSTED, DRAFT)]


@dataclass(frozen=True)
class Site:
    """A server that is used in one way, and entries of the test's own, all posted or all drafts."""

    harness: TrytonHarness
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
        """A purchase, one with a receipt that it needs, and a bill with its payment and such a receipt."""
        needs: dict[str, Any] = {"state": self.state, "attachments_required": True}
        return [
            self.make.purchase(state=self.state),
            self.make.purchase(attachments=self.make.files(1), **needs),
            self.make.bill(BILL, PAYMENT, attachments=self.make.files(1), **needs),
        ]

    def job(self, entries: Sequence[Entry], address: str | None = None, **options: Any) -> Job:
        """Have them recorded by a process."""
        return Job(self.harness.connection(How(address=address)), self.harness.names.company_id, entries, **options)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A server of the kind, used in the way, that the test is for."""
    name, state = request.param
    server: TrytonServer = request.getfixturevalue("tryton_with_module" if name == "module" else "tryton")
    return Site(KINDS[name](server), Maker(KINDS[name].names, request.node.nodeid, tmp_path), state)


def _used(*uses: tuple[str, EntryState]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("site", uses, indirect=True, ids=[f"{kind}-{state.value}" for kind, state in uses])


def _record_together(site: Site, count: int, how_many: int) -> None:
    """Have as many writers record the same expenses, half of them from the other end."""
    entries = site.entries(count)
    told = writers([site.job(entries[:: 1 if n % 2 else -1], at_once=True) for n in range(how_many)])
    stands = stands_once(site.harness, entries)
    for one in told:
        assert one.refused == {}
        assert one.first.items() <= stands.items()
        assert one.end == stands
    print(f"\n{how_many} writers, {count} expenses, {len(stands)} entries:", *(f"{one.runs} runs" for one in told))


@_used(("password", POSTED), ("key", DRAFT), ("module", POSTED))
def test_two_writers_record_each_expense_once(site: Site) -> None:
    _record_together(site, 8, 2)


@pytest.mark.slow
@pytest.mark.parametrize("how_many", [2, 4])
@_used(*USES)
def test_writers_record_each_expense_once(site: Site, how_many: int) -> None:
    _record_together(site, 20, how_many)


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
    assert then.end == stands_once(site.harness, entries)
    if told is not None:
        assert told.end == then.end
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


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
@_used(("password", POSTED))
def test_a_run_may_be_killed_at_any_request(site: Site, side: str) -> None:
    assert _killed_at_each(site, side, changing=False) > 20


@pytest.mark.slow
@_used(*(use for use in USES if use != ("password", POSTED)))
def test_a_run_may_be_killed_after_whatever_it_changes(site: Site) -> None:
    assert _killed_at_each(site, "after", changing=True) > 3
