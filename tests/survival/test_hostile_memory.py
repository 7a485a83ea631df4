"""Memory of an export whose pages are as large and as hostile as they come.

What of an answer is kept is 16 MiB at most, and a document of nothing but brackets takes some thirty times that; texts
of megabytes are cut while they come in and take next to nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocks.pleo.http.answer_body import MAX_KEPT_BYTES
from tests.support.pleo.hostile_pleo import hostile_office, with_items
from tests.support.pleo.pleo_items import an_item, entry_id

ITEMS = 20
KEPT_MIB = MAX_KEPT_BYTES >> 20
CASES: dict[str, tuple[int, Callable[[], dict[str, Any]]]] = {
    "10 MB of note": (3 * KEPT_MIB, lambda: {"note": "x" * 10_000_000}),
    "10 MB of emoji": (5 * KEPT_MIB, lambda: {"note": "👩🏽" * 1_250_000}),
    "many texts": (12 * KEPT_MIB, lambda: {"unknown": ["é" * 12_000] * 100}),
    "objects": (40 * KEPT_MIB, lambda: {"accountingEntryLines": [{}] * 1_000_000}),
    "lists": (40 * KEPT_MIB, lambda: {"unknown": [[]] * 1_000_000}),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what a process held at most"),
]


@pytest.mark.parametrize("case", CASES)
def test_an_export_of_hostile_pages_holds_no_more_than_its_pages_explain(tmp_path: Path, case: str) -> None:
    most_mib, made = CASES[case]
    more = json.dumps(made())[1:-1]
    instead = {entry_id(number): f"{json.dumps(an_item(number))[:-1]},{more}}}" for number in range(1, ITEMS + 1, 2)}
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(number) for number in range(1, ITEMS + 1)])
        with office.saying(with_items(instead), tmp_path / "books.sqlite"):
            command = [sys.executable, "-m", "tests.survival.hostile_memory", office.base_url, str(office.books)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(case, told)
    assert told["ending"].startswith("completed"), told
    assert told["successful"] + told["failed"] == ITEMS
    assert told["most"] - told["before"] <= most_mib, told
    assert (tmp_path / "books.beancount").stat().st_size < 100_000
