"""A whole job of the sandbox into a real Tryton: it comes out as in the embedded ledger, to the cent, and only once."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.settings import ErpSettings
from blocks.erp.tryton.block import TrytonSettings
from flows.demo import ITEMS, demo_settings
from flows.outcome import RunReport
from flows.settings import read_settings_of
from tests.support.command_line import Shell
from tests.support.erp.tryton.server import Tryton, TrytonServer
from tests.support.exporting import Office, office
from tests.support.processes import ROOT, PrefectServer, until

SETTINGS = ROOT / "tests" / "support" / "erp" / "tryton" / "settings.toml"
EXCHANGE_DIFFERENCES = "6930"
"""Takes the rounding of bills in another currency, which Tryton converts line by line."""
ROUNDING_MINOR = 50

SUMS = """
    SELECT account, currency, sum(debit_minor), sum(credit_minor) FROM journal WHERE job_id = '{}' GROUP BY 1, 2
"""
TRYTONS_SUMS = """
    select a.code, c.code, 100 * sum(greatest(line.amount, 0)), 100 * sum(greatest(-line.amount, 0))
    from (
        select l.account, coalesce(l.second_currency, o.currency) as currency,
            coalesce(l.amount_second_currency, l.debit - l.credit) as amount
        from account_move_line l join account_move m on m.id = l.move join company_company o on o.id = m.company
    ) line
    join account_account a on a.id = line.account join currency_currency c on c.id = line.currency
    group by 1, 2
"""
TABLES = ("account_move", "account_move_line", "account_invoice", "account_move_reconciliation", "ir_attachment")


def settings_for(server: TrytonServer, **changes: Any) -> TrytonSettings:
    """The settings of the sandbox's company for a server of the tests, with the key and the password."""
    user = server.company["users"]["pleo"]
    given = {"base_url": server.base_url, "database": server.database, "application_key": user["key"]}
    given |= {"user": user["login"], "password": user["password"]}
    return read_settings_of(TrytonSettings, SETTINGS, {**given, **changes})


def footprint(server: TrytonServer) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in the tables that records are made of: how many rows, and when the last was touched."""
    query = "select count(*), max(coalesce(write_date, create_date)) from {}"
    return {table: server.sql(query.format(table)) for table in TABLES}


def outcomes(at_work: Office, job_id: str) -> dict[str, tuple[Any, ...]]:
    """What Pleo was told of each expense, without the names that each accounting system has of its own."""
    return {
        item.accounting_entry_id: (item.status, item.failure_reason_type, item.failure_reason)
        for item in at_work.sandbox.items(job_id)
    }


def external_ids(at_work: Office, job_id: str) -> dict[str, str | None]:
    """The names that the accounting system gave."""
    return {item.accounting_entry_id: item.external_id for item in at_work.sandbox.items(job_id)}


def files_with(folders: Sequence[Path], secrets: Sequence[str]) -> list[str]:
    """The files in these folders that hold one of these secrets."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


@dataclass(frozen=True)
class Exported:
    """One and the same set of expenses as two jobs: one went into the ledger, the other one into Tryton."""

    office: Office
    server: TrytonServer
    in_ledger: str
    in_tryton: str
    ledgers: RunReport
    trytons: RunReport

    def run(self, job_id: str, *, dry_run: bool = False) -> RunReport:
        """Export a job into Tryton."""
        settings = settings_for(self.server)
        run = self.office.export(erp=settings.connect(Path.cwd()), settings=settings, job_id=job_id, dry_run=dry_run)
        return asyncio.run(run)


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["small", "showcase"])
def exported(
    request: pytest.FixtureRequest, tryton_session: Tryton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exported]:
    with (
        tryton_session.server() as server,
        office(tmp_path_factory.mktemp("office")) as at_work,
    ):
        add = at_work.sandbox.add_job
        first = add(items=ITEMS, seed=5, showcase=True) if request.param else add(18, 5, failing=3, vendor_based=True)
        demo = demo_settings(at_work.books)
        ledgers = asyncio.run(at_work.export(erp=demo.connect(Path.cwd()), settings=demo, job_id=first))
        second = at_work.sandbox.export_again(first)
        settings = settings_for(server)
        run = at_work.export(erp=settings.connect(Path.cwd()), settings=settings, job_id=second)
        yield Exported(at_work, server, first, second, ledgers, asyncio.run(run))


def test_every_expense_comes_out_as_in_the_ledger(exported: Exported) -> None:
    ours, theirs = outcomes(exported.office, exported.in_ledger), outcomes(exported.office, exported.in_tryton)
    assert theirs == ours
    assert {status for status, *_ in theirs.values()} == {"successful", "failed"}
    (ledger,), (tryton,) = exported.ledgers.jobs, exported.trytons.jobs
    assert (tryton.event, exported.trytons.exit_status) == ("completed_with_errors", 3)
    assert tryton.totals == tryton.books == tryton.reported == ledger.totals
    names = external_ids(exported.office, exported.in_tryton)
    by_ledgers = {name: names[id_] for id_, name in external_ids(exported.office, exported.in_ledger).items()}
    as_tryton = [re.sub(r"PX-\d+", lambda found: str(by_ledgers[found[0]]), notice) for notice in ledger.notices]
    assert tryton.notices == as_tryton


def test_the_sums_of_every_account_are_those_of_the_ledger(exported: Exported) -> None:
    ours = {(account, currency): sums for account, currency, *sums in _journal(exported)}
    theirs = {(account, currency): sums for account, currency, *sums in exported.server.sql(TRYTONS_SUMS)}
    rounding = theirs.pop((EXCHANGE_DIFFERENCES, "DKK"), [0, 0])
    assert theirs == ours
    assert sum(rounding) < ROUNDING_MINOR
    assert len({currency for _, currency in ours}) > 1


def _journal(exported: Exported) -> list[tuple[Any, ...]]:
    return exported.office.journal(SUMS.format(exported.in_ledger))


def test_pleo_is_told_links_to_records_that_stand(exported: Exported) -> None:
    items = [item for item in exported.office.sandbox.items(exported.in_tryton) if item.status == "successful"]
    told: dict[str, set[int]] = {"account.move": set(), "account.invoice": set()}
    for item in items:
        model, _, number = str(item.external_id).partition(",")
        assert item.external_url == f"{exported.server.base_url}/#{exported.server.database}/model/{model}/{number}"
        told[model].add(int(number))
    assert sum(map(len, told.values())) == len(items)
    for model, states in (("account.move", {"posted"}), ("account.invoice", {"posted", "paid"})):
        query = f"select id, state from {model.replace('.', '_')} where id = any(%s)"
        found = dict(exported.server.sql(query, (sorted(told[model]),)))
        assert (found.keys(), set(found.values()) - states) == (told[model], set())
        assert found


def test_a_second_job_of_the_same_expenses_finds_them_all(exported: Exported) -> None:
    before = footprint(exported.server)
    again = exported.office.sandbox.export_again(exported.in_tryton)
    report = exported.run(again)
    assert report.exit_status == 3
    assert footprint(exported.server) == before
    assert outcomes(exported.office, again) == outcomes(exported.office, exported.in_tryton)
    assert external_ids(exported.office, again) == external_ids(exported.office, exported.in_tryton)


def test_a_dry_run_tells_what_would_be_and_changes_nothing(exported: Exported) -> None:
    before = footprint(exported.server)
    job_id = exported.office.sandbox.add_job(items=8, seed=99, failing=1, vendor_based=True)
    report = exported.run(job_id, dry_run=True)
    (job,) = report.jobs
    assert (job.event, report.exit_status) == (None, 3)
    assert (job.successful + job.failed, len(job.preview)) == (8, job.successful)
    assert job.preview
    assert footprint(exported.server) == before
    assert exported.office.sandbox.job(job_id).status == "pending"
    assert set(exported.office.sandbox.outcome(job_id)) == {"pending"}


@pytest.mark.slow
def test_a_run_that_is_killed_in_the_middle_ends_the_same_when_it_is_run_again(
    tryton: TrytonServer, prefect_api: PrefectServer, tmp_path: Path
) -> None:
    settings = settings_for(tryton)
    settings.save("killed", overwrite=True)
    with office(tmp_path) as at_work:
        first = at_work.sandbox.add_job(12, 6, failing=2, vendor_based=True)
        demo = demo_settings(at_work.books)
        asyncio.run(at_work.export(erp=demo.connect(Path.cwd()), settings=demo, job_id=first))
        job_id = at_work.sandbox.export_again(first)
        shell = Shell(at_work, prefect_api, tmp_path)

        with tryton.holding("lock table account_invoice in exclusive mode"):
            process = shell.start("--erp", "tryton/killed")
            until(lambda: tryton.sql("select 1 from account_move where state = 'draft'"), within_s=60)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=20)
            assert tryton.sql("select count(*) from account_invoice") == [(0,)]
        assert at_work.sandbox.job(job_id).status == "in_progress"

        done = shell.run("--erp", "tryton/killed")
        assert (done.returncode, done.stderr) == (3, "")
        assert outcomes(at_work, job_id) == outcomes(at_work, first)
        ours = {(account, currency): sums for account, currency, *sums in at_work.journal(SUMS.format(first))}
        theirs = {(account, currency): sums for account, currency, *sums in tryton.sql(TRYTONS_SUMS)}
        theirs.pop((EXCHANGE_DIFFERENCES, "DKK"), None)
        assert theirs == ours
        assert tryton.sql("select 1 from account_move where state <> 'posted'") == []
        assert tryton.sql("select 1 from account_invoice where state in ('posted', 'paid')")
        assert tryton.sql("select 1 from account_invoice where state not in ('posted', 'paid')") == []
        secrets = [settings.application_key.get_secret_value(), settings.password.get_secret_value()]
        assert files_with([Path(prefect_api.environment["PREFECT_HOME"]), tmp_path], secrets) == []


def test_the_settings_are_those_of_the_sandboxs_own_books_but_for_the_companys_name() -> None:
    shared = {*ErpSettings.model_fields, "max_receipt_kilobytes"} - {"companies"}
    given = {"base_url": "http://127.0.0.1:8000", "database": "acme", "application_key": "key"}
    ours = read_settings_of(TrytonSettings, SETTINGS, given)
    assert ours.model_dump(include=shared) == demo_settings().model_dump(include=shared)
    assert ours.companies == dict.fromkeys(demo_settings().companies, "Acme ApS")
