"""At scale: PostgreSQL, Redis, two servers without services, the services apart, two workers and eight companies.

In mid-run a worker is killed with all its runs, and a server. The next tick, a run for each company, finds what is
left. Then every company is exact, and no run is shown as running.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from blocks.pleo.sandbox import Sandbox
from tests.support.processes import until
from tests.support.several_machines import ENDED, Site, kill, several_machines, what_is_missing

COMPANIES = [f"5a4db0c5-0000-4000-8000-00000000010{number}" for number in range(8)]
ITEMS = 500
REQUIRED = "PLEO_EXPORT_REQUIRE_SERVERS"
PATIENCE_S = 600.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    if missing := what_is_missing():
        why = f"at scale nothing was tried: Debian's {missing} is not here"
        pytest.fail(why) if os.environ.get(REQUIRED) == "1" else pytest.skip(why)
    with several_machines(tmp_path) as made:
        yield made  # type: ignore[misc]


def _reported(sandbox: Sandbox, job_id: str) -> dict[str, str | None]:
    """What Pleo was told of each item: its external id, None where it failed. Fails where one was not told of."""
    items = sandbox.items(job_id)
    assert {str(item.status) for item in items} <= {"successful", "failed"}
    return {item.accounting_entry_id: item.external_id if item.status == "successful" else None for item in items}


def _booked(ledger: Path) -> dict[str, str]:
    """The entries of a ledger by the expense; fails where one has two, or where a ledger does not balance."""
    with closing(sqlite3.connect(ledger)) as books:
        rows = books.execute("SELECT DISTINCT accounting_entry_id, external_id FROM journal").fetchall()
        by_entry = "GROUP BY external_id, currency HAVING sum(debit_minor) <> sum(credit_minor)"
        off = books.execute(f"SELECT external_id FROM journal {by_entry}").fetchall()
        assert books.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert off == []
    assert len({expense for expense, _ in rows}) == len(rows)
    return dict(rows)


@pytest.mark.slow
def test_with_a_worker_and_a_server_killed_in_mid_run_every_company_comes_out_exact(site: Site) -> None:
    jobs = {company: site.sandbox.add_job(ITEMS, company_id=company) for company in COMPANIES}
    deployment = site.deploy(at_once=3 * len(COMPANIES))
    first, _ = site.worker(), site.worker()
    began = time.monotonic()
    site.start(deployment, COMPANIES)

    def some_are_told() -> bool:
        told = [site.sandbox.job(job).status for job in jobs.values()]
        return told.count("in_progress") >= 2 and any(_final(site.sandbox, job) for job in jobs.values())

    until(some_are_told, within_s=PATIENCE_S, otherwise="no two jobs were under way")
    killed = kill(first), kill(site.servers[0])
    print(f"after {time.monotonic() - began:.0f} s killed: a worker and its runs, {killed[0]} processes; a server")

    def second_is_through() -> bool:
        states = site.states(deployment)
        return len(states) == len(COMPANIES) and "SCHEDULED" not in states and states.count("RUNNING") <= 2

    until(second_is_through, within_s=PATIENCE_S, every_s=1, otherwise="the worker that was left did not go on")
    ticks = 0
    while ticks < 3 and not all(site.sandbox.job(job).status.startswith("completed") for job in jobs.values()):
        ticks += 1
        site.start(deployment, COMPANIES)

        def all_are_done(expected: int = len(COMPANIES) * (ticks + 1)) -> bool:
            states = site.states(deployment)
            return len(states) == expected and "SCHEDULED" not in states

        until(all_are_done, within_s=PATIENCE_S, every_s=1, otherwise="the next tick's runs did not begin")
    until(
        lambda: all(site.sandbox.job(job).status.startswith("completed") for job in jobs.values()),
        within_s=PATIENCE_S,
        every_s=1,
        otherwise="a job was not finished",
    )
    until(
        lambda: set(site.states(deployment)) <= ENDED, within_s=120, every_s=1, otherwise=str(site.states(deployment))
    )
    seconds = time.monotonic() - began
    for company, job in jobs.items():
        told, booked = _reported(site.sandbox, job), _booked(site.folder / f"{company}.sqlite")
        assert len(told) == ITEMS
        assert {expense: id_ for expense, id_ in told.items() if id_ is not None} == booked
        print(f"company …{company[-3:]}: {len(booked)} booked, {ITEMS - len(booked)} failed, each reported once")
    states = site.states(deployment)
    print(f"{len(COMPANIES) * ITEMS} items in {seconds:.0f} s, {ticks} ticks after the kill, {sorted(states)}")


def _final(sandbox: Sandbox, job_id: str) -> bool:
    return any(str(item.status) in {"successful", "failed"} for item in sandbox.items(job_id))
