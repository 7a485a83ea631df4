"""Keys, tokens and links to files are on the wire and nowhere else: no error, no repr, no log however talkative."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.pleo.errors import FileNotFetched, PleoError, PleoRejected, PleoUnavailable
from blocks.pleo.http.auth import BearerAuth, FixedAuth, KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.models import ItemStatus, ItemUpdate, JobEvent
from tests.support.pleo.internet import HOST, PDF, URL, Internet, a_file, redirect
from tests.support.pleo.oauth_sandbox import TOKEN_CALL, oauth_sandbox
from tests.support.pleo.scripted_pleo import (
    COMPANY_ID,
    ENTRY_ID,
    JOB_ID,
    Step,
    answer,
    cut,
    drop,
    endless,
    html,
    job,
    no_waiting,
    page,
    refusal,
    scripted,
)

SECRET = "s3cret-V4lue/+:%41\"'"
FORMS = [SECRET, repr(SECRET)[1:-1], base64.b64encode(f"{SECRET}:".encode()).decode()]
LINK_SECRET = "s3cr3t"  # in the path and in the query of the link, and of all that it redirects to
AUTHS: dict[str, FixedAuth] = {"key": KeyAuth(SECRET), "token": BearerAuth(SECRET)}
both_kinds = pytest.mark.parametrize("auth", AUTHS.values(), ids=AUTHS.keys())


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that anybody logs, at any level."""
    libraries = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "asyncio", "anyio", "blocks")
    for name in ("", *libraries):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def text_of(logs: pytest.LogCaptureFixture) -> str:
    return logs.text + "\n".join(record.getMessage() + repr(record.args) for record in logs.records)


def told_by(error: BaseException | None) -> str:
    """All that the error and what lies behind it can tell."""
    parts, seen = [], set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        parts += [repr(error), str(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


# -- keys and tokens ----------------------------------------------------------------------------------------------

TROUBLE: dict[str, list[Step]] = {
    "none": [],
    "dropped": [drop] * 6,
    "cut": [cut(answer(page()))] * 6,
    "401": [answer("", 401)],
    "403": [answer("", 403)],
    "429": [answer("", 429)] * 6,
    "500": [answer("", 500)] * 6,
    "HTML": [html()],
    "a redirect": [answer("", 307, location="http://127.0.0.1:9/")],
    "a refusal": [refusal(400, "BAD")],
    "a refusal that quotes the secret": [
        answer({"type": f"BAD {SECRET}", "message": f"what is {SECRET}, or {FORMS[2]}?"}, 400)
    ],
    "no HTTP": [b"220 smtp ready\r\n\r\n"] * 6,
}


@both_kinds
@pytest.mark.parametrize("steps", TROUBLE.values(), ids=TROUBLE.keys())
async def test_no_trouble_brings_key_or_token_to_light(
    auth: FixedAuth, steps: list[Step], logs: pytest.LogCaptureFixture
) -> None:
    told = ""
    async with scripted([*steps, answer(page()), drop]) as pleo, pleo.client(auth) as client:
        try:
            await client.list_jobs()
            assert not steps
        except PleoError as error:
            told = told_by(error)
            assert steps
        shown = repr(client) + str(client) + repr(vars(client)) + repr(auth)
    assert len(pleo.requests) == max(len(steps), 1)
    assert "send_request_headers" in logs.text  # or nothing was looked at
    assert not [form for form in FORMS if form in told + shown + text_of(logs)]


@both_kinds
async def test_calls_with_bodies_log_no_secret_either(auth: FixedAuth, logs: pytest.LogCaptureFixture) -> None:
    answers = [answer({"data": job()}, 201), answer({"data": [], "errors": []}), answer(None, 202)]
    async with scripted(answers) as pleo, pleo.client(auth) as client:
        await client.create_job(COMPANY_ID, [ENTRY_ID])
        await client.update_job_items(JOB_ID, [ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL)])
        await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert len(pleo.requests) == 3
    assert not [form for form in FORMS if form in text_of(logs)]


@pytest.mark.parametrize("odd", ["\n", "\r\nX-Injected: 1", "\x00"])
async def test_a_token_that_no_header_can_hold_is_not_quoted_in_the_error(odd: str) -> None:
    async with scripted(lambda _: answer(page())) as pleo, pleo.client(BearerAuth(f"s3cret{odd}V4lue")) as client:
        with pytest.raises(PleoUnavailable) as caught:
            await client.list_jobs()
    assert pleo.requests == []
    assert "s3cret" not in str(caught.value)
    assert "V4lue" not in str(caught.value)


async def test_a_host_that_does_not_exist_is_an_error_without_the_secret() -> None:
    async with PleoClient("https://no-such-host.invalid", AUTHS["key"], clock=Clock(sleep=no_waiting)) as client:
        with pytest.raises(PleoUnavailable, match="no connection") as caught:
            await client.list_jobs()
    assert not [form for form in FORMS if form in told_by(caught.value)]


# -- access by OAuth ----------------------------------------------------------------------------------------------


async def test_what_pleo_quotes_is_redacted_old_tokens_and_new_ones_alike() -> None:
    with oauth_sandbox() as oauth:
        grant = oauth.grant()
        before = grant.secrets
        oauth.sandbox.expire_access_tokens()
        steps: list[Any] = [answer("", 401), answer(page()), lambda: refusal(400, "BAD", " and ".join(grant.secrets))]

        def say(_: object) -> bytes:
            step = steps.pop(0)
            return step if isinstance(step, bytes) else step()

        async with scripted(say) as pleo, PleoClient(pleo.url, grant, clock=Clock(sleep=no_waiting)) as client:
            await client.list_jobs()
            with pytest.raises(PleoRejected) as caught:
                await client.list_jobs()
    assert len(grant.secrets) == len(before) + 2
    assert not [secret for secret in grant.secrets if secret in str(caught.value)]
    assert "***" in str(caught.value)


@pytest.mark.parametrize("trouble", ["none", "revoked", "lost"])
async def test_no_token_that_was_ever_held_shows_anywhere(trouble: str, logs: pytest.LogCaptureFixture) -> None:
    with oauth_sandbox() as oauth:
        grant = oauth.grant()
        oauth.sandbox.expire_access_tokens()
        if trouble == "revoked":
            oauth.sandbox.revoke_access()
        if trouble == "lost":
            oauth.sandbox.inject("lost", TOKEN_CALL)
        told = ""
        async with oauth.client(grant) as client:
            try:
                await client.list_jobs()
            except PleoError as error:
                told = told_by(error)
        shown = told + text_of(logs) + repr(client) + repr(vars(client)) + repr(grant) + repr(oauth.store.saved)
    held = grant.secrets
    assert len(held) == (6 if trouble == "none" else 4)  # two pairs where it was renewed, the secret in two forms
    assert "send_request_headers" in logs.text
    assert not [secret for secret in held if secret in shown]


# -- links to files -----------------------------------------------------------------------------------------------

FILE_TROUBLE: dict[str, list[Step]] = {
    "none": [a_file()],
    "a redirect": [redirect(f"{URL}&more"), a_file()],
    "a redirect inward": [redirect(f"https://10.0.0.1/{LINK_SECRET}")],
    "a redirect to a name without addresses": [redirect(f"https://nowhere.example/{LINK_SECRET}")],
    "a redirect to plain http": [redirect(f"http://{HOST}/{LINK_SECRET}")],
    "a redirect to a user": [redirect(f"https://{LINK_SECRET}:{LINK_SECRET}@{HOST}/")],
    "a redirect that is none": [redirect(f"https://[{LINK_SECRET}/")],
    "redirects without end": [redirect(URL)],
    "dropped": [drop],
    "cut off": [cut(a_file())],
    "404 that quotes the link": [answer(URL.encode(), 404, link=URL, set_cookie=LINK_SECRET)],
    "503": [answer(URL.encode(), 503)],
    "too large": [a_file(content_length="40000000", link=URL)],
    "endless": [endless(b"HTTP/1.1 200 OK\r\n\r\n%PDF-", b"x", 0.01)],
    "no HTTP": [f"{URL}\r\n\r\n".encode()],
    "a header that is none": [b"HTTP/1.1 200 OK\r\nlo cation: " + URL.encode() + b"\r\n\r\n"],
    "a web page": [a_file(b"<!doctype html>" + URL.encode(), "text/html")],
}


@pytest.mark.parametrize("steps", FILE_TROUBLE.values(), ids=FILE_TROUBLE.keys())
async def test_no_trouble_brings_the_link_to_light(
    steps: list[Step], tmp_path: Path, logs: pytest.LogCaptureFixture
) -> None:
    internet = Internet()
    async with internet.host(steps), internet.client(file_s=0.5) as client:
        try:
            told = repr(await client.download(URL, tmp_path / "file"))
        except FileNotFetched as error:
            told = told_by(error)
        told += repr(client) + str(vars(client))
    assert LINK_SECRET in internet.targets[0]
    assert LINK_SECRET not in told + text_of(logs)


async def test_a_link_that_is_refused_is_not_quoted(tmp_path: Path, logs: pytest.LogCaptureFixture) -> None:
    for url in (
        f"http://{HOST}/{LINK_SECRET}",
        f"https://10.0.0.1/{LINK_SECRET}",
        f"https://{LINK_SECRET}@{HOST}/",
        f"https://{HOST}/{LINK_SECRET} ",
        f"https://[{LINK_SECRET}]/",
        f"https://{HOST}:{LINK_SECRET}/",
        LINK_SECRET,
    ):
        async with Internet().client() as client:
            with pytest.raises(FileNotFetched) as caught:
                await client.download(url, tmp_path / "file")
        assert LINK_SECRET not in told_by(caught.value) + text_of(logs)


async def test_what_others_log_meanwhile_is_left_to_them(tmp_path: Path, logs: pytest.LogCaptureFixture) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.client() as client:
        await client.download(URL, tmp_path / "file")
    assert not [record for record in logs.records if record.name.startswith("httpcore")]
    async with scripted(lambda _: answer(PDF)) as pleo, pleo.client() as other:
        with pytest.raises(PleoError, match="does not answer as Pleo does"):
            await other.list_jobs()
    assert [record for record in logs.records if record.name == "httpcore.http11"]
