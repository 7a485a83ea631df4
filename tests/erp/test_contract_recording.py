"""The contract: entries are recorded once, found again by their ids, and read back as they were given."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from blocks.erp.entries import Details, Entry, EntryState
from blocks.erp.errors import RefusalKind
from tests.support.erp.contract.books import all_recorded, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, DRAFT, NO_ACCOUNT, PAYMENT, POSTED, with_account, with_dimension
from tests.support.erp.contract.runner import bring_to_an_end
from tests.support.erp.contract.site import Site

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_entry_is_recorded_and_found_as_it_was_given(shared_site: Site) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    entry = shared_site.make.purchase()
    (outcome,) = await shared_site.record(entry)
    recorded = is_recorded(outcome, entry)
    (booked,) = shared_site.hold(entry)
    (found,) = await shared_site.find(entry)

    assert found == replace(recorded, found=True)
    assert booked.external_id == recorded.external_id
    assert before <= recorded.recorded_at <= datetime.now(UTC) + timedelta(seconds=1)
    assert recorded.recorded_at.utcoffset() == timedelta(0)
    assert (recorded.attached, recorded.not_attached, recorded.counterparts) == (frozenset(), (), ())
    assert booked.tax_codes == {shared_site.make.names.tax_code}


async def test_no_entries_are_no_outcomes(shared_site: Site) -> None:
    assert await shared_site.erp.record([]) == []
    assert await shared_site.erp.find([]) == {}
    assert await shared_site.erp.post([]) == []


async def test_an_id_that_stands_is_found_and_not_written_again(shared_site: Site) -> None:
    first, second = shared_site.make.purchases(2)
    (recorded,) = all_recorded(await shared_site.record(first), [first])
    again, new = await shared_site.record(first, second)
    assert again == replace(recorded, found=True)
    is_recorded(new, second)
    changed = shared_site.make.purchase(9900, accounting_entry_id=first.accounting_entry_id)
    (kept,) = await shared_site.record(changed)
    assert kept == replace(recorded, found=True)
    shared_site.hold(first, second)


async def test_an_id_that_comes_twice_in_one_call_is_recorded_once(shared_site: Site) -> None:
    entry, other = shared_site.make.purchases(2)
    one, between, two = await shared_site.record(entry, other, entry)
    recorded = is_recorded(one, entry)
    is_recorded(between, other)
    assert two == replace(recorded, found=True)
    shared_site.hold(entry, other)


async def test_what_an_earlier_run_recorded_the_next_one_finds(shared_site: Site) -> None:
    entries = [shared_site.make.purchase(), shared_site.make.purchase(-700, tax_minor=0)]
    recorded = all_recorded(await shared_site.record(*entries), entries)
    await shared_site.connection.open()
    assert await shared_site.find(*entries) == [replace(one, found=True) for one in recorded]
    all_recorded(await shared_site.record(*entries), entries, found=True)
    shared_site.hold(*entries)


async def test_an_answer_that_nobody_waited_for_is_found_again(shared_site: Site) -> None:
    """The run is ended while a call is under way."""
    entries = shared_site.make.purchases(min(20, shared_site.limits.max_entries))
    call = asyncio.ensure_future(shared_site.record(*entries))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await shared_site.connection.open()
    recorded = await bring_to_an_end(shared_site.erp, entries)
    assert [one.accounting_entry_id for one in recorded] == [one.accounting_entry_id for one in entries]
    shared_site.hold(*entries)


async def test_a_thousand_ids_are_looked_up_at_once_however_they_are_written(shared_site: Site) -> None:
    entries = shared_site.make.purchases(3)
    all_recorded(await shared_site.record(*entries), entries)
    unknown = [shared_site.make.id() for _ in range(997)]
    ids = [entries[0].accounting_entry_id.upper(), *unknown[:500], entries[1].accounting_entry_id, *unknown[500:]]
    found = await shared_site.erp.find([*ids, entries[2].accounting_entry_id, entries[2].accounting_entry_id.upper()])
    assert sorted(found) == sorted(entry.accounting_entry_id for entry in entries)
    for entry in entries:
        is_recorded(found[entry.accounting_entry_id], entry, found=True)


async def test_a_thousand_entries_of_which_three_are_bad(shared_site: Site) -> None:
    entries = shared_site.make.purchases(1001)
    bad = {1, 500, 1000}
    for n in bad:
        entries[n] = with_account(entries[n], NO_ACCOUNT)
    before = shared_site.harness.footprint()
    outcomes = await shared_site.erp.record(entries[:1])
    one_alone = shared_site.harness.footprint()
    most = shared_site.limits.max_entries
    for start in range(1, len(entries), most):
        outcomes += await shared_site.erp.record(entries[start : start + most])

    good = [entry for n, entry in enumerate(entries) if n not in bad]
    recorded = all_recorded([outcomes[n] for n in range(len(entries)) if n not in bad], good)
    for n in bad:
        is_refused(outcomes[n], entries[n], RefusalKind.UNKNOWN_ACCOUNT, NO_ACCOUNT)
    assert len({one.external_id for one in recorded}) == len(good)
    found = await shared_site.erp.find([entry.accounting_entry_id for entry in entries])
    assert found == {one.accounting_entry_id: replace(one, found=True) for one in recorded}
    # To read all of them would take some harnesses long: some, and that the others are as many.
    shared_site.hold(*good[::50], *(entries[n] for n in (2, 499, 501, 999)))
    assert shared_site.harness.footprint() == {
        kind: count + len(good) * (one_alone[kind] - count) for kind, count in before.items()
    }


@pytest.mark.parametrize("turned", [False, True], ids=["expense", "money back"])
@pytest.mark.parametrize("sign", [1, -1])
async def test_the_sign_that_pleo_gave_is_read_back_whichever_way_the_lines_go(
    shared_site: Site, turned: bool, sign: int
) -> None:
    lines = shared_site.make.purchase(-1250 if turned else 1250).lines
    entry = replace(shared_site.make.purchase(lines=lines), amount_minor=1250 * sign)
    is_recorded((await shared_site.record(entry))[0], entry)
    is_recorded((await shared_site.find(entry))[0], entry, found=True)
    shared_site.hold(entry)


async def test_the_date_that_pleo_gave_is_kept_beside_the_posting_date(shared_site: Site) -> None:
    entry = shared_site.make.purchase(original_date=shared_site.make.names.closed_day)
    is_recorded((await shared_site.record(entry))[0], entry)
    await shared_site.connection.open()
    is_recorded((await shared_site.find(entry))[0], entry, found=True)
    shared_site.hold(entry)


@pytest.mark.parametrize("amount_minor", [0, 1, 2**31, 2**53 + 1])
async def test_amounts_are_exact(shared_site: Site, amount_minor: int) -> None:
    limit = shared_site.limits.max_amount_minor
    entry = shared_site.make.purchase(amount_minor, tax_minor=0)
    if amount_minor > limit:
        is_refused(shared_site.erp.check(entry), entry, RefusalKind.OTHER)
        return
    is_recorded((await shared_site.record(entry))[0], entry)
    is_recorded((await shared_site.find(entry))[0], entry, found=True)
    shared_site.hold(entry)


async def test_the_largest_amount_is_taken_and_the_next_one_is_not(shared_site: Site) -> None:
    limit = shared_site.limits.max_amount_minor
    largest, beyond = shared_site.make.purchase(limit, tax_minor=1), shared_site.make.purchase(limit + 1, tax_minor=1)
    is_refused(shared_site.erp.check(beyond), beyond, RefusalKind.OTHER)
    taken, refused = await shared_site.erp.record([largest, beyond])
    is_recorded(taken, largest)
    is_refused(refused, beyond, RefusalKind.OTHER)
    is_recorded((await shared_site.find(largest))[0], largest, found=True)
    shared_site.hold(largest)
    shared_site.lack(beyond)


TEXTS = {
    "arabic": "مصاريف السفر إلى القاهرة",
    "hebrew": "נסיעה לתל אביב",
    "chinese": "出差费用 北京",
    "japanese": "交通費 ﾃｽﾄ ㍿",
    "thai": "ค่าเดินทางไปกรุงเทพ",
    "devanagari": "यात्रा का खर्च",
    "emoji": "Dinner 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿 👍🏽",
    "combining": unicodedata.normalize("NFD", "Ångström Žižkov ệ"),
    "composed": unicodedata.normalize("NFC", "Ångström Žižkov ệ"),
    "markup": "<script>alert(1)</script> <b>&amp; & &lt;",
    "quotes": 'O\'Brien "quoted" `ticks` «»',
    "backslashes": r"C:\new\table \n \u0000 \\",
    "placeholders": "%s %(name)s {0} ${x} ? :id $1 100%",
    "sql": "'; DROP TABLE entry; --",
    "mark": "pleo:00000000-0000-4000-8000-000000000000",
    "spaces": "a b",
    "control": "a\N{REPLACEMENT CHARACTER}b",
}


async def test_texts_in_every_script_come_back_as_they_are(shared_site: Site) -> None:
    limits = shared_site.limits
    entries = [
        shared_site.make.purchase(
            description=f"What: {text}"[: limits.max_description],
            reference=f"Which: {text}"[: limits.max_reference],
            details=Details(note=f"Note: {text}"[: limits.max_detail], employee=f"Who: {text}"[: limits.max_detail]),
        )
        for text in TEXTS.values()
    ]
    all_recorded(await shared_site.record(*entries), entries)
    for entry, booked in zip(entries, shared_site.hold(*entries), strict=True):
        assert any(entry.description in text for text in booked.texts), entry.description
        assert any(entry.reference in text for text in booked.texts), entry.reference
    all_recorded(await shared_site.find(*entries), entries, found=True)


async def test_a_text_that_is_the_id_of_another_entry_stands_for_nothing(shared_site: Site) -> None:
    other = shared_site.make.purchase()
    entries = [
        shared_site.make.purchase(description=text, reference=text, details=Details(note=text))
        for text in (other.accounting_entry_id, f"pleo:{other.accounting_entry_id}")
    ]
    all_recorded(await shared_site.record(*entries), entries)
    assert await shared_site.erp.find([other.accounting_entry_id]) == {}
    is_recorded((await shared_site.record(other))[0], other)
    shared_site.hold(other, *entries)


async def test_texts_as_long_as_the_limits_are_kept_whole(shared_site: Site) -> None:
    limits = shared_site.limits
    lengths = (limits.max_description, limits.max_reference, limits.max_detail)
    description, reference, note = (("äbc " * length)[: length - 1] + "z" for length in lengths)
    entry = shared_site.make.purchase(
        description=description, reference=reference, details=Details(note=note, employee=note)
    )
    is_recorded((await shared_site.record(entry))[0], entry)
    (booked,) = shared_site.hold(entry)
    assert any(description in text for text in booked.texts)
    assert any(reference in text for text in booked.texts)


async def test_a_link_leads_a_person_to_the_entry(shared_site: Site) -> None:
    entry = shared_site.make.purchase()
    (recorded,) = all_recorded(await shared_site.record(entry), [entry])
    assert recorded.url == shared_site.erp.link(recorded.external_id)
    address = urlsplit(recorded.url)
    assert address.scheme in ("http", "https")
    assert address.hostname
    assert (address.username, address.password) == (None, None)
    assert recorded.url.isascii()
    assert recorded.url.isprintable()
    assert " " not in recorded.url
    assert str(shared_site.make.folder.parents[1]) not in recorded.url  # nobody else has this machine's folders


async def test_a_draft_waits_until_it_is_posted(shared_site: Site) -> None:
    shared_site.needs_capability("drafts")
    draft, other, posted = shared_site.make.purchases(3, state=DRAFT)
    posted = replace(posted, state=POSTED)
    all_recorded(await shared_site.record(draft, other, posted), [draft, other, posted])
    shared_site.hold(draft, other, posted)

    ids = [draft.accounting_entry_id.upper(), posted.accounting_entry_id, shared_site.make.id()]
    assert await shared_site.erp.post(ids) == []
    shared_site.hold(draft, posted, state=POSTED)
    shared_site.hold(other)
    assert [one.state for one in await shared_site.find(draft, other, posted)] == [POSTED, DRAFT, POSTED]
    assert await shared_site.erp.post([draft.accounting_entry_id]) == []
    shared_site.hold(draft, posted, state=POSTED)


async def test_a_draft_of_an_earlier_run_is_posted_by_the_next(shared_site: Site) -> None:
    shared_site.needs_capability("drafts")
    draft = shared_site.make.purchase(state=DRAFT)
    (recorded,) = all_recorded(await shared_site.record(draft), [draft])
    await shared_site.connection.open()
    again = await shared_site.record(replace(draft, state=POSTED))
    assert again == [replace(recorded, found=True)]
    shared_site.hold(draft)  # who records does not post what stands
    assert await shared_site.erp.post([draft.accounting_entry_id]) == []
    (now,) = await shared_site.find(draft)
    assert now == replace(recorded, found=True, state=EntryState.POSTED)
    shared_site.hold(draft, state=POSTED)


async def test_without_drafts_an_entry_that_is_to_wait_is_refused(shared_site: Site) -> None:
    if shared_site.limits.drafts:
        pytest.skip(f"the {shared_site.limits.name} declares drafts=True")
    draft, posted = shared_site.make.purchase(state=DRAFT), shared_site.make.purchase()
    is_refused(shared_site.erp.check(draft), draft, RefusalKind.OTHER)
    refused, recorded = await shared_site.erp.record([draft, posted])
    is_refused(refused, draft, RefusalKind.OTHER)
    is_recorded(recorded, posted)
    shared_site.lack(draft)


async def test_lines_take_dimensions(shared_site: Site) -> None:
    dimension = shared_site.make.names.dimension
    shared_site.needs_capability("dimensions")
    assert dimension is not None
    entry = with_dimension(shared_site.make.purchase(), dimension)
    is_recorded((await shared_site.record(entry))[0], entry)
    (booked,) = shared_site.hold(entry)
    assert booked.dimensions == {dimension}


async def test_the_side_that_settles_takes_dimensions_too(shared_site: Site) -> None:
    """What is owed to employees says to whom: on the counter line of an entry, and of a payment of a bill."""
    shared_site.needs_capability("dimensions")
    dimension, make = shared_site.make.names.dimension, shared_site.make
    assert dimension is not None
    purchase = make.purchase()
    *costs, counter = purchase.lines
    entries: list[Entry] = [replace(purchase, lines=(*costs, replace(counter, dimensions=(dimension,))))]
    if shared_site.limits.bills:
        bill = make.bill(BILL, PAYMENT)
        claim, payment = bill.documents
        owed, paid = payment.lines
        payment = replace(payment, lines=(owed, replace(paid, dimensions=(dimension,))))
        entries.append(replace(bill, documents=(claim, payment)))
    all_recorded(await shared_site.record(*entries), entries)
    assert [booked.dimensions for booked in shared_site.hold(*entries)] == [{dimension}] * len(entries)


async def test_a_job_may_be_finished_any_number_of_times(shared_site: Site) -> None:
    entry = shared_site.make.purchase()
    await shared_site.record(entry)
    await shared_site.erp.finish_job()
    await shared_site.erp.finish_job()
    shared_site.hold(entry)
