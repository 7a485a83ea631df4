"""A link to a file is a permission: it is on the wire and nowhere else, no log, no error, no representation."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.pleo.errors import FileNotFetched
from tests.support.pleo.internet import HOST, PDF, URL, Internet, a_file, redirect
from tests.support.pleo.scripted_pleo import Step, answer, cut, drop, endless, scripted

CANARY = "s3cr3t"  # in the path and in the query of the link, and of all that it redirects to

TROUBLE: dict[str, list[Step]] = {
    "none": [a_file()],
    "a redirect": [redirect(f"{URL}&more"), a_file()],
    "a redirect inward": [redirect(f"https://10.0.0.1/{CANARY}")],
    "a redirect to a name without addresses": [redirect(f"https://nowhere.example/{CANARY}")],
    "a redirect to plain http": [redirect(f"http://{HOST}/{CANARY}")],
    "a redirect to a user": [redirect(f"https://{CANARY}:{CANARY}@{HOST}/")],
    "a redirect that is none": [redirect(f"https://[{CANARY}/")],
    "redirects without end": [redirect(URL)],
    "dropped": [drop],
    "cut off": [cut(a_file())],
    "404 that quotes the link": [answer(URL.encode(), 404, link=URL, set_cookie=CANARY)],
    "503": [answer(URL.encode(), 503)],
    "too large": [a_file(content_length="40000000", link=URL)],
    "endless": [endless(b"HTTP/1.1 200 OK\r\n\r\n%PDF-", b"x", 0.01)],
    "no HTTP": [f"{URL}\r\n\r\n".encode()],
    "a header that is none": [b"HTTP/1.1 200 OK\r\nlo cation: " + URL.encode() + b"\r\n\r\n"],
    "a web page": [a_file(b"<!doctype html>" + URL.encode(), "text/html")],
}


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    names = ("", "httpcore", "httpcore.connection", "httpcore.http11", "asyncio", "anyio", "blocks")
    for name in names:
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def told_by(error: BaseException | None) -> str:
    """All that the error and what lies behind it can tell."""
    parts, seen = [], set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        parts += [repr(error), str(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


@pytest.mark.parametrize("steps", TROUBLE.values(), ids=TROUBLE.keys())
async def test_no_trouble_brings_the_link_to_light(
    steps: list[Step], tmp_path: Path, everything_logged: pytest.LogCaptureFixture
) -> None:
    internet, told = Internet(), ""
    async with internet.host(steps), internet.client(file_s=0.5) as client:
        try:
            told = repr(await client.download(URL, tmp_path / "file"))
        except FileNotFetched as error:
            told = told_by(error)
        told += repr(client) + str(vars(client))
    logged = "\n".join(record.getMessage() + repr(record.args) for record in everything_logged.records)
    assert CANARY in internet.targets[0]
    assert CANARY not in told + logged + everything_logged.text


async def test_a_link_that_is_refused_is_not_quoted(
    tmp_path: Path, everything_logged: pytest.LogCaptureFixture
) -> None:
    for url in (
        f"http://{HOST}/{CANARY}",
        f"https://10.0.0.1/{CANARY}",
        f"https://{CANARY}@{HOST}/",
        f"https://{HOST}/{CANARY} ",
        f"https://[{CANARY}]/",
        f"https://{HOST}:{CANARY}/",
        CANARY,
    ):
        async with Internet().client() as client:
            with pytest.raises(FileNotFetched) as caught:
                await client.download(url, tmp_path / "file")
        assert CANARY not in told_by(caught.value) + everything_logged.text


async def test_what_others_log_is_left_alone(tmp_path: Path, everything_logged: pytest.LogCaptureFixture) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.client() as client:
        await client.download(URL, tmp_path / "file")
    assert not [record for record in everything_logged.records if record.name.startswith("httpcore")]
    async with scripted(lambda _: answer(PDF)) as pleo, pleo.client() as other:
        with pytest.raises(Exception, match="does not answer as Pleo does"):
            await other.list_jobs()
    assert [record for record in everything_logged.records if record.name == "httpcore.http11"]
