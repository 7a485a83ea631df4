"""The contract: a server that gives no answer, a bad one or a late one, at any request that changes something.

No entry comes twice, none gets lost, none is refused for it, and the same Erp goes on afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import pytest_asyncio

from blocks.erp.base import Erp
from blocks.erp.entries import Entry, Recorded
from blocks.erp.errors import (
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
)
from tests.support.choice import slow
from tests.support.erp.contract.books import all_recorded, books_are_sound, hashes_of, is_recorded, net_of
from tests.support.erp.contract.entries import BILL, DRAFT, PAYMENT, POSTED
from tests.support.erp.contract.harness import Harness, How
from tests.support.erp.contract.runner import bring_to_an_end, ready
from tests.support.erp.contract.site import Connection, Site, another
from tests.support.network.fault_proxy import Answer, Cut, Fault, FaultProxy, Gate, Seen, proxying

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_REQUESTS = 100
HTML = b"<html><body><h1>Something went wrong</h1></body></html>"
PAUSE_S = 3600

Call = Callable[[], Awaitable[object]]

FAULTS: dict[str, Callable[[], Fault]] = {
    "dropped before": lambda: Fault(passes=False, cut=Cut.NONE),
    "dropped after": lambda: Fault(cut=Cut.NONE),
    "cut short": lambda: Fault(cut=Cut.SHORT),
    "broken off": lambda: Fault(cut=Cut.MID_BODY),
    "500 before": lambda: Fault(passes=False, answer=Answer(500, HTML, {"content-type": "text/html"})),
    "502 after": lambda: Fault(answer=Answer(502, HTML, {"content-type": "text/html"})),
    "503 before": lambda: Fault(passes=False, answer=Answer(503, HTML, {"content-type": "text/html"})),
}


@pytest.fixture(scope="module")
def proxy(shared_connection: Connection) -> Iterator[FaultProxy]:
    """A proxy before the shared server."""
    limits = shared_connection.erp.describe()
    if not limits.remote:
        pytest.skip(f"the {limits.name} declares remote=False")
    with proxying(shared_connection.harness.address) as made:
        yield made
    assert made.problems == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxied(shared_harness: Harness, proxy: FaultProxy) -> AsyncIterator[Erp]:
    """One Erp for all these tests, whatever they put in its way."""
    async with another(shared_harness, How(address=proxy.address)) as erp:
        yield erp


@pytest.fixture(autouse=True)
def _without_faults(proxy: FaultProxy) -> Iterator[None]:
    yield
    proxy.clear()


def _entries(site: Site, *, bills: bool = False) -> list[Entry]:
    """An entry that needs its file, and one more."""
    if bills:
        site.needs_capability("bills")
    files = () if site.limits.max_attachments == 0 else site.make.files(1)
    required: dict[str, Any] = {"attachments": files, "attachments_required": bool(files)}
    first = site.make.bill(BILL, PAYMENT, **required) if bills else site.make.purchase(**required)
    return [first, site.make.purchase()]


def _cases(*fast: tuple[bool, str]) -> list[Any]:
    """Every fault with purchases and with bills, of which all but these take their time."""
    return [
        pytest.param(
            bills,
            name,
            id=f"{'bills' if bills else 'purchases'} {name}",
            marks=() if (bills, name) in fast else pytest.mark.slow,
        )
        for bills in (False, True)
        for name in FAULTS
    ]


async def test_the_first_request_that_changes_something_meets_every_trouble(
    shared_site: Site, proxy: FaultProxy, proxied: Erp
) -> None:
    faults = [fault_of() for fault_of in FAULTS.values()]
    faults += [Fault(passes=passes, answer=one) for one in shared_site.harness.troubles for passes in (False, True)]
    for fault in faults:
        entries = _entries(shared_site)[:1]
        fault.when = shared_site.harness.may_change
        assert await _meets(shared_site, proxy, proxied, fault, entries)


@pytest.mark.parametrize("name", ["dropped before", "dropped after", "502 after"])
async def test_recording_meets_trouble_at_any_request_that_changes_something(
    shared_site: Site, proxy: FaultProxy, proxied: Erp, name: str
) -> None:
    await _meets_everywhere(shared_site, proxy, proxied, name, shared_site.harness.may_change, bills=False)


@pytest.mark.slow
@pytest.mark.parametrize("bills", [False, True], ids=["purchases", "bills"])
@pytest.mark.parametrize("name", FAULTS)
async def test_recording_meets_trouble_at_any_request_at_all(
    shared_site: Site, proxy: FaultProxy, proxied: Erp, bills: bool, name: str
) -> None:
    await _meets_everywhere(shared_site, proxy, proxied, name, None, bills)


async def _meets_everywhere(
    site: Site, proxy: FaultProxy, erp: Erp, name: str, when: Callable[[Seen], bool] | None, bills: bool
) -> None:
    """Record entries again and again, with the fault at the first request, at the second, … and at none any more."""
    for n in range(MOST_REQUESTS):
        fault = FAULTS[name]()
        fault.when, fault.skip = when, n
        if not await _meets(site, proxy, erp, fault, _entries(site, bills=bills)):
            assert n > 0
            return
    raise AssertionError(f"one call made {MOST_REQUESTS} requests")


async def _meets(site: Site, proxy: FaultProxy, erp: Erp, fault: Fault, entries: Sequence[Entry]) -> bool:
    """Record entries, and go on until they stand; whether any request met the fault."""
    proxy.clear()
    proxy.add(fault)
    try:
        outcomes = await erp.record(entries)
    except ErpUnavailable as error:
        _is_mere_trouble(error)
        site.lack(*entries)  # that is what it says
    except ErpOutcomeUnknown as error:
        _is_mere_trouble(error)
        books_are_sound(site.harness, entries)
    else:
        for outcome, entry in zip(outcomes, entries, strict=True):
            is_recorded(outcome, entry, found=isinstance(outcome, Recorded) and outcome.found)
        site.hold(*entries)
    await _all_is_well_in_the_end(site, erp, entries)
    return fault.met > 0


def _is_mere_trouble(error: ErpError) -> None:
    """Nobody asked for a pause, and the message is one line."""
    assert not isinstance(error, ErpRateLimited)
    assert len(str(error).splitlines()) == 1


async def _all_is_well_in_the_end(site: Site, erp: Erp, entries: Sequence[Entry]) -> None:
    stands = await bring_to_an_end(erp, entries)
    all_recorded(stands, entries, found=True)
    for one, booked, entry in zip(stands, site.hold(*entries), entries, strict=True):
        assert one.external_id == booked.external_id
        assert one.attached == {file.number for file in entry.attachments}
        assert booked.files == hashes_of(entry.attachments)


@pytest.mark.parametrize(("bills", "name"), _cases((False, "dropped after"), (False, "503 before")))
async def test_finishing_what_stands_meets_trouble(
    shared_site: Site, proxy: FaultProxy, proxied: Erp, bills: bool, name: str
) -> None:
    """Files are attached and drafts are posted: each once."""
    for n in range(MOST_REQUESTS):
        wanted = _entries(shared_site, bills=bills)
        state = DRAFT if shared_site.limits.drafts else POSTED
        bare = [replace(entry, attachments=(), attachments_required=False, state=state) for entry in wanted]
        proxy.clear()
        all_recorded(await proxied.record(bare), bare)
        fault = FAULTS[name]()
        fault.when, fault.skip = shared_site.harness.may_change, n
        proxy.add(fault)
        try:
            for entry in wanted:
                if entry.attachments:
                    assert await proxied.attach(entry.accounting_entry_id, entry.attachments) == []
            assert await proxied.post([entry.accounting_entry_id for entry in wanted]) == []
        except (ErpUnavailable, ErpOutcomeUnknown) as error:
            _is_mere_trouble(error)
        await _all_is_well_in_the_end(shared_site, proxied, wanted)
        if fault.met == 0:
            assert n > 0 or not (shared_site.limits.drafts or wanted[0].attachments)
            return
    raise AssertionError(f"these calls made {MOST_REQUESTS} requests")


async def test_looking_meets_trouble(shared_site: Site, proxy: FaultProxy, proxied: Erp) -> None:
    entry = shared_site.make.purchase()
    all_recorded(await proxied.record([entry]), [entry])
    calls: list[Call] = [
        lambda: proxied.find([entry.accounting_entry_id]),
        proxied.load_reference,
        proxied.validate,
    ]
    for call in calls:
        for fault_of in FAULTS.values():
            fault = proxy.add(fault_of())
            try:
                await call()
            except (ErpUnavailable, ErpOutcomeUnknown) as error:
                _is_mere_trouble(error)
            assert fault.met == 1
        await call()
    is_recorded((await proxied.find([entry.accounting_entry_id]))[entry.accounting_entry_id], entry, found=True)


async def test_an_answer_that_comes_too_late(shared_site: Site, proxy: FaultProxy) -> None:
    """The server acts, and we have given up waiting."""
    entries = _entries(shared_site)
    gate = Gate()
    async with another(shared_site.harness, How(address=proxy.address, timeout_s=2.0)) as erp:
        fault = proxy.add(Fault(when=shared_site.harness.may_change, after=gate))
        try:
            all_recorded(await erp.record(entries), entries)  # by looking them up
        except ErpOutcomeUnknown as error:
            _is_mere_trouble(error)
        assert fault.met == 1
        gate.open()
        await _all_is_well_in_the_end(shared_site, erp, entries)


@pytest.mark.parametrize("pause", [PAUSE_S, None])
async def test_a_server_that_asks_for_fewer_calls(
    shared_site: Site, proxy: FaultProxy, proxied: Erp, pause: int | None
) -> None:
    answer = Answer(429, HTML, {} if pause is None else {"retry-after": str(pause)})
    for n in range(MOST_REQUESTS):
        entries = _entries(shared_site)
        error = await _broken_off(shared_site, proxy, proxied, answer, n, entries, ErpRateLimited)
        if error is None:
            assert n > 0
            break
        assert isinstance(error, ErpRateLimited)
        assert error.clears_in_s == pause
        await _outcomes_are_told(shared_site, error.outcomes, entries)
        proxy.clear()
        await _all_is_well_in_the_end(shared_site, proxied, entries)
        if pause is None:
            break
    proxy.clear()
    proxy.add(Fault(passes=False, times=MOST_REQUESTS, answer=answer))
    calls: list[Call] = [lambda: proxied.find([entries[0].accounting_entry_id]), proxied.validate]
    for call in calls:
        with pytest.raises(ErpRateLimited) as limited:
            await call()
        assert limited.value.clears_in_s == pause


async def test_a_login_that_is_refused_in_the_middle(shared_site: Site, proxy: FaultProxy, proxied: Erp) -> None:
    shared_site.needs_capability("logs_in")
    for n in range(MOST_REQUESTS):
        entries = _entries(shared_site)
        error = await _broken_off(shared_site, proxy, proxied, Answer(401, HTML), n, entries, ErpLoginRefused)
        if error is None:
            assert n > 0
            return
        assert isinstance(error, ErpLoginRefused)
        await _outcomes_are_told(shared_site, error.outcomes, entries)
        proxy.clear()
        await _all_is_well_in_the_end(shared_site, proxied, entries)


async def _broken_off(
    site: Site,
    proxy: FaultProxy,
    erp: Erp,
    answer: Answer,
    n: int,
    entries: Sequence[Entry],
    kind: type[ErpError],
) -> ErpError | None:
    """The error that recording ends with when the n-th request that changes something, and all after it, are answered
    so; None where there is no such request. Fails the test for any other error."""
    proxy.clear()
    fault = proxy.add(Fault(when=site.harness.may_change, skip=n, times=MOST_REQUESTS, passes=False, answer=answer))
    try:
        all_recorded(await erp.record(entries), entries)
    except kind as error:
        return error
    assert fault.met == 0
    return None


async def _outcomes_are_told(site: Site, outcomes: Sequence[object], entries: Sequence[Entry]) -> None:
    """What came before the error is told to Pleo as it stands in the books."""
    done = list(entries[: len(outcomes)])
    for outcome, entry in zip(outcomes, done, strict=True):
        assert isinstance(outcome, Recorded)
        is_recorded(outcome, entry)
    site.hold(*done)


async def test_an_address_where_something_else_answers(shared_site: Site, proxy: FaultProxy) -> None:
    proxy.add(Fault(times=MOST_REQUESTS, passes=False, answer=Answer(404, HTML, {"content-type": "text/html"})))
    erp = shared_site.harness.connection(How(address=proxy.address))()
    with pytest.raises(ErpError) as wrong:
        await ready(erp, shared_site.harness.names.company_id)
    assert not isinstance(wrong.value, ErpLoginRefused)
    assert len(str(wrong.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["dropped after", *slow("dropped before", "502 after")])
async def test_replacing_and_reversing_meet_trouble_at_any_request_that_changes_something(
    shared_site: Site, proxy: FaultProxy, proxied: Erp, name: str
) -> None:
    """What is called again is done once: a draft is replaced, a posted entry reversed and booked anew."""
    for capability in ("replaces", "reverses", "drafts"):
        shared_site.needs_capability(capability)
    for n in range(MOST_REQUESTS):
        draft, posted = shared_site.make.purchase(state=DRAFT), shared_site.make.purchase()
        proxy.clear()
        (_, old) = all_recorded(await proxied.record([draft, posted]), [draft, posted])
        fault = FAULTS[name]()
        fault.when, fault.skip = shared_site.harness.may_change, n
        proxy.add(fault)
        ids = (draft.accounting_entry_id, posted.accounting_entry_id)
        changed = shared_site.make.purchase(900, tax_minor=180, accounting_entry_id=ids[0], state=DRAFT)
        anew = shared_site.make.purchase(900, tax_minor=180, accounting_entry_id=ids[1])
        for _ in range(3):
            try:
                await _replaced_and_reversed(proxied, changed, anew, old, shared_site.harness.names.open_day)
                break
            except (ErpUnavailable, ErpOutcomeUnknown) as error:
                _is_mere_trouble(error)
        proxy.clear()
        shared_site.hold(changed)
        assert net_of(shared_site.harness, anew) == dict(anew.balances)
        stands = await proxied.find(ids)
        assert [stands[id_].amount_minor for id_ in ids] == [900, 900]
        if fault.met == 0:
            assert n > 0
            return
    raise AssertionError(f"these calls made {MOST_REQUESTS} requests")


async def _replaced_and_reversed(erp: Erp, changed: Entry, anew: Entry, old: Recorded, day: date) -> None:
    """What step 5 does with two expenses that have changed, from the start."""
    stands = await erp.find([changed.accounting_entry_id, anew.accounting_entry_id])
    if stands[changed.accounting_entry_id].amount_minor != changed.amount_minor:
        assert all(isinstance(one, Recorded) for one in await erp.replace([changed]))
    standing = stands.get(anew.accounting_entry_id)
    if standing is not None and standing.external_id == old.external_id:
        assert await erp.reverse([old], day) == []
    assert all(isinstance(one, Recorded) for one in await erp.record([anew]))
