"""Step 5, process and record: the items of one page into the accounting system, each once, with their receipts.

Every call looks all its ids up first, so it may be repeated as it stands whenever its outcome is unknown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from blocks.erp.entries import Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import (
    ErpError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
    RefusalKind,
    Refused,
)
from blocks.erp.settings import Attachments
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.items import BrokenItem, ExportItem
from blocks.pleo.models import ItemFailure, ItemStatus
from flows.bookkeeping import book
from flows.failures import Failure, refusal
from flows.judging import Verdict, judge, notices_at_others
from flows.receipts.collect import Collected, collect_page
from flows.receipts.folder import receipts_folder
from flows.recording import PagePart, RecordedPage, Recording
from flows.results import Facts, Row, failed
from flows.rows import facts_of, found_row, preview_row, recorded_row, still_draft_row, unreadable_row, with_notices
from flows.session import Session
from flows.stop import Stopped

log = logging.getLogger(__name__)

PORTION = 25
"""How many expenses with receipts are on their way at once: their files lie on the disk meanwhile."""

PORTION_BYTES = 200_000_000
"""How many bytes of receipts, by the sizes that Pleo states, may be on their way at once."""

_UNFORESEEN = Failure(
    ItemFailure.UNEXPECTED, "The integration met something unforeseen in this expense; its log has the cause."
)


@dataclass(frozen=True, slots=True)
class _Expense:
    """One item, how people know it, what bookkeeping makes of it, and the entry that stands for it already."""

    item: ExportItem
    facts: Facts
    outcome: Entry | Failure
    found: Recorded | None

    @property
    def id_(self) -> str:
        return self.item.accounting_entry_id


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
            page.closing = self._closing(error)
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

    def _closing(self, error: Exception) -> Failure | None:
        """Why what is still open fails, or None where waiting may help."""
        if isinstance(error, ErpLoginRefused):
            return Failure(ItemFailure.ERP_AUTHENTICATION, str(error))
        if isinstance(error, ErpRateLimited) and (error.clears_in_s or 0.0) > self._recording.patience_s:
            return Failure(ItemFailure.ERP_RATE_LIMIT, str(error))
        return None

    async def _prepared(self, source: ExportItemsPage, wanted: Sequence[str]) -> list[_Expense]:
        """The wanted items that can be gone on with; the rows of the others are done."""
        open_ids = dict.fromkeys(wanted)
        found = await self._erp.find(list(open_ids))
        expenses: list[_Expense] = []
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
            facts = facts_of(item, self._settings)
            if stands is not None and isinstance(outcome, Entry):
                self._recording.memory.stands(outcome, stands.external_id)
            if stands is None and isinstance(outcome, Failure):
                self._page.rows.append(failed(id_, outcome, facts))
            else:
                expenses.append(_Expense(item, facts, outcome, stands))
        return expenses

    def _book(self, item: ExportItem) -> Entry | Failure:
        """The item's entry, checked against the accounting system's limits, or why there is none."""
        try:
            outcome = book(item, self._context)
            refused = self._erp.check(outcome) if isinstance(outcome, Entry) else None
        except Exception:  # an item that nobody foresaw must not take its job with it
            log.exception("Unexpected while booking %s", item.accounting_entry_id)
            return _UNFORESEEN
        return refusal(refused) if refused is not None else outcome

    def _portions(self, expenses: list[_Expense]) -> Iterator[list[_Expense]]:
        """The expenses in the accounting system's batches, smaller ones where files have to be fetched."""
        receipts = self._wants_receipts() and any(one.item.files for one in expenses)
        most = min(self._context.limits.max_entries, PORTION) if receipts else self._context.limits.max_entries
        portion: list[_Expense] = []
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

    async def _portion(self, portion: list[_Expense]) -> None:
        with ExitStack() as until_recorded:
            collected = await self._collect(portion, until_recorded) if self._wants_receipts() else {}
            await self._with_files(portion, collected)

    async def _with_files(self, portion: list[_Expense], collected: dict[str, Collected]) -> None:
        ready: list[_Expense] = []
        for one in portion:
            files = collected.get(one.id_)
            if files is not None and files.links_dead and not self._links_are_fresh:
                self._page.dead_links.append(one.id_)
            else:
                ready.append(one)
        await self._finish_found([one for one in ready if one.found is not None], collected)
        if self._page.closing is None:
            await self._record_new([one for one in ready if one.found is None], collected)

    async def _collect(self, portion: list[_Expense], until_recorded: ExitStack) -> dict[str, Collected]:
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

    async def _record_new(self, new: list[_Expense], collected: dict[str, Collected]) -> None:
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
        self, verdict: Verdict, by_id: dict[str, _Expense], collected: dict[str, Collected]
    ) -> None:
        entries = verdict.now
        if self._session.dry_run:
            self._page.entries += entries
            units = self._settings.minor_units
            self._page.rows += [preview_row(one, by_id[one.accounting_entry_id].facts, units) for one in entries]
            self._remember(verdict, {})
            return
        outcomes, stands = await self._record(entries)
        self._remember(verdict, {one.accounting_entry_id: one for one in outcomes})
        found = list[_Expense]()
        for entry, outcome in zip(entries, outcomes, strict=False):  # after `closing` there are fewer outcomes
            id_ = entry.accounting_entry_id
            if isinstance(outcome, Recorded) and outcome.found and self._page.closing is None:
                found.append(replace(by_id[id_], outcome=entry, found=stands[id_]))
            else:
                self._page.rows.append(self._row(by_id[id_], entry, outcome, stands, collected.get(id_)))
        # Another run's, or a write of our own that came late: it may lack receipts and posting as any that stands.
        await self._finish_found(found, collected)

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
            return outcomes, await self._in_the_books([one for one in outcomes if isinstance(one, Recorded)])
        except (ErpLoginRefused, ErpRateLimited) as error:
            self._page.closing = self._closing(error)
            if self._page.closing is None:
                raise
            told = outcomes or error.outcomes  # it cannot be asked any more what it holds, so its word is taken
            return told, {one.accounting_entry_id: one for one in told if isinstance(one, Recorded)}

    async def _in_the_books(self, recorded: Sequence[Recorded]) -> dict[str, Recorded]:
        """What the books hold for these entries now: what was written is read back, never taken for granted."""
        if not recorded:
            return {}
        stands = await self._erp.find([one.accounting_entry_id for one in recorded])
        lost = [one.external_id for one in recorded if one.accounting_entry_id not in stands]
        if lost:
            raise ErpOutcomeUnknown(f"the accounting system no longer finds {', '.join(lost[:3])}")
        return stands

    def _row(
        self,
        expense: _Expense,
        entry: Entry,
        outcome: Recorded | Refused,
        stands: dict[str, Recorded],
        files: Collected | None,
    ) -> Row:
        if isinstance(outcome, Refused):
            return failed(entry.accounting_entry_id, refusal(outcome), expense.facts)
        now = stands[entry.accounting_entry_id]
        row = recorded_row(replace(now, found=outcome.found), entry, expense.facts, self._settings.minor_units)
        problems = [*(files.problems if files is not None else ()), *map(_as_failure, outcome.not_attached)]
        return with_notices(row, _lacking(now.external_id, problems))

    async def _finish_found(self, found: list[_Expense], collected: dict[str, Collected]) -> None:
        """What an earlier run recorded and left undone: its receipts, and its posting."""
        rows: dict[str, Row] = {}
        lacking: dict[str, list[str]] = {}
        drafts: dict[str, _Expense] = {}
        touched: dict[str, _Expense] = {}
        try:
            for one in found:
                assert one.found is not None  # noqa: S101 - the caller chose them so
                row = found_row(one.item, one.outcome, one.found, one.facts, self._context)
                is_draft = one.found.state is EntryState.DRAFT
                if row.status is ItemStatus.SUCCESSFUL and not self._session.dry_run:
                    files = collected.get(one.id_)
                    if files is not None and files.attachments:
                        touched[one.id_] = one
                    problems = await self._attach_missing(one, files)
                    if problems and is_draft and self._settings.attachments is Attachments.REQUIRED:
                        reason = f"{problems[0].reason} ({one.found.external_id} stays a draft.)"
                        row = failed(one.id_, Failure(problems[0].type, reason), one.facts)
                    lacking[one.id_] = _lacking(one.found.external_id, problems)
                rows[one.id_] = row
                if row.status is ItemStatus.SUCCESSFUL and is_draft:
                    drafts[one.id_] = one
            if drafts and self._settings.posting is EntryState.POSTED:
                refused = await self._post(drafts)
                rows |= {id_: still_draft_row(rows[id_], why) for id_, why in refused.items()}
                touched |= {id_: one for id_, one in drafts.items() if id_ not in refused}
            if not self._session.dry_run:
                rows |= await self._as_it_stands_now(touched, rows)
        except (ErpLoginRefused, ErpRateLimited) as error:
            self._page.closing = self._closing(error)
            if self._page.closing is None:
                raise
            if self._settings.posting is EntryState.POSTED:
                rows = {id_: row for id_, row in rows.items() if id_ not in drafts}  # whether posted, nobody can say
        self._page.rows += [
            with_notices(row, lacking.get(id_, []) if row.status is ItemStatus.SUCCESSFUL else [])
            for id_, row in rows.items()
        ]

    async def _as_it_stands_now(self, touched: dict[str, _Expense], rows: dict[str, Row]) -> dict[str, Row]:
        """The rows of entries that were worked on: as with new ones, the books are asked, as somebody may have deleted
        an entry since it was found."""
        stands = await self._in_the_books([one.found for one in touched.values() if one.found is not None])
        return {
            id_: found_row(touched[id_].item, touched[id_].outcome, now, touched[id_].facts, self._context)
            for id_, now in stands.items()
            if rows[id_].status is ItemStatus.SUCCESSFUL
        }

    async def _attach_missing(self, one: _Expense, files: Collected | None) -> list[Failure]:
        """Attach the receipts that an entry that stands has not got yet; returns why it lacks some all the same."""
        if files is None:
            return []
        not_attached = await self._erp.attach(one.id_, files.attachments) if files.attachments else []
        return [*files.problems, *map(_as_failure, not_attached)]

    async def _post(self, drafts: dict[str, _Expense]) -> dict[str, Refused]:
        """Post drafts, or find out in a dry run which could be: those that stay drafts, and why."""
        if self._session.dry_run:
            return {id_: why for id_, one in drafts.items() if (why := self._closed_since(one)) is not None}
        return {one.accounting_entry_id: one for one in await self._erp.post(sorted(drafts))}

    def _closed_since(self, one: _Expense) -> Refused | None:
        """Why a draft could not be posted: its period was closed after it was recorded."""
        periods = self._context.reference.periods
        if periods is None or one.found is None or periods.is_open(one.found.posting_date):
            return None
        day = one.found.posting_date.isoformat()
        return Refused(one.id_, RefusalKind.CLOSED_PERIOD, day, f"the posting date lies in a closed period: {day}")


def _lacking(external_id: str, problems: Sequence[Failure]) -> list[str]:
    """Which receipts an entry lacks, each reason once."""
    return [
        f"{external_id} lacks {'a receipt' if many == 1 else f'{many} receipts'}: {reason}"
        for reason, many in Counter(problem.reason for problem in problems).items()
    ]


def _as_failure(refused: NotAttached) -> Failure:
    kind = RefusalKind.ATTACHMENT_TOO_LARGE if refused.too_large else RefusalKind.ATTACHMENT_REFUSED
    return refusal(Refused("", kind, f"file {refused.number}", refused.message))
