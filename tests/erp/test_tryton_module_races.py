"""Our module under several writers at once, and under a server that is killed: one record an expense, or none."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from threading import Barrier

import httpx
import pytest

from tests.support.erp.tryton.module_calls import INVOICE, MOVE, Caller, Row, id_of
from tests.support.erp.tryton.server import TrytonServer

pytestmark = pytest.mark.slow

WRITERS = 8
PATIENCE_S = 60.0
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


@contextmanager
def _writers(server: TrytonServer, count: int = WRITERS) -> Iterator[list[Caller]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Caller(server)) for _ in range(count)]


def _at_once(writers: Sequence[Caller], batches: Sequence[list[Row]]) -> list[list[Row]]:
    """The outcomes of calls that all begin at the same time, one a writer."""
    start = Barrier(len(writers))

    def run(writer: Caller, batch: list[Row]) -> list[Row]:
        start.wait(PATIENCE_S)
        return writer.record(*batch)

    with ThreadPoolExecutor(len(writers)) as pool:
        return list(pool.map(run, writers, batches))


def _wait_until(waiting: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not waiting():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def _numbers(caller: Caller, model: str, ids: Sequence[str]) -> list[int]:
    rows = caller.search(model, [["pleo_entry_id", "in", list(ids)]], "number")
    return sorted(int(row["number"].rpartition("/")[2]) for row in rows)


@pytest.mark.parametrize("post", [True, False], ids=["posted", "drafts"])
def test_eight_writers_of_the_same_expenses_make_one_record_of_each(
    tryton_with_module: TrytonServer, post: bool
) -> None:
    shuffle = random.Random(7).shuffle
    with _writers(tryton_with_module) as writers:
        first = writers[0]
        for race in range(3):
            entries = [
                *(first.entry(post=post) for _ in range(4)),
                first.entry(first.bill(), first.payment(), post=post, settle=post),
            ]
            batches = [list(entries) for _ in writers]
            for batch in batches:
                shuffle(batch)
            outcomes = _at_once(writers, batches)
            told = {one["pleo_entry_id"]: one["records"] for one in outcomes[0]}
            assert all({one["pleo_entry_id"]: one["records"] for one in several} == told for several in outcomes)
            made = [one["pleo_entry_id"] for several in outcomes for one in several if not one["found"]]
            assert sorted(made) == sorted(told), f"race {race}"
            for id_, records in told.items():
                rows = [f"{model},{row['id']}" for model in (MOVE, INVOICE) for row in first.of_entry(model, id_)]
                assert sorted(rows) == sorted(records)


@pytest.mark.parametrize("post", [True, False], ids=["posted", "drafts"])
def test_a_move_and_a_bill_of_one_expense_never_both_stand(tryton_with_module: TrytonServer, post: bool) -> None:
    with _writers(tryton_with_module) as writers:
        first = writers[0]
        for _ in range(4):
            id_ = str(uuid.uuid4())
            kinds = [first.entry(id_=id_, post=post), first.entry(first.bill(), id_=id_, post=post)]
            outcomes = _at_once(writers, [[kinds[number % 2]] for number in range(WRITERS)])
            assert len({str(one["records"]) for (one,) in outcomes}) == 1
            assert sum(len(first.of_entry(model, id_)) for model in (MOVE, INVOICE)) == 1


def test_eight_writers_of_different_expenses_all_get_their_answer(tryton_with_module: TrytonServer) -> None:
    """Also where each month's first move opens the month in its journal, for which Tryton locks a table."""
    with _writers(tryton_with_module) as writers:
        first = writers[0]
        for month in (10, 11, 12):
            day = date(2026, month, 5)
            batches = [
                [first.entry(first.move(day=day)), first.entry(first.bill(day=day)), first.entry(first.move(day=day))]
                for _ in writers
            ]
            outcomes = _at_once(writers, batches)
            assert not any(one["found"] for several in outcomes for one in several)
            ids = [one["pleo_entry_id"] for batch in batches for one in batch]
            for model, count in ((MOVE, 2 * WRITERS), (INVOICE, WRITERS)):
                numbers = _numbers(first, model, ids)
                assert len(set(numbers)) == len(numbers) == count


def test_a_person_who_posts_meanwhile_is_waited_for(tryton_with_module: TrytonServer) -> None:
    with _writers(tryton_with_module, 1) as (pleo,), ThreadPoolExecutor(1) as pool:
        for query in (
            "select id from ir_sequence_strict for update",
            "update ir_sequence_strict set number_next_internal = number_next_internal + 1",
        ):
            with tryton_with_module.holding(query):
                call = pool.submit(pleo.record, pleo.entry(), pleo.entry(pleo.bill()))
                _wait_until(lambda: _waiting(tryton_with_module) == 1)
                assert not call.done()
            assert [one["found"] for one in call.result(PATIENCE_S)] == [False, False]


def test_what_stands_is_found_while_another_call_is_at_work(tryton_with_module: TrytonServer) -> None:
    with _writers(tryton_with_module, 3) as (pleo, other, third), ThreadPoolExecutor(2) as pool:
        stands, new = pleo.entry(), pleo.entry()
        pleo.record(stands)
        with tryton_with_module.holding("lock table account_tax_line in exclusive mode"):
            calls: list[Future[list[Row]]] = [pool.submit(pleo.record, new)]
            _wait_until(lambda: _waiting(tryton_with_module) == 1)
            assert [one["found"] for one in other.record(stands)] == [True]
            calls.append(pool.submit(other.record, new, stands))
            _wait_until(lambda: _waiting(tryton_with_module) == 2)
            assert third.of_entry(MOVE, new["pleo_entry_id"]) == []
        made, found = (call.result(PATIENCE_S) for call in calls)
        assert [one["found"] for one in made] == [False]
        assert [one["found"] for one in found] == [True, True]
        assert made[0]["records"] == found[0]["records"]


def test_a_server_killed_in_the_midst_of_a_call_has_recorded_nothing(tryton_with_module: TrytonServer) -> None:
    server = tryton_with_module
    with _writers(server, 1) as (pleo,), ThreadPoolExecutor(1) as pool:
        entries = [pleo.entry() for _ in range(60)]
        before = pleo.count()
        with server.holding("lock table account_move_reconciliation in exclusive mode"):
            settled = [*entries, pleo.entry(pleo.bill(), pleo.payment(), settle=True)]
            call = pool.submit(pleo.call, settled)
            _wait_until(lambda: _waiting(server) == 1)  # all are made and posted, and nothing is committed
            server.kill()
            with pytest.raises(httpx.TransportError):
                call.result(PATIENCE_S)
        server.start()
        assert pleo.count() == before
        assert not any(one["found"] for one in pleo.record(*settled))
        numbers = server.sql("select number from account_move where number is not null")
        assert sorted(int(number.rpartition("/")[2]) for (number,) in numbers) == list(range(1, 63))


def test_wherever_a_server_is_killed_a_call_was_done_wholly_or_not_at_all(tryton_with_module: TrytonServer) -> None:
    server = tryton_with_module
    with _writers(server, 1) as (pleo,), ThreadPoolExecutor(1) as pool:
        pleo.record(*(pleo.entry() for _ in range(20)))
        started = time.monotonic()
        pleo.record(*(pleo.entry() for _ in range(20)))
        usual_s = time.monotonic() - started
        for tenths in (2, 5, 8, 10, 11):
            entries = [pleo.entry() for _ in range(20)]
            ids = [one["pleo_entry_id"] for one in entries]
            call = pool.submit(pleo.call, entries)
            time.sleep(usual_s * tenths / 10)  # whenever that is: any moment will do
            server.kill()
            assert call.exception(PATIENCE_S) is None or isinstance(call.exception(), httpx.TransportError)
            server.start()
            rows = pleo.search(MOVE, [["pleo_entry_id", "in", ids]], "state")
            assert [row["state"] for row in rows] in ([], ["posted"] * 20)
            again = pleo.record(*entries)
            assert {one["found"] for one in again} == {bool(rows)}
            assert len(pleo.search(MOVE, [["pleo_entry_id", "in", ids]])) == 20
            assert not rows or {id_of(one["records"][0]) for one in again} == {row["id"] for row in rows}


def _waiting(server: TrytonServer) -> int:
    ((count,),) = server.sql(WAITING)
    return int(count)
