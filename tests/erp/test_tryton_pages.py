"""The links that Pleo is told, followed in Tryton's own web client in a real browser, as a bookkeeper follows them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.tryton.block import TrytonSettings
from flows.settings import read_settings_of
from tests.support.chromium import CHROMIUM, MISSING, Page, a_page
from tests.support.erp.tryton.environment import TrytonUnavailable
from tests.support.erp.tryton.pages import log_in, shown
from tests.support.erp.tryton.server import Tryton
from tests.support.erp.tryton.web import web_client
from tests.support.exporting import office
from tests.support.pleo.pleo_items import an_item, line, money, payable, vendor
from tests.support.processes import ROOT

SETTINGS = ROOT / "tests" / "support" / "erp" / "tryton" / "settings.toml"
WIDTH, HEIGHT = 1800, 1000

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]


def _taxed(net: int, tax: int, currency: str) -> dict[str, Any]:
    """A line of that net amount, with 25 % tax beside it, in hundredths."""
    amounts = {"amount": money(tax, currency), "ingoingTaxAccount": "7910"}
    told = {"type": "exclusive", "code": "I25", "rate": 0.25, **amounts}
    return line(net + tax, currency, netAmount=money(net, currency), tax=told)


PURCHASE = an_item(1, value=125_000, accountingEntryLines=[_taxed(100_000, 25_000, "DKK")], supplier={"name": "DSB"})
BILL = payable(
    2,
    "invoice",
    amount=money(10_000, "EUR"),
    contraAccount=None,
    accountingEntryLines=[_taxed(8_000, 2_000, "EUR")],
    vendor=vendor("V0001"),
    additionalInformation={
        "reconciliationId": "BOOK-2",
        "invoiceInformation": {"invoiceNumber": "F-17", "invoiceDate": "2026-10-01", "status": "unpaid"},
    },
)


@dataclass(frozen=True)
class Exported:
    """What Pleo was told of the two expenses, and who may look at them."""

    links: dict[str, str]
    login: str
    password: str


@pytest.fixture(scope="module")
def web() -> Path:
    """The folder of the web client."""
    try:
        return web_client()
    except TrytonUnavailable as missing:
        told = f"Tryton cannot be brought up here: {missing}"
        if os.environ.get("PLEO_EXPORT_REQUIRE_TRYTON") == "1":
            pytest.fail(told, pytrace=False)
        pytest.skip(told)


@pytest.fixture(scope="module")
def exported(web: Path, tryton_session: Tryton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """A Tryton with a web client, into which two expenses were exported."""
    with (
        tryton_session.server(web=web) as server,
        office(tmp_path_factory.mktemp("pages")) as at_work,
    ):
        user = server.company["users"]["pleo"]
        names = {"base_url": server.base_url, "database": server.database, "application_key": user["key"]}
        settings = read_settings_of(TrytonSettings, SETTINGS, {**names, "attachments": "skip"})
        job_id = at_work.sandbox.add_job_of([PURCHASE, BILL], vendor_based=True)
        report = asyncio.run(at_work.export(erp=settings.connect(Path.cwd()), settings=settings))
        assert report.exit_status == 0, report.jobs[0].failures
        items = at_work.sandbox.items(job_id)
        links = {item.accounting_entry_id: str(item.external_url) for item in items}
        yield Exported(links, user["login"], user["password"])


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A browser that nobody has logged in with yet."""
    with a_page() as made:
        made.resize(WIDTH, HEIGHT)
        yield made


def test_a_bookkeeper_follows_the_links_of_a_purchase_and_of_a_bill(
    exported: Exported, page: Page, tmp_path: Path
) -> None:
    link = exported.links[PURCHASE["accountingEntryId"]]
    log_in(page, link, exported.login, exported.password)
    move = shown(page, link)
    page.picture(tmp_path / "move.png")
    assert move.record.startswith("model/account.move/")
    fields = ("Company", "Journal", "Period", "Effective Date", "Description", "State")
    assert [move.fields[label] for label in fields] == [
        "Acme ApS", "Pleo", "2026-10", "10/05/2026", f"pleo:{PURCHASE['accountingEntryId']}", "Posted",
    ]  # fmt: skip
    assert move.fields["Number"].startswith("2026/")
    assert sorted((row["Account"], row["Debit"], row["Credit"]) for row in move.rows) == [
        ("5820 - Pleo wallet DKK", "DKK 0.00", "DKK 1,250.00"),
        ("6010 - Travel: flights and trains", "DKK 1,000.00", "DKK 0.00"),
        ("7910 - Input tax", "DKK 250.00", "DKK 0.00"),
    ]

    link = exported.links[BILL["accountingEntryId"]]
    bill = shown(page, link)
    page.picture(tmp_path / "bill.png")
    assert bill.record.startswith("model/account.invoice/")
    fields = ("Type", "Journal", "Party", "Reference", "Invoice Date", "Description", "Currency", "State")
    assert [bill.fields[label] for label in fields] == [
        "Supplier", "Purchases", "DSB", "F-17", "10/01/2026", f"pleo:{BILL['accountingEntryId']}", "EUR", "Posted",
    ]  # fmt: skip
    assert [bill.fields[label] for label in ("Untaxed", "Tax", "Total")] == ["80.00", "20.00", "100.00"]
    costs, taxes = bill.rows
    assert (costs["Account"], costs["Amount"]) == ("6010 - Travel: flights and trains", "EUR 80.00")
    assert taxes["Description"] == "I25"
