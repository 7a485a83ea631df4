"""What the blocks refuse, and that neither a block nor its complaints show a secret."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from blocks.collection import LedgerSettings, PleoCredentials
from blocks.erp.currencies import MinorUnits
from blocks.erp.ledger import block
from blocks.erp.ledger.charts import ChartFiles

KEY = "pleo-key-that-nobody-may-see"


@pytest.fixture(params=["api_key", "access_token"])
def secret(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def credentials(secret: str, value: str = KEY) -> PleoCredentials:
    return PleoCredentials.model_validate({secret: value})


def test_a_secret_shows_in_no_text_made_of_the_block(secret: str, caplog: pytest.LogCaptureFixture) -> None:
    block = credentials(secret)
    logging.getLogger("test").warning("%s %r", block, block)
    shown = [
        repr(block),
        str(block),
        f"{block}",
        str(block.model_dump()),
        json.dumps(block.model_dump(mode="json")),
        block.model_dump_json(),
        str(dict(block)),
        caplog.text,
    ]
    assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": f"{KEY} with a space"},
        {"api_key": f"{KEY}\x00"},
        {"access_token": f"{KEY}é"},
        {"api_key": KEY, "access_token": KEY},
        {"api_key": KEY, "base_url": "http://pleo.example"},
        {"api_key": KEY, "base_url": "no url"},
        {"api_key": [KEY]},
        {"api_key": KEY, "base_url": f"https://user:{KEY}@pleo.example"},
        {"api_key": KEY, "base_url": f"https://pleo.example/?key={KEY}"},
    ],
)
def test_a_refused_value_is_not_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        PleoCredentials.model_validate(fields)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"api_key": "a b"}, "api_key"),
        ({"access_token": "a\tb"}, "access_token"),
        ({"api_key": "a", "base_url": "ftp://pleo.example"}, "base_url"),
        ({"api_key": "a", "base_url": "http://pleo.example"}, "base_url"),
        ({"api_key": "a", "base_url": 7}, "base_url"),
    ],
)
def test_a_refused_value_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PleoCredentials.model_validate(fields)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 101}, "page_size"),
        ({"update_batch_size": 101}, "update_batch_size"),
        ({"update_batch_size": "many"}, "update_batch_size"),
        ({"fava_url": "javascript:alert(1)"}, "fava_url"),
        ({"path": ""}, "path"),
        ({"kind": "tryton"}, "kind"),
        ({"payable_account": "1" * 61}, "payable_account"),
        ({"payment_journal": "A\x07B"}, "payment_journal"),
        ({"wallet_accounts": {"DKK": ""}}, "wallet_accounts"),
        ({"wallet_accounts": {"": "5820"}}, "wallet_accounts"),
        ({"tax_codes": {"I25": "1" * 61}}, "tax_codes"),
        ({"dimensions": {" ": "CC"}}, "dimensions"),
        ({"closed_period": "later"}, "closed_period"),
        ({"attachments": ""}, "attachments"),
        ({"path": "~nobody-of-that-name/books.sqlite"}, "path"),
        ({"vendors_file": "a\0.csv"}, "vendors_file"),
        ({"unknown_vendor": "skip"}, "unknown_vendor"),
        ({"settlement": "amount"}, "settlement"),
        ({"minor_units": 2}, "minor_units"),
        ({"max_receipt_kilobytes": 0}, "max_receipt_kilobytes"),
        ({"max_receipt_kilobytes": 30_001}, "max_receipt_kilobytes"),
        ({"company_currency": "kr"}, "company_currency"),
        ({"rates_file": "rates.csv"}, "company_currency"),
        ({"accounts_file": 3}, "accounts_file"),
    ],
)
def test_a_refused_setting_of_the_ledger_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LedgerSettings.model_validate(fields)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_null_counts_as_left_out_in_every_setting() -> None:
    nothing = dict.fromkeys(LedgerSettings.model_fields)
    assert LedgerSettings.model_validate(nothing) == LedgerSettings()


def test_a_tag_group_may_stand_for_no_dimension() -> None:
    settings = LedgerSettings(dimensions={"MOOD": " ", "COSTCENTRE": " CC "})
    assert settings.dimensions == {"MOOD": "", "COSTCENTRE": "CC"}


def test_new_lines_of_the_forms_text_fields_are_no_part_of_a_setting() -> None:
    settings = LedgerSettings(
        path=" books.sqlite\n", time_zone="UTC\n", payable_account="2900\n", vendors_file="v.csv\n"
    )
    assert (settings.path, settings.time_zone) == ("books.sqlite", "UTC")
    assert (settings.payable_account, settings.vendors_file) == ("2900", "v.csv")


def test_a_ledger_is_made_as_its_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(block, "Ledger", lambda path, **given: made.append((path, given)))
    LedgerSettings().connect(tmp_path)
    LedgerSettings(
        path="/books/acme.sqlite",
        accounts_file="accounts.csv",
        periods_file="/charts/periods.csv",
        company_currency="DKK",
        max_receipt_kilobytes=500,
        minor_units=MinorUnits.ISO4217,
        fava_url="http://127.0.0.1:5001/",
    ).connect(tmp_path)
    assert made == [
        (
            tmp_path / "books.sqlite",
            {
                "fava_url": "http://127.0.0.1:5000",
                "minor_units": MinorUnits.HUNDREDTHS,
                "charts": ChartFiles(),
                "company_currency": None,
                "max_attachment_bytes": 30_000_000,
            },
        ),
        (
            Path("/books/acme.sqlite"),
            {
                "fava_url": "http://127.0.0.1:5001",
                "minor_units": MinorUnits.ISO4217,
                "charts": ChartFiles(accounts=tmp_path / "accounts.csv", periods=Path("/charts/periods.csv")),
                "company_currency": "DKK",
                "max_attachment_bytes": 500_000,
            },
        ),
    ]


@pytest.mark.parametrize("fields", [{}, {"api_key": "", "access_token": "  "}, {"api_key": "a", "access_token": "b"}])
def test_exactly_one_of_key_and_token_is_needed(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give either an API key or an access token"):
        PleoCredentials.model_validate(fields)


def test_an_empty_field_of_the_form_counts_as_not_given() -> None:
    block = PleoCredentials(api_key=SecretStr(f" {KEY}\n"), access_token=SecretStr(""))
    assert block.api_key == SecretStr(KEY)
    assert block.access_token is None


def test_credentials_survive_a_copy_to_another_process(secret: str) -> None:
    copied = pickle.loads(pickle.dumps(credentials(secret)))
    assert getattr(copied, secret).get_secret_value() == KEY
