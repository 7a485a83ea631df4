"""Anything that users do, in any order, beside a model of a few lines: an expense's first amount is what is booked.

Here an expense that changes fails; where it is replaced or reversed, `test_changes_machine` has the model.
The sandbox is served over HTTP and the ledger is on disk, as users have them.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from blocks.erp.entries import EntryState
from blocks.erp.settings import AllFailedEvent, ChangedExpense, ErpSettings
from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from flows.outcome import RunReport
from flows.steps import Steps
from tests.support.exporting import Office, watched_steps
from tests.support.pleo.pleo_items import an_item, line, money

OPEN = {"pending", "in_progress"}
AMOUNTS = st.integers(1, 999)
FAULTS = st.sampled_from(["drop", "lost", "cut", "html", "status"])
CALLS = st.sampled_from(
    [
        "POST /v3/export-job-events",
        "GET /v3/export-jobs/{jobId}/items",
        "GET /v3/export-items",
        "PUT /v3/export-jobs/{jobId}/items",
    ]
)


class Door:
    """One server for all examples, since one takes a moment to stop: whichever sandbox stands behind."""

    def __init__(self) -> None:
        self.behind: Sandbox | None = None
        self.base_url = ""
        self.app = self

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.behind is not None
        await self.behind.app(scope, receive, send)


DOOR = Door()


@pytest.fixture(scope="module", autouse=True)
def door() -> Iterator[None]:
    with serve(cast("Sandbox", DOOR)) as DOOR.base_url:
        yield


class Dying:
    """Dies before or after one of the calls of steps, with all that is under way."""

    def __init__(self, calls: int, *, after: bool) -> None:
        self._before = calls if not after else 0
        self._after = calls if after else 0
        self.steps = watched_steps(self._count_before, self._count_after)

    def _count_before(self) -> None:
        self._before -= 1
        if self._before == 0:
            _die()

    def _count_after(self) -> None:
        self._after -= 1
        if self._after == 0:
            _die()


def _die() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    raise asyncio.CancelledError


class Exporting(RuleBasedStateMachine):
    """Users, crashes and bad answers. `booked` is the model: the amount with which each expense stands in the books."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.sandbox = DOOR.behind = Sandbox(rate_limit=False)
        self.office = Office(self.sandbox, DOOR.base_url, Path(self.folder.name) / "books.sqlite")
        self.settings = ErpSettings(changed_expense=ChangedExpense.FAIL)
        self.amounts: dict[str, int] = {}
        self.booked: dict[str, int] = {}
        self.told: dict[str, str] = {}

    def teardown(self) -> None:
        self.sandbox.close()
        self.folder.cleanup()

    @rule(target=jobs, amounts=st.lists(AMOUNTS, min_size=1, max_size=5))
    def press_export(self, amounts: list[int]) -> str:
        items = [an_item(len(self.amounts) + n, value=value) for n, value in enumerate(amounts, 1)]
        self.amounts |= {item["accountingEntryId"]: value for item, value in zip(items, amounts, strict=True)}
        return self.sandbox.add_job_of(items)

    @rule(target=jobs, job=jobs, amount=st.none() | AMOUNTS)
    def press_export_again(self, job: str, amount: int | None) -> str:
        ids = [item.accounting_entry_id for item in self.sandbox.items(job)]
        if amount is not None and not any(ids[0] in self._ids(other.id) for other in self._open()):
            self.amounts[ids[0]] = amount
            changes = {"amount": money(amount), "accountingEntryLines": [line(amount)]}
            self.sandbox.edit_export_item(ids[0], changes, even_locked=True)
        return self.sandbox.export_again(job, even_locked=True)

    @rule(posting=st.sampled_from(EntryState), event=st.sampled_from(AllFailedEvent))
    def edit_the_settings(self, posting: EntryState, event: AllFailedEvent) -> None:
        self.settings = ErpSettings(posting=posting, all_failed_event=event, changed_expense=ChangedExpense.FAIL)

    @rule(kind=FAULTS, call=CALLS, skip=st.integers(0, 2), times=st.sampled_from([1, 2, 6]))
    def something_will_go_wrong(self, kind: Any, call: str, skip: int, times: int) -> None:
        self.sandbox.inject(kind, call, skip=skip, times=times)

    @rule(job=consumes(jobs))
    def cancel(self, job: str) -> None:
        self.sandbox.clear_faults()
        body = {"jobId": job, "event": "failed", "failureReason": "x", "failureReasonType": "canceled_by_user"}
        is_open = self.sandbox.job(job).status in OPEN
        url = f"{DOOR.base_url}/v3/export-job-events"
        answer = httpx.post(url, json=body, auth=(SANDBOX_API_KEY, ""), trust_env=False)
        assert answer.status_code == (202 if is_open else 422)

    @rule(calls=st.integers(1, 12), after=st.booleans(), size=st.sampled_from([1, 2, 100]))
    def crash(self, calls: int, after: bool, size: int) -> None:
        self._run(steps=Dying(calls, after=after).steps, size=size)

    @rule(size=st.sampled_from([1, 2, 100]))
    def run_into_whatever_is_wrong(self, size: int) -> None:
        self._run(size=size)

    @rule(size=st.sampled_from([1, 2, 100]))
    def run(self, size: int) -> None:
        self.sandbox.clear_faults()
        open_before = [job.id for job in self._open()]
        self._run(size=size)
        for id_ in (id_ for job in open_before for id_ in self._ids(job)):
            self.booked.setdefault(id_, self.amounts[id_])
        for job in open_before:
            fits = {id_: self.booked[id_] == self.amounts[id_] for id_ in self._ids(job)}
            told = {item.accounting_entry_id: item.status == "successful" for item in self.sandbox.items(job)}
            assert told == fits
            whole = {"completed"} if all(fits.values()) else {"completed_with_errors", "failed"}
            assert self.sandbox.job(job).status in whole

    @invariant()
    def what_is_booked_stays_as_it_was_first_booked(self) -> None:
        if not self.office.books.exists():
            assert not self.booked
            return
        self.office.entries()
        query = "SELECT accounting_entry_id, external_id, sum(debit_minor) FROM journal GROUP BY 1, 2"
        journal = {str(id_): (str(name), amount) for id_, name, amount in self.office.journal(query)}
        for id_, (_, amount) in journal.items():
            assert self.booked.setdefault(id_, self.amounts[id_]) == amount
        assert journal.keys() == self.booked.keys()
        for job in self.sandbox.jobs():
            for item in self.sandbox.items(job.id):
                if item.status == "successful":
                    assert journal[item.accounting_entry_id][0] == item.external_id
        for event, job_id in ((event.name, event.job_id) for event in self.sandbox.received().events):
            if event.startswith("completed"):
                assert not {item.status for item in self.sandbox.items(job_id)} & {*OPEN, "abandoned"}

    def _open(self) -> list[Any]:
        return [job for job in self.sandbox.jobs() if job.status in OPEN]

    def _ids(self, job_id: str) -> list[str]:
        return [item.accounting_entry_id for item in self.sandbox.items(job_id)]

    def _run(self, *, size: int, steps: Steps | None = None) -> RunReport | None:
        async def whole() -> RunReport:
            return await self.office.export(page_size=size, update_batch_size=size, settings=self.settings, steps=steps)

        logging.disable()
        try:
            return asyncio.run(whole())
        except asyncio.CancelledError:
            return None
        finally:
            logging.disable(logging.NOTSET)


def _play(examples: int, steps: int) -> None:
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Exporting, settings=how)


def test_whatever_users_do_the_books_are_as_the_model_says() -> None:
    _play(8, 15)


@pytest.mark.slow
def test_whatever_users_do_for_long_the_books_are_as_the_model_says() -> None:
    _play(40, 30)
