"""The settings that a README shows can be used as they stand, and its tables say what the fields are."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from blocks.erp.ledger.block import FILE_FIELDS, LedgerSettings
from blocks.erp.ledger.charts import (
    ACCOUNT_COLUMNS,
    DIMENSION_COLUMNS,
    PERIOD_COLUMNS,
    RATE_COLUMNS,
    TAX_CODE_COLUMNS,
    VENDOR_COLUMNS,
    ChartFiles,
    read_charts,
)
from flows.settings import read_settings
from tests.support.readmes import code, table, the_one_with


@cache
def _readme() -> str:
    return the_one_with("| `accounts_file` |")


def _rows() -> dict[str, list[str]]:
    """The cells of each setting: values, default, meaning."""
    rows = table("Setting | Values | Default | Meaning", _readme())
    assert len({name for name, *_ in rows}) == len(rows)
    return {name.strip("`"): cells for name, *cells in rows}


def test_the_example_can_be_read_with_its_files(tmp_path: Path) -> None:
    (settings,) = code("toml", _readme())
    (tmp_path / "acme.toml").write_text(settings)
    tables = re.findall(r"`(\w+\.csv)`:\n\n```csv\n(.*?)```", _readme(), re.DOTALL)
    for name, content in tables:
        (tmp_path / name).write_text(content)
    read = read_settings(tmp_path / "acme.toml")
    files = {name.removesuffix("_file"): Path(file) for name in FILE_FIELDS if (file := getattr(read, name))}
    assert sorted(path.name for path in files.values()) == sorted(name for name, _ in tables)
    charts = read_charts(ChartFiles(**files))
    known = {one.account.code for one in charts.accounts or ()}
    assert {*read.role_accounts.values(), *read.wallet_accounts.values()} <= known
    assert [one.vendor.code for one in charts.vendors or () if one.blocked] == ["V0002"]
    assert [period.is_open for period in charts.periods or ()] == [False, True]


def test_every_setting_has_one_row_in_the_tables() -> None:
    assert sorted(_rows()) == sorted(LedgerSettings.model_fields)


@pytest.mark.parametrize("name", sorted(LedgerSettings.model_fields))
def test_the_default_that_is_told_is_the_one_that_counts(name: str) -> None:
    default = LedgerSettings.model_json_schema()["properties"][name].get("default", {})
    assert _rows()[name][1] == (f"`{default}`" if default else "none")


@pytest.mark.parametrize("name", sorted(LedgerSettings.model_fields))
def test_the_choices_that_are_told_are_those_that_there_are(name: str) -> None:
    choices = LedgerSettings.model_json_schema()["properties"][name].get("enum", [])
    if choices:
        assert re.findall(r"`(\w+)`", _rows()[name][0]) == choices


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("accounts", ACCOUNT_COLUMNS),
        ("tax codes", TAX_CODE_COLUMNS),
        ("dimensions", DIMENSION_COLUMNS),
        ("vendors", VENDOR_COLUMNS),
        ("periods", PERIOD_COLUMNS),
        ("rates", RATE_COLUMNS),
    ],
)
def test_the_columns_that_are_told_are_those_that_are_read(file: str, columns: object) -> None:
    (told,) = re.findall(rf"^\| {file} \| ([^|]+) \|$", _readme(), re.MULTILINE)
    required, _, optional = told.partition("[")
    found = re.findall(r"`(\w+)`", required), re.findall(r"`(\w+)`", optional)
    if file == "rates":
        found[0].remove("company_currency")
    assert (tuple(found[0]), tuple(found[1])) == (getattr(columns, "required", ()), getattr(columns, "optional", ()))
