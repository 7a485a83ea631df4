"""The contract: what an ERP says of itself and of what entries may name, and that looking changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocks.erp.errors import ErpConfigurationError, RefusalKind
from blocks.erp.reference import Role
from tests.support.erp.contract.books import all_recorded, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, DRAFT, NO_ACCOUNT, NO_TAX_CODE, NO_VENDOR, POSTED, with_account
from tests.support.erp.contract.harness import Lever
from tests.support.erp.contract.runner import ready
from tests.support.erp.contract.site import Site

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_COMPANY = "0b5cf1f5-1c43-4ff5-8f0f-2f7d4c6f9a22"


async def test_an_erp_describes_itself_before_and_after_it_is_opened(shared_site: Site) -> None:
    unopened = shared_site.harness.connection()()
    limits, known = unopened.describe(), shared_site.limits
    assert replace(limits, bills=known.bills, reverses=known.reverses) == known
    assert limits.bills >= known.bills  # a server may lack a module
    assert limits.reverses >= known.reverses
    assert limits.name.strip()
    assert limits.max_entries >= 1
    assert min(limits.max_description, limits.max_reference, limits.max_detail) >= 40
    assert limits.max_amount_minor >= 10**11  # a billion
    assert limits.max_attachments is None or limits.max_attachments >= 0
    assert limits.max_attachments == 0 or limits.max_attachment_bytes >= 1_000_000
    await unopened.close()


async def test_the_harness_has_the_levers_and_names_that_go_with_what_the_erp_declares(shared_site: Site) -> None:
    """So that no case is passed over that can arise."""
    limits, levers, names = shared_site.limits, shared_site.harness.levers, shared_site.harness.names
    assert (Lever.STOP in levers, Lever.KILL in levers) == (limits.remote, limits.remote)
    assert (Lever.REVOKE in levers) == limits.logs_in
    assert (names.dimension is not None) == limits.dimensions
    reference = await shared_site.erp.load_reference()
    assert reference.periods is None or Lever.CLOSE_PERIOD in levers


async def test_the_reference_has_what_can_be_booked_with_and_nothing_else(shared_site: Site) -> None:
    reference, names = await shared_site.erp.load_reference(), shared_site.harness.names
    if reference.chart is not None:
        accounts = [names.expense, names.input_tax, names.output_tax, names.payable, *names.wallets.values()]
        assert [account.code for account in accounts if account.code not in reference.chart] == []
        assert reference.chart.find(names.expense.code) == names.expense
        assert NO_ACCOUNT not in reference.chart
    if reference.tax_codes is not None:
        assert names.tax_code in reference.tax_codes
        assert NO_TAX_CODE not in reference.tax_codes
    if reference.dimensions is not None and names.dimension is not None:
        assert names.dimension.code in reference.dimensions[names.dimension.group]
    if reference.vendors is not None:
        known = reference.vendors.by_code(names.vendor.code)
        assert known is not None
        assert (known.vendor, known.blocked) == (names.vendor, False)
        assert reference.vendors.by_code(NO_VENDOR) is None
        blocked = reference.vendors.by_code(names.blocked_vendor.code) if names.blocked_vendor else None
        assert blocked is None or blocked.blocked
    if reference.periods is not None:
        days = [names.open_day, names.closing_day, names.closed_day]
        assert [reference.periods.is_open(day) for day in days] == [True, True, False]
    assert reference.company_currency in (None, names.currency)
    if reference.company_currency is not None:
        assert reference.rates is not None
        assert reference.rates(names.second_currency, names.open_day) == names.rate
        assert reference.rates(names.currency, names.open_day) == 1
        assert reference.rates("XTS", names.open_day) is None
    assert all(role in Role for role in reference.roles)


async def test_looking_changes_nothing(shared_site: Site) -> None:
    entries = shared_site.make.purchases(2)
    all_recorded(await shared_site.record(entries[0]), entries[:1])
    before = shared_site.harness.footprint()
    assert any(before.values())
    await shared_site.erp.validate()
    await shared_site.erp.load_reference()
    shared_site.erp.check(entries[1])
    shared_site.erp.check(with_account(entries[1], NO_ACCOUNT))
    await shared_site.erp.find([entry.accounting_entry_id for entry in entries])
    assert shared_site.harness.footprint() == before


async def test_a_dry_run_sees_everything_and_writes_nothing(shared_site: Site) -> None:
    stands, new, draft = (shared_site.make.purchase(state=state) for state in (POSTED, POSTED, DRAFT))
    recorded = [stands, draft] if shared_site.limits.drafts else [stands]
    before = shared_site.harness.footprint()
    all_recorded(await shared_site.record(*recorded), recorded)
    between = shared_site.harness.footprint()
    assert between != before

    erp = await shared_site.connection.open(dry_run=True)
    try:
        assert erp.check(new) is None
        is_refused(erp.check(with_account(new, NO_ACCOUNT)), new, RefusalKind.UNKNOWN_ACCOUNT, NO_ACCOUNT)
        all_recorded(await shared_site.find(*recorded), recorded, found=True)
        assert await erp.find([new.accounting_entry_id]) == {}
        with pytest.raises(RuntimeError):  # whoever calls these made a mistake
            await erp.record([new])
        with pytest.raises(RuntimeError):
            await erp.attach(stands.accounting_entry_id, [shared_site.make.file()])
        with pytest.raises(RuntimeError):
            await erp.post([draft.accounting_entry_id])
        await erp.finish_job()
        assert shared_site.harness.footprint() == between
    finally:
        await shared_site.connection.open()
    shared_site.hold(*recorded)
    shared_site.lack(new)


async def test_a_dry_run_on_books_that_nobody_has_used_yet(site: Site) -> None:
    """A new ERP of the test's own has been opened once by then; nothing is recorded in it."""
    before = site.harness.footprint()
    await site.connection.open(dry_run=True)
    entry = site.make.bill(BILL) if site.limits.bills else site.make.purchase()
    assert site.erp.check(entry) is None
    assert await site.erp.find([entry.accounting_entry_id]) == {}
    assert site.harness.footprint() == before


async def test_books_of_one_company_are_not_opened_for_another(shared_site: Site) -> None:
    if not shared_site.limits.one_company:
        pytest.skip(f"the {shared_site.limits.name} declares one_company=False")
    entry = shared_site.make.purchase()
    (recorded,) = all_recorded(await shared_site.record(entry), [entry])
    assert shared_site.erp.company() == shared_site.harness.names.company_id
    before = shared_site.harness.footprint()
    await shared_site.connection.close()
    try:
        with pytest.raises(ErpConfigurationError):
            await ready(shared_site.harness.connection()(), OTHER_COMPANY)
        assert shared_site.harness.footprint() == before
    finally:
        await shared_site.connection.open()
    assert await shared_site.find(entry) == [replace(recorded, found=True)]


async def test_what_was_closed_can_be_closed_again_and_opened_anew(shared_site: Site) -> None:
    erp = shared_site.erp
    await erp.close()
    await erp.close()
    await shared_site.connection.open()
    entry = shared_site.make.purchase()
    is_recorded((await shared_site.record(entry))[0], entry)
    shared_site.hold(entry)
