"""The settings as a file: every field, in TOML and in YAML, and one line for every mistake."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from blocks.erp.choices import ChangedExpense
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import EntryState
from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.reference import JournalUse, Role
from blocks.erp.settings import (
    AllFailedEvent,
    Attachments,
    ClosedPeriod,
    DuplicateInvoice,
    ErpSettings,
    MoneyBackSign,
    ReceiptProxy,
    ReverseChargeCheck,
    Settlement,
    UnknownVendor,
)
from blocks.erp.tryton.block import TrytonSettings
from flows.settings import SettingsError, read_settings, read_settings_of

COMPANY = "5a4db0c5-0000-4000-8000-000000000001"

TOML = f"""
path = "acme.sqlite"
accounts_file = "accounts.csv"
rates_file = "/rates/2026.csv"
company_currency = "DKK"
posting = "posted"
time_zone = "Europe/Copenhagen"
attachments = "required"
receipt_proxy = "by_name"
closed_period = "next_open"
unknown_vendor = "fallback"
unknown_vendor_account = "2909"
out_of_pocket_account = "2920"
contra_account = "5890"
payable_account = "2900"
reimbursement_contra_account = "2930"
input_tax_account = "7910"
output_tax_account = "7930"
default_expense_account = "6990"
card_fee_account = "6910"
exchange_gain_account = "7610"
exchange_loss_account = "7620"
general_journal = "GEN"
card_journal = "CARD"
out_of_pocket_journal = "OOP"
invoice_payment_journal = "INV"
bill_journal = "PUR"
credit_note_journal = "CRN"
payment_journal = "PAY"
employee_dimension = "EMPLOYEE"
team_dimension = " TEAM "
settlement = "never"
duplicate_invoice = "warn"
reverse_charge_check = "warn"
changed_expense = "reverse"
minor_units = "iso4217"
money_back_sign = "negative"
all_failed_event = "completed_with_errors"
max_receipt_kilobytes = 500
page_size = 50
update_batch_size = 25
fava_url = "http://127.0.0.1:5001/"
wallet_accounts = {{ DKK = "5820", EUR = " 5821 " }}
tax_codes = {{ I25 = "VAT25" }}
dimensions = {{ COSTCENTRE = "CC" }}
companies = {{ "{COMPANY.upper()}" = "Acme ApS" }}
"""
YAML = "\n".join(
    line.replace(" = ", ": ", 1) if "{" not in line else line.replace(" = ", ": ") for line in TOML.splitlines()
)
COMMON = {
    "posting": EntryState.POSTED,
    "time_zone": "Europe/Copenhagen",
    "attachments": Attachments.REQUIRED,
    "receipt_proxy": ReceiptProxy.BY_NAME,
    "closed_period": ClosedPeriod.NEXT_OPEN,
    "unknown_vendor": UnknownVendor.FALLBACK,
    "unknown_vendor_account": "2909",
    "companies": {COMPANY: "Acme ApS"},
    "wallet_accounts": {"DKK": "5820", "EUR": "5821"},
    "out_of_pocket_account": "2920",
    "contra_account": "5890",
    "payable_account": "2900",
    "reimbursement_contra_account": "2930",
    "input_tax_account": "7910",
    "output_tax_account": "7930",
    "default_expense_account": "6990",
    "card_fee_account": "6910",
    "exchange_gain_account": "7610",
    "exchange_loss_account": "7620",
    "general_journal": "GEN",
    "card_journal": "CARD",
    "out_of_pocket_journal": "OOP",
    "invoice_payment_journal": "INV",
    "bill_journal": "PUR",
    "credit_note_journal": "CRN",
    "payment_journal": "PAY",
    "tax_codes": {"I25": "VAT25"},
    "dimensions": {"COSTCENTRE": "CC"},
    "employee_dimension": "EMPLOYEE",
    "team_dimension": "TEAM",
    "settlement": Settlement.NEVER,
    "duplicate_invoice": DuplicateInvoice.WARN,
    "reverse_charge_check": ReverseChargeCheck.WARN,
    "changed_expense": ChangedExpense.REVERSE,
    "minor_units": MinorUnits.ISO4217,
    "money_back_sign": MoneyBackSign.NEGATIVE,
    "all_failed_event": AllFailedEvent.COMPLETED_WITH_ERRORS,
    "page_size": 50,
    "update_batch_size": 25,
}
"""What the file says of the settings that every accounting system has."""


def _written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "text"), [("s.toml", TOML), ("s.yaml", YAML), ("s.yml", YAML)])
def test_a_settings_file_has_the_fields_of_the_block(tmp_path: Path, name: str, text: str) -> None:
    settings = read_settings(_written(tmp_path, name, text))
    assert settings.model_dump(include=set(ErpSettings.model_fields)) == COMMON
    ledger = {"path", "accounts_file", "rates_file", "vendors_file", "company_currency", "max_receipt_kilobytes"}
    assert settings.model_dump(include=ledger | {"fava_url"}) == {
        "path": "acme.sqlite",
        "accounts_file": f"{tmp_path}/accounts.csv",
        "rates_file": "/rates/2026.csv",
        "vendors_file": "",
        "company_currency": "DKK",
        "max_receipt_kilobytes": 500,
        "fava_url": "http://127.0.0.1:5001",
    }


def test_accounts_and_journals_are_found_by_what_they_are_for() -> None:
    settings = ErpSettings(**COMMON)
    assert settings.zone == ZoneInfo("Europe/Copenhagen")
    assert settings.role_accounts == {
        Role.OUT_OF_POCKET: "2920",
        Role.CONTRA: "5890",
        Role.PAYABLE: "2900",
        Role.REIMBURSEMENT_CONTRA: "2930",
        Role.INPUT_TAX: "7910",
        Role.OUTPUT_TAX: "7930",
        Role.EXCHANGE_GAIN: "7610",
        Role.EXCHANGE_LOSS: "7620",
    }
    assert settings.journals == {
        JournalUse.GENERAL: "GEN",
        JournalUse.CARD: "CARD",
        JournalUse.OUT_OF_POCKET: "OOP",
        JournalUse.INVOICE_PAYMENTS: "INV",
        JournalUse.BILLS: "PUR",
        JournalUse.CREDIT_NOTES: "CRN",
        JournalUse.PAYMENTS: "PAY",
    }
    assert (ErpSettings().zone, ErpSettings().role_accounts, ErpSettings().journals) == (ZoneInfo("UTC"), {}, {})


def test_without_settings_a_block_is_as_the_settings_are_by_default() -> None:
    assert LedgerSettings().model_dump(include=set(ErpSettings.model_fields)) == ErpSettings().model_dump()


def test_settings_do_not_change_and_take_no_name_that_they_do_not_have() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ErpSettings().posting = EntryState.POSTED  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        ErpSettings(postings="posted")  # type: ignore[call-arg]


def test_an_empty_file_or_empty_fields_are_no_settings(tmp_path: Path) -> None:
    assert read_settings(_written(tmp_path, "s.yaml", "")) == LedgerSettings()
    text = "payable_account: null\ncontra_account: '  '\naccounts_file: ''\nteam_dimension: ''"
    assert read_settings(_written(tmp_path, "s.yaml", text)) == LedgerSettings()


def test_what_is_given_beside_the_file_takes_the_place_of_what_it_says(tmp_path: Path) -> None:
    assert read_settings(_written(tmp_path, "s.toml", TOML), path="other.sqlite").path == "other.sqlite"


def test_files_stand_beside_the_settings_that_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme").mkdir()
    _written(tmp_path / "acme", "s.toml", 'vendors_file = "../vendors.csv"\nperiods_file = "~/periods.csv"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of-acme")
    settings = read_settings(Path("acme/s.toml"))
    assert settings.vendors_file == f"{tmp_path}/acme/../vendors.csv"
    assert settings.periods_file == "/home/of-acme/periods.csv"


@pytest.mark.parametrize("given", [{}, {"posting": None}])
def test_posting_that_is_left_out_is_a_draft(given: dict[str, object]) -> None:
    assert LedgerSettings.model_validate(given).posting is EntryState.DRAFT


@pytest.mark.parametrize("unreadable", ["''", "'Posted'", "'posted '", "true", "3", "['posted']", "{ posted = true }"])
def test_posting_that_cannot_be_read_is_refused_by_a_line_that_names_it(tmp_path: Path, unreadable: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(_written(tmp_path, "s.toml", f"posting = {unreadable}"))
    assert str(refused.value) == f"{tmp_path}/s.toml: posting: Input should be 'draft' or 'posted'"


QUOTE_IT = 'it should be text, in quotation marks: "2900"'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.toml", "time_zone = 'Mars/Olympus'", "time_zone: no time zone"),
        ("s.toml", "page_size = 0", "page_size: Input should be greater"),
        ("s.toml", "page_size = true", "page_size: a number, and not true or false"),
        ("s.yaml", "max_receipt_kilobytes: yes", "max_receipt_kilobytes: a number, and not true or false"),
        ("s.toml", "page_size = 'many'", "page_size: Input should be a valid integer"),
        ("s.toml", "page_size = 7.5", "page_size: Input should be a valid integer"),
        ("s.toml", "duplicate_invoice = true", "duplicate_invoice: Input should be 'fail' or 'warn'"),
        ("s.toml", "reverse_charge_check = ''", "reverse_charge_check: Input should be 'fail' or 'warn'"),
        ("s.toml", "card_fee_account = 6910", f"card_fee_account: {QUOTE_IT}"),
        ("s.toml", "max_receipt_kilobytes = 30001", "max_receipt_kilobytes: Input should be less than"),
        ("s.toml", "wallet_accounts = { kroner = '1940' }", "wallet_accounts: 'kroner' is no currency"),
        ("s.toml", "wallet_accounts = { DKK = 1940 }", f"wallet_accounts.DKK: {QUOTE_IT}"),
        ("s.toml", "wallet_accounts = { DKK = ' ' }", "wallet_accounts: the account of DKK is empty"),
        ("s.yaml", "wallet_accounts: { 1: '1940' }", 'line 1, column 20: 1 is a number in YAML: write "1"'),
        ("s.yaml", "tax_codes:\n  NO: V25", 'line 2, column 3: NO is a truth value in YAML: write "NO"'),
        ("s.yaml", "dimensions:\n  a: b\n  2026-01-31: C", 'line 3, column 3: 2026-01-31 is a date in YAML: write "'),
        ("s.yaml", "dimensions: {1.50: C}", 'line 1, column 14: 1.50 is a number in YAML: write "1.50"'),
        ("s.yaml", "tax_codes: {~: C}", 'line 1, column 13: ~ is nothing in YAML: write "~"'),
        ("s.yaml", "On: draft", 'line 1, column 1: On is a truth value in YAML: write "On"'),
        (
            "s.toml",
            "[tax_codes]\nI25='V25'\nposting='posted'",
            "tax_codes.posting: a setting; put it above [tax_codes]",
        ),
        ("s.toml", "[dimensions]\npath='b.sqlite'", "dimensions.path: a setting; put it above [dimensions]"),
        ("s.toml", "[companies]\nattachments='skip'", "companies.attachments: a setting; put it above [companies]"),
        ("s.toml", "[wallet_accounts]\ncompanies={}", "wallet_accounts.companies: a setting; put it above [wallet"),
        ("s.yaml", "tax_codes:\n  posting: posted", "tax_codes.posting: a setting; move it out of tax_codes"),
        ("s.toml", "companies = { acme = '1' }", "companies: each Pleo company is named by its UUID"),
        (
            "s.toml",
            f"companies = {{ '{COMPANY}' = '1', '{COMPANY.upper()}' = '2' }}",
            f"companies: company {COMPANY} is named twice",
        ),
        ("s.toml", "money_back_sign = 'up'", "money_back_sign: Input should be"),
        ("s.toml", "closed_period = 'later'", "closed_period: Input should be 'fail', 'next_open' or 'today'"),
        ("s.toml", "attachments = true", "attachments: Input should be 'required', 'optional' or 'skip'"),
        ("s.toml", "payable_account = 2900", f"payable_account: {QUOTE_IT}"),
        ("s.toml", f"bill_journal = '{'J' * 61}'", "bill_journal: it is longer than 60 characters: JJJ"),
        ("s.toml", 'team_dimension = "A\\u0007B"', "team_dimension: it has control characters"),
        ("s.toml", "tax_codes = { I25 = '' }", "tax_codes: the tax code of I25 is empty"),
        ("s.toml", "tax_codes = { '' = 'VAT25' }", "tax_codes: what stands before VAT25 is empty"),
        ("s.toml", f"dimensions = {{ {'G' * 61} = 'CC' }}", "dimensions: what stands before CC is longer"),
        ("s.toml", "dimensions = { CC = 'C', ' CC' = 'D' }", "dimensions: CC is named twice"),
        ("s.toml", "company_currency = 'kr'", "company_currency: 'kr' is no currency: use its three capital letters"),
        ("s.toml", "rates_file = 'rates.csv'", "company_currency: with rates_file it must be said which currency"),
        ("s.toml", "path = ' '", "path: String should have at least 1 character"),
        ("s.toml", "fava_url = 'fava'", "fava_url: it should be a web address such as http://127.0.0.1:5000"),
        ("s.toml", "colour = 'red'", "colour: no such setting"),
        ("s.toml", "payable_acount = '1'", "payable_acount: no such setting, did you mean payable_account?"),
        ("s.toml", "Posting = 'posted'", "Posting: no such setting, did you mean posting?"),
        ("s.toml", "page_size = = 3", "Invalid value"),
        ("s.yaml", "- a\n- b", "settings are names with values"),
        ("s.yaml", "a: [", "line 1, column 5: expected the node content"),
        ("s.yaml", "posting: draft\nposting: posted", "line 2, column 1: posting is named twice"),
        ("s.yaml", "tax_codes: {A: x, A: y}", "line 1, column 19: A is named twice"),
        ("s.yaml", "a: &a {A: x}\ntax_codes: {<<: *a}", "line 2, column 13: settings cannot be merged"),
        ("s.yaml", "[" * 50_000, "too many brackets inside each other"),
        ("s.toml", "path = " + "[" * 50_000, "too many brackets inside each other"),
        ("s.toml", "#" * 100_001, "too large for settings"),
        (
            "s.toml",
            "path = '~nobody-of-that-name/books.sqlite'",
            "path: ~nobody-of-that-name/books.sqlite: there is",
        ),
        ("s.toml", 'rates_file = "a\\u0000b"', "rates_file: this cannot be the name of a file"),
        ("s.ini", "", "ends in .toml, .yaml or .yml"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_file_and_field(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(_written(tmp_path, name, text))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / name}: ")
    assert said in line


def test_a_byte_order_mark_is_no_part_of_the_first_setting(tmp_path: Path) -> None:
    for name, text in (("s.toml", "posting = 'posted'"), ("s.yaml", "posting: posted")):
        assert read_settings(_written(tmp_path, name, f"\ufeff{text}")).posting is EntryState.POSTED


def test_another_encoding_is_told_by_the_line_where_it_shows(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes("posting = 'posted'\npath = 'bøger.sqlite'".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"s\.toml: line 2 is not written in UTF-8"):
        read_settings(tmp_path / "s.toml")


def test_a_settings_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: No such file"):
        read_settings(tmp_path / "none.toml")


CONNECTION = {"base_url": "https://tryton.example", "database": "acme", "application_key": "key-of-tryton"}
FROM = {"base_url": "TRYTON_URL", "application_key": "TRYTON_KEY"}


@pytest.mark.parametrize(("name", "joint"), [("s.toml", " = "), ("s.yaml", ": ")])
def test_another_systems_settings_are_a_file_too(tmp_path: Path, name: str, joint: str) -> None:
    path = _written(tmp_path, name, f'posting{joint}"posted"\nanswer_seconds{joint}30\ncompany{joint}"Acme ApS"')
    settings = read_settings_of(TrytonSettings, path, CONNECTION, FROM)
    assert (settings.posting, settings.answer_seconds, settings.company) == (EntryState.POSTED, 30, "Acme ApS")
    assert (settings.base_url, settings.application_key.get_secret_value()) == (
        "https://tryton.example",
        "key-of-tryton",
    )
    assert read_settings_of(TrytonSettings, path, {**CONNECTION, "company": "Other"}).company == "Other"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("application_key = 'key-of-tryton'", "application_key: this comes from TRYTON_KEY, so take it out"),
        ("base_url = 'https://other.example'", "base_url: this comes from TRYTON_URL, so take it out"),
        ("password = 'key-of-tryton'", "password: secrets do not belong in this file, so take it out"),
        ("pasword = 'key-of-tryton'", "pasword: no such setting, did you mean password?"),
        ("fava_url = 'http://127.0.0.1:5000'", "fava_url: no such setting"),
        ("answer_seconds = 3", "answer_seconds: Input should be greater than or equal to 5"),
        ("user = 'pleo'", "give both a user and a password, or neither"),
    ],
)
def test_a_file_has_no_secrets_and_nothing_that_comes_from_elsewhere(tmp_path: Path, text: str, said: str) -> None:
    path = _written(tmp_path, "s.toml", text)
    with pytest.raises(SettingsError) as caught:
        read_settings_of(TrytonSettings, path, CONNECTION, FROM)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: {said}")
    assert "key-of-tryton" not in line


def test_what_is_wrong_with_a_value_from_elsewhere_is_told_by_where_it_comes_from(tmp_path: Path) -> None:
    path = _written(tmp_path, "s.toml", "")
    with pytest.raises(SettingsError, match=r"^TRYTON_URL: not a URL: it should look like"):
        read_settings_of(TrytonSettings, path, {**CONNECTION, "base_url": "tryton"}, FROM)
    without_key = {name: value for name, value in CONNECTION.items() if name != "application_key"}
    with pytest.raises(SettingsError, match=r"^TRYTON_KEY: it is not set$"):
        read_settings_of(TrytonSettings, path, without_key, FROM)


def test_words_in_quotation_marks_are_names_whatever_yaml_takes_them_for(tmp_path: Path) -> None:
    text = "tax_codes: {'NO': V25, \"1\": V1, '2026-01-31': V2}"
    assert read_settings(_written(tmp_path, "s.yaml", text)).tax_codes == {"NO": "V25", "1": "V1", "2026-01-31": "V2"}
