"""How the bookkeeper's tool answers: forms, hostile texts, wrong usage, and a file that stays as it is."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.erp.entries import Account, AccountKind, Details, Vendor
from blocks.erp.ledger.tool import GROUPS
from tests.blocks.erp.test_ledger_tool import OCTOBER, POSTED, minor, moved, written
from tests.support.erp.ledger_samples import BILL, a_bill, an_entry, entry_id, folder_content, opened
from tests.support.erp.ledger_tool import a_purchase, told, tool

READING = ["trial-balance", "vat", "wallets", "open-items", "drafts", "history PX-000001"]


async def test_hostile_texts_are_one_line_each_and_no_formula(path: Path) -> None:
    hostile = '=HYPERLINK("x")\n\x1b[31m\u202e[red]|' + "x" * 9000
    account = Account("=cmd|' /c calc'!A1", hostile, AccountKind.EXPENSE)
    details = Details(supplier_country=hostile, supplier_tax_number="+1+1", invoice_number=hostile)
    await written(
        path,
        a_purchase(1, (account, 100, "=TAX()", 25, "0.25"), day=OCTOBER, description=hostile, details=details),
        a_bill(2, BILL, vendor=Vendor(hostile, hostile), invoice_number=hostile, job_id=hostile, details=details),
    )
    for command in READING:
        shown = tool(path, *command.split())
        assert shown.status == 0
        assert all(line.isprintable() and len(line) < 1000 for line in shown.out.splitlines())
        for row in csv.reader(io.StringIO(tool(path, *command.split(), "--csv").out)):
            for cell in row:
                assert cell.isprintable()
                assert not cell.startswith(("=", "@", "+"))
        assert "\x1b" not in tool(path, *command.split(), "--json").out


@pytest.mark.parametrize("command", READING)
async def test_reading_changes_nothing_on_disk_beside_a_run_at_work_too(path: Path, command: str) -> None:
    await written(path, an_entry(1), a_bill(2, BILL, state=POSTED))
    before = folder_content(path.parent)
    alone = tool(path, *command.split(), "--json")
    assert (alone.status, folder_content(path.parent)) == (0, before)
    async with opened(path) as ledger:
        await ledger.record([an_entry(3)])
        beside = tool(path, *command.split(), "--json")
        assert beside.status == 0
    changed = {"trial-balance", "vat", "wallets", "drafts"}
    assert (beside.out != alone.out) == (command in changed)


@pytest.mark.parametrize(
    "command", [*READING, "post --all", "delete-draft PX-000001", "reverse PX-000001 --date 2026-10-01"]
)
def test_where_there_is_no_ledger_a_line_says_so_and_no_file_is_made(tmp_path: Path, command: str) -> None:
    path = tmp_path / "books.sqlite"
    done = tool(path, *command.split())
    assert (done.status, done.out) == (2, "")
    assert done.err == f"there is no ledger at {path}; give its file with --ledger\n"
    (tmp_path / "notes.txt").write_text("x" * 200)
    assert tool(tmp_path / "notes.txt", *command.split()).status == 2
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["vat", "--month", "2026-13"], "is no month"),
        (["vat", "--month", "2026-10", "--to", "2026-10-01"], "--month goes without"),
        (["vat", "--from", "2026-10-02", "--to", "2026-10-01"], "comes after"),
        (["vat", "--from", "2026-2-3"], "is no date"),
        (["vat", "--csv", "--json"], "not allowed with"),
        (["close-the-books"], "invalid choice"),
        ([], "COMMAND"),
        (["post"], "name the entries, or say --all"),
        (["post", "PX-000001", "--all"], "name the entries, or say --all"),
        (["reverse", "PX-000001"], "--date"),
    ],
)
async def test_wrong_usage_is_one_line_and_status_two(path: Path, arguments: list[str], complaint: str) -> None:
    await written(path, an_entry(1))
    done = tool(path, *arguments)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert complaint in done.err


def test_it_is_a_command_of_its_own(path: Path) -> None:
    asyncio.run(written(path, an_entry(1, state=POSTED)))
    command = [sys.executable, "-m", "blocks.erp.ledger", "trial-balance", "--ledger", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:4] == [
        "Trial balance",
        "  account          name             kind     currency  debit  credit  balance",
        "  ---------------  ---------------  -------  --------  -----  ------  -------",
        "  6000             Travel           expense  DKK       10.00    0.00    10.00",
    ]
    assert json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)["notes"] == []


def test_no_two_commands_share_a_name() -> None:
    names = [command.name for group in GROUPS for command in group]
    assert len(set(names)) == len(names)


async def test_amounts_beyond_what_sqlite_adds_up_are_summed_exactly(path: Path) -> None:
    largest = 10**18 - 1
    entries = [moved(number, largest, "card_purchase", OCTOBER) for number in range(1, 13)]
    await written(path, *entries)
    (expense, wallet) = told(path, "trial-balance")["trial_balance"]
    assert (minor(expense["balance"]), minor(wallet["balance"])) == (12 * largest, -12 * largest)
    assert minor(told(path, "wallets")["wallets"][0]["out"]) == 12 * largest
    assert entry_id(1) in tool(path, "drafts").out
