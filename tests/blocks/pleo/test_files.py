"""Receipts are downloaded whole, by bare requests, within bounds of size, time and patience."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpcore
import pytest

from blocks.pleo.errors import FileLinkDead, FileNoReceipt, FileNotFetched, FileTooLarge, FileUnavailable
from blocks.pleo.files.client import MAX_FILE_BYTES, Downloaded, FileClient
from blocks.pleo.files.content import decoded
from tests.support.pleo.internet import ADDRESS, HOST, PDF, URL, Internet, a_file, held
from tests.support.pleo.scripted_pleo import Step, answer, cut, drop, endless

MB = 1_000_000


async def fetched(
    tmp_path: Path, *steps: Step, internet: Internet | None = None, **settings: object
) -> Downloaded | FileNotFetched:
    """What becomes of a file whose host answers like this, the last step repeated."""
    internet = internet or Internet()
    target = tmp_path / "file"
    async with internet.host(steps), internet.client(**settings) as client:
        try:
            file = await client.download(URL, target)
        except FileNotFetched as error:
            assert held(tmp_path) == []
            return error
    assert held(tmp_path) == ["file"]
    return file


async def test_a_file_comes_with_its_size_hash_and_type(tmp_path: Path) -> None:
    file = await fetched(tmp_path, a_file())
    assert file == Downloaded(tmp_path / "file", len(PDF), hashlib.sha256(PDF).hexdigest(), "application/pdf")
    assert (tmp_path / "file").read_bytes() == PDF
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_lack_of_file_handles_is_no_fault_of_the_host_nor_of_the_file(tmp_path: Path, wrapped: bool) -> None:
    lack = OSError(errno.EMFILE, "Too many open files")

    class NoHandles(httpcore.AnyIOBackend):
        async def connect_tcp(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
            try:
                raise ExceptionGroup("all failed", [lack]) if wrapped else lack
            except BaseException as error:
                raise httpcore.ConnectError from error

    async with FileClient("https://pleo.example", dialler=NoHandles()) as client:
        with pytest.raises(OSError, match="Too many open files"):
            await client.download("https://93.184.215.14/file", tmp_path / "file")
    assert held(tmp_path) == []


async def test_nothing_but_the_link_goes_to_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    internet = Internet()
    async with internet.host([a_file(set_cookie="a=b"), a_file()]), internet.client() as client:
        await client.download(URL, tmp_path / "1")
        await client.download(URL, tmp_path / "2")
    wanted = (
        ("host", HOST),
        ("user-agent", "pleo-export/0.1"),
        ("accept", "*/*"),
        ("accept-encoding", "identity"),
        ("connection", "close"),
    )
    assert [request.headers for request in internet.requests] == [wanted, wanted]
    assert internet.dialled == [(ADDRESS, 443)] * 2


async def test_a_file_that_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    internet = Internet()
    async with internet.host([a_file()]), internet.client() as client:
        with pytest.raises(FileExistsError):
            await client.download(URL, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


DEAD = "{host} says that the link is no good (HTTP {status})"
GIVEN_UP = "{host}: HTTP {status}{why}, after {tries} tries"


@pytest.mark.parametrize(
    ("status", "kind", "said", "tries"),
    [
        *((status, FileLinkDead, DEAD, 1) for status in (400, 401, 403, 404, 410)),
        *((status, FileUnavailable, GIVEN_UP, 3) for status in (408, 429, 500, 502, 503, 504)),
        *((status, FileUnavailable, GIVEN_UP, 1) for status in (204, 206, 304, 402, 405, 451)),
    ],
)
async def test_a_dead_link_is_told_apart_and_only_a_host_in_trouble_is_tried_again(
    tmp_path: Path, status: int, kind: type[FileNotFetched], said: str, tries: int
) -> None:
    internet = Internet()
    error = await fetched(tmp_path, answer(None, status), internet=internet)
    why = ", too many requests" if status == 429 else ""
    assert type(error) is kind
    assert str(error) == said.format(host=HOST, status=status, why=why, tries=tries)
    assert len(internet.requests) == tries


async def test_a_short_trouble_is_overcome(tmp_path: Path) -> None:
    internet = Internet()
    file = await fetched(tmp_path, answer(b"", 503), cut(a_file()), a_file(), internet=internet)
    assert isinstance(file, Downloaded)
    assert (file.size, internet.time.sleeps) == (len(PDF), [1.0, 2.0])


async def test_the_host_says_how_long_to_wait_but_not_beyond_the_files_time(tmp_path: Path) -> None:
    internet = Internet()
    assert isinstance(
        await fetched(tmp_path, answer(b"", 429, retry_after="7"), a_file(), internet=internet), Downloaded
    )
    assert internet.time.sleeps == [7.0]
    (tmp_path / "file").unlink()
    internet = Internet()
    error = await fetched(tmp_path, answer(b"", 429, retry_after="3600"), internet=internet, file_s=50.0)
    assert str(error) == f"{HOST}: HTTP 429, too many requests, after 1 tries"
    assert sum(internet.time.sleeps) == 0


BROKEN: dict[str, Step] = {
    "cut off": cut(a_file()),
    "dropped": drop,
    "no HTTP": b"220 smtp ready\r\n\r\n",
    "a damaged gzip": a_file(b"\x1f\x8b" + b"x" * 50, content_encoding="gzip"),
    "a gzip that was cut off": a_file(gzip.compress(PDF)[:-9], content_encoding="gzip"),
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n%PDF-1",
    "chunks that are none": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n%PDF-\r\n0\r\n\r\n",
    "chunks without an end": cut(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n%PDF-\r\n0\r\n\r\n", left_out=5
    ),
}


@pytest.mark.parametrize("step", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_whole_file_is_tried_again_and_then_given_up(tmp_path: Path, step: Step) -> None:
    internet = Internet()
    assert isinstance(await fetched(tmp_path, step, internet=internet), FileUnavailable)
    assert len(internet.requests) == 3


NO_RECEIPTS: dict[str, tuple[Step, str]] = {
    "empty": (a_file(b"", "image/jpeg"), "is empty"),
    "a web page": (a_file(b"\n<!DOCTYPE html><title>Sign in</title>"), "is a web page and no file"),
    "a page without a doctype": (a_file(b"<!-- - --><HTML>", "application/pdf"), "is a web page and no file"),
    "a message": (a_file(b'{"error": "later"}', "application/json"), "is a message and no file"),
    "of unknown encoding": (
        a_file(b"\x0b\x02\x80" * 9, content_encoding="br"),
        "comes in an encoding that is not known",
    ),
}


@pytest.mark.parametrize(("step", "what"), NO_RECEIPTS.values(), ids=NO_RECEIPTS.keys())
async def test_what_is_no_receipt_is_told_by_what_it_is(tmp_path: Path, step: Step, what: str) -> None:
    internet = Internet()
    error = await fetched(tmp_path, step, internet=internet)
    assert isinstance(error, FileNoReceipt)
    assert (error.what, len(internet.requests)) == (what, 3)


@pytest.mark.parametrize("size", [MAX_FILE_BYTES - 1, MAX_FILE_BYTES])
async def test_thirty_megabytes_are_taken(tmp_path: Path, size: int) -> None:
    file = await fetched(tmp_path, a_file(PDF + bytes(size - len(PDF))))
    assert isinstance(file, Downloaded)
    assert file.size == size


def claims(size: int, content: bytes, **headers: str) -> bytes:
    """An answer whose Content-Length says this, whatever comes."""
    return a_file(content, content_length=str(size), **headers)


def chunked(*parts: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


BIG = {
    "one byte more": a_file(PDF + bytes(MAX_FILE_BYTES + 1 - len(PDF))),
    "31 MB": a_file(PDF + bytes(31 * MB)),
    "31 MB by its own word": claims(31 * MB, PDF),
    "a length beyond numbers": claims(10**17, PDF),
    "31 MB without a length": b"HTTP/1.1 200 OK\r\n\r\n" + PDF + bytes(31 * MB),
    "31 MB in chunks": chunked(PDF, bytes(31 * MB)),
    "a gzip bomb": a_file(gzip.compress(PDF + bytes(200 * MB)), content_encoding="gzip"),
    "a deflate bomb": a_file(zlib.compress(PDF + bytes(200 * MB)), content_encoding="deflate"),
    "a gzip bomb in many members": a_file(gzip.compress(PDF + bytes(MB)) * 40, content_encoding="gzip"),
}


@pytest.mark.parametrize("step", BIG.values(), ids=BIG.keys())
async def test_a_larger_file_is_refused_after_one_request(tmp_path: Path, step: Step) -> None:
    internet = Internet()
    error = await fetched(tmp_path, step, internet=internet)
    assert isinstance(error, FileTooLarge)
    assert str(error) == "the file is larger than 30000000 bytes"
    assert len(internet.requests) == 1


async def test_the_callers_limit_can_only_be_lower(tmp_path: Path) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.client(max_bytes=len(PDF)) as client:
        with pytest.raises(FileTooLarge, match=f"than {len(PDF) - 1} bytes"):
            await client.download(URL, tmp_path / "1", len(PDF) - 1)
        assert (await client.download(URL, tmp_path / "2", 10 * MB)).size == len(PDF)
    async with internet.host([a_file(PDF + b"%")]), internet.client(max_bytes=len(PDF)) as client:
        with pytest.raises(FileTooLarge):
            await client.download(URL, tmp_path / "3", 10 * MB)


async def test_a_length_that_is_too_small_ends_the_file_there_and_spoils_no_other(tmp_path: Path) -> None:
    internet = Internet()
    lie = claims(len(PDF), PDF + b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n%PDF-evil")
    async with internet.host([lie, a_file(b"%PDF-good")]), internet.client() as client:
        first = await client.download(URL, tmp_path / "1")
        second = await client.download(URL, tmp_path / "2")
    assert (first.size, (tmp_path / "2").read_bytes(), second.size) == (len(PDF), b"%PDF-good", 9)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
async def test_an_encoded_file_is_decoded_whole(tmp_path: Path, encoding: str) -> None:
    content = PDF + bytes(2 * MB)
    body = (
        zlib.compress(content) if encoding == "deflate" else gzip.compress(content[:MB]) + gzip.compress(content[MB:])
    )
    file = await fetched(tmp_path, a_file(body, content_encoding=encoding))
    assert isinstance(file, Downloaded)
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


async def test_a_bomb_is_never_inflated_by_more_than_a_step_at_a_time() -> None:
    async def at_once() -> AsyncIterator[bytes]:
        yield gzip.compress(bytes(100 * MB))

    sizes = [len(piece) async for piece in decoded(at_once(), "gzip", MAX_FILE_BYTES)]
    assert (sum(sizes), max(sizes)) == (100 * MB, 65_536)


@pytest.mark.parametrize(
    "word", ["aws-chunked", "AWS-Chunked", "utf-8", "br", "none", "identity, aws-chunked", "gzip, gzip"]
)
async def test_a_word_that_is_no_encoding_of_the_file_is_no_reason_to_refuse_it(tmp_path: Path, word: str) -> None:
    file = await fetched(tmp_path, a_file(content_encoding=word))
    assert isinstance(file, Downloaded)
    assert (file.media_type, (tmp_path / "file").read_bytes()) == ("application/pdf", PDF)


@pytest.mark.parametrize("words", ["aws-chunked,gzip", "gzip, aws-chunked"])
async def test_an_encoding_beside_such_a_word_counts(tmp_path: Path, words: str) -> None:
    file = await fetched(tmp_path, a_file(gzip.compress(PDF), content_encoding=words))
    assert isinstance(file, Downloaded)
    assert (tmp_path / "file").read_bytes() == PDF


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\n\r\n%PDF-"
SLOW: dict[str, Step] = {
    "dribbles": endless(HEAD, b"x", 0.01),
    "never says anything": endless(b"", b"", 0.01),
    "never ends its headers": endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.01),
    "says for ever that it goes on": endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.01),
}


@pytest.mark.parametrize("step", SLOW.values(), ids=SLOW.keys())
async def test_a_host_that_takes_for_ever_is_left(tmp_path: Path, step: Step) -> None:
    began = asyncio.get_running_loop().time()
    error = await fetched(tmp_path, step, file_s=0.4)
    assert isinstance(error, FileUnavailable)
    assert "in time" in str(error) or "cut off" in str(error)
    assert asyncio.get_running_loop().time() - began < 5


async def test_a_file_that_never_ends_is_stopped_at_the_limit(tmp_path: Path) -> None:
    assert isinstance(await fetched(tmp_path, endless(HEAD, bytes(MB), 0.0)), FileTooLarge)


async def test_a_hundred_files_at_once_come_six_at_a_time(tmp_path: Path) -> None:
    internet, open_now, most = Internet(), 0, 0

    async def slowly(writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        writer.write(a_file())
        await writer.drain()

    async with internet.host(lambda _: slowly), internet.client() as client:
        files = await asyncio.gather(*(client.download(URL, tmp_path / str(n)) for n in range(100)))
    assert (len(files), len(held(tmp_path)), most) == (100, 100, 6)


async def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    internet, begun = Internet(), asyncio.Event()

    async def dribble(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        await writer.drain()
        begun.set()
        await asyncio.Event().wait()

    async with internet.host([dribble]), internet.client() as client:
        task = asyncio.create_task(client.download(URL, tmp_path / "file"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert held(tmp_path) == []


async def _garbled(writer: asyncio.StreamWriter) -> None:
    """An answer that begins well, and then a record that no key of this connection has made."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n%PDF-1.4")
    await writer.drain()
    os.write(writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\x00\x20" + b"x" * 32)


async def test_a_record_that_cannot_be_decrypted_is_a_broken_connection_and_not_a_broken_disk(tmp_path: Path) -> None:
    error = await fetched(tmp_path, _garbled)
    assert isinstance(error, FileUnavailable)
    assert str(error) == f"{HOST}: the connection broke, or was cut off, after 3 tries"
