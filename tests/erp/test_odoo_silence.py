"""What Odoo would do in silence: refused before, or seen when it is read back; and adapters that do not look.

Each of `MUTANTS` lacks one of the adapter's guards. The scenario of a test here is played with it once more: it has to
come to another end, or that test would prove nothing.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from blocks.erp.base import Outcome
from blocks.erp.entries import Entry, Recorded, Vendor
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.odoo import books, moves, payloads
from blocks.erp.odoo.directory import Locks
from blocks.erp.odoo.names import MODEL, MoveName
from blocks.erp.odoo.odoo import Odoo
from tests.support.erp.contract.books import books_hold, books_lack, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, DRAFT, Maker
from tests.support.erp.contract.runner import ready
from tests.support.erp.odoo.harness import LAST_DAY, NAMES, OdooHarness
from tests.support.erp.odoo.server import OdooServer

pytestmark = pytest.mark.slow

DAY = NAMES.closing_day


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Entries of the test's own."""
    return Maker(NAMES, str(uuid.uuid4()), tmp_path)


@pytest.fixture
def harness(shared_odoo: OdooServer) -> Iterator[OdooHarness]:
    """The shared server, whose books are open again afterwards."""
    made = OdooHarness(shared_odoo)
    yield made
    none = ", ".join(f"{name}_lock_date = null" for name in ("purchase", "sale", "tax", "hard"))
    fiscal = "fiscalyear_lock_date = '2026-08-31'"
    shared_odoo.sql(f"update res_company set {fiscal}, {none} where name = 'Acme ApS'")


async def opened(harness: OdooHarness) -> Odoo:
    """An adapter that is ready."""
    erp = await ready(harness.connection()(), NAMES.company_id)
    assert isinstance(erp, Odoo)
    return erp


async def recorded_by(harness: OdooHarness, *entries: Entry) -> list[Outcome]:
    """What an adapter of its own makes of entries."""
    erp = await opened(harness)
    try:
        return await erp.record(entries)
    finally:
        await erp.close()


async def test_what_odoo_would_take_in_silence_is_refused_by_its_kind(harness: OdooHarness, make: Maker) -> None:
    erp = await opened(harness)
    number = make.id()
    first = make.bill(BILL, invoice_number=number)
    is_recorded((await erp.record([first]))[0], first)
    too_long = "x" * 5000
    tomorrow = LAST_DAY.replace(year=2027)
    in_francs = replace(make.purchase(currency="EUR"), currency="CHF")
    cases: list[tuple[Entry, RefusalKind]] = [
        (make.purchase(posting_date=tomorrow), RefusalKind.OTHER),
        (make.purchase(description=too_long), RefusalKind.OTHER),
        (make.purchase(reference=too_long), RefusalKind.OTHER),
        (make.bill(BILL, invoice_number=too_long), RefusalKind.OTHER),
        (make.bill(BILL, invoice_number=number), RefusalKind.OTHER),
        (replace(make.purchase(currency="EUR"), currency="PLN"), RefusalKind.OTHER),  # not active
        (replace(make.purchase(currency="EUR"), currency="JPY"), RefusalKind.OTHER),  # hundredths of yen
        (make.bill(BILL, vendor=Vendor("V0951", "Archived")), RefusalKind.UNKNOWN_VENDOR),
    ]
    before = harness.footprint()
    outcomes = await erp.record([entry for entry, _ in cases])
    for (entry, kind), outcome in zip(cases, outcomes, strict=True):
        is_refused(outcome, entry, kind)
    assert f"account.move,{harness.server.sql('select max(id) from account_move')[0][0]}" in str(outcomes[4])
    reference = await erp.load_reference()
    assert reference.rates is not None
    assert reference.rates(in_francs.currency, NAMES.open_day) is None  # so that it fails before it comes here
    assert harness.footprint() == before
    await erp.close()


@pytest.mark.parametrize("name", ["fiscalyear", "hard", "purchase", "sale", "tax"])
async def test_each_of_the_five_lock_dates_closes_what_came_before(
    harness: OdooHarness, make: Maker, name: str
) -> None:
    harness.server.sql(f"update res_company set {name}_lock_date = '2026-09-30' where name = 'Acme ApS'")
    entries = [
        make.purchase(posting_date=DAY),
        make.bill(BILL, posting_date=DAY),
        make.purchase(posting_date=DAY, state=DRAFT),
    ]
    erp = await opened(harness)
    for entry in entries:
        is_refused(erp.check(entry), entry, RefusalKind.CLOSED_PERIOD, DAY.isoformat())
    for entry, outcome in zip(entries, await erp.record(entries), strict=True):
        is_refused(outcome, entry, RefusalKind.CLOSED_PERIOD, DAY.isoformat())
    await erp.close()
    books_lack(harness, entries)


@contextmanager
def changing(server: OdooServer, on: str, what: str) -> Iterator[None]:
    """A database in which somebody's own code changes what is written, and tells nobody."""
    server.sql(f"create function pleo_odd() returns trigger language plpgsql as $$ begin {what}; return new; end $$")
    server.sql(f"create trigger pleo_odd before insert or update on {on} for each row execute function pleo_odd()")
    try:
        yield
    finally:
        server.sql(f"drop trigger pleo_odd on {on}")
        server.sql("drop function pleo_odd()")


SILENT_CHANGES = {
    "a line's account": (
        "account_move_line",
        "if new.name like 'Expense%' and new.account_id = {a6010} then new.account_id := {a6110}; end if",
    ),
    "a line's dimension": (
        "account_move_line",
        "if new.debit > 0 and new.analytic_distribution is null then "
        "new.analytic_distribution := '{{\"{P-2401}\": 100}}'; end if",
    ),
    "a line's tax": (
        "account_move_line",
        "if new.tax_repartition_line_id is not null then new.tax_repartition_line_id := null; end if",
    ),
    "the date, on posting": ("account_move", "if new.state = 'posted' then new.date := new.date + 1; end if"),
}


async def meets_a_silent_change(harness: OdooHarness, make: Maker, name: str) -> list[Outcome]:
    """The outcomes of a purchase that the database changes."""
    on, what = SILENT_CHANGES[name]
    company = harness.server.company
    codes = {f"a{code}": id_ for code, id_ in company["accounts"].items()} | company["dimensions"]["PROJECT"]
    with changing(harness.server, on, what.format_map(codes)):
        return await recorded_by(harness, make.purchase())


@pytest.mark.parametrize("name", SILENT_CHANGES)
async def test_what_stands_otherwise_than_it_was_sent_fails_and_leaves_nothing(
    harness: OdooHarness, make: Maker, name: str
) -> None:
    before = harness.footprint()
    (outcome,) = await meets_a_silent_change(harness, make, name)
    entry = replace(make.purchase(), accounting_entry_id=outcome.accounting_entry_id)
    refused = is_refused(outcome, entry, RefusalKind.OTHER)
    assert "did not record it as it was sent" in refused.message
    books_lack(harness, [entry])
    if name != "the date, on posting":  # in Denmark Odoo keeps for ever what was posted: it is cancelled
        assert harness.footprint() == before


async def repeats_a_late_request(harness: OdooHarness, make: Maker) -> bool:
    """Whether a draft is what it was after the request that made it came once more, as from a run that was killed."""
    entry = make.purchase(state=DRAFT)
    erp = await opened(harness)
    is_recorded((await erp.record([entry]))[0], entry)
    harness.server.sql("update account_move set ref = 'by hand' where invoice_origin = %s", (_origin(entry),))
    assert erp._books is not None
    with suppress(Exception):  # nobody waits for the answer
        await erp._books.books.create([entry])
    await erp.close()
    (booked,) = harness.books([entry.accounting_entry_id])
    return len(booked.lines) == len(entry.lines) and "by hand" in booked.texts


async def test_a_request_that_comes_once_more_changes_nothing(harness: OdooHarness, make: Maker) -> None:
    assert await repeats_a_late_request(harness, make)


async def closes_a_period_meanwhile(harness: OdooHarness, make: Maker) -> list[Outcome]:
    """The outcomes of a posted purchase and a draft, whose period is closed after the adapter has looked at it."""
    entries = [make.purchase(posting_date=DAY), make.purchase(posting_date=DAY, state=DRAFT)]
    erp = await opened(harness)
    assert [erp.check(entry) for entry in entries] == [None, None]
    harness.close_period(DAY)
    try:
        return await erp.record(entries)
    finally:
        await erp.close()


async def test_a_period_that_is_closed_meanwhile_takes_neither_entries_nor_drafts(
    harness: OdooHarness, make: Maker
) -> None:
    before = harness.footprint()
    for outcome in await closes_a_period_meanwhile(harness, make):
        assert not isinstance(outcome, Recorded)
        assert (outcome.kind, outcome.subject) == (RefusalKind.CLOSED_PERIOD, DAY.isoformat())
    assert harness.footprint() == before


async def meets_a_rival(harness: OdooHarness, make: Maker) -> Outcome:
    """The outcome of an entry whose external id another transaction is about to take, and then gives back."""
    entry = make.purchase()
    module, _, name = str(MoveName(entry.accounting_entry_id)).partition(".")
    taken = "insert into ir_model_data (module, name, model, res_id) values (%s, %s, 'account.move', 0)"
    released = threading.Event()

    def hold() -> None:
        with harness.server.holding(taken, (module, name)):
            begun.set()
            released.wait(2)

    begun = threading.Event()
    rival = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(begun.wait, 10)
    (outcome,) = await recorded_by(harness, entry)
    released.set()
    await rival
    if isinstance(outcome, Recorded):
        books_hold(harness, [entry])
    return outcome


async def test_an_entry_that_odoo_takes_back_for_a_rival_s_sake_is_looked_at_again(
    harness: OdooHarness, make: Maker
) -> None:
    assert isinstance(await meets_a_rival(harness, make), Recorded)


async def test_what_was_cancelled_in_odoo_does_not_count_and_is_booked_again(harness: OdooHarness, make: Maker) -> None:
    entry, other = make.purchases(2, state=DRAFT)
    is_recorded((await recorded_by(harness, entry))[0], entry)
    harness.server.sql("update account_move set state = 'cancel' where invoice_origin = %s", (_origin(entry),))
    again, recorded = await recorded_by(harness, entry, other)
    is_recorded(again, entry)
    is_recorded(recorded, other)
    books_hold(harness, [entry, other])


async def meets_a_move_that_says_that_it_is_ours(harness: OdooHarness, make: Maker) -> Outcome:
    """The outcome of an entry that another's move, by its source document, claims to be."""
    entry, other = make.purchases(2)
    is_recorded((await recorded_by(harness, other))[0], other)
    query = "update account_move set invoice_origin = %s where invoice_origin = %s returning id"
    harness.server.sql(query, (_origin(entry), _origin(other)))
    (outcome,) = await recorded_by(harness, entry)
    return outcome


async def test_a_move_that_only_says_that_it_is_ours_is_not(harness: OdooHarness, make: Maker) -> None:
    outcome = await meets_a_move_that_says_that_it_is_ours(harness, make)
    assert isinstance(outcome, Recorded)
    assert not outcome.found


async def meets_a_number_of_the_vendor_s(harness: OdooHarness, make: Maker) -> Outcome:
    """The outcome of a bill whose number its vendor has used before."""
    number = make.id()
    first, second = (make.bill(BILL, invoice_number=number) for _ in range(2))
    await recorded_by(harness, first)
    (outcome,) = await recorded_by(harness, second)
    return outcome


def _lacks_reading_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books.OdooBooks, "differences", lambda *_: ())


def _lacks_leaving_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books, "LEFT_ALONE", {})


def _lacks_line_ids(patch: pytest.MonkeyPatch) -> None:
    """The lines would be doubled, where what stands is not left alone either."""
    _lacks_leaving_alone(patch)
    whole = payloads._Maker._line

    def without_id(*given: object) -> dict[str, str]:
        made = whole(*given)  # type: ignore[arg-type]
        return {name: text for name, text in made.items() if name != "id"}

    patch.setattr(payloads._Maker, "_line", without_id)


def _lacks_lock_dates(patch: pytest.MonkeyPatch) -> None:
    async def nothing_is_locked(_: object) -> Locks:
        return Locks(None)

    patch.setattr(books.OdooBooks, "locks", nothing_is_locked)


def _lacks_a_second_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(books, "ALONE_TRIES", 1)


def _lacks_proof(patch: pytest.MonkeyPatch) -> None:
    """It takes what a source document says for an external id."""

    async def believe(reader: moves.MoveReader, ids: Sequence[int]) -> None:
        rows = await reader._client.search_read(MODEL, [["id", "in", list(ids)]], ("invoice_origin",))
        for row in rows:
            reader.know(row["id"], MoveName(str(row["invoice_origin"]).removeprefix("pleo:")))

    patch.setattr(moves.MoveReader, "_prove", believe)


def _lacks_the_vendor_s_numbers(patch: pytest.MonkeyPatch) -> None:
    async def none_is_taken(*_: object) -> dict[str, Refused]:
        return {}

    patch.setattr(books.OdooBooks, "taken_numbers", none_is_taken)


Plays = Callable[[OdooHarness, Maker], Awaitable[bool]]


def _reading_back(name: str) -> Plays:
    async def plays(harness: OdooHarness, make: Maker) -> bool:
        (outcome,) = await meets_a_silent_change(harness, make, name)
        return isinstance(outcome, Refused)

    return plays


async def _keeping_days(harness: OdooHarness, make: Maker) -> bool:
    told = await closes_a_period_meanwhile(harness, make)
    return all(isinstance(one, Refused) and one.kind is RefusalKind.CLOSED_PERIOD for one in told)


async def _bearing_rivals(harness: OdooHarness, make: Maker) -> bool:
    return isinstance(await meets_a_rival(harness, make), Recorded)


async def _proving(harness: OdooHarness, make: Maker) -> bool:
    outcome = await meets_a_move_that_says_that_it_is_ours(harness, make)
    return isinstance(outcome, Recorded) and not outcome.found


async def _telling_numbers(harness: OdooHarness, make: Maker) -> bool:
    return isinstance(await meets_a_number_of_the_vendor_s(harness, make), Refused)


_READ_BACK = "test_what_stands_otherwise_than_it_was_sent_fails_and_leaves_nothing"
_ONCE_MORE = "test_a_request_that_comes_once_more_changes_nothing"
MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, Plays]] = {
    **{f"reading back: {name}": (_lacks_reading_back, _READ_BACK, _reading_back(name)) for name in SILENT_CHANGES},
    "leaving alone what stands": (_lacks_leaving_alone, _ONCE_MORE, repeats_a_late_request),
    "line ids": (_lacks_line_ids, _ONCE_MORE, repeats_a_late_request),
    "lock dates": (
        _lacks_lock_dates, "test_a_period_that_is_closed_meanwhile_takes_neither_entries_nor_drafts", _keeping_days
    ),
    "a second look": (
        _lacks_a_second_look, "test_an_entry_that_odoo_takes_back_for_a_rival_s_sake_is_looked_at_again",
        _bearing_rivals,
    ),
    "proof by external id": (_lacks_proof, "test_a_move_that_only_says_that_it_is_ours_is_not", _proving),
    "the vendor's numbers": (
        _lacks_the_vendor_s_numbers, "test_what_odoo_would_take_in_silence_is_refused_by_its_kind", _telling_numbers
    ),
}  # fmt: skip
"""What a mutant lacks: how it is planted, the test that catches it, and that test's scenario: whether it ends well."""


@pytest.mark.parametrize("lacking", MUTANTS)
async def test_a_mutant_is_caught(
    harness: OdooHarness, make: Maker, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, by_test, plays = MUTANTS[lacking]
    assert by_test in globals()
    plant(monkeypatch)
    assert not await plays(harness, make)


def _origin(entry: Entry) -> str:
    return f"pleo:{entry.accounting_entry_id}"
