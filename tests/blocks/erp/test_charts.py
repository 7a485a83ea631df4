"""The ledger's CSV files: what they may say, however it is written; a mistake is one line that names it."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.erp.entries import Account, AccountKind, Vendor
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger import csv_table
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


KINDS = ("accounts", "tax_codes", "dimensions", "vendors", "periods", "rates")


def _complaint(files: ChartFiles) -> str:
    with pytest.raises(ErpConfigurationError) as caught:
        read_charts(files)
    (line,) = str(caught.value).splitlines()
    return line


MISTAKES = r"""
tax_codes| name| x
> line 1: column code is missing; known are code, name (may be left out), datev_key (may be left out), automatic (may be left out)
tax_codes| | | code,colour
> line 3: there is no column "colour"; known are code, name (may be left out), datev_key (may be left out), automatic (may be left out)
tax_codes| code,| x,
> line 1: column 2 has no name; known are code, name (may be left out), datev_key (may be left out), automatic (may be left out)
tax_codes| code,name,Code
> line 1: column code is named twice
tax_codes| code,name| a,b| c
> line 3: the header names 2 columns, but this line has 1
tax_codes| code,name| a,b,c
> line 2: the header names 2 columns, but this line has 3
tax_codes| code,name| | ,Nothing
> line 3: code is empty
tax_codes| code| A| B| | A
> line 5: tax code "A" stands on line 2 already
tax_codes| code| 1234567890123456789012345678901234567890123456789012345678901
> line 2: code is longer than 60 characters: "12345678901234567890123456789012345678901234567890123456789…"
tax_codes| code| A\x07B
> line 2: code has a control character in it: type "A B" anew
tax_codes| code| A\u202eB
> line 2: code has a control character in it: type "A B" anew
tax_codes| code,name| A,x\ty
> line 2: name has a control character in it: type "x y" anew
tax_codes| code| \x00
> line 2: code has a control character in it: type "" anew
tax_codes| code,name| A,"x
> line 2: the quotation marks do not match: a value in them ends on its line, and has "" for one inside it
tax_codes| code,name| A,"x"y
> line 2: the quotation marks do not match: a value in them ends on its line, and has "" for one inside it
accounts| code,name,type| 1,Bank,money
> line 2: type is "money", but should be asset, liability, equity, income or expense
accounts| code,name,type| 1,Bank,
> line 2: type is "", but should be asset, liability, equity, income or expense
accounts| code,name,type| 1,A,asset| 1,B,asset
> line 3: account "1" stands on line 2 already
accounts| code,name,type,identifier| 1,A,asset,x| 2,B,asset,x
> line 3: identifier "x" stands on line 2 already
dimensions| group,code| ,A
> line 2: group is empty
dimensions| group,code| G,A| G,A
> line 3: dimension "G A" stands on line 2 already
vendors| code,name,blocked| V1,A,perhaps
> line 2: blocked is "perhaps", but should be yes or no
vendors| code,name| V1,A| V1,B
> line 3: vendor "V1" stands on line 2 already
periods| first_date,last_date,state| 01.02.2026,2026-02-28,open
> line 2: first_date is "01.02.2026", but should be a date such as 2026-01-31
periods| first_date,last_date,state| 2026-02-01,2026-02-30,open
> line 2: last_date is "2026-02-30", but should be a date such as 2026-01-31
periods| first_date,last_date,state| 2026-02-01,2026-01-31,open
> line 2: last_date 2026-01-31 is before first_date 2026-02-01
periods| first_date,last_date,state| 2026-02-01,2026-02-28,shut
> line 2: state is "shut", but should be open or closed
periods| first_date,last_date,state| 2026-02-01,2026-02-28,open| 2026-01-01,2026-02-01,open
> line 3: the period overlaps the one on line 2
rates| currency,first_date,rate| eur,2026-01-01,7.46
> line 2: currency is "eur", but should be three capital letters, such as EUR
rates| currency,first_date,rate| EUR,2026-01-01,"7,46"
> line 2: rate is "7,46", but should be above 0 and with a decimal point, such as 7.46
rates| currency,first_date,rate| EUR,2026-01-01,0.00
> line 2: rate is "0.00", but should be above 0 and with a decimal point, such as 7.46
rates| currency,first_date,rate| EUR,2026-01-01,-1
> line 2: rate is "-1", but should be above 0 and with a decimal point, such as 7.46
rates| currency,first_date,rate| EUR,2026-01-01,1| EUR,2026-01-01,2
> line 3: rate "EUR 2026-01-01" stands on line 2 already
"""  # noqa: E501
"""A file and its lines, and below it the complaint."""


@pytest.mark.parametrize("mistake", MISTAKES.strip().replace("\n>", " >").split("\n"))
def test_a_mistake_is_one_line_that_says_where_it_is_and_what_is_expected(tmp_path: Path, mistake: str) -> None:
    table, said = mistake.split(" > ")
    kind, *lines = table.split("|")
    content = "\n".join(line.strip(" ") for line in lines).encode().decode("unicode_escape")
    assert _complaint(_files(tmp_path, **{kind: content})) == f"{tmp_path / kind}.csv, {said}"


def test_another_encoding_is_told_by_the_line_where_it_shows(tmp_path: Path) -> None:
    files = _files(tmp_path, tax_codes=b"code\nA\n\xc6\n")
    expected = "it is not written in UTF-8: save it as CSV UTF-8, or choose the encoding UTF-8"
    assert _complaint(files) == f"{tmp_path}/tax_codes.csv, line 3: {expected}"


def test_a_value_of_any_length_is_refused(tmp_path: Path) -> None:
    files = _files(tmp_path, tax_codes=f"code,name\nA,{'y' * 200_000}\n")
    assert _complaint(files) == f"{tmp_path}/tax_codes.csv, line 2: a value is longer than 255 characters"
    files = _files(tmp_path, tax_codes=f"code,name\nA,{'y' * 256}\n")
    assert _complaint(files) == (f'{tmp_path}/tax_codes.csv, line 2: name is longer than 255 characters: "{"y" * 59}…"')


@pytest.mark.parametrize("content", ["", "\ufeff", "\n\n", " ;; \n,,\n"])
def test_an_empty_file_is_told_what_it_should_begin_with(tmp_path: Path, content: str) -> None:
    files = _files(tmp_path, periods=content)
    expected = "it is empty, but should begin with a line that names first_date, last_date, state"
    assert _complaint(files) == f"{tmp_path}/periods.csv: {expected}"


@pytest.mark.parametrize(
    ("kind", "header", "what"),
    [("accounts", "code,name,type", "account"), ("periods", "first_date,last_date,state", "period")],
)
def test_a_chart_without_accounts_or_periods_could_book_nothing(
    tmp_path: Path, kind: str, header: str, what: str
) -> None:
    files = _files(tmp_path, **{kind: header})
    assert _complaint(files) == f"{tmp_path / kind}.csv: it has a header line, but no {what}"


def test_a_payable_account_must_be_in_the_chart(tmp_path: Path) -> None:
    files = _files(
        tmp_path,
        accounts="code,name,type\n2900,Payables,liability\n",
        vendors="code,name,payable_account\nV1,DSB,2900\nV2,SAS,2901\n",
    )
    expected = 'vendors.csv, line 3: payable_account "2901" is not in the file of accounts'
    assert _complaint(files) == f"{tmp_path}/{expected}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, kind: str) -> None:
    files = ChartFiles(**{kind: tmp_path / "none.csv"})
    assert _complaint(files) == f"{tmp_path}/none.csv: No such file or directory"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert _complaint(ChartFiles(accounts=tmp_path)) == f"{tmp_path}: it is not a file"


def test_a_name_that_no_file_can_have_is_refused() -> None:
    assert _complaint(ChartFiles(accounts=Path("a\0b"))) == "a b: this cannot be the name of a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    files = _files(tmp_path, accounts="code,name,type\n")
    (tmp_path / "accounts.csv").chmod(0)
    assert _complaint(files) == f"{tmp_path}/accounts.csv: Permission denied"


def test_a_file_that_is_too_large_is_not_read_any_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "MAX_BYTES", 2_000_000)
    files = _files(tmp_path, tax_codes=b"code\n" + b"x\n" * 1_000_000)
    assert _complaint(files) == f"{tmp_path}/tax_codes.csv: it is larger than 2 MB"


def test_twenty_megabytes_are_the_limit() -> None:
    assert csv_table.MAX_BYTES == 20_000_000


HEADERS = (
    b"code,name,type,identifier\n", b"code;name\n", b"group,code\n", b"currency,first_date,rate\n",
    b"first_date;last_date;state\n", b"code,name,external_id,account,tax_number,payable_account,blocked\n", b"",
)  # fmt: skip
WORDS = st.sampled_from(
    [b",", b";", b'"', b"\n", b"\r", b"\0", b"2026-01-01", b"9999-12-31", b"open", b"closed", b"asset", b"EUR", b"1.5",
     b"\xff", b"\xe2\x80\xae", b"1" * 70, b" ", b"A", b"B", b"yes"]
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.sampled_from(HEADERS), body=st.one_of(st.binary(max_size=200), st.lists(WORDS).map(b"".join)))
def test_whatever_bytes_a_file_holds_it_is_a_chart_or_one_line(
    tmp_path: Path, kind: str, header: bytes, body: bytes
) -> None:
    files = _files(tmp_path, **{kind: header + body})
    try:
        assert isinstance(read_charts(files), Charts)
    except ErpConfigurationError as error:
        (line,) = str(error).splitlines()
        assert line.startswith(f"{tmp_path / kind}.csv")
        assert len(line) < 600


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (["5820.0", "6010.0"], 'line 2: code is "5820.0": a spreadsheet has made a number of it'),
        (["5820", "6010.0"], 'line 3: code is "6010.0": a spreadsheet has made a number of it'),
        (["Cash", "1.2E+11"], 'line 3: code is "1.2E+11": a spreadsheet has made a number of it'),
        (["5820.0", "5820.1"], None),
        (["5820", "A.0"], None),
    ],
)
def test_codes_that_a_spreadsheet_has_made_numbers_of_are_told(
    tmp_path: Path, codes: list[str], said: str | None
) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text("code,name,type\n" + "".join(f"{code},Account,asset\n" for code in codes))
    if said is None:
        assert [one.account.code for one in read_charts(ChartFiles(accounts=path)).accounts or ()] == codes
        return
    with pytest.raises(ErpConfigurationError) as caught:
        read_charts(ChartFiles(accounts=path))
    assert said in str(caught.value)


def test_a_vendors_accounts_are_looked_at_too(tmp_path: Path) -> None:
    path = tmp_path / "vendors.csv"
    path.write_text("code,name,payable_account\nV1,A,2900.0\nV2,B,\n")
    with pytest.raises(ErpConfigurationError, match=r'line 2: payable_account is "2900\.0": a spreadsheet'):
        read_charts(ChartFiles(vendors=path))
