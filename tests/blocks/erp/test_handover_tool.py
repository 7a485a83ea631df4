"""`python -m blocks.erp.ledger batches`: batches listed, made by hand, and written again."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from blocks.erp.entries import EntryState
from tests.blocks.erp.handover_samples import month, purchase
from tests.blocks.erp.test_handover_batches import contents, hand_over
from tests.support.erp.ledger_samples import entry_id, opened
from tests.support.erp.ledger_tool import told, tool

DRAFT = EntryState.DRAFT


def numbers(answer: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(one["format"], one["number"], one["entries"]) for one in answer["batches"]]


async def test_batches_are_listed_with_their_sums_and_files(tmp_path: Path) -> None:
    await hand_over(tmp_path, month())
    listed = told(tmp_path / "books.sqlite", "batches")
    assert numbers(listed) == [("csv", 1, 12), ("datev", 1, 11), ("datev", 2, 1), ("sie4", 1, 12)]
    april = listed["batches"][2]
    assert (april["from"], april["to"], april["debit"], april["credit"]) == (
        "2026-04-01",
        "2026-04-30",
        "23.80 EUR",
        "23.80 EUR",
    )
    assert contents(tmp_path)[april["file"]] == april["sha256"]


async def test_by_hand_the_next_batch_is_made_after_a_draft_was_posted(tmp_path: Path) -> None:
    books = tmp_path / "books.sqlite"
    assert await hand_over(tmp_path, [purchase(1, 11900, 1900, state=DRAFT)], handover="manual") == ()
    assert told(books, "batches", "--make", "datev")["notes"] == ["nothing is left to hand over"]
    assert tool(books, "post", "--all").status == 0
    made = told(books, "batches", "--make", "datev", "--make", "csv", "--folder", str(tmp_path / "elsewhere"))
    assert numbers(made) == [("csv", 1, 1), ("datev", 1, 1)]
    assert len(list((tmp_path / "elsewhere").glob("EXTF_*.csv"))) == 1
    assert told(books, "batches", "--make", "datev")["notes"] == ["nothing is left to hand over"]
    assert "EXTF_6d2a6b0e_000001_2026-03.csv, batch 1 of datev" in tool(books, "history", entry_id(1)).out


async def test_a_batch_is_written_again_as_it_was(tmp_path: Path) -> None:
    await hand_over(tmp_path, month(), handover=["csv"])
    before = contents(tmp_path)
    (tmp_path / "out" / "6d2a6b0e_000001.csv").unlink()
    (note,) = told(tmp_path / "books.sqlite", "batches", "--again", "csv", "1")["notes"]
    assert note.startswith("batch 1 for csv: 12 entries in ")
    assert contents(tmp_path) == before


async def test_those_who_begin_in_mid_year_leave_out_what_lies_before(tmp_path: Path) -> None:
    entries = [purchase(n, 100, 0, posting_date=date(2026, n, 1)) for n in (6, 7)]
    await hand_over(tmp_path, entries, handover="manual")
    made = told(tmp_path / "books.sqlite", "batches", "--make", "csv", "--handover-from", "2026-07-01")
    assert numbers(made) == [("csv", 1, 1)]


async def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    books = tmp_path / "books.sqlite"
    async with opened(books):
        pass
    for arguments, status, line in (
        (["--make", "csv"], 2, 'no run has said how batches are made: set handover, "manual" say'),
        (["--folder", "x"], 2, "--folder and --handover-from go with --make or --again"),
    ):
        ended = tool(books, "batches", *arguments)
        assert (ended.status, ended.err.count("\n")) == (status, 1)
        assert line in ended.err
    await hand_over(tmp_path, [purchase(1, 100, 0)], handover="manual", datev={})
    for arguments, status, line in (
        (["--make", "fax"], 2, "'fax' is no format: datev, sie4 or csv"),
        (["--make", "datev"], 2, "datev.adviser is not set"),
        (["--again", "csv", "9"], 2, "there is no batch 9 for csv"),
        (["--again", "csv", "x"], 2, "'x' is no batch's number"),
    ):
        ended = tool(books, "batches", *arguments)
        assert (ended.status, ended.err.count("\n")) == (status, 1)
        assert line in ended.err
