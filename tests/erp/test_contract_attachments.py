"""The contract: files hang on their entries once, as they are, and where they are required no entry stands without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from blocks.erp.entries import Attachment, Entry, NotAttached, Recorded
from blocks.erp.errors import RefusalKind
from tests.support.erp.contract.books import hashes_of, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, DRAFT, PAYMENT
from tests.support.erp.contract.harness import How
from tests.support.erp.contract.site import Site

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = 1000


@pytest.fixture
def site_with_files(shared_site: Site) -> Site:
    """The shared ERP, if its entries take files at all; what it does otherwise the tests on its limits show."""
    if shared_site.limits.max_attachments == 0:
        pytest.skip(f"the {shared_site.limits.name} declares max_attachments=0")
    return shared_site


def _some_files(site: Site, most: int = 3) -> tuple[Attachment, ...]:
    """As many files as an entry takes here, up to `most`."""
    return site.make.files(*range(1, min(most, site.limits.max_attachments or most) + 1))


async def test_entries_are_recorded_with_their_files(site_with_files: Site) -> None:
    files = _some_files(site_with_files)
    entry, bare = site_with_files.make.purchase(attachments=files), site_with_files.make.purchase()
    with_files, without = await site_with_files.record(entry, bare)
    numbers = frozenset(one.number for one in files)
    recorded = is_recorded(with_files, entry)
    assert (recorded.attached, recorded.not_attached) == (numbers, ())
    assert is_recorded(without, bare).attached == frozenset()
    booked = site_with_files.hold(entry, bare)
    assert [one.files for one in booked] == [hashes_of(files), ()]
    assert [one.attached for one in await site_with_files.find(entry, bare)] == [numbers, frozenset()]


async def test_a_file_is_attached_once(site_with_files: Site) -> None:
    """Its number tells which one it is, whatever its bytes are now, in this run and in the next."""
    first, *others = files = _some_files(site_with_files, 2)
    entry = site_with_files.make.purchase()
    await site_with_files.record(entry)
    id_ = entry.accounting_entry_id
    assert await site_with_files.erp.attach(id_, [first]) == []
    assert await site_with_files.erp.attach(id_.upper(), files) == []
    again = site_with_files.make.file(1, b"%PDF-1.7 another one of the same number")
    assert await site_with_files.erp.attach(id_, [again, *others]) == []
    await site_with_files.connection.open()
    assert await site_with_files.erp.attach(id_, [again]) == []
    assert [one.files for one in site_with_files.hold(entry)] == [hashes_of(files)]
    assert [one.attached for one in await site_with_files.find(entry)] == [frozenset(one.number for one in files)]


async def test_an_entry_that_stands_gets_no_files_by_being_recorded_again(site_with_files: Site) -> None:
    file = site_with_files.make.file()
    entry = site_with_files.make.purchase()
    await site_with_files.record(entry)
    again = is_recorded((await site_with_files.record(replace(entry, attachments=(file,))))[0], entry, found=True)
    assert again.attached == frozenset()
    assert [one.files for one in site_with_files.hold(entry)] == [()]


async def test_drafts_and_bills_take_files_later(site_with_files: Site) -> None:
    file = site_with_files.make.file()
    entries: list[Entry] = []
    if site_with_files.limits.drafts:
        entries.append(site_with_files.make.purchase(state=DRAFT))
    if site_with_files.limits.bills:
        entries += [
            site_with_files.make.bill(BILL),
            site_with_files.make.bill(BILL, PAYMENT),
            site_with_files.make.bill(PAYMENT),
        ]
    await site_with_files.record(*entries)
    for entry in entries:
        assert await site_with_files.erp.attach(entry.accounting_entry_id, [file]) == []
    assert [one.files for one in site_with_files.hold(*entries)] == [hashes_of([file])] * len(entries)
    assert [one.attached for one in await site_with_files.find(*entries)] == [{1}] * len(entries)


async def test_one_file_under_two_numbers_and_on_two_entries_hangs_on_each(site_with_files: Site) -> None:
    if site_with_files.limits.max_attachments is not None:
        pytest.skip(
            f"the {site_with_files.limits.name} declares max_attachments={site_with_files.limits.max_attachments}"
        )
    file = site_with_files.make.file(1)
    entries = [
        site_with_files.make.purchase(attachments=(file, replace(file, number=2))),
        site_with_files.make.purchase(),
    ]
    await site_with_files.record(*entries)
    assert await site_with_files.erp.attach(entries[1].accounting_entry_id, [file]) == []
    assert [one.files for one in site_with_files.hold(*entries)] == [hashes_of([file, file]), hashes_of([file])]


async def test_names_and_bytes_of_every_sort_are_kept(site_with_files: Site) -> None:
    contents = [b"", b"\0" * 5000, bytes(range(256)) * 40]
    names = ["../../etc/passwd.pdf", "مرفق 收据 👍.pdf", "a" * 200 + ".pdf"]
    entries = [
        site_with_files.make.purchase(attachments=(site_with_files.make.file(1, content, name=name),))
        for content, name in zip(contents, names, strict=True)
    ]
    for outcome, entry in zip(await site_with_files.record(*entries), entries, strict=True):
        assert is_recorded(outcome, entry).not_attached == ()
    assert [one.files for one in site_with_files.hold(*entries)] == [hashes_of(entry.attachments) for entry in entries]


async def test_an_unknown_entry_takes_no_files(site_with_files: Site) -> None:
    file = site_with_files.make.file()
    before = site_with_files.harness.footprint()
    (refused,) = await site_with_files.erp.attach(site_with_files.make.id(), [file])
    assert (refused.number, refused.too_large) == (1, False)
    assert site_with_files.harness.footprint() == before


async def test_a_file_of_the_largest_size_is_taken(site_with_files: Site) -> None:
    file = site_with_files.make.file(1, b"%PDF-1.7\n".ljust(site_with_files.limits.max_attachment_bytes, b"x"))
    entry = site_with_files.make.purchase(attachments=(file,), attachments_required=True)
    assert is_recorded((await site_with_files.record(entry))[0], entry).attached == {1}
    assert [one.files for one in site_with_files.hold(entry)] == [hashes_of([file])]


@pytest_asyncio.fixture(loop_scope="module")
async def site_with_small_files(site_with_files: Site) -> AsyncIterator[Site]:
    """The shared ERP with an Erp that takes small files only."""
    await site_with_files.connection.open(How(max_attachment_bytes=SMALL))
    yield site_with_files
    await site_with_files.connection.open()


bad_files = pytest.mark.parametrize("how", ["too large", "vanished", "other bytes"])


@bad_files
@pytest.mark.parametrize("bills", [False, True], ids=["journal entry", "bill"])
async def test_where_files_are_required_nothing_stands_of_an_entry_that_lacks_one(
    site_with_small_files: Site, how: str, bills: bool
) -> None:
    site, make = site_with_small_files, site_with_small_files.make
    if bills:
        site.needs_capability("bills")
    good, bad = _files_with_a_bad_one(site, how)
    entry = (make.bill if bills else make.purchase)(attachments=(*good, bad), attachments_required=True)
    before = site.harness.footprint()
    kind = RefusalKind.ATTACHMENT_TOO_LARGE if how == "too large" else RefusalKind.ATTACHMENT_REFUSED
    is_refused((await site.erp.record([entry]))[0], entry, kind)
    assert site.harness.footprint() == before
    assert await site.erp.find([entry.accounting_entry_id]) == {}

    file = make.file()
    neighbours = [make.purchase(attachments=(file,), attachments_required=True) for _ in range(2)]
    first, refused, last = await site.erp.record([neighbours[0], entry, neighbours[1]])
    is_refused(refused, entry, kind)
    assert is_recorded(first, neighbours[0]).attached == is_recorded(last, neighbours[1]).attached == {1}
    mended = replace(entry, attachments=(file,))
    assert is_recorded((await site.erp.record([mended]))[0], mended).attached == {1}
    assert [one.files for one in site.hold(*neighbours, mended)] == [hashes_of([file])] * 3


@bad_files
async def test_where_files_are_optional_an_entry_stands_with_those_that_can_be_attached(
    site_with_small_files: Site, how: str
) -> None:
    site = site_with_small_files
    good, bad = _files_with_a_bad_one(site, how)
    entry = site.make.purchase(attachments=(*good, bad))
    recorded = is_recorded((await site.erp.record([entry]))[0], entry)
    assert recorded.attached == {one.number for one in good}
    _is_not_attached(recorded.not_attached, bad, too_large=how == "too large")
    assert [one.files for one in site.hold(entry)] == [hashes_of(good)]


@bad_files
async def test_a_file_that_is_refused_later_leaves_its_entry_and_the_other_files(
    site_with_small_files: Site, how: str
) -> None:
    site = site_with_small_files
    good, bad = _files_with_a_bad_one(site, how)
    entry = site.make.purchase()
    await site.record(entry)
    refused = await site.erp.attach(entry.accounting_entry_id, [bad, *good])
    _is_not_attached(refused, bad, too_large=how == "too large")
    assert [one.files for one in site.hold(entry)] == [hashes_of(good)]
    assert [one.attached for one in await site.find(entry)] == [{one.number for one in good}]


async def test_an_entry_takes_as_many_files_as_its_limits_say(shared_site: Site) -> None:
    most = shared_site.limits.max_attachments
    files = shared_site.make.files(*range(1, 13 if most is None else most + 2))
    entry = shared_site.make.purchase(attachments=files)
    recorded = is_recorded((await shared_site.erp.record([entry]))[0], entry)
    taken = files if most is None else files[:most]
    assert recorded.attached == frozenset(one.number for one in taken)
    assert [one.number for one in recorded.not_attached] == [one.number for one in files[len(taken) :]]
    assert [one.files for one in shared_site.hold(entry)] == [hashes_of(taken)]
    if most is not None:
        refused = shared_site.make.purchase(attachments=files, attachments_required=True)
        is_refused((await shared_site.erp.record([refused]))[0], refused, RefusalKind.ATTACHMENT_REFUSED)
        shared_site.lack(refused)


async def test_all_files_in_one_have_the_number_0(shared_site: Site) -> None:
    most = shared_site.limits.max_attachments
    if not most:
        pytest.skip(f"the {shared_site.limits.name} declares max_attachments={most}, and so never gets all in one")
    bundle = shared_site.make.file(0)
    entry = shared_site.make.purchase(attachments=(bundle,), attachments_required=True)
    assert is_recorded((await shared_site.record(entry))[0], entry).attached == {0}
    assert [one.attached for one in await shared_site.find(entry)] == [{0}]
    assert [one.files for one in shared_site.hold(entry)] == [hashes_of([bundle])]


async def test_files_are_of_the_types_that_the_limits_say(site_with_files: Site) -> None:
    types = site_with_files.limits.attachment_types
    taken = "application/pdf" if types is None else min(types)
    other = "application/x-not-a-type"
    entries = [
        site_with_files.make.purchase(attachments=(site_with_files.make.file(media_type=one),))
        for one in (taken, other)
    ]
    first, second = await site_with_files.erp.record(entries)
    assert is_recorded(first, entries[0]).attached == {1}
    assert is_recorded(second, entries[1]).attached == (frozenset() if types else {1})
    if types:
        assert isinstance(second, Recorded)
        _is_not_attached(second.not_attached, entries[1].attachments[0], too_large=False)


def _files_with_a_bad_one(site: Site, how: str) -> tuple[tuple[Attachment, ...], Attachment]:
    """A good file, where an entry takes more than one, and a bad one."""
    good = site.make.files(1) if site.limits.max_attachments is None or site.limits.max_attachments > 1 else ()
    number = len(good) + 1
    if how == "too large":
        return good, site.make.file(number, b"x" * (SMALL + 1))
    bad = site.make.file(number)
    if how == "vanished":
        bad.path.unlink()
    else:
        bad.path.write_bytes(b"x" * bad.size)
    return good, bad


def _is_not_attached(refused: Sequence[NotAttached], file: Attachment, *, too_large: bool) -> None:
    """Just this file is refused, in words for one line that tell nothing of this machine."""
    (one,) = refused
    assert (one.number, one.too_large) == (file.number, too_large)
    assert one.message.strip()
    assert len(one.message.splitlines()) == 1
    assert str(file.path.parent) not in one.message
