"""Bodies and paginator: exact numbers, clean errors, lists that end."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.pleo.errors import PagingBroken
from blocks.pleo.http.pages import Paginator, read_page
from blocks.pleo.http.wire import UnreadableAnswer, decode
from tests.support.pleo.scripted_pleo import COMPANY_ID, SAME_EVERY_TIME, answer, job, page, scripted

names = st.sampled_from(["data", "pagination", "hasNextPage", "endCursor"])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
)


def _no_floats(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_no_floats, value.values()))
    if isinstance(value, list):
        return all(map(_no_floats, value))
    return not isinstance(value, float)


@SAME_EVERY_TIME
@given(st.integers(-(10**60), 10**60))
def test_integers_are_exact_however_large(number: int) -> None:
    assert decode(str(number).encode()) == number


@SAME_EVERY_TIME
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_fractions_are_exact(number: Decimal) -> None:
    found = decode(f"[{number:e}]".encode())[0]
    assert _no_floats(found)
    assert found == number


@SAME_EVERY_TIME
@given(st.recursive(st.floats() | st.integers() | st.booleans() | st.none(), st.lists))
def test_nothing_ever_becomes_a_float(document: Any) -> None:
    assert _no_floats(decode(json.dumps(document).encode()))


@pytest.mark.parametrize("number", ["1e99999999999999999999", "-1.5E+99999999999999999999", "1e-99999999999999999999"])
def test_an_exponent_beyond_any_decimal_is_no_number_but_no_error_of_the_page(number: str) -> None:
    bad, good = decode(f"[{number}, 1]".encode())
    assert bad.is_nan()
    assert good == 1


def test_a_million_digits_take_no_time() -> None:
    assert decode(b"9" * 1_000_000).adjusted() == 999_999


@SAME_EVERY_TIME
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_json_or_unreadable(body: bytes) -> None:
    with suppress(UnreadableAnswer):
        decode(body)


@pytest.mark.parametrize("deep", ["[" * 300_000 + "]" * 300_000, '{"a":' * 300_000 + "1" + "}" * 300_000])
@pytest.mark.parametrize("beside", ["]]]]", '\\"[[[', "\\\\"])
def test_what_is_nested_beyond_reason_spoils_its_own_place_alone(deep: str, beside: str) -> None:
    found = decode(f'[{{"before":"{beside}"}},{deep},{{"after":"{beside}","in":[{deep}]}}]')
    assert found[0] == {"before": json.loads(f'"{beside}"')}
    assert found[2]["after"] == json.loads(f'"{beside}"')
    assert isinstance(found[1], list | dict)
    assert len(found) == 3


def test_a_text_without_an_end_behind_a_deep_place_takes_no_time() -> None:
    with pytest.raises(UnreadableAnswer):
        decode("[" * 3000 + "]" * 3000 + '"' + '\\"' * 5_000_000)


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert decode(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":['])
def test_deep_nesting_is_unreadable_and_does_not_end_the_program(opening: str) -> None:
    with pytest.raises(UnreadableAnswer):
        decode(opening.encode() * 300_000)


def test_of_duplicate_keys_the_last_one_counts() -> None:
    assert decode(b'{"a": 1, "a": 2}') == {"a": 2}


@SAME_EVERY_TIME
@given(documents)
def test_a_document_of_any_shape_is_a_page_or_unreadable(document: Any) -> None:
    try:
        found = read_page(document)
    except UnreadableAnswer:
        return
    assert isinstance(found.data, list)
    assert isinstance(found.has_next, bool)


@pytest.mark.parametrize("cursor", ["\ud800", "a\udfffb", "ø\ud800"])
def test_a_cursor_that_cannot_be_sent_back_makes_the_page_unreadable(cursor: str) -> None:
    with pytest.raises(UnreadableAnswer):
        read_page(page([], cursor))


def test_an_empty_cursor_is_none() -> None:
    assert read_page(page([], "", has_next=True)).end_cursor is None


def test_a_list_that_goes_on_and_on_ends_with_an_error() -> None:
    paginator = Paginator("a list", most=3)
    for number in range(3):
        assert paginator.after(has_next=True, end_cursor=f"C{number}", count=1) == f"C{number}"
    with pytest.raises(PagingBroken, match="more than 3 pages"):
        paginator.after(has_next=True, end_cursor="C3", count=1)


# -- lists over HTTP ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", [None, ""])
async def test_more_pages_without_a_cursor_end_the_list_with_an_error(cursor: str | None) -> None:
    async with scripted([answer(page([job()], cursor, has_next=True))] * 3) as pleo, pleo.client() as client:
        with pytest.raises(PagingBroken, match="no cursor"):
            await client.list_jobs(company_id=COMPANY_ID)
    assert len(pleo.requests) == 1


@pytest.mark.parametrize("paginator", [["A", "A"], ["A", "B", "A"], ["A", "B", "C", "C"]])
async def test_a_cursor_that_repeats_ends_the_list_with_an_error(paginator: list[str]) -> None:
    async with scripted([answer(page([job()], cursor)) for cursor in paginator] * 3) as pleo, pleo.client() as client:
        with pytest.raises(PagingBroken, match="repeats"):
            await client.list_jobs()
    assert len(pleo.requests) == len(paginator)


async def test_page_after_empty_page_ends_the_list_with_an_error() -> None:
    async with scripted([answer(page([], f"C{n}")) for n in range(50)]) as pleo, pleo.client() as client:
        with pytest.raises(PagingBroken, match="empty"):
            await client.list_jobs()
    assert len(pleo.requests) == 5


async def test_an_empty_page_in_the_middle_is_passed_over() -> None:
    pages = [page([job()], "A"), page([], "B"), page([job()], "C"), page([])]
    async with scripted([answer(one) for one in pages]) as pleo, pleo.client() as client:
        assert len(await client.list_jobs()) == 2
    assert len(pleo.requests) == 4


async def test_empty_pages_between_full_ones_never_add_up() -> None:
    pages = [page([] if n % 2 else [job()], f"C{n}") for n in range(20)] + [page()]
    async with scripted([answer(one) for one in pages]) as pleo, pleo.client() as client:
        assert len(await client.list_jobs()) == 10
    assert len(pleo.requests) == 21


async def test_a_cursor_of_a_megabyte_is_not_sent_back() -> None:
    async with scripted([answer(page([job()], "A" * 1_000_000))] * 2) as pleo, pleo.client() as client:
        with pytest.raises(PagingBroken) as caught:
            await client.list_jobs()
    assert len(pleo.requests) == 1
    assert len(str(caught.value)) < 200


async def test_a_cursor_with_odd_characters_comes_back_as_it_was() -> None:
    odd = "A&after=B#?%20+/ ø\n"
    async with scripted([answer(page([job()], odd)), answer(page())]) as pleo, pleo.client() as client:
        await client.list_jobs()
    assert pleo.requests[1].query == [("limit", "100"), ("after", odd)]


async def test_a_broken_job_in_a_list_leaves_the_others() -> None:
    elements: list[Any] = [job(id="x"), job(status=5), None, 7, [], job(), job(createdAt="0001-01-01T00:00:00+01:00")]
    async with scripted([answer(page(elements))]) as pleo, pleo.client() as client:
        found = await client.list_jobs()
    assert len(found) == 2
    assert found[1].created_at is None


@SAME_EVERY_TIME
@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 2)), max_size=40))
def test_paginator_lead_on_or_raise_and_never_twice_to_the_same_place(pages: list[tuple[str, int]]) -> None:
    paginator, seen = Paginator("a list"), list[str | None]()
    try:
        for cursor, count in pages:
            seen.append(paginator.after(has_next=True, end_cursor=cursor or None, count=count))
    except PagingBroken:
        pass
    assert None not in seen
    assert len(seen) == len(set(seen))
    assert Paginator("a list").after(has_next=False, end_cursor="A", count=0) is None
