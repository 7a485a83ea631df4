"""What the README files say is so: the top one's text is short, and each thing is told in one of them."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import flows.cli
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.block import LedgerSettings
from blocks.pleo.authorize import PORT
from blocks.pleo.oauth.block import SCOPES
from flows.bookkeeping.accounts import RULES
from flows.settings import read_settings
from tests.support.readmes import FILES, ROOT, TEXTS, TOP, code, table, the_one_with

README = TEXTS[TOP]
MOST_BYTES = 8_192
_FILE = re.compile(r"(?:blocks|flows|tests|deployments)/[\w./-]+\.\w+")
_FOLDER = re.compile(r"`((?:blocks|flows|tests|deployments)(?:/[\w-]+)+)/?`")
_MODULE = re.compile(r"python -m ((?:blocks|flows|tests)(?:\.\w+)+)")
_LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


@cache
def _help(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _options(module: str) -> list[str]:
    return re.findall(r"^  (--[a-z-]+)", _help(module), re.MULTILINE)


def test_the_first_thing_that_is_read_is_short() -> None:
    assert len(TOP.read_bytes()) <= MOST_BYTES


def test_every_option_is_told_once_and_every_told_option_exists() -> None:
    told = [name for cells in table("Option | Meaning", README) for name in re.findall(r"--[a-z-]+", cells[0])]
    assert sorted(told) == sorted(_options("flows.export"))


def test_every_option_of_connecting_is_told() -> None:
    text = the_one_with(f"127.0.0.1:{PORT}/callback")
    offered = _options("blocks.pleo.authorize")
    assert offered
    assert set(offered) <= set(re.findall(r"--[a-z-]+", text))
    assert SCOPES in text


def _commands(text: str) -> list[str]:
    return [line for block in code("sh", text) for line in block.splitlines()]


def test_there_are_two_commands_that_install_alike_and_ci_runs_the_tests_by_the_second() -> None:
    export, tests = [line for line in _commands(README) if line.startswith("python3 -m venv .venv && ")]
    assert export.partition(" -e ")[0] == tests.partition(" -e ")[0]
    assert export.endswith(" && .venv/bin/python -m flows.export --sandbox")
    assert tests.endswith(" && .venv/bin/python -m pytest")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_command_that_exports_is_one_that_is_accepted() -> None:
    commands = [line.partition("-m flows.export")[2] for text in TEXTS.values() for line in _commands(text)]
    given = [shlex.split(command, comments=True) for command in commands if command]
    assert len(given) >= 3
    for arguments in given:
        flows.cli.parse(arguments, None)


def test_every_exit_status_is_told_as_the_help_tells_it() -> None:
    offered = re.findall(r"\b\d+\b", _help("flows.export").split("exit status:")[1])
    assert [status for cells in table("Exit status | Meaning", README) for status in cells[0].split(", ")] == offered


def test_the_json_example_has_the_keys_of_the_document() -> None:
    (example,) = code("json", README)
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
    told = [re.sub(r"\s+", " ", text) for text in TEXTS.values()]
    assert any(", ".join(columns) in text for text in told)


def test_every_item_type_stands_in_the_table_of_accounts_once() -> None:
    rows = [row for text in TEXTS.values() for row in table("Type | Debit | Credit", text)]
    assert sorted(type_ for row in rows for type_ in row[0].split(", ")) == sorted(RULES)


def _named(file: Path) -> Iterator[Path]:
    text = TEXTS[file]
    yield from (ROOT / name for name in {*_FILE.findall(text), *_FOLDER.findall(text)})
    yield from (file.parent / link for link in _LINK.findall(text))
    for module in _MODULE.findall(text):
        folder = ROOT.joinpath(*module.split("."))
        yield folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_file_folder_and_module_that_is_named_is_there(file: Path) -> None:
    assert [str(named) for named in _named(file) if not named.exists()] == []


def test_the_settings_example_can_be_used(tmp_path: Path) -> None:
    (example,) = code("toml", the_one_with("```toml\npath ="))
    (tmp_path / "acme.toml").write_text(example)
    settings = read_settings(tmp_path / "acme.toml")
    assert settings.path == "acme.sqlite"
    assert settings.accepts("5a4db0c5-0000-4000-8000-000000000001")


def test_every_setting_is_told() -> None:
    told = "\n".join(TEXTS.values())
    assert [name for name in LedgerSettings.model_fields if f"`{name}`" not in told and name != "kind"] == []
