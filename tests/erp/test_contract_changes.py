"""The contract: drafts replaced in place, posted entries reversed, and what one answers that cannot do it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from blocks.erp.entries import Answer, Entry, Recorded, Statement
from blocks.erp.errors import RefusalKind
from tests.support.erp.contract.books import all_recorded, is_refused, net_of
from tests.support.erp.contract.entries import BILL, DRAFT, PAYMENT, with_account
from tests.support.erp.contract.harness import Lever
from tests.support.erp.contract.site import Site, another

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = Statement((("type", "card_purchase"), ("amount", "1250 DKK")), (("note", "lunch “in town”"),))
SAYS = Statement((("type", "card_purchase"), ("amount", "900 DKK"), ("line 1 tags", "project=P-1")))


@pytest.fixture
def site_that_replaces(shared_site: Site) -> Site:
    """The shared ERP, if it replaces drafts."""
    shared_site.needs_capability("replaces")
    return shared_site


@pytest.fixture
def site_that_reverses(shared_site: Site) -> Site:
    """The shared ERP, if it reverses entries."""
    shared_site.needs_capability("reverses")
    return shared_site


@pytest.mark.parametrize("forms", ["journal entry", "bill", "bill for a journal entry"])
async def test_a_draft_is_replaced_in_place(site_that_replaces: Site, forms: str) -> None:
    site, make = site_that_replaces, site_that_replaces.make
    if "bill" in forms:
        site.needs_capability("bills")
    files = make.files(1) if site.limits.max_attachments != 0 else ()
    first = make.bill(BILL, invoice_number=f"r-{make.id()}") if forms == "bill" else make.purchase()
    first = replace(first, state=DRAFT, statement=SAID, attachments=files)
    neighbour = make.purchase(700, tax_minor=0, state=DRAFT)
    before = all_recorded(await site.record(first, neighbour), [first, neighbour])
    id_ = first.accounting_entry_id
    second: Entry = make.purchase(900, tax_minor=180, accounting_entry_id=id_, state=DRAFT)
    if "bill" in forms:
        second = make.bill(
            BILL, amount_minor=900, tax_minor=180, accounting_entry_id=id_, state=DRAFT, invoice_number=f"r-{make.id()}"
        )
    second = replace(second, statement=SAYS, original_date=first.original_date)

    (outcome,) = await site.erp.replace([replace(second, state=first.state)])
    if site.harness.keeps_kind and type(second) is not type(first):
        is_refused(outcome, second, RefusalKind.OTHER)
        site.hold(first, neighbour)
        return
    found, other = await site.find(second, neighbour)
    assert outcome == found
    assert (found.external_id, found.recorded_at, found.attached) == (
        before[0].external_id,
        before[0].recorded_at,
        before[0].attached,
    )
    assert (found.amount_minor, found.accounts, found.state, found.statement, found.edits) == (
        900,
        second.accounts,
        DRAFT,
        SAYS,
        (),
    )
    (booked, _) = site.hold(second, neighbour)
    assert len(booked.files) == len(files)
    assert replace(other, settled=before[1].settled) == replace(before[1], found=True)
    assert await site.erp.post([id_]) == []
    ((posted,),) = (await site.find(second),)
    assert (posted.external_id, posted.state.value, posted.edits) == (found.external_id, "posted", ())


async def test_what_cannot_be_replaced_is_refused_and_spoils_no_neighbours(site_that_replaces: Site) -> None:
    site, make = site_that_replaces, site_that_replaces.make
    posted, good = make.purchase(statement=SAID), make.purchase(800, tax_minor=0, state=DRAFT)
    all_recorded(await site.record(posted, good), [posted, good])
    outcomes = await site.erp.replace(
        [
            make.purchase(5, tax_minor=0, accounting_entry_id=posted.accounting_entry_id, state=DRAFT),
            now := make.purchase(850, tax_minor=0, accounting_entry_id=good.accounting_entry_id, state=DRAFT),
            gone := make.purchase(5, tax_minor=0, state=DRAFT),
        ]
    )
    is_refused(outcomes[0], posted, RefusalKind.OTHER)
    assert isinstance(outcomes[1], Recorded)
    is_refused(outcomes[2], gone, RefusalKind.OTHER)
    site.hold(posted, now)
    site.lack(gone)
    bad = with_account(make.purchase(5, tax_minor=0, accounting_entry_id=good.accounting_entry_id, state=DRAFT), "none")
    is_refused((await site.erp.replace([bad]))[0], bad, RefusalKind.UNKNOWN_ACCOUNT)
    site.hold(posted, now)


async def test_what_a_person_has_edited_is_told_and_not_replaced(site_that_replaces: Site) -> None:
    site, make = site_that_replaces, site_that_replaces.make
    site.needs(Lever.EDIT)
    entry = make.purchase(state=DRAFT, statement=SAID)
    all_recorded(await site.record(entry), [entry])
    site.harness.edit(entry.accounting_entry_id, "a better text")
    (found,) = await site.find(entry)
    assert len(found.edits) == 1
    assert "a better text" in found.edits[0]
    assert found.statement == SAID
    changed = make.purchase(5, tax_minor=0, accounting_entry_id=entry.accounting_entry_id, state=DRAFT)
    refused = is_refused((await site.erp.replace([changed]))[0], changed, RefusalKind.OTHER)
    assert "a better text" in refused.message
    site.hold(entry)


@pytest.mark.parametrize("form", ["journal entry", "bill and payment"])
async def test_a_posted_entry_is_reversed_once_and_booked_anew(site_that_reverses: Site, form: str) -> None:
    site, make = site_that_reverses, site_that_reverses.make
    entry: Entry = make.purchase(statement=SAID)
    if form != "journal entry":
        site.needs_capability("bills")
        entry = make.bill(BILL, PAYMENT, statement=SAID, invoice_number=f"v-{make.id()}")
    (old,) = all_recorded(await site.record(entry), [entry])
    refused = await site.erp.reverse([old], site.harness.names.open_day)
    if form != "journal entry" and not site.harness.reverses_bills:
        is_refused(refused[0], entry, RefusalKind.OTHER)
        site.hold(entry)
        return
    assert refused == []
    assert await site.erp.find([entry.accounting_entry_id]) == {}
    assert net_of(site.harness, entry) == {}
    assert await site.erp.reverse([old], site.harness.names.open_day) == []  # by a run that does not know
    anew = make.purchase(900, tax_minor=180, accounting_entry_id=entry.accounting_entry_id, statement=SAYS)
    (new,) = all_recorded(await site.erp.record([anew]), [anew])
    assert new.external_id != old.external_id
    assert await site.erp.reverse([old], site.harness.names.open_day) == []  # what was booked since stays
    (found,) = await site.find(anew)
    assert (found.external_id, found.statement) == (new.external_id, SAYS)
    assert net_of(site.harness, anew) == Counter(dict(anew.balances))


async def test_what_cannot_be_reversed_is_refused_and_stays(site_that_reverses: Site) -> None:
    site, make = site_that_reverses, site_that_reverses.make
    posted = make.purchase()
    entries: list[Entry] = [posted]
    if site.limits.drafts:
        entries.append(make.purchase(700, tax_minor=0, state=DRAFT))
    if site.limits.bills:
        number = f"s-{make.id()}"
        entries += [make.bill(BILL, invoice_number=number), make.bill(PAYMENT, invoice_number=number)]
    recorded = all_recorded(await site.record(*entries), entries)
    refused = await site.erp.reverse([recorded[0]], site.harness.names.closed_day)
    is_refused(refused[0], posted, RefusalKind.CLOSED_PERIOD)
    wanted = recorded[1:-1] if site.limits.bills else recorded[1:]  # all but the payment, which settles the bill
    refused = await site.erp.reverse(wanted, site.harness.names.open_day)
    assert [one.accounting_entry_id for one in refused] == [one.accounting_entry_id for one in wanted]
    assert all(one.message.strip() and len(one.message.splitlines()) == 1 for one in refused)
    site.hold(*entries)


async def test_one_that_cannot_replace_or_reverse_refuses_and_changes_nothing(shared_site: Site) -> None:
    site, make = shared_site, shared_site.make
    entry = make.purchase()
    (recorded,) = all_recorded(await site.record(entry), [entry])
    other = make.purchase(5, tax_minor=0, accounting_entry_id=entry.accounting_entry_id)
    if not site.limits.replaces:
        is_refused((await site.erp.replace([other]))[0], other, RefusalKind.OTHER)
    if not site.limits.reverses:
        is_refused((await site.erp.reverse([recorded], site.harness.names.open_day))[0], entry, RefusalKind.OTHER)
    site.hold(entry)


async def test_answers_are_noted_and_noted_again(shared_site: Site) -> None:
    entry = shared_site.make.purchase()
    (recorded,) = all_recorded(await shared_site.record(entry), [entry])
    answers = [
        Answer(entry.accounting_entry_id, "job-1", successful=True, external_id=recorded.external_id),
        Answer(shared_site.make.id(), "job-1", successful=False, reason="validation_failure: no"),
    ]
    before = shared_site.harness.footprint()
    for _ in range(2):
        await shared_site.erp.note_answers(answers)
    assert shared_site.harness.footprint() == before
    shared_site.hold(entry)


async def test_a_dry_run_replaces_and_reverses_nothing(site: Site) -> None:
    for name in ("replaces", "reverses"):
        site.needs_capability(name)
    entry = site.make.purchase(state=DRAFT)
    all_recorded(await site.record(entry), [entry])
    await site.connection.close()
    erp = site.harness.connection()()
    await erp.open(site.harness.names.company_id, dry_run=True)
    try:
        (found,) = (await erp.find([entry.accounting_entry_id])).values()
        with pytest.raises(RuntimeError):
            await erp.replace([entry])
        with pytest.raises(RuntimeError):
            await erp.reverse([found], site.harness.names.open_day)
    finally:
        await erp.close()
    async with another(site.harness) as again:
        assert (await again.find([entry.accounting_entry_id]))[entry.accounting_entry_id].state is DRAFT
