"""Every answer that a Tryton, or whatever stands at its address, can give: what it means to the caller."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from blocks.erp.errors import ErpError, ErpLoginRefused, ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.remote.calls import CallRefused, NotAllowed, NotThere, TooLarge
from blocks.erp.tryton.client import Login, TrytonClient

KEY, PASSWORD = "k3y-canary", "p4ss-canary"
HTML = {"content-type": "text/html"}
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, login: Login | None = None) -> TrytonClient:
    return TrytonClient("http://127.0.0.1:1", "acme", KEY, login, transport=httpx.MockTransport(handler))


def answering(status: int, text: str = "", **headers: str) -> Handler:
    return lambda _request: httpx.Response(status, text=text, headers=headers)


def breaking(error: type[httpx.RequestError]) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error(f"quotes {request.headers.get('authorization')}", request=request)

    return handler


@pytest.mark.parametrize(
    ("handler", "reading", "writing"),
    [
        (answering(401, "<html>"), ErpLoginRefused, ErpLoginRefused),
        (answering(403, "<html>"), NotAllowed, NotAllowed),
        (answering(404, "<html>"), ErpUnavailable, NotThere),
        (answering(413, "<html>"), TooLarge, TooLarge),
        (answering(429), ErpRateLimited, ErpRateLimited),
        (answering(400, '{"status": 400, "message": "No.", "description": ""}'), CallRefused, CallRefused),
        (answering(400, "<html>Unable to get RPC method"), ErpUnavailable, ErpOutcomeUnknown),
        (answering(400, '{"other": 1}'), ErpUnavailable, ErpOutcomeUnknown),
        (answering(302, location="http://elsewhere.example"), ErpUnavailable, ErpOutcomeUnknown),
        (answering(500, "<html>"), ErpUnavailable, ErpOutcomeUnknown),
        (answering(503, "<html>"), ErpUnavailable, ErpOutcomeUnknown),
        (answering(504), ErpUnavailable, ErpOutcomeUnknown),
        (answering(200, "<html>"), ErpUnavailable, ErpOutcomeUnknown),
        (answering(200, '[{"id": '), ErpUnavailable, ErpOutcomeUnknown),
        (answering(200, '{"id": 1}'), ErpUnavailable, ErpOutcomeUnknown),
        (breaking(httpx.ConnectError), ErpUnavailable, ErpUnavailable),
        (breaking(httpx.ConnectTimeout), ErpUnavailable, ErpUnavailable),
        (breaking(httpx.ReadTimeout), ErpUnavailable, ErpOutcomeUnknown),
        (breaking(httpx.RemoteProtocolError), ErpUnavailable, ErpOutcomeUnknown),
        (breaking(httpx.WriteError), ErpUnavailable, ErpOutcomeUnknown),
        (breaking(httpx.LocalProtocolError), ErpUnavailable, ErpUnavailable),
    ],
)
async def test_each_answer_has_its_meaning(handler: Handler, reading: type[ErpError], writing: type[ErpError]) -> None:
    answers = [answering(200, "[]"), handler, handler]
    one = client(lambda request: answers.pop(0)(request))
    assert await one.search("account.move", [], ["id"]) == []
    with pytest.raises(reading) as read:
        await one.search("account.move", [], ["id"])
    with pytest.raises(writing) as written:
        await one.create("account.move", [{}, {}])
    for caught in (read, written):
        assert type(caught.value) in {reading, writing}
        assert KEY not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    await one.aclose()


@pytest.mark.parametrize(
    ("asked", "seconds"), [("7", 7.0), ("0", 0.0), ("99999999999", 86400.0), ("-3", None), ("soon", None), ("", None)]
)
async def test_a_pause_is_taken_as_asked_for_where_it_can_be_read(asked: str, seconds: float | None) -> None:
    with pytest.raises(ErpRateLimited) as caught:
        await client(answering(429, **{"retry-after": asked})).search("account.move", [], ["id"])
    assert caught.value.clears_in_s == seconds


async def test_a_refusal_is_one_clean_line() -> None:
    text = json.dumps({"message": "No\x1b[31m\nway " + "x" * 9000, "description": "because"})
    with pytest.raises(CallRefused) as caught:
        await client(answering(400, text)).create("account.move", [{}])
    assert str(caught.value).startswith("No [31m way xxx")
    assert len(str(caught.value)) <= 300
    assert str(caught.value).isprintable()


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b" " * 1_000_000

    one = client(lambda _request: httpx.Response(200, content=endless()))
    with pytest.raises(ErpUnavailable, match="over 67108864 bytes"):
        await one.search("account.move", [], ["id"])
    assert read < 70


async def test_keys_and_passwords_are_shown_by_nothing() -> None:
    login = Login("anna", PASSWORD)
    assert PASSWORD not in repr(login)
    assert KEY not in repr(client(answering(200), login))


class Sessions:
    """JSON-RPC with sessions that end after some calls."""

    def __init__(self, calls_a_session: int = 99, password: str = PASSWORD) -> None:
        self.calls_a_session = calls_a_session
        self.password = password
        self.logins = 0
        self.left = 0
        self.calls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        method = body["method"]
        self.calls.append(method)
        if method == "common.db.login":
            if body["params"][1] != {"password": self.password}:
                return httpx.Response(401, headers=HTML)
            self.logins += 1
            self.left = self.calls_a_session
            return httpx.Response(200, json={"id": 0, "result": [3, f"token{self.logins}", None]})
        session = base64.b64decode(request.headers["authorization"].removeprefix("Session ")).decode()
        if session != f"anna:3:token{self.logins}" or self.left <= 0:
            return httpx.Response(401, headers=HTML)
        self.left -= 1
        return httpx.Response(200, json={"id": 0, "result": [1]})


async def test_a_session_is_opened_once_and_again_when_it_has_ended() -> None:
    sessions = Sessions(calls_a_session=2)
    one = client(sessions, Login("anna", PASSWORD))
    for _ in range(3):
        assert await one.rpc("account.move", "post", [1]) == [1]
    assert sessions.logins == 2
    await one.aclose()
    assert sessions.calls[-1] == "common.db.logout"


async def test_a_login_that_is_refused_is_told_at_once_and_not_tried_again() -> None:
    sessions = Sessions(password="another")
    one = client(sessions, Login("anna", PASSWORD))
    with pytest.raises(ErpLoginRefused, match="user name or the password"):
        await one.log_in()
    assert sessions.calls == ["common.db.login"]


async def test_a_session_that_is_refused_though_it_is_new_ends_it() -> None:
    sessions = Sessions(calls_a_session=0)
    one = client(sessions, Login("anna", PASSWORD))
    with pytest.raises(ErpLoginRefused):
        await one.rpc("account.move", "post", [1])
    assert sessions.logins == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (["UserError", ["The period is closed.", "Open it.", None]], CallRefused),
        (["UserWarning", ["key", "Similar invoice", ""]], CallRefused),
        (["ConcurrencyException", "Records were modified"], CallRefused),
        (["KeyError", "traceback"], ErpOutcomeUnknown),
        ("what", ErpOutcomeUnknown),
    ],
)
async def test_json_rpc_answers_with_errors_inside_of_200(error: Any, kind: type[ErpError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if b"common.db.login" in request.content:
            return httpx.Response(200, json={"result": [3, "token"]})
        return httpx.Response(200, json={"id": 0, "error": error})

    with pytest.raises(kind):
        await client(handler, Login("anna", PASSWORD)).rpc("account.move", "post", [1])


async def test_a_long_list_is_read_in_pages_by_its_ids() -> None:
    asked: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        after = json.loads(request.content)["domain"][-1][2]
        asked.append(after)
        return httpx.Response(200, json=[{"id": id_} for id_ in range(after + 1, min(after + 3, 6))])

    rows = await client(handler).search_all("party.party", [], ["id"], page=2)
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    assert asked == [0, 2, 4]


async def test_what_is_read_of_other_records_stands_under_its_plain_name() -> None:
    row = {
        "id": 1,
        "party.": {"id": 2, "name": "Acme"},
        "lines.": [{"id": 3, "account.": {"id": 4, "code": "1"}}],
        "move.": None,
    }
    (read,) = await client(answering(200, json.dumps([row]))).search("account.invoice", [], ["id"])
    assert read == {
        "id": 1,
        "party": {"id": 2, "name": "Acme"},
        "lines": [{"id": 3, "account": {"id": 4, "code": "1"}}],
        "move": None,
    }
