"""A ledger is copied while a run writes in it, by the README's command; put back, or moved, exports go on with it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from blocks.erp.ledger import Ledger
from flows.outcome import OK
from tests.support.exporting import Office, watched_steps
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import ROOT
from tests.support.readmes import TEXTS, code

ITEMS, PAGE = 60, 10


def _command(word: str) -> str:
    """The README's command with this word in it."""
    lines = [line for block in code("sh", TEXTS[ROOT / "deployments" / "README.md"]) for line in block.splitlines()]
    (found,) = [line.partition("#")[0].strip() for line in lines if word in line]
    return found


def _given(command: str, folder: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("the command line of SQLite is not here")
    subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True, timeout=30)


def _whole(books: Path) -> set[str]:
    """The expenses in a copy, which must be sound and balanced, with one entry each."""
    with closing(sqlite3.connect(books)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute(
            "SELECT accounting_entry_id, sum(debit_minor) = sum(credit_minor), count(DISTINCT external_id) "
            "FROM journal GROUP BY 1"
        ).fetchall()
    assert all(row[1:] == (1, 1) for row in rows)
    return {row[0] for row in rows}


async def test_copies_of_books_in_use_are_sound_and_what_came_after_one_is_booked_again(
    at_work: Office, tmp_path: Path
) -> None:
    job = at_work.sandbox.add_job_of([an_item(number) for number in range(1, ITEMS + 1)])
    ids = {item.accounting_entry_id for item in at_work.sandbox.items(job)}
    copies: list[set[str]] = []
    early = tmp_path / "early.sqlite"

    def copied() -> None:
        if not at_work.books.exists():
            return
        _given(_command(".backup"), tmp_path)
        copy = tmp_path / "books-backup.sqlite"
        copies.append(_whole(copy))
        if 0 < len(copies[-1]) < ITEMS and not early.exists():
            shutil.copy(copy, early)

    report = await at_work.export(page_size=PAGE, steps=watched_steps(lambda: None, copied))
    assert report.exit_status == OK
    assert sorted(map(len, copies)) == list(map(len, copies))
    assert len({len(copy) for copy in copies}) > 2, "no copy was made in the middle"
    assert copies[-1] <= _whole(at_work.books) == ids

    shutil.copy(early, tmp_path / "books-backup.sqlite")
    _given(_command("cp books-backup.sqlite"), tmp_path)
    kept = _whole(at_work.books)
    assert 0 < len(kept) < ITEMS
    assert (await at_work.export()).jobs == []  # Pleo holds them for exported: nothing of ours can tell it otherwise
    again = at_work.sandbox.export_again(job, sorted(ids - kept))
    assert (await at_work.export()).exit_status == OK
    assert at_work.sandbox.job(again).status == "completed"
    assert _whole(at_work.books) == ids


async def test_books_that_were_moved_are_gone_on_with(at_work: Office, tmp_path: Path) -> None:
    first = at_work.sandbox.add_job_of([an_item(number) for number in range(1, 4)])
    await at_work.export()
    _given(_command(".backup"), tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "books-backup.sqlite", elsewhere / "acme.sqlite")
    again = at_work.sandbox.export_again(first)
    at_work.sandbox.add_job_of([an_item(4)])
    report = await at_work.export(erp=Ledger(elsewhere / "acme.sqlite"))
    assert report.exit_status == OK
    assert [job.found for job in report.jobs if job.job_id == again] == [3]
    assert len(_whole(elsewhere / "acme.sqlite")) == 4
