"""Step 5, process and record: the items of one page into the accounting system, each once, with their receipts.

Every call looks all its ids up first, so it may be repeated as it stands whenever its outcome is unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from blocks.erp.base import Erp
from blocks.erp.entries import Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpLoginRefused, ErpOutcomeUnknown, ErpRateLimited, ErpUnavailable, RefusalKind, Refused
from blocks.erp.policy import Attachments
from blocks.pleo.client import items_of
from blocks.pleo.files import FileClient
from blocks.pleo.items import BrokenItem, ExportItem
from blocks.pleo.models import ItemFailure, ItemStatus
from flows.bookkeeping import Books, book
from flows.failures import Failure, refusal
from flows.results import Row, failed
from flows.steps.receipts import Collected, collect_page
from flows.steps.rows import found_row, preview_row, recorded_row, still_draft_row, unreadable_row, with_notices

log = logging.getLogger(__name__)

PORTION = 25
"""How many expenses with receipts are on their way at once: their files lie on the disk meanwhile."""

BUDGET_S = 40.0
"""How long one call goes on taking up portions: results go out at least every minute, to keep the job alive."""

_UNFORESEEN = Failure(
    ItemFailure.UNEXPECTED, "The integration met something unforeseen in this expense; its log has the cause."
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a page is recorded with. `clock` gives seconds that only grow.

    `patience_s` is how long a pause may be that the accounting system asks for, before the job is given up.
    """

    erp: Erp
    books: Books
    files: FileClient
    clock: Callable[[], float]
    patience_s: float
    dry_run: bool = False


@dataclass(slots=True)
class RecordedPage:
    """The outcome of a call: a row for every item that is done, and in a dry run the entries that would be made.

    `left` are the items that time did not suffice for. Those of `dead_links` wait for a fresh page, as the links to
    their receipts lead nowhere. `closing` is why nothing more can be recorded in this job's life.
    """

    rows: list[Row] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    dead_links: list[str] = field(default_factory=list)
    closing: Failure | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    """One item, what bookkeeping makes of it, and the entry that stands for it already."""

    item: ExportItem
    outcome: Entry | Failure
    found: Recorded | None

    @property
    def id_(self) -> str:
        return self.item.accounting_entry_id


async def record_page(desk: Desk, page_text: str, wanted: Sequence[str], links_are_fresh: bool) -> RecordedPage:
    """Book the wanted items of a page. In a dry run nothing is written and the rows are what would be.

    Raises ErpUnavailable or ErpOutcomeUnknown, after which the same call is safe.
    """
    return await _PageRun(desk, links_are_fresh).record(page_text, wanted)


class _PageRun:
    def __init__(self, desk: Desk, links_are_fresh: bool) -> None:
        self._desk = desk
        self._erp = desk.erp
        self._books = desk.books
        self._policy = desk.books.policy
        self._links_are_fresh = links_are_fresh
        self._page = RecordedPage()

    async def record(self, page_text: str, wanted: Sequence[str]) -> RecordedPage:
        page, started = self._page, self._desk.clock()
        try:
            work = await self._prepared(page_text, wanted)
            for n, portion in enumerate(self._portions(work)):
                if page.closing is not None:
                    break
                if n and self._desk.clock() - started > BUDGET_S:
                    page.left += [one.id_ for one in portion]
                else:
                    await self._portion(portion)
        except (ErpLoginRefused, ErpRateLimited) as error:
            page.closing = self._closing(error)
        return page

    def _closing(self, error: ErpLoginRefused | ErpRateLimited) -> Failure:
        """Why what is still open fails; raises the error again where waiting may help."""
        if isinstance(error, ErpLoginRefused):
            return Failure(ItemFailure.ERP_AUTHENTICATION, str(error))
        if error.clears_in_s is None or error.clears_in_s <= self._desk.patience_s:
            raise error
        return Failure(ItemFailure.ERP_RATE_LIMIT, str(error))

    async def _prepared(self, page_text: str, wanted: Sequence[str]) -> list[_Work]:
        """The wanted items that can be gone on with; the rows of the others are done."""
        open_ids = dict.fromkeys(wanted)
        found = await self._erp.find(list(open_ids))
        work: list[_Work] = []
        for item in items_of(page_text):
            id_ = item.accounting_entry_id
            if id_ is None or id_ not in open_ids:
                continue
            del open_ids[id_]
            stands = found.get(id_)
            if isinstance(item, BrokenItem):
                broken = Failure(ItemFailure.VALIDATION, f"Pleo's data of this expense cannot be read: {item.problem}")
                self._page.rows.append(unreadable_row(broken, stands) if stands else failed(id_, broken))
                continue
            outcome = self._book(item)
            if stands is None and isinstance(outcome, Failure):
                self._page.rows.append(failed(id_, outcome))
            else:
                work.append(_Work(item, outcome, stands))
        return work

    def _book(self, item: ExportItem) -> Entry | Failure:
        """The item's entry, checked against the accounting system's limits, or why there is none."""
        try:
            outcome = book(item, self._books)
            refused = self._erp.check(outcome) if isinstance(outcome, Entry) else None
        except Exception:  # an item that nobody foresaw must not take its job with it
            log.exception("Unexpected while booking %s", item.accounting_entry_id)
            return _UNFORESEEN
        return refusal(refused) if refused is not None else outcome

    def _portions(self, work: list[_Work]) -> Iterator[list[_Work]]:
        """The work in the accounting system's batches, smaller ones where files have to be fetched."""
        receipts = self._wants_receipts() and any(one.item.files for one in work)
        size = min(self._books.limits.max_entries, PORTION) if receipts else self._books.limits.max_entries
        for start in range(0, len(work), size):
            yield work[start : start + size]

    def _wants_receipts(self) -> bool:
        # A dry run asks for receipts only where a missing one would fail its expense.
        return self._policy.attachments is not Attachments.SKIP and (
            not self._desk.dry_run or self._policy.attachments is Attachments.REQUIRED
        )

    async def _portion(self, portion: list[_Work]) -> None:
        with TemporaryDirectory(prefix="pleo-receipts-") as folder:
            collected = await self._collect(portion, Path(folder))
            ready: list[_Work] = []
            for one in portion:
                files = collected.get(one.id_)
                if files is not None and files.links_dead and not self._links_are_fresh:
                    self._page.dead_links.append(one.id_)
                else:
                    ready.append(one)
            await self._finish_found([one for one in ready if one.found is not None], collected)
            await self._record_new([one for one in ready if one.found is None], collected)

    async def _collect(self, portion: list[_Work], folder: Path) -> dict[str, Collected]:
        """The receipts of these expenses, but for those that hang on their entries already."""
        if not self._wants_receipts():
            return {}
        skip = {one.id_: one.found.attached for one in portion if one.found is not None}
        items = [one.item for one in portion if not (self._desk.dry_run and one.found is not None)]
        try:
            return await collect_page(
                items, self._desk.files, self._books.limits, self._policy.attachments, folder, skip
            )
        except OSError as error:
            raise ErpUnavailable(f"receipts cannot be kept in {folder.parent}: {error.strerror or error}") from error

    async def _record_new(self, new: list[_Work], collected: dict[str, Collected]) -> None:
        entries: list[Entry] = []
        for one in new:
            files = collected.get(one.id_)
            required = self._policy.attachments is Attachments.REQUIRED
            assert isinstance(one.outcome, Entry)  # noqa: S101 - _prepared lets no failure through without an entry
            if files is not None and files.problems and required:
                self._page.rows.append(failed(one.id_, files.problems[0]))
            elif files is not None:
                entries.append(replace(one.outcome, attachments=files.attachments, attachments_required=required))
            else:
                entries.append(one.outcome)
        if self._desk.dry_run:
            self._page.entries += entries
            self._page.rows += [preview_row(entry, self._policy.minor_units) for entry in entries]
            return
        outcomes, stands = await self._record(entries)
        for entry, outcome in zip(entries, outcomes, strict=False):  # after `closing` there are fewer outcomes
            self._page.rows.append(self._row(entry, outcome, stands, collected.get(entry.accounting_entry_id)))

    async def _record(self, entries: list[Entry]) -> tuple[Sequence[Recorded | Refused], dict[str, Recorded]]:
        """Record the entries: one outcome each, as many as the accounting system lets us, and what stands of them."""
        if not entries:
            return [], {}
        try:
            outcomes: Sequence[Recorded | Refused] = await self._erp.record(entries)
        except (ErpLoginRefused, ErpRateLimited) as error:
            self._page.closing = self._closing(error)
            recorded = [one for one in error.outcomes if isinstance(one, Recorded)]
            return error.outcomes, {one.accounting_entry_id: one for one in recorded}  # it cannot be asked any more
        return outcomes, await self._in_the_books([one for one in outcomes if isinstance(one, Recorded)])

    async def _in_the_books(self, recorded: Sequence[Recorded]) -> dict[str, Recorded]:
        """What the books hold for these entries now: what is reported is read back, never taken for granted."""
        if not recorded:
            return {}
        stands = await self._erp.find([one.accounting_entry_id for one in recorded])
        lost = [one.external_id for one in recorded if one.accounting_entry_id not in stands]
        if lost:
            raise ErpOutcomeUnknown(f"the accounting system does not find {', '.join(lost[:3])}, just recorded")
        return stands

    def _row(
        self, entry: Entry, outcome: Recorded | Refused, stands: dict[str, Recorded], files: Collected | None
    ) -> Row:
        if isinstance(outcome, Refused):
            return failed(entry.accounting_entry_id, refusal(outcome))
        now = stands[entry.accounting_entry_id]
        row = recorded_row(replace(now, found=outcome.found), entry, self._policy.minor_units)
        problems = [*(files.problems if files is not None else ()), *map(_as_failure, outcome.not_attached)]
        return with_notices(row, [f"{now.external_id} lacks a receipt: {problem.reason}" for problem in problems])

    async def _finish_found(self, found: list[_Work], collected: dict[str, Collected]) -> None:
        """What an earlier run recorded and left undone: its receipts, and its posting."""
        rows: list[Row] = []
        for one in found:
            assert one.found is not None  # noqa: S101 - the caller chose them so
            row = found_row(one.item, one.outcome, one.found, self._books)
            if row.status is ItemStatus.SUCCESSFUL and not self._desk.dry_run:
                row = await self._with_receipts(one, one.found, row, collected.get(one.id_))
            rows.append(row)
        drafts = {
            one.id_
            for one, row in zip(found, rows, strict=True)
            if row.status is ItemStatus.SUCCESSFUL and one.found is not None and one.found.state is EntryState.DRAFT
        }
        if drafts and self._policy.posting is EntryState.POSTED and not self._desk.dry_run:
            refused = {one.accounting_entry_id: one for one in await self._erp.post(sorted(drafts))}
            rows = [
                still_draft_row(row, refused[row.accounting_entry_id]) if row.accounting_entry_id in refused else row
                for row in rows
            ]
        self._page.rows += rows

    async def _with_receipts(self, one: _Work, found: Recorded, row: Row, files: Collected | None) -> Row:
        """Attach what is missing. A draft that must have its receipts and lacks one fails; what is posted stands."""
        if files is None:
            return row
        not_attached = await self._erp.attach(one.id_, files.attachments) if files.attachments else []
        problems = [*files.problems, *map(_as_failure, not_attached)]
        if problems and self._policy.attachments is Attachments.REQUIRED and found.state is EntryState.DRAFT:
            reason = f"{problems[0].reason} ({found.external_id} stays a draft.)"
            return failed(one.id_, Failure(problems[0].type, reason))
        return with_notices(row, [f"{found.external_id} lacks a receipt: {problem.reason}" for problem in problems])


def _as_failure(refused: NotAttached) -> Failure:
    kind = RefusalKind.ATTACHMENT_TOO_LARGE if refused.too_large else RefusalKind.ATTACHMENT_REFUSED
    return refusal(Refused("", kind, f"file {refused.number}", refused.message))
