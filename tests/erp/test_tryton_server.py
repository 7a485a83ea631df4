"""The Tryton of the tests: it answers, every test has a fresh one, and it can be stopped, killed and held up."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.support.erp.tryton.cluster import SqlError
from tests.support.erp.tryton.prepare import DEMO
from tests.support.erp.tryton.server import TrytonServer
from tests.support.processes import until


def client(server: TrytonServer, user: str = "pleo", key: str = "key") -> httpx.Client:
    """A client of the REST interface with that user's key, in the company of the tests."""
    context = json.dumps({"company": server.company["companies"]["acme"]["id"]}).encode()
    return httpx.Client(
        base_url=f"{server.base_url}/{server.database}/rest/model/",
        headers={
            "Authorization": f"Bearer {server.company['users'][user][key]}",
            "X-Tryton-Context": base64.urlsafe_b64encode(context).decode(),
        },
        timeout=60,
        trust_env=False,
    )


def rename(server: TrytonServer, code: str, name: str, *, timeout_s: float = 60) -> None:
    """Give a vendor another name, by REST."""
    with client(server, "accountant") as tryton:
        tryton.put(
            f"party.party/{server.company['parties'][code]['id']}", json={"name": name}, timeout=timeout_s
        ).raise_for_status()


def name_of(server: TrytonServer, code: str) -> str:
    """The vendor's name, by REST."""
    with client(server) as tryton:
        answer = tryton.get(f"party.party/{server.company['parties'][code]['id']}", params={"f": "name"})
    name: str = answer.raise_for_status().json()["name"]
    return name


def demo(table: str, *columns: str, **wanted: str) -> set[tuple[str, ...]]:
    """These columns of one of the demo's tables, where the others have the wanted values."""
    with (DEMO / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] == value for name, value in wanted.items())]
    return {tuple(row[column] for column in columns) for row in rows}


def texts(rows: Iterable[tuple[Any, ...]]) -> set[tuple[str, ...]]:
    """Rows of the database as the demo's tables have them."""
    return {tuple(str(value) for value in row) for row in rows}


def test_the_key_of_the_exporter_opens_tryton_and_other_keys_do_not(shared_tryton: TrytonServer) -> None:
    with client(shared_tryton) as tryton:
        answer = tryton.get("account.account", params=[("f", "code"), ("f", "company.party.name")])
    rows = answer.raise_for_status().json()
    assert {"2900", "5820", "6010"} <= {row["code"] for row in rows}
    assert {row["company"]["party"]["name"] for row in rows} == {"Acme ApS", "Acme Sverige AB"}
    for key in ("requested_key", "cancelled_key"):
        with client(shared_tryton, "pleo", key) as stranger:
            assert stranger.get("account.account").status_code == httpx.codes.UNAUTHORIZED
    with client(shared_tryton, "guest") as guest:
        assert guest.get("account.move").status_code == httpx.codes.BAD_REQUEST


def test_the_books_are_those_of_the_sandbox(shared_tryton: TrytonServer) -> None:
    acme = (shared_tryton.company["companies"]["acme"]["id"],)
    sql = shared_tryton.sql
    assert demo("accounts", "code", "name") <= texts(
        sql("select code, name from account_account where company = %s and not closed", acme)
    )
    assert demo("tax_codes", "code", "name") <= texts(
        sql("select name, description from account_tax where company = %s and active and parent is null", acme)
    )
    assert demo("dimensions", "group", "code") == texts(
        sql(
            "select root.code, value.code from analytic_account_account value"
            " join analytic_account_account root on root.id = value.root"
            " where value.company = %s and value.type = 'normal' and value.state = 'opened'",
            acme,
        )
    )
    vendors = sql("select code, name, active from party_party where code like 'V%%'")
    assert demo("vendors", "code", "name", blocked="no") <= texts(row[:2] for row in vendors if row[2])
    assert demo("vendors", "code", "name", blocked="yes") == texts(row[:2] for row in vendors if not row[2])
    assert demo("periods", "first_date", "last_date", state="open") == texts(
        sql(
            "select period.start_date, period.end_date from account_period period"
            " join account_fiscalyear year on year.id = period.fiscalyear"
            " where year.company = %s and period.state = 'open'",
            acme,
        )
    )


@pytest.mark.slow
def test_a_database_is_fresh_and_nobody_elses(tryton: TrytonServer, own_tryton: TrytonServer) -> None:
    assert tryton.base_url != own_tryton.base_url
    rename(tryton, "V0001", "Another name")
    assert (name_of(tryton, "V0001"), name_of(own_tryton, "V0001")) == ("Another name", "DSB")


@pytest.mark.slow
def test_what_was_written_outlives_a_kill_and_a_stop(own_tryton: TrytonServer) -> None:
    address = own_tryton.base_url
    for number, end in enumerate((own_tryton.kill, own_tryton.stop)):
        rename(own_tryton, "V0002", f"Name {number}")
        end()
        with pytest.raises(httpx.ConnectError):
            name_of(own_tryton, "V0002")
        own_tryton.start()
        assert own_tryton.base_url == address
        assert name_of(own_tryton, "V0002") == f"Name {number}"


@pytest.mark.slow
def test_a_paused_server_hangs_and_goes_on(own_tryton: TrytonServer) -> None:
    own_tryton.pause()
    with pytest.raises(httpx.ReadTimeout):
        rename(own_tryton, "V0003", "Late", timeout_s=0.5)
    own_tryton.resume()
    until(lambda: name_of(own_tryton, "V0003") == "Late", within_s=30)  # it is carried out, though nobody waits for it
    rename(own_tryton, "V0003", "Later")
    assert name_of(own_tryton, "V0003") == "Later"


@pytest.mark.slow
def test_a_lock_that_is_held_keeps_tryton_waiting(own_tryton: TrytonServer) -> None:
    before = name_of(own_tryton, "V0004")
    with own_tryton.holding("lock table party_party in exclusive mode"):
        with pytest.raises(httpx.ReadTimeout):
            rename(own_tryton, "V0004", "Late", timeout_s=0.5)
        assert name_of(own_tryton, "V0004") == before
    rename(own_tryton, "V0004", "In time")
    assert name_of(own_tryton, "V0004") == "In time"


@pytest.mark.slow
def test_our_module_is_activated_only_where_it_is_asked_for(
    shared_tryton: TrytonServer, tryton_with_module: TrytonServer
) -> None:
    activated = "select state from ir_module where name = 'pleo_export'"
    assert tryton_with_module.sql(activated) == [("activated",)]
    assert ("activated",) not in shared_tryton.sql(activated)
    assert name_of(tryton_with_module, "V0001") == "DSB"


def test_sql_answers_in_types_and_says_what_is_wrong(shared_tryton: TrytonServer) -> None:
    assert shared_tryton.sql("select %s::numeric, %s, null", ("12.50", "Ærø")) == [(Decimal("12.50"), "Ærø", None)]
    assert shared_tryton.sql("select count(*) from account_move where id < 0") == [(0,)]
    with pytest.raises(SqlError, match="nowhere"):
        shared_tryton.sql("select * from nowhere")
