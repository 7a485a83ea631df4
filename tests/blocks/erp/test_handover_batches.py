"""Batches exactly once: whatever is killed, repeated or in the way, and with the same bytes whenever asked for."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Entry, EntryState, Recorded
from blocks.erp.errors import ErpUnavailable
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.handover import batches
from blocks.erp.ledger.handover.settings import HandoverFormat, HandoverSettings
from tests.blocks.erp.handover_samples import drawn, month, purchase
from tests.support.choice import slow
from tests.support.erp.ledger_samples import COMPANY, an_attachment, entry_id, opened, rows
from tests.support.processes import ROOT

ALL = {
    "handover": ["datev", "sie4", "csv"],
    "datev": {"adviser": 1001, "client": 1},
    "sie4": {"dimensions": {"COSTCENTRE": 1}},
}

RUN = """
import asyncio, os, pathlib, signal, sys
from tests.blocks.erp.test_handover_batches import hand_over

folder, at, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
done = 0

def counted(call):
    def run(*args, **kwargs):
        global done
        done += 1
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return run

def before(ledger):
    os.fsync, pathlib.Path.replace = counted(os.fsync), counted(pathlib.Path.replace)
    if steps:
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        ledger._thread.submit(ledger._books._connection.set_progress_handler, kill, steps).result()

asyncio.run(hand_over(folder, (), before=before))
print(done)
"""


async def hand_over(
    tmp_path: Path, entries: Sequence[Entry], *, before: Any = None, clock: Any = None, **changes: Any
) -> Sequence[str]:
    settings = HandoverSettings.model_validate({**ALL, **changes})
    ledger = Ledger(
        tmp_path / "books.sqlite",
        clock=clock or (lambda: datetime(2026, 4, 3, tzinfo=UTC)),
        company_currency="EUR",
        handover=settings,
        handover_folder=tmp_path / "out",
    )
    await ledger.open(COMPANY, dry_run=False)
    try:
        outcomes = await ledger.record(entries)
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        if before is not None:
            before(ledger)
        return await ledger.finish_job()
    finally:
        await ledger.close()


def contents(tmp_path: Path) -> dict[str, str]:
    """Each file that was put out, by its name, and its hash."""
    found = (one for one in (tmp_path / "out").rglob("*") if one.is_file())
    return {str(one.relative_to(tmp_path / "out")): hashlib.sha256(one.read_bytes()).hexdigest() for one in found}


def with_receipts(tmp_path: Path) -> list[Entry]:
    receipts = (an_attachment(tmp_path), an_attachment(tmp_path, 2, b"second"))
    return [*month()[1:], purchase(1, 11900, 1900, attachments=receipts)]


async def test_a_second_run_adds_nothing_and_what_comes_later_is_the_next_batch(tmp_path: Path) -> None:
    assert len(await hand_over(tmp_path, with_receipts(tmp_path))) == 4  # DATEV has two months
    before = contents(tmp_path)
    assert await hand_over(tmp_path, ()) == ()
    assert contents(tmp_path) == before
    assert len(await hand_over(tmp_path, [purchase(20, 500, 0)])) == 3
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert rows(tmp_path / "books.sqlite", "SELECT format, number, entries FROM batch ORDER BY 1, 2") == [
        ("csv", 1, 12), ("csv", 2, 1), ("datev", 1, 11), ("datev", 2, 1), ("datev", 3, 1),
        ("sie4", 1, 12), ("sie4", 2, 1),
    ]  # fmt: skip


async def test_drafts_and_what_lies_before_the_first_day_are_never_handed_over(tmp_path: Path) -> None:
    entries = [
        purchase(1, 100, 0, posting_date=date(2026, 6, 30)),
        purchase(2, 100, 0, posting_date=date(2026, 7, 1)),
        purchase(3, 100, 0, state=EntryState.DRAFT, posting_date=date(2026, 7, 1)),
    ]
    await hand_over(tmp_path, entries, handover_from=date(2026, 7, 1))
    assert rows(tmp_path / "books.sqlite", "SELECT DISTINCT entry_id FROM batch_entry") == [(2,)]


async def test_the_bytes_depend_on_the_books_alone(tmp_path: Path) -> None:
    """Not on the clock, the order of recording, the hash seed or the locale."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    made = [*with_receipts(tmp_path), *drawn(40, 7)[12:]]
    await hand_over(first, made)
    others = list(made)
    random.Random(5).shuffle(others)
    script = (
        "import asyncio, pathlib, pickle, sys\n"
        "from datetime import UTC, datetime\n"
        "from tests.blocks.erp.test_handover_batches import hand_over\n"
        "made = pickle.loads(pathlib.Path(sys.argv[2]).read_bytes())\n"
        "asyncio.run(hand_over(pathlib.Path(sys.argv[1]), made, clock=lambda: datetime(2031, 1, 9, tzinfo=UTC)))\n"
    )
    (tmp_path / "made").write_bytes(pickle.dumps(others))
    elsewhere = {"PYTHONHASHSEED": "11", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Tokyo"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **elsewhere}
    subprocess.run(  # noqa: ASYNC221 - nothing else is under way
        [sys.executable, "-c", script, str(second), str(tmp_path / "made")], check=True, env=environment, cwd=ROOT
    )
    assert contents(first) == contents(second)


async def test_a_batch_is_the_same_file_when_an_account_was_renamed_since(tmp_path: Path) -> None:
    await hand_over(tmp_path, month())
    before = contents(tmp_path)
    shutil.rmtree(tmp_path / "out")
    with closing(sqlite3.connect(tmp_path / "books.sqlite")) as connection, connection:
        connection.execute("UPDATE account SET name = 'Renamed'")
    async with opened(tmp_path / "books.sqlite", company_currency="EUR") as ledger:
        plan = batches.Plan(HandoverSettings.model_validate(ALL), COMPANY, {}, ledger._minor_units, "EUR")
        assert ledger._books is not None
        books = ledger._books
        for number, wanted in ((1, "datev"), (2, "datev"), (1, "sie4"), (1, "csv")):
            await ledger._run(
                books.put_out_again, plan, HandoverFormat(wanted), number, tmp_path / "out", datetime.now(UTC)
            )
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "in_the_way",
    ["a folder that is a file", "another file of that name"],
)
async def test_what_is_in_the_way_is_named_and_never_overwritten(tmp_path: Path, in_the_way: str) -> None:
    out = tmp_path / "out"
    if in_the_way == "another file of that name":
        out.mkdir()
        (out / "6d2a6b0e_000001.csv").write_text("mine")
    else:
        out.write_text("mine")
    said = await hand_over(tmp_path, [purchase(1, 100, 0)], handover=["csv"])
    assert len(said) == 1
    assert ("no folder" if out.is_file() else "not overwritten") in said[0]
    mine = out if out.is_file() else out / "6d2a6b0e_000001.csv"
    assert mine.read_text() == "mine"
    mine.unlink()
    (said_now,) = await hand_over(tmp_path, (), handover=["csv"])
    assert said_now.startswith("batch 1 for csv: 1 entries in ")
    assert rows(tmp_path / "books.sqlite", "SELECT number, entries FROM batch") == [(1, 1)]


async def test_a_full_disk_is_told_and_the_batch_is_put_out_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().parent == tmp_path / "out":
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ErpUnavailable, match="disk is full"):
            await hand_over(tmp_path, [purchase(1, 100, 0)], handover=["csv"])
    assert contents(tmp_path) == {}
    (said,) = await hand_over(tmp_path, (), handover=["csv"])
    assert said.startswith("batch 1 for csv")


@pytest.mark.parametrize(("at", "steps"), [(3, 0), (9, 0), (0, 3000), *slow(*((n, 0) for n in range(1, 40))),
                                           *slow(*((0, n) for n in range(500, 20_000, 1500)))])  # fmt: skip
async def test_a_kill_at_any_write_leaves_the_same_batches_or_none(tmp_path: Path, at: int, steps: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    await hand_over(whole, with_receipts(tmp_path))
    await hand_over(killed, with_receipts(tmp_path), handover=[])
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is under way
        [sys.executable, "-c", RUN, str(killed), str(at), str(steps)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    assert all(contents(whole).get(name, digest) == digest for name, digest in contents(killed).items()
               if not name.startswith("."))  # fmt: skip
    await hand_over(killed, ())
    assert {name: digest for name, digest in contents(killed).items() if "incoming" not in name} == contents(whole)
    counts = "SELECT format, number, entries, sha256 FROM batch ORDER BY 1, 2"
    assert rows(killed / "books.sqlite", counts) == rows(whole / "books.sqlite", counts)


async def test_the_books_keep_batches_as_they_are(tmp_path: Path) -> None:
    await hand_over(tmp_path, month())
    wrong = [
        "UPDATE batch SET name = 'x'",
        "DELETE FROM batch",
        "DELETE FROM batch_entry",
        "UPDATE batch_part SET content = x'00'",
        "INSERT INTO batch_entry VALUES ('csv', 1, 2, '[]')",
        "INSERT INTO batch_entry VALUES ('csv', 99, 1, '[]')",
        "INSERT INTO batch (format, number, name, first_date, last_date, entries, sha256, size, manifest, made_at) "
        f"VALUES ('csv', 3, 'x', '2026-01-01', '2026-01-01', 1, '{'0' * 64}', 1, '{{}}', '')",
    ]
    with closing(sqlite3.connect(tmp_path / "books.sqlite")) as connection:
        for statement in wrong:
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement)
    told = rows(tmp_path / "books.sqlite", "SELECT accounting_entry_id FROM history WHERE event = 'handed_over'")
    assert told.count((entry_id(1),)) == 3
