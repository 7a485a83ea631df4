"""Documents that come to nothing at different rates: what is left goes to an account of exchange differences."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.erp.entries import Bill, EntryState, Money, Recorded
from blocks.erp.ledger.charts import ChartFiles
from tests.blocks.erp.test_ledger_beancount import bean_check, load, sums_of_beancount, sums_of_journal, transactions
from tests.blocks.erp.test_ledger_settling import settlements
from tests.support.erp.ledger_samples import (
    BILL,
    CREDIT_NOTE,
    PAYMENT,
    REFUND,
    a_bill,
    entry_id,
    opened,
    rows,
)
from tests.support.erp.ledger_tool import a_document_at, paid_in_kroner

DRAFT, POSTED = EntryState.DRAFT, EntryState.POSTED
ACCOUNTS = ("7090", "7091")
IN_KRONER: dict[str, Any] = {"company_currency": "DKK", "exchange_accounts": ACCOUNTS}
LATER = date(2026, 4, 30)

# As the field looked at it: the balance of each account in the currency of the company.
BALANCES = """
    SELECT account, sum(CASE WHEN debit_minor > 0 THEN company_minor ELSE -company_minor END)
    FROM line GROUP BY account
"""


async def record(path: Path, *entries: Bill, **terms: Any) -> list[Recorded]:
    async with opened(path, **(terms or IN_KRONER)) as ledger:
        outcomes = await ledger.record(entries)
        await ledger.finish_job()
        found = await ledger.find([one.accounting_entry_id for one in entries])
    assert all(isinstance(one, Recorded) for one in outcomes), outcomes
    return [found[one.accounting_entry_id] for one in entries]


def exchange_lines(path: Path) -> list[tuple[Any, ...]]:
    return rows(
        path,
        "SELECT e.external_id, l.account, l.debit_minor, l.credit_minor, l.document_no, l.text FROM line AS l "
        "JOIN entry AS e ON e.id = l.entry_id WHERE l.settlement IS NOT NULL ORDER BY l.entry_id, l.line_no",
    )


def is_open(path: Path) -> list[int]:
    return [minor for (minor,) in rows(path, "SELECT open_minor FROM open_item")]


@pytest.mark.parametrize(
    ("bill", "payment", "account", "debit"),
    [(373_000, 373_500, "7091", True), (373_500, 373_000, "7090", False)],
)
@pytest.mark.parametrize("turned", [False, True])
async def test_what_is_left_of_a_bill_and_its_payment_is_a_line_of_the_entry_that_came_last(
    path: Path, bill: int, payment: int, account: str, debit: bool, turned: bool
) -> None:
    both = [a_document_at(1, BILL, 50_000, bill), a_document_at(2, PAYMENT, 50_000, payment)]
    if turned:
        both.reverse()
    (first,) = await record(path, both[0])
    (second,) = await record(path, both[1])
    assert (first.settled, second.settled, second.open_because) == (False, True, "")
    assert is_open(path) == [0, 0]
    assert exchange_lines(path) == [
        ("PX-000002", "pleo-payable", 0 if debit else 500, 500 if debit else 0, 1, "Exchange difference"),
        ("PX-000002", account, 500 if debit else 0, 0 if debit else 500, 1, "Exchange difference"),
    ]
    balances = dict(rows(path, BALANCES))
    assert balances["pleo-payable"] == 0
    assert balances[account] == (500 if debit else -500)
    assert rows(path, "SELECT currency, sum(debit_minor - credit_minor) FROM journal GROUP BY 1") == [
        ("DKK", 0),
        ("EUR", 0),
    ]
    assert rows(path, "SELECT name, kind FROM account WHERE code = ?", [account]) == [
        ("Exchange loss" if debit else "Exchange gain", "expense" if debit else "income")
    ]


async def test_a_draft_gets_the_difference_as_it_is_posted_and_is_no_edited_entry_by_it(path: Path) -> None:
    bill, payment = a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500, state=DRAFT)
    before = await record(path, bill, payment)
    assert exchange_lines(path) == []
    async with opened(path, **IN_KRONER) as ledger:
        assert await ledger.post([entry_id(2)]) == []
        found = await ledger.find([entry_id(1), entry_id(2)])
    assert [one[:2] for one in exchange_lines(path)] == [("PX-000002", "pleo-payable"), ("PX-000002", "7091")]
    for number, one in enumerate(before, 1):
        now = found[entry_id(number)]
        assert now == replace(one, state=POSTED, settled=True, open_because="")
        assert now.edits == ()


@pytest.mark.parametrize(
    ("accounts", "told"),
    [
        (("", ""), "5.00 DKK of exchange loss would be left: set exchange_loss_account"),
        (("7090", ""), "5.00 DKK of exchange loss would be left: set exchange_loss_account"),
        (
            ("", "pleo-payable"),
            "5.00 DKK of exchange loss would be left, and exchange_loss_account pleo-payable is the payable account "
            "itself",
        ),
    ],
)
async def test_without_an_account_they_stay_open_and_say_what_to_set(
    path: Path, accounts: tuple[str, str], told: str
) -> None:
    terms = {"company_currency": "DKK", "exchange_accounts": accounts}
    both = (a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500))
    found = await record(path, *both, **terms)
    assert [(one.settled, one.counterparts, one.open_because) for one in found] == [
        (False, ("PX-000002",), told),
        (False, ("PX-000001",), told),
    ]
    assert is_open(path) == [50_000, -50_000]
    async with opened(path, company_currency="DKK", exchange_accounts=("", "7091")) as ledger:
        now = await ledger.find([entry_id(1)])
    assert (now[entry_id(1)].settled, is_open(path)) == (True, [0, 0])
    async with opened(path, company_currency="DKK") as ledger:  # the books keep what they were told
        (later,) = await record_more(ledger, a_document_at(3, BILL, 100, 746, invoice_number="3"))
        (payment,) = await record_more(ledger, a_document_at(4, PAYMENT, 100, 747, invoice_number="3"))
    assert (later.settled, payment.settled) == (False, True)


async def record_more(ledger: Any, *entries: Bill) -> list[Recorded]:
    return list(await ledger.record(entries))


async def test_an_account_that_the_chart_has_not_got_is_told(path: Path, tmp_path: Path) -> None:
    chart = tmp_path / "accounts.csv"
    lines = ["code,name,type", "6000,Travel,expense", "pleo-payable,P,liability", "pleo-wallet-DKK,W,asset"]
    chart.write_text("\n".join(lines))
    charts = ChartFiles(accounts=chart)
    both = (a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500))
    (_, payment) = await record(path, *both, **IN_KRONER, charts=charts)
    assert payment.open_because == (
        "5.00 DKK of exchange loss would be left, and exchange_loss_account 7091 is not in the chart of accounts"
    )
    assert rows(path, "SELECT 1 FROM account WHERE code = '7091'") == []


async def test_a_wallet_of_another_currency_pays_an_invoice_by_what_the_supplier_asked(path: Path) -> None:
    bill = a_bill(1, BILL, state=POSTED, amount_minor=746_000, supplier=Money("EUR", 100_000))
    payment = paid_in_kroner(2, 746_650, 100_000)
    found = await record(path, bill, payment, exchange_accounts=ACCOUNTS)
    assert [one.settled for one in found] == [True, True]
    assert [one[:4] for one in exchange_lines(path)] == [
        ("PX-000002", "pleo-payable", 0, 650),
        ("PX-000002", "7091", 650, 0),
    ]
    assert sums_of_journal(path)["pleo-payable", "DKK"] == 0


async def test_a_bill_in_euro_is_paid_from_a_wallet_in_kroner_where_the_books_are_in_kroner(path: Path) -> None:
    bill, payment = a_document_at(1, BILL, 100_000, 746_000), paid_in_kroner(2, 746_650, 100_000)
    payment = replace(payment, company_currency="DKK")
    found = await record(path, bill, payment)
    assert [(one.settled, one.counterparts) for one in found] == [(True, ("PX-000002",)), (True, ("PX-000001",))]
    value = "sum(coalesce(iif(credit_minor > 0, -company_minor, company_minor), debit_minor - credit_minor))"
    assert rows(path, f"SELECT {value} FROM line WHERE account = 'pleo-payable'") == [(0,)]
    assert rows(path, f"SELECT {value} FROM line WHERE account = '7091'") == [(650,)]
    bean_check(path.with_suffix(".beancount"))


@pytest.mark.parametrize("euro", [99_999, None])
async def test_what_the_supplier_asked_must_agree(path: Path, euro: int | None) -> None:
    bill = a_bill(1, BILL, state=POSTED, amount_minor=746_000, supplier=Money("EUR", 100_000))
    payment = paid_in_kroner(2, 746_650, euro or 0)
    if euro is None:
        payment = replace(payment, supplier=None)
    found = await record(path, bill, payment, exchange_accounts=ACCOUNTS)
    assert [(one.settled, one.open_because) for one in found] == [(False, "")] * 2


async def test_books_without_a_currency_of_their_own_cannot_tell_what_euro_are_in_kroner(path: Path) -> None:
    bill = a_bill(1, BILL, state=POSTED, currency="EUR", amount_minor=100_000)
    found = await record(path, bill, paid_in_kroner(2, 746_650, 100_000), exchange_accounts=ACCOUNTS)
    assert [(one.settled, len(one.counterparts)) for one in found] == [(False, 1)] * 2


# -- groups -----------------------------------------------------------------------------------------------------------


async def test_a_bill_its_credit_note_and_its_payment_are_settled_as_one_when_they_come_to_nothing(path: Path) -> None:
    await record(path, a_bill(1, BILL, state=POSTED, amount_minor=1000))
    await record(path, a_bill(2, CREDIT_NOTE, state=POSTED, amount_minor=300))
    (payment,) = await record(path, a_bill(3, PAYMENT, state=POSTED, amount_minor=700))
    assert payment.settled
    assert settlements(path) == [{(1, 1), (2, 1), (3, 1)}]
    assert is_open(path) == [0, 0, 0]
    assert rows(path, "SELECT entry_id, json_extract(detail, '$.with') FROM history WHERE event = 'settled'") == [
        (1, "PX-000002, PX-000003"),
        (2, "PX-000001, PX-000003"),
        (3, "PX-000001, PX-000002"),
    ]


@pytest.mark.parametrize(
    "documents",
    [
        [(BILL, 1000), (CREDIT_NOTE, 300), (PAYMENT, 699)],  # not to nothing
        [(BILL, 1000), (BILL, 1000), (PAYMENT, 1000), (PAYMENT, 1000)],  # in more ways than one
        [(BILL, 600), (CREDIT_NOTE, 600), (BILL, 600), (PAYMENT, 600)],
        [(BILL, 1000), *[(PAYMENT, 100)] * 10],  # more than nine
    ],
)
async def test_what_does_not_come_to_nothing_in_one_way_alone_stays_open(
    path: Path, documents: list[tuple[Any, int]]
) -> None:
    entries = [
        a_bill(number, kind, state=POSTED, amount_minor=minor) for number, (kind, minor) in enumerate(documents, 1)
    ]
    await record(path, *entries)
    assert settlements(path) == []


async def test_a_group_at_several_rates_books_one_difference(path: Path) -> None:
    await record(
        path,
        a_document_at(1, BILL, 100_000, 746_000),
        a_document_at(2, CREDIT_NOTE, 30_000, 223_500),
        a_document_at(3, PAYMENT, 70_000, 522_900),
    )
    assert [one[:4] for one in exchange_lines(path)] == [
        ("PX-000003", "pleo-payable", 0, 400),
        ("PX-000003", "7091", 400, 0),
    ]
    balances = dict(rows(path, BALANCES))
    assert (balances["pleo-payable"], balances["7091"]) == (0, 400)


# -- reversals --------------------------------------------------------------------------------------------------------


async def test_what_settles_is_reversed_first_and_its_difference_with_it(path: Path) -> None:
    both = (a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500))
    found = await record(path, *both)
    async with opened(path, **IN_KRONER) as ledger:
        (refused,) = await ledger.reverse([found[0]], LATER)
        assert await ledger.reverse([found[1]], LATER) == []
        (bill,) = (await ledger.find([entry_id(1)])).values()
        await ledger.finish_job()
    assert refused.message == "PX-000001 cannot be reversed, it is settled by PX-000002: reverse that first"
    assert not bill.settled
    assert [one[:4] for one in exchange_lines(path)[2:]] == [
        ("PX-000003", "pleo-payable", 500, 0),
        ("PX-000003", "7091", 0, 500),
    ]
    assert dict(rows(path, BALANCES))["pleo-payable"] == -373_000
    assert dict(rows(path, BALANCES))["7091"] == 0
    bean_check(path.with_suffix(".beancount"))
    # Booked anew, it settles the bill again, at its own rate.
    (again,) = await record(path, a_document_at(2, PAYMENT, 50_000, 373_200))
    assert again.settled
    assert dict(rows(path, BALANCES))["7091"] == 200
    assert dict(rows(path, BALANCES))["pleo-payable"] == 0
    assert sums_of_journal(path) == sums_of_beancount(load(path.with_suffix(".beancount")))


async def test_with_one_of_two_that_it_could_be_reversed_the_other_is_settled(path: Path) -> None:
    entries = [a_bill(number, kind, state=POSTED) for number, kind in ((1, BILL), (2, BILL), (3, PAYMENT))]
    found = await record(path, *entries)
    assert settlements(path) == []
    async with opened(path, **IN_KRONER) as ledger:
        assert await ledger.reverse([found[1]], LATER) == []
        now = await ledger.find([entry_id(1), entry_id(3)])
    assert [one.settled for one in now.values()] == [True, True]
    assert settlements(path) == [{(1, 1), (3, 1)}]


# -- whatever comes ---------------------------------------------------------------------------------------------------

DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from([BILL, CREDIT_NOTE, PAYMENT, REFUND]),
        st.sampled_from([100, 200, 300]),
        st.sampled_from([745, 746, 747]),
        st.sampled_from([DRAFT, POSTED]),
        st.sampled_from(["1", "2"]),
    ),
    min_size=2,
    max_size=7,
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(drawn=DOCUMENTS, reversed_one=st.integers(1, 7))
def test_what_is_settled_comes_to_nothing_in_every_currency_and_beancount_agrees(
    drawn: list[tuple[Any, int, int, EntryState, str]], reversed_one: int
) -> None:
    entries = [
        a_document_at(
            number, kind, minor, minor * rate // 100, state=POSTED if posted else DRAFT, invoice_number=invoice
        )
        for number, (kind, minor, rate, posted, invoice) in enumerate(drawn, 1)
    ]

    async def run(path: Path) -> None:
        found = await record(path, *entries[:3])
        found += await record(path, *entries[3:])
        async with opened(path, **IN_KRONER) as ledger:
            await ledger.post([one.accounting_entry_id for one in entries[::2]])
            await ledger.reverse(found[:reversed_one][-1:], LATER)
            await ledger.finish_job()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "books.sqlite")
        asyncio.run(run(path))
        open_minor, value = Counter[str](), Counter[str]()
        for number, minor in rows(path, "SELECT invoice_number, open_minor FROM open_item"):
            open_minor[number] += minor
        for number, minor, company in rows(
            path,
            "SELECT d.invoice_number, iif(l.settlement IS NULL, l.credit_minor - l.debit_minor, 0), "
            "iif(l.credit_minor > 0, l.company_minor, -l.company_minor) FROM line AS l JOIN document AS d "
            "ON d.entry_id = l.entry_id AND d.document_no = l.document_no WHERE l.account = 'pleo-payable'",
        ):
            value[f"{number} euro"] += minor
            value[f"{number} kroner"] += company
        standing = rows(
            path,
            "SELECT o.invoice_number, sum(iif(l.credit_minor > 0, l.company_minor, -l.company_minor)) "
            "FROM open_item AS o JOIN entry AS e ON e.external_id = o.external_id JOIN line AS l ON l.entry_id = e.id "
            "WHERE o.open_minor <> 0 AND l.account = 'pleo-payable' GROUP BY 1",
        )
        directives = load(path.with_suffix(".beancount"))
        assert sums_of_beancount(directives) == sums_of_journal(path)
        flags = [one.flag for one in transactions(directives)]
    assert {number: minor for number, minor in open_minor.items() if minor} == {
        number: value[f"{number} euro"] for number in ("1", "2") if value[f"{number} euro"]
    }
    # The payable account holds what is open, in kroner too: nothing of what was settled is left there.
    assert {number: minor for number, minor in standing if minor} == {
        number: value[f"{number} kroner"] for number in ("1", "2") if value[f"{number} kroner"]
    }
    assert len(flags) >= len(entries)
