"""Which of several items fail beside each other, as an accountant would say, however they are cut into pages and jobs.

The accountant goes through the items in Pleo's order with two lists: which sign each type of money back has, and which
bills are booked.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from blocks.erp.ledger import Ledger
from tests.flows.test_precedents_of_jobs import a_bill, back
from tests.support.choice import slow
from tests.support.erp.small_erp.client import SmallErp
from tests.support.erp.small_erp.server import SmallErpServer
from tests.support.exporting import Office
from tests.support.pleo.pleo_items import Json, an_item

SEEDS = [*range(3), *slow(*range(3, 30))]


@dataclass
class Accountant:
    """`signs` and `bills` are what the books hold."""

    signs: dict[str, set[int]] = field(default_factory=dict)
    bills: dict[str, list[int]] = field(default_factory=dict)

    def refuses(self, job: list[Json]) -> set[str]:
        """The items of one job that are not booked, by id."""
        seen: dict[str, int] = {}
        for item in job:
            if item["type"] in ("chargeback", "refund"):
                seen.setdefault(item["type"], _sign(item))
        before = {type_: set(signs) for type_, signs in self.signs.items()}
        refused: set[str] = set()
        for item in job:
            if not self._books(item, before, seen):
                refused.add(item["accountingEntryId"])
        return refused

    def _books(self, item: Json, before: dict[str, set[int]], seen: dict[str, int]) -> bool:
        type_, value = item["type"], item["amount"]["inWalletCurrency"]["value"]
        if not item["accountingEntryLines"]:
            return False
        if type_ == "invoice":
            number = item["additionalInformation"]["invoiceInformation"]["invoiceNumber"]
            booked = self.bills.setdefault(number, [])
            if value in booked:
                return False
            booked.append(value)
        elif type_ != "card_purchase":
            known = before.get(type_) or {seen[type_]}
            if -_sign(item) in known:
                return False
            self.signs.setdefault(type_, set()).add(_sign(item))
        return True


def drawn(seed: int) -> list[Json]:
    """Items that often stand in each other's way."""
    rng = random.Random(seed)
    items: list[Json] = []
    for number in range(1, 19):
        match rng.choice(("chargeback", "refund", "bill", "bill", "purchase")):
            case "bill":
                items.append(a_bill(number, rng.choice((100, 200)), rng.choice("ABC")))
            case "purchase":
                items.append(an_item(number, value=rng.choice((-100, 100))))
            case money_back:
                items.append(back(number, rng.choice((-100, 100)), money_back))
        if rng.random() < 0.15:
            items[-1]["accountingEntryLines"] = []
    return items


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_same_items_fail_however_they_are_cut(at_work: Office, erp: SmallErpServer, seed: int) -> None:
    items, cut = drawn(seed), 1 + seed % 17
    first = at_work.sandbox.add_job_of(items, vendor_based=True)
    await at_work.export(erp=Ledger(at_work.books))

    async def failing(job: list[Json], books: Ledger | SmallErp, page_size: int) -> set[str]:
        again = at_work.sandbox.export_again(first, [item["accountingEntryId"] for item in job])
        (told,) = (await at_work.export(erp=books, page_size=page_size, job_id=again)).jobs
        return {one.accounting_entry_id for one in told.failures}

    for page_size, jobs in ((100, [items]), (1, [items]), (4, [items[:cut], items[cut:]])):
        accountant, books = Accountant(), at_work.books.with_name(f"{page_size}.sqlite")
        for job in jobs:
            assert await failing(job, Ledger(books), page_size) == accountant.refuses(job), page_size
    assert await failing(items, SmallErp(erp.base_url), 5) == Accountant().refuses(items)


def _sign(item: Json) -> int:
    return 1 if item["amount"]["inWalletCurrency"]["value"] > 0 else -1
