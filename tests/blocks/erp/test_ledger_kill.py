"""Killing a run in the midst of recording: what stands afterwards is whole, and what was acknowledged stands."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.erp.entries import Recorded
from tests.support.erp.ledger_samples import entries, entry_id, opened, rows
from tests.support.processes import ROOT

PAGE = 50

# Records page after page and says so after each; SIGKILL comes from inside SQLite after `steps` steps, if not 0.
RUN = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.support.erp.ledger_samples import entries, opened

path, first, page, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

async def run():
    async with opened(path) as ledger:
        print("open", flush=True)
        if steps:
            ledger._thread.submit(ledger._books._connection.set_progress_handler, kill, steps).result()
        for start in range(first, first + 100_000, page):
            await ledger.record(entries(page, start))
            print(start, flush=True)

asyncio.run(run())
"""


# The same with posted bills and payments, each with a receipt of its own and one that all share.
RUN_OF_BILLS = (
    RUN.replace(
        "entries, opened",
        """BILL, PAYMENT, a_bill, an_attachment, opened

folder = Path(sys.argv[1]).parent.parent

def entries(count, first):
    shared = an_attachment(folder, 1, b"shared")
    return [
        a_bill(
            number,
            (BILL, PAYMENT)[number % 2],
            state="posted",
            invoice_number=str(number // 2),
            attachments=(shared, an_attachment(folder, 2, str(number).encode())),
        )
        for number in range(first, first + count)
    ]""",
    )
    .replace('state="posted"', "state=EntryState.POSTED")
    .replace("import asyncio,", "from blocks.erp.entries import EntryState\nimport asyncio,")
)


def start(path: Path, first: int, steps: int, run: str = RUN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", run, str(path), str(first), str(PAGE), str(steps)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def check_books(path: Path, acknowledged: int) -> int:
    """How many entries stand, once it is shown that they are whole and that all acknowledged ones are among them."""
    async with opened(path) as ledger:
        count = int(rows(path, "SELECT count(*) FROM entry")[0][0])
        found = await ledger.find([entry_id(number) for number in range(1, count + 1)])
    assert count >= acknowledged
    assert count % PAGE == 0
    assert len(found) == count
    assert rows(path, "SELECT count(*), max(id) FROM entry") == [(count, count or None)]
    assert rows(path, "SELECT accounting_entry_id FROM journal GROUP BY 1 HAVING count(*) <> 3") == []
    assert (
        rows(path, "SELECT 1 FROM journal GROUP BY accounting_entry_id HAVING sum(debit_minor) <> sum(credit_minor)")
        == []
    )
    assert rows(path, "SELECT coalesce(sum(debit_minor), 0), coalesce(sum(credit_minor), 0) FROM journal") == [
        (1250 * count, 1250 * count)
    ]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    return count


@pytest.mark.parametrize("steps", [1, 500, 5_000, 20_000])
async def test_a_kill_inside_a_transaction_leaves_no_part_of_it(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "books.sqlite"
    with start(path, 1, steps) as process:
        output, _ = process.communicate()
    assert process.returncode == -9
    pages = output.split()[1:]
    assert await check_books(path, len(pages) * PAGE) == len(pages) * PAGE


@pytest.mark.parametrize("steps", [500, 5_000, 50_000])
async def test_a_kill_among_bills_leaves_no_document_settlement_or_attachment_without_its_entry(
    tmp_path: Path, steps: int
) -> None:
    path = tmp_path / "ledger" / "books.sqlite"
    path.parent.mkdir()
    with start(path, 1, steps, RUN_OF_BILLS) as process:
        output, _ = process.communicate()
    assert process.returncode == -9
    count = len(output.split()[1:]) * PAGE
    async with opened(path) as ledger:
        found = await ledger.find([entry_id(number) for number in range(1, count + PAGE)])
    assert [len(found), *rows(path, "SELECT count(*) FROM entry")] == [count, (count,)]
    assert rows(path, "SELECT count(*) FROM document") == [(count,)]
    assert rows(path, "SELECT count(*) FROM attachment") == [(2 * count,)]
    # The first is the payment of a bill that is not there, the last the bill of a payment that is yet to come.
    assert rows(path, "SELECT count(*) FROM settlement") == [(max(0, count // 2 - 1),)]
    folder = path.with_name("books-receipts")
    named = {file for (file,) in rows(path, "SELECT file FROM attachment")}
    whole = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.glob("*.pdf")}
    assert named <= set(whole)
    assert all(name == f"{digest}.pdf" for name, digest in whole.items())
    assert rows(path, "PRAGMA foreign_key_check") == []


async def test_run_after_run_may_be_killed_at_any_moment_and_the_next_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    standing = 0
    for attempt in range(6):
        with start(path, standing + 1, 0) as process:
            assert process.stdout is not None
            acknowledged = standing
            assert process.stdout.readline() == "open\n"
            for _ in range(attempt):
                acknowledged = int(process.stdout.readline()) + PAGE - 1
            await asyncio.sleep(attempt / 1000)  # only spreads the moments; any will do
            process.kill()
            acknowledged = max(
                [acknowledged, *(int(line) + PAGE - 1 for line in process.stdout if line.endswith("\n"))]
            )
        standing = await check_books(path, acknowledged)
    assert standing >= 5 * PAGE

    async with opened(path) as ledger:
        outcomes = await ledger.record(entries(standing + PAGE))
        await ledger.finish_job()
    assert [one.found for one in outcomes if isinstance(one, Recorded)] == [True] * standing + [False] * PAGE
