"""Step 5 for expenses that stand in the books already: changed ones are replaced, and what an earlier run left undone
is done, their receipts and their posting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.erp.choices import Attachments
from blocks.erp.entries import Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpLoginRefused, ErpOutcomeUnknown, ErpRateLimited, RefusalKind, Refused
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemStatus
from flows.changes import Course, Decision
from flows.failures import Failure, refusal
from flows.receipts.collect import Collected
from flows.recording import Recording
from flows.results import Facts, Row, failed
from flows.rows import found_row, replaced_row, still_draft_row, with_notices
from flows.session import Session


@dataclass(frozen=True, slots=True)
class Expense:
    """One item, how people know it, and what bookkeeping makes of it.

    `found` is the entry that stands for it and is to stay, replaced or not, as `decision` says; `reverses` the one that
    is to be reversed before the expense is booked anew.
    """

    item: ExportItem
    facts: Facts
    outcome: Entry | Failure
    found: Recorded | None = None
    decision: Decision | None = None
    reverses: Recorded | None = None

    @property
    def id_(self) -> str:
        """The accounting entry id."""
        return self.item.accounting_entry_id

    @property
    def is_replaced(self) -> bool:
        """Whether the draft that stands is to be replaced by what bookkeeping makes of the item."""
        return self.decision is not None and self.decision.course is Course.REPLACED

    @property
    def notices(self) -> tuple[str, ...]:
        """What people should know of what becomes of the entry that stands."""
        return self.decision.notices if self.decision is not None else ()


class Standing:
    """Finishes what stands."""

    def __init__(self, session: Session, recording: Recording) -> None:
        self._session = session
        self._erp = session.erp
        self._recording = recording
        self._context = recording.context
        self._settings = recording.context.settings

    async def finish(
        self, found: Sequence[Expense], collected: dict[str, Collected]
    ) -> tuple[list[Row], Failure | None]:
        """The rows of these expenses once all is done that can be, and why nothing more can be recorded, if so."""
        closed: Failure | None = None
        rows: dict[str, Row] = {}
        lacking: dict[str, list[str]] = {}
        drafts: dict[str, Expense] = {}
        unsettled: dict[str, Expense] = {}
        touched: dict[str, Expense] = {}
        try:
            found, refused_rows = await self._replaced(found)
            rows |= refused_rows
            for one in found:
                assert one.found is not None  # noqa: S101 - the caller chose them so
                row = self._row(one, one.found)
                is_draft = one.found.state is EntryState.DRAFT
                if row.status is ItemStatus.SUCCESSFUL and not self._session.dry_run:
                    files = collected.get(one.id_)
                    if files is not None and files.attachments:
                        touched[one.id_] = one
                    problems = await self._attach_missing(one, files)
                    if problems and is_draft and self._settings.attachments is Attachments.REQUIRED:
                        reason = f"{problems[0].reason} ({one.found.external_id} stays a draft.)"
                        row = failed(one.id_, Failure(problems[0].type, reason), one.facts)
                    lacking[one.id_] = lacks(one.found.external_id, problems)
                    if one.found.may_be_settled:
                        unsettled[one.id_] = one
                rows[one.id_] = row
                if row.status is ItemStatus.SUCCESSFUL and is_draft:
                    drafts[one.id_] = one
            unfinished = drafts | unsettled
            if unfinished and self._settings.posting is EntryState.POSTED:
                refused = await self._post(unfinished)
                rows |= {id_: still_draft_row(rows[id_], why) for id_, why in refused.items()}
                touched |= {id_: one for id_, one in unfinished.items() if id_ not in refused}
            if not self._session.dry_run:
                rows |= await self._as_it_stands_now(touched, rows)
        except (ErpLoginRefused, ErpRateLimited) as error:
            closed = self._recording.closing(error)
            if closed is None:
                raise
            if self._settings.posting is EntryState.POSTED:
                rows = {id_: row for id_, row in rows.items() if id_ not in drafts}  # whether posted, nobody can say
        return [
            with_notices(row, lacking.get(id_, []) if row.status is ItemStatus.SUCCESSFUL else [])
            for id_, row in rows.items()
        ], closed

    async def in_the_books(self, recorded: Sequence[Recorded]) -> dict[str, Recorded]:
        """What the books hold for these entries now: what was written is read back, never taken for granted."""
        if not recorded:
            return {}
        stands = await self._erp.find([one.accounting_entry_id for one in recorded])
        lost = [one.external_id for one in recorded if one.accounting_entry_id not in stands]
        if lost:
            raise ErpOutcomeUnknown(f"the accounting system no longer finds {', '.join(lost[:3])}")
        return stands

    async def _replaced(self, found: Sequence[Expense]) -> tuple[list[Expense], dict[str, Row]]:
        """The expenses as they stand once the drafts that changed are replaced, and the rows of those that cannot be.

        In a dry run nothing is, and they are told as they would be.
        """
        entries = {one.id_: one.outcome for one in found if one.is_replaced and isinstance(one.outcome, Entry)}
        if not entries or self._session.dry_run:
            return list(found), {}
        outcomes = dict(zip(entries, await self._erp.replace(list(entries.values())), strict=True))
        stands = await self.in_the_books([one for one in outcomes.values() if isinstance(one, Recorded)])
        rows: dict[str, Row] = {}
        standing: list[Expense] = []
        for one in found:
            outcome = outcomes.get(one.id_)
            if isinstance(outcome, Refused):
                rows[one.id_] = failed(one.id_, refusal(outcome), one.facts)
            else:
                standing.append(one if outcome is None else replace(one, found=stands[one.id_]))
        return standing, rows

    def _row(self, one: Expense, stands: Recorded) -> Row:
        if one.is_replaced and isinstance(one.outcome, Entry):
            row = replaced_row(one.outcome, stands, one.facts, self._settings.minor_units, self._session.dry_run)
        else:
            row = found_row(one.item, one.outcome, stands, one.facts, self._context)
        return with_notices(row, one.notices) if row.status is ItemStatus.SUCCESSFUL else row

    async def _as_it_stands_now(self, touched: dict[str, Expense], rows: dict[str, Row]) -> dict[str, Row]:
        """The rows of entries that were worked on: as with new ones, the books are asked, as somebody may have deleted
        an entry since it was found."""
        stands = await self.in_the_books([one.found for one in touched.values() if one.found is not None])
        return {
            id_: self._row(touched[id_], now)
            for id_, now in stands.items()
            if rows[id_].status is ItemStatus.SUCCESSFUL
        }

    async def _attach_missing(self, one: Expense, files: Collected | None) -> list[Failure]:
        """Attach the receipts that an entry that stands has not got yet; returns why it lacks some all the same."""
        if files is None:
            return []
        not_attached = await self._erp.attach(one.id_, files.attachments) if files.attachments else []
        return [*files.problems, *map(as_failure, not_attached)]

    async def _post(self, drafts: dict[str, Expense]) -> dict[str, Refused]:
        """Post drafts, and settle what is posted; or find out in a dry run which could be. Returns those that stay
        drafts, and why."""
        if self._session.dry_run:
            return {id_: why for id_, one in drafts.items() if (why := self._closed_since(one)) is not None}
        return {one.accounting_entry_id: one for one in await self._erp.post(sorted(drafts))}

    def _closed_since(self, one: Expense) -> Refused | None:
        """Why a draft could not be posted: its period was closed after it was recorded."""
        periods = self._context.reference.periods
        if periods is None or one.found is None:
            return None
        dated = one.outcome if one.is_replaced and isinstance(one.outcome, Entry) else one.found
        if periods.is_open(dated.posting_date):
            return None
        day = dated.posting_date.isoformat()
        return Refused(one.id_, RefusalKind.CLOSED_PERIOD, day, f"the posting date lies in a closed period: {day}")


def lacks(external_id: str, problems: Sequence[Failure]) -> list[str]:
    """Which receipts an entry lacks, each reason once."""
    return [
        f"{external_id} lacks {'a receipt' if many == 1 else f'{many} receipts'}: {reason}"
        for reason, many in Counter(problem.reason for problem in problems).items()
    ]


def as_failure(refused: NotAttached) -> Failure:
    """A file that the accounting system did not take, as the reason of its expense."""
    kind = RefusalKind.ATTACHMENT_TOO_LARGE if refused.too_large else RefusalKind.ATTACHMENT_REFUSED
    return refusal(Refused("", kind, f"file {refused.number}", refused.message))
