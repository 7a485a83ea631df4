"""The contract: entries in the company's currency and in another one, with what they are worth in the company's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocks.erp.entries import Entry
from blocks.erp.errors import RefusalKind
from tests.support.erp.contract.books import all_recorded, is_recorded, is_refused
from tests.support.erp.contract.entries import BILL, CREDIT_NOTE, DRAFT, PAYMENT, POSTED
from tests.support.erp.contract.site import Site

pytest_plugins = ["tests.support.erp.contract.fixtures"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def _entries(site: Site) -> list[Entry]:
    make, second = site.make, site.make.names.second_currency
    made: list[Entry] = [
        make.purchase(),
        make.purchase(currency=second),
        make.purchase(-999, tax_minor=7, currency=second),
    ]
    if site.limits.drafts:
        made.append(make.purchase(currency=second, state=DRAFT))
    if site.limits.bills:
        made += [
            make.bill(BILL, currency=second),
            make.bill(CREDIT_NOTE, currency=second, amount_minor=333, tax_minor=1),
            make.bill(BILL, PAYMENT, currency=second, invoice_number=f"eur-{make.id()}"),
        ]
    return made


async def test_each_entry_stands_in_its_own_currency_and_the_company_s(shared_site: Site) -> None:
    entries = _entries(shared_site)
    recorded = all_recorded(await shared_site.record(*entries), entries)
    shared_site.hold(*entries)
    await shared_site.connection.open()
    assert await shared_site.find(*entries) == [replace(one, found=True) for one in recorded]


async def test_a_bill_and_its_payment_in_another_currency_settle_each_other(shared_site: Site) -> None:
    shared_site.needs_capability("bills")
    make, second = shared_site.make, shared_site.make.names.second_currency
    number = f"eur-{make.id()}"
    bill, payment = (make.bill(kind, currency=second, invoice_number=number) for kind in (BILL, PAYMENT))
    together = make.bill(BILL, PAYMENT, currency=second, invoice_number=f"{number}-2")
    all_recorded(await shared_site.record(bill, payment, together), [bill, payment, together])
    assert [one.settled for one in await shared_site.find(bill, payment, together)] == [True] * 3
    assert [one.settled for one in shared_site.hold(bill, payment, together, state=POSTED)] == [True] * 3


async def test_amounts_in_a_currency_that_the_company_has_not_got_are_refused(shared_site: Site) -> None:
    entry = replace(shared_site.make.purchase(), currency="XTS")
    assert shared_site.erp.check(entry) is not None
    is_refused((await shared_site.erp.record([entry]))[0], entry, RefusalKind.OTHER)
    shared_site.lack(entry)


async def test_a_zero_in_another_currency(shared_site: Site) -> None:
    entry = shared_site.make.purchase(0, tax_minor=0, currency=shared_site.make.names.second_currency)
    is_recorded((await shared_site.record(entry))[0], entry)
    shared_site.hold(entry)


async def test_cents_that_are_worth_nothing_in_the_company_s_currency_or_much(shared_site: Site) -> None:
    """What a rate makes of an amount is not the ERP's business: the worth comes with the entry."""
    make = shared_site.make
    entry = make.purchase(100, tax_minor=0, currency=make.names.second_currency)
    entries = [
        replace(
            entry, accounting_entry_id=make.id(), lines=tuple(replace(one, company_minor=worth) for one in entry.lines)
        )
        for worth in (1, 12_345_678)
    ]
    all_recorded(await shared_site.record(*entries), entries)
    shared_site.hold(*entries)
