"""Bills and payments of two rates, and of more than two documents, in a real Odoo, which books differences itself."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Bill, DocumentKind, Recorded
from blocks.erp.odoo.client import Protocol
from blocks.erp.odoo.settlement import ExchangeAccounts
from tests.support.erp.contract.books import all_recorded, books_hold
from tests.support.erp.contract.entries import BILL, CREDIT_NOTE, PAYMENT, REFUND, Maker
from tests.support.erp.contract.runner import ready
from tests.support.erp.odoo.harness import NAMES, OdooHarness, an_odoo
from tests.support.erp.odoo.server import OdooServer

pytestmark = pytest.mark.slow

ODOOS = "3610"
"""What the Danish chart has for gains and for losses alike."""

EXCHANGE_LINES = """
    select a.code_store ->> l.company_id::text, l.balance, m.state, m.date from account_partial_reconcile p
    join account_move m on m.id = p.exchange_move_id join account_move_line l on l.move_id = m.id
    join account_account a on a.id = l.account_id
    where m.id > %s order by 1 desc
"""


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Entries of the test's own."""
    return Maker(NAMES, str(uuid.uuid4()), tmp_path)


def at_rate(entry: Bill, rate_percent: int) -> Bill:
    """The bill in euros, each of which is worth so many hundredths of a krone."""
    documents = [
        replace(
            one,
            lines=tuple(
                replace(line, company_minor=(line.debit_minor + line.credit_minor) * rate_percent // 100)
                for line in one.lines
            ),
        )
        for one in entry.documents
    ]
    return replace(entry, documents=tuple(documents))


def of_two_rates(make: Maker, kinds: Sequence[DocumentKind], rates: Sequence[int]) -> list[Bill]:
    """Documents of a hundred euros of one invoice, each at its own rate."""
    number = make.id()
    given: dict[str, Any] = {"amount_minor": 10_000, "currency": "EUR", "invoice_number": number}
    return [at_rate(make.bill(kind, **given), rate) for kind, rate in zip(kinds, rates, strict=True)]


async def recorded(
    server: OdooServer, entries: Sequence[Bill], exchange: ExchangeAccounts, protocol: Protocol = Protocol.AUTO
) -> list[Recorded]:
    """What stands once an adapter that is set up so has recorded them, one by one, and looked at them again."""
    user = server.company["users"]["pleo"]
    erp = an_odoo(server.base_url, server.database, user["login"], user["key"], protocol, exchange=exchange)
    await ready(erp, NAMES.company_id)
    try:
        for entry in entries:
            all_recorded(await erp.record([entry]), [entry])
        assert await erp.post([entry.accounting_entry_id for entry in entries]) == []
        found = await erp.find([entry.accounting_entry_id for entry in entries])
    finally:
        await erp.close()
    books_hold(OdooHarness(server), entries)
    return [found[entry.accounting_entry_id] for entry in entries]


def exchange_lines(server: OdooServer, entries: Sequence[Recorded]) -> list[tuple[Any, ...]]:
    """The lines of what Odoo booked of itself since these entries."""
    last = max(int(one.external_id.partition(",")[2]) for one in entries)
    return [
        (code, int(100 * balance), state, str(day)) for code, balance, state, day in server.sql(EXCHANGE_LINES, (last,))
    ]


@pytest.mark.parametrize("protocol", [Protocol.AUTO, Protocol.XMLRPC], ids=["json", "xml"])
@pytest.mark.parametrize(
    ("kinds", "rates", "loss"),
    [
        ((BILL, PAYMENT), (740, 750), 1000),
        ((PAYMENT, BILL), (740, 750), -1000),
        ((CREDIT_NOTE, REFUND), (740, 750), -1000),
    ],
    ids=["loss", "gain", "credit note"],
)
async def test_what_two_rates_leave_is_booked_by_odoo_on_the_account_that_both_name(
    shared_odoo: OdooServer,
    make: Maker,
    protocol: Protocol,
    kinds: Sequence[DocumentKind],
    rates: Sequence[int],
    loss: int,
) -> None:
    entries = of_two_rates(make, kinds, rates)
    stands = await recorded(shared_odoo, entries, ExchangeAccounts(ODOOS, ODOOS), protocol)
    assert [(one.settled, one.open_because) for one in stands] == [(True, "")] * 2
    assert exchange_lines(shared_odoo, stands) == [
        (ODOOS, loss, "posted", "2026-10-31"),
        (NAMES.payable.code, -loss, "posted", "2026-10-31"),
    ]


@pytest.mark.parametrize(
    ("rates", "exchange", "why"),
    [
        ((740, 750), ExchangeAccounts(), "10.00 DKK of exchange loss would be left, which Odoo books on 3610: set "),
        (
            (740, 750),
            ExchangeAccounts(gain=ODOOS),
            "10.00 DKK of exchange loss would be left, which Odoo books on 3610",
        ),
        ((740, 750), ExchangeAccounts(loss="6930"), "set exchange_loss_account to that, or choose another in Odoo"),
        (
            (750, 740),
            ExchangeAccounts(loss=ODOOS),
            "10.00 DKK of exchange gain would be left, which Odoo books on 3610",
        ),
    ],
    ids=["none", "gains alone", "another one", "losses alone"],
)
async def test_where_the_settings_do_not_name_odoo_s_account_both_stay_open_and_it_is_told_why(
    shared_odoo: OdooServer, make: Maker, rates: Sequence[int], exchange: ExchangeAccounts, why: str
) -> None:
    stands = await recorded(shared_odoo, of_two_rates(make, (BILL, PAYMENT), rates), exchange)
    assert [one.settled for one in stands] == [False, False]
    assert [one.counterparts for one in stands] == [(stands[1].external_id,), (stands[0].external_id,)]
    assert all(why in one.open_because for one in stands), stands
    assert exchange_lines(shared_odoo, stands) == []
