"""The key and the token appear on the wire and nowhere else: no message, no repr, no log however talkative."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterator

import pytest

from blocks.pleo.errors import PleoError, PleoUnavailable
from blocks.pleo.http.auth import BearerAuth, FixedAuth, KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.models import ItemStatus, ItemUpdate, JobEvent
from tests.support.pleo.scripted_pleo import (
    COMPANY_ID,
    ENTRY_ID,
    JOB_ID,
    Step,
    answer,
    cut,
    drop,
    html,
    job,
    page,
    refusal,
    scripted,
)

SECRET = "s3cret-V4lue/+:%41\"'"
FORMS = [SECRET, repr(SECRET)[1:-1], base64.b64encode(f"{SECRET}:".encode()).decode()]


def auth(kind: str) -> FixedAuth:
    return KeyAuth(SECRET) if kind == "key" else BearerAuth(SECRET)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    for name in ("", "httpx", "httpcore", "asyncio", "blocks"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_hidden(text: str) -> None:
    for form in FORMS:
        assert form not in text


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


@pytest.mark.parametrize("kind", ["key", "token"])
@pytest.mark.parametrize("steps", TROUBLE.values(), ids=TROUBLE.keys())
async def test_no_trouble_brings_the_secret_to_light(
    kind: str, steps: list[Step], everything_logged: pytest.LogCaptureFixture
) -> None:
    told = ""
    async with scripted([*steps, answer(page()), drop]) as pleo, pleo.client(auth(kind)) as client:
        try:
            await client.list_jobs()
            assert not steps
        except PleoError as error:
            told = "".join(traceback.format_exception(error)) + repr(error) + str(error.args)
            assert steps
        shown = repr(client) + str(client) + repr(vars(client)) + repr(auth(kind))
    assert len(pleo.requests) == max(len(steps), 1)
    logged = "\n".join(record.getMessage() + repr(record.args) for record in everything_logged.records)
    assert "send_request_headers" in logged  # or nothing was looked at
    assert_hidden(told + shown + logged + everything_logged.text)


@pytest.mark.parametrize("kind", ["key", "token"])
async def test_calls_with_bodies_log_no_secret_either(kind: str, everything_logged: pytest.LogCaptureFixture) -> None:
    answers = [answer({"data": job()}, 201), answer({"data": [], "errors": []}), answer(None, 202)]
    async with scripted(answers) as pleo, pleo.client(auth(kind)) as client:
        await client.create_job(COMPANY_ID, [ENTRY_ID])
        await client.update_job_items(JOB_ID, [ItemUpdate(accounting_entry_id=ENTRY_ID, status=ItemStatus.SUCCESSFUL)])
        await client.post_event(JOB_ID, JobEvent.COMPLETED)
    assert len(pleo.requests) == 3
    assert_hidden(everything_logged.text)


@pytest.mark.parametrize("odd", ["\n", "\r\nX-Injected: 1", "\x00"])
async def test_a_token_that_no_header_can_hold_is_not_quoted_in_the_error(
    odd: str, everything_logged: pytest.LogCaptureFixture
) -> None:
    async with scripted(lambda _: answer(page())) as pleo, pleo.client(BearerAuth(f"s3cret{odd}V4lue")) as client:
        with pytest.raises(PleoUnavailable) as caught:
            await client.list_jobs()
    assert pleo.requests == []
    assert "s3cret" not in str(caught.value)
    assert "V4lue" not in str(caught.value)


async def test_a_host_that_does_not_exist_is_an_error_without_the_secret() -> None:
    async with scripted([]) as pleo:
        clock = pleo.time.clock()
    async with PleoClient("https://no-such-host.invalid", auth("key"), clock=clock) as client:
        with pytest.raises(PleoUnavailable, match="no connection") as caught:
            await client.list_jobs()
    assert_hidden("".join(traceback.format_exception(caught.value)))
