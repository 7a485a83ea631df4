"""A file host that does not answer costs a job minutes, not hours; a run that is asked to end does not wait for it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from blocks.pleo.errors import FileLinkDead, FileNotFetched, FileUnavailable
from blocks.pleo.files.client import DOWN_S, FileClient, HostHealth
from blocks.pleo.http.transport import Clock
from tests.support.pleo.internet import ADDRESS, HOST, PDF, URL, Internet, a_file, held
from tests.support.pleo.scripted_pleo import VirtualClock, answer, drop, endless, scripted

LEFT_ALONE = f"{HOST} has not been answering; it is left alone for a minute"


async def said(client: FileClient, folder: Path, url: str = URL) -> str:
    """What is said of a file that does not come; nothing of one that does."""
    target = folder / str(len(held(folder)))
    try:
        await client.download(url, target)
    except FileNotFetched as error:
        return str(error)
    return ""


async def test_after_three_files_a_silent_host_is_left_alone_for_a_minute(tmp_path: Path) -> None:
    internet = Internet()
    internet.names[HOST] = [[ADDRESS]]
    async with internet.client() as client:
        for _ in range(3):
            assert await said(client, tmp_path) == f"{HOST}: no connection, after 3 tries"
        assert len(internet.dialled) == 9
        for _ in range(1000):
            assert await said(client, tmp_path) == LEFT_ALONE
        assert len(internet.dialled) == 9
        internet.time.seconds += DOWN_S
        assert await said(client, tmp_path) == f"{HOST}: no connection, after 1 tries"
        assert await said(client, tmp_path) == LEFT_ALONE
        internet.time.seconds += DOWN_S
        async with internet.host([a_file(), answer(b"", 503), a_file()]):
            assert await said(client, tmp_path) == ""
            assert await said(client, tmp_path) == ""  # with three tries again
        assert len(internet.dialled) == 13


async def test_a_host_that_is_down_does_not_hold_up_another(tmp_path: Path) -> None:
    internet = Internet()
    internet.names["down.example"] = [["8.8.8.8"]]
    async with internet.host([a_file()]), internet.client() as client:
        for _ in range(5):
            await said(client, tmp_path, "https://down.example/r.pdf")
        assert await said(client, tmp_path) == ""


async def test_an_answer_in_between_shows_that_the_host_is_there(tmp_path: Path) -> None:
    internet = Internet()
    async with (
        internet.host([*[answer(b"", 503)] * 6, answer(b"", 404), answer(b"", 503)]),
        internet.client() as client,
    ):
        for _ in range(2):
            assert await said(client, tmp_path) == f"{HOST}: HTTP 503, after 3 tries"
        with pytest.raises(FileLinkDead):
            await client.download(URL, tmp_path / "file")
        for _ in range(3):
            assert await said(client, tmp_path) == f"{HOST}: HTTP 503, after 3 tries"
        assert await said(client, tmp_path) == LEFT_ALONE


def test_hosts_are_counted_by_files_in_a_row() -> None:
    time = VirtualClock()
    hosts = HostHealth(lambda: time.seconds)
    for _ in range(2):
        hosts.given_up("a")
    assert (hosts.tries("a"), hosts.tries("b")) == (3, 3)
    hosts.answered("a")
    for _ in range(3):
        hosts.given_up("a")
    assert (hosts.tries("a"), hosts.tries("b")) == (0, 3)


class Ends(Exception):
    """What a clock raises in a run that is asked to end."""


@pytest.mark.parametrize("tries_before", [0, 1, 2])
async def test_a_run_that_is_asked_to_end_waits_for_no_file_and_blames_no_host(
    tmp_path: Path, tries_before: int
) -> None:
    internet, waits = Internet(), list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > tries_before:
            raise Ends

    async with internet.host([drop]), internet.client(clock=Clock(sleep=sleep)) as client:
        with pytest.raises(Ends):
            await client.download(URL, tmp_path / "file")
    assert len(internet.requests) == tries_before + 1


async def test_connecting_and_silence_have_limits_of_their_own(tmp_path: Path) -> None:
    internet = Internet()
    internet.silent = {ADDRESS}
    async with internet.host([a_file()]), internet.client(connect_s=0.05) as client:
        assert await said(client, tmp_path) == f"{HOST}: no answer in time, after 3 tries"
    assert len(internet.dialled) == 3
    internet = Internet()
    async with internet.host([endless(b"", b"", 0.01)]), internet.client(silence_s=0.05) as client:
        assert await said(client, tmp_path) == f"{HOST}: no answer in time, after 3 tries"
    assert len(internet.requests) == 3


async def test_a_name_service_that_does_not_answer_has_a_limit_too(tmp_path: Path) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with Internet().client(resolver=never, connect_s=0.05) as client:
        with pytest.raises(FileUnavailable, match="no answer in time, after 3 tries"):
            await client.download(URL, tmp_path / "file")


MEASURED = """
import asyncio, json, re, sys
from pathlib import Path
from blocks.pleo.errors import FileNotFetched
from blocks.pleo.files.client import FileClient

def peak():  # not ru_maxrss, which a process inherits from the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

async def main(base, folder):
    said = []
    async def get(path, name):
        try:
            said.append((await client.download(base + path, folder / name)).size)
        except FileNotFetched as error:
            said.append(str(error))
    async with FileClient(base) as client:
        await get("/small", "small")
        before = peak()
        await asyncio.gather(*(get("/30", f"{n}") for n in range(12)))
        await asyncio.gather(*(get(path, path[1:]) for path in ("/31", "/bomb", "/endless", "/lie")))
        after = peak()
    print(json.dumps([said, (after - before) * 1024]))

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux tells of a process")
async def test_six_files_of_30_mb_at_once_take_less_memory_than_two_of_them(tmp_path: Path) -> None:
    """The resident memory of a process that downloads only: its peak, less what it was after one small file."""
    import gzip

    full = a_file(PDF + bytes(30_000_000 - len(PDF)))
    answers = {
        "/small": a_file(),
        "/30": full,
        "/31": a_file(PDF + bytes(31_000_000)),
        "/bomb": a_file(gzip.compress(PDF + bytes(300_000_000)), content_encoding="gzip"),
        "/endless": endless(b"HTTP/1.1 200 OK\r\n\r\n%PDF-", bytes(1_000_000), 0.0),
        "/lie": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2000000\r\n" + bytes(31_000_000),
    }
    async with scripted(lambda request: answers[request.path]) as pleo:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEASURED, pleo.url, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
    said, grown = json.loads(output)
    assert said == [len(PDF), *[30_000_000] * 12, *["the file is larger than 30000000 bytes"] * 4]
    assert grown < 60_000_000
