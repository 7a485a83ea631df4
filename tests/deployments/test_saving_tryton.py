"""`deployments/save_blocks.py tryton NAME`: a block from the environment and a file, without a secret on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from blocks.collection import TrytonSettings
from blocks.erp.entries import EntryState
from tests.deployments.test_blocks_on_the_command_line import save_as_the_form_does
from tests.support.installing import run
from tests.support.processes import PrefectServer

KEY, PASSWORD = "key-that-nobody-may-see", "pass word that nobody may see "
CONNECTION = {"TRYTON_URL": "https://tryton.example/", "TRYTON_DATABASE": "acme", "TRYTON_KEY": KEY}
USER = {"TRYTON_USER": "pleo", "TRYTON_PASSWORD": PASSWORD}
SCRIPT = "deployments/save_blocks.py"

Saved = Callable[..., str]


@pytest.fixture
def name() -> str:
    return f"block-{uuid4().hex[:12]}"


@pytest.fixture
def save(
    save_blocks: ModuleType,
    prefect_api: PrefectServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Saved:
    """Runs the script with this environment; answers what it prints."""

    def saved(*arguments: str | Path, **environment: str) -> str:
        monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "ERROR")
        for variable in (*CONNECTION, *USER, "TRYTON_COMPANY"):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        save_blocks.main([str(one) for one in arguments])
        return capsys.readouterr().out

    return saved


def _secrets(block: TrytonSettings) -> tuple[str, str]:
    return block.application_key.get_secret_value(), block.password.get_secret_value()


async def test_the_command_saves_what_the_environment_and_the_file_say(
    prefect_api: PrefectServer, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "acme.toml"
    file.write_text('posting = "posted"\ngeneral_journal = "GENERAL"\ncompany = "Acme A/S"\n')
    given = {**prefect_api.environment, **CONNECTION, **USER, "TRYTON_COMPANY": "Acme ApS"}
    said = run([SCRIPT, "tryton", name, "--settings", str(file)], given)
    assert said == (
        f"saved tryton/{name} for database acme at https://tryton.example, company Acme ApS, "
        "with the key and the password\n"
    )
    block = await TrytonSettings.aload(name)
    assert (block.base_url, block.database, block.user) == ("https://tryton.example", "acme", "pleo")
    assert _secrets(block) == (KEY, PASSWORD)
    assert (block.posting, block.general_journal, block.company) == (EntryState.POSTED, "GENERAL", "Acme ApS")


def test_said_again_the_connection_is_replaced_whole_and_the_settings_stay(
    save: Saved, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text("posting: posted\ncompany: Acme ApS\nwallet_accounts: {DKK: '5820'}")
    save("tryton", name, "--settings", file, **CONNECTION, **USER)
    moved = {**CONNECTION, "TRYTON_URL": "https://moved.example", "TRYTON_KEY": "another-key"}
    said = save("tryton", name, **moved)
    assert (
        said
        == f"saved tryton/{name} for database acme at https://moved.example, company Acme ApS, with the key alone\n"
    )
    block = TrytonSettings.load(name)
    assert isinstance(block, TrytonSettings)
    assert (block.base_url, block.user, *_secrets(block)) == ("https://moved.example", "", "another-key", "")
    assert (block.posting, block.wallet_accounts) == (EntryState.POSTED, {"DKK": "5820"})

    file.write_text("page_size: 50")
    save("tryton", name, "--settings", file, **CONNECTION)
    block = TrytonSettings.load(name)
    assert isinstance(block, TrytonSettings)
    assert (block.posting, block.company, block.page_size) == (EntryState.DRAFT, "", 50)


@pytest.mark.parametrize(
    ("environment", "file", "complaint"),
    [
        ({"TRYTON_URL": ""}, None, "TRYTON_URL: it is not set"),
        ({"TRYTON_DATABASE": ""}, None, "TRYTON_DATABASE: it is not set"),
        ({"TRYTON_KEY": ""}, "", "TRYTON_KEY: it is not set"),
        ({"TRYTON_URL": "tryton"}, None, "TRYTON_URL: not a URL: it should look like"),
        ({"TRYTON_URL": "http://tryton.example"}, None, "plain http would send the key readable"),
        ({"TRYTON_DATABASE": "a/b"}, None, "TRYTON_DATABASE: it is the name of a database"),
        ({"TRYTON_KEY": "key-that nobody-may-see"}, None, "TRYTON_KEY: it is empty, or holds characters"),
        ({"TRYTON_PASSWORD": PASSWORD}, None, "give both a user and a password, or neither"),
        ({}, f"application_key = '{KEY}'", "FILE: application_key: this comes from TRYTON_KEY, so take it out"),
        ({}, f"password = '{PASSWORD}'", "FILE: password: this comes from TRYTON_PASSWORD, so take it out"),
        ({}, "postin = 'posted'", "FILE: postin: no such setting, did you mean posting?"),
        ({}, "path = 'books.sqlite'", "FILE: path: no such setting"),
        ({}, "payable_account = 2900", "FILE: payable_account: it should be text, in quotation marks"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_saved(
    save: Saved, name: str, tmp_path: Path, environment: dict[str, str], file: str | None, complaint: str
) -> None:
    settings = tmp_path / "acme.toml"
    settings.write_text(file or "")
    option = [] if file is None else ["--settings", settings]
    with pytest.raises(SystemExit) as ended:
        save("tryton", name, *option, **{**CONNECTION, **environment})
    (line,) = str(ended.value.code).splitlines()
    assert line.startswith(f"save_blocks: {complaint.replace('FILE', str(settings))}")
    assert [secret for secret in ("nobody", KEY, PASSWORD) if secret in line] == []
    with pytest.raises(ValueError, match="Unable to find block document"):
        TrytonSettings.load(name)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["tryton"], "the following arguments are required: NAME"),
        (["tryton", "Acme ApS"], "'Acme ApS' cannot be the name of a block"),
        (["tryton", "acme", "--key", "k"], "unrecognized arguments: --key k"),
        (["tryton", "acme", "more"], "unrecognized arguments: more"),
        (["--ledger", "books.sqlite"], "unrecognized arguments: --ledger"),
        (["books.sqlite", "more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_usage_is_one_line_before_any_server_is_asked(
    save_blocks: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        save_blocks.main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"save_blocks: {complaint}")
    assert line.endswith(" (--help tells the usage)")


def test_saved_values_that_cannot_be_are_replaced_by_those_of_a_file(
    save: Saved, prefect_api: PrefectServer, tmp_path: Path
) -> None:
    _, name = save_as_the_form_does(prefect_api, "tryton", {"base_url": "tryton", "database": "acme"}).split("/")
    file = tmp_path / "acme.toml"
    file.write_text('company = "Acme ApS"')
    with pytest.raises(
        SystemExit, match=f"what is saved as tryton/{name} are no settings any more: say with --settings"
    ):
        save("tryton", name, **CONNECTION)
    assert save("tryton", name, "--settings", file, **CONNECTION).startswith(f"saved tryton/{name}")
    assert TrytonSettings.load(name).company == "Acme ApS"


def test_what_prefect_cannot_decrypt_is_one_line_that_says_what_to_do(
    save: Saved, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy_with_an_error_of_its_own(_: str) -> TrytonSettings:
        request = httpx.Request("GET", "http://127.0.0.1/api/block_documents")
        raise PrefectHTTPStatusError("500", request=request, response=httpx.Response(500, request=request))

    monkeypatch.setattr(TrytonSettings, "load", busy_with_an_error_of_its_own)
    with pytest.raises(SystemExit) as ended:
        save("tryton", name, **CONNECTION)
    (line,) = str(ended.value.code).splitlines()
    assert line.startswith(f"save_blocks: Prefect cannot read what is saved as tryton/{name}, ")
    assert line.endswith("with prefect --no-prompt block type delete tryton, and save them again")
