"""Step 3, retrieve job items: where Pleo stands with each item. Always fresh, and complete before anything is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from blocks.pleo.client import JobItems, PleoClient
from blocks.pleo.models import OPEN_ITEM_STATUSES, ItemStatus, JobItem


async def retrieve_page(pleo: PleoClient, job_id: str, cursor: str | None) -> JobItems:
    """One page of the job's items."""
    return await pleo.get_job_items(job_id, cursor)


@dataclass(slots=True)
class ControlList:
    """All rows of a job, kept small: the ids still to do in Pleo's order, and counts of what is final."""

    to_do: dict[str, None] = field(default_factory=dict)
    successful: int = 0
    not_successful: int = 0
    failure_types: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    _final: set[str] = field(default_factory=set)

    def add(self, page: JobItems) -> None:
        """Take in one page; a row that Pleo lists twice counts once."""
        self.unreadable += page.unreadable
        for row in page.rows:
            self._add(row)

    def _add(self, row: JobItem) -> None:
        id_ = row.accounting_entry_id
        if id_ in self.to_do or id_ in self._final:
            return
        if row.status in OPEN_ITEM_STATUSES:
            self.to_do[id_] = None
            return
        self._final.add(id_)
        if row.status == ItemStatus.SUCCESSFUL:
            self.successful += 1
        else:
            self.not_successful += 1
            self.failure_types[row.failure_reason_type or ""] += 1

    @property
    def already_final(self) -> int:
        """How many items an earlier run has brought to an end."""
        return self.successful + self.not_successful

    @property
    def count(self) -> int:
        """How many items the job has."""
        return len(self.to_do) + self.already_final
