"""Step 3, retrieve job items: where Pleo stands with each item. Always fresh, and complete before anything is done.

The rows are light and never kept, so all their pages are one task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from blocks.pleo.http.client import JobItems, PleoClient
from blocks.pleo.http.wire import Cursors
from blocks.pleo.models import OPEN_ITEM_STATUSES, ItemFailure, ItemStatus, JobItem
from blocks.text import one_line

_TYPES = frozenset(ItemFailure)
_STATES = frozenset(ItemStatus)


@dataclass(slots=True)
class ControlList:
    """All rows of a job, kept small: the ids still to do in Pleo's order, and counts of what is final.

    `unknown_states` are items in a state that we do not know, by id: they are neither done nor to do.
    """

    to_do: dict[str, None] = field(default_factory=dict)
    successful: int = 0
    not_successful: int = 0
    failure_types: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    unknown_states: dict[str, str] = field(default_factory=dict)
    _final: set[str] = field(default_factory=set)

    def add(self, page: JobItems) -> None:
        """Take in one page; a row that Pleo lists twice counts once."""
        self.unreadable += page.unreadable
        for row in page.rows:
            self._add(row)

    def _add(self, row: JobItem) -> None:
        id_ = row.accounting_entry_id
        if self.knows(id_):
            return
        if row.status in OPEN_ITEM_STATUSES:
            self.to_do[id_] = None
            return
        if row.status not in _STATES:
            self.unknown_states[id_] = one_line(row.status, 40)
            return
        self._final.add(id_)
        if row.status == ItemStatus.SUCCESSFUL:
            self.successful += 1
        else:
            self.not_successful += 1
            type_ = row.failure_reason_type
            self.failure_types[type_ if type_ in _TYPES else ""] += 1

    def knows(self, accounting_entry_id: str) -> bool:
        """Whether the job has a row of this item."""
        return any(accounting_entry_id in known for known in (self.to_do, self._final, self.unknown_states))

    @property
    def already_final(self) -> int:
        """How many items came to an end before this run."""
        return self.successful + self.not_successful

    @property
    def count(self) -> int:
        """How many items the job has."""
        return len(self.to_do) + len(self.unknown_states) + self.already_final


async def retrieve_items(pleo: PleoClient, job_id: str, check: Callable[[], None]) -> ControlList:
    """All rows of the job; `check` is called between two pages and may raise to end the run."""
    control = ControlList()
    async for page in pages_of(pleo, job_id):
        check()
        control.add(page)
    return control


async def reread_items(pleo: PleoClient, job_id: str, wanted: Collection[str]) -> list[JobItem]:
    """The rows of these accounting entries as Pleo has them now."""
    return [row async for page in pages_of(pleo, job_id) for row in page.rows if row.accounting_entry_id in wanted]


async def pages_of(pleo: PleoClient, job_id: str) -> AsyncIterator[JobItems]:
    """The pages of a job's items to the last. Raises PagingBroken when they do not come to an end."""
    cursors = Cursors("items of the job")
    cursor: str | None = None
    while True:
        page = await pleo.get_job_items(job_id, cursor)
        yield page
        count = len(page.rows) + page.unreadable
        cursor = cursors.after(has_next=page.has_next, end_cursor=page.end_cursor, count=count)
        if cursor is None:
            return
