"""Charts in the embedded ledger: once it was given one, it is as strict as any accounting system, and stays so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import Account, AccountKind, Dimension, Entry, Line, Recorded, Vendor
from blocks.erp.errors import ErpConfigurationError, RefusalKind, Refused
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.reference import JournalUse, Reference, Role
from tests.support.erp.ledger_samples import (
    ACME,
    BILL,
    PAYABLE,
    TRAVEL,
    WALLET,
    a_bill,
    an_entry,
    entry_id,
    folder_content,
    names,
    opened,
    rows,
    write,
)

ACCOUNTS = """code,name,type,identifier
6000,Travel and hotels,expense,acc-6000
pleo-wallet-DKK,Wallet,asset,
pleo-input-tax,Input tax,asset,
pleo-payable,Payable,liability,
2410,Acme's account,liability,
"""
TAX_CODES = "code,name\nI25,Input 25 %\n"
DIMENSIONS = "group,code\nproject,P-1\nproject,P-2\nteam,T-1\n"
VENDORS = """code,name,external_id,account,tax_number,payable_account,blocked
V-1,Acme A/S,ext-1,4711,DK 12 34,2410,
V-2,Blocked Ltd,,,,,yes
"""
PERIODS = "first_date,last_date,state\n2026-03-01,2026-03-15,closed\n2026-03-16,2026-03-31,open\n"
RATES = "currency,first_date,rate\nEUR,2026-03-01,7.46\nEUR,2026-03-10,7.470000000000001\n"
ALL = {
    "accounts": ACCOUNTS,
    "tax_codes": TAX_CODES,
    "dimensions": DIMENSIONS,
    "vendors": VENDORS,
    "periods": PERIODS,
    "rates": RATES,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "ledger"
    folder.mkdir()
    return folder / "books.sqlite"


def files(path: Path, contents: Mapping[str, str]) -> ChartFiles:
    """The files of these kinds, written beside the ledger's folder."""
    places = {kind: path.parent.parent / f"{kind}.csv" for kind in contents}
    for kind, place in places.items():
        place.write_text(contents[kind])
    return ChartFiles(**places)


def only(path: Path, *kinds: str, **changed: str) -> ChartFiles:
    return files(path, {**{kind: ALL[kind] for kind in kinds}, **changed})


async def reference(path: Path, charts: ChartFiles, **options: Any) -> Reference:
    async with opened(path, charts=charts, **options) as ledger:
        return await ledger.load_reference()


def described(given: Reference) -> tuple[Any, ...]:
    """What a reference holds, as values that can be compared."""
    days = [date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 9), date(2026, 3, 10), date(2027, 1, 1)]
    return (
        given.roles,
        given.journals,
        given.open_wallet is None,
        given.chart and (given.chart.find("6000"), given.chart.find("", "acc-6000"), given.chart.find("6100")),
        given.tax_codes,
        given.dimensions,
        given.vendors and (given.vendors.by_tax_number("dk1234"), given.vendors.by_code("V-2")),
        given.periods and [given.periods.is_open(date(2026, 3, day)) for day in (1, 15, 16, 31)],
        given.company_currency,
        given.rates and [given.rates("EUR", day) for day in days] + [given.rates("SEK", days[0])],
    )


@pytest.mark.parametrize("dry_run", [True, False])
async def test_the_reference_is_what_the_charts_say(path: Path, dry_run: bool) -> None:
    given = await reference(path, only(path, *ALL), dry_run=dry_run, company_currency="DKK")

    travel = Account("6000", "Travel and hotels", AccountKind.EXPENSE)
    assert given.chart is not None
    assert given.chart.find("6000") == given.chart.find("", "acc-6000") == travel
    assert given.chart.find("6100") is None
    assert (given.roles, given.journals, given.open_wallet) == ({}, {}, None)
    assert given.account(Role.WALLET, "DKK") is None
    assert given.tax_codes == {"I25"}
    assert given.dimensions == {"project": {"P-1", "P-2"}, "team": {"T-1"}}
    assert given.vendors is not None
    acme = given.vendors.by_external_id("ext-1")
    assert acme is not None
    assert acme == given.vendors.by_account("4711") == given.vendors.by_tax_number("DK1234")
    assert acme.vendor == replace(ACME, payable=Account("2410", "Acme's account", AccountKind.LIABILITY))
    assert not acme.blocked
    assert given.periods is not None
    assert [given.periods.is_open(date(2026, 3, day)) for day in (15, 16)] == [False, True]
    assert given.company_currency == "DKK"
    assert given.rates is not None
    asked = [("EUR", 1), ("EUR", 9), ("EUR", 10), ("EUR", 31), ("DKK", 1), ("SEK", 1)]
    assert [given.rates(currency, date(2026, 3, day)) for currency, day in asked] == [
        Decimal("7.46"),
        Decimal("7.46"),
        Decimal("7.470000000000001"),
        Decimal("7.470000000000001"),
        Decimal(1),
        None,
    ]
    assert given.rates("EUR", date(2026, 2, 28)) is None
    assert names(path.parent) == ([] if dry_run else ["books.sqlite", "books.sqlite.lock"])


async def test_without_charts_everything_is_open_and_roles_and_journals_have_names(
    path: Path,
) -> None:
    given = await reference(path, ChartFiles())
    assert (given.chart, given.tax_codes, given.dimensions, given.vendors, given.periods, given.rates) == (None,) * 6
    assert given.company_currency is None
    assert given.account(Role.WALLET, "SEK") == Account("pleo-wallet-SEK", "Pleo wallet SEK", AccountKind.ASSET)
    assert given.roles[Role.PAYABLE] == Account("pleo-payable", "Pleo payable", AccountKind.LIABILITY)
    assert {role: account.code for role, account in given.roles.items()} == {
        Role.OUT_OF_POCKET: "pleo-out-of-pocket",
        Role.CONTRA: "pleo-contra",
        Role.PAYABLE: "pleo-payable",
        Role.REIMBURSEMENT_CONTRA: "pleo-reimbursement-contra",
        Role.INPUT_TAX: "pleo-input-tax",
        Role.OUTPUT_TAX: "pleo-output-tax",
    }
    assert given.journals == {
        JournalUse.GENERAL: "general",
        JournalUse.BILLS: "bills",
        JournalUse.CREDIT_NOTES: "credit_notes",
        JournalUse.PAYMENTS: "payments",
    }


async def test_a_dry_run_shows_what_the_real_one_will_and_the_next_without_files_still_has_it(path: Path) -> None:
    charts = only(path, *ALL)
    dry = described(await reference(path, charts, dry_run=True))
    real = described(await reference(path, charts))
    later = [described(await reference(path, ChartFiles(), dry_run=dry_run)) for dry_run in (True, False)]
    assert dry == real == later[0] == later[1]


async def test_a_dry_run_over_standing_charts_takes_the_new_files_first(path: Path) -> None:
    await reference(path, only(path, "tax_codes", "dimensions"))
    before = folder_content(path.parent)
    given = await reference(path, files(path, {"tax_codes": "code\nI12\n"}), dry_run=True)
    assert given.tax_codes == {"I12"}
    assert given.dimensions == {"project": {"P-1", "P-2"}, "team": {"T-1"}}
    assert folder_content(path.parent) == before


def cost(**changes: Any) -> Entry:
    return an_entry(
        20,
        9,
        0,
        journal="K",
        lines=(Line(TRAVEL, debit_minor=9, **changes), Line(WALLET, credit_minor=9, counter=True)),
    )


OTHER = Account("6100", "Meals", AccountKind.EXPENSE)
STRICT: list[tuple[str, Entry, RefusalKind, str, str]] = [
    (
        "accounts",
        an_entry(20, 9, 0, journal="K", lines=(Line(OTHER, debit_minor=9), Line(WALLET, credit_minor=9, counter=True))),
        RefusalKind.UNKNOWN_ACCOUNT,
        "6100",
        "there is no such account",
    ),
    ("accounts", an_entry(20), RefusalKind.MISSING_JOURNAL, "general", "no journal is given"),
    (
        "accounts",
        a_bill(20, BILL, documents=(replace(a_bill(1).documents[0], journal=" "),)),
        RefusalKind.MISSING_JOURNAL,
        "bills",
        "no journal is given",
    ),
    ("tax_codes", cost(tax_code="X"), RefusalKind.UNKNOWN_TAX_CODE, "X", "there is no such tax code"),
    (
        "dimensions",
        cost(dimensions=(Dimension("team", "P-1"),)),
        RefusalKind.UNKNOWN_DIMENSION,
        "P-1",
        "dimension team has no such value",
    ),
    (
        "vendors",
        a_bill(20, vendor=Vendor("V-3", "New")),
        RefusalKind.UNKNOWN_VENDOR,
        "V-3",
        "there is no such vendor",
    ),
    (
        "vendors",
        a_bill(20, vendor=Vendor("V-2", "Blocked Ltd")),
        RefusalKind.UNKNOWN_VENDOR,
        "V-2",
        "the vendor is blocked",
    ),
]


@pytest.mark.parametrize(("kind", "bad", "refusal", "subject", "message"), STRICT)
@pytest.mark.parametrize("again", [False, True])
async def test_what_a_chart_lacks_is_refused_before_and_at_recording_and_by_later_runs(
    path: Path, kind: str, bad: Entry, refusal: RefusalKind, subject: str, message: str, again: bool
) -> None:
    charts = only(path, kind)
    async with opened(path) as ledger:
        assert ledger.check(bad) is None  # it was open
    if again:
        await reference(path, charts)
    async with opened(path, charts=ChartFiles() if again else charts) as ledger:
        told = ledger.check(bad)
        outcomes = await ledger.record([an_entry(1, journal="K"), bad, a_bill(2)])
    assert told == outcomes[1] == Refused(entry_id(20), refusal, subject, message)
    assert [isinstance(one, Recorded) for one in outcomes] == [True, False, True]


async def test_the_file_itself_refuses_what_its_charts_lack(path: Path) -> None:
    await reference(path, only(path, *ALL))
    for table, columns in {
        "account": "(code, name, kind) VALUES ('6100', '', 'asset')",
        "tax_code": "(code) VALUES ('X')",
        "dimension": "(dimension_group, code) VALUES ('team', 'X')",
        "vendor": "(code, name) VALUES ('V-3', '')",
    }.items():
        with pytest.raises(Exception, match=f"unknown_{table}: there is no such"):
            write(path, f"INSERT INTO {table} {columns}")
    with pytest.raises(Exception, match="books that were given a chart keep it"):
        write(path, "DELETE FROM chart WHERE kind = 'rates'")


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (15, "the posting date lies in a closed period: 2026-03-15"),
        (16, None),
        (31, None),
        (32, "the posting date lies in no period: 2026-04-01"),
    ],
)
async def test_with_periods_a_date_in_none_is_as_closed_as_one_in_a_closed_period(
    path: Path, day: int, message: str | None
) -> None:
    on = date.fromordinal(date(2026, 2, 28).toordinal() + day)
    async with opened(path) as ledger:
        await ledger.record([an_entry(1, posting_date=on)])
    async with opened(path, charts=only(path, "periods")) as ledger:
        (outcome,) = await ledger.record([an_entry(2, posting_date=on)])
        refused = await ledger.post([entry_id(1)])
    if message is None:
        assert isinstance(outcome, Recorded)
        assert refused == []
    else:
        assert outcome == Refused(entry_id(2), RefusalKind.CLOSED_PERIOD, on.isoformat(), message)
        assert refused == [replace(outcome, accounting_entry_id=entry_id(1))]


async def test_what_a_later_chart_lacks_stays_for_old_entries_and_is_taken_by_no_new_one(path: Path) -> None:
    line = cost(tax_code="I25", dimensions=(Dimension("team", "T-1"),))
    async with opened(path, charts=only(path, "accounts", "tax_codes", "dimensions", "vendors")) as ledger:
        assert [type(one) for one in await ledger.record([line, a_bill(2)])] == [Recorded, Recorded]
    charts = only(
        path,
        accounts=ACCOUNTS.replace("6000,Travel and hotels,expense,acc-6000\n", ""),
        tax_codes="code\nI12\n",
        dimensions="group,code\n",
        vendors="code,name\nV-9,Other\n",
    )
    async with opened(path, charts=charts) as ledger:
        assert await ledger.post([entry_id(20), entry_id(2)]) == []
        again, refused = await ledger.record([line, a_bill(3)])
        await ledger.finish_job()
    assert isinstance(again, Recorded)
    assert again.found
    assert refused == Refused(entry_id(3), RefusalKind.UNKNOWN_VENDOR, "V-1", "there is no such vendor")
    assert rows(path, "SELECT active FROM account WHERE code = '6000'") == [(0,)]
    later = await reference(path, ChartFiles())
    assert later.vendors is not None
    assert (later.vendors.by_code("V-1"), later.tax_codes, later.dimensions) == (None, {"I12"}, {})
    assert "Expenses:6000" in path.with_suffix(".beancount").read_text()
    async with opened(path, charts=only(path, "accounts", "tax_codes", "dimensions", "vendors")) as ledger:
        outcomes = await ledger.record([a_bill(4)])
    assert isinstance(outcomes[0], Recorded)


async def test_accounts_that_pleo_named_before_are_taken_only_if_the_chart_has_them(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.record([an_entry(1), an_entry(2, 9, 0, lines=(Line(OTHER, debit_minor=9), _credit(9)))])
    async with opened(path, charts=only(path, "accounts")) as ledger:
        refused = ledger.check(an_entry(3, 9, 0, journal="K", lines=(Line(OTHER, debit_minor=9), _credit(9))))
        (recorded,) = await ledger.record([an_entry(4, journal="K")])
    assert refused is not None
    assert refused.subject == "6100"
    assert isinstance(recorded, Recorded)
    assert rows(path, "SELECT code, name, source, active FROM account WHERE code LIKE '6%'") == [
        ("6000", "Travel and hotels", "chart", 1),
        ("6100", "Meals", "pleo", 0),
    ]


def _credit(amount_minor: int) -> Line:
    return Line(WALLET, credit_minor=amount_minor, counter=True)


async def test_a_vendor_s_account_must_be_in_the_chart_that_stands(path: Path) -> None:
    await reference(path, only(path, "accounts"))
    before = folder_content(path.parent)
    charts = only(path, vendors="code,name,payable_account\nV-1,Acme,9999\n")
    for dry_run in (True, False):
        with pytest.raises(ErpConfigurationError, match="vendor V-1 has the payable account 9999, which is not in"):
            await reference(path, charts, dry_run=dry_run)
        if dry_run:
            assert folder_content(path.parent) == before
    assert rows(path, "SELECT kind FROM chart") == [("accounts",)]
    assert rows(path, "SELECT * FROM vendor") == []


async def test_a_vendor_s_account_opens_where_accounts_are_open(path: Path) -> None:
    given = await reference(path, only(path, "vendors"))
    assert given.vendors is not None
    acme = given.vendors.by_code("V-1")
    assert acme is not None
    assert acme.vendor.payable == Account("2410", "2410", AccountKind.LIABILITY)
    async with opened(path) as ledger:
        (recorded,) = await ledger.record([a_bill(1, payable=acme.vendor.payable)])
    assert isinstance(recorded, Recorded)


async def test_a_payable_account_that_no_line_names_must_be_in_the_chart_too(path: Path) -> None:
    document = replace(a_bill(1, amount_minor=0).documents[0], journal="K", lines=(Line(TRAVEL, counter=True),))
    bill = a_bill(1, amount_minor=0, payable=replace(PAYABLE, code="9999"), documents=(document,))
    async with opened(path, charts=only(path, "accounts")) as ledger:
        refused = ledger.check(bill)
    assert refused == Refused(entry_id(1), RefusalKind.UNKNOWN_ACCOUNT, "9999", "there is no such account")


@pytest.mark.parametrize("standing", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_wrong_file_changes_nothing(path: Path, dry_run: bool, standing: bool) -> None:
    if standing:
        async with opened(path) as ledger:
            await ledger.record([an_entry(1)])
    before = folder_content(path.parent)
    charts = only(path, "tax_codes", accounts="code,name,type\n6000,Travel,cost\n")
    with pytest.raises(ErpConfigurationError, match=r"accounts\.csv, line 2: type is"):
        await Ledger(path, charts=charts).open("6d2a6b0e-5b0e-4c57-9a55-0d9f0a3c1b11", dry_run=dry_run)
    assert folder_content(path.parent) == before


async def test_periods_and_rates_are_replaced_by_those_of_a_later_file(path: Path) -> None:
    await reference(path, only(path, "periods", "rates"), company_currency="DKK")
    periods = "first_date,last_date,state\n2026-01-01,2026-12-31,open\n"
    given = await reference(path, only(path, periods=periods, rates="currency,first_date,rate\nUSD,2026-01-01,6.5\n"))
    assert given.periods is not None
    assert given.periods.is_open(date(2026, 3, 1))
    assert given.rates is not None
    assert given.rates("EUR", date(2026, 3, 1)) is None
    assert given.rates("USD", date(2026, 3, 1)) == Decimal("6.5")


async def test_ten_thousand_accounts_are_laid_down_and_read_back(path: Path) -> None:
    lines = "".join(f"{code},Account {code},expense,id-{code}\n" for code in range(10_000))
    await reference(path, files(path, {"accounts": f"code,name,type,identifier\n{lines}"}))
    given = await reference(path, ChartFiles())
    assert given.chart is not None
    assert given.chart.find("", "id-9999") == Account("9999", "Account 9999", AccountKind.EXPENSE)
