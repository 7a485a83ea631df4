"""A whole job of the sandbox into a real Odoo: it comes out as in the embedded ledger, to the cent, and only once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.odoo.block import OdooSettings
from blocks.erp.odoo.client import Protocol
from flows.demo import ITEMS, demo_settings
from flows.outcome import RunReport
from flows.settings import read_settings_of
from tests.support.erp.odoo.server import Odoo, OdooServer
from tests.support.exporting import Office, office
from tests.support.processes import ROOT

SETTINGS = ROOT / "tests" / "support" / "erp" / "odoo" / "settings.toml"
JOURNALS = {"GENERAL": "PLEO", "PURCHASES": "BILL", "PAYMENTS": "PAID"}

SUMS = """
    SELECT account, currency, sum(debit_minor), sum(credit_minor) FROM journal WHERE job_id = '{}' GROUP BY 1, 2
"""
LINES = """
    SELECT accounting_entry_id, account, currency, debit_minor, credit_minor FROM journal WHERE job_id = '{}'
"""
ODOOS_LINES = """
    select m.invoice_origin, a.code_store ->> l.company_id::text, c.name,
        100 * greatest(l.amount_currency, 0), 100 * greatest(-l.amount_currency, 0)
    from account_move_line l join account_move m on m.id = l.move_id join account_account a on a.id = l.account_id
    join res_currency c on c.id = l.currency_id where m.state = 'posted'
"""
pytestmark = pytest.mark.slow

TABLES = ("account_move", "account_move_line", "account_partial_reconcile", "ir_attachment")


def settings_for(server: OdooServer, **changes: Any) -> OdooSettings:
    """The settings of the sandbox's company for a server of the tests."""
    user = server.company["users"]["pleo"]
    given = {"base_url": server.base_url, "database": server.database, "api_key": user["key"], "user": user["login"]}
    return read_settings_of(OdooSettings, SETTINGS, {**given, **changes})


def footprint(server: OdooServer) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in the tables that records are made of: how many rows, and when the last was touched."""
    query = "select count(*), max(coalesce(write_date, create_date)) from {}"
    return {table: server.sql(query.format(table)) for table in TABLES}


def outcomes(at_work: Office, job_id: str) -> dict[str, tuple[Any, ...]]:
    """What Pleo was told of each expense, without the names that each accounting system has of its own."""
    return {
        item.accounting_entry_id: (item.status, item.failure_reason_type, item.failure_reason)
        for item in at_work.sandbox.items(job_id)
    }


@dataclass(frozen=True)
class Exported:
    """One and the same set of expenses as two jobs: one went into the ledger, the other one into Odoo."""

    office: Office
    server: OdooServer
    settings: OdooSettings
    in_ledger: str
    in_odoo: str
    ledgers: RunReport
    odoos: RunReport

    def run(self, job_id: str, *, dry_run: bool = False) -> RunReport:
        """Export a job into Odoo."""
        erp = self.settings.connect(Path.cwd())
        return asyncio.run(self.office.export(erp=erp, settings=self.settings, job_id=job_id, dry_run=dry_run))

    def names(self, job_id: str) -> dict[str, str | None]:
        """The external ids that Pleo was told."""
        return {item.accounting_entry_id: item.external_id for item in self.office.sandbox.items(job_id)}


@pytest.fixture(scope="module", params=[Protocol.JSON2, Protocol.XMLRPC], ids=str)
def exported(
    request: pytest.FixtureRequest, odoo_session: Odoo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exported]:
    """The sandbox's showcase by JSON-2, and a smaller job by XML-RPC."""
    with odoo_session.server() as server, office(tmp_path_factory.mktemp("office")) as at_work:
        add = at_work.sandbox.add_job
        whole = request.param is Protocol.JSON2
        first = add(items=ITEMS, seed=5, showcase=True) if whole else add(18, 5, failing=3, vendor_based=True)
        demo = demo_settings(at_work.books)
        ledgers = asyncio.run(at_work.export(erp=demo.connect(Path.cwd()), settings=demo, job_id=first))
        second = at_work.sandbox.export_again(first)
        settings = settings_for(server, protocol=request.param.value)
        run = at_work.export(erp=settings.connect(Path.cwd()), settings=settings, job_id=second)
        yield Exported(at_work, server, settings, first, second, ledgers, asyncio.run(run))


def test_every_expense_comes_out_as_in_the_ledger(exported: Exported) -> None:
    ours, theirs = outcomes(exported.office, exported.in_ledger), outcomes(exported.office, exported.in_odoo)
    assert theirs == ours
    assert {status for status, *_ in theirs.values()} == {"successful", "failed"}
    (ledger,), (odoo,) = exported.ledgers.jobs, exported.odoos.jobs
    assert (odoo.event, exported.odoos.exit_status) == ("completed_with_errors", 3)
    assert odoo.totals == odoo.books == odoo.reported == ledger.totals
    names = exported.names(exported.in_odoo)
    by_ledgers = {name: names[id_] for id_, name in exported.names(exported.in_ledger).items()}
    as_odoo = [re.sub(r"PX-\d+", lambda found: str(by_ledgers[found[0]]), notice) for notice in ledger.notices]
    assert odoo.notices == as_odoo


def test_every_line_of_every_expense_is_the_ledger_s(exported: Exported) -> None:
    ours = sorted(exported.office.journal(LINES.format(exported.in_ledger)))
    theirs = sorted((origin.removeprefix("pleo:"), *line) for origin, *line in exported.server.sql(ODOOS_LINES))
    assert theirs == ours
    assert len({currency for _, _, currency, _, _ in theirs}) > 1


def test_pleo_is_told_links_to_moves_that_stand(exported: Exported) -> None:
    items = [item for item in exported.office.sandbox.items(exported.in_odoo) if item.status == "successful"]
    told = {int(str(item.external_id).removeprefix("account.move,")): item.external_url for item in items}
    assert told == {id_: f"{exported.server.base_url}/odoo/account.move/{id_}" for id_ in told}
    states = exported.server.sql("select state from account_move where id = any(%s)", (sorted(told),))
    assert states == [("posted",)] * len(items)


def test_a_second_job_of_the_same_expenses_finds_them_all(exported: Exported) -> None:
    before = footprint(exported.server)
    again = exported.office.sandbox.export_again(exported.in_odoo)
    assert exported.run(again).exit_status == 3
    assert footprint(exported.server) == before
    assert outcomes(exported.office, again) == outcomes(exported.office, exported.in_odoo)
    assert exported.names(again) == exported.names(exported.in_odoo)


def test_a_dry_run_tells_what_would_be_and_changes_nothing(exported: Exported) -> None:
    before = footprint(exported.server)
    job_id = exported.office.sandbox.add_job(items=8, seed=99, failing=1, vendor_based=True)
    report = exported.run(job_id, dry_run=True)
    (job,) = report.jobs
    assert (job.event, report.exit_status) == (None, 3)
    assert (job.successful + job.failed, len(job.preview)) == (8, job.successful)
    assert footprint(exported.server) == before


def test_the_settings_are_those_of_the_sandbox_s_own_books_but_for_names(exported: Exported) -> None:
    named = {"companies", "general_journal", "bill_journal", "payment_journal"}
    demo, ours = demo_settings().model_dump(), exported.settings.model_dump()
    assert {name for name in demo if name in ours and demo[name] != ours[name]} - {"kind", "block_type_slug"} == named
    assert [JOURNALS[demo[f"{use}_journal"]] for use in ("general", "bill", "payment")] == ["PLEO", "BILL", "PAID"]
