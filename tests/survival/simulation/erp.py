"""An accounting system in memory, with everything that a remote one may do to those who call it.

In books of `Writers.HELD` nothing is unique: whoever writes an id twice has two entries. Its single writer must look
before it writes, and it tells no writer that the outcome is unknown before it is decided. In books of `Writers.ANY` an
id is unique, but a write may be carried out long after its writer has given up on it, and be seen later still.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TypeVar

from blocks.erp.base import Capabilities, Outcome, Writers, replaces_nothing, reverses_nothing
from blocks.erp.entries import Account, AccountKind, Answer, Attachment, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import (
    ConfigurationProblem,
    ErpBusy,
    ErpConfigurationError,
    ErpLoginRefused,
    ErpOutcomeUnknown,
    ErpRateLimited,
    ErpUnavailable,
    RefusalKind,
    Refused,
)
from blocks.erp.precedents import NO_PRECEDENTS, Precedents
from blocks.erp.reference import ROLE_KINDS, JournalUse, Period, Periods, Reference, Role, check_names
from tests.survival.simulation.network import Broken, Fate, Process, Silence, clock, now

T = TypeVar("T")
CLOSED = (date(2026, 9, 1), date(2026, 9, 30))
"""A month that the books have closed, where they close any."""


@dataclass
class Stored:
    """An entry in the books; `seen_from` is when look-ups begin to find it."""

    external_id: str
    entry: Entry
    state: EntryState
    made_at: datetime
    by: str
    seen_from: float


@dataclass
class SimulatedBooks:
    """All that is recorded. `written` is told of every entry that is made, `hated` are ids that are always refused."""

    writers: Writers
    written: Callable[[Stored], None]
    entries: list[Stored] = field(default_factory=list)
    hated: set[str] = field(default_factory=set)
    holder: Process | None = None
    lag_s: float = 0.0

    def of(self, id_: str) -> list[Stored]:
        """The entries of one expense."""
        return [one for one in self.entries if one.entry.accounting_entry_id == id_]

    def write(self, entry: Entry, by: str) -> tuple[Stored, bool]:
        """Make an entry; where ids are unique, or find the one that stands."""
        stands = self.of(entry.accounting_entry_id)
        if stands and self.writers is Writers.ANY:
            return stands[0], True
        external_id = f"E-{len(self.entries) + 1}"
        made_at = datetime.fromtimestamp(int(now()), UTC)
        made = Stored(external_id, entry, entry.state, made_at, by, clock() + self.lag_s)
        self.entries.append(made)
        self.written(made)
        return made, False


@dataclass
class Trouble:
    """How often calls of one run to the books meet trouble (`revoked_at`, `away`: in seconds)."""

    unavailable: float = 0.0
    unknown: float = 0.0
    limited: float = 0.0
    refused: float = 0.0
    pauses_s: tuple[float | None, ...] = (None, 5.0, 40.0)
    revoked_at: float = float("inf")
    away: tuple[float, float] = (0.0, 0.0)
    slow_s: float = 0.05


class SimulatedErp:
    """The books as one process sees them."""

    def __init__(
        self, books: SimulatedBooks, process: Process, trouble: Trouble, *, closes: bool, max_entries: int
    ) -> None:
        self._books, self._process, self._trouble = books, process, trouble
        self._choose: random.Random = process.choose
        self._max_entries = max_entries
        periods = [Period(date(2020, 1, 1), date(2030, 12, 31), is_open=True), Period(*CLOSED, is_open=False)]
        self._reference = Reference(
            roles={role: Account(role.value, role.value, ROLE_KINDS[role]) for role in Role},
            open_wallet=lambda currency: Account(f"wallet-{currency}", currency, AccountKind.ASSET),
            journals={use: use.value for use in JournalUse},
            periods=Periods(periods) if closes else None,
        )

    def describe(self) -> Capabilities:
        writers = self._books.writers
        return Capabilities("simulated", self._max_entries, 100, 60, 10**15, bills=True, writers=writers, remote=True)

    def company(self) -> str | None:
        return None

    async def open(self, company_id: str, *, dry_run: bool) -> None:
        self._process.step("the books are opened")
        books = self._books
        if books.writers is Writers.HELD:
            if books.holder is not None and not books.holder.dead and books.holder is not self._process:
                raise ErpBusy("another run holds these books")
            books.holder = self._process

    async def validate(self) -> None:
        if self._is_revoked() and self._choose.random() < 0.5:
            raise ErpConfigurationError("the key is refused", ConfigurationProblem.AUTHENTICATION)
        await self._ask("validate", lambda: None)

    async def load_reference(self) -> Reference:
        return await self._ask("load reference", lambda: self._reference)

    def check(self, entry: Entry) -> Refused | None:
        return check_names(entry, self._reference)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        assert len(set(accounting_entry_ids)) == len(accounting_entry_ids)
        return await self._ask("find", lambda: self._seen(accounting_entry_ids))

    def _seen(self, ids: Sequence[str]) -> dict[str, Recorded]:
        wanted = set(ids)
        return {
            one.entry.accounting_entry_id: self._recorded(one, found=True)
            for one in self._books.entries
            if one.entry.accounting_entry_id in wanted and one.seen_from <= clock()
        }

    async def precedents(self, entries: Sequence[Entry]) -> Precedents:
        """It cannot tell."""
        return NO_PRECEDENTS

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        assert len(entries) <= self._max_entries
        outcomes: list[Outcome] = []
        for entry in entries:
            try:
                outcomes.append(await self._record(entry))
            except ErpLoginRefused as error:
                raise ErpLoginRefused(str(error), outcomes) from None
            except ErpRateLimited as error:
                raise ErpRateLimited(str(error), error.clears_in_s, outcomes) from None
            except ErpUnavailable as error:
                if outcomes:
                    raise ErpOutcomeUnknown(str(error)) from None
                raise
        return outcomes

    async def _record(self, entry: Entry) -> Outcome:
        id_ = entry.accounting_entry_id
        if id_ in self._books.hated:
            return Refused(id_, RefusalKind.OTHER, "entry", "this entry is not taken")
        if self._choose.random() < self._trouble.refused:
            return Refused(id_, RefusalKind.TIMED_OUT, "entry", "it takes too long today")
        made, found = await self._change(f"record {id_[:8]}", lambda: self._books.write(entry, self._process.name))
        return self._recorded(made, found=found)

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        return []

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        for id_ in accounting_entry_ids:
            await self._change(f"post {id_[:8]}", partial(self._post, id_))
        return []

    def _post(self, id_: str) -> None:
        for one in self._books.of(id_):
            one.state = EntryState.POSTED

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        return replaces_nothing(entries)

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        return reverses_nothing(entries)

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """Nothing is kept."""

    def link(self, external_id: str) -> str:
        return f"https://erp.example/entries/{external_id}"

    async def finish_job(self) -> Sequence[str]:
        await self._ask("finish job", lambda: None)
        return ()

    async def close(self) -> None:
        if self._books.holder is self._process:
            self._books.holder = None

    def _is_revoked(self) -> bool:
        return clock() >= self._trouble.revoked_at

    async def _ask(self, what: str, act: Callable[[], T]) -> T:
        """A call that changes nothing."""
        self._refuse(what)
        return await self._process.exchange(f"erp {what}", act, Fate(self._slow(), 0.01), 600.0)

    async def _change(self, what: str, act: Callable[[], T]) -> T:
        """A call that changes the books."""
        process, choose = self._process, self._choose
        self._refuse(what)
        fate = Fate(self._slow(), 0.01)
        is_late = False
        if choose.random() < self._trouble.unknown:
            fate = Fate(self._slow(), 0.01, choose.choice(["there", "back"]), choose.random() < 0.7)
            is_late = self._books.writers is Writers.ANY and choose.random() < 0.4
            if is_late:
                fate = Fate(choose.choice([5.0, 40.0, 400.0]), 0.01)
        try:
            # Books with one writer take nothing from the dead: their hold would be gone with it.
            any_time = self._books.writers is Writers.ANY
            return await process.exchange(f"erp {what}", act, fate, 3.0 if is_late else 60.0, may_be_late=any_time)
        except (Broken, Silence) as error:
            process.trace(f"{process.name}: nobody knows whether {what} was done")
            raise ErpOutcomeUnknown(f"{what}: {error}") from None

    def _slow(self) -> float:
        return self._choose.uniform(0.1, 1.0) * self._trouble.slow_s

    def _refuse(self, what: str) -> None:
        """Have the call refused before anything is done."""
        self._process.step(f"erp {what}")
        trouble, choose = self._trouble, self._choose
        if self._is_revoked():
            self._process.trace(f"{self._process.name}: the login is refused at {what}")
            raise ErpLoginRefused("the key was revoked: save another")
        if trouble.away[0] <= clock() < trouble.away[1]:
            raise ErpUnavailable("the books are away")
        if choose.random() < trouble.unavailable:
            raise ErpUnavailable("the books are not answering")
        if choose.random() < trouble.limited:
            pause = choose.choice(trouble.pauses_s)
            self._process.trace(f"{self._process.name}: the books ask for a pause of {pause} s at {what}")
            raise ErpRateLimited("too many calls", pause)

    def _recorded(self, one: Stored, *, found: bool) -> Recorded:
        entry = one.entry
        return Recorded(
            accounting_entry_id=entry.accounting_entry_id,
            external_id=one.external_id,
            url=self.link(one.external_id),
            recorded_at=one.made_at,
            currency=entry.currency,
            amount_minor=entry.amount_minor,
            accounts=entry.accounts,
            state=one.state,
            found=found,
            posting_date=entry.posting_date,
            original_date=entry.original_date,
            statement=entry.statement,
            balances=entry.balances,
        )
