"""What the settings of a ledger refuse, and what they make of what a form gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from blocks.collection import LedgerSettings
from blocks.erp.currencies import MinorUnits
from blocks.erp.ledger import block
from blocks.erp.ledger.charts import ChartFiles
from blocks.erp.ledger.handover.settings import HandoverSettings


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
        exchange_gain_account="7090",
        exchange_loss_account="7091",
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
                "handover": HandoverSettings(),
                "handover_folder": None,
                "exchange_accounts": ("", ""),
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
                "handover": HandoverSettings(),
                "handover_folder": None,
                "exchange_accounts": ("7090", "7091"),
            },
        ),
    ]
