"""The contract: a run that is killed, wherever it is, leaves nothing that the next one does not bring to a good end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from blocks.erp.entries import Entry, Recorded
from tests.support.erp.contract.books import all_recorded, books_are_sound, hashes_of
from tests.support.erp.contract.entries import BILL, PAYMENT, POSTED
from tests.support.erp.contract.harness import USUAL, How
from tests.support.erp.contract.processes import run_of
from tests.support.erp.contract.runner import bring_to_an_end
from tests.support.erp.contract.site import Site
from tests.support.network.fault_proxy import Fault, FaultProxy, Gate, proxying

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_REQUESTS = 100


def _entries(site: Site, count: int, *, bills: bool) -> list[Entry]:
    """Entries that need their files, with `bills` every third a bill and its payment."""
    files = () if site.limits.max_attachments == 0 else site.make.files(1)
    required: dict[str, Any] = {"attachments": files, "attachments_required": bool(files)}
    entries: list[Entry] = []
    for n in range(count):
        if bills and n % 3 == 0 and site.limits.bills:
            entries.append(site.make.bill(BILL, PAYMENT, **required))
        else:
            entries.append(site.make.purchase(1000 + n, tax_minor=200, **required))
    return entries


async def _go_on(site: Site, entries: Sequence[Entry]) -> None:
    """What a killed run left is in order, and the next run makes it whole."""
    books_are_sound(site.harness, entries)
    await site.connection.open()
    stands = all_recorded(await bring_to_an_end(site.erp, entries), entries, found=True)
    booked = site.hold(*entries)
    assert [one.external_id for one in stands] == [one.external_id for one in booked]
    assert [one.files for one in booked] == [hashes_of(entry.attachments) for entry in entries]


async def _kill_at_some_moments(site: Site, moments: Iterable[int], *, bills: bool) -> None:
    with _way_in(site) as (how, proxy):
        for moment in moments:
            entries = _entries(site, 20, bills=bills)
            await site.connection.close()
            with run_of(site.harness, entries, portion=5, how=how) as run:
                assert run.line() == "ready"
                run.begin()
                told = 0
                for _ in range(moment % 4):
                    told = int(run.line())
                await asyncio.sleep(moment / 1000)  # only spreads the moments; any will do
                run.kill()
                told = max([told, *(int(line) for line in iter(run.line, "") if line.isdigit())])
            assert proxy is None or await asyncio.to_thread(proxy.quiet, 60)
            site.hold(*entries[:told])
            await _go_on(site, entries)


@contextmanager
def _way_in(site: Site) -> Iterator[tuple[How, FaultProxy | None]]:
    """Through a proxy where there is a server: it knows when the server is done with what the killed run asked for."""
    if not site.limits.remote:
        yield USUAL, None
        return
    with proxying(site.harness.address) as proxy:
        yield How(address=proxy.address), proxy


async def test_a_run_may_be_killed_at_any_moment(shared_site: Site) -> None:
    await _kill_at_some_moments(shared_site, [1], bills=False)


@pytest.mark.slow
async def test_a_run_may_be_killed_at_many_moments(shared_site: Site) -> None:
    await _kill_at_some_moments(shared_site, range(20), bills=True)


async def _kill_after_requests(site: Site, requests: int, *, bills: bool) -> int:
    """Kill runs whose n-th request that changes something was carried out and not answered; how many could be."""
    site.needs_capability("remote")
    with proxying(site.harness.address) as proxy:
        for n in range(requests):
            entries = _entries(site, 2, bills=bills)
            gate = Gate()
            proxy.clear()
            proxy.add(Fault(when=site.harness.may_change, skip=n, after=gate))
            with run_of(site.harness, entries, portion=len(entries), how=How(address=proxy.address)) as run:
                assert run.line() == "ready"
                run.begin()
                watch = asyncio.ensure_future(asyncio.to_thread(gate.reached, 60))
                end = asyncio.ensure_future(asyncio.to_thread(run.line))
                await asyncio.wait({watch, end}, return_when=asyncio.FIRST_COMPLETED)
                run.kill()
                gate.open()
                reached, line = await watch, await end
            if not reached:
                assert line == str(len(entries))
                return n
            assert line == ""
            await _go_on(site, entries)
    return requests


async def test_a_run_may_be_killed_between_create_and_post(shared_site: Site) -> None:
    assert await _kill_after_requests(shared_site, 2, bills=False) > 0


@pytest.mark.slow
async def test_a_run_may_be_killed_after_any_request(shared_site: Site) -> None:
    assert 0 < await _kill_after_requests(shared_site, MOST_REQUESTS, bills=True) < MOST_REQUESTS


async def _kill_before_a_request_that_comes_late(site: Site, requests: Iterable[int], *, bills: bool) -> None:
    site.needs_capability("remote")
    with proxying(site.harness.address) as proxy:
        for n in requests:
            entries = _entries(site, 2, bills=bills)
            gate = Gate(for_s=120)
            proxy.clear()
            proxy.add(Fault(when=site.harness.may_change, skip=n, before=gate))
            with run_of(site.harness, entries, portion=len(entries), how=How(address=proxy.address)) as run:
                assert run.line() == "ready"
                run.begin()
                watch = asyncio.ensure_future(asyncio.to_thread(gate.reached, 60))
                end = asyncio.ensure_future(asyncio.to_thread(run.line))
                await asyncio.wait({watch, end}, return_when=asyncio.FIRST_COMPLETED)
                run.kill()
                await end
            await site.connection.open()
            told = _but_for_settling(all_recorded(await bring_to_an_end(site.erp, entries), entries, found=True))
            site.hold(*entries)
            gate.open()
            reached = await watch
            assert await asyncio.to_thread(proxy.quiet, 60)
            assert _but_for_settling(await bring_to_an_end(site.erp, entries)) == told
            await site.connection.open()
            assert _but_for_settling(await bring_to_an_end(site.erp, entries)) == told
            _one_counts(site, entries, told)
            if not reached:
                return


def _but_for_settling(told: Sequence[Recorded]) -> list[Recorded]:
    """The same, as the request that comes late may be the one that settles a bill and its payment."""
    return [replace(one, settled=False, counterparts=(), open_because="") for one in told]


def _one_counts(site: Site, entries: Sequence[Entry], told: Sequence[Recorded]) -> None:
    """Each entry is posted once, whole, under the name that was told; else there is at most a draft, told to nobody."""
    books_are_sound(site.harness, entries, files_once=not site.harness.late_files_stay)
    booked = site.harness.books([entry.accounting_entry_id for entry in entries])
    posted = {one.accounting_entry_id: one.external_id for one in booked if one.state is POSTED}
    assert posted == {one.accounting_entry_id: one.external_id for one in told}


async def test_a_request_of_a_killed_run_may_be_carried_out_after_the_next_run(shared_site: Site) -> None:
    await _kill_before_a_request_that_comes_late(shared_site, [0], bills=False)


@pytest.mark.slow
@pytest.mark.parametrize("bills", [False, True], ids=["purchases", "bills"])
async def test_any_request_of_a_killed_run_may_be_carried_out_after_the_next_run(
    shared_site: Site, bills: bool
) -> None:
    await _kill_before_a_request_that_comes_late(shared_site, range(MOST_REQUESTS), bills=bills)
