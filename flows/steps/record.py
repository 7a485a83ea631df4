"""Step 5, process and record: the items of one page into the accounting system, each once, with their receipts.

Every call looks all its ids up first, so it may be repeated as it stands whenever its outcome is unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path

from blocks.erp.choices import Attachments
from blocks.erp.entries import Entry, Recorded
from blocks.erp.errors import (
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
    Refused,
)
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.items import BrokenItem, ExportItem
from blocks.pleo.models import ItemFailure
from flows.bookkeeping import book
from flows.bookkeeping.statement import statement_of
from flows.changes import Course, decide, reversal_day
from flows.failures import Failure, refusal
from flows.judging import Verdict, judge, notices_at_others
from flows.receipts.collect import Collected, collect_page
from flows.receipts.folder import receipts_folder
from flows.recording import PagePart, RecordedPage, Recording
from flows.results import Row, failed
from flows.rows import amount_of, facts_of, preview_row, recorded_row, unreadable_row, with_notices
from flows.session import Session
from flows.standing import Expense, Standing, as_failure, lacks
from flows.stop import Stopped

log = logging.getLogger(__name__)

PORTION = 25
"""How many expenses with receipts are on their way at once: their files lie on the disk meanwhile."""

PORTION_BYTES = 200_000_000
"""How many bytes of receipts, by the sizes that Pleo states, may be on their way at once."""

_UNFORESEEN = Failure(
    ItemFailure.UNEXPECTED, "The integration met something unforeseen in this expense; its log has the cause."
)


async def record_page(session: Session, recording: Recording, part: PagePart, number: int) -> RecordedPage:
    """Book a part of the `number`-th page. In a dry run nothing is written and the rows are what would be.

    Raises what keeps it from going on, an ErpError or Stopped say, only when no item is done: what is done is told
    before anything else, and the next call, which is safe, takes up the rest.
    """
    return await _PageRecorder(session, recording, part.links_are_fresh).record(part.page, part.wanted)


class _PageRecorder:
    def __init__(self, session: Session, recording: Recording, links_are_fresh: bool) -> None:
        self._session = session
        self._recording = recording
        self._erp = session.erp
        self._context = recording.context
        self._settings = recording.context.settings
        self._links_are_fresh = links_are_fresh
        self._page = RecordedPage()
        self._standing = Standing(session, recording)

    async def record(self, source: ExportItemsPage, wanted: Sequence[str]) -> RecordedPage:
        page, started = self._page, self._session.clock()
        open_ids = list(wanted)
        try:
            expenses = await self._prepared(source, wanted)
            open_ids = [one.id_ for one in expenses]
            for n, portion in enumerate(self._portions(expenses)):
                if page.closing is not None or (n and self._session.clock() - started > self._recording.budget_s):
                    break
                self._session.stop.check()
                await self._portion(portion)
        except Exception as error:
            page.closing = self._recording.closing(error)
            if page.closing is None and not self._done():
                raise
            if not isinstance(error, (ErpError, Stopped)):
                log.exception("Unexpected while recording a page; what is done of it is told first")
            elif self._done():
                log.warning("Recording was broken off, what is done of the page is told first: %s", error)
        done = self._done()
        page.rows = [with_notices(row, [text for id_, text in page.notices if id_ == row.accounting_entry_id])
                     for row in page.rows]  # fmt: skip
        page.notices = [one for one in page.notices if one[0] not in done]
        page.left = [id_ for id_ in open_ids if id_ not in done]
        return page

    def _done(self) -> set[str]:
        """The items that this call need not look at again."""
        return {*(row.accounting_entry_id for row in self._page.rows), *self._page.dead_links}

    async def _prepared(self, source: ExportItemsPage, wanted: Sequence[str]) -> list[Expense]:
        """The wanted items that can be gone on with; the rows of the others are done."""
        open_ids = dict.fromkeys(wanted)
        found = await self._erp.find(list(open_ids))
        expenses: list[Expense] = []
        items = source.items(set(source.ids))
        self._recording.memory.see(items.values())
        for id_, item in items.items():
            if id_ not in open_ids:
                continue
            stands = found.get(id_)
            if isinstance(item, BrokenItem):
                reason = f"Pleo's data of this expense cannot be read: {item.problem}. Ask Pleo's support."
                broken = Failure(ItemFailure.VALIDATION, reason)
                self._page.rows.append(unreadable_row(broken, stands) if stands else failed(id_, broken))
                continue
            outcome = self._book(item)
            expense = Expense(item, facts_of(item, self._settings), outcome)
            if stands is not None:
                if isinstance(outcome, Entry):
                    self._recording.memory.stands(outcome, stands.external_id)
                expenses += self._compared(expense, stands)
            elif isinstance(outcome, Failure):
                self._page.rows.append(failed(id_, outcome, expense.facts))
            else:
                expenses.append(expense)
        return expenses

    def _compared(self, expense: Expense, stands: Recorded) -> list[Expense]:
        """The expense with what is to become of the entry that stands; none where its row is done."""
        amount = amount_of(expense.item, expense.outcome, self._settings.minor_units)
        if amount is None and isinstance(expense.outcome, Failure):
            self._page.rows.append(unreadable_row(expense.outcome, stands, expense.facts))
            return []
        decision = decide(stands, statement_of(expense.item), expense.outcome, amount, self._context)
        if decision.failure is not None:
            self._page.rows.append(failed(expense.id_, decision.failure, expense.facts))
            return []
        if decision.course is Course.REVERSED:
            return [replace(expense, reverses=stands, decision=decision)]
        return [replace(expense, found=stands, decision=decision)]

    def _book(self, item: ExportItem) -> Entry | Failure:
        """The item's entry, checked against the accounting system's limits, or why there is none."""
        try:
            outcome = book(item, self._context)
            refused = self._erp.check(outcome) if isinstance(outcome, Entry) else None
        except Exception:  # an item that nobody foresaw must not take its job with it
            log.exception("Unexpected while booking %s", item.accounting_entry_id)
            return _UNFORESEEN
        return refusal(refused) if refused is not None else outcome

    def _portions(self, expenses: list[Expense]) -> Iterator[list[Expense]]:
        """The expenses in the accounting system's batches, smaller ones where files have to be fetched."""
        receipts = self._wants_receipts() and any(one.item.files for one in expenses)
        most = min(self._context.limits.max_entries, PORTION) if receipts else self._context.limits.max_entries
        portion: list[Expense] = []
        weight = 0
        for one in expenses:
            heavy = sum(file.size or 0 for file in one.item.files or () if file is not None) if receipts else 0
            if portion and (len(portion) == most or weight + heavy > PORTION_BYTES):
                yield portion
                portion, weight = [], 0
            portion.append(one)
            weight += heavy
        if portion:
            yield portion

    def _wants_receipts(self) -> bool:
        # A dry run asks for receipts only where a missing one would fail its expense.
        return self._settings.attachments is not Attachments.SKIP and (
            not self._session.dry_run or self._settings.attachments is Attachments.REQUIRED
        )

    async def _portion(self, portion: list[Expense]) -> None:
        with ExitStack() as until_recorded:
            collected = await self._collect(portion, until_recorded) if self._wants_receipts() else {}
            await self._with_files(portion, collected)

    async def _with_files(self, portion: list[Expense], collected: dict[str, Collected]) -> None:
        ready: list[Expense] = []
        for one in portion:
            files = collected.get(one.id_)
            if files is not None and files.links_dead and not self._links_are_fresh:
                self._page.dead_links.append(one.id_)
            else:
                ready.append(one)
        await self._finish(await self._judged([one for one in ready if one.found is not None]), collected)
        if self._page.closing is None:
            await self._record_new([one for one in ready if one.found is None], collected)

    async def _judged(self, found: list[Expense]) -> list[Expense]:
        """What stands, but for drafts that cannot be replaced beside what else stands: these fail, or wait for the next
        call, when others of this one are replaced."""
        changed = {one.id_: one for one in found if one.is_replaced}
        if not changed:
            return found
        entries = [one.outcome for one in changed.values() if isinstance(one.outcome, Entry)]
        verdict = await judge(self._erp, entries, self._recording.memory, self._settings)
        for id_, why in verdict.failures.items():
            stands = changed[id_].found
            name = stands.external_id if stands is not None else ""
            failure = Failure(why.type, f"{why.reason} ({name} stays as it was.)")
            self._page.rows.append(failed(id_, failure, changed[id_].facts))
        now = {entry.accounting_entry_id: entry for entry in verdict.now}
        return [
            replace(one, outcome=now.get(one.id_, one.outcome))
            for one in found
            if one.id_ not in changed or one.id_ in now
        ]

    async def _finish(self, found: Sequence[Expense], collected: dict[str, Collected]) -> None:
        rows, closing = await self._standing.finish(found, collected)
        self._page.rows += rows
        self._page.closing = closing or self._page.closing
        if self._session.dry_run:
            replaced = [one.outcome for one in found if one.is_replaced]
            self._page.entries += [entry for entry in replaced if isinstance(entry, Entry)]

    async def _collect(self, portion: list[Expense], until_recorded: ExitStack) -> dict[str, Collected]:
        """The receipts of these expenses, but for those that hang on their entries already."""
        skip = {one.id_: one.found.attached for one in portion if one.found is not None}
        items = [one.item for one in portion if not (self._session.dry_run and one.found is not None)]
        stop, attachments = self._session.stop, self._settings.attachments
        folder: Path | None = None
        try:
            folder = until_recorded.enter_context(receipts_folder())
            async with stop.limit(None):
                return await collect_page(items, self._session.files, self._context.limits, attachments, folder, skip)
        except OSError as error:
            stop.check()  # a limit that ran out is an OSError, too
            where = error.filename or folder
            raise ErpUnavailable(
                f"receipts cannot be kept on their way: {error.strerror or error} ({where})"
            ) from error

    async def _record_new(self, new: list[Expense], collected: dict[str, Collected]) -> None:
        entries: list[Entry] = []
        for one in new:
            files = collected.get(one.id_)
            required = self._settings.attachments is Attachments.REQUIRED
            assert isinstance(one.outcome, Entry)  # noqa: S101 - _prepared lets no failure through without an entry
            if files is not None and files.problems and required:
                self._page.rows.append(failed(one.id_, files.problems[0], one.facts))
            elif files is not None:
                entries.append(replace(one.outcome, attachments=files.attachments, attachments_required=required))
            else:
                entries.append(one.outcome)
        by_id = {one.id_: one for one in new}
        while entries and self._page.closing is None:
            verdict = await judge(self._erp, entries, self._recording.memory, self._settings)
            self._page.rows += [failed(id_, why, by_id[id_].facts) for id_, why in verdict.failures.items()]
            await self._record_judged(verdict, by_id, collected)
            entries = verdict.later

    async def _record_judged(
        self, verdict: Verdict, by_id: dict[str, Expense], collected: dict[str, Collected]
    ) -> None:
        entries = verdict.now
        if self._session.dry_run:
            self._page.entries += entries
            for entry in entries:
                one = by_id[entry.accounting_entry_id]
                row = preview_row(entry, one.facts, self._settings.minor_units)
                self._page.rows.append(with_notices(row, one.notices))
            self._remember(verdict, {})
            return
        refused = await self._reverse([by_id[entry.accounting_entry_id] for entry in entries], entries)
        entries = [entry for entry in entries if entry.accounting_entry_id not in refused]
        outcomes, stands = await self._record(entries)
        self._remember(verdict, {one.accounting_entry_id: one for one in outcomes})
        found: list[Expense] = []
        for entry, outcome in zip(entries, outcomes, strict=False):  # after `closing` there are fewer outcomes
            id_ = entry.accounting_entry_id
            if isinstance(outcome, Recorded) and outcome.found and self._page.closing is None:
                compared = self._compared(replace(by_id[id_], outcome=entry, reverses=None), stands[id_])
                found += [one for one in compared if one.found is not None]  # any other is left for the next call
            else:
                self._page.rows.append(self._row(by_id[id_], entry, outcome, stands, collected.get(id_)))
        # Another run's, or a write of our own that came late: it may lack receipts and posting as any that stands.
        await self._finish(found, collected)

    async def _reverse(self, new: Sequence[Expense], entries: Sequence[Entry]) -> set[str]:
        """Reverse the entries in whose place these are booked; the ids of those that cannot be, whose rows are done.

        What is reversed and not yet booked anew when a run is killed, the next run finds not to stand, and books.
        """
        by_day: dict[date, list[Recorded]] = {}
        for one, entry in zip(new, entries, strict=True):
            if one.reverses is not None:
                day = reversal_day(one.reverses, entry, self._context.reference.periods)
                by_day.setdefault(day, []).append(one.reverses)
        if not by_day:
            return set()
        refused: dict[str, Refused] = {}
        for day in sorted(by_day):
            refused |= {one.accounting_entry_id: one for one in await self._erp.reverse(by_day[day], day)}
        stands = await self._erp.find([one.id_ for one in new if one.reverses is not None and one.id_ not in refused])
        for one in new:
            if one.id_ in refused:
                self._page.rows.append(failed(one.id_, refusal(refused[one.id_]), one.facts))
            elif one.reverses and one.id_ in stands and stands[one.id_].external_id == one.reverses.external_id:
                raise ErpOutcomeUnknown(f"{one.reverses.external_id} was reversed, and is still found to be in force")
        return set(refused)

    def _remember(self, verdict: Verdict, outcomes: dict[str, Recorded | Refused]) -> None:
        """What stands now, or would in a dry run, for entries to come; and what is told at others because of it."""
        for entry in verdict.now:
            outcome = outcomes.get(entry.accounting_entry_id)
            if isinstance(outcome, Recorded) or self._session.dry_run:
                external_id = outcome.external_id if isinstance(outcome, Recorded) else ""
                self._recording.memory.stands(entry, external_id)
                beside = verdict.beside[entry.accounting_entry_id]
                self._page.notices += notices_at_others(entry, external_id, beside, self._settings)

    async def _record(self, entries: list[Entry]) -> tuple[Sequence[Recorded | Refused], dict[str, Recorded]]:
        """Record the entries: one outcome each, as many as the accounting system lets us, and what stands of them."""
        if not entries:
            return [], {}
        outcomes: Sequence[Recorded | Refused] = []
        try:
            outcomes = await self._erp.record(entries)
            return outcomes, await self._standing.in_the_books([one for one in outcomes if isinstance(one, Recorded)])
        except (ErpLoginRefused, ErpRateLimited) as error:
            self._page.closing = self._recording.closing(error)
            if self._page.closing is None:
                raise
            told = outcomes or error.outcomes  # it cannot be asked any more what it holds, so its word is taken
            return told, {one.accounting_entry_id: one for one in told if isinstance(one, Recorded)}

    def _row(
        self,
        expense: Expense,
        entry: Entry,
        outcome: Recorded | Refused,
        stands: dict[str, Recorded],
        files: Collected | None,
    ) -> Row:
        if isinstance(outcome, Refused):
            failure = refusal(outcome)
            if expense.reverses is not None:
                told = f"{failure.reason} ({expense.reverses.external_id} is reversed, and not yet booked anew.)"
                failure = Failure(failure.type, told)
            return failed(entry.accounting_entry_id, failure, expense.facts)
        now = stands[entry.accounting_entry_id]
        row = recorded_row(replace(now, found=outcome.found), entry, expense.facts, self._settings.minor_units)
        problems = [*(files.problems if files is not None else ()), *map(as_failure, outcome.not_attached)]
        return with_notices(row, [*expense.notices, *lacks(now.external_id, problems)])
