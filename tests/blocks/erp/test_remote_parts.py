"""Pages, codes, comparison: the parts of the common ground that talk to nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Account, AccountKind, Dimension, JournalEntry, Line
from blocks.erp.errors import ErpUnavailable
from blocks.erp.remote.compare import StandingLine, differences, meant_line
from blocks.erp.remote.names import ByCode
from blocks.erp.remote.pages import all_rows, pages_after_key, pages_by_link, pages_by_number

DAY = date(2026, 10, 5)
UNITS = MinorUnits.HUNDREDTHS


async def test_pages_after_a_key_are_not_shifted_by_rows_that_come_and_go() -> None:
    there = list(range(1, 11))

    async def read(last: int) -> Sequence[int]:
        found = [row for row in there if row > last][:3]
        there.remove(found[0])  # of a page that was read one goes, and one comes behind
        if last == 3:
            there.append(11)
        return found

    assert await all_rows(pages_after_key(read, lambda row: row, size=3)) == [*range(1, 12)]


@pytest.mark.parametrize("count", [0, 1, 6, 7])
async def test_numbered_pages_give_every_row_once(count: int) -> None:
    rows = [f"r{n}" for n in range(count)]
    asked = []

    async def read(number: int) -> Sequence[str]:
        asked.append(number)
        start = (number - 1) * 3
        return rows[max(start - 1, 0) : start + 2] if number > 1 else rows[:3]  # shifted by one since the first page

    assert await all_rows(pages_by_number(read, lambda row: row, size=3)) == rows
    assert asked == list(range(1, len(asked) + 1))


async def test_linked_pages_are_followed_to_the_last() -> None:
    pages = {None: ([1, 2], "b"), "b": ([], "c"), "c": ([3], None)}

    async def read(link: str | None) -> tuple[Sequence[int], str | None]:
        return pages[link]

    assert await all_rows(pages_by_link(read)) == [1, 2, 3]


async def test_pages_that_go_round_end() -> None:
    async def keyed(_last: int) -> Sequence[int]:
        return [1, 2]

    async def linked(_link: str | None) -> tuple[Sequence[int], str | None]:
        return [1], "again"

    for pages in (
        pages_after_key(keyed, lambda row: row, size=2),
        pages_by_number(keyed, lambda row: row, size=2),
        pages_by_link(linked),
    ):
        with pytest.raises(ErpUnavailable, match="again and again"):
            await all_rows(pages)


def test_a_code_names_one_or_there_is_one_reason_why_not() -> None:
    pairs = [("6010", 1), ("6010", 2), ("6020", 3)]
    accounts: ByCode[str, int] = ByCode("account", "Acme", pairs, {"6030": "archived"})
    assert dict(accounts) == {"6020": 3}
    assert accounts.why_not("6010").startswith("Acme has 2 of account 6010: give them different codes")
    assert accounts.why_not("6030") == "account 6030 is archived in Acme"
    assert accounts.why_not("7\n0" + "1" * 99).startswith("Acme has no account 7 0111")
    assert len(accounts.why_not("1" * 999)) < 100


def _entry(*lines: Line) -> JournalEntry:
    return JournalEntry(
        accounting_entry_id="i", job_id="j", company_id="c", item_type="t", posting_date=DAY, original_date=DAY,
        currency="EUR", amount_minor=1250, description="d", reference="r", company_currency="DKK",
        lines=lines,
    )  # fmt: skip


COST = Line(Account("6010", "Travel", AccountKind.EXPENSE), 1250, company_minor=9325, tax_code="I25")
PAID = Line(Account("5820", "Wallet", AccountKind.ASSET), 0, 1250, counter=True, company_minor=9325)
ENTRY = _entry(COST, PAID)
STANDS = [meant_line(line, "EUR") for line in ENTRY.lines]


def test_what_stands_as_it_was_meant_does_not_differ_whatever_its_order() -> None:
    assert differences(ENTRY, reversed(STANDS), posting_date=DAY, units=UNITS) == ()
    bare = [replace(line, company_minor=None, tax_code=None) for line in STANDS]
    assert differences(ENTRY, bare, posting_date=DAY, units=UNITS, told=()) == ()
    assert differences(ENTRY, STANDS[:1], posting_date=DAY, units=UNITS, meant=[COST]) == ()


@pytest.mark.parametrize(
    ("stands", "day", "said"),
    [
        (STANDS, date(2026, 7, 31), ["its date is 2026-07-31 and not 2026-10-05"]),
        (STANDS[:1], DAY, ["lacks credit 12.50 EUR on 5820, worth 93.25 DKK"]),
        ([*STANDS, STANDS[0]], DAY, ["has debit 12.50 EUR on 6010, worth 93.25 DKK, tax I25 besides"]),
        ([replace(STANDS[0], amount_minor=1251), STANDS[1]], DAY, ["lacks debit 12.50", "has debit 12.51"]),
        ([replace(STANDS[0], company_minor=-9325), STANDS[1]], DAY, ["lacks", "has"]),
        ([replace(STANDS[0], currency="DKK"), STANDS[1]], DAY, ["lacks debit 12.50 EUR", "has debit 12.50 DKK"]),
        ([replace(STANDS[0], tax_code="I0"), STANDS[1]], DAY, ["tax I25", "tax I0"]),
        ([replace(STANDS[0], dimensions=frozenset({Dimension("p", "1")})), STANDS[1]], DAY, ["lacks", "p 1 besides"]),
        ([StandingLine("0001", "EUR", 0), *STANDS], DAY, ["has debit 0.00 EUR on 0001 besides"]),
        ([StandingLine(str(n), "EUR", n) for n in range(9)], DAY, ["lacks", "lacks", "has", "has", "and 7 more"]),
    ],
)
def test_what_differs_is_put_into_words(stands: list[StandingLine], day: date, said: list[str]) -> None:
    found = differences(ENTRY, stands, posting_date=day, units=UNITS)
    assert len(found) == len(said)
    for text, part in zip(found, said, strict=True):
        assert part in text
