"""Odoo as it should not be: another address, database, key, user, company or version, each told in one sentence."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.base import Erp
from blocks.erp.entries import Recorded
from blocks.erp.errors import (
    ConfigurationProblem,
    ErpConfigurationError,
    ErpError,
    ErpLoginRefused,
    ErpUnavailable,
    RefusalKind,
    Refused,
)
from blocks.erp.odoo.client import OdooClient, Protocol
from blocks.erp.odoo.odoo import Odoo
from tests.support.erp.contract.books import books_hold
from tests.support.erp.contract.entries import BILL, DRAFT, PAYMENT, Maker
from tests.support.erp.contract.runner import bring_to_an_end, ready
from tests.support.erp.odoo.harness import NAMES, OdooHarness, the_last_day
from tests.support.erp.odoo.server import OdooServer
from tests.support.erp.tryton.cluster import SqlError
from tests.support.network.fault_proxy import Answer, Fault, FaultProxy, proxying

pytestmark = pytest.mark.slow

PROTOCOLS = pytest.mark.parametrize("protocol", [Protocol.AUTO, Protocol.XMLRPC], ids=["json", "xml"])
HTML = {"content-type": "text/html"}
WITHOUT_ACCOUNTING = """
    update ir_module_module set state = 'uninstalled' where name in (
        with recursive needing(name) as (
            select 'account'::varchar
            union select m.name from ir_module_module m join ir_module_module_dependency d on d.module_id = m.id
                join needing on needing.name = d.name)
        select name from needing)
"""


@pytest.fixture(scope="module")
def proxy(shared_odoo: OdooServer) -> Iterator[FaultProxy]:
    """A proxy before the shared server."""
    with proxying(shared_odoo.base_url) as made:
        yield made


def an_odoo(server: OdooServer, protocol: Protocol = Protocol.AUTO, **otherwise: Any) -> Erp:
    """Odoo as `pleo` would enter it, but for what is said."""
    user = server.company["users"][otherwise.pop("user", "pleo")]
    given = {"base_url": server.base_url, "database": server.database, "key": user["key"], "company": "Acme ApS"}
    given |= otherwise
    company, base_url = given.pop("company"), given["base_url"]

    def connect() -> OdooClient:
        return OdooClient(base_url, given["database"], user["login"], given["key"], protocol=protocol, timeout_s=30)

    return Odoo(connect, base_url=base_url, company=company, today=the_last_day)


async def step_2(erp: Erp) -> ErpError:
    """What step 2 ends with."""
    await erp.open(NAMES.company_id, dry_run=False)
    with pytest.raises(ErpError) as failed:
        await erp.validate()
    await erp.close()
    assert len(str(failed.value).splitlines()) == 1
    return failed.value


@PROTOCOLS
async def test_a_key_that_is_wrong_or_has_expired(shared_odoo: OdooServer, protocol: Protocol) -> None:
    for key in ("wrong", shared_odoo.company["users"]["pleo"]["expired_key"]):
        error = await step_2(an_odoo(shared_odoo, protocol, key=key))
        assert isinstance(error, ErpLoginRefused)
        assert "New API Key" in str(error)
        assert key == "wrong" or key not in str(error)


@PROTOCOLS
async def test_a_database_that_is_not_there(shared_odoo: OdooServer, protocol: Protocol) -> None:
    error = await step_2(an_odoo(shared_odoo, protocol, database="nope"))
    assert isinstance(error, ErpConfigurationError | ErpLoginRefused)
    assert "database" in str(error) or protocol is Protocol.XMLRPC


@PROTOCOLS
@pytest.mark.parametrize(
    ("otherwise", "problem", "said"),
    [
        ({"company": ""}, ConfigurationProblem.MISSING, "several companies in Odoo (Acme"),
        ({"company": "Nobody ApS"}, ConfigurationProblem.INVALID, "may enter no company Nobody ApS"),
        ({"company": "Fremmed ApS"}, ConfigurationProblem.INVALID, "may enter no company Fremmed ApS"),
        ({"user": "guest"}, ConfigurationProblem.PERMISSION, "Accounting: Bookkeeper"),
    ],
    ids=["several", "unknown", "of others", "no rights"],
)
async def test_a_company_or_a_user_that_cannot_be_used(
    shared_odoo: OdooServer,
    protocol: Protocol,
    otherwise: dict[str, str],
    problem: ConfigurationProblem,
    said: str,
) -> None:
    error = await step_2(an_odoo(shared_odoo, protocol, **otherwise))
    assert isinstance(error, ErpConfigurationError)
    assert error.problem is problem
    assert said in str(error)


def test_of_one_name_odoo_has_no_two_companies(shared_odoo: OdooServer) -> None:
    with pytest.raises(SqlError, match="unique"):
        shared_odoo.sql("update res_company set name = 'Acme ApS' where name = 'Acme Sverige AB'")


@PROTOCOLS
async def test_an_odoo_without_accounting(odoo: OdooServer, protocol: Protocol) -> None:
    odoo.stop()
    odoo.sql(WITHOUT_ACCOUNTING)
    odoo.start()
    error = await step_2(an_odoo(odoo, protocol))
    assert isinstance(error, ErpConfigurationError), error
    assert "install its app Invoicing" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, {"result": {"server_version_info": [15, 0, 0, "final", 0, ""]}}, "is Odoo 15, and this export books"),
        (200, {"result": {"server_version_info": [20, 0, 0, "final", 0, ""]}}, "is Odoo 20, and this export books"),
        (200, {"hello": "world"}, "has no Odoo for us"),
        (200, "<html>Welcome</html>", "has no Odoo for us"),
        (404, "<html>Not found</html>", "has no Odoo for us"),
        (303, "", "has no Odoo for us"),
    ],
)
async def test_an_address_where_another_version_or_something_else_answers(
    shared_odoo: OdooServer, proxy: FaultProxy, status: int, body: Any, said: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = HTML if isinstance(body, str) else {"content-type": "application/json"}
    proxy.clear()
    proxy.add(Fault(passes=False, times=10, answer=Answer(status, text.encode(), headers)))
    error = await step_2(an_odoo(shared_odoo, base_url=proxy.address))
    proxy.clear()
    assert isinstance(error, ErpConfigurationError), error
    assert said in str(error)


async def test_a_version_between_two_as_odoo_com_has_them_is_read_by_its_number(
    shared_odoo: OdooServer, proxy: FaultProxy
) -> None:
    info = {"result": {"server_version_info": ["saas~19", 2, 0, "final", 0, "e"]}}
    proxy.clear()
    proxy.add(Fault(passes=False, answer=Answer(200, json.dumps(info).encode(), {"content-type": "application/json"})))
    erp = an_odoo(shared_odoo, base_url=proxy.address)
    await erp.open(NAMES.company_id, dry_run=False)
    await erp.validate()
    await erp.close()


async def test_a_server_in_maintenance_is_waited_for(
    shared_odoo: OdooServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    entry = Maker(NAMES, str(uuid.uuid4()), tmp_path).purchase()
    proxy.clear()
    erp = await ready(an_odoo(shared_odoo, base_url=proxy.address), NAMES.company_id)
    proxy.add(Fault(passes=False, times=100, answer=Answer(503, b"<html>Maintenance</html>", HTML)))
    with pytest.raises(ErpUnavailable):
        await erp.record([entry])
    proxy.clear()
    assert isinstance((await bring_to_an_end(erp, [entry]))[0], Recorded)
    await erp.close()


async def test_a_user_who_speaks_danish_books_the_same_and_is_refused_for_the_same(
    shared_odoo: OdooServer, tmp_path: Path
) -> None:
    make = Maker(NAMES, str(uuid.uuid4()), tmp_path)
    entries = [make.purchase(), make.bill(BILL, PAYMENT, currency="EUR"), make.purchase(state=DRAFT), make.purchase()]
    erp = await ready(an_odoo(shared_odoo, user="dansk"), NAMES.company_id)
    archive = "update account_account set active = %s where id = %s"
    account = shared_odoo.company["accounts"]["6010"]
    good = await erp.record(entries[:3])
    shared_odoo.sql(archive, (False, account))
    try:
        (refused,) = await erp.record(entries[3:])
    finally:
        shared_odoo.sql(archive, (True, account))
    await erp.close()
    assert all(isinstance(one, Recorded) for one in good), good
    books_hold(OdooHarness(shared_odoo), entries[:3])
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.subject) == (RefusalKind.UNKNOWN_ACCOUNT, "6010")


async def test_an_entry_whose_source_document_was_changed_is_found_by_its_external_id(
    shared_odoo: OdooServer, tmp_path: Path
) -> None:
    entry = Maker(NAMES, str(uuid.uuid4()), tmp_path).purchase()
    erp = await ready(an_odoo(shared_odoo), NAMES.company_id)
    (first,) = await erp.record([entry])
    query = "update account_move set invoice_origin = 'by hand' where invoice_origin = %s"
    shared_odoo.sql(query, (f"pleo:{entry.accounting_entry_id}",))
    await erp.close()
    erp = await ready(an_odoo(shared_odoo), NAMES.company_id)
    (again,) = await erp.record([entry])
    await erp.close()
    assert isinstance(first, Recorded)
    assert isinstance(again, Recorded)
    assert again.external_id == first.external_id
