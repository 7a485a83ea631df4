"""What Pleo changes later, in a real Odoo: drafts written anew in place, posted entries taken back, edits told."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from blocks.erp.entries import Entry, EntryState, Recorded, Statement
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.odoo.odoo import Odoo
from tests.support.erp.contract.books import books_hold, is_refused, sums_of
from tests.support.erp.contract.entries import BILL, CREDIT_NOTE, DRAFT, PAYMENT, POSTED, Maker, with_dimension
from tests.support.erp.contract.runner import ready
from tests.support.erp.odoo.harness import NAMES, OdooHarness
from tests.support.erp.odoo.server import OdooServer

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 2)
SAID = Statement((("type", "card_purchase"), ("amount", "1250 DKK")), (("note", "lunch"),))
SAYS = Statement((("type", "card_purchase"), ("amount", "900 DKK")))


class Site:
    """An adapter on the shared server, and entries of the test's own."""

    def __init__(self, server: OdooServer, erp: Odoo, make: Maker) -> None:
        self.harness, self.erp, self.make = OdooHarness(server), erp, make

    async def recorded(self, *entries: Entry) -> list[Recorded]:
        outcomes = await self.erp.record(entries)
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        return [one for one in outcomes if isinstance(one, Recorded)]

    async def found(self, entry: Entry) -> Recorded | None:
        return (await self.erp.find([entry.accounting_entry_id])).get(entry.accounting_entry_id)

    def call(self, model: str, method: str, user: str = "accountant", **given: Any) -> Any:
        """What a person does in Odoo's web client, which has none of our context."""
        server = self.harness.server
        headers = {"authorization": f"bearer {server.company['users'][user]['key']}"}
        answer = httpx.post(f"{server.base_url}/json/2/{model}/{method}", json=given, headers=headers, timeout=60)
        return answer.raise_for_status().json()


@pytest_asyncio.fixture
async def site(shared_odoo: OdooServer, tmp_path: Path) -> AsyncIterator[Site]:
    erp = await ready(OdooHarness(shared_odoo).connection()(), NAMES.company_id)
    assert isinstance(erp, Odoo)
    yield Site(shared_odoo, erp, Maker(NAMES, str(uuid.uuid4()), tmp_path))
    await erp.close()


def number_of(recorded: Recorded) -> int:
    return int(recorded.external_id.removeprefix("account.move,"))


async def test_what_pleo_said_is_kept_with_the_entry_and_told_again(site: Site) -> None:
    entries = [
        site.make.purchase(statement=SAID),
        site.make.bill(BILL, PAYMENT, statement=SAYS, state=DRAFT),
        site.make.purchase(),
    ]
    recorded = await site.recorded(*entries)
    assert [one.statement for one in recorded] == [SAID, SAYS, None]
    assert [one.balances for one in recorded] == [entry.balances for entry in entries]
    assert [one.edits for one in recorded] == [(), (), ()]
    for entry, one in zip(entries, recorded, strict=True):
        assert await site.found(entry) == replace(one, found=True)


async def test_a_draft_is_written_anew_in_place(site: Site) -> None:
    file = site.make.file()
    drafts = [
        site.make.purchase(statement=SAID, attachments=(file,), state=DRAFT),
        site.make.bill(BILL, PAYMENT, statement=SAID, state=DRAFT),
        site.make.purchase(statement=SAID, state=DRAFT),
        site.make.bill(BILL, state=DRAFT, currency="EUR"),
    ]
    before = await site.recorded(*drafts)
    ids = [one.accounting_entry_id for one in drafts]
    anew: list[Entry] = [
        with_dimension(site.make.purchase(900, accounting_entry_id=ids[0], statement=SAYS), NAMES.dimension),  # type: ignore[arg-type]
        site.make.bill(BILL, PAYMENT, accounting_entry_id=ids[1], amount_minor=777, tax_minor=3, statement=SAYS),
        site.make.bill(BILL, accounting_entry_id=ids[2], amount_minor=900, statement=SAYS),
        site.make.purchase(-500, accounting_entry_id=ids[3], posting_date=DAY, original_date=DAY),
    ]
    outcomes = await site.erp.replace(anew)
    for was, entry, outcome in zip(before, anew, outcomes, strict=True):
        assert isinstance(outcome, Recorded), outcome
        assert (outcome.external_id, outcome.recorded_at) == (was.external_id, was.recorded_at)
        assert (outcome.state, outcome.found, outcome.attached) == (EntryState.DRAFT, True, was.attached)
        assert (outcome.amount_minor, outcome.currency) == (entry.amount_minor, entry.currency)
        assert (outcome.posting_date, outcome.statement, outcome.edits) == (entry.posting_date, entry.statement, ())
        assert await site.found(entry) == outcome
    books_hold(site.harness, anew, DRAFT)
    assert await site.erp.post(ids) == []
    books_hold(site.harness, anew, POSTED)


async def test_what_cannot_be_written_anew_is_refused_and_stays(site: Site) -> None:
    posted, edited, two, missing = site.make.purchase(), *site.make.purchases(1, state=DRAFT), *[
        site.make.bill(BILL, PAYMENT, state=DRAFT), site.make.purchase(state=DRAFT)
    ]  # fmt: skip
    recorded = await site.recorded(posted, edited, two)
    site.call("account.move", "write", ids=[number_of(recorded[1])], vals={"ref": "by hand"})
    anew = [
        site.make.purchase(1, accounting_entry_id=one.accounting_entry_id, tax_minor=0)
        for one in (posted, edited, two, missing)
    ]
    for entry, outcome in zip(anew, await site.erp.replace(anew), strict=True):
        is_refused(outcome, entry, RefusalKind.OTHER)
    books_hold(site.harness, [posted, edited, two])
    assert await site.found(missing) is None


async def test_what_a_person_edits_in_odoo_is_told_and_not_taken_for_pleo_s(site: Site) -> None:
    untouched, draft, bill = site.make.purchase(state=DRAFT), site.make.purchase(state=DRAFT), site.make.bill(
        BILL, amount_minor=1003, tax_minor=7, invoice_number=site.make.id()
    )  # fmt: skip
    recorded = await site.recorded(untouched, draft, bill)
    other = site.harness.server.company["accounts"]["6110"]
    lines = site.call(
        "account.move.line", "search", domain=[["move_id", "=", number_of(recorded[1])], ["debit", "=", 10]]
    )
    site.call("account.move.line", "write", ids=lines, vals={"account_id": other})
    site.call("account.move", "write", ids=[number_of(recorded[1])], vals={"date": "2026-10-06"})
    site.call("account.move", "action_post", ids=[number_of(recorded[0])])
    site.call("account.move", "button_draft", ids=[number_of(recorded[2])])  # Odoo computes its taxes anew then
    now = [await site.found(entry) for entry in (untouched, draft, bill)]
    assert all(now)
    assert [one.edits for one in now if one is not None][:2] == [
        (),
        (
            "date 2026-10-06 in place of 2026-10-05",
            f"debit 10.00 DKK on 6110, tax I25, {draft.description} "
            f"in place of debit 10.00 DKK on 6010, tax I25, {draft.description}",
        ),
    ]
    assert now[2] is not None
    assert now[2].edits
    assert now[0] is not None
    assert now[0].state is EntryState.POSTED  # who only posts changes nothing


async def test_a_posted_entry_is_taken_back_once_and_booked_anew(site: Site) -> None:
    entries = [
        site.make.purchase(statement=SAID),
        site.make.purchase(currency="EUR"),
        site.make.bill(BILL, invoice_number=site.make.id()),
        site.make.bill(CREDIT_NOTE, currency="EUR"),
        site.make.bill(BILL, PAYMENT, invoice_number=site.make.id()),
    ]
    recorded = await site.recorded(*entries)
    assert await site.erp.reverse(recorded, DAY) == []
    assert await site.erp.find([one.accounting_entry_id for one in entries]) == {}
    for entry, was in zip(entries, recorded, strict=True):
        booked = site.harness.books([entry.accounting_entry_id])
        total: dict[tuple[str, str], list[int]] = {}
        for (account, currency), (debit, credit, worth) in (
            pair for one in booked for pair in sums_of(one.lines).items()
        ):
            sums = total.setdefault((account, currency), [0, 0])
            sums[0] += debit - credit
            sums[1] += worth
        assert set(map(tuple, total.values())) == {(0, 0)}, entry
        moves = site.harness.server.sql(
            "select reversed_entry_id, date, state from account_move where reversed_entry_id is not null "
            "and invoice_origin = %s order by reversed_entry_id",
            (f"pleo:{entry.accounting_entry_id}",),
        )
        assert moves[0] == (number_of(was), DAY, "posted")
        owing = "select count(*) from account_move_line l join account_move m on m.id = l.move_id " \
            "join account_account a on a.id = l.account_id " \
            "where m.invoice_origin = %s and a.account_type = 'liability_payable' and not l.reconciled"  # fmt: skip
        assert site.harness.server.sql(owing, (f"pleo:{entry.accounting_entry_id}",)) == [(0,)]

    before = site.harness.footprint()
    assert await site.erp.reverse(recorded, DAY) == []  # a repeated call takes nothing back
    assert site.harness.footprint() == before
    anew = [replace(entries[0], statement=SAYS), entries[4]]
    again = await site.recorded(*anew)
    assert [one.found for one in again] == [False, False]
    assert again[0].external_id != recorded[0].external_id
    assert await site.erp.reverse(recorded, DAY) == []  # nor what was booked since
    assert [await site.found(entry) for entry in anew] == [replace(one, found=True) for one in again]
    assert await site.erp.reverse(again, DAY) == []
    (third,) = await site.recorded(anew[0])
    assert (await site.found(anew[0])) == replace(third, found=True)


async def test_what_cannot_be_taken_back_is_refused_and_stays(site: Site) -> None:
    number = site.make.id()
    draft, bill, payment, good = (
        site.make.purchase(state=DRAFT),
        site.make.bill(BILL, invoice_number=number),
        site.make.bill(PAYMENT, invoice_number=number),
        site.make.purchase(),
    )
    recorded = await site.recorded(draft, bill, payment, good)
    refused = await site.erp.reverse(recorded[:3], DAY)
    assert [one.kind for one in refused] == [RefusalKind.OTHER] * 3
    (closed,) = await site.erp.reverse([recorded[3]], NAMES.closed_day)
    assert isinstance(closed, Refused)
    assert (closed.kind, closed.subject) == (RefusalKind.CLOSED_PERIOD, NAMES.closed_day.isoformat())
    books_hold(site.harness, [draft, bill, payment, good])
