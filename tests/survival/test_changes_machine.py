"""Expenses change, books are closed, entries posted, reversed, deleted and edited, runs killed, in any order: of each
expense one entry is in force, as Pleo said when it was written, and its history is complete."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.survival.changing_books import play

STEPS = 300


@pytest.mark.parametrize("seed", [1, 2])
async def test_books_stay_true_whatever_happens(tmp_path: Path, seed: int) -> None:
    seen = await play(tmp_path, seed, STEPS)
    assert min(seen[one] for one in ("export", "change", "post", "reverse", "killed")) >= 5, seen


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 300, 5))
async def test_books_stay_true_for_two_hundred_seeds(tmp_path: Path, first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + 5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        seen += await play(folder, seed, STEPS)
    assert seen["killed"] > 25, seen
