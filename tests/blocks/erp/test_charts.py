"""The ledger's CSV files: what they may say, however a spreadsheet has written it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from blocks.erp.entries import Account, AccountKind, Vendor
from blocks.erp.ledger.charts import ChartAccount, ChartFiles, ChartRate, Charts, read_charts
from blocks.erp.reference import KnownVendor, Period


def _files(folder: Path, **tables: str | bytes) -> ChartFiles:
    paths = {}
    for name, content in tables.items():
        paths[name] = folder / f"{name}.csv"
        paths[name].write_bytes(content.encode() if isinstance(content, str) else content)
    return ChartFiles(**paths)


def test_without_files_every_kind_stays_as_it_is() -> None:
    assert read_charts(ChartFiles()) == Charts()


def test_each_file_is_read_by_the_names_in_its_header(tmp_path: Path) -> None:
    files = _files(
        tmp_path,
        accounts="code,name,type,identifier\n6010,Travel,expense,gl-6010\n2900,Payables,liability,\n",
        tax_codes="code,name\nI25,Danish VAT\nI0,\n",
        dimensions="group,code,name\nPROJECT,P-1,First\nPROJECT,P-2,\nTEAM,P-1,\n",
        vendors="code,name,external_id,account,tax_number,payable_account,blocked\n"
        "V1,DSB,vendor-1,70001,DK 25 05 00 53,2900,no\nV2,Closed Ltd,,,,,yes\n",
        periods="first_date,last_date,state\n2026-02-01,2026-02-28,closed\n2026-01-01,2026-01-31,open\n",
        rates="currency,first_date,rate\nEUR,2026-01-01,7.46\nEUR,2026-02-01,7.4605\n",
    )
    payable = Account("2900", "Payables", AccountKind.LIABILITY)
    assert read_charts(files) == Charts(
        accounts=(
            ChartAccount(Account("6010", "Travel", AccountKind.EXPENSE), "gl-6010"),
            ChartAccount(payable),
        ),
        tax_codes=("I25", "I0"),
        dimensions=(("PROJECT", "P-1"), ("PROJECT", "P-2"), ("TEAM", "P-1")),
        vendors=(
            KnownVendor(Vendor("V1", "DSB", payable), "vendor-1", "70001", "DK 25 05 00 53"),
            KnownVendor(Vendor("V2", "Closed Ltd"), blocked=True),
        ),
        periods=(
            Period(date(2026, 1, 1), date(2026, 1, 31), True),
            Period(date(2026, 2, 1), date(2026, 2, 28), False),
        ),
        rates=(
            ChartRate("EUR", date(2026, 1, 1), Decimal("7.46")),
            ChartRate("EUR", date(2026, 2, 1), Decimal("7.4605")),
        ),
    )


EXPECTED = (ChartAccount(Account("6010", "Køb, øl & vin", AccountKind.EXPENSE)),)


@pytest.mark.parametrize(
    "content",
    [
        'code,name,type\n6010,"Køb, øl & vin",expense\n'.encode(),
        b"\xef\xbb\xbf" + "code;name;type\r\n6010;Køb, øl & vin;expense\r\n".encode(),
        "code;name;type\r6010;Køb, øl & vin;expense".encode(),
        "type;code;name\n;;\nexpense;6010;Køb, øl & vin\n;;\n\n".encode(),
        "\n\n Code ; NAME;Type\n\n 6010 ; Køb, øl & vin ;Expense\n".encode(),
        "sep=;\r\ncode;name;type\r\n6010;Køb, øl & vin;expense\r\n".encode(),
        b"\xef\xbb\xbf" + '"SEP=,"\ncode,name,type\n6010,"Køb, øl & vin",expense\n'.encode(),
        '"code","name","type","identifier"\n"6010","Køb, øl & vin","EXPENSE",""\n'.encode(),
    ],
    ids=[
        "commas",
        "excel with semicolons and mark",
        "old Mac lines",
        "other order",
        "blanks",
        "told",
        "told in capitals",
        "all quoted",
    ],
)
def test_a_file_may_be_written_as_spreadsheets_do(tmp_path: Path, content: bytes) -> None:
    assert read_charts(_files(tmp_path, accounts=content)).accounts == EXPECTED


def test_a_missing_name_is_the_code_and_quotation_marks_may_stand_inside(tmp_path: Path) -> None:
    files = _files(tmp_path, accounts='code,name,type\n1,,asset\n2,"The ""old"" bank",asset\n')
    assert [one.account.name for one in read_charts(files).accounts or ()] == ["1", 'The "old" bank']


@pytest.mark.parametrize(
    ("written", "expected"), [("", False), ("No", False), ("0", False), ("TRUE", True), ("1", True)]
)
def test_yes_and_no_are_understood_in_the_usual_spellings(tmp_path: Path, written: str, expected: bool) -> None:
    files = _files(tmp_path, vendors=f"code,name,blocked\nV1,DSB,{written}\n")
    assert [known.blocked for known in read_charts(files).vendors or ()] == [expected]


def test_a_payable_account_is_taken_as_it_is_without_a_chart(tmp_path: Path) -> None:
    files = _files(tmp_path, vendors="code,name,payable_account\nV1,DSB,2901\n")
    (known,) = read_charts(files).vendors or ()
    assert known.vendor.payable == Account("2901", "2901", AccountKind.LIABILITY)


@pytest.mark.parametrize("kind", ["tax_codes", "dimensions", "vendors", "rates"])
def test_a_header_alone_says_that_there_are_none(tmp_path: Path, kind: str) -> None:
    headers = {
        "tax_codes": "code",
        "dimensions": "group,code",
        "vendors": "code,name",
        "rates": "currency,first_date,rate",
    }
    assert getattr(read_charts(_files(tmp_path, **{kind: headers[kind]})), kind) == ()


def test_a_code_of_sixty_characters_fits_and_scripts_and_spaces_of_all_kinds_are_text(tmp_path: Path) -> None:
    files = _files(tmp_path, tax_codes=f"code,name\n{'x' * 60},東京\u3000税\u00a0🍕👨\u200d👩\n")
    assert read_charts(files).tax_codes == ("x" * 60,)
