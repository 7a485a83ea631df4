"""The store of fetched pages, as the simulation has it."""

from __future__ import annotations

from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.models import ExportJob
from flows.session import Session
from flows.steps import PagesInMemory
from flows.steps.fetch import PageKey, page_key
from tests.survival.simulation.network import Process, now

PAGE_LIFE_S = 20 * 3600.0


class StoredPages(PagesInMemory):
    """Keeps pages as Prefect does: they outlive the run, and are good for twenty hours."""

    def __init__(self, process: Process, pages: dict[PageKey, ExportItemsPage], fetched: dict[PageKey, float]) -> None:
        super().__init__(pages)
        self._process, self._fetched = process, fetched

    async def fetch_page(self, session: Session, job: ExportJob, cursor: str | None, number: int) -> ExportItemsPage:
        self._process.step(f"page {number} is fetched")
        key = page_key(session, job, cursor)
        if key in self.kept and self._fetched[key] < now() - PAGE_LIFE_S:
            del self.kept[key]
        return await super().fetch_page(session, job, cursor, number)

    async def fetch_page_anew(
        self, session: Session, job: ExportJob, cursor: str | None, number: int
    ) -> ExportItemsPage:
        page = await super().fetch_page_anew(session, job, cursor, number)
        self._fetched[page_key(session, job, cursor)] = now()  # with the page, as in one file: a kill comes after both
        self._process.step(f"page {number} is kept")
        return page

    async def forget(self, job_id: str) -> None:
        self._process.step("pages are forgotten")
        await super().forget(job_id)
