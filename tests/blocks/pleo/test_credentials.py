"""Where the key may go, and what is said when it may not: one line, never the value."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import traceback
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from blocks.pleo.credentials import (
    PRODUCTION_URL,
    PleoCredentials,
    credentials_from_environment,
)
from blocks.pleo.errors import PleoConfigurationError
from blocks.pleo.http.transport import is_http_url
from blocks.web_address import is_loopback
from blocks.web_address import usable_base_url as _usable_base_url
from tests.support.pleo.scripted_pleo import JOB_ID, SAME_EVERY_TIME, answer, job, page, scripted

SECRET = "s3cret-V4lue"


def usable_base_url(value: str) -> str:
    return _usable_base_url(value, example=PRODUCTION_URL, is_http_url=is_http_url)


@pytest.mark.parametrize(
    ("given_url", "used"),
    [
        ("https://external.pleo.io", "https://external.pleo.io"),
        (" https://external.pleo.io/ \n", "https://external.pleo.io"),
        ("https://external.staging.pleo.io:8443/gateway//", "https://external.staging.pleo.io:8443/gateway"),
        ("HTTPS://External.Pleo.io", "HTTPS://External.Pleo.io"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://localhost", "http://localhost"),
        ("http://LOCALHOST:1", "http://LOCALHOST:1"),
    ],
)
def test_https_anywhere_and_http_to_this_machine_can_be_used(given_url: str, used: str) -> None:
    assert usable_base_url(given_url) == used
    assert httpx.URL(used).host


NOT_LOOPBACK = [
    "http://external.pleo.io",
    "http://127.0.0.1.evil.com",
    "http://localhost.evil.com",
    "http://evil.com/127.0.0.1",
    "http://evil-localhost",
    "http://2130706433",
    "http://0x7f000001",
    "http://0177.0.0.1",
    "http://127.1",
    "http://0.0.0.0",
    "http://[::]",
    "http://[::ffff:8.8.8.8]",
    "http://10.0.0.1",
    "http://169.254.169.254",
    "http://127.0.0.1%2eevil.com",
    "http://localhost.",
]
NOT_PLAIN = [
    "http://127.0.0.1@evil.com",
    "http://127.0.0.1:80@evil.com",
    "http://@127.0.0.1",
    "https://user:pass@external.pleo.io",
    "https://external.pleo.io?x=1",
    "https://external.pleo.io?",
    "https://external.pleo.io/?",
    "https://external.pleo.io#x",
    "https://external.pleo.io#",
    "http://evil.com#@127.0.0.1",
    "http://127.0.0.1?@evil.com",
]
NO_URL = [
    "external.pleo.io",
    "//external.pleo.io",
    "ftp://external.pleo.io",
    "file:///etc/passwd",
    "https://",
    "https:///x",
    "https://external.pleo.io:port",
    "https://external.pleo.io:99999",
    "https://a..b",
    "https://[::1",
    "https://[v1.a]",
    "https://xn--",
    "https://exter nal.pleo.io",
    "https://external.pleo.io/a b",
    "https://external.pleo.io/\tx",
    "https://external\n.pleo.io",
    "https://external.pleo.io/\x00",
    "\x01https://external.pleo.io",
    "https://\x7fexternal.pleo.io",
    "https://exter\u00adnal.pleo.io",
    "https://плео.io",
    "https://external.pleo.io/ø",
    "http://127。0。0。1",
    "https://" + "a" * 64 + ".io",
    "https://" + "a" * 70_000,
    "https://good.io\\.evil.com",
    "http://127.0.0.1\\@evil.com",
    "https://\ud800.io",
]
BAD_URLS = [
    *((url, r"plain http|not a URL") for url in NOT_LOOPBACK),
    *((url, "a host and a path only") for url in NOT_PLAIN),
    *((url, r"not a URL|host and a path only") for url in NO_URL),
]


@pytest.mark.parametrize(("url", "why"), BAD_URLS, ids=[ascii(url)[:40] for url, _ in BAD_URLS])
def test_an_address_that_a_key_must_not_be_sent_to_is_refused_in_one_line_that_names_the_variable(
    url: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        usable_base_url(url)
    with pytest.raises(PleoConfigurationError, match=why) as caught:
        credentials_from_environment({"PLEO_API_KEY": SECRET, "PLEO_BASE_URL": url})
    said = str(caught.value)
    assert said.startswith("PLEO_BASE_URL: ")
    assert said.isprintable()
    assert len(said) < 200
    assert SECRET not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_address_is_no_url() -> None:
    with pytest.raises(ValueError, match="not a URL"):
        usable_base_url("")


@SAME_EVERY_TIME
@given(
    st.text(alphabet="htps:/@.#?[]\\%127loca \t\x00ev", max_size=40)
    | st.from_regex(r"https?://[-a-z0-9.@:\[\]\\%?#/]{1,30}", fullmatch=True)
)
def test_whatever_is_accepted_goes_where_it_says(url: str) -> None:
    try:
        used = usable_base_url(url)
    except ValueError:
        return
    sent = httpx.URL(used + "/v3/export-jobs", params=[("limit", "1")])
    assert sent.userinfo == b""
    assert sent.path.endswith("/v3/export-jobs")
    assert sent.query == b"limit=1"
    assert sent.fragment == ""
    if sent.scheme != "https":
        assert sent.scheme == "http"
        assert is_loopback(sent.host)


# -- keys and tokens ----------------------------------------------------------------------------------------------


def test_without_an_address_it_is_production() -> None:
    assert credentials_from_environment({"PLEO_API_KEY": SECRET}).base_url == PRODUCTION_URL
    assert credentials_from_environment({"PLEO_API_KEY": SECRET, "PLEO_BASE_URL": " "}).base_url == PRODUCTION_URL


@pytest.mark.parametrize("environment", [{}, {"PLEO_API_KEY": ""}, {"PLEO_API_KEY": " \n", "PLEO_ACCESS_TOKEN": "\t"}])
def test_no_credentials_is_one_line_that_says_what_to_set(environment: dict[str, str]) -> None:
    with pytest.raises(PleoConfigurationError, match=r"set PLEO_API_KEY or PLEO_ACCESS_TOKEN") as caught:
        credentials_from_environment(environment)
    assert str(caught.value).isprintable()


def test_a_key_and_a_token_at_once_are_refused() -> None:
    with pytest.raises(PleoConfigurationError, match="unset one") as caught:
        credentials_from_environment({"PLEO_API_KEY": SECRET, "PLEO_ACCESS_TOKEN": SECRET + "2"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["PLEO_API_KEY", "PLEO_ACCESS_TOKEN"])
@pytest.mark.parametrize("odd", [" ", "\n", "\r\nX-Injected: 1", "\x00", "\x7f", "ø", "\u200b", "\udc80", "\t"])
def test_a_secret_with_odd_characters_is_refused_without_showing_it(name: str, odd: str) -> None:
    with pytest.raises(PleoConfigurationError) as caught:
        credentials_from_environment({name: f"{SECRET}{odd}{SECRET}"})
    said = str(caught.value)
    assert said.startswith(f"{name}: ")
    assert said.isprintable()
    assert SECRET not in said


@pytest.mark.parametrize("odd", ["!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "a" * 10_000, "%41", "key:"])
async def test_a_secret_of_any_printable_ascii_arrives_as_it_is(odd: str) -> None:
    async with scripted(lambda _: answer({"data": job()})) as pleo:
        for name in ("PLEO_API_KEY", "PLEO_ACCESS_TOKEN"):
            credentials = credentials_from_environment({name: f" {odd}\n", "PLEO_BASE_URL": pleo.url})
            async with credentials.get_client() as client:
                await client.get_job(JOB_ID)
    key, token = (request.header("authorization") for request in pleo.requests)
    assert key == "Basic " + base64.b64encode(f"{odd}:".encode()).decode()
    assert token == f"Bearer {odd}"


@pytest.mark.parametrize("fields", [{}, {"api_key": "", "access_token": "  "}, {"api_key": "a", "access_token": "b"}])
def test_the_block_wants_exactly_one_of_key_and_token(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give either an API key or an access token"):
        PleoCredentials(**fields)


def test_an_empty_field_of_the_form_counts_as_not_given() -> None:
    block = PleoCredentials(api_key=SecretStr(f" {SECRET}\n"), access_token=SecretStr(""))
    assert block.api_key == SecretStr(SECRET)
    assert block.access_token is None


@pytest.mark.parametrize("field", ["api_key", "access_token"])
def test_a_secret_shows_in_no_text_made_of_the_block_and_survives_a_copy(
    field: str, caplog: pytest.LogCaptureFixture
) -> None:
    block = PleoCredentials(**{field: SecretStr(SECRET)})
    logging.getLogger("test").warning("%s %r", block, block)
    dumped = [block.model_dump_json(), str(block.model_dump()), json.dumps(block.model_dump(mode="json"))]
    shown = [repr(block), str(block), f"{block}", str(dict(block)), repr(block.get_client()), caplog.text]
    assert not [text for text in (*dumped, *shown) if SECRET in text]
    assert getattr(pickle.loads(pickle.dumps(block)), field).get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"api_key": f"{SECRET} {SECRET}"}, "api_key"),
        ({"api_key": f"{SECRET}\x00"}, "api_key"),
        ({"access_token": f"{SECRET}é"}, "access_token"),
        ({"access_token": f"{SECRET}\t{SECRET}"}, "access_token"),
        ({"api_key": [SECRET]}, "api_key"),
        ({"api_key": SECRET, "access_token": SECRET}, None),
        ({"api_key": SECRET, "base_url": "http://evil.example"}, "base_url"),
        ({"api_key": SECRET, "base_url": "ftp://pleo.example"}, "base_url"),
        ({"api_key": SECRET, "base_url": "no url"}, "base_url"),
        ({"api_key": SECRET, "base_url": 7}, "base_url"),
        ({"api_key": SECRET, "base_url": f"https://u:{SECRET}@evil.example"}, "base_url"),
        ({"api_key": SECRET, "base_url": f"https://pleo.example/?key={SECRET}"}, "base_url"),
    ],
)
def test_a_refused_value_names_its_field_and_is_not_shown(fields: dict[str, Any], wrong: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        PleoCredentials(**fields)
    assert [error["loc"] for error in caught.value.errors()] == [(wrong,) if wrong else ()]
    assert SECRET not in repr(caught.value) + "".join(traceback.format_exception(caught.value))


async def test_the_page_size_reaches_the_query() -> None:
    async with scripted([answer(page())]) as pleo:
        credentials = PleoCredentials(base_url=pleo.url, api_key=SecretStr(SECRET))
        async with credentials.get_client(page_size=17) as client:
            await client.list_jobs()
    assert ("limit", "17") in pleo.requests[0].query
