"""What the bookkeeper's tool says of the books: trial balance, VAT, wallets, open items, drafts."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.erp.entries import Account, AccountKind, Details, Entry, EntryState, Line, Vendor
from blocks.erp.ledger.tool.wallets import PAID_ELSEWHERE
from blocks.erp.reference import Role
from flows.bookkeeping.accounts import RULES
from tests.blocks.erp.test_ledger_beancount import bean_check, load, sums_of_beancount, transactions
from tests.support.erp.ledger_samples import (
    BILL,
    PAYMENT,
    TRAVEL,
    WALLET,
    a_bill,
    an_entry,
    opened,
    rows,
)
from tests.support.erp.ledger_tool import a_document_at, a_purchase, told, tool

MEALS = Account("6100", "Meals", AccountKind.EXPENSE)
POSTED = EntryState.POSTED
OCTOBER, NOVEMBER = date(2026, 10, 12), date(2026, 11, 3)


async def written(path: Path, *entries: Entry, **terms: Any) -> None:
    async with opened(path, **terms) as ledger:
        outcomes = await ledger.record(entries)
        await ledger.finish_job()
    assert all(hasattr(one, "external_id") for one in outcomes), outcomes


def minor(number: str | None) -> int:
    return int(Decimal(number or "0").scaleb(2))


async def a_month(path: Path) -> None:
    """Mixed rates, reverse charge from Germany, a refund, a bill of no tax, and an entry that is reversed."""
    german = Details(supplier_country="DE", supplier_tax_number="DE123456789")
    danish = Details(supplier_country="DK", supplier_tax_number="25050053")
    await written(
        path,
        a_purchase(1, (TRAVEL, 10_000, "I25", 2500, "0.25"), (MEALS, 4000, "I12", 480, "0.12"), day=OCTOBER),
        a_purchase(2, (TRAVEL, 8000, "RC25", 2000, "0.25"), day=OCTOBER, reverse_charge=True, details=german),
        a_purchase(3, (TRAVEL, 2000, "I25", 500, "0.25"), day=OCTOBER, turned=True, details=danish),
        a_purchase(4, (MEALS, 999, "", 0, None), day=NOVEMBER),
        a_purchase(5, (MEALS, 3333, "I25", 833, "0.25"), day=OCTOBER, state=POSTED),
        a_bill(6, BILL, PAYMENT, posting_date=NOVEMBER, original_date=NOVEMBER),
    )
    assert tool(path, "reverse", "PX-000005", "--date", "2026-11-01").status == 0


async def test_vat_by_code_account_and_month(path: Path) -> None:
    await a_month(path)
    document = told(path, "vat", "--country", "dk")
    shown = [
        [one[name] for name in ("month", "tax_code", "kind", "account", "rate", "base", "tax")]
        for one in document["vat"]
    ]
    assert shown == [
        ["2026-10", "I12", "base", "6100", "0.12", "40.00", None],
        ["2026-10", "I12", "tax", "pleo-input-tax", "0.12", "40.00", "4.80"],
        ["2026-10", "I25", "base", "6000", "0.25", "80.00", None],
        ["2026-10", "I25", "base", "6100", "0.25", "33.33", None],
        ["2026-10", "I25", "tax", "pleo-input-tax", "0.25", "113.33", "28.33"],
        ["2026-10", "RC25", "base", "6000", "0.25", "80.00", None],
        ["2026-10", "RC25", "tax", "pleo-input-tax", "0.25", "80.00", "20.00"],
        ["2026-10", "RC25", "tax", "pleo-output-tax", "0.25", "-80.00", "-20.00"],
        ["2026-11", "", "base", "6000", None, "12.50", None],
        ["2026-11", "", "base", "6100", None, "9.99", None],
        ["2026-11", "I25", "base", "6100", "0.25", "-33.33", None],
        ["2026-11", "I25", "tax", "pleo-input-tax", "0.25", "-33.33", "-8.33"],
    ]
    assert document["abroad"] == [
        {
            "month": "2026-10",
            "country": "DE",
            "tax_number": "DE123456789",
            "name": "Supplier 2",
            "tax_code": "RC25",
            "currency": "DKK",
            "base": "80.00",
            "tax": "20.00",
            "tax_due": "-20.00",
        }
    ]
    assert document["notes"] == ["5 drafts are counted; --posted leaves drafts out"]
    october = told(path, "vat", "--month", "2026-10")
    assert [one["country"] for one in october["abroad"]] == ["DE", "DK"]
    assert {one["month"] for one in october["vat"]} == {"2026-10"}
    assert tool(path, "vat", "--csv", "--abroad", "--country", "DK").out.splitlines()[1].startswith("2026-10,DE,DE123")


def equal_to_the_trial_balance(path: Path, *span: str) -> int:
    """How many accounts VAT names, once their sums are shown to be those of the trial balance and of the lines."""
    vat, balance = told(path, "vat", *span), told(path, "trial-balance", *span)
    sums: Counter[tuple[str, str]] = Counter()
    for one in vat["vat"]:
        sums[one["account"], one["currency"]] += minor(one["base"] if one["kind"] == "base" else one["tax"])
    standing = {(one["account"], one["currency"]): minor(one["balance"]) for one in balance["trial_balance"]}
    assert {key: standing.get(key, 0) for key in sums} == dict(sums)
    assert {
        (one["account"], one["currency"]): minor(one["base"]) + minor(one["tax"]) for one in vat["vat_sums"]
    } == sums
    if not span:
        lines: Counter[tuple[str, str]] = Counter()
        for account, currency, amount in rows(
            path, "SELECT account, currency, debit_minor - credit_minor FROM journal"
        ):
            lines[account, currency] += amount
        assert standing == dict(lines)
    return len(sums)


async def test_vat_is_the_trial_balance_to_the_cent_in_the_month_of_a_company(path: Path) -> None:
    await a_month(path)
    for span in ([], ["--month", "2026-10"], ["--from", "2026-11-01"], ["--posted"], ["--to", "2026-10-12"]):
        assert equal_to_the_trial_balance(path, *span) >= 2


PARTS = st.lists(
    st.tuples(
        st.sampled_from([TRAVEL, MEALS, Account("pleo-input-tax", "Pleo input tax", AccountKind.ASSET)]),
        st.sampled_from([1, 99, 3333, 10**16]),
        st.sampled_from(["I25", "I12", "RC"]),
        st.sampled_from([0, 1, 833]),
        st.sampled_from(["0.25", None]),
    ),
    min_size=1,
    max_size=3,
)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    drawn=st.lists(
        st.tuples(
            PARTS, st.booleans(), st.booleans(), st.sampled_from([OCTOBER, NOVEMBER]), st.sampled_from(EntryState)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_the_books_hold_vat_is_the_trial_balance(drawn: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "books.sqlite")
        entries = [
            a_purchase(number, *parts, day=day, reverse_charge=reverse, turned=turned, state=state)
            for number, (parts, reverse, turned, day, state) in enumerate(drawn, 1)
        ]
        asyncio.run(written(path, *entries))
        if entries[0].state is POSTED:
            assert tool(path, "reverse", "PX-000001", "--date", "2026-12-01").status == 0
        equal_to_the_trial_balance(path)
        equal_to_the_trial_balance(path, "--month", "2026-10", "--posted")
        directives = load(path.with_suffix(".beancount"))
        sums = {
            (one["account"], one["currency"]): minor(one["balance"])
            for one in told(path, "trial-balance")["trial_balance"]
        }
        assert sums_of_beancount(directives) == sums
        # The same VAT is in the file's metadata.
        taxes: Counter[str] = Counter()
        bases: Counter[str] = Counter()
        for posting in (posting for one in transactions(directives) for posting in one.postings):
            if posting.meta.get("tax"):
                taxes[posting.meta["tax-code"]] += int(posting.units.number.scaleb(2))
                bases[posting.meta["tax-code"]] += int(posting.meta["tax-base"].number.scaleb(2))
        of_tax = [one for one in told(path, "vat")["vat"] if one["kind"] == "tax"]
    for code in taxes:
        assert taxes[code] == sum(minor(one["tax"]) for one in of_tax if one["tax_code"] == code)
        assert bases[code] == sum(minor(one["base"]) for one in of_tax if one["tax_code"] == code)


async def test_the_trial_balance_of_books_in_another_currency_comes_to_nothing_in_it(path: Path) -> None:
    terms = {"company_currency": "DKK", "exchange_accounts": ("7090", "7091")}
    both = (a_document_at(1, BILL, 50_000, 373_000), a_document_at(2, PAYMENT, 50_000, 373_500))
    await written(path, *both, **terms)
    document = told(path, "trial-balance")
    shown = [
        [one["account"], one["currency"], one["balance"], one["balance_in_DKK"]] for one in document["trial_balance"]
    ]
    assert shown == [
        ["6000", "EUR", "500.00", "3730.00"],
        ["7091", "DKK", "5.00", "5.00"],
        ["pleo-payable", "DKK", "-5.00", "-5.00"],
        ["pleo-payable", "EUR", "0.00", "5.00"],
        ["pleo-wallet-DKK", "EUR", "-500.00", "-3735.00"],
    ]
    assert [
        [one["currency"], one["debit"], one["credit"], one["balance_in_DKK"]] for one in document["trial_balance_sums"]
    ] == [
        ["DKK", "5.00", "5.00", None],
        ["EUR", "1000.00", "1000.00", None],
        ["DKK", None, None, "0.00"],
    ]
    bean_check(path.with_suffix(".beancount"))


# -- wallets ----------------------------------------------------------------------------------------------------------


def moved(number: int, amount: int, type_: str, day: date, *, inward: bool = False, **changes: Any) -> Entry:
    side, other = ("credit_minor", "debit_minor") if inward else ("debit_minor", "credit_minor")
    lines = (Line(TRAVEL, **{side: amount}), Line(WALLET, counter=True, **{other: amount}))
    return an_entry(number, amount, item_type=type_, lines=lines, posting_date=day, original_date=day, **changes)


async def test_wallets_open_move_and_close_by_month_and_are_held_against_a_statement(path: Path) -> None:
    september = date(2026, 9, 30)
    await written(
        path,
        moved(1, 100_000, "wallet_topup", september, inward=True),
        moved(2, 25_000, "card_purchase", OCTOBER, state=POSTED),
        moved(3, 5000, "refund", OCTOBER, inward=True),
        moved(4, 7000, "out_of_pocket", OCTOBER),  # its line stands on what is owed to the employee, here too
        moved(5, 1000, "fee", NOVEMBER),
        moved(6, 300, "card_purchase", NOVEMBER, currency="EUR"),
    )
    assert tool(path, "reverse", "PX-000002", "--date", "2026-10-20").status == 0
    document = told(path, "wallets", "--statement", "DKK=1040", "--statement", "EUR=-3.00")
    assert [list(one.values()) for one in document["wallets"]] == [
        ["DKK", "2026-09", "0.00", "1000.00", "0.00", "1000.00"],
        ["DKK", "2026-10", "1000.00", "50.00", "0.00", "1050.00"],  # the reversal takes back what went out
        ["DKK", "2026-11", "1050.00", "0.00", "10.00", "1040.00"],
        ["EUR", "2026-11", "0.00", "0.00", "3.00", "-3.00"],
    ]
    assert [list(one.values()) for one in document["comparison"]] == [
        ["DKK", "1040.00", "1040.00", "0.00"],
        ["EUR", "-3.00", "-3.00", "0.00"],
    ]
    assert (
        "the trial balance of pleo-wallet-DKK has -70.00 DKK more: lines that are no wallet's movements"
        in document["notes"]
    )
    october = tool(path, "wallets", "--month", "2026-10", "--statement", "DKK=1050.01", "--json")
    assert (october.status, october.document["comparison"][0]["difference"]) == (3, "-0.01")
    assert [list(one.values()) for one in october.document["wallets"]] == [
        ["DKK", "2026-10", "1000.00", "50.00", "0.00", "1050.00"]
    ]
    december = told(path, "wallets", "--month", "2026-12")
    assert [one["closing"] for one in december["wallets"]] == ["1040.00", "-3.00"]
    assert [one["closing"] for one in told(path, "wallets", "--posted")["wallets"]] == ["0.00"]
    for wrong in ("DKK", "dkk=1", "DKK=1,5", "DKK=0.001"):
        assert tool(path, "wallets", "--statement", wrong).status == 2
    assert tool(path, "wallets", "--statement", "DKK=1", "--statement", "DKK=2").status == 2


def test_the_types_that_no_wallet_pays_are_those_of_the_bookkeeping() -> None:
    assert {type_ for type_, rule in RULES.items() if rule.counter is not Role.WALLET} == PAID_ELSEWHERE


# -- documents and drafts ---------------------------------------------------------------------------------------------


async def test_open_items_tell_what_is_owed_and_why_it_is_open(path: Path) -> None:
    await written(
        path,
        a_document_at(1, BILL, 50_000, 373_000),
        a_document_at(2, PAYMENT, 50_000, 373_500),
        a_bill(3, BILL, state=POSTED, invoice_number="9", vendor=Vendor("V-2", "=1+1")),
        a_bill(4, BILL, PAYMENT, state=POSTED, invoice_number="10"),
        a_bill(5, BILL, state=POSTED, invoice_number="11", vendor=Vendor("V-3", "C"), stays_open=True),
        company_currency="DKK",
    )
    document = told(path, "open-items")
    names = ("number", "vendor", "kind", "currency", "open", "why")
    why = "5.00 DKK of exchange loss would be left: set exchange_loss_account"
    assert [[one[name] for name in names] for one in document["open_items"]] == [
        ["PX-000001", "V-1", "bill", "EUR", "500.00", why],
        ["PX-000002", "V-1", "payment", "EUR", "-500.00", why],
        ["PX-000003", "V-2", "bill", "DKK", "12.50", ""],
        ["PX-000005", "V-3", "bill", "DKK", "12.50", "paid outside Pleo"],
    ]
    assert [(one["currency"], one["open"]) for one in document["open_items_sums"]] == [
        ("DKK", "25.00"),
        ("EUR", "0.00"),
    ]
    assert len(told(path, "open-items", "--all")["open_items"]) == 6
    assert "'=1+1" in tool(path, "open-items", "--csv").out


async def test_drafts_and_whether_their_day_is_open(path: Path) -> None:
    await written(path, a_purchase(1, (TRAVEL, 100, "", 0, None), day=OCTOBER), an_entry(2, state=POSTED), an_entry(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO period VALUES ('2026-03-01', '2026-03-31', 'closed')")
    shown = [(one["number"], one["date"], one["amount"], one["period"]) for one in told(path, "drafts")["drafts"]]
    assert shown == [("PX-000003", "2026-03-04", "12.50", "closed"), ("PX-000001", "2026-10-12", "1.00", "open")]
