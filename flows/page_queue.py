"""The pages of a job's export items, fetched in Pleo's order and a few ahead of those that are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from blocks.pleo.errors import JobFinished, PagingBroken
from blocks.pleo.http.pages import ExportItemsPage, Paginator
from blocks.pleo.models import ExportJob
from flows.session import Session

PAGES_AHEAD = 8
"""How many pages may be fetched before the first of them is recorded: enough that Pleo's answers and the accounting
system need not wait for each other, few enough that memory stays flat."""


def told_of_the_end(fetching: asyncio.Task[None]) -> bool:
    """Whether fetching has been told that the job is over."""
    return fetching.done() and not fetching.cancelled() and isinstance(fetching.exception(), JobFinished)


class NumberedPage:
    """A page of export items, where it stands in the list, and which cursor leads to it."""

    def __init__(self, page: ExportItemsPage, number: int, cursor: str | None) -> None:
        self.page = page
        self.number = number
        self.cursor = cursor


class PageQueue:
    """One job's pages. `ids` are the accounting entry ids on those that have been fetched, in their order."""

    def __init__(self, session: Session, job: ExportJob) -> None:
        self.ids: dict[str, None] = {}
        self._session = session
        self._job = job
        self._fetched: asyncio.Queue[NumberedPage | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(PAGES_AHEAD)

    async def fill(self, is_wanted: Callable[[], bool]) -> None:
        """Fetch all pages, as far as there is room for them, while they are wanted."""
        try:
            async for page in self.all():
                await self._room.acquire()
                if not is_wanted():
                    return
                self._fetched.put_nowait(page)
        finally:
            self.close()

    def close(self) -> None:
        """No more pages come, and nobody waits for room any more."""
        self._fetched.put_nowait(None)
        self._room.release()

    async def next(self) -> NumberedPage | None:
        """The next page, once it is there; None behind the last one."""
        return await self._fetched.get()

    def done(self) -> None:
        """A page that `next` gave is recorded: there is room for another."""
        self._room.release()

    async def all(self, *, anew: bool = False) -> AsyncIterator[NumberedPage]:
        """The pages one by one, those that are kept as they are, or all `anew`, in the place of what was kept."""
        session, number, cursor = self._session, 0, None
        if anew:
            await session.steps.pages.forget(self._job.id)
            self.ids.clear()
        fetch_page = session.steps.fetch_page_anew if anew else session.steps.fetch_page
        paginator = Paginator("export items of the job")
        while number == 0 or cursor is not None:
            session.stop.check()
            number += 1
            page = await fetch_page(session, self._job, cursor, number)
            self.ids |= dict.fromkeys(page.ids)
            await session.show("fetched", len(self.ids), self._job.number_of_items or len(self.ids))
            yield NumberedPage(page, number, cursor)
            try:
                cursor = paginator.after(has_next=page.has_next, end_cursor=page.end_cursor, count=page.count)
            except PagingBroken:
                await session.steps.pages.forget(self._job.id)  # or the next run would stumble over the same page
                raise
