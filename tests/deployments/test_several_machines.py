"""At scale: PostgreSQL, Redis, two servers without services, the services apart, two workers and eight companies.

In mid-run a worker is killed with all its runs, and a server. The next tick, a run for each company, finds what is
left. Then every company is exact, and no run is shown as running.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from blocks.pleo.sandbox import Sandbox
from tests.support.processes import until
from tests.support.several_machines import ENDED, Site, booked, kill, need_servers, several_machines

COMPANIES = [f"5a4db0c5-0000-4000-8000-00000000010{number}" for number in range(8)]
ITEMS = 500
PATIENCE_S = 600.0


@pytest.fixture
def site(tmp_path: Path) -> Site:
    need_servers("at scale nothing was tried")
    with several_machines(tmp_path) as made:
        yield made  # type: ignore[misc]


def _reported(sandbox: Sandbox, job_id: str) -> dict[str, str | None]:
    """What Pleo was told of each item: its external id, None where it failed. Fails where one was not told of."""
    items = sandbox.items(job_id)
    assert {str(item.status) for item in items} <= {"successful", "failed"}
    return {item.accounting_entry_id: item.external_id if item.status == "successful" else None for item in items}


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
        told, entries = _reported(site.sandbox, job), booked(site.folder / f"{company}.sqlite")
        assert len(told) == ITEMS
        assert {expense: id_ for expense, id_ in told.items() if id_ is not None} == entries
        print(f"company …{company[-3:]}: {len(entries)} booked, {ITEMS - len(entries)} failed, each reported once")
    states = site.states(deployment)
    print(f"{len(COMPANIES) * ITEMS} items in {seconds:.0f} s, {ticks} ticks after the kill, {sorted(states)}")


def _final(sandbox: Sandbox, job_id: str) -> bool:
    return any(str(item.status) in {"successful", "failed"} for item in sandbox.items(job_id))
