"""What the bookkeeper's tool does to the books: post, delete a draft, reverse; and the history of an expense."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Answer, EntryState, Statement
from tests.blocks.erp.test_ledger_beancount import bean_check, load, sums_of_beancount, sums_of_journal
from tests.blocks.erp.test_ledger_exchange import IN_KRONER
from tests.blocks.erp.test_ledger_tool import POSTED, written
from tests.support.erp.ledger_samples import BILL, PAYMENT, a_bill, an_entry, entry_id, opened, rows, write
from tests.support.erp.ledger_tool import a_document_at, told, tool
from tests.support.processes import ROOT

DRAFT = EntryState.DRAFT


def states(path: Path) -> list[tuple[str, int]]:
    return rows(path, "SELECT state, in_force FROM entry ORDER BY id")


def content(path: Path) -> list[str]:
    """All that the file holds, but for when it was opened."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if 'INSERT INTO "company"' not in line]


def shows(path: Path) -> None:
    """The Beancount file is that of the books as they are now."""
    file = path.with_suffix(".beancount")
    bean_check(file)
    assert sums_of_beancount(load(file)) == sums_of_journal(path)


async def test_drafts_are_posted_by_number_or_by_pleo_s_id_and_settled(path: Path) -> None:
    await written(
        path,
        a_document_at(1, BILL, 50_000, 373_000, state=DRAFT),
        a_document_at(2, PAYMENT, 50_000, 373_500, state=DRAFT),
        an_entry(3),
        **IN_KRONER,
    )
    document = told(path, "post", "px-000001", entry_id(2).upper(), "PX-000001")
    assert [(one["number"], one["accounting_entry_id"]) for one in document["posted"]] == [
        ("PX-000001", entry_id(1)),
        ("PX-000002", entry_id(2)),
    ]
    assert states(path) == [("posted", 1), ("posted", 1), ("draft", 1)]
    assert told(path, "open-items")["open_items"] == []
    assert sums_of_journal(path)["7091", "DKK"] == 500
    shows(path)
    again = told(path, "post", "PX-000001")
    assert (again["posted"], again["notes"]) == ([], ["PX-000001 is posted already"])


async def test_all_drafts_are_posted_but_for_those_of_a_closed_period(path: Path) -> None:
    await written(path, an_entry(1), an_entry(2), an_entry(3, state=POSTED))
    write(path, "INSERT INTO period VALUES ('2026-03-03', '2026-03-03', 'closed')")
    done = tool(path, "post", "--all", "--json")
    assert (done.status, [one["number"] for one in done.document["posted"]]) == (1, ["PX-000001"])
    assert done.err == "PX-000002 stays a draft: the posting date lies in a closed period: 2026-03-03\n"
    assert states(path) == [("posted", 1), ("draft", 1), ("posted", 1)]


async def test_a_draft_that_is_deleted_keeps_its_number_and_can_be_booked_anew(path: Path) -> None:
    await written(path, an_entry(1), an_entry(2))
    document = told(path, "delete-draft", "PX-000001")
    assert document["deleted"][0]["accounting_entry_id"] == entry_id(1)
    assert rows(path, "SELECT DISTINCT external_id FROM journal") == [("PX-000002",)]
    shows(path)
    await written(path, an_entry(1))
    assert [one["number"] for one in told(path, "drafts")["drafts"]] == ["PX-000003", "PX-000002"]
    assert [one["event"] for one in told(path, "history", entry_id(1))["history"]] == [
        "recorded",
        "deleted",
        "recorded",
    ]


async def test_a_posted_entry_is_reversed_by_one_of_its_own_on_that_day(path: Path) -> None:
    await written(path, an_entry(1, state=POSTED))
    document = told(path, "reverse", entry_id(1), "--date", "2026-10-01")
    assert document["reversed"] == [
        {
            "number": "PX-000001",
            "reversed_by": "PX-000002",
            "date": "2026-10-01",
            "accounting_entry_id": entry_id(1),
        }
    ]
    assert states(path) == [("posted", 0), ("posted", 0)]
    assert set(sums_of_journal(path).values()) == {0}
    shows(path)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("post PX-000009", "there is no entry PX-000009; name it by its number"),
        ("post PX-000001 nobody", "there is no entry nobody"),
        ("post PX-000004", "PX-000004 was deleted"),
        ("delete-draft PX-000002", "PX-000002 is posted: reverse it (reverse PX-000002 --date DAY)"),
        ("delete-draft PX-000004", "PX-000004: it is deleted"),
        ("delete-draft PX-", "there is no entry PX-"),
        ("reverse PX-000001 --date 2026-10-01", "PX-000001 is a draft: delete it (delete-draft PX-000001)"),
        ("reverse PX-000002 --date 2026-03-02", "its reversal cannot be of an earlier day, 2026-03-02"),
        (
            "reverse PX-000002 --date 2026-05-01",
            "PX-000002 cannot be reversed: the posting date lies in a closed period",
        ),
        ("reverse PX-000003 --date 2026-10-01", "PX-000003 was reversed by PX-000005 already"),
        ("reverse PX-000005 --date 2026-10-01", "PX-000005 is the reversal of PX-000003"),
        ("reverse PX-000006 --date 2026-10-01", "it is settled by PX-000007: reverse that first"),
        ("reverse PX-000004 --date 2026-10-01", "PX-000004 was deleted"),
        ("history PX-000099", "there is no entry PX-000099"),
    ],
)
async def test_what_would_break_a_promise_is_refused_in_a_line_and_nothing_is_changed(
    path: Path, command: str, complaint: str
) -> None:
    await written(path, an_entry(1), an_entry(2, state=POSTED), an_entry(3, state=POSTED), an_entry(4))
    told(path, "reverse", "PX-000003", "--date", "2026-04-01")
    told(path, "delete-draft", "PX-000004")
    await written(path, a_bill(6, BILL, state=POSTED), a_bill(7, PAYMENT, state=POSTED))
    write(path, "INSERT INTO period VALUES ('2026-05-01', '2026-05-31', 'closed')")
    before = content(path)
    done = tool(path, *command.split())
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert complaint in done.err
    assert content(path) == before


async def test_a_settled_pair_is_taken_back_from_its_end(path: Path) -> None:
    await written(path, a_bill(1, BILL, state=POSTED), a_bill(2, PAYMENT, state=POSTED))
    assert tool(path, "reverse", "PX-000001", "--date", "2026-04-01").status == 1
    for number in ("PX-000002", "PX-000001"):
        assert tool(path, "reverse", number, "--date", "2026-04-01").status == 0
    assert told(path, "open-items")["open_items"] == []
    assert set(sums_of_journal(path).values()) == {0}


async def test_nothing_is_changed_while_a_run_is_at_work(path: Path) -> None:
    await written(path, an_entry(1), an_entry(2, state=POSTED))
    async with opened(path):
        for command in ("post --all", "delete-draft PX-000001", "reverse PX-000002 --date 2026-10-01"):
            done = tool(path, *command.split())
            assert (done.status, done.out) == (1, "")
            assert done.err == f"a run or another command is at work on {path}: try again when it is done\n"
    assert states(path) == [("draft", 1), ("posted", 1)]


async def test_books_in_whole_yen_are_shown_in_whole_yen(path: Path) -> None:
    await written(path, an_entry(1, currency="JPY"), minor_units=MinorUnits.ISO4217)
    assert told(path, "drafts")["drafts"][0]["amount"] == "1250"
    told(path, "post", "--all")
    assert "  1250 JPY\n" not in path.with_suffix(".beancount").read_text()
    assert "  -1250 JPY\n" in path.with_suffix(".beancount").read_text()


async def test_the_history_of_one_expense(path: Path) -> None:
    said = Statement((("amount", "12.50 DKK"), ("category on line 1", "6000")))
    says = replace(said, facts=(said.facts[0], ("category on line 1", "6100")))
    answer = Answer(entry_id(1), "job-1", successful=True, external_id="PX-000001")
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, statement=said)])
        await ledger.note_answers([answer])
        await ledger.replace([an_entry(1, statement=says, job_id="job-2")])
    told(path, "post", "PX-000001")
    told(path, "reverse", "PX-000001", "--date", "2026-10-01")
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, 900, 180, state=POSTED, job_id="job-3")])
        await ledger.note_answers([Answer(entry_id(1), "job-3", successful=False, reason="closed_period: no\x1b[1m")])
    shown: list[dict[str, Any]] = told(path, "history", "PX-000002")["history"]
    assert [[one["number"], one["event"], one["what"], one["job"]] for one in shown] == [
        ["PX-000001", "recorded", "draft of 2026-03-02, 12.50 DKK, card_purchase", "job-1"],
        ["PX-000001", "answered", "successful, PX-000001", "job-1"],
        [
            "PX-000001",
            "replaced",
            "draft of 2026-03-02, 12.50 DKK, card_purchase; in Pleo category on line 1 from 6000 to 6100",
            "job-2",
        ],
        ["PX-000001", "posted", "", ""],
        ["PX-000001", "reversed", "by PX-000002 on 2026-10-01", "job-2"],
        ["PX-000003", "recorded", "posted of 2026-03-02, 9.00 DKK, card_purchase", "job-3"],
        ["", "answered", "failed: closed_period: no [1m", "job-3"],
    ]
    assert shown[0]["more"]["written"]["lines"][0][:3] == ["6000", 1000, 0]
    assert told(path, "history", entry_id(1).upper())["history"] == shown


COMMANDS = ["post --all", "post PX-000002", "delete-draft PX-000002", "reverse PX-000004 --date 2026-04-20"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_killed_between_any_two_of_its_writes_has_done_all_of_it_or_nothing(
    path: Path, command: str
) -> None:
    await written(
        path,
        a_document_at(1, BILL, 50_000, 373_000),
        a_document_at(2, PAYMENT, 50_000, 373_500, state=DRAFT),
        a_document_at(3, BILL, 100, 746, state=DRAFT, invoice_number="3"),
        an_entry(4, state=POSTED, currency="DKK"),
        **IN_KRONER,
    )
    folder = path.parent / "killed"
    folder.mkdir()
    before = content(path)
    script = [sys.executable, "-m", "tests.survival.killed_tool", str(path), str(folder), *command.split()]
    subprocess.run(script, cwd=ROOT, check=True)  # noqa: ASYNC221 - nothing else is to happen meanwhile
    killed = sorted(folder.iterdir(), key=lambda one: int(one.name))
    assert len(killed) > 12
    after = content(killed.pop() / path.name)  # the last one came to its end
    assert after != before
    ended = [content(one / path.name) for one in killed]
    assert {tuple(one) == tuple(before) or _without_times(one) == _without_times(after) for one in ended} == {True}
    done = [_without_times(one) == _without_times(after) for one in ended]
    assert (done[0], done == sorted(done)) == (False, True)
    for one in (killed[0], killed[-1]):  # and the next command finds books in order
        assert tool(one / path.name, "post", "--all").status == 0
        shows(one / path.name)


def _without_times(dump: list[str]) -> list[str]:
    return [re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "then", line) for line in dump]
