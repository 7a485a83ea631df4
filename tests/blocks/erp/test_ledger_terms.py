"""What amounts count, and the currency of the company: fixed with the first entry of a ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import JournalEntry, Line, Recorded
from blocks.erp.errors import ErpConfigurationError, RefusalKind, Refused
from tests.support.erp.ledger_samples import TRAVEL, WALLET, a_bill, an_entry, entry_id, opened, rows, write

ISO = MinorUnits.ISO4217


def in_euro(number: int, company_minor: tuple[int, ...] = (7460, 1865, 9325), **changes: Any) -> JournalEntry:
    """12.50 EUR in books that are kept in DKK."""
    entry = an_entry(number, currency="EUR", company_currency="DKK")
    lines = tuple(replace(line, company_minor=minor) for line, minor in zip(entry.lines, company_minor, strict=True))
    return replace(entry, **{"lines": lines, **changes})


async def begin(path: Path, *entries: JournalEntry, **terms: Any) -> None:
    async with opened(path, **terms) as ledger:
        assert all(isinstance(one, Recorded) for one in await ledger.record(entries))


async def refusal(path: Path, **terms: Any) -> str:
    """What opening gets, in a dry run and a real one alike, which both leave the content as it is."""
    before = rows(path, "SELECT minor_units, company_currency FROM company")
    messages = set()
    for dry_run in (True, False):
        with pytest.raises(ErpConfigurationError) as caught:
            async with opened(path, dry_run=dry_run, **terms):
                pass
        messages.add(str(caught.value))
    assert rows(path, "SELECT minor_units, company_currency FROM company") == before
    (message,) = messages
    return message


async def test_they_can_be_changed_until_there_is_an_entry(path: Path) -> None:
    await begin(path, company_currency="EUR")
    await begin(path, company_currency="DKK", minor_units=ISO)
    await begin(path, in_euro(1), company_currency="DKK", minor_units=ISO)
    assert rows(path, "SELECT minor_units, company_currency FROM company") == [("iso4217", "DKK")]
    assert await refusal(path, company_currency="DKK") == (
        f"{path} holds amounts in each currency's own minor units, but minor_units is hundredths; "
        "set minor_units to iso4217 or give another --ledger file"
    )


async def test_other_units_or_another_currency_are_refused_once_there_is_one(path: Path) -> None:
    await begin(path, in_euro(1), company_currency="DKK")
    assert await refusal(path, company_currency="DKK", minor_units=ISO) == (
        f"{path} holds amounts in hundredths, but minor_units is iso4217; "
        "set minor_units to hundredths or give another --ledger file"
    )
    assert await refusal(path, company_currency="SEK") == (
        f"{path} holds books begun in DKK, but company_currency is SEK; set it to DKK or give another --ledger file"
    )


async def test_books_begun_without_a_company_currency_get_none(path: Path) -> None:
    await begin(path, an_entry(1))
    assert await refusal(path, company_currency="DKK") == (
        f"{path} holds books begun without a company currency, but company_currency is DKK; "
        "leave it out or give another --ledger file"
    )


async def test_a_run_that_does_not_name_the_currency_keeps_it(path: Path) -> None:
    await begin(path, in_euro(1), company_currency="DKK")
    for dry_run in (True, False):
        async with opened(path, dry_run=dry_run) as ledger:
            assert (await ledger.load_reference()).company_currency == "DKK"
    assert rows(path, "SELECT company_currency FROM company") == [("DKK",)]


async def test_the_file_itself_keeps_them(path: Path) -> None:
    await begin(path, in_euro(1), company_currency="DKK")
    for change in ("minor_units = 'iso4217'", "company_currency = 'SEK'", "company_currency = NULL"):
        with pytest.raises(Exception, match="books with entries keep their currency"):
            write(path, f"UPDATE company SET {change}")


async def test_amounts_in_the_company_s_currency_are_kept_beside_the_entry_s_own(path: Path) -> None:
    await begin(path, in_euro(1), an_entry(2), an_entry(3, company_currency="DKK"), company_currency="DKK")
    assert rows(path, "SELECT entry_id, debit_minor, credit_minor, company_minor FROM line WHERE entry_id < 3") == [
        (1, 1000, 0, 7460),
        (1, 250, 0, 1865),
        (1, 0, 1250, 9325),
        (2, 1000, 0, None),
        (2, 250, 0, None),
        (2, 0, 1250, None),
    ]
    assert rows(path, "SELECT currency, company_currency FROM entry") == [("EUR", "DKK"), ("DKK", None), ("DKK", "DKK")]


MISSING = "a line has no amount in the company's currency"


@pytest.mark.parametrize(
    ("bad", "kind", "subject", "message"),
    [
        (
            in_euro(2, (7460, 1865, 9326)),
            RefusalKind.UNBALANCED,
            "-1",
            "debits and credits differ by -1 minor units of the company's currency",
        ),
        (in_euro(2, lines=an_entry(2).lines), RefusalKind.UNBALANCED, "6000", MISSING),
        (
            replace(in_euro(2), company_currency=None, currency="DKK"),
            RefusalKind.UNBALANCED,
            "6000",
            "a line has an amount too many in the company's currency",
        ),
        (in_euro(2, (-1, 1, 0)), RefusalKind.OTHER, "-1", "a debit or credit is never negative"),
        (
            in_euro(2, (10**18, 0, 10**18)),
            RefusalKind.OTHER,
            str(10**18),
            f"an amount is at most {10**18 - 1} minor units",
        ),
        (an_entry(2, currency="EUR"), RefusalKind.OTHER, "EUR", "the books are kept in DKK"),
        (in_euro(2, company_currency="SEK"), RefusalKind.OTHER, "SEK", "the books are kept in DKK"),
        (
            in_euro(
                2,
                lines=(
                    Line(TRAVEL, company_minor=5),
                    Line(TRAVEL, debit_minor=1250, company_minor=5),
                    Line(WALLET, credit_minor=1250, counter=True, company_minor=10),
                ),
            ),
            RefusalKind.UNBALANCED,
            "6000",
            "a line of zero is worth something in the company's currency",
        ),
    ],
)
async def test_what_does_not_fit_the_company_s_currency_is_refused(
    path: Path, bad: JournalEntry, kind: RefusalKind, subject: str, message: str
) -> None:
    async with opened(path, company_currency="DKK") as ledger:
        told = ledger.check(bad)
        outcomes = await ledger.record([in_euro(1), bad, in_euro(3)])
    assert told == outcomes[1] == Refused(entry_id(2), kind, subject, message)
    assert [isinstance(one, Recorded) for one in outcomes] == [True, False, True]


async def test_books_without_a_company_currency_take_no_amounts_in_one(path: Path) -> None:
    async with opened(path) as ledger:
        (refused,) = await ledger.record([in_euro(1)])
    assert refused == Refused(entry_id(1), RefusalKind.OTHER, "DKK", "the books are kept in each entry's own currency")


async def test_each_document_balances_in_the_company_s_currency_by_itself(path: Path) -> None:
    bill = a_bill(1, currency="EUR", company_currency="DKK")
    (document,) = bill.documents
    debit, credit = document.lines
    good = replace(document, lines=(replace(debit, company_minor=9325), replace(credit, company_minor=9325)))
    bad = replace(document, lines=(replace(debit, company_minor=9325), replace(credit, company_minor=9324)))
    async with opened(path, company_currency="DKK") as ledger:
        recorded, refused = await ledger.record(
            [
                replace(bill, documents=(good,)),
                replace(bill, accounting_entry_id=entry_id(2), documents=(bad,)),
            ]
        )
    assert isinstance(recorded, Recorded)
    assert isinstance(refused, Refused)
    assert refused.subject == "1"


async def test_find_tells_the_amount_that_the_lines_hold_with_the_sign_of_the_header(path: Path) -> None:
    lines = (Line(WALLET, debit_minor=500, counter=True), Line(TRAVEL, credit_minor=500))
    back = an_entry(2, amount_minor=-500, lines=lines, posting_date=date(2026, 3, 1))
    await begin(path, an_entry(1), back)
    write(path, "DROP TRIGGER entry_stays")
    write(path, "DROP TRIGGER line_stays")
    write(path, "UPDATE entry SET amount_minor = amount_minor * 3")  # the header lies
    write(path, "UPDATE line SET credit_minor = 1251 WHERE entry_id = 1 AND counter")  # and a line was changed
    async with opened(path, dry_run=True) as ledger:
        found = await ledger.find([entry_id(1), entry_id(2)])
    assert [found[entry_id(number)].amount_minor for number in (1, 2)] == [1251, -500]
    async with opened(path) as ledger:
        outcomes = await ledger.record([an_entry(1), back])
    assert [one.amount_minor for one in outcomes if isinstance(one, Recorded)] == [1251, -500]
