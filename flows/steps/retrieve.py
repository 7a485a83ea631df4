"""Step 3, retrieve job items: where Pleo stands with each item. Always fresh, and complete before the job is ended.

The rows are light and never kept, so all their pages are one step; others go on with what is there of them meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field

from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.pages import JobItemsPage, Paginator
from blocks.pleo.models import OPEN_ITEM_STATUSES, ExportJob, ItemFailure, ItemStatus, JobItem, JobStatus
from blocks.text import one_line
from flows.results import answer_of
from flows.session import Session

_TYPES = frozenset(ItemFailure)
_STATES = frozenset(ItemStatus)


@dataclass(slots=True, eq=False)
class JobRows:
    """All rows of a job, kept small: the ids still to do in Pleo's order, and counts of what is final.

    `unknown_states` are items in a state that we do not know, by id: they are neither done nor to do. `ours` are the
    items that this run itself has brought to their end: they stay among those to do, whatever Pleo shows of them.
    """

    ours: Collection[str] = ()
    to_do: dict[str, None] = field(default_factory=dict)
    successful: int = 0
    not_successful: int = 0
    failure_types: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    unknown_states: dict[str, str] = field(default_factory=dict)
    are_complete: bool = False
    enough: bool = False
    """Nobody needs any more of them."""
    is_closed: bool = False
    """No more will come, whether or not they are complete."""
    _final: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, page: JobItemsPage) -> None:
        """Take in one page; a row that Pleo lists twice counts once."""
        self.unreadable += page.unreadable
        for row in page.rows:
            self._add(row)
        self._wake()

    def _add(self, row: JobItem) -> None:
        id_ = row.accounting_entry_id
        if self.knows(id_):
            return
        if row.status in OPEN_ITEM_STATUSES or id_ in self.ours:
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
        return (
            accounting_entry_id in self.to_do
            or accounting_entry_id in self._final
            or accounting_entry_id in self.unknown_states
        )

    def know(self, accounting_entry_ids: Iterable[str]) -> bool:
        """Whether the job has a row of each of these items."""
        return all(map(self.knows, accounting_entry_ids))

    @property
    def already_final(self) -> int:
        """How many items came to an end before this run."""
        return self.successful + self.not_successful

    @property
    def count(self) -> int:
        """How many items the job has."""
        return len(self.to_do) + len(self.unknown_states) + self.already_final

    # -- for those who go on while rows are still coming --------------------------------------------------------

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until there is enough, or no more will come."""
        while not self.is_closed and not enough():
            await self._news.wait()

    def close(self) -> None:
        """No more will come."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


async def retrieve_items(session: Session, job: ExportJob, rows: JobRows) -> None:
    """All rows of the job into `rows`, page by page. Raises Stopped between two pages when the run is to end."""
    async for page in pages_of(session.pleo, job.id):
        session.stop.check()
        rows.add(page)
        if job.status != JobStatus.PENDING:  # what a run that was killed told last, its history may lack
            final = [row for row in page.rows if row.status in _STATES - OPEN_ITEM_STATUSES]
            ours = rows.ours
            await session.note_answers([answer_of(row, job.id) for row in final if row.accounting_entry_id not in ours])
        if rows.enough:
            return


async def reread_items(pleo: PleoClient, job_id: str, wanted: Collection[str]) -> list[JobItem]:
    """The rows of these accounting entries as Pleo has them now."""
    return [row async for page in pages_of(pleo, job_id) for row in page.rows if row.accounting_entry_id in wanted]


async def pages_of(pleo: PleoClient, job_id: str) -> AsyncIterator[JobItemsPage]:
    """The pages of a job's items to the last. Raises PagingBroken when they do not come to an end."""
    paginator = Paginator("items of the job")
    cursor: str | None = None
    while True:
        page = await pleo.get_job_items(job_id, cursor)
        yield page
        count = len(page.rows) + page.unreadable
        cursor = paginator.after(has_next=page.has_next, end_cursor=page.end_cursor, count=count)
        if cursor is None:
            return
