"""The file with many companies: what it may say, what is refused before anything is done, and what they share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.pleo.credentials import PleoCredentials
from blocks.pleo.http.transport import Clock
from flows.cli import parse
from flows.companies import Clients, Target, export_companies, read_companies, targets_of
from flows.outcome import JOB_FAILED, OK, USAGE, RunReport
from flows.settings import SettingsError, ledger_settings

ACME, BETA = (f"5a4db0c5-0000-4000-8000-00000000000{number}" for number in (1, 2))
KEYS = {"PLEO_API_KEY": "a-key-of-the-tests", "PLEO_BASE_URL": "http://127.0.0.1:1"}


def _file(folder: Path, text: str) -> Path:
    file = folder / "companies.toml"
    file.write_text(text.replace("ACME", ACME).replace("BETA", BETA))
    return file


def test_a_table_a_company_with_files_beside_the_file(tmp_path: Path) -> None:
    text = """
    at_once = 2
    [acme]
    company_id = "ACME"
    pleo = "acme"
    erp = "tryton/acme"
    ["Beta ApS"]
    company_id = "BETA"
    ledger = "books/beta.sqlite"
    settings = "beta.toml"
    """
    found = read_companies(_file(tmp_path, text))
    assert found.at_once == 2
    acme, beta = found.entries
    assert (acme.name, acme.company_id, acme.pleo, acme.erp) == ("acme", ACME, "acme", "tryton/acme")
    assert (acme.ledger, acme.settings) == (None, None)
    assert (beta.name, beta.company_id, beta.pleo, beta.erp) == ("Beta ApS", BETA, None, None)
    assert (beta.ledger, beta.settings) == (str(tmp_path / "books/beta.sqlite"), str(tmp_path / "beta.toml"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it names no company"),
        ("[acme", "Expected"),
        ("acme = 7", "acme: no table"),
        ("at_once = 0\n[a]\ncompany_id='ACME'\nledger='a'", "at_once: how many companies at the same time, 1 to 32"),
        ("at_once = true", "at_once: how many"),
        ("[acme]\nledger='a'", "acme: company_id: it is not set"),
        ("[acme]\ncompany_id='seven'\nledger='a'", "acme: company_id: 'seven' is not a UUID"),
        ("[acme]\ncompany_id='ACME'", "acme: name the books: erp = TYPE/NAME, or ledger = FILE"),
        ("[acme]\ncompany_id='ACME'\nledger=7", "acme: ledger: it should be text, in quotation marks"),
        ("[acme]\ncompany_id='ACME'\nledger=' '", "acme: ledger: it should be text"),
        ("[acme]\ncompany_id='ACME'\nleger='a'", "acme: leger: nothing that a company has, did you mean ledger?"),
        ("[acme]\ncompany_id='ACME'\napi_key='secret'", "acme: api_key: nothing that a company has"),
        ("[acme]\ncompany_id='ACME'\nerp='ledger/a'\nledger='a'", "acme: erp is a block with all settings"),
        ("[acme]\ncompany_id='ACME'\nerp='books'", "acme: erp: it takes TYPE/NAME"),
        ("[a]\ncompany_id='ACME'\nledger='a'\n[b]\ncompany_id='ACME'\nledger='b'", "a and b are both company"),
        ("[a]\ncompany_id='ACME'\nledger='~nobody-of-that-name/b'", "there is no such user's home folder"),
        ("[a\x1b[2J]", ""),
    ],
)
def test_what_cannot_be_is_one_line_that_names_file_and_company(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_companies(_file(tmp_path, text))
    assert str(error.value).startswith(f"{tmp_path / 'companies.toml'}: ")
    assert complaint in str(error.value)
    assert "secret" not in str(error.value)
    assert str(error.value).isprintable()


def test_a_file_that_is_not_there_or_no_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: No such file"):
        read_companies(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match=r"ends in \.toml"):
        read_companies(tmp_path / "companies.yaml")


async def _targets(file: Path, environment: dict[str, str] | None = None) -> tuple[list[Target], Clients]:
    clients = Clients(Clock())
    given = KEYS if environment is None else environment
    return await targets_of(read_companies(file), clients, environment=given), clients


@pytest.mark.parametrize("other", ["a.sqlite", "./x/../a.sqlite", "link.sqlite", "hard.sqlite"])
async def test_one_ledger_for_two_companies_is_refused_however_it_is_named(tmp_path: Path, other: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "a.sqlite").touch()
    (tmp_path / "link.sqlite").symlink_to("a.sqlite")
    (tmp_path / "hard.sqlite").hardlink_to(tmp_path / "a.sqlite")
    text = f"[a]\ncompany_id='ACME'\nledger='a.sqlite'\n[b]\ncompany_id='BETA'\nledger='{other}'"
    with pytest.raises(SettingsError, match="a and b have one ledger, "):
        await _targets(_file(tmp_path, text))


async def test_a_ledger_with_the_company_in_its_name_is_one_for_each(tmp_path: Path) -> None:
    text = "[a]\ncompany_id='ACME'\nledger='{company}.sqlite'\n[b]\ncompany_id='BETA'\nledger='{company}.sqlite'"
    targets, _ = await _targets(_file(tmp_path, text))
    for target in targets:
        assert target.company_id is not None
        erp = target.settings.connect(tmp_path)
        await erp.open(target.company_id, dry_run=False)
        await erp.close()
    assert all((tmp_path / f"{company}.sqlite").is_file() for company in (ACME, BETA))


async def test_a_settings_file_that_is_wrong_is_refused_with_the_companys_name(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("postin = 'posted'")
    text = "[a]\ncompany_id='ACME'\nledger='a.sqlite'\nsettings='s.toml'"
    with pytest.raises(SettingsError, match=r"a: .*s\.toml: postin: no such setting, did you mean posting\?"):
        await _targets(_file(tmp_path, text))


async def test_companies_with_one_key_share_its_pace_and_others_do_not() -> None:
    clients = Clients(Clock())
    blocks = [
        PleoCredentials(base_url="http://127.0.0.1:1", api_key=SecretStr(key)) for key in ("one-key", "one-key", "two")
    ]
    one, same, other = (clients.of(block, size) for block, size in zip(blocks, (100, 50, 100), strict=True))
    assert one.transport is same.transport
    assert one.transport is not other.transport
    assert (one.page_size, same.page_size) == (100, 50)
    assert len(clients.all()) == 2
    token = clients.of(PleoCredentials(base_url="http://127.0.0.1:1", access_token=SecretStr("two")), 100)
    assert token.transport is not other.transport, "a key and a token are two credentials, whatever they say"
    async with clients:
        assert clients.redact("one-key and two") == "*** and ***"


async def test_without_credentials_a_company_is_told_of_and_the_others_are_exported(tmp_path: Path) -> None:
    file = _file(tmp_path, "[a]\ncompany_id='ACME'\nledger='a.sqlite'\n[b]\ncompany_id='BETA'\nledger='b.sqlite'")
    (first, second), _ = await _targets(file, {})
    assert (first.client, second.client) == (None, None)
    assert first.problem.startswith("no Pleo credentials")

    ready = Target("b", BETA, ledger_settings(None, None), Clients(Clock()).of(PleoCredentials(api_key="k"), 100))
    exported: list[str] = []

    async def export(target: Target, report: RunReport) -> None:
        exported.append(target.name)
        report.say("done")

    told = RunReport()
    await export_companies(read_companies(file), [first, ready], told, export)
    assert exported == ["b"]
    assert [line.partition(":")[0] for line in told.lines] == ["a", "b"]
    assert told.exit_status == USAGE


async def test_what_nobody_foresaw_in_one_company_leaves_the_others_alone(tmp_path: Path) -> None:
    file = _file(tmp_path, "[a]\ncompany_id='ACME'\nledger='a.sqlite'\n[b]\ncompany_id='BETA'\nledger='b.sqlite'")
    targets, _ = await _targets(file)

    async def export(target: Target, report: RunReport) -> None:
        if target.name == "a":
            raise RuntimeError("not to be shown")
        report.is_idle = True

    told = RunReport()
    await export_companies(read_companies(file), targets, told, export)
    assert told.lines == ["a: it could not be exported: something unforeseen (RuntimeError), the log has the cause"]
    assert told.exit_status == JOB_FAILED


async def test_a_job_of_many_companies_is_named_with_its_company_and_a_company_has_to_be_there(tmp_path: Path) -> None:
    file = read_companies(_file(tmp_path, "[a]\ncompany_id='ACME'\nledger='a.sqlite'"))
    with pytest.raises(SettingsError, match="is named together with its company"):
        await targets_of(file, Clients(Clock()), of_one_job=True, environment=KEYS)
    with pytest.raises(SettingsError, match=f"it has no company {BETA}"):
        await targets_of(file, Clients(Clock()), only=BETA, environment=KEYS)


async def test_where_nothing_waits_for_anybody_it_is_said_once(tmp_path: Path) -> None:
    file = _file(tmp_path, "[a]\ncompany_id='ACME'\nledger='a.sqlite'\n[b]\ncompany_id='BETA'\nledger='b.sqlite'")
    targets, _ = await _targets(file)

    async def export(_: Target, report: RunReport) -> None:
        report.is_idle = True
        report.say("nothing to do: no export job is waiting")

    told = RunReport()
    await export_companies(read_companies(file), targets, told, export)
    assert told.lines == ["nothing to do: no export job is waiting for any of 2 companies"]
    assert told.exit_status == OK


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--erp", "ledger/a"], "--companies brings the books"),
        (["--ledger", "a.sqlite"], "--companies brings the books"),
        (["--settings", "a.toml"], "--companies brings the books"),
        (["--sandbox"], "--companies brings the books"),
        (["--job-id", ACME], "--job-id with --companies takes --company-id, too"),
    ],
)
def test_what_does_not_go_with_many_companies_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--companies", "companies.toml", *arguments], None)
    assert ended.value.code == USAGE
    assert complaint in capsys.readouterr().err


def test_the_company_of_the_environment_does_not_choose_among_many() -> None:
    assert parse(["--companies", "companies.toml"], ACME).company_id is None
