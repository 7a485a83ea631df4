"""Bodies that are large, deep, packed or broken: memory is bounded, and what can be read is read."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.pleo.errors import (
    AnswerTooLarge,
    NotPleo,
    PleoOutcomeUnknown,
)
from blocks.pleo.http.answer_body import LONGEST_TEXT, TextTrimmer
from blocks.pleo.items import BrokenItem
from tests.support.pleo.pleo_items import entry_id
from tests.support.pleo.scripted_pleo import (
    COMPANY_ID,
    ENTRY_ID,
    JOB_ID,
    SAME_EVERY_TIME,
    Performance,
    Request,
    Step,
    answer,
    job,
    page,
    scripted,
)

GOOD = answer({"data": job()})


def _chunked(mebibytes: int) -> Performance:
    async def perform(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(mebibytes):
            writer.write(piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return perform


BOMBS: dict[str, Step] = {
    "65 MiB as they are": _chunked(65),
    "a gzip bomb": answer(gzip.compress(b" " * (80 << 20)), content_encoding="gzip"),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_a_body_larger_than_we_take_is_never_asked_for_again(bomb: Step) -> None:
    async with scripted([GOOD, bomb, bomb, bomb, GOOD]) as pleo, pleo.client() as client:
        await client.get_job(JOB_ID)
        with pytest.raises(AnswerTooLarge, match="ANSWER_TOO_LARGE"):
            await client.get_export_items(JOB_ID)
        assert [dict(request.query)["limit"] for request in pleo.requests[1:]] == ["100", "12", "1"]
        assert (await client.get_job(JOB_ID)).id == JOB_ID


async def test_a_gzip_bomb_inside_a_gzip_bomb_is_not_opened() -> None:
    inner = gzip.compress(b" " * (200 << 20))
    bomb = answer(gzip.compress(inner), content_encoding="gzip, gzip")
    async with scripted([bomb]) as pleo, pleo.client() as client:
        tracemalloc.start()
        try:
            with pytest.raises(NotPleo):
                await client.get_job(JOB_ID)
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
        finally:
            tracemalloc.stop()


async def test_a_gzipped_answer_is_read() -> None:
    packed = answer(gzip.compress(answer({"data": job()}).split(b"\r\n\r\n")[1]), content_encoding="GZip")
    async with scripted([packed]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).id == JOB_ID


async def test_a_write_with_an_answer_too_large_is_in_doubt_and_not_refused() -> None:
    bomb = answer(gzip.compress(b" " * (80 << 20)), content_encoding="gzip")
    async with scripted([bomb]) as pleo, pleo.client() as client:
        with pytest.raises(PleoOutcomeUnknown):
            await client.create_job(COMPANY_ID, [ENTRY_ID])
    assert len(pleo.requests) == 1


async def test_an_answer_nested_beyond_reason_is_a_clean_error() -> None:
    deep = answer('{"data":' + "[" * 200_000 + "]" * 200_000 + "}")
    async with scripted([deep, GOOD, deep, GOOD]) as pleo, pleo.client() as client:
        with pytest.raises(NotPleo):
            await client.get_job(JOB_ID)
        await client.get_job(JOB_ID)
        assert (await client.get_job(JOB_ID)).id == JOB_ID


async def test_a_page_keeps_its_good_items_beside_every_broken_one() -> None:
    good = (
        '{"accountingEntryId":%s,"companyId":"%s","type":"card_purchase","date":"2026-03-02T00:00:00Z",'
        '"amount":{"inWalletCurrency":{"currency":"DKK","value":%s}}}'
    )
    values = ["NaN", "Infinity", "-Infinity", "1e99999999999999999999", "-1e99999999999999999999", "true", '"5"', "[]"]
    all_values = ["1", *values, "9007199254740993.01"]
    ids = [entry_id(n) for n, _ in enumerate(all_values)]
    items = [good % (f'"{id_}"', COMPANY_ID, value) for id_, value in zip(ids, all_values, strict=True)]
    nameless = [good % (id_, COMPANY_ID, "1") for id_ in ("null", "5", '"no UUID"', "[]")]
    text = '{"data":[' + ",".join([*nameless, *items, "5", "null"]) + '],"pagination":{"hasNextPage":false}}'
    async with scripted([answer(text)]) as pleo, pleo.client() as client:
        found = await client.get_export_items(JOB_ID)
    assert len(pleo.requests) == 1
    read = found.items(found.ids)
    assert [isinstance(item, BrokenItem) for item in read.values()] == [False, *[True] * len(values), False]
    assert [*found.ids] == [*read] == [item.accounting_entry_id for item in read.values()] == ids
    assert found.count == len(nameless) + len(items) + 2  # what no row of the job can name is still counted


async def test_a_page_larger_than_we_take_is_asked_for_in_parts() -> None:
    """One record of this list has 2 MB, so that a hundred of them are too many and a dozen are not."""
    record = answer(job(unknown=["x" * 20_000] * 60)).split(b"\r\n\r\n")[1]

    def behave(request: Request) -> Step:
        query = dict(request.query)
        start, limit = int(query.get("after", "0")), int(query["limit"])
        end = min(start + limit, 30)
        pagination = json.dumps({"hasNextPage": end < 30, "endCursor": str(end)}).encode()
        return answer(b'{"data":[' + b",".join([record] * (end - start)) + b'],"pagination":' + pagination + b"}")

    async with scripted(behave) as pleo, pleo.client() as client:
        assert len(await client.list_jobs()) == 30
    asked = [(dict(request.query).get("after", "0"), dict(request.query)["limit"]) for request in pleo.requests]
    assert asked == [("0", "100"), ("0", "12"), ("12", "100"), ("12", "12"), ("24", "100")]


async def test_ten_megabytes_of_note_come_through_cut() -> None:
    item = {"accountingEntryId": ENTRY_ID, "companyId": COMPANY_ID, "type": "fee", "date": "2026-03-02"}
    async with scripted([answer(page([{**item, "note": "ø" * 5_000_000}]))]) as pleo, pleo.client() as client:
        found = await client.get_export_items(JOB_ID)
    (read,) = found.items(found.ids).values()
    assert not isinstance(read, BrokenItem)
    assert read.note is not None
    assert set(read.note) == {"ø"}
    assert len(found.text) < 40_000


async def test_invalid_utf8_costs_a_character_and_not_the_answer() -> None:
    body = b'{"data":' + answer(job(failureReason="@@")).split(b"\r\n\r\n")[1].replace(b"@@", b"a\xff\xc3") + b"}"
    async with scripted([answer(body)]) as pleo, pleo.client() as client:
        assert (await client.get_job(JOB_ID)).failure_reason == "a\ufffd\ufffd"


# -- long texts ---------------------------------------------------------------------------------------------------

JSON_LIKE = st.text(alphabet='"\\u0aé👩\ud800{}[],: n', max_size=80)


def in_pieces(body: bytes, size: int) -> bytes:
    trimmer = TextTrimmer()
    pieces = [trimmer.trim(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join([*pieces, trimmer.end()])


@SAME_EVERY_TIME
@given(text=JSON_LIKE, size=st.integers(1, 90))
def test_what_has_no_long_text_comes_out_as_it_was(text: str, size: int) -> None:
    for body in (text.encode("utf-8", "surrogatepass"), json.dumps([text, {text: text}]).encode()):
        assert in_pieces(body, size) == body


@pytest.mark.parametrize("character", ["x", "é", "👩", "\\\\", '\\"', "\\u00e9", "\\ud83d\\ude00"])
@pytest.mark.parametrize("size", [1, 7, 1000, 65536])
def test_a_long_text_is_cut_between_two_escapes_and_what_stands_beside_it_is_whole(character: str, size: int) -> None:
    beside = character * 20
    body = f'{{"before":"{beside}","long":"{character * LONGEST_TEXT}","after":["{beside}",1.50]}}'
    found = json.loads(in_pieces(body.encode(), size).decode("utf-8", "replace"))
    assert found["before"] == found["after"][0] == json.loads(f'"{beside}"')
    assert found["after"][1] == 1.5
    one, whole = json.loads(f'"{character}"'), LONGEST_TEXT // len(character.encode())
    assert found["long"].startswith(one * (whole - 1))
    assert len(found["long"]) <= len(one) * whole + 3  # half a character's bytes are read as up to three odd ones


def test_a_hundred_megabytes_of_one_text_leave_next_to_nothing() -> None:
    piece = b"x" * 1_000_000
    trimmer = TextTrimmer()
    kept = len(trimmer.trim(b'{"a":"')) + sum(len(trimmer.trim(piece)) for _ in range(100)) + len(trimmer.trim(b'"}'))
    assert kept == LONGEST_TEXT + 8
