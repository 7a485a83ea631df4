"""One record an expense on a server that knows nothing of us: who may make a draft the one that counts.

Nothing in a stock Tryton keeps two writers from creating the same expense twice, and ids are given out before a
transaction ends, so that a lower one may become visible after a higher one was posted. Therefore:

    A draft is *claimed* (posted, or marked as the draft that counts) only after a search, begun when that draft was
    there for everyone to see, has found it to be the only record of the expense. What is claimed is never taken away.

No two records of an expense are ever both claimed, however many writers there are and whenever they die: of two that
were, each one's search would have begun when the other was not to be seen yet. So each draft would have become visible
after the search that the other one's claim relies on, and before its own: each before the other.

That a draft is not taken away while it is being claimed Tryton itself must see to, and `Writer` has it do so.

The rest is about getting on. Of several drafts the first stays, and those who made the others delete them. Only who
made a draft claims it; whoever finds that nobody does so for a while deletes it, and makes another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum

from blocks.erp.remote.calls import CallRefused, NotThere
from blocks.erp.remote.recording import halved
from blocks.erp.tryton.client import Row, TrytonClient
from blocks.erp.tryton.payloads import RecordPayload
from blocks.erp.tryton.records import POSTED_STATES, Model, TrytonRecord

BATCH = 100
"""How many moves one call makes or posts: from here on, larger calls were measured to be no faster."""

INVOICE_BATCH = 20
"""The same for invoices, of which each takes a quarter of a second."""

_STATE = ("state", "description", "lines")


class NextStep(Enum):
    """What to do next about one record of one expense."""

    DONE = "done"
    """One counts already; drafts of our own beside it go."""
    CLAIM = "claim"
    """There is but one, it is ours, and it may be claimed."""
    CREATE = "create"
    """There is none."""
    WAIT = "wait"
    """There are several, or one of somebody else's: look again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do: `record` is the one that counts or is to be claimed, `drop` are drafts to be deleted first.

    After any deletion the look-up is made again before anything is claimed.
    """

    step: NextStep
    record: TrytonRecord | None = None
    drop: tuple[TrytonRecord, ...] = ()


def decide(seen: Sequence[TrytonRecord], own: Set[str], *, patient: bool) -> Decision:
    """What to do about the records that a search has just shown; `own` are the external ids of our drafts.

    While `patient`, others are given time to claim theirs, or to give way.
    """
    counting = [one for one in seen if one.counts]
    drafts = sorted((one for one in seen if not one.counts), key=_age)
    mine = [one for one in drafts if one.external_id in own]
    if counting:
        return Decision(NextStep.DONE, min(counting, key=_age), tuple(mine))
    if not drafts:
        return Decision(NextStep.CREATE)
    if len(drafts) == 1 and mine:
        return Decision(NextStep.CLAIM, drafts[0])
    late = tuple(one for one in mine if one is not drafts[0])
    if late or patient:
        return Decision(NextStep.WAIT, drop=late)
    return Decision(NextStep.WAIT, drop=tuple(one for one in drafts if one not in mine))


def _age(record: TrytonRecord) -> tuple[str, int]:
    return record.model.value, record.id


class Writer:
    """Changes to one company's records. With `post` claiming is posting, else it is marking a draft.

    Of a claim and a deletion of one draft, whichever comes second is refused, even where it was sent long ago. Tryton
    does not delete what is posted. A marked draft it deletes, with a user, only in the state that we mean. With the key
    alone, claim and deletion both take away the draft's last line, which can be done once, and a claim puts the same
    line in its place.
    """

    def __init__(self, client: TrytonClient, *, post: bool) -> None:
        self._client = client
        self._post = post
        self._last_lines: dict[tuple[Model, int], Row] = {}
        """Of the drafts that were made here, what their last line says."""

    @property
    def _by_lines(self) -> bool:
        return not self._post and not self._client.can_batch

    async def create(self, payloads: Sequence[RecordPayload]) -> AsyncIterator[tuple[int, int | CallRefused]]:
        """Make drafts; the place of each with its id, or why there is none, as soon as that is known."""
        for model in Model:

            async def create(places: Sequence[int], model: Model = model) -> Sequence[int]:
                ids = await self._client.create(model.value, [_values(payloads[place]) for place in places])
                if self._by_lines:
                    lasts = (payloads[place].values["lines"][0][1][-1] for place in places)
                    self._last_lines.update({(model, id_): last for id_, last in zip(ids, lasts, strict=True)})
                return ids

            for portion in _portions(model, [place for place, one in enumerate(payloads) if one.model is model]):
                async for told in halved(portion, create):
                    yield told

    async def claim(self, records: Sequence[TrytonRecord]) -> AsyncIterator[tuple[int, CallRefused | None]]:
        """Post drafts, or mark those that were made here as those that count; the place of each with why it could not
        be, or None, as soon as that is known."""
        for model in Model:

            async def claim(places: Sequence[int], model: Model = model) -> Sequence[None]:
                return await self._claim(model, [records[place] for place in places])

            places = [place for place, one in enumerate(records) if one.model is model]
            for portion in _portions(model, places) if self._client.can_batch else [[place] for place in places]:
                async for told in halved(portion, claim):
                    yield told

    async def _claim(self, model: Model, records: Sequence[TrytonRecord]) -> Sequence[None]:
        if len(records) == 1 and self._post:
            await self._post_one(records[0])  # here Tryton says why not
        elif self._by_lines:
            await self._claim_by_line(records[0])
        elif len(records) == 1:
            await self._client.write(model.value, records[0].id, _claimed(records[0]))
        elif self._post:
            await self._client.rpc(model.value, "post", [one.id for one in records])
        else:
            changes = [argument for one in records for argument in ([one.id], _claimed(one))]
            await self._client.rpc(model.value, "write", *changes)
        return [None] * len(records)

    async def drop(self, record: TrytonRecord) -> bool:
        """Delete a draft; False where Tryton does not let us, or it is gone already."""
        try:
            if self._client.can_batch:
                seen = {"_timestamp": {record.external_id: record.row["_timestamp"]}}
                await self._client.rpc(record.model.value, "delete", [record.id], context=seen)
            else:
                await self._take_lines(record)
                await self._client.delete(record.model.value, record.id)
        except CallRefused:
            return False
        return True

    async def _post_one(self, record: TrytonRecord) -> None:
        try:
            await self._client.press(record.model.value, record.id, "post")
        except CallRefused:
            if (await self._given(record))["state"] not in POSTED_STATES:
                raise  # otherwise somebody else has posted it meanwhile

    async def _claim_by_line(self, record: TrytonRecord) -> None:
        last = max((await self._given(record))["lines"])
        again = [["delete", [last]], ["create", [self._last_lines[record.model, record.id]]]]
        try:
            await self._client.write(record.model.value, record.id, {**_claimed(record), "lines": again})
        except CallRefused:
            await self._given(record)
            raise

    async def _given(self, record: TrytonRecord) -> Row:
        """A draft as it is now. Raises NotThere where somebody is deleting it, or was broken off at that."""
        now = await self._look_at(record)
        if not now["lines"] and not record.key.claimed:
            await self._client.delete(record.model.value, record.id)
            raise NotThere("the draft was given up")
        return now

    async def _take_lines(self, record: TrytonRecord) -> None:
        """Empty a draft, after which nobody can claim it. Raises CallRefused where it was claimed before."""
        now = await self._look_at(record)
        if now["description"] != record.row["description"]:
            raise CallRefused("the draft was claimed meanwhile")
        if now["lines"]:
            await self._client.write(record.model.value, record.id, {"lines": [["delete", now["lines"]]]})

    async def _look_at(self, record: TrytonRecord) -> Row:
        rows = await self._client.search(record.model.value, [["id", "=", record.id]], _STATE)
        if not rows:
            raise NotThere("the draft is gone")
        return rows[0]


def _values(payload: RecordPayload) -> Row:
    return {**payload.values, "description": str(payload.key)}


def _claimed(record: TrytonRecord) -> Row:
    return {"description": str(replace(record.key, claimed=True))}


def _portions(model: Model, places: Sequence[int]) -> Iterator[Sequence[int]]:
    size = BATCH if model is Model.MOVE else INVOICE_BATCH
    return (places[start : start + size] for start in range(0, len(places), size))
