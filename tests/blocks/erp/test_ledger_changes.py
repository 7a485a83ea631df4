"""Drafts replaced and deleted, entries reversed, and the history of each expense; past our own code, too."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Answer, Entry, EntryState, Recorded, Statement
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.books import Books
from tests.support.erp.ledger_samples import (
    BILL,
    COMPANY,
    NOW,
    PAYMENT,
    a_bill,
    an_attachment,
    an_entry,
    edit_lines,
    entry_id,
    opened,
    rows,
    write,
)

DAY = date(2026, 3, 20)
POSTED = EntryState.POSTED
SAID = Statement((("type", "card_purchase"), ("amount", "1250 DKK")), (("note", "lunch"),))
SAYS = Statement((("type", "card_purchase"), ("amount", "900 DKK"), ("line 1 account", "6100")))


async def recorded(ledger: Ledger, *entries: Entry) -> list[Recorded]:
    outcomes = await ledger.record(entries)
    assert all(isinstance(one, Recorded) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, Recorded)]


def journal(path: Path) -> list[tuple[Any, ...]]:
    return rows(path, "SELECT external_id, account, debit_minor, credit_minor, state, in_force FROM journal")


def history(path: Path, number: int = 1) -> list[str]:
    found = rows(path, "SELECT event FROM history WHERE accounting_entry_id = ? ORDER BY id", (entry_id(number),))
    return [event for (event,) in found]


def test_a_statement_is_read_as_it_was_written_and_says_what_changed() -> None:
    assert Statement.read(SAID.text) == SAID
    assert Statement.read('{"version":2,"facts":[],"words":[]}') is None
    assert Statement.read("[]") is None
    assert SAID.fingerprint != SAYS.fingerprint
    assert SAYS.changes_since(SAID) == ("amount from 1250 DKK to 900 DKK", "line 1 account from none to 6100")
    assert SAYS.changes_since(SAID, lambda name, value: f"<{name} {value}>")[0] == (
        "amount from <amount 1250 DKK> to <amount 900 DKK>"
    )
    assert SAYS.words_changed_since(SAID) == ("note from lunch to none",)


async def test_a_draft_is_replaced_in_place(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        before = await recorded(
            ledger, an_entry(1, statement=SAID, attachments=(an_attachment(tmp_path),)), an_entry(2), an_entry(3)
        )
        outcomes = await ledger.replace(
            [a_bill(1, BILL, PAYMENT, amount_minor=900, statement=SAYS, state=POSTED), an_entry(3, 70, 0)]
        )
        now = await ledger.find([entry_id(1), entry_id(2), entry_id(3)])

    first = now[entry_id(1)]
    assert outcomes == [first, now[entry_id(3)]]
    assert (first.external_id, first.amount_minor, first.state, first.attached) == (
        "PX-000001",
        900,
        EntryState.DRAFT,
        {1},
    )
    assert (before[0].statement, first.statement, first.edits) == (SAID, SAYS, ())
    assert now[entry_id(2)] == replace(before[1], found=True)
    assert [row for row in journal(path) if row[0] == "PX-000003"] == [
        ("PX-000003", "6000", 70, 0, "draft", 1),
        ("PX-000003", "pleo-input-tax", 0, 0, "draft", 1),
        ("PX-000003", "pleo-wallet-DKK", 0, 70, "draft", 1),
    ]
    assert history(path) == ["recorded", "receipt", "replaced"]
    ((detail,),) = rows(path, "SELECT detail FROM history WHERE event = 'replaced' AND entry_id = 1")
    assert json.loads(detail)["said_before"] == json.loads(SAID.text)
    assert json.loads(detail)["says"] == json.loads(SAYS.text)


async def test_what_cannot_be_replaced_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        await recorded(ledger, an_entry(1, state=POSTED), an_entry(2), an_entry(3), an_entry(4))
        write(path, "INSERT INTO period VALUES ('2026-01-01', '2026-01-31', 'closed')")
        edit_lines(path, "UPDATE line SET text = 'better' WHERE entry_id = 4 AND line_no = 1")
        before = journal(path)
        outcomes = await ledger.replace(
            [
                an_entry(1, 5, 0),
                an_entry(2, 5, 0, lines=an_entry(2).lines),
                an_entry(3, 5, 0, posting_date=date(2026, 1, 7)),
                an_entry(4, 5, 0),
                an_entry(5, 5, 0),
            ]
        )
        (edited,) = (await ledger.find([entry_id(4)])).values()
    assert journal(path) == before
    assert [(one.kind, one.message) for one in outcomes if isinstance(one, Refused)] == [
        (RefusalKind.OTHER, "PX-000001: it is posted"),
        (RefusalKind.UNBALANCED, "the counter lines add up to -1250, the amount of the entry is 5"),
        (RefusalKind.CLOSED_PERIOD, "the posting date lies in a closed period: 2026-01-07"),
        (RefusalKind.OTHER, "PX-000004: a person has changed it since: line 1 text from none to better"),
        (RefusalKind.OTHER, "entry: it does not stand any more"),
    ]
    assert edited.edits == ("line 1 text from none to better",)


async def test_a_posted_entry_is_reversed_once_and_booked_anew(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        first, draft = await recorded(ledger, an_entry(1, state=POSTED), an_entry(2))
        assert await ledger.reverse([first], DAY) == []
        assert await ledger.find([entry_id(1)]) == {}
        assert await ledger.reverse([first], DAY) == []
        (refused,) = await ledger.reverse([draft], DAY)
        (again,) = await recorded(ledger, an_entry(1, 900, 0, state=POSTED))
        assert await ledger.reverse([first], DAY) == []
        assert (await ledger.find([entry_id(1)]))[entry_id(1)].external_id == again.external_id == "PX-000004"
        await ledger.finish_job()
    assert refused.message == "PX-000002: it is a draft, which can be deleted"
    assert [row for row in journal(path) if row[0] in ("PX-000001", "PX-000003")] == [
        ("PX-000001", "6000", 1000, 0, "posted", 0),
        ("PX-000001", "pleo-input-tax", 250, 0, "posted", 0),
        ("PX-000001", "pleo-wallet-DKK", 0, 1250, "posted", 0),
        ("PX-000003", "6000", 0, 1000, "posted", 0),
        ("PX-000003", "pleo-input-tax", 0, 250, "posted", 0),
        ("PX-000003", "pleo-wallet-DKK", 1250, 0, "posted", 0),
    ]
    assert history(path) == ["recorded", "reversed", "recorded"]
    beancount = path.with_suffix(".beancount").read_text()
    assert '"Reversal of PX-000001: Supplier 1" ^PX-000003 ^PX-000001\n' in beancount
    assert '  reverses: "PX-000001"\n' in beancount
    assert '  reversed-by: "PX-000003"\n' in beancount


async def test_a_bill_and_its_payment_in_one_entry_are_reversed_together(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        both, bill, payment = await recorded(
            ledger,
            a_bill(1, BILL, PAYMENT, state=POSTED, invoice_number="A"),
            a_bill(2, BILL, state=POSTED),
            a_bill(3, PAYMENT, state=POSTED),
        )
        refused = await ledger.reverse([both, bill], DAY)
        assert await ledger.reverse([bill, payment], DAY) == []  # the payment goes first, whatever the order
        await recorded(ledger, a_bill(4, PAYMENT, state=POSTED, invoice_number="A"))
    why = "PX-000002 cannot be reversed, it is settled by PX-000003: reverse that first"
    assert refused == [Refused(bill.accounting_entry_id, RefusalKind.OTHER, "PX-000002", why)]
    assert rows(path, "SELECT external_id, kind, owed_minor, open_minor FROM open_item WHERE invoice_number = 'A'") == [
        ("PX-000001", "bill", 1250, 0),
        ("PX-000001", "payment", -1250, 0),
        ("PX-000004", "credit_note", -1250, 0),
        ("PX-000004", "refund", 1250, 0),
        ("PX-000007", "payment", -1250, -1250),  # of no bill that is in force
    ]


async def test_nothing_is_reversed_on_a_closed_day(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        (first,) = await recorded(ledger, an_entry(1, state=POSTED))
        write(path, "INSERT INTO period VALUES ('2026-03-01', '2026-03-31', 'closed')")
        (refused,) = await ledger.reverse([first], DAY)
        assert sorted(await ledger.find([entry_id(1)])) == [entry_id(1)]
        assert await ledger.reverse([first], date(2026, 4, 1)) == []
    assert (refused.kind, refused.message) == (
        RefusalKind.CLOSED_PERIOD,
        "PX-000001 cannot be reversed: the posting date lies in a closed period: 2026-03-20",
    )


async def test_a_deleted_draft_keeps_its_number_and_its_history(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        await recorded(ledger, an_entry(1), an_entry(2, state=POSTED))
        books = ledger._books
        assert isinstance(books, Books)
        assert [await ledger._run(books.delete_draft, name, NOW) for name in ("PX-000001", "PX-000002", "PX-9")] == [
            None,
            Refused(entry_id(2), RefusalKind.OTHER, "PX-000002", "PX-000002: it is posted"),
            Refused("", RefusalKind.OTHER, "PX-9", "PX-9: there is no such entry"),
        ]
        assert sorted(await ledger.find([entry_id(1), entry_id(2)])) == [entry_id(2)]
        (again,) = await recorded(ledger, an_entry(1))
        await ledger.finish_job()
    assert again.external_id == "PX-000003"
    assert history(path) == ["recorded", "deleted", "recorded"]
    assert {row[0] for row in journal(path)} == {"PX-000002", "PX-000003"}
    assert rows(path, "SELECT external_id, state FROM entry") == [
        ("PX-000001", "deleted"),
        ("PX-000002", "posted"),
        ("PX-000003", "draft"),
    ]


async def test_what_pleo_has_taken_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    booked = Answer(entry_id(1), "job-1", successful=True, external_id="PX-000001")
    failed = Answer(entry_id(9), "job-1", successful=False, reason="vendor_unknown: no such vendor")
    async with opened(path) as ledger:
        await recorded(ledger, an_entry(1))
        await ledger.post([entry_id(1)])
        for _ in range(2):
            await ledger.note_answers([booked, failed])
        await ledger.note_answers([replace(booked, job_id="job-2")])
    assert history(path) == ["recorded", "posted", "answered", "answered"]
    assert rows(path, "SELECT entry_id, job_id, detail FROM history WHERE event = 'answered'") == [
        (1, "job-1", '{"successful": true, "external_id": "PX-000001"}'),
        (None, "job-1", '{"successful": false, "reason": "vendor_unknown: no such vendor"}'),
        (1, "job-2", '{"successful": true, "external_id": "PX-000001"}'),
    ]


_LINE = "INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text) VALUES "
_REVERSAL = (
    "INSERT INTO entry (id, accounting_entry_id, company_id, job_id, item_type, posting_date, original_date, currency, "
    "amount_minor, description, reference, state, recorded_at, reverses, in_force) "
    "SELECT 4, accounting_entry_id, company_id, job_id, item_type, '2026-03-09', '2026-03-09', currency, "
    "-amount_minor, '', '', {state}, recorded_at, {of}, {in_force} FROM entry WHERE id = {of}"
)
_MIRROR = (
    f"{_LINE} (4, 1, '6000', 0, 1000, 0, ''), (4, 2, 'pleo-input-tax', 0, 250, 0, ''), "
    "(4, 3, 'pleo-wallet-DKK', 1250, 0, 1, '')"
)
_OTHERWISE = _MIRROR.replace("'6000', 0, 1000", "'6000', 0, 900").replace("0, 250", "0, 350")


@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (["UPDATE entry SET changing = 0 WHERE id = 2"], "cannot be changed"),
        (["UPDATE entry SET changing = 1 WHERE id = 1"], "CHECK"),
        (["UPDATE entry SET changing = 0, description = 'x' WHERE id = 1"], "cannot be changed"),
        (["DELETE FROM line WHERE entry_id = 1"], "cannot be deleted"),
        (["UPDATE entry SET state = 'deleted', in_force = 0 WHERE id = 1"], "cannot be changed"),
        (["UPDATE entry SET in_force = 0 WHERE id = 2"], "cannot be changed"),
        (["UPDATE entry SET statement = '{}' WHERE id = 1"], "cannot be changed"),
        (["UPDATE entry SET changing = 0 WHERE id = 1", "DELETE FROM line WHERE entry_id = 3"], "cannot be deleted"),
        (["UPDATE entry SET changing = 0 WHERE id = 1", "UPDATE line SET text = 'x' WHERE entry_id = 1"], "be changed"),
        (
            [
                "UPDATE entry SET changing = 0 WHERE id = 1",
                "DELETE FROM line WHERE entry_id = 1",
                "UPDATE entry SET changing = NULL WHERE id = 1",
            ],
            "the entry has no lines",
        ),
        (
            [
                "UPDATE entry SET changing = 0 WHERE id = 1",
                "DELETE FROM line WHERE entry_id = 1 AND line_no = 2",
                "UPDATE entry SET changing = NULL WHERE id = 1",
            ],
            "debits and credits differ",
        ),
        (
            [
                "UPDATE entry SET changing = 0 WHERE id = 1",
                "UPDATE entry SET changing = NULL, state = 'deleted', in_force = 0 WHERE id = 1",
            ],
            "cannot be changed",
        ),
        (
            ["UPDATE entry SET changing = 0 WHERE id = 1", "UPDATE entry SET state = 'posted' WHERE id = 1"],
            "cannot be changed",
        ),
        (
            [
                "UPDATE entry SET changing = 0 WHERE id = 1",
                f"UPDATE entry SET changing = NULL, accounting_entry_id = '{entry_id(7)}' WHERE id = 1",
            ],
            "cannot be changed",
        ),
        (["UPDATE entry SET changing = 0 WHERE id = 1", "COMMIT"], "FOREIGN KEY"),
        ([_MIRROR, _REVERSAL.format(state="'posted'", of=1, in_force=0)], "a posted entry that is in force"),
        ([_MIRROR, _REVERSAL.format(state="'draft'", of=2, in_force=0)], "is posted itself"),
        ([_MIRROR, _REVERSAL.format(state="'posted'", of=2, in_force=1)], "a reversal is not|CHECK"),
        ([_OTHERWISE, _REVERSAL.format(state="'posted'", of=2, in_force=0)], "on the other side"),
        (["DELETE FROM history"], "forgotten"),
        (["UPDATE history SET at = ''"], "cannot be changed"),
        (["INSERT OR REPLACE INTO history SELECT * FROM history"], "cannot be changed"),
        (["INSERT INTO history (at, accounting_entry_id, event) VALUES ('', 'x', 'invented')"], "CHECK"),
    ],
)
async def test_the_file_refuses_what_is_out_of_order(tmp_path: Path, statements: list[str], complaint: str) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        await recorded(ledger, an_entry(1), an_entry(2, state=POSTED), an_entry(3))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        before = list(connection.iterdump())
        connection.execute("BEGIN")
        for statement in statements[:-1]:
            connection.execute(statement)
        with pytest.raises(sqlite3.IntegrityError, match=complaint):
            connection.execute(statements[-1])
        connection.execute("ROLLBACK")
        assert list(connection.iterdump()) == before


async def test_the_file_takes_a_reversal_from_any_program(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    async with opened(path) as ledger:
        await recorded(ledger, an_entry(1), an_entry(2, state=POSTED), an_entry(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_MIRROR)
        connection.execute(_REVERSAL.format(state="'posted'", of=2, in_force=0))
    async with opened(path) as ledger:
        assert sorted(await ledger.find([entry_id(2)])) == []
        assert ledger.company() == COMPANY
    assert history(path, 2) == ["recorded", "reversed"]
