"""The contract: two runs on one company's books, at the same time or by turns, record each id once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from blocks.erp.base import Writers
from blocks.erp.entries import Entry, Recorded
from blocks.erp.errors import ErpBusy
from tests.support.erp.contract.books import all_recorded
from tests.support.erp.contract.entries import BILL, PAYMENT
from tests.support.erp.contract.harness import How
from tests.support.erp.contract.processes import run_of
from tests.support.erp.contract.runner import bring_to_an_end, ready
from tests.support.erp.contract.site import Site, another
from tests.support.network.fault_proxy import Fault, Gate, proxying

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_REQUESTS = 100


def _only_for(site: Site, *writers: Writers) -> None:
    if site.limits.writers not in writers:
        pytest.skip(f"the {site.limits.name} declares writers={site.limits.writers.value}")


def _entries(site: Site, count: int, *, bills: bool = True) -> list[Entry]:
    entries: list[Entry] = [*site.make.purchases(count)]
    if bills and site.limits.bills:
        entries += [site.make.bill(BILL, PAYMENT), site.make.bill(BILL)]
    return entries


async def test_a_second_run_is_turned_away_while_the_first_is_at_work(shared_site: Site) -> None:
    _only_for(shared_site, Writers.HELD)
    entries = shared_site.make.purchases(2)
    second = shared_site.harness.connection()()
    with pytest.raises(ErpBusy) as busy:
        await ready(second, shared_site.harness.names.company_id)
    assert len(str(busy.value).splitlines()) == 1
    all_recorded(await shared_site.record(*entries), entries)

    with run_of(shared_site.harness, entries, portion=10) as run:
        assert run.line() == "busy"
    await shared_site.connection.close()
    with run_of(shared_site.harness, entries, portion=10) as run:
        assert run.line() == "ready"
        with pytest.raises(ErpBusy):
            await shared_site.connection.open()
    await shared_site.connection.open()  # a run that is killed holds nothing
    all_recorded(await shared_site.find(*entries), entries, found=True)
    shared_site.hold(*entries)


async def test_two_runs_take_turns(shared_site: Site) -> None:
    _only_for(shared_site, Writers.ANY, Writers.TRUSTED)
    entries = _entries(shared_site, 4)
    async with another(shared_site.harness) as second:
        firsts = all_recorded(await shared_site.record(*entries[:3]), entries[:3])
        seconds = [one for one in await second.record(entries) if isinstance(one, Recorded)]
        assert [one.found for one in seconds] == [True] * 3 + [False] * (len(entries) - 3)
        assert [one.external_id for one in seconds[:3]] == [one.external_id for one in firsts]
        thirds = all_recorded(await shared_site.record(*entries), entries, found=True)
        assert [one.external_id for one in thirds] == [one.external_id for one in seconds]
    shared_site.hold(*entries)


async def test_two_runs_at_the_same_time_record_each_id_once(shared_site: Site) -> None:
    _only_for(shared_site, Writers.ANY)
    entries = _entries(shared_site, 10)
    async with another(shared_site.harness) as second:
        one, two = await asyncio.gather(
            bring_to_an_end(shared_site.erp, entries), bring_to_an_end(second, list(reversed(entries)))
        )
    _both_tell_the_same(one, two, await shared_site.find(*entries))
    shared_site.hold(*entries)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("bills", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["purchases", "bills"])
async def test_a_run_that_stops_short_at_any_request_meets_one_that_does_not(
    shared_site: Site, bills: bool, side: str
) -> None:
    """The first waits before or after one of its requests, until the second has recorded everything."""
    _only_for(shared_site, Writers.ANY)
    shared_site.needs_capability("remote")
    with proxying(shared_site.harness.address) as proxy:
        async with another(shared_site.harness, How(address=proxy.address)) as slow:
            for n in range(MOST_REQUESTS):
                entries = _entries(shared_site, 2, bills=bills)
                gate = Gate()
                proxy.clear()
                fault = Fault(when=shared_site.harness.may_change, skip=n)
                setattr(fault, side, gate)
                proxy.add(fault)
                first = asyncio.ensure_future(bring_to_an_end(slow, entries))
                watch = asyncio.ensure_future(asyncio.to_thread(gate.reached, 60))
                await asyncio.wait({first, watch}, return_when=asyncio.FIRST_COMPLETED)
                two = await bring_to_an_end(shared_site.erp, entries)
                gate.open()
                one = await first
                _both_tell_the_same(one, two, await shared_site.find(*entries))
                shared_site.hold(*entries)
                if not await watch:  # the first made all its requests before the n-th
                    assert n > 0
                    return
    raise AssertionError(f"one call made {MOST_REQUESTS} requests that change something")


async def test_two_processes_record_each_id_once(shared_site: Site) -> None:
    _only_for(shared_site, Writers.ANY)
    entries = _entries(shared_site, 10)
    with (
        run_of(shared_site.harness, entries, portion=4) as one,
        run_of(shared_site.harness, entries, portion=3) as two,
    ):
        assert [one.line(), two.line()] == ["ready", "ready"]
        one.begin()
        two.begin()
        for run in (one, two):
            lines = list(iter(run.line, ""))
            assert lines[-2:] == [str(len(entries)), "done"]
    all_recorded(await shared_site.find(*entries), entries, found=True)
    shared_site.hold(*entries)


def _both_tell_the_same(one: Sequence[Recorded], two: Sequence[Recorded], stands: Sequence[Recorded]) -> None:
    """Each run tells Pleo of the entries that stand."""
    names = {recorded.accounting_entry_id: recorded.external_id for recorded in stands}
    for told in (one, two):
        assert {recorded.accounting_entry_id: recorded.external_id for recorded in told} == names
