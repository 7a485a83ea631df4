"""What README.md says is so."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.erp.ledger import Ledger
from blocks.erp.ledger.block import LedgerSettings
from blocks.pleo.authorize import PORT
from blocks.pleo.oauth.block import SCOPES
from flows.bookkeeping.accounts import RULES
from flows.settings import read_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_option_is_told_and_every_told_option_exists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.export", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = set(re.findall(r"^\| `(--[^|]+)` \|", README, re.MULTILINE))
    told_names = {name for cell in told for name in re.findall(r"--[a-z-]+", cell)}
    offered = set(re.findall(r"^  (--[a-z-]+)", done.stdout, re.MULTILINE))
    assert told_names == offered


def test_every_option_of_connecting_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blocks.pleo.authorize", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    section = README.split("### Connect with OAuth")[1].split("\n## ")[0]
    offered = set(re.findall(r"^  (--[a-z-]+)", done.stdout, re.MULTILINE))
    assert offered
    assert offered <= set(re.findall(r"--[a-z-]+", section))
    assert f"127.0.0.1:{PORT}/callback" in section
    assert SCOPES in section


def test_ci_runs_the_tests_by_the_command_that_a_reader_is_told() -> None:
    command = next(line for block in _blocks("sh") for line in block.splitlines() if line.endswith("-m pytest"))
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_json_example_has_the_keys_of_the_document() -> None:
    (example,) = _blocks("json")
    document = json.loads(example)
    assert list(document) == ["jobs", "pleo_requests", "seconds"]
    assert list(document["jobs"][0]) == [
        "job_id", "company_id", "event", "successful", "failed", "already_final", "totals", "failures",
    ]  # fmt: skip


async def test_the_journal_has_the_columns_that_are_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "books.sqlite")
    await ledger.open("5a4db0c5-0000-4000-8000-000000000001", dry_run=False)
    await ledger.close()
    with sqlite3.connect(tmp_path / "books.sqlite") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(journal)")]
    connection.close()
    assert re.sub(r"\s+", " ", ", ".join(columns)) in re.sub(r"\s+", " ", README)


def test_every_item_type_stands_in_the_table_of_accounts_once() -> None:
    rows = re.findall(r"^\| ([a-z_, ]+) \| [^|]+ \| [^|]+ \|$", README, re.MULTILINE)
    types = [type_ for row in rows for type_ in row.split(", ")]
    assert sorted(types) == sorted(RULES)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:blocks|flows|tests|deployments)/[\w/]+\.(?:py|yaml)", README)))
)
def test_every_file_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_settings_example_can_be_used(tmp_path: Path) -> None:
    (example,) = _blocks("toml")
    (tmp_path / "acme.toml").write_text(example)
    settings = read_settings(tmp_path / "acme.toml")
    assert settings.path == "acme.sqlite"
    assert settings.accepts("5a4db0c5-0000-4000-8000-000000000001")


def test_every_setting_is_told() -> None:
    assert [name for name in LedgerSettings.model_fields if name not in README and name != "kind"] == []
