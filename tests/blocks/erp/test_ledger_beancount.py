"""The Beancount file beside the books: other people's programs accept it and read the same sums in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from beancount import loader
from beancount.core import data
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, AccountKind, Entry, EntryState, JournalEntry, Line, Money, Recorded
from blocks.erp.ledger.beancount import MAX_TEXT, account_name
from tests.support.erp.ledger_samples import COMPANY, TRAVEL, WALLET, an_entry, entries, entry_id, names, opened, rows

MAX = 10**18 - 1
Sums = dict[tuple[str, str], int]


async def written(path: Path, *content: Entry, **options: Any) -> Path:
    """The Beancount file of books that hold these entries."""
    async with opened(path, **options) as ledger:
        outcomes = await ledger.record(content)
        assert all(isinstance(one, Recorded) for one in outcomes), outcomes
        await ledger.finish_job()
    return path.with_suffix(".beancount")


def load(path: Path) -> list[Any]:
    directives, errors, options = loader.load_file(str(path))
    assert errors == []
    assert options["title"] == f"Pleo {COMPANY}"
    return directives


def bean_check(path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "beancount.scripts.check", "--no-cache", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def transactions(directives: list[Any]) -> list[Any]:
    return [one for one in directives if isinstance(one, data.Transaction)]


def sums_of_beancount(directives: list[Any], units: MinorUnits = MinorUnits.HUNDREDTHS) -> Sums:
    """Beancount's own sums by account code and currency, in minor units."""
    codes = {one.account: one.meta["code"] for one in directives if isinstance(one, data.Open)}
    sums: Counter[tuple[str, str]] = Counter()
    for one in transactions(directives):
        for posting in one.postings:
            minor = posting.units.number.scaleb(units.decimals(posting.units.currency))
            assert minor == int(minor)
            sums[codes[posting.account], posting.units.currency] += int(minor)
    return dict(sums)


def sums_of_journal(path: Path) -> Sums:
    """The same sums in the journal, added up here: SQLite's own would overflow."""
    sums: Counter[tuple[str, str]] = Counter()
    for account, currency, minor in rows(path, "SELECT account, currency, debit_minor - credit_minor FROM journal"):
        sums[account, currency] += minor
    return dict(sums)


CODES = st.one_of(
    st.sampled_from(["6000", "4010", "A-1", "a-1", "é", "pleo-wallet-DKK"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs"]), min_size=1, max_size=8),
)
ACCOUNTS = st.builds(Account, CODES, st.text(max_size=20), st.sampled_from(AccountKind))
AMOUNTS = st.one_of(st.integers(0, 100_000), st.sampled_from([0, 1, 2**53 + 1, MAX // 10]))
DATES = st.one_of(st.dates(date(2024, 1, 1), date(2026, 12, 31)), st.sampled_from([date.min, date.max]))


@st.composite
def balanced_entries(draw: st.DrawFn) -> list[JournalEntry]:
    drawn = []
    for number in range(draw(st.integers(1, 6))):
        sides = draw(st.lists(st.tuples(ACCOUNTS, AMOUNTS), min_size=1, max_size=4))
        total = sum(amount for _, amount in sides)
        money_back = draw(st.booleans())
        side, other = ("credit_minor", "debit_minor") if money_back else ("debit_minor", "credit_minor")
        lines = [Line(account, text=draw(st.text(max_size=5)), **{side: amount}) for account, amount in sides]
        lines.append(Line(draw(ACCOUNTS), counter=True, **{other: total}))
        drawn.append(
            JournalEntry(
                accounting_entry_id=entry_id(number),
                job_id=draw(st.text(max_size=9)),
                company_id=COMPANY,
                item_type="card_purchase",
                posting_date=draw(DATES),
                original_date=draw(DATES),
                currency=draw(st.sampled_from(["DKK", "EUR", "JPY"])),
                amount_minor=-total if money_back else total,
                description=draw(st.text(max_size=50)),
                reference=draw(st.text(max_size=9)),
                lines=tuple(lines),
                state=draw(st.sampled_from(EntryState)),
                supplier=draw(st.none() | st.builds(Money, st.text(max_size=4), st.integers(-MAX, MAX))),
            )
        )
    return drawn


@settings(derandomize=True, max_examples=60, deadline=None)
@given(drawn=balanced_entries())
def test_balanced_entries_come_back_with_equal_sums_from_find_journal_and_beancount(
    drawn: list[JournalEntry],
) -> None:
    async def record_and_find(path: Path) -> dict[str, Recorded]:
        await written(path, *drawn)
        async with opened(path) as ledger:
            return await ledger.find([entry.accounting_entry_id for entry in drawn])

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "books.sqlite")
        found = asyncio.run(record_and_find(path))
        in_journal = sums_of_journal(path)
        in_beancount = sums_of_beancount(load(path.with_suffix(".beancount")))

    expected: Counter[tuple[str, str]] = Counter()
    for entry in drawn:
        one = found[entry.accounting_entry_id]
        assert (one.currency, one.amount_minor) == (entry.currency, entry.amount_minor)
        assert (one.state, one.accounts) == (entry.state, entry.accounts)
        for line in entry.lines:
            expected[line.account.code, entry.currency] += line.debit_minor - line.credit_minor
    assert in_journal == dict(expected)
    assert in_beancount == dict(expected)


async def test_bean_check_accepts_hostile_texts_and_extreme_amounts_and_dates(tmp_path: Path) -> None:
    texts = [
        'say "hi"',
        "back\\slash\\",
        '\\"',
        "two\nlines\r\nand\ttabs",
        "nul\0bell\x07",
        "\u2028\u202e\ud800",
        "; comment ^link #tag",
        '"\n2026-01-01 open Assets:Stolen',
        "",
        "long " * 400_000,
        "🦊" * 2000,
    ]
    hostile = [
        an_entry(
            number,
            amount_minor=amount,
            tax_minor=0,
            description=text,
            reference=text,
            job_id=text,
            item_type=text,
            posting_date=day,
            supplier=Money(text[:9], -amount),
            lines=(
                Line(Account(text[:60].strip() or "-", text, AccountKind.EXPENSE), debit_minor=amount, text=text),
                Line(WALLET, credit_minor=amount, counter=True),
            ),
        )
        for number, (text, amount, day) in enumerate(
            zip(texts, [0, 1, 99, 100, 2**53 + 1, MAX] * 2, [date.min, date(2026, 3, 1), date.max] * 4, strict=False)
        )
    ]
    path = await written(tmp_path / "books.sqlite", *hostile)
    bean_check(path)

    by_id = {one.meta["pleo-id"]: one for one in transactions(load(path))}
    assert by_id[entry_id(0)].narration == 'say "hi"'
    assert by_id[entry_id(1)].narration == "back\\slash\\"
    assert by_id[entry_id(3)].narration == "two lines and tabs"
    assert len(by_id[entry_id(9)].narration) <= MAX_TEXT
    assert by_id[entry_id(9)].narration.endswith("…")
    assert by_id[entry_id(5)].postings[0].units.number == Decimal("9999999999999999.99")
    assert max(len(line) for line in path.read_text(encoding="utf-8").splitlines()) < MAX_TEXT + 100


async def test_an_entry_is_one_transaction_with_flag_link_and_what_pleo_said(tmp_path: Path) -> None:
    path = await written(
        tmp_path / "books.sqlite",
        an_entry(1),
        an_entry(2, state=EntryState.POSTED, original_date=date(2025, 12, 31), supplier=Money("USD", -199)),
    )
    draft, posted = transactions(load(path))
    meta = [
        {key: one.meta[key] for key in one.meta if key[0] != "_" and key not in {"filename", "lineno"}}
        for one in (draft, posted)
    ]

    assert (draft.flag, draft.links, draft.narration) == ("!", {"PX-000001"}, "Supplier 1")
    assert (posted.flag, posted.links) == ("*", {"PX-000002"})
    assert meta[0] == {"pleo-id": entry_id(1), "pleo-job": "job-1", "pleo-type": "card_purchase", "reference": "book-1"}
    assert meta[1] == {
        "pleo-id": entry_id(2),
        "pleo-job": "job-1",
        "pleo-type": "card_purchase",
        "reference": "book-2",
        "original-date": date(2025, 12, 31),
        "supplier-amount": "-1.99 USD",
    }
    assert [(posting.account.partition("-x")[0], str(posting.units)) for posting in draft.postings] == [
        ("Expenses:6000", "10.00 DKK"),
        ("Assets:Pleo-input-tax", "2.50 DKK"),
        ("Assets:Pleo-wallet-DKK", "-12.50 DKK"),
    ]


async def test_accounts_are_opened_with_code_and_name_before_any_entry(tmp_path: Path) -> None:
    path = await written(tmp_path / "books.sqlite", an_entry(1, posting_date=date(1850, 1, 1)), an_entry(2))
    accounts = {one.meta["code"]: one for one in load(path) if isinstance(one, data.Open)}
    assert accounts["6000"].account == "Expenses:6000"
    assert accounts["6000"].meta["name"] == "Travel"
    assert accounts["pleo-wallet-DKK"].account.startswith("Assets:Pleo-wallet-DKK-x")
    assert {one.date for one in accounts.values()} == {date(1850, 1, 1)}


async def test_the_currencies_in_use_are_operating_currencies(tmp_path: Path) -> None:
    path = await written(tmp_path / "books.sqlite", an_entry(1, currency="SEK"), an_entry(2), an_entry(3))
    assert loader.load_file(str(path))[2]["operating_currency"] == ["DKK", "SEK"]


async def test_empty_books_make_a_file_that_bean_check_accepts(tmp_path: Path) -> None:
    bean_check(await written(tmp_path / "books.sqlite"))


@settings(derandomize=True, max_examples=500, deadline=None)
@given(
    codes=st.sets(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        | st.from_regex(r"[A-Z0-9][A-Za-z0-9-]{0,5}(-x[0-9a-f]{12})?", fullmatch=True),
        max_size=12,
    )
)
def test_no_two_codes_share_a_beancount_account(codes: set[str]) -> None:
    assert len({account_name(code, AccountKind.EXPENSE) for code in codes}) == len(codes)


def test_a_code_that_looks_like_a_derived_name_cannot_pass_for_it() -> None:
    derived = account_name("6000 Travel", AccountKind.EXPENSE)
    assert account_name(derived.partition(":")[2], AccountKind.EXPENSE) != derived


async def test_the_same_books_give_the_same_bytes_in_posting_date_order(tmp_path: Path) -> None:
    content = entries(60)
    first = await written(tmp_path / "a.sqlite", *content)
    second = await written(tmp_path / "b.sqlite", *content)
    once = first.read_bytes()
    again = await written(tmp_path / "a.sqlite")

    assert once == second.read_bytes() == again.read_bytes()
    dates = [line[:10] for line in once.decode().splitlines() if line[11:12] == "!"]
    assert len(dates) == 60
    assert dates == sorted(dates)


async def test_the_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = await written(tmp_path / "books.sqlite", *entries(3))
    with path.open(encoding="utf-8") as reader:
        head = reader.read(10)
        await written(tmp_path / "books.sqlite", *entries(6))
        old = head + reader.read()
    assert old.count("PX-") == 3
    assert path.read_text(encoding="utf-8").count("PX-") == 6
    assert names(tmp_path) == ["books.beancount", "books.sqlite", "books.sqlite.lock"]


async def test_writing_takes_no_more_memory_for_more_entries(tmp_path: Path) -> None:
    async def peak(path: Path, count: int) -> int:
        async with opened(path) as ledger:
            for first in range(1, count, 500):
                await ledger.record(entries(500, first))
            await ledger.finish_job()
            tracemalloc.start()
            try:
                await ledger.finish_job()
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    small, large = await peak(tmp_path / "a.sqlite", 500), await peak(tmp_path / "b.sqlite", 5000)
    more = sum((tmp_path / name).stat().st_size * way for name, way in (("b.beancount", 1), ("a.beancount", -1)))
    assert large < small + more / 2  # what other threads of the process allocate meanwhile counts too


@pytest.mark.parametrize("kind", list(AccountKind))
def test_each_kind_of_account_has_its_root(kind: AccountKind) -> None:
    roots = {
        "asset": "Assets",
        "liability": "Liabilities",
        "equity": "Equity",
        "income": "Income",
        "expense": "Expenses",
    }
    assert account_name(TRAVEL.code, kind) == f"{roots[kind]}:6000"
