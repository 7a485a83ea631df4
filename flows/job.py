"""What becomes of one job when it is resumed, broken off, or half done. The order of its steps is in `flows.export`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from blocks.erp.errors import ErpError, ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.reference import Reference
from blocks.pleo.errors import (
    JobFinished,
    PleoAuthenticationError,
    PleoError,
    PleoNotFound,
    PleoPermissionError,
)
from blocks.pleo.models import ExportJob, ItemFailure, JobEvent, JobFailure, JobStatus
from flows.bookkeeping import BookingContext
from flows.deadline import Deadline
from flows.ended_jobs import find_out_how_it_ended, tell_how_it_stands
from flows.failures import Failure, JobFails
from flows.outcome import Ending, JobReport
from flows.page_queue import NumberedPage, PageQueue, told_of_the_end
from flows.recording import BUDGET_S, PagePart, Recording
from flows.results import Row, failed
from flows.session import Session
from flows.steps.complete import FinalEvent, final_event
from flows.steps.retrieve import JobRows
from flows.stop import GRACE_S, Stopped
from flows.updates import MAX_WAIT_S, ItemsRefused, Updates

log = logging.getLogger(__name__)

LINKS_ARE_FRESH_S = 3600.0
"""A file link in a page this young cannot have died of age: Pleo's live for a day. One from the future is of no age."""

_NAMED = 5

NO_DATA = Failure(
    ItemFailure.VALIDATION, "Pleo lists this expense in the job but sent no data for it. Export it again."
)


class Unfinished(Exception):
    """The job cannot be ended in this run; it stays open, and the next run goes on with it."""


async def carry_out(session: Session, job: ExportJob, steps: Callable[[Job], Awaitable[None]]) -> JobReport:
    """Take one job through its steps. Whatever happens, the report says how it ended; nothing is raised for it."""
    under_way = Job(session, job)
    report = under_way.report
    try:
        async with under_way.books_brought_up_to_date():
            await steps(under_way)
    except Stopped as error:
        report.interrupt(str(error))
    except (JobFinished, PleoNotFound) as error:
        await find_out_how_it_ended(session, report, error)
    except ItemsRefused as error:
        report.reason = str(error)
        for line in error.lines:
            report.note(line)
    except (PleoError, ErpError, Unfinished) as error:
        report.reason = str(error)
    except Exception as error:
        log.exception("Unexpected while exporting job %s", job.id)
        report.reason = f"something unforeseen ({type(error).__name__}), the log has the cause"
    if report.ending not in {Ending.UNFINISHED, Ending.INTERRUPTED, Ending.TAKEN} or session.dry_run:
        await session.steps.pages.forget(job.id)  # but for pages that a run is still to use, the next or one at work
    return report


class Job:
    """One job under way. Each step is a method; what one of them finds out, the others see."""

    def __init__(self, session: Session, job: ExportJob) -> None:
        self.session = session
        self.job = job
        self.report = JobReport(
            job.id, job.company_id, session.dry_run, session.settings.minor_units, items=job.number_of_items or 0
        )
        self.deadline = Deadline(job, session.clock, session.now())
        self.is_resumed = job.status != JobStatus.PENDING
        """Whether another run may have done a part of it."""
        self._rows = JobRows()
        self._pages = PageQueue(session, job)
        self._done: set[str] = set()
        self._closing: Failure | None = None
        self._kept_recording: Recording | None = None
        self._began_recording = 0.0
        self._warned = False
        self._up_to_date = session.dry_run

    # -- 1 detect and start ---------------------------------------------------------------------------------------

    async def start(self) -> bool:
        """Take ownership; False when another was faster, or we may not. A job in progress needs no event."""
        session = self.session
        if session.dry_run or self.job.status != JobStatus.PENDING:
            return True
        try:
            is_ours = await session.steps.start_job(session, self.job)
        except (PleoAuthenticationError, PleoPermissionError) as error:  # a key that may read only, say
            self.report.ending, self.report.reason = Ending.NOT_ALLOWED, str(error)
            return False
        except JobFinished as error:
            now = await session.pleo.get_job(self.job.id)
            if now.status == JobStatus.IN_PROGRESS and now.is_open:
                self.report.ending = Ending.TAKEN
                self.report.reason = "another runner or integration has just started it"
            else:
                tell_how_it_stands(self.report, now, error)
            return False
        self.is_resumed = not is_ours
        self.deadline.renew()
        return True

    @asynccontextmanager
    async def reading(
        self,
        validating: Coroutine[Any, Any, Reference],
        retrieving: Coroutine[Any, Any, None],
        fetching: Coroutine[Any, Any, None],
    ) -> AsyncIterator[None]:
        """Steps 2, 3 and 4 side by side, and beside the block: they only read, so nobody has to wait for whom he does
        not need. What goes wrong with one of them is raised where the block needs what it reads."""
        self._validating = asyncio.create_task(validating)
        self._retrieving = asyncio.create_task(retrieving)
        self._fetching = asyncio.create_task(fetching)
        tasks = (self._validating, self._retrieving, self._fetching)
        try:
            yield
        finally:
            self._rows.enough = True
            self._pages.close()
            try:  # what is cancelled shows as crashed in Prefect, so each may come to its own end first, if soon
                await asyncio.wait(tasks, timeout=GRACE_S)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    # -- 2 pre-export validation ----------------------------------------------------------------------------------

    async def validate(self) -> Reference:
        """An accounting system that does not answer now fails the job, so that nothing is half begun.

        A job that is resumed may be half done already: it stays open, as it does when this happens in mid-run.
        """
        session = self.session
        try:
            return await session.stop.heard(session.steps.validate_job(session, self.job))
        except ErpRateLimited as error:
            if self.is_resumed and (error.clears_in_s or 0.0) <= self.deadline.life_s:
                raise
            raise JobFails(JobFailure.ERP_RATE_LIMIT, str(error)) from error
        except (ErpUnavailable, ErpOutcomeUnknown) as error:
            if self.is_resumed:
                raise
            raise JobFails(JobFailure.ERP_UNREACHABLE, str(error)) from error

    # -- 3 retrieve job items -------------------------------------------------------------------------------------

    async def retrieve(self) -> None:
        """All rows of the job, from the beginning; those of items that this run has told of count as still to do."""
        session, began = self.session, self.session.clock()
        if self._rows.is_closed:  # they were retrieved before
            self._rows = JobRows(ours=self._done)
        rows = self._rows
        try:
            await session.steps.retrieve_items(session, self.job, rows)
            rows.are_complete = not rows.enough
        finally:
            rows.close()
        items = max(rows.count, self.report.items)
        self.report.count_items(items, rows.already_final, rows.not_successful)
        if rows.to_do:
            took_s = session.clock() - began
            self._warn_if_short_of_time(took_s, "to fetch its data, which has as many pages as its items had,")

    async def _all_rows(self) -> JobRows:
        """The rows once they are complete; raises what kept them from it."""
        await self._retrieving
        return self._rows

    def _warn_if_short_of_time(self, needed_s: float, what: str) -> None:
        """Say once and early that a job's time will not suffice; it is tried all the same, as Pleo may prolong it."""
        left_s = self.deadline.left_s()
        if self._warned or needed_s < left_s or self.session.dry_run:
            return
        self._warned = True
        warning = (
            f"its time in Pleo is over in about {left_s:.0f} s unless Pleo prolongs it, and {what} takes about "
            f"{needed_s:.0f} s: what is booked and not reported by then is found when it is exported again"
        )
        log.warning("Export job %s: %s", self.job.id, warning)
        self.report.note(warning)

    # -- 4 fetch item data ----------------------------------------------------------------------------------------

    async def fetch(self) -> None:
        """All pages of data, a few ahead of those that are recorded. Nothing is fetched where nothing is to do."""
        rows = self._rows
        if self.is_resumed or not self.job.number_of_items:
            await rows.until(lambda: bool(rows.to_do))
            if not rows.to_do:
                self._pages.close()
                return
        await self._pages.fill(lambda: not self._rows.enough)

    async def ready_pages(self) -> AsyncIterator[NumberedPage]:
        """The pages to be recorded, each as soon as its rows are known and the accounting system is validated.

        All are fetched anew, once, if an open item is on none of them: pages kept from an earlier run may be of
        another time, and a page may come in place of another. The rows are retrieved anew if the pages have an item
        that is none of them, as the job was given more meanwhile.
        """
        await self._validating
        while (page := await self._pages.next()) is not None:
            rows = self._rows
            await rows.until(partial(rows.know, page.page.ids))
            if not rows.are_complete and self._retrieving.done():
                await self._retrieving
            if told_of_the_end(self._fetching):  # then nothing more should be booked for this job
                await self._fetching
            yield page
            if self._closing is not None:
                return
            self._pages.done()
        await self._fetching
        rows = await self._all_rows()
        if not self._pages.ids.keys() >= rows.to_do.keys():
            async for page in self._once_more(anew=True):
                yield page
        if not rows.know(self._pages.ids) and self._closing is None:
            await self._updates.flush()  # what is final by then would not be ours to tell
            await self.retrieve()
            self._tell_of([id_ for id_ in self._pages.ids if not self._rows.knows(id_)])
            if any(map(self._is_to_do, self._rows.to_do)):
                async for page in self._once_more(anew=not self._pages.ids.keys() >= self._rows.to_do.keys()):
                    yield page

    async def _once_more(self, *, anew: bool) -> AsyncIterator[NumberedPage]:
        async for page in self._pages.all(anew=anew):
            yield page
            if self._closing is not None:
                return

    def _is_to_do(self, accounting_entry_id: str) -> bool:
        return accounting_entry_id in self._rows.to_do and accounting_entry_id not in self._done

    def _tell_of(self, unlisted: list[str]) -> None:
        """Name some of the expenses that Pleo sends with the job, and of which no row of it can be read."""
        if unlisted:
            more = f" and {len(unlisted) - _NAMED} more" if len(unlisted) > _NAMED else ""
            names = ", ".join(unlisted[:_NAMED])
            self.report.note(f"not booked, as Pleo sends them with this job and no row of it has them: {names}{more}")

    # -- 5 process and record -------------------------------------------------------------------------------------

    async def record(self, numbered: NumberedPage) -> AsyncIterator[Sequence[Row]]:
        """Record a page, in several calls where time does not suffice, or where the links in it have died meanwhile."""
        session, page = self.session, numbered.page
        wanted, dead = [id_ for id_ in dict.fromkeys(page.ids) if self._is_to_do(id_)], set[str]()
        fresh = -60 < session.now().timestamp() - page.fetched_at < LINKS_ARE_FRESH_S
        if not wanted and not session.erp.describe().tells_precedents:
            (await self._recording()).memory.see(page.items(set(page.ids)).values())
        while wanted:
            session.stop.check()
            recording = await self._recording()
            part = PagePart(page, wanted, links_are_fresh=fresh)
            done = await session.stop.heard(session.steps.record_page(session, recording, part, numbered.number))
            self._done.update(row.accounting_entry_id for row in done.rows)
            self.report.preview += done.entries
            self.report.results.add_notices(done.notices)
            yield done.rows
            await self._show_progress()
            if done.closing is not None:
                self._closing = done.closing
                return
            wanted, dead = done.left, dead.union(done.dead_links)
            if not wanted and dead:
                page = await session.steps.fetch_page_anew(session, self.job, numbered.cursor, numbered.number)
                fresh = True
                wanted, dead = [id_ for id_ in dict.fromkeys(page.ids) if id_ in dead], set()

    async def _recording(self) -> Recording:
        """What pages are recorded with, once the accounting system's reference data is known."""
        if self._kept_recording is None:
            session, settings = self.session, self.session.settings
            reference, limits = await self._validating, session.erp.describe()
            today = session.now().astimezone(settings.zone).date()
            self._began_recording = session.clock()
            self._kept_recording = Recording(
                BookingContext(self.job.id, self.job.company_id, reference, limits, settings, today),
                patience_s=self.deadline.life_s,
                budget_s=self.deadline.at_most(BUDGET_S),
            )
        return self._kept_recording

    async def _show_progress(self) -> None:
        done, total = len(self._done), len(self._rows.to_do)
        await self.session.show("recorded", done, total)
        if done and self._rows.are_complete:
            needed_s = (self.session.clock() - self._began_recording) / done * (total - done)
            self._warn_if_short_of_time(needed_s, "to book the rest")

    # -- 6 update items -------------------------------------------------------------------------------------------

    def updates(self) -> Updates:
        """Tells Pleo the results, and what is left of them when its block ends."""
        self._updates = Updates(self.session, self.job, self.report.results, self.deadline.at_most(MAX_WAIT_S))
        return self._updates

    async def left_over(self) -> Sequence[Row]:
        """Failures of all that could not be recorded, each for the reason that holds for all of it."""
        await self._all_rows()
        return self._fail_what_is_open(self._closing or NO_DATA)

    def _fail_what_is_open(self, failure: Failure) -> list[Row]:
        rows = [failed(id_, failure) for id_ in self._rows.to_do if id_ not in self._done]
        self._done.update(row.accounting_entry_id for row in rows)
        return rows

    # -- 7 complete the job ---------------------------------------------------------------------------------------

    async def complete(self) -> None:
        """End the job, once every row of it is final and the sums agree."""
        report, rows, expected = self.report, self._rows, self.job.number_of_items
        difference = report.difference()
        if difference:
            raise Unfinished(f"Pleo and the books differ: {difference}")
        if untold := 0 if report.dry_run else report.results.untold:
            raise Unfinished(f"Pleo has not acknowledged the outcome of {untold} items")
        if rows.unreadable:
            raise Unfinished(
                f"{rows.unreadable} rows of the job cannot be read or are of another job, "
                "so it cannot be said to be complete"
            )
        if rows.unknown_states:
            (id_, state), *more = rows.unknown_states.items()
            others = f", and {len(more)} more like it" if more else ""
            raise Unfinished(f"item {id_} is in a state that is not known here, {state}{others}; see to it in Pleo")
        if expected is not None and rows.count < expected:
            raise Unfinished(f"Pleo says the job has {expected} items but lists only {rows.count}")
        types = rows.failure_types + report.results.failure_types()
        successful = rows.successful + report.successful
        not_successful = rows.not_successful + report.failed
        await self._end(final_event(successful, not_successful, types, self.session.settings.all_failed_event))

    async def fail(self, error: JobFails) -> None:
        """End a job that cannot be done: as a whole, unless items of it have come to their end already.

        Then it is the others that fail, for the same reason, so that none is left open and the event tells of all.
        """
        if (self.is_resumed or self._done) and not self._rows.are_complete:
            await self.retrieve()
        self.report.reason = error.reason
        if not self.is_half_done:
            await self._end(FinalEvent(JobEvent.FAILED, error.reason, error.type))
            return
        name = error.type.value
        reason = Failure(ItemFailure(name) if name in set(ItemFailure) else ItemFailure.UNEXPECTED, error.reason)
        async with self.updates() as updates:
            await updates.add(self._fail_what_is_open(reason))
        await self.complete()

    @property
    def is_half_done(self) -> bool:
        """Whether items have come to their end, here or elsewhere, so that the job cannot fail as a whole."""
        return bool(self._done or self._rows.already_final or self._rows.unknown_states)

    async def _end(self, final: FinalEvent) -> None:
        """Post the final event, or only note it in a dry run."""
        if not self.session.dry_run:
            await self.session.steps.pages.forget(self.job.id)  # not after the event: a kill between would leave them
            await self._bring_books_up_to_date()
            await self.session.steps.complete_job(self.session, self.job, final)
        self.report.end(final.event)

    @asynccontextmanager
    async def books_brought_up_to_date(self) -> AsyncIterator[None]:
        """Whatever way the job leaves, what is derived from the books is brought up to date."""
        try:
            yield
        finally:
            await self._bring_books_up_to_date()

    async def _bring_books_up_to_date(self) -> None:
        if self._up_to_date:
            return
        self._up_to_date = True
        try:
            self.report.note(*await self.session.erp.finish_job())
        except ErpError as error:
            self.report.note(str(error))
