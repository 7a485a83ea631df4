"""Look up → write → look up: how entries are recorded where a system itself keeps two of one id from being made.

Nothing here is sent twice. What is there already is found, and not written again; what was written is looked up and
compared before it counts, and once more after it was posted; an answer that did not come is looked up too. A batch that
is refused is halved until the bad entry stands alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from blocks.erp.base import Outcome
from blocks.erp.entries import Attachment, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import ErpLoginRefused, ErpOutcomeUnknown, ErpRateLimited, RefusalKind, Refused
from blocks.erp.remote.calls import CallRefused, NotThere, writing
from blocks.erp.remote.receipts import refused_for, unfit

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


class Books(Protocol[S]):
    """One company's books as an adapter reaches them; `S` is what it knows of an entry that stands.

    All calls raise the errors of `blocks.erp.errors`, besides what they say themselves.
    """

    async def look_up(self, ids: Sequence[str]) -> Mapping[str, S]:
        """What stands of these ids, drafts too, by accounting entry id, read anew."""
        ...

    async def create(self, entries: Sequence[Entry]) -> None:
        """Make drafts (or posted entries, where the system has no drafts): all of them or none, an id that stands
        already left alone. Raises CallRefused where one is refused."""
        ...

    async def attach(self, standing: S, files: Sequence[Attachment]) -> list[NotAttached]:
        """Attach files to an entry, see `blocks.erp.remote.receipts`."""
        ...

    async def post(self, standing: Sequence[S]) -> None:
        """Post drafts, all of them or none. Raises CallRefused where one is refused."""
        ...

    async def remove(self, standing: S) -> None:
        """Take back an entry that we have just made. Raises CallRefused where somebody has meanwhile made it theirs."""
        ...

    def differences(self, entry: Entry, standing: S) -> Sequence[str]:
        """In what it is another entry than was meant, in words, see `blocks.erp.remote.compare`."""
        ...

    async def explain(self, entry: Entry, error: CallRefused) -> Refused:
        """The refusal of one entry in words of the contract."""
        ...

    def recorded(self, standing: S) -> Recorded:
        """The entry that stands, as it is reported, with `found` set."""
        ...


@dataclass(slots=True)
class _Pending(Generic[S]):
    """An entry on its way: what stands of it, whether others made that, and why nothing does."""

    entry: Entry
    standing: S | None = None
    found: bool = False
    refused: Refused | None = None
    not_attached: list[NotAttached] = field(default_factory=list)
    was_posted: bool = False
    is_done: bool = False

    @property
    def id_(self) -> str:
        return self.entry.accounting_entry_id

    def refuse_for_files(self) -> None:
        if self.not_attached:
            self.refused = refused_for(self.id_, self.not_attached)


class Recorder(Generic[S]):
    """Records entries in `books`, `batch` of them in one write, receipts of at most `max_attachment_bytes` each."""

    def __init__(self, books: Books[S], *, system: str, batch: int, max_attachment_bytes: int) -> None:
        self._books = books
        self._system = system
        self._batch = batch
        self._max_attachment_bytes = max_attachment_bytes

    async def record(self, entries: Sequence[Entry], check: Callable[[Entry], Refused | None]) -> list[Outcome]:
        """One outcome each, in their order: what `Erp.record` promises. What `check` refuses is not written."""
        pending: list[_Pending[S]] = [_Pending(entry, refused=check(entry)) for entry in entries]
        firsts: dict[str, _Pending[S]] = {}
        for one in pending:
            if one.refused is None:
                firsts.setdefault(one.id_, one)
        again = [one for one in pending if one.refused is None and firsts[one.id_] is not one]
        with writing():
            try:
                for some in (list(firsts.values()), again):  # what comes twice is there when it comes again
                    for start in range(0, len(some), self._batch):
                        await self._bring_to_an_end(some[start : start + self._batch])
            except (ErpLoginRefused, ErpRateLimited) as error:
                known: list[Outcome] = []
                for one in pending:
                    if one.refused is None and not one.is_done:
                        break
                    known.append(self._outcome(one))
                error.outcomes = tuple(known)
                raise
        return [self._outcome(one) for one in pending]

    async def _bring_to_an_end(self, batch: Sequence[_Pending[S]]) -> None:
        for one in batch:
            if one.entry.attachments_required:
                one.not_attached = await unfit(one.entry.attachments, self._max_attachment_bytes)
                one.refuse_for_files()
        batch = [one for one in batch if one.refused is None]
        stands = await self._books.look_up([one.id_ for one in batch])
        for one in batch:
            if one.id_ in stands:
                one.standing, one.found, one.is_done = stands[one.id_], True, True
        made = await self._create([one for one in batch if not one.is_done])
        for one in made:
            await self._attach(one)
        await self._post([one for one in made if one.refused is None and one.entry.state is EntryState.POSTED])
        await self._read_back([one for one in made if one.refused is None])

    async def _create(self, missing: Sequence[_Pending[S]]) -> list[_Pending[S]]:
        """Make what is missing; returns those that are there then, and are what was meant."""
        if not missing:
            return []

        async def create(some: Sequence[_Pending[S]]) -> Sequence[None]:
            await self._books.create([one.entry for one in some])
            return [None] * len(some)

        lost: ErpOutcomeUnknown | None = None
        try:
            async for one, error in halved(missing, create):
                if error is not None:
                    one.refused = await self._books.explain(one.entry, error)
        except ErpOutcomeUnknown as error:
            lost = error
        made = [one for one in missing if one.refused is None]
        await self._look_at(made, lost)
        for one in made:
            await self._compare(one)
        return [one for one in made if one.refused is None]

    async def _look_at(self, made: Sequence[_Pending[S]], lost: ErpOutcomeUnknown | None) -> None:
        """What stands of these now. Raises the lost answer's error where one of them does not."""
        stands = await self._books.look_up([one.id_ for one in made])
        for one in made:
            if one.id_ not in stands:
                raise lost or ErpOutcomeUnknown(f"{self._system} does not find expense {one.id_}, just recorded")
            one.standing = stands[one.id_]

    async def _compare(self, one: _Pending[S]) -> None:
        assert one.standing is not None  # noqa: S101 - it was just looked up
        differs = self._books.differences(one.entry, one.standing)
        if differs:
            name = self._books.recorded(one.standing).external_id
            text = f"{self._system} did not record it as it was sent ({name}): {'; '.join(differs)}"
            await self._take_back(one, Refused(one.id_, RefusalKind.OTHER, "entry", text))

    async def _attach(self, one: _Pending[S]) -> None:
        if one.entry.attachments and one.standing is not None:
            one.not_attached = await self._books.attach(one.standing, one.entry.attachments)
            if one.entry.attachments_required:
                one.refuse_for_files()
            if one.refused is not None:
                await self._take_back(one, one.refused)

    async def _post(self, drafts: Sequence[_Pending[S]]) -> None:
        drafts = [
            one
            for one in drafts
            if one.standing is not None and self._books.recorded(one.standing).state is EntryState.DRAFT
        ]

        async def post(some: Sequence[_Pending[S]]) -> Sequence[None]:
            await self._books.post([one.standing for one in some if one.standing is not None])
            return [None] * len(some)

        lost: ErpOutcomeUnknown | None = None
        try:
            async for one, error in halved(drafts, post):
                if error is None:
                    one.was_posted = True
                elif not await self._is_posted(one):
                    await self._take_back(one, await self._books.explain(one.entry, error))
        except ErpOutcomeUnknown as error:
            lost = error
        if lost is not None:
            for one in drafts:
                if one.refused is None and not await self._is_posted(one):
                    raise lost

    async def _is_posted(self, one: _Pending[S]) -> bool:
        """Whether it is posted by now, by us or by somebody else."""
        now = (await self._books.look_up([one.id_])).get(one.id_)
        one.was_posted = now is not None and self._books.recorded(now).state is EntryState.POSTED
        return one.was_posted

    async def _read_back(self, made: Sequence[_Pending[S]]) -> None:
        """See once more what stands of those that were changed after they had been compared."""
        changed = [one for one in made if one.was_posted or one.entry.attachments]
        if changed:
            try:
                await self._look_at(changed, None)
            except (ErpLoginRefused, ErpRateLimited):
                for one in made:
                    one.is_done = True
                raise
            for one in changed:
                await self._compare(one)
        for one in made:
            one.is_done = True

    async def _take_back(self, one: _Pending[S], why: Refused) -> None:
        """Leave nothing behind of an entry that is refused."""
        one.refused = why
        if one.standing is not None:
            try:
                await self._books.remove(one.standing)
            except NotThere:
                pass
            except CallRefused as error:
                one.refused = replace(why, message=f"{why.message} It could not be taken back: {error}")

    def _outcome(self, one: _Pending[S]) -> Outcome:
        if one.refused is not None:
            return one.refused
        assert one.standing is not None  # noqa: S101 - it stands, or it was refused
        told = self._books.recorded(one.standing)
        state = EntryState.POSTED if one.was_posted else told.state
        return replace(told, found=one.found, state=state, not_attached=tuple(one.not_attached))


async def halved(
    items: Sequence[T], act: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
) -> AsyncIterator[tuple[T, R | CallRefused]]:
    """Each item with what `act` makes of it, or why it alone is refused, as soon as that is known.

    `act` does all that it is given and returns a result for each or, raising CallRefused, does nothing.
    """
    if not items:
        return
    try:
        results: Sequence[R | CallRefused] = await act(items)
    except CallRefused as error:
        if len(items) > 1:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                async for told in halved(half, act):
                    yield told
            return
        results = [error]
    for pair in zip(items, results, strict=True):
        yield pair
