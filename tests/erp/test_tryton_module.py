"""Our module on a real server: what its calls record, find and refuse, and who may set what it sets."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.erp.tryton.cluster import clean_environment
from tests.support.erp.tryton.module_calls import AMOUNT, CLOSED, INVOICE, MOVE, Caller, Row, id_of
from tests.support.erp.tryton.prepare import MODULE, write_settings
from tests.support.erp.tryton.server import Tryton, TrytonServer

pytestmark = pytest.mark.slow  # CI runs it by its own command


@pytest.fixture(scope="module")
def server(tryton_module_session: Tryton) -> Iterator[TrytonServer]:
    """One server for all tests here: each looks at expenses of its own."""
    with tryton_module_session.server() as made:
        yield made


@pytest.fixture(scope="module")
def pleo(server: TrytonServer) -> Iterator[Caller]:
    with Caller(server) as made:
        yield made


def test_the_module_tells_its_version_and_a_stock_server_does_not(pleo: Caller, shared_tryton: TrytonServer) -> None:
    version = pleo.ask("POST", f"{MOVE}/pleo_version", {})
    assert (version.status_code, version.json()) == (200, 1)
    with Caller(shared_tryton) as stock:
        assert stock.ask("POST", f"{MOVE}/pleo_version", {}).status_code == 403


def test_moves_are_recorded_posted_or_as_drafts_and_found_again(pleo: Caller) -> None:
    entries = [pleo.entry(), pleo.entry(post=False), pleo.entry()]
    made = pleo.record(*entries)
    assert [one["found"] for one in made] == [False] * 3
    found = pleo.record(*reversed(entries))
    assert [one["found"] for one in found] == [True] * 3
    assert [one["records"] for one in found] == [one["records"] for one in reversed(made)]
    rows = {row["id"]: row for row in pleo.search(MOVE, [["pleo_entry_id", "in", _ids(entries)]], "state", "number")}
    told = [rows[id_of(one["records"][0])] for one in made]
    assert [row["state"] for row in told] == ["posted", "draft", "posted"]
    first, none, second = (row["number"] for row in told)
    assert none is None
    assert _number(second) == _number(first) + 1


def test_what_stands_is_left_alone_whatever_is_asked_for_it_now(pleo: Caller) -> None:
    draft = pleo.entry(post=False)
    (made,) = pleo.record(draft)
    other = pleo.entry(pleo.move(Decimal(7)), id_=draft["pleo_entry_id"])
    assert pleo.record(other) == [{**made, "found": True}]
    assert [row["state"] for row in pleo.of_entry(MOVE, draft["pleo_entry_id"])] == ["draft"]


def test_the_second_of_two_equal_ids_in_a_call_is_found(pleo: Caller) -> None:
    entry = pleo.entry()
    first, other, second = pleo.record(entry, pleo.entry(), entry)
    assert (first["found"], other["found"], second["found"]) == (False, False, True)
    assert first["records"] == second["records"]
    assert len(pleo.of_entry(MOVE, entry["pleo_entry_id"])) == 1


def test_no_entries_are_no_trouble(pleo: Caller) -> None:
    assert pleo.record() == []


def test_more_entries_than_are_made_at_a_time(pleo: Caller) -> None:
    entries = [pleo.entry(pleo.move(Decimal(100 + number))) for number in range(120)]
    made = pleo.record(*entries)
    assert len({one["records"][0] for one in made}) == 120
    rows = pleo.search(MOVE, [["pleo_entry_id", "in", _ids(entries)]], "number", "lines.debit", "pleo_entry_id")
    by_id = {row["pleo_entry_id"]: row for row in rows}
    for number, entry in enumerate(entries):
        assert sum(line["debit"] for line in by_id[entry["pleo_entry_id"]]["lines."]) == 100 + number
    numbers = [_number(by_id[id_]["number"]) for id_ in _ids(entries)]
    assert numbers == list(range(numbers[0], numbers[0] + 120))


@pytest.mark.parametrize("spoil", ["unbalanced", "closed period", "no lines"])
def test_one_refusal_refuses_the_call_with_tryton_s_text(pleo: Caller, spoil: str) -> None:
    bad = {
        "unbalanced": (pleo.move(credit=Decimal(1)), "balance"),
        "closed period": (pleo.move(day=CLOSED), "closed period"),
        "no lines": ({**pleo.move(), "lines": []}, "fill in its lines"),
    }
    values, word = bad[spoil]
    good, before = pleo.entry(), pleo.count()
    assert word in pleo.refused(good, pleo.entry(values), pleo.entry())
    assert pleo.count() == before
    assert [one["found"] for one in pleo.record(good)] == [False]


def test_a_bill_and_its_payment_are_one_entry_and_settled(pleo: Caller) -> None:
    entry = pleo.entry(pleo.bill(), pleo.payment(), settle=True)
    (made,) = pleo.record(entry)
    (bill,) = pleo.of_entry(INVOICE, entry["pleo_entry_id"])
    (payment,) = pleo.of_entry(MOVE, entry["pleo_entry_id"], "lines.account.code", "lines.reconciliation")
    assert made["records"] == [f"{INVOICE},{bill['id']}", f"{MOVE},{payment['id']}"]
    assert (bill["state"], bill["pleo_entry_id"], bill["pleo_belongs_to"]) == ("paid", entry["pleo_entry_id"], None)
    assert (payment["state"], payment["pleo_entry_id"]) == ("posted", None)
    assert payment["pleo_belongs_to"] == entry["pleo_entry_id"]
    assert [line["account."]["code"] for line in payment["lines."] if line["reconciliation"]] == ["2900"]
    assert pleo.record(entry) == [{**made, "found": True}]


def test_what_is_not_opposite_stays_open(pleo: Caller) -> None:
    entry = pleo.entry(pleo.bill(), pleo.payment(AMOUNT - 1), settle=True)
    pleo.record(entry)
    assert [row["state"] for row in pleo.of_entry(INVOICE, entry["pleo_entry_id"])] == ["posted"]


def test_a_bill_can_be_a_move_and_settled_too(pleo: Caller) -> None:
    bill = pleo.payment(-AMOUNT)
    entry = pleo.entry(bill, pleo.payment(), settle=True)
    (made,) = pleo.record(entry)
    rows = pleo.of_entry(MOVE, entry["pleo_entry_id"], "lines.reconciliation")
    assert made["records"] == [f"{MOVE},{row['id']}" for row in rows]
    (one,), (other,) = ([line["reconciliation"] for line in row["lines."] if line["reconciliation"]] for row in rows)
    assert one == other


def test_drafts_of_bills_and_payments_wait_to_be_posted(pleo: Caller) -> None:
    entry = pleo.entry(pleo.bill(), pleo.payment(), post=False)
    pleo.record(entry)
    states = [row["state"] for model in (INVOICE, MOVE) for row in pleo.of_entry(model, entry["pleo_entry_id"])]
    assert states == ["draft", "draft"]


def test_a_cancelled_bill_gives_its_expense_to_the_next_record(pleo: Caller) -> None:
    entry = pleo.entry(pleo.bill())
    (made,) = pleo.record(entry)
    cancelled = id_of(made["records"][0])
    assert pleo.ask("POST", f"{INVOICE}/{cancelled}/cancel", {}).status_code in {200, 204}
    (anew,) = pleo.record(entry)
    assert not anew["found"]
    rows = pleo.search(INVOICE, [["id", "in", [cancelled, id_of(anew["records"][0])]]], "state", "pleo_entry_id")
    assert [(row["state"], row["pleo_entry_id"]) for row in rows] == [
        ("cancelled", None),
        ("posted", entry["pleo_entry_id"]),
    ]
    assert pleo.record(entry) == [{**anew, "found": True}]


def test_a_cancelled_bill_whose_payment_stands_is_left_to_people(pleo: Caller) -> None:
    entry = pleo.entry(pleo.bill(), pleo.payment(AMOUNT - 1))
    (made,) = pleo.record(entry)
    assert pleo.ask("POST", f"{INVOICE}/{id_of(made['records'][0])}/cancel", {}).status_code in {200, 204}
    (payment,) = pleo.of_entry(MOVE, entry["pleo_entry_id"], "rec_name")
    text = pleo.refused(entry)
    assert entry["pleo_entry_id"] in text
    assert payment["rec_name"] in text


@pytest.mark.parametrize("user", ["pleo", "accountant"])
def test_nobody_gives_changes_or_takes_an_expense_by_hand(server: TrytonServer, user: str) -> None:
    with Caller(server, user) as caller:
        (draft,) = caller.record(caller.entry(post=False))
        (posted,) = caller.record(caller.entry())
        for field in ("pleo_entry_id", "pleo_belongs_to"):
            created = caller.ask("POST", MOVE, {**caller.move(), field: str(uuid.uuid4())})
            assert (created.status_code, "export" in created.json()["message"]) == (400, True)
            created = caller.ask("POST", INVOICE, {**caller.bill(), field: str(uuid.uuid4())})
            assert (created.status_code, "export" in created.json()["message"]) == (400, True)
            for one in (draft, posted):
                for value in (str(uuid.uuid4()), None, ""):
                    written = caller.ask("PUT", f"{MOVE}/{id_of(one['records'][0])}", {field: value})
                    assert written.status_code == 400
        rows = caller.search(MOVE, [["pleo_entry_id", "in", _ids([draft, posted])]], "pleo_belongs_to")
        assert [(row["id"], row["pleo_belongs_to"]) for row in rows] == [
            (id_of(one["records"][0]), None) for one in (draft, posted)
        ]


def test_not_even_a_call_of_the_export_gives_an_expense_to_a_record_within_a_record(pleo: Caller) -> None:
    within = {**pleo.move(), "pleo_entry_id": str(uuid.uuid4())}
    bill = {**pleo.bill(), "additional_moves": [["create", [within]]]}
    assert "set by the export" in pleo.refused(pleo.entry(bill))


def test_copies_and_reversals_are_of_no_expense(server: TrytonServer) -> None:
    with Caller(server, "accountant") as caller:
        entry = caller.entry(caller.bill(), caller.payment(AMOUNT - 1))
        (made,) = caller.record(entry)
        bill, payment = map(id_of, made["records"])
        copies = {MOVE: payment, INVOICE: bill}
        for model, id_ in copies.items():
            copied = caller.ask("POST", f"{model}/{id_}/copy", {})
            assert copied.status_code == 200, copied.text
            (row,) = caller.search(model, [["id", "=", copied.json()[0]]], "pleo_entry_id", "pleo_belongs_to")
            assert (row["pleo_entry_id"], row["pleo_belongs_to"]) == (None, None)
            with_id = {"default": {"pleo_entry_id": entry["pleo_entry_id"]}}
            assert caller.ask("POST", f"{model}/{id_}/copy", with_id).status_code == 403
        assert caller.ask("POST", f"{INVOICE}/{bill}/cancel", {}).status_code in {200, 204}  # reverses the bill's move
        assert [row["id"] for row in caller.of_entry(MOVE, entry["pleo_entry_id"])] == [payment]


def test_a_deleted_draft_leaves_its_expense_free(pleo: Caller) -> None:
    entry = pleo.entry(post=False)
    (made,) = pleo.record(entry)
    assert pleo.ask("DELETE", f"{MOVE}/{id_of(made['records'][0])}").status_code == 204
    (anew,) = pleo.record(entry)
    assert not anew["found"]
    assert anew["records"] != made["records"]


def test_the_forms_show_the_expense(pleo: Caller) -> None:
    for model in (MOVE, INVOICE):
        answer = pleo.ask("POST", f"{model}/fields_view_get", {"view_type": "form"})
        assert 'name="pleo_entry_id"' in answer.json()["arch"]
        field = answer.json()["fields"]["pleo_entry_id"]
        assert (field["readonly"], field["type"]) == (True, "char")


def test_who_may_not_account_may_not_record(server: TrytonServer, pleo: Caller) -> None:
    entry = pleo.entry()
    with Caller(server, "guest") as guest:
        assert guest.call([entry]).status_code == 403
        assert guest.call([guest.entry(guest.bill())]).status_code == 403
        pleo.record(entry)
        assert guest.call([entry]).status_code == 403


def test_companies_are_kept_apart(server: TrytonServer, pleo: Caller) -> None:
    foreign = server.company["companies"]["foreign"]["id"]
    second = server.company["companies"]["second"]["id"]
    theirs = pleo.entry({**pleo.move(), "company": foreign})
    assert pleo.call([theirs]).status_code == 403
    (ours,) = pleo.record(pleo.entry(id_=theirs["pleo_entry_id"]))
    before = pleo.count()
    elsewhere = pleo.entry({**pleo.move(), "company": second}, id_=theirs["pleo_entry_id"])
    assert pleo.call([elsewhere]).status_code in {400, 403}  # accounts of another company
    assert "companies" in pleo.refused(pleo.entry(), elsewhere)
    assert pleo.count() == before
    with Caller(server, company="second") as other:
        assert other.record(pleo.entry(id_=theirs["pleo_entry_id"])) == [{**ours, "found": True}]


def _unreadable(caller: Caller) -> list[Any]:
    entry = caller.entry()
    (document,) = entry["documents"]
    values = document["values"]
    return [
        {},
        "entries",
        [1],
        [{}],
        [{**entry, "more": 1}],
        [{**entry, "pleo_entry_id": entry["pleo_entry_id"].upper()}],
        [{**entry, "pleo_entry_id": "{" + entry["pleo_entry_id"] + "}"}],
        [{**entry, "pleo_entry_id": 7}],
        [{**entry, "post": 1}],
        [{**entry, "post": False, "settle": True}],
        [{**entry, "documents": []}],
        [{**entry, "documents": [values]}],
        [{**entry, "documents": [{"model": "party.party", "values": values}]}],
        [{**entry, "documents": [{"model": MOVE, "values": {**values, "pleo_belongs_to": None}}]}],
        [{**entry, "documents": [{"model": MOVE, "values": {**values, "company": None}}]}],
        [{**entry, "documents": [{"model": MOVE, "values": {**values, "company": True}}]}],
    ]


def test_calls_that_cannot_be_read_are_refused_with_a_reason(pleo: Caller) -> None:
    before = pleo.count()
    for entries in _unreadable(pleo):
        answer = pleo.call(entries)
        assert answer.status_code == 400, answer.text
        assert "cannot be read" in answer.json()["message"]
    assert pleo.count() == before


def test_what_was_recorded_without_the_module_is_adopted(tryton_module_session: Tryton) -> None:
    with tryton_module_session.server() as server, Caller(server, "accountant") as pleo:
        expected: dict[tuple[str, int], tuple[str | None, str | None]] = {}

        def stock(text: str, values: Row, *, post: bool, gets: tuple[str | None, str | None] = (None, None)) -> int:
            model = INVOICE if "type" in values else MOVE
            made = pleo.ask("POST", model, {**values, "description": text})
            id_ = int(made.json()["id"])
            if post:
                assert pleo.ask("POST", f"{model}/{id_}/post", {}).status_code == 200
            expected[model, id_] = gets
            return id_

        posted, draft, unclaimed, twice, bill, paid, cancelled, by_hand, anew, undone, going_back = (
            str(uuid.uuid4()) for _ in range(11)
        )
        stock(f"pleo:{posted}", pleo.move(), post=False)
        stock(f"pleo:{posted}", pleo.move(), post=True, gets=(posted, None))
        stock(f"pleo:{posted}", pleo.move(), post=True)
        stock(f"pleo:{draft} draft", pleo.move(), post=False, gets=(draft, None))
        stock(f"pleo:{unclaimed}", pleo.move(), post=False)
        stock(f"pleo:{twice} draft", pleo.move(), post=False)
        stock(f"pleo:{twice}", pleo.bill(), post=True, gets=(twice, None))
        stock(f"pleo:{bill} draft", pleo.bill(), post=False, gets=(bill, None))
        stock(f"pleo:{bill} payment draft", pleo.payment(), post=False, gets=(None, bill))
        stock(f"pleo:{paid}", pleo.bill(), post=True, gets=(paid, None))
        stock(f"pleo:{paid} payment", pleo.payment(), post=True, gets=(None, paid))
        gone = stock(f"pleo:{cancelled}", pleo.bill(), post=True)
        assert pleo.ask("POST", f"{INVOICE}/{gone}/cancel", {}).status_code in {200, 204}
        back = stock(f"pleo:{by_hand}", pleo.move(), post=True, gets=(by_hand, None))
        stock(f"pleo:{by_hand}", {**pleo.move(), "origin": f"{MOVE},{back}"}, post=True)
        for id_, post in ((anew, True), (undone, True), (going_back, False)):
            first = stock(f"pleo:{id_}", pleo.move(), post=True, gets=(None if post else id_, None))
            stock(f"pleo:{id_} reversal", {**pleo.move(), "origin": f"{MOVE},{first}"}, post=post)
        stock(f"pleo:{anew}", pleo.move(), post=True, gets=(anew, None))
        stock(f"pleo:{posted.upper()}", pleo.move(), post=True)
        stock(f"pleo:{posted} and more", pleo.move(), post=True)
        (ours,) = pleo.record(pleo.entry())
        stock(f"pleo:{ours['pleo_entry_id']}", pleo.move(), post=True)
        expected[MOVE, id_of(ours["records"][0])] = (ours["pleo_entry_id"], None)
        for _ in range(2):
            server.stop()
            _activate_again(tryton_module_session, server)
            server.start()
            for model in (MOVE, INVOICE):
                rows = pleo.search(model, [], "pleo_entry_id", "pleo_belongs_to")
                told = {(model, row["id"]): (row["pleo_entry_id"], row["pleo_belongs_to"]) for row in rows}
                ids = [key for key in expected if key[0] == model]
                assert {key: told[key] for key in ids} == {key: expected[key] for key in ids}
                assert all(told[key] == (None, None) for key in told.keys() - expected.keys())
        found = pleo.record(
            *(pleo.entry(id_=id_) for id_ in (posted, draft, twice, bill, paid, by_hand, anew, going_back))
        )
        assert all(one["found"] for one in found)
        made = pleo.record(*(pleo.entry(id_=id_) for id_ in (unclaimed, cancelled, undone)))
        assert not any(one["found"] for one in made)


def test_the_module_can_be_taken_away_and_come_back(tryton_module_session: Tryton) -> None:
    """The marks that the README has one write are those by which the export, and this module, know records again."""
    statements = re.findall(r"```sql\n(.*?)```", (MODULE / "README.md").read_text(), re.DOTALL)[0].split(";")
    with tryton_module_session.server() as server, Caller(server) as pleo:
        entries = [
            pleo.entry(),
            pleo.entry(post=False),
            pleo.entry(pleo.bill(), pleo.payment(), settle=True),
            pleo.entry(pleo.bill(), pleo.payment(), post=False),
        ]
        made = pleo.record(*entries)
        for statement in filter(str.strip, statements):
            server.sql(statement.replace("%", "%%"))
        told = {row["description"] for row in pleo.search(MOVE, [["description", "like", "pleo:%"]], "description")}
        first, draft, bill, draft_bill = _ids(entries)
        assert told == {
            f"pleo:{first}", f"pleo:{draft} draft", f"pleo:{bill} payment", f"pleo:{draft_bill} payment draft"
        }  # fmt: skip
        for table in ("account_move", "account_invoice"):
            server.sql(f"update {table} set pleo_entry_id = null, pleo_belongs_to = null")
        server.stop()
        _activate_again(tryton_module_session, server)
        server.start()
        assert pleo.record(*entries) == [{**one, "found": True} for one in made]


def _activate_again(tryton: Tryton, server: TrytonServer) -> None:
    settings = write_settings(server.cluster.folder, server.cluster)
    command = [
        tryton.prepared.python, "-P", "-m", "trytond.cli.admin", "-c", settings, "-d", server.database,
        "-u", "pleo_export",
    ]  # fmt: skip
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _ids(entries: list[Row]) -> list[str]:
    return [entry["pleo_entry_id"] for entry in entries]


def _number(number: str) -> int:
    return int(number.rpartition("/")[2])
