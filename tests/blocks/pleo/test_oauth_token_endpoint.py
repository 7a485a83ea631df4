"""Every answer of a token endpoint: tokens, a refusal, or not to be known; and what goes over the wire to get it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import parse_qs

import pytest

from blocks.pleo.errors import NotTrusted
from blocks.pleo.oauth.token_endpoint import (
    ClientAuth,
    Registration,
    Tokens,
    TokensNotAsked,
    TokensRefused,
    TokensUnknown,
    exchange,
    renew,
)
from tests.support.pleo.certificates import server_tls
from tests.support.pleo.scripted_pleo import Step, answer, cut, drop, html, no_waiting, scripted

CLIENT, SECRET, REFRESH = "acme & sons", "s3cret:+/%&=", "r3fresh"
NEW: dict[str, Any] = {"access_token": "a2", "refresh_token": "r2", "token_type": "Bearer", "expires_in": 900}


def registration(
    url: str, client_auth: ClientAuth = ClientAuth.PARAMETERS, secret: str | None = SECRET
) -> Registration:
    return Registration(CLIENT, secret, client_auth, url)


async def renewed(*steps: Step) -> Tokens:
    async with scripted(steps) as pleo:
        try:
            return await renew(registration(pleo.url), REFRESH, no_waiting)
        finally:
            assert len(pleo.requests) == len(steps)


async def test_a_client_shows_its_secret_by_parameters_or_by_header_or_has_none() -> None:
    async with scripted(lambda _: answer(NEW)) as pleo:
        for way, secret in ((ClientAuth.PARAMETERS, SECRET), (ClientAuth.HEADER, SECRET), (ClientAuth.HEADER, None)):
            await exchange(registration(pleo.url, way, secret), "c0de", "v" * 43, "http://127.0.0.1:1/callback")
    by_parameters, by_header, public = (parse_qs(request.body.decode()) for request in pleo.requests)
    common = {
        "grant_type": ["authorization_code"],
        "code": ["c0de"],
        "code_verifier": ["v" * 43],
        "redirect_uri": ["http://127.0.0.1:1/callback"],
    }
    assert by_parameters == {**common, "client_id": [CLIENT], "client_secret": [SECRET]}
    assert by_header == common
    assert public == {**common, "client_id": [CLIENT]}
    headers = [request.header("authorization") for request in pleo.requests]
    encoded = base64.b64encode(b"acme+%26+sons:s3cret%3A%2B%2F%25%26%3D").decode()
    assert headers == [None, f"Basic {encoded}", None]
    assert {request.target for request in pleo.requests} == {"/oauth/token"}


@pytest.mark.parametrize(
    ("changes", "life_s"),
    [
        ({}, 900.0),
        ({"expires_in": "3600"}, 3600.0),
        ({"expires_in": 0.5}, 0.5),
        ({"expires_in": None}, None),
        ({"expires_in": -1}, None),
        ({"expires_in": 0}, None),
        ({"expires_in": 1e300}, None),
        ({"expires_in": True}, None),
        ({"expires_in": "soon"}, None),
        ({"expires_in": "9" * 5000}, None),
        ({"expires_in": {}}, None),
        ({"token_type": "bearer"}, 900.0),
        ({"more": [1] * 100}, 900.0),
    ],
)
async def test_tokens_are_taken_with_their_life_where_it_makes_sense(
    changes: dict[str, Any], life_s: float | None
) -> None:
    assert await renewed(answer({**NEW, **changes})) == Tokens("a2", "r2", life_s)


async def test_an_answer_without_a_refresh_token_means_that_the_old_one_stays() -> None:
    kept = {name: value for name, value in NEW.items() if name != "refresh_token"}
    assert (await renewed(answer(kept))).refresh == REFRESH


@pytest.mark.parametrize(
    "step",
    [
        answer("", 500),
        answer(NEW, 503),
        answer("", 408),
        answer(NEW, 201),
        html(),
        drop,
        cut(answer(NEW)),
        answer("[]"),
        answer("{"),
        answer("[" * 100_000),
        answer({**NEW, "access_token": ""}),
        answer({**NEW, "access_token": None}),
        answer({**NEW, "access_token": "a\r\nx: y"}),
        answer({**NEW, "access_token": "å"}),
        answer({**NEW, "access_token": "a" * 20_000}),
        answer({**NEW, "refresh_token": 7}),
        answer({**NEW, "token_type": "mac"}),
        answer({**NEW, "token_type": None}),
        answer("x" * 1_000_000),
        b"220 smtp ready\r\n\r\n",
    ],
    ids=range(20),
)
async def test_what_is_neither_tokens_nor_a_refusal_is_not_sent_again(step: Step) -> None:
    with pytest.raises(TokensUnknown) as caught:
        await renewed(step)
    assert str(caught.value).isprintable()
    assert REFRESH not in str(caught.value)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (answer({"error": "invalid_grant", "error_description": "Too old"}, 400), "HTTP 400, invalid_grant: Too old"),
        (answer({"error": "invalid_client"}, 401), "HTTP 401, invalid_client"),
        (answer({"error": ["odd"]}, 400), "not how a token endpoint answers"),
        (html(404), "not how a token endpoint answers"),
        (answer("", 307, location="http://127.0.0.1:9/"), "not how a token endpoint answers"),
        (answer({"error": "invalid_grant", "error_description": f"{REFRESH} {SECRET}"}, 400), "invalid_grant: *** ***"),
        (answer({"error": "e\x1b[31m\n" + "x" * 5000}, 400), "e [31m x"),
    ],
    ids=range(7),
)
async def test_a_refusal_is_told_in_one_line_without_secrets(step: Step, said: str) -> None:
    with pytest.raises(TokensRefused) as caught:
        await renewed(step)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


async def test_a_server_that_cannot_prove_who_it_is_is_sent_nothing_and_tried_no_more() -> None:
    connected: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=server_tls("localhost"))
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NotTrusted, match="cannot prove that it is Pleo's"):
            await renew(registration(url), REFRESH, no_waiting)
    assert connected == []


@pytest.mark.parametrize("retry_after", ["0", "-5", "later", "9" * 70])
async def test_too_many_requests_did_nothing_and_is_sent_again(retry_after: str) -> None:
    busy = answer("", 429, retry_after=retry_after)
    assert (await renewed(busy, busy, busy, answer(NEW))).access == "a2"
    with pytest.raises(TokensNotAsked, match="429"):
        await renewed(busy, busy, busy, busy)
