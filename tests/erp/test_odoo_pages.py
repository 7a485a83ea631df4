"""The links that Pleo is told, followed in Odoo's own web client in a real browser, as a bookkeeper follows them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from blocks.erp.entries import Recorded
from tests.support.chromium import CHROMIUM, MISSING, a_page
from tests.support.erp.contract.entries import BILL, Maker
from tests.support.erp.contract.runner import ready
from tests.support.erp.odoo.harness import NAMES, OdooHarness
from tests.support.erp.odoo.pages import log_in, shown
from tests.support.erp.odoo.server import OdooServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]


async def test_a_bookkeeper_follows_the_links_of_a_purchase_and_of_a_bill(odoo: OdooServer, tmp_path: Path) -> None:
    make = Maker(NAMES, str(uuid.uuid4()), tmp_path)
    purchase = make.purchase(125_000, tax_minor=25_000, attachments=make.files(1), description="Train to Aarhus")
    bill = make.bill(BILL, amount_minor=10_003, tax_minor=1_999, currency="EUR", invoice_number="F-17")
    erp = await ready(OdooHarness(odoo).connection()(), NAMES.company_id)
    outcomes = await erp.record([purchase, bill])
    await erp.close()
    links = [one.url for one in outcomes if isinstance(one, Recorded)]
    user = odoo.company["users"]["pleo"]
    pictures = Path(os.environ.get("PLEO_EXPORT_PICTURES", tmp_path))
    with a_page() as page:
        page.resize(1800, 1000)
        log_in(page, links[0], user["login"], user["password"])
        move = shown(page, links[0])
        page.picture(pictures / "odoo-move.png")
        paper = shown(page, links[1])
        page.picture(pictures / "odoo-bill.png")

    assert (move.state, move.fields["date"]) == ("Posted", "Oct 5")
    assert move.fields["ref"] == f"Train to Aarhus ({purchase.reference})"
    assert [(row["account_id"], row["debit"], row["credit"]) for row in move.rows] == [
        ("6010 Travel: flights and trains", "kr 1,000.00", "kr 0.00"),
        ("7910 Input tax", "kr 250.00", "kr 0.00"),
        ("5820 Pleo wallet DKK", "kr 0.00", "kr 1,250.00"),
    ]
    assert (paper.state, paper.fields["ref"]) == ("Posted", "F-17")
    assert paper.fields["partner_id"].split()[0] == "DSB"  # its tax number is shown beside it
    assert [(row["account_id"], row["debit"], row["credit"]) for row in paper.rows] == [
        ("6010 Travel: flights and trains", "kr 597.00", "kr 0.00"),
        ("7910 Input tax", "kr 149.10", "kr 0.00"),
        ("2900 Accounts payable", "kr 0.00", "kr 746.10"),
    ]
