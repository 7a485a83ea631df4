"""The order of the seven steps for one job, once, as plain code.

    start → validate → retrieve job items → fetch item data → record page by page, reporting as we go → complete

Clock, waiting, transport and the way a step is called come from outside, so this also runs without Prefect.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blocks.erp.errors import ErpError, ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable
from blocks.erp.reference import Reference
from blocks.pleo.errors import (
    JobFinished,
    PagingBroken,
    PleoAuthenticationError,
    PleoError,
    PleoNotFound,
    PleoPermissionError,
)
from blocks.pleo.http.wire import Cursors
from blocks.pleo.models import ExportJob, ItemFailure, JobEvent, JobFailure, JobStatus
from flows.bookkeeping import BookingContext
from flows.deadline import Deadline
from flows.elsewhere import find_out_how_it_ended, tell_how_it_stands
from flows.failures import Failure, JobFails
from flows.outcome import Ending, JobReport
from flows.reporting import ItemsRefused, Reporting
from flows.results import MAX_WAIT_S, Results, failed
from flows.session import Session
from flows.steps.complete import FinalEvent, complete_job, final_event
from flows.steps.detect import read_job, start_job
from flows.steps.fetch import FetchedPage, PageKey, fetch_page
from flows.steps.record import BUDGET_S, Desk, RecordedPage, record_page
from flows.steps.retrieve import ControlList, retrieve_items
from flows.steps.validate import validate_job
from flows.stop import Stopped

log = logging.getLogger(__name__)

LINKS_ARE_FRESH_S = 3600.0
"""A file link in a page this young cannot have died of age: Pleo's live for a day."""

_NAMED = 5

NO_DATA = Failure(
    ItemFailure.VALIDATION, "Pleo lists this expense in the job but sent no data for it. Export it again."
)


class Unfinished(Exception):
    """The job cannot be ended in this run; it stays open, and the next run goes on with it."""


async def export_job(session: Session, job: ExportJob) -> JobReport:
    """Take one job as far as it goes. Whatever happens, the report says how it ended; nothing is raised for it."""
    run = _JobRun(session, job)
    report = run.report
    try:
        async with run.books_brought_up_to_date():
            await run.all_steps()
    except Stopped as error:
        report.ending, report.reason = Ending.INTERRUPTED, str(error)
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
        await session.runner.forget(job)  # but for pages that a run is still to use, the next one or the one at work
    return report


class _JobRun:
    """One job under way."""

    def __init__(self, session: Session, job: ExportJob) -> None:
        self.session = session
        self.job = job
        self.report = JobReport(
            job.id, job.company_id, dry_run=session.dry_run, minor_units=session.settings.minor_units
        )
        self.control = ControlList()
        self.deadline = Deadline(job, session.clock, session.now())
        self._warned = False
        self.is_resumed = job.status != JobStatus.PENDING
        """Whether another run may have done a part of it."""

    async def all_steps(self) -> None:
        """Steps 1 to 7. Raises whatever keeps the job from its end; a job that cannot be done is failed here."""
        if not await self.start():
            return
        try:
            reference = await self.validate()
            await self.retrieve()
            pages = await self.fetch() if self.control.to_do else []
            await self.record(pages, self.desk(reference))  # which fetches pages again where links have died
        except JobFails as error:
            await self.fail(error)
        else:
            await self.end()

    def desk(self, reference: Reference) -> Desk:
        """What pages are recorded with, once the accounting system's reference data is known."""
        session, settings = self.session, self.session.settings
        today = session.now().astimezone(settings.zone).date()
        return Desk(
            session.erp,
            BookingContext(self.job.id, self.job.company_id, reference, session.erp.describe(), settings, today),
            session.files,
            session.clock,
            session.stop,
            patience_s=self.deadline.life_s,
            budget_s=self.deadline.at_most(BUDGET_S),
            dry_run=session.dry_run,
        )

    async def start(self) -> bool:
        """Step 1: take ownership; False when another was faster, or we may not. A job in progress needs no event."""
        if self.session.dry_run or self.job.status != JobStatus.PENDING:
            return True
        try:
            is_ours = await self.session.runner.call(start_job, self.session.pleo, self.job.id)
        except (PleoAuthenticationError, PleoPermissionError) as error:  # a key that may read only, say
            self.report.ending, self.report.reason = Ending.NOT_ALLOWED, str(error)
            return False
        except JobFinished as error:
            now = await self.session.runner.call(read_job, self.session.pleo, self.job.id)
            if now.status == JobStatus.IN_PROGRESS and now.is_open:
                self.report.ending = Ending.TAKEN
                self.report.reason = "another runner or integration has just started it"
            else:
                tell_how_it_stands(self.report, now, error)
            return False
        self.is_resumed = not is_ours
        self.deadline.renew()
        return True

    async def validate(self) -> Reference:
        """Step 2: an accounting system that does not answer now fails the job, so that nothing is half begun.

        A job that is resumed may be half done already: it stays open, as it does when this happens in mid-run.
        """
        try:
            return await self.session.runner.call(validate_job, self.session.erp, self.job, self.session.settings)
        except ErpRateLimited as error:
            if self.is_resumed and (error.clears_in_s or 0.0) <= self.deadline.life_s:
                raise
            raise JobFails(JobFailure.ERP_RATE_LIMIT, str(error)) from error
        except (ErpUnavailable, ErpOutcomeUnknown) as error:
            if self.is_resumed:
                raise
            raise JobFails(JobFailure.ERP_UNREACHABLE, str(error)) from error

    async def retrieve(self) -> None:
        """Step 3: all rows, before anything is done."""
        began = self.session.clock()
        self.control = await self.session.runner.call(
            retrieve_items, self.session.pleo, self.job.id, self.session.stop.check
        )
        self.report.already_final = self.control.already_final
        self.report.already_unsuccessful = self.control.not_successful
        if self.control.to_do:
            took_s = self.session.clock() - began
            self._warn_if_short_of_time(took_s, "to fetch its data, which has as many pages as its items had,")

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

    async def fetch(self) -> list[PageKey]:
        """Step 4: all pages of data into the store; returns where they are.

        All are fetched anew, once, if an open item is on none of them: pages kept from an earlier run may be of
        another time, and a page may come in place of another. The rows are retrieved anew if the pages have an item
        that is none of them, as the job was given more meanwhile.
        """
        try:
            pages, ids, unlisted = await self._fetch_all()
        except PagingBroken:
            await self.session.runner.forget(self.job)  # or the next run would stumble over the same stored page
            raise
        if not ids.issuperset(self.control.to_do):
            await self.session.runner.forget(self.job)
            pages, _, unlisted = await self._fetch_all()
        if unlisted:
            await self.retrieve()
            self._tell_of([id_ for id_ in unlisted if not self.control.knows(id_)])
        return pages

    def _tell_of(self, unlisted: list[str]) -> None:
        """Name some of the expenses that Pleo sends with the job, and of which no row of it can be read."""
        if unlisted:
            more = f" and {len(unlisted) - _NAMED} more" if len(unlisted) > _NAMED else ""
            names = ", ".join(unlisted[:_NAMED])
            self.report.note(f"not booked, as Pleo sends them with this job and no row of it has them: {names}{more}")

    async def _fetch_all(self) -> tuple[list[PageKey], set[str], dict[str, None]]:
        """Where the pages are, the open items that they have, and what they have that is no item of the job."""
        pages: list[PageKey] = []
        ids: set[str] = set()
        unlisted: dict[str, None] = {}
        cursors = Cursors("export items of the job")
        cursor: str | None = None
        while not pages or cursor is not None:
            self.session.stop.check()
            key = self._key(cursor)
            page, _ = await self._page(key, str(len(pages) + 1))
            unlisted |= dict.fromkeys(id_ for id_ in page.ids if not self.control.knows(id_))
            ids.update(id_ for id_ in page.ids if id_ in self.control.to_do)
            pages.append(key)
            await self.session.runner.progress("fetched", len(ids), len(self.control.to_do))
            cursor = cursors.after(has_next=page.has_next, end_cursor=page.end_cursor, count=page.count)
        return pages, ids, unlisted

    async def _page(self, key: PageKey, label: str) -> tuple[FetchedPage, bool]:
        session = self.session
        return await session.runner.fetch(
            key, fetch_page, session.pleo, self.job.id, key.cursor or None, session.now, label=label
        )

    def _key(self, cursor: str | None) -> PageKey:
        pleo = self.session.pleo
        return PageKey(pleo.base_url, self.job.company_id, self.job.id, cursor or "", pleo.page_size)

    async def record(self, pages: list[PageKey], desk: Desk) -> None:
        """Steps 5 and 6: page by page in Pleo's order, the report of one page under way while the next is booked."""
        remaining = dict(self.control.to_do)
        async with self._reporting() as reporting:
            try:
                closing = await self._record(pages, desk, remaining, reporting)
            except JobFails as error:
                if not self._is_half_done():
                    raise
                closing = self._reason_for_items(error)
            await self._close(closing, remaining, reporting)

    async def _record(
        self, pages: list[PageKey], desk: Desk, remaining: dict[str, None], reporting: Reporting
    ) -> Failure:
        """Record all pages; returns why what then remains is not recorded."""
        total, began = len(remaining), self.session.clock()
        for number, key in enumerate(pages, 1):
            async for page in self._recorded(key, desk, remaining, str(number)):
                self.report.count(page.rows)
                self.report.preview += page.entries
                await reporting.add(page.rows)
                done = total - len(remaining)
                await self.session.runner.progress("recorded", done, total)
                if done:
                    needed_s = (self.session.clock() - began) / done * len(remaining)
                    self._warn_if_short_of_time(needed_s, "to book the rest")
                if page.closing is not None:
                    return page.closing
        return NO_DATA

    def _reporting(self) -> Reporting:
        session = self.session
        results = Results(session.update_batch_size, session.clock, self.deadline.at_most(MAX_WAIT_S))
        return Reporting(session, results, self.report)

    async def _close(self, failure: Failure, remaining: dict[str, None], reporting: Reporting) -> None:
        """Fail all that is still open, for one reason that holds for all of it."""
        rows = [failed(id_, failure) for id_ in remaining]
        self.report.count(rows)
        await reporting.add(rows)

    async def _recorded(
        self, key: PageKey, desk: Desk, remaining: dict[str, None], label: str
    ) -> AsyncIterator[RecordedPage]:
        """Record a page, in several calls where time does not suffice, or where the links in it have died meanwhile.

        What is done no longer remains.
        """
        page = await self._stored(key)
        wanted = [id_ for id_ in dict.fromkeys(page.ids) if id_ in remaining]
        age_s = self.session.now().timestamp() - page.fetched_at
        fresh = -60 < age_s < LINKS_ARE_FRESH_S  # a page from the future was fetched by another clock
        dead: set[str] = set()
        while wanted:
            self.session.stop.check()
            done = await self.session.runner.call(record_page, desk, page.text, wanted, fresh, label=label)
            for row in done.rows:
                remaining.pop(row.accounting_entry_id, None)
            yield done
            if done.closing is not None:
                return
            wanted, dead = done.left, dead.union(done.dead_links)
            if not wanted and dead:
                await self.session.runner.drop(key)
                page, fresh = await self._stored(key), True
                wanted, dead = [id_ for id_ in dict.fromkeys(page.ids) if id_ in dead], set()

    async def _stored(self, key: PageKey) -> FetchedPage:
        page = await self.session.runner.load(key)
        if page is None:  # the store lost it: it can be fetched again as long as the job is open
            page, _ = await self._page(key, "again")
        return page

    async def end(self) -> None:
        """Step 7, once every row of the job is final and the sums agree."""
        difference = self.report.difference()
        if difference:
            raise Unfinished(f"Pleo and the books differ: {difference}")
        control, expected = self.control, self.job.number_of_items
        if control.unreadable:
            raise Unfinished(
                f"{control.unreadable} rows of the job cannot be read or are of another job, "
                "so it cannot be said to be complete"
            )
        if control.unknown_states:
            (id_, state), *more = control.unknown_states.items()
            others = f", and {len(more)} more like it" if more else ""
            raise Unfinished(f"item {id_} is in a state that is not known here, {state}{others}; see to it in Pleo")
        if expected is not None and control.count < expected:
            raise Unfinished(f"Pleo says the job has {expected} items but lists only {control.count}")
        types = control.failure_types.copy()
        types.update(item.type.value for item in self.report.failures)
        successful = control.successful + self.report.successful
        not_successful = control.not_successful + self.report.failed
        await self.complete(final_event(successful, not_successful, types, self.session.settings.all_failed_event))

    async def fail(self, error: JobFails) -> None:
        """End a job that cannot be done: as a whole, unless items of it have come to their end already.

        Then it is the others that fail, for the same reason, so that none is left open and the event tells of all.
        """
        if self.is_resumed and not self.control.count:
            await self.retrieve()
        if not self._is_half_done():
            self.report.reason = error.reason
            await self.complete(FinalEvent(JobEvent.FAILED, error.reason, error.type))
            return
        async with self._reporting() as reporting:
            await self._close(self._reason_for_items(error), self.control.to_do, reporting)
        await self.end()

    def _is_half_done(self) -> bool:
        control, report = self.control, self.report
        return bool(control.already_final or control.unknown_states or report.successful or report.failed)

    def _reason_for_items(self, error: JobFails) -> Failure:
        self.report.reason = error.reason
        name = error.type.value
        return Failure(ItemFailure(name) if name in set(ItemFailure) else ItemFailure.UNEXPECTED, error.reason)

    async def complete(self, final: FinalEvent) -> None:
        """Post the final event, or only note it in a dry run."""
        if not self.session.dry_run:
            await self.session.runner.forget(self.job)  # not after the event: a kill in between would leave them there
            await self._bring_books_up_to_date()
            await self.session.runner.call(complete_job, self.session.pleo, self.job.id, final)
        self.report.end(final.event)

    @asynccontextmanager
    async def books_brought_up_to_date(self) -> AsyncIterator[None]:
        """Whatever way the job leaves, what is derived from the books is brought up to date."""
        self._up_to_date = self.session.dry_run
        try:
            yield
        finally:
            await self._bring_books_up_to_date()

    async def _bring_books_up_to_date(self) -> None:
        if self._up_to_date:
            return
        self._up_to_date = True
        try:
            await self.session.erp.finish_job()
        except ErpError as error:
            self.report.note(str(error))
