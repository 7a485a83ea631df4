"""Every answer that a server, or whatever stands at its address, can give: what it means to whoever asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from blocks.erp.errors import (
    ErpConfigurationError,
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
)
from blocks.erp.remote.calls import (
    Answer,
    Call,
    CallRefused,
    KeyLogin,
    Meaning,
    NotAllowed,
    NotThere,
    SessionLogin,
    TooLarge,
    Verdict,
    read_by_status,
    writing,
)
from blocks.erp.remote.client import MAX_BODY_BYTES, RemoteClient
from tests.support.erp.small_erp.server import KEY, SmallErpServer, serving
from tests.support.network.fault_proxy import Cut, Fault, FaultProxy, Gate, answered, proxying
from tests.support.processes import free_port

PING = Call("/ping", b"{}", changes=False)
CHANGE = replace(PING, changes=True)
HTML = b"<html><body>Something went wrong</body></html>"


@pytest.fixture(scope="module")
def server() -> Iterator[SmallErpServer]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def shared_proxy(server: SmallErpServer) -> Iterator[FaultProxy]:
    with proxying(server.base_url) as made:
        yield made
    assert made.problems == []


@pytest.fixture
def proxy(shared_proxy: FaultProxy) -> FaultProxy:
    shared_proxy.clear()
    return shared_proxy


def read(answer: Answer) -> Verdict:
    """As the small ERP answers: a 400 is a refusal, where it says why."""
    if answer.status != 400:
        return read_by_status(answer)
    try:
        return Verdict(Meaning.REFUSED, str(answer.document()["error"]))
    except (ValueError, TypeError, KeyError):
        return Verdict(Meaning.TROUBLE)


def client(base_url: str, **more: Any) -> RemoteClient:
    login = KeyLogin({"authorization": f"Bearer {KEY}"}, KEY)
    return RemoteClient(base_url, system="Small", **{"login": login, "read": read, "timeout_s": 5.0, **more})


@pytest_asyncio.fixture
async def small(proxy: FaultProxy) -> AsyncIterator[RemoteClient]:
    """A client that the system has answered before."""
    made = client(proxy.address)
    assert await made.send(PING) == {"ok": True}
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("fault", "reading", "writing_"),
    [
        (answered(401, HTML), ErpLoginRefused, ErpLoginRefused),
        (answered(403, HTML), NotAllowed, NotAllowed),
        (answered(404, HTML), NotThere, NotThere),
        (answered(410), NotThere, NotThere),
        (answered(413, HTML), TooLarge, TooLarge),
        (answered(429), ErpRateLimited, ErpRateLimited),
        (answered(400, b'{"error": "no such account"}'), CallRefused, CallRefused),
        (answered(400, HTML), ErpUnavailable, ErpOutcomeUnknown),
        (answered(302, b"", {"location": "http://elsewhere.example"}), ErpUnavailable, ErpOutcomeUnknown),
        (answered(500, HTML), ErpUnavailable, ErpOutcomeUnknown),
        (answered(502, HTML, passes=True), ErpUnavailable, ErpOutcomeUnknown),
        (answered(503), ErpUnavailable, ErpOutcomeUnknown),
        (answered(504), ErpUnavailable, ErpOutcomeUnknown),
        (answered(200, HTML), ErpUnavailable, ErpOutcomeUnknown),
        (answered(200, b"[" * 100_000), ErpUnavailable, ErpOutcomeUnknown),
        (Fault(passes=False, cut=Cut.NONE), ErpUnavailable, ErpOutcomeUnknown),
        (Fault(cut=Cut.NONE), ErpUnavailable, ErpOutcomeUnknown),
        (Fault(cut=Cut.SHORT), ErpUnavailable, ErpOutcomeUnknown),
        (Fault(cut=Cut.MID_BODY), ErpUnavailable, ErpOutcomeUnknown),
    ],
)
async def test_each_answer_has_its_class_and_is_not_asked_for_twice(
    small: RemoteClient, proxy: FaultProxy, fault: Fault, reading: type[ErpError], writing_: type[ErpError]
) -> None:
    for call, kind in ((PING, reading), (CHANGE, writing_)):
        proxy.clear()
        proxy.add(replace(fault, met=0))
        with pytest.raises(kind) as caught:
            await small.send(call)
        assert type(caught.value) is kind
        assert len(str(caught.value).splitlines()) == 1
        assert proxy.counts["POST", "/ping"] == 1
    assert await small.send(PING) == {"ok": True}


async def test_until_the_system_has_answered_another_answer_means_a_wrong_address(proxy: FaultProxy) -> None:
    for fault in (answered(200, HTML), answered(301, b"", {"location": "/x"}), answered(404, HTML)):
        proxy.clear()
        proxy.add(fault)
        fresh = client(proxy.address)
        with pytest.raises(ErpConfigurationError, match="check the address"):
            await fresh.send(PING)
        await fresh.aclose()
    proxy.add(answered(503, HTML))
    with pytest.raises(ErpUnavailable):
        await (fresh := client(proxy.address)).send(PING)
    await fresh.aclose()


async def test_where_nobody_listens_nothing_was_sent() -> None:
    lonely = client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ErpUnavailable) as caught:
        await lonely.send(CHANGE)
    assert not isinstance(caught.value, ErpOutcomeUnknown)
    await lonely.aclose()


async def test_an_answer_that_comes_too_late_is_in_doubt(proxy: FaultProxy) -> None:
    hasty = client(proxy.address, timeout_s=0.3)
    await hasty.send(PING)
    gate = Gate()
    proxy.add(Fault(before=gate))
    with pytest.raises(ErpOutcomeUnknown, match="ReadTimeout"):
        await hasty.send(CHANGE)
    gate.open()
    await hasty.aclose()


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("70", 70.0), ("99999999999", 86400.0), ("-3", None), ("soon", None), ("", None), ("9" * 400, None),
     ("Tue, 01 Dec 2026 10:02:00 GMT", 120.0)],
)  # fmt: skip
async def test_a_long_pause_is_the_runners_to_wait_for(
    small: RemoteClient, proxy: FaultProxy, asked: str, seconds: float | None
) -> None:
    proxy.add(answered(429, HTML, {"retry-after": asked, "date": "Tue, 01 Dec 2026 10:00:00 GMT"}))
    with pytest.raises(ErpRateLimited) as caught:
        await small.send(CHANGE)
    assert caught.value.clears_in_s == seconds


async def test_a_short_pause_is_waited_for_and_the_call_sent_again(proxy: FaultProxy) -> None:
    waited: list[float] = []
    now = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        waited.append(seconds)
        now += seconds

    patient = client(proxy.address, clock=lambda: now, sleep=sleep)
    proxy.add(answered(429, HTML, {"retry-after": "2"}, times=2))
    assert await patient.send(CHANGE) == {"ok": True}
    assert waited == [2.0, 2.0]
    proxy.add(answered(429, HTML, {"retry-after": "1"}, times=99))
    with pytest.raises(ErpRateLimited):
        await patient.send(CHANGE)
    assert waited == [2.0, 2.0, 1.0, 1.0, 1.0]
    await patient.aclose()


def _sessions(opened: list[str], good: str = "") -> SessionLogin:
    """Logs in with a token that the small ERP does not know, and then with one that it knows."""

    async def log_in() -> dict[str, str]:
        opened.append(good if opened else "wrong-token-1234")
        return {"authorization": f"Bearer {opened[-1]}"}

    return SessionLogin(log_in, "p4ssword")


async def test_a_session_that_has_ended_is_opened_again_once(proxy: FaultProxy) -> None:
    opened: list[str] = []
    login = _sessions(opened, KEY)
    one = client(proxy.address, login=login)
    assert await one.send(CHANGE) == {"ok": True}
    assert await one.send(CHANGE) == {"ok": True}
    assert opened == ["wrong-token-1234", KEY]
    await one.aclose()
    opened.clear()
    refused = client(proxy.address, login=_sessions(opened, "wrong-token-5678"))
    proxy.clear()
    with pytest.raises(ErpLoginRefused):
        await refused.send(CHANGE)
    assert len(opened) == 2
    assert proxy.counts["POST", "/ping"] == 2
    await refused.aclose()


async def test_a_login_that_cannot_be_renewed_is_told_at_once(proxy: FaultProxy) -> None:
    wrong = client(proxy.address, login=KeyLogin({"authorization": "Bearer nobody"}))
    with pytest.raises(ErpLoginRefused):
        await wrong.send(PING)
    assert proxy.counts["POST", "/ping"] == 1
    await wrong.aclose()


async def test_what_we_log_in_with_is_shown_by_nothing(small: RemoteClient, proxy: FaultProxy) -> None:
    quoting = json.dumps({"error": f"the key {KEY} (Bearer\x1b[31m\n{KEY}) is bad " + "x" * 9000}).encode()
    proxy.add(answered(400, quoting))
    with pytest.raises(CallRefused) as caught:
        await small.send(CHANGE)
    assert str(caught.value).startswith("the key *** (Bearer [31m ***) is bad xxx")
    assert len(str(caught.value)) <= 300
    assert KEY not in repr(small) + repr(vars(small))


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    pieces = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pieces
        while True:
            pieces += 1
            yield b" " * 1_000_000

    one = client("http://127.0.0.1:1", transport=httpx.MockTransport(lambda _: httpx.Response(200, content=endless())))
    with pytest.raises(ErpUnavailable, match=f"over {MAX_BODY_BYTES} bytes"):
        await one.send(PING)
    assert pieces < 70
    await one.aclose()


async def test_nothing_done_is_said_only_where_nothing_was_written(small: RemoteClient, proxy: FaultProxy) -> None:
    async def change_then_look(*, lost: bool) -> None:
        with writing():
            if lost:
                with pytest.raises(ErpOutcomeUnknown):
                    await small.send(CHANGE)
            else:
                await small.send(CHANGE)
            with writing():  # as a part of it may say too
                pass
            await small.send(PING)

    for lost in (False, True):
        proxy.clear()
        if lost:
            proxy.add(Fault(cut=Cut.NONE))
        proxy.add(answered(503, skip=0 if lost else 1))
        with pytest.raises(ErpOutcomeUnknown, match="written before this"):
            await change_then_look(lost=lost)

    async def look_alone() -> None:
        with writing():
            await small.send(PING)

    async def refused_then_look() -> None:
        with writing():
            with pytest.raises(CallRefused):
                await small.send(CHANGE)
            await small.send(PING)

    for nothing_written in (look_alone, refused_then_look):
        proxy.clear()
        if nothing_written is refused_then_look:
            proxy.add(answered(400, b'{"error": "no"}'))
        proxy.add(answered(503))
        with pytest.raises(ErpUnavailable):
            await nothing_written()
