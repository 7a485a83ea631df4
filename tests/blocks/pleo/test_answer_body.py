"""Bodies with texts of megabytes, cut while they come in, whatever pieces they come in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.pleo.http.answer_body import LONGEST_TEXT, TextTrimmer
from tests.support.pleo.scripted_pleo import SAME_EVERY_TIME

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
