"""One run over many companies, as a user starts it: each comes to its own end, and none touches another."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from blocks.pleo.credentials import PleoCredentials
from flows.outcome import JOB_FAILED, OK, USAGE
from tests.support.command_line import Shell
from tests.support.pleo.pleo_items import an_item
from tests.support.processes import PrefectServer

GOOD, LATE, KEYLESS, CLOSED, IDLE, FOREIGN, STRANGER = (str(uuid4()) for _ in range(7))


def _entries(ledger: Path) -> int:
    """Entries in a ledger; fails where an expense has two."""
    with closing(sqlite3.connect(ledger)) as books:
        ids, entries = books.execute(
            "SELECT count(DISTINCT accounting_entry_id), count(DISTINCT external_id) FROM journal"
        ).fetchone()
    assert ids == entries
    return int(ids)


def _companies(shell: Shell, block: str) -> Path:
    (shell.folder / "closed.csv").write_text("first_date,last_date,state\n2020-01-01,2030-12-31,closed\n")
    (shell.folder / "closed.toml").write_text('periods_file = "closed.csv"\n')
    (shell.folder / "foreign.sqlite").write_text("these are no books")
    file = shell.folder / "companies.toml"
    tables = {
        "good": f'company_id = "{GOOD}"\npleo = "{block}"\nledger = "good.sqlite"',
        "late": f'company_id = "{LATE}"\npleo = "{block}"\nledger = "{{company}}.sqlite"',
        "keyless": f'company_id = "{KEYLESS}"\nledger = "keyless.sqlite"',
        "closed": f'company_id = "{CLOSED}"\npleo = "{block}"\nledger = "closed.sqlite"\nsettings = "closed.toml"',
        "idle": f'company_id = "{IDLE}"\npleo = "{block}"\nledger = "idle.sqlite"',
        "foreign": f'company_id = "{FOREIGN}"\npleo = "{block}"\nledger = "foreign.sqlite"',
    }
    file.write_text("at_once = 3\n" + "".join(f"[{name}]\n{table}\n" for name, table in tables.items()))
    return file


@pytest.fixture
def block(shell: Shell, prefect_api: PrefectServer) -> str:
    name = f"block-{uuid4().hex[:12]}"
    credentials = PleoCredentials(base_url=shell.office.base_url, api_key=SecretStr(shell.office.api_key))
    credentials.save(name)
    return name


def test_six_companies_of_which_one_has_no_key_one_closed_books_and_one_nothing_to_do(shell: Shell, block: str) -> None:
    sandbox, file = shell.office.sandbox, _companies(shell, block)
    sandbox.add_job_of([an_item(801, companyId=IDLE)], company_id=IDLE)
    alone = shell.run("--companies", str(file), "--company-id", IDLE, PLEO_API_KEY=None)
    assert alone.returncode == OK, alone.stderr
    assert [path.name for path in shell.folder.glob("*.sqlite") if path.stem != "foreign"] == ["idle.sqlite"]

    for number, company in enumerate((GOOD, LATE, KEYLESS, CLOSED, FOREIGN, STRANGER)):
        items = [an_item(100 * number + one, companyId=company) for one in range(1, 6)]
        sandbox.add_job_of(items, company_id=company)
    second = sandbox.add_job_of([an_item(901, companyId=GOOD)], company_id=GOOD)

    done = shell.run("--companies", str(file), "--json", PLEO_API_KEY=None)
    assert done.returncode == JOB_FAILED, done.stderr
    document = json.loads(done.stdout)
    events = {job["company_id"]: job["event"] for job in document["jobs"]}
    assert events == {GOOD: "completed", LATE: "completed", CLOSED: "failed"}
    assert document["jobs"][1]["job_id"] == second
    assert [job["successful"] for job in document["jobs"]] == [5, 1, 5, 0]

    assert _entries(shell.folder / "good.sqlite") == 6
    assert _entries(shell.folder / f"{LATE}.sqlite") == 5
    assert (shell.folder / "foreign.sqlite").read_text() == "these are no books"
    assert not (shell.folder / "keyless.sqlite").exists()
    assert _entries(shell.folder / "idle.sqlite") == 1

    lines = done.stderr.splitlines()
    told = [line for line in lines if line.startswith(("keyless: ", "foreign: ", "company "))]
    assert len(told) == 3, done.stderr
    assert told[0] == f"company {STRANGER} has 1 waiting and no entry in {file}: its jobs are left alone"
    assert told[1].startswith("keyless: no Pleo credentials: set PLEO_API_KEY")
    assert "foreign.sqlite" in told[2]
    assert [line for line in lines if line.startswith("idle: ")] == []
    assert "Traceback" not in done.stderr
    by_company = {job.company_id: job.status for job in sandbox.jobs()}
    assert (by_company[STRANGER], by_company[KEYLESS], by_company[FOREIGN]) == ("pending",) * 3


def test_a_block_that_is_not_there_is_one_line_and_nothing_is_done(shell: Shell) -> None:
    job = shell.office.sandbox.add_job_of([an_item(1, companyId=GOOD)], company_id=GOOD)
    file = shell.folder / "companies.toml"
    file.write_text(
        f'[good]\ncompany_id = "{GOOD}"\nledger = "good.sqlite"\n'
        f'[other]\ncompany_id = "{LATE}"\npleo = "no-such-block"\nledger = "other.sqlite"\n'
    )
    done = shell.run("--companies", str(file))
    assert done.returncode == USAGE, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"{file}: other: block pleo-credentials/no-such-block cannot be used")
    assert shell.office.sandbox.job(job).status == "pending"
    assert not list(shell.folder.glob("*.sqlite"))
