"""A whole job whose Odoo dies, or is switched to maintenance, at any of its requests: it can be gone on with, and in
the end everything is there once, as without trouble."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.demo import demo_settings
from tests.flows.test_odoo_export import outcomes, settings_for
from tests.support.erp.odoo.server import Odoo, OdooServer
from tests.support.erp.watched import WATCHED
from tests.support.exporting import Office, office
from tests.support.network.fault_proxy import Answer, Cut, Fault, FaultProxy, proxying

pytestmark = pytest.mark.slow

MOST_REQUESTS = 200
MAINTENANCE = Answer(503, b"<html><h1>Down for maintenance</h1></html>", {"content-type": "text/html"})
ITEMS, FAILING = 7, 2


@dataclass(frozen=True)
class Site:
    """Pleo, an Odoo, and a proxy between the export and it."""

    office: Office
    server: OdooServer
    proxy: FaultProxy

    def expenses(self, seed: int) -> str:
        """A job of expenses that nobody has seen yet, the same of which went into the ledger without trouble."""
        job_id = self.office.sandbox.add_job(ITEMS, seed, failing=FAILING, vendor_based=True)
        demo = demo_settings(self.office.books)
        asyncio.run(self.office.export(erp=demo.connect(Path.cwd()), settings=demo, job_id=job_id))
        return job_id

    def export(self, job_id: str) -> int:
        """Export a job into Odoo, by the proxy; its exit status."""
        settings = settings_for(self.server, base_url=self.proxy.address)
        run = self.office.export(erp=settings.connect(Path.cwd()), settings=settings, job_id=job_id)
        return asyncio.run(run).exit_status

    def all_is_there_once(self, job_id: str, in_ledger: str) -> None:
        """Pleo was told of each expense what it was told of the ledger's, and Odoo has each that was booked once."""
        assert outcomes(self.office, job_id) == outcomes(self.office, in_ledger)
        items = self.office.sandbox.items(job_id)
        booked = {item.accounting_entry_id: item.external_id for item in items if item.status == "successful"}
        rows = self.server.sql(WATCHED["odoo"].records, {"ids": [item.accounting_entry_id for item in items]})
        assert Counter(id_ for id_, part in rows if part == "main") == Counter(list(booked))
        query = "select 'account.move,' || id from account_move where invoice_origin = any(%s) and state = 'posted'"
        names = {name for (name,) in self.server.sql(query, ([f"pleo:{id_}" for id_ in booked],))}
        assert set(booked.values()) <= names
        assert self.server.sql(WATCHED["odoo"].strays) == []
        assert self.server.sql("select 1 from account_move where state <> 'posted'") == []


@pytest.fixture
def site(odoo_session: Odoo, tmp_path: Path) -> Iterator[Site]:
    with odoo_session.server() as server, office(tmp_path) as at_work, proxying(server.base_url) as proxy:
        yield Site(at_work, server, proxy)


def meets_trouble(site: Site, step: int, trouble: Callable[[], Fault], over: Callable[[], None]) -> None:
    """Have a job meet trouble from its first request on, another from its second … , and be gone on with afterwards."""
    resumed = 0
    for n in range(0, MOST_REQUESTS, step):
        in_ledger = site.expenses(n + 1)
        job_id = site.office.sandbox.export_again(in_ledger)
        fault = trouble()
        fault.skip = n
        site.proxy.clear()
        site.proxy.add(fault)
        status = site.export(job_id)
        site.proxy.clear()
        over()
        if not fault.met:
            assert status == 3
            site.all_is_there_once(job_id, in_ledger)
            break
        assert status == 1
        if site.office.sandbox.job(job_id).status == "in_progress":
            resumed += 1
        else:  # nothing was begun, and Pleo was told why
            assert site.office.sandbox.job(job_id).failure_reason_type == "accounting_system_unreachable"
            job_id = site.office.sandbox.export_again(in_ledger)
        assert site.export(job_id) == 3
        site.all_is_there_once(job_id, in_ledger)
    else:
        raise AssertionError(f"a job took {MOST_REQUESTS} requests")
    assert resumed > 1
    print(f"\n{n // step} jobs met trouble, {resumed} after they had begun; no expense is there twice, none lacks")


def test_odoo_may_be_switched_to_maintenance_at_any_request_of_a_job(site: Site) -> None:
    meets_trouble(site, 3, lambda: Fault(times=MOST_REQUESTS, passes=False, answer=MAINTENANCE), lambda: None)


@pytest.mark.parametrize("side", ["before", "after"])
def test_odoo_may_die_at_any_request_of_a_job_and_stay_away(site: Site, side: str) -> None:
    def dies() -> Fault:
        fault = Fault(passes=side == "after", cut=Cut.NONE)
        setattr(fault, side, site.server.kill)
        return fault

    def comes_back() -> None:
        site.server.kill()
        site.server.start()

    meets_trouble(site, 8, dies, comes_back)
