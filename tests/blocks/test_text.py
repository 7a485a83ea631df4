"""Text from outside, in one line of a length that was asked for."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.text import is_formula, no_formula, one_line, truncated, visible

SAME_EVERY_TIME = settings(derandomize=True, database=None, deadline=None)
ANY_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=[]), max_size=60)
NASTY = st.text(
    alphabet="ab \t\n\r\x00\x1b\x85\u202e\u2066\u2028\u2029\ufeff\u200d\ufe0f\u0301\ud800\u3000\U0001f3fd👩",
    max_size=60,
)


@SAME_EVERY_TIME
@given(text=ANY_TEXT | NASTY, limit=st.integers(1, 40))
def test_any_text_is_one_safe_line_of_at_most_the_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    line.encode()
    for character in line:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
    assert line == line.strip()
    assert "  " not in line
    assert one_line(line, limit) == line


@SAME_EVERY_TIME
@given(words=st.lists(st.text(alphabet="abcøß漢😀<>[*_&", min_size=1, max_size=5), min_size=1, max_size=6))
def test_what_is_in_order_stays_as_it_is(words: list[str]) -> None:
    text = " ".join(words)
    assert one_line(text, len(text)) == text
    assert one_line(f"\n {text}\t", len(text)) == text


@SAME_EVERY_TIME
@given(text=ANY_TEXT | NASTY, extra=st.integers(0, 20))
def test_the_quick_way_and_the_long_way_agree(text: str, extra: int) -> None:
    limit = len(text) + extra
    assert one_line(text, limit) == one_line(text + "\n", limit)


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abcd fg", 6, "abcd…"),
        ("ab\ncd\r\n\tef", 20, "ab cd ef"),
        ("a\x1b[31mred", 20, "a [31mred"),
        ("pay \u202e001\u202c now", 20, "pay 001 now"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("x👩🏽y", 3, "x…"),
        ("x👩\u200d👩\u200d👧y", 5, "x…"),
        ("", 5, ""),
        (" \n ", 5, ""),
        ("\ud800", 5, ""),
        ("abc", 1, "…"),
    ],
)
def test_examples(text: str, limit: int, line: str) -> None:
    assert one_line(text, limit) == line


@pytest.mark.parametrize("text", ["x" * 50_000_000, " " * 50_000_000, "\n" * 50_000_000, "a\u0301" * 5_000_000])
def test_of_megabytes_only_the_beginning_is_read(text: str) -> None:
    started = time.process_time()
    line = one_line(text, 100)
    assert time.process_time() - started < 0.1
    assert len(line) <= 100
    assert line == "" if text.isspace() else line.endswith("…")


@SAME_EVERY_TIME
@given(text=ANY_TEXT, limit=st.integers(0, 70))
def test_a_cut_is_the_beginning_and_is_shown(text: str, limit: int) -> None:
    short = truncated(text, limit)
    assert len(short) <= limit
    if len(text) <= limit:
        assert short == text
    elif limit:
        assert short.endswith("…")
        assert text.startswith(short[:-1])


@pytest.mark.parametrize(
    "text",
    ["=1+1", '=HYPERLINK("http://evil.example")', "+cmd|' /C calc'!A0", "-1+1", "-taxi", "@SUM(A1)", "＝1", "- a"],
)
def test_what_a_spreadsheet_would_compute_is_shown_with_an_apostrophe(text: str) -> None:
    assert is_formula(text)
    assert no_formula(text, 100) == f"'{text}"
    assert not is_formula(no_formula(text, 100))
    assert len(no_formula(text, len(text))) <= len(text)


@pytest.mark.parametrize(
    "text", ["", "a=1", "-12.50", "+45 12 34 56", "-1,000", "DSB", "'=1", "1-1", "a@b.example", "-"]
)
def test_what_no_spreadsheet_would_compute_stays_as_it_is(text: str) -> None:
    assert no_formula(text, 100) == text


def test_what_nobody_sees_is_taken_out_of_codes_alone() -> None:
    assert visible("60\u200b10\u2060\u00ad\U000e0041") == "6010"
    assert visible("ø漢 -_6010") == "ø漢 -_6010"
    assert one_line("\u200b\u2060", 10) == ""
    assert one_line("👩\u200d🚀", 10) == "👩\u200d🚀"
