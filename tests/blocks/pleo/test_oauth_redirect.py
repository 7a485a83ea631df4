"""The listener for the redirect: one answer, by the right path and state; everybody else gets a page and no more."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from html.parser import HTMLParser
from urllib.parse import urlencode

import httpx
import pytest

from blocks.pleo.oauth.redirect import (
    PATH,
    AuthorizationRequest,
    PortInUse,
    Redirect,
    RedirectListener,
    redirect_listener,
)
from tests.support.processes import free_port

STATE = "the-state-of-this-attempt"


async def get(port: int, path: str = PATH, *, method: str = "GET", headers: dict[str, str] | None = None, **query: str):
    url = f"http://127.0.0.1:{port}{path}" + (f"?{urlencode(query)}" if query else "")
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, url, headers=headers)


async def answered(listener: RedirectListener) -> Redirect:
    return await asyncio.wait_for(listener.answer, 30)


async def test_the_code_of_the_right_state_is_taken_and_a_second_one_changes_nothing() -> None:
    port = free_port()
    async with redirect_listener(port, STATE) as listener:
        page = await get(port, code="c0de", state=STATE)
        assert (await answered(listener)).code == "c0de"
        again = await get(port, code="another", state=STATE)
        assert (await answered(listener)).code == "c0de"
    assert page.status_code == again.status_code == 200
    assert "You may close this window" in page.text
    assert "c0de" not in page.text + repr(listener.answer.result())
    assert page.headers["content-security-policy"].startswith("default-src 'none';")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_a_denial_is_an_answer_too_and_its_text_is_no_markup() -> None:
    port = free_port()
    async with redirect_listener(port, STATE) as listener:
        error = {"error": "access_denied", "error_description": "<script>alert(1)</script>\x1b[31m no"}
        page = await get(port, state=STATE, **error)
        redirected = await answered(listener)
    assert (redirected.code, redirected.error) == (None, "access_denied")
    assert redirected.description == "<script>alert(1)</script> [31m no"
    assert "script" not in page.text
    assert "Nothing was allowed" in page.text


@pytest.mark.parametrize("target", ["//[", "http://[::1", "", "*"])
async def test_an_address_that_is_none_is_told_so(target: str) -> None:
    port = free_port()
    async with redirect_listener(port, STATE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        writer.close()


@pytest.mark.parametrize(
    "query",
    [
        {"code": "c0de"},
        *({"code": "c0de", "state": state} for state in ("", STATE + "x", "ø" * 25)),
        {"state": STATE},
        {"state": STATE, "code": "", "error": ""},
        {"state": STATE, "code": "c0de", "error": "access_denied"},
        {"error": "access_denied"},
        {},
    ],
)
async def test_whatever_is_not_the_answer_is_not_taken(query: dict[str, str]) -> None:
    port = free_port()
    async with redirect_listener(port, STATE) as listener:
        page = await get(port, **query)
        assert page.status_code == 400
        assert "c0de" not in page.text
        assert not listener.answer.done()
        assert (await get(port, code="real", state=STATE)).status_code == 200
        assert (await answered(listener)).code == "real"


async def test_strangers_and_browsers_that_look_ahead_change_nothing() -> None:
    port = free_port()
    with ExitStack() as stack:
        async with redirect_listener(port, STATE) as listener:
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))  # as browsers do, to be quick later
            rude = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            rude.sendall(b"\x16\x03\x01" + b"\r\n\r\n")
            for headers in ({"Sec-Purpose": "prefetch"}, {"Purpose": "prefetch"}, {"X-Moz": "prefetch"}):
                assert (await get(port, code="c0de", state=STATE, headers=headers)).status_code == 503
            assert (await get(port, "/favicon.ico")).status_code == 404
            assert (await get(port, PATH + "/", code="c0de", state=STATE)).status_code == 404
            assert (await get(port, method="POST", code="c0de", state=STATE)).status_code == 405
            assert (await get(port, method="HEAD", code="c0de", state=STATE)).status_code == 405
            twice = await get(port, f"{PATH}?code=c0de&code=other&state={STATE}")
            assert twice.status_code == 400
            with pytest.raises(httpx.HTTPError):
                await get(port, headers={"X-Long": "c" * 100_000}, code="c0de", state=STATE)
            assert not listener.answer.done()
            await get(port, code="real", state=STATE)
            assert (await answered(listener)).code == "real"


async def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            async with redirect_listener(port, STATE):
                pass
    assert str(caught.value).isprintable()


async def test_the_page_is_whole_html_without_scripts_or_anything_from_elsewhere() -> None:
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.append(tag)

    port = free_port()
    async with redirect_listener(port, STATE):
        parser = Parser()
        parser.feed((await get(port, code="c0de", state=STATE)).text)
    assert sorted(tags) == sorted(["html", "head", "meta", "meta", "title", "style", "body", "h1", "p"])


def test_each_attempt_has_secrets_of_its_own_which_it_does_not_show() -> None:
    one, other = (AuthorizationRequest("http://127.0.0.1:1/callback") for _ in range(2))
    assert one.state != other.state
    assert one.verifier != other.verifier
    assert 43 <= len(one.verifier) <= 128
    assert len(one.challenge) == 43
    assert one.state not in repr(one)
    assert one.verifier not in repr(one)
    url = one.url("https://auth.example", "a&b", "x:y z")
    assert one.verifier not in url
    assert "client_id=a%26b&" in url
    assert "code_challenge_method=S256" in url
