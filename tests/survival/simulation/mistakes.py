"""Mistakes that the export could make, one at a time, to know that the simulation would find each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pytest

from blocks.erp.base import Outcome
from blocks.erp.entries import Entry, Recorded
from blocks.erp.errors import ErpOutcomeUnknown
from blocks.pleo.errors import PleoUnavailable
from blocks.pleo.http.client import PleoClient
from blocks.pleo.models import OPEN_ITEM_STATUSES, ExportJob, ItemStatus, JobItem
from flows import rows
from flows.job import Job
from flows.session import Session
from flows.standing import Standing
from flows.steps.complete import FinalEvent, final_event
from flows.steps.retrieve import JobRows
from flows.steps.update import update_items
from flows.updates import Updates
from tests.survival.simulation.erp import SimulatedErp

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mistake:
    """A mistake, how it is made, and a seed that is known to bring it to light."""

    name: str
    make: Callable[[Patch], None]
    seed: int

    def __str__(self) -> str:
        return self.name


def _looks_up_nothing(patch: Patch) -> None:
    find = SimulatedErp.find

    async def own_alone(self: SimulatedErp, ids: Sequence[str]) -> dict[str, Recorded]:
        found = await find(self, ids)
        return {id_: one for id_, one in found.items() if self._books.of(id_)[0].by == self._process.name}

    patch.setattr(SimulatedErp, "find", own_alone)


def _writes_again_blindly(patch: Patch) -> None:
    write = SimulatedErp._record

    async def twice(self: SimulatedErp, entry: Entry) -> Outcome:
        try:
            return await write(self, entry)
        except ErpOutcomeUnknown:
            return await write(self, entry)

    patch.setattr(SimulatedErp, "_record", twice)


def _lets_two_in(patch: Patch) -> None:
    async def to_anybody(self: SimulatedErp, company_id: str, *, dry_run: bool) -> None:
        self._process.step("the books are opened")

    patch.setattr(SimulatedErp, "open", to_anybody)


def _swallows_pleos_silence(patch: Patch) -> None:
    send = Updates._send

    async def quietly(self: Updates, batch: pd.DataFrame) -> None:
        try:
            await send(self, batch)
        except PleoUnavailable:
            self._results.acknowledge(batch)

    patch.setattr(Updates, "_send", quietly)


def _takes_every_200_for_granted(patch: Patch) -> None:
    async def taken(session: Session, job: ExportJob, batch: pd.DataFrame, number: int) -> dict[str, str]:
        await update_items(session, job, batch, number)
        return {}

    patch.setattr("flows.steps.update.update_items", taken)


def _ends_without_the_last_batch(patch: Patch) -> None:
    async def nothing(self: Updates) -> None:
        self._under_way = set()

    patch.setattr(Updates, "_settled", nothing)


def _tells_of_this_run_alone(patch: Patch) -> None:
    def of_this_run(self: Job) -> Any:
        self._rows.successful = self._rows.not_successful = 0
        return complete(self)

    complete = Job.complete
    patch.setattr(Job, "complete", of_this_run)


def _always_completes(patch: Patch) -> None:
    def completed(good: int, bad: int, types: Counter[str], *more: Any) -> FinalEvent:
        return final_event(good + bad, 0, types, *more)

    patch.setattr("flows.job.final_event", completed)


def _begins_from_the_start(patch: Patch) -> None:
    def as_open(self: JobRows, row: JobItem) -> None:
        if row.status in {*OPEN_ITEM_STATUSES, ItemStatus.SUCCESSFUL}:
            self.to_do[row.accounting_entry_id] = None

    patch.setattr(JobRows, "_add", as_open)


def _does_not_compare_amounts(patch: Patch) -> None:
    compare = rows._compare

    def blindly(recorded: Recorded, currency: str, amount_minor: int, *more: Any) -> Any:
        return compare(replace(recorded, currency=currency, amount_minor=amount_minor), currency, amount_minor, *more)

    patch.setattr(rows, "_compare", blindly)


def _hopes_that_it_was_recorded(patch: Patch) -> None:
    write = SimulatedErp._record

    async def hopefully(self: SimulatedErp, entry: Entry) -> Outcome:
        try:
            return await write(self, entry)
        except ErpOutcomeUnknown:
            made = [one for one in self._books.entries if one.entry.currency == entry.currency]
            if not made:
                raise
            return replace(self._recorded(made[-1], found=False), accounting_entry_id=entry.accounting_entry_id)

    async def no_reading_back(_self: Any, recorded: Sequence[Recorded]) -> dict[str, Recorded]:
        return {one.accounting_entry_id: one for one in recorded}

    patch.setattr(SimulatedErp, "_record", hopefully)
    patch.setattr(Standing, "in_the_books", no_reading_back)


def _forgets_its_own_event(patch: Patch) -> None:
    async def never(*_: Any) -> bool:
        return False

    patch.setattr(PleoClient, "_has_arrived", never)


def _fails_what_is_half_done(patch: Patch) -> None:
    patch.setattr(Job, "is_half_done", False)


def _gives_up_resumed_jobs(patch: Patch) -> None:
    make = Job.__init__

    def as_new(self: Job, *arguments: Any) -> None:
        make(self, *arguments)
        self.is_resumed = False

    patch.setattr(Job, "__init__", as_new)


MISTAKES = [
    Mistake("looks nothing up before it writes", _looks_up_nothing, 0),
    Mistake("writes again blindly", _writes_again_blindly, 39),
    Mistake("lets two writers into books for one", _lets_two_in, 267),
    Mistake("takes silence for the answer to an update", _swallows_pleos_silence, 129),
    Mistake("takes every 200 for granted", _takes_every_200_for_granted, 4),
    Mistake("ends a job without waiting for the last batch", _ends_without_the_last_batch, 0),
    Mistake("tells of this run alone", _tells_of_this_run_alone, 14),
    Mistake("always says completed", _always_completes, 1),
    Mistake("begins from the start", _begins_from_the_start, 14),
    Mistake("does not compare amounts", _does_not_compare_amounts, 35),
    Mistake("hopes that it was recorded", _hopes_that_it_was_recorded, 73),
    Mistake("forgets its own event", _forgets_its_own_event, 151),
    Mistake("fails what is half done as a whole", _fails_what_is_half_done, 259),
    Mistake("gives up resumed jobs", _gives_up_resumed_jobs, 414),
]
