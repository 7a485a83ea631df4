"""`deployments/save_blocks.py pleo NAME` and `ledger NAME LEDGER`: any number of credentials and ledgers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest

from blocks.collection import LedgerSettings, PleoCredentials
from blocks.erp.entries import EntryState
from tests.support.processes import PrefectServer

KEYS = ("first-key-nobody-may-see", "second-key-nobody-may-see")
Say = Callable[..., str]


@pytest.fixture
def say(
    save_blocks: ModuleType,
    prefect_api: PrefectServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Runs the script; answers what it prints."""

    def said(*arguments: str | Path, key: str = "") -> str:
        monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
        monkeypatch.setenv("PLEO_API_KEY", key)
        save_blocks.main([str(one) for one in arguments])
        return capsys.readouterr().out

    return said


@pytest.fixture
def name() -> str:
    return f"block-{uuid4().hex[:12]}"


def test_credentials_are_saved_under_as_many_names_as_there_are(say: Say, name: str) -> None:
    for number, key in enumerate(KEYS):
        said = say("pleo", f"{name}-{number}", key=key)
        assert said == f"saved pleo-credentials/{name}-{number} for https://external.pleo.io\n"
    for number, key in enumerate(KEYS):
        block = PleoCredentials.load(f"{name}-{number}")
        assert isinstance(block, PleoCredentials)
        assert block.api_key is not None
        assert block.api_key.get_secret_value() == key


def test_a_ledger_is_saved_with_its_settings_which_stay_when_it_moves(say: Say, name: str, tmp_path: Path) -> None:
    (tmp_path / "vendors.csv").write_text("code,name\n")
    file = tmp_path / "acme.toml"
    file.write_text('posting = "posted"\nvendors_file = "vendors.csv"\n')
    books = tmp_path / "{company}.sqlite"
    assert say("ledger", name, books, "--settings", file) == f"saved ledger/{name}, with its books in {books}\n"
    moved = tmp_path / "moved" / "books.sqlite"
    say("ledger", name, moved)
    block = LedgerSettings.load(name)
    assert isinstance(block, LedgerSettings)
    assert (block.path, block.posting) == (str(moved), EntryState.POSTED)
    assert block.vendors_file == str(tmp_path / "vendors.csv")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pleo"], "the following arguments are required: NAME"),
        (["pleo", "Acme"], "'Acme' cannot be the name of a block"),
        (["pleo", "acme", "--settings", "f"], "unrecognized arguments"),
        (["ledger", "acme"], "the following arguments are required: LEDGER"),
    ],
)
def test_wrong_usage_is_one_line(
    save_blocks: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        save_blocks.main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"save_blocks: {complaint}")


def test_without_a_key_or_with_settings_that_are_none_nothing_is_saved(say: Say, name: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="save_blocks: no Pleo credentials"):
        say("pleo", name)
    file = tmp_path / "acme.toml"
    file.write_text("postin = 'posted'")
    with pytest.raises(SystemExit, match=r"acme\.toml: postin: no such setting, did you mean posting\?"):
        say("ledger", name, tmp_path / "a.sqlite", "--settings", file)
    for kind in (PleoCredentials, LedgerSettings):
        with pytest.raises(ValueError, match="Unable to find block document"):
            kind.load(name)
