"""The store of fetched pages, as the simulation has it."""

from __future__ import annotations

from typing import Any

from blocks.pleo.models import ExportJob
from flows.runner import PlainRunner, Step
from flows.steps.fetch import FetchedPage, PageKey
from tests.survival.simulation.network import Process, now

PAGE_LIFE_S = 20 * 3600.0


class StoredPages(PlainRunner):
    """Keeps pages as Prefect does: they outlive the run, and are good for twenty hours."""

    def __init__(self, process: Process, pages: dict[PageKey, FetchedPage]) -> None:
        super().__init__(process.stop.sleep)
        self._process, self._pages = process, pages

    async def fetch(self, key: PageKey, step: Step[FetchedPage], *args: Any, label: str) -> tuple[FetchedPage, bool]:
        self._process.step(f"page {label} is fetched")
        stored = self._pages.get(key)
        if stored is not None and self.fetched[key] < now() - PAGE_LIFE_S:
            del self._pages[key]
        found = await super().fetch(key, step, *args, label=label)
        if not found[1]:
            self.fetched[key] = now()
        return found

    fetched: dict[PageKey, float]

    async def drop(self, key: PageKey) -> None:
        self._process.step("a page is dropped")
        await super().drop(key)

    async def forget(self, job: ExportJob) -> None:
        self._process.step("pages are forgotten")
        for key in [key for key in self._pages if key.job_id == job.id]:
            del self._pages[key]
