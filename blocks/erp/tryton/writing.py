"""What is changed on a stock server: drafts made, claimed and deleted, many in a call where the server lets us.

A call with many records does all of them or none. Where Tryton refuses one it is halved, until what is wrong stands
alone and its neighbours are through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from blocks.erp.tryton.client import RecordGone, Row, TrytonClient, TrytonRefused
from blocks.erp.tryton.marks import Model
from blocks.erp.tryton.records import Standing
from blocks.erp.tryton.values import Wanted

T = TypeVar("T")
R = TypeVar("R")

BATCH = 100
"""How many moves one call makes or posts: from here on, larger calls were measured to be no faster."""

INVOICE_BATCH = 20
"""The same for invoices, of which each takes a quarter of a second."""

_STATE = ("state", "description", "lines")
_POSTED = {"posted", "paid"}


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

    async def create(self, wanted: Sequence[Wanted]) -> AsyncIterator[tuple[int, int | TrytonRefused]]:
        """Make drafts; the place of each with its id, or why there is none, as soon as that is known."""
        for model in Model:

            async def create(places: Sequence[int], model: Model = model) -> Sequence[int]:
                ids = await self._client.create(model.value, [_values(wanted[place]) for place in places])
                if self._by_lines:
                    lasts = (wanted[place].values["lines"][0][1][-1] for place in places)
                    self._last_lines.update({(model, id_): last for id_, last in zip(ids, lasts, strict=True)})
                return ids

            for portion in _portions(model, [place for place, one in enumerate(wanted) if one.model is model]):
                async for told in halved(portion, create):
                    yield told

    async def claim(self, records: Sequence[Standing]) -> AsyncIterator[tuple[int, TrytonRefused | None]]:
        """Post drafts, or mark those that were made here as those that count; the place of each with why it could not
        be, or None, as soon as that is known."""
        for model in Model:

            async def claim(places: Sequence[int], model: Model = model) -> Sequence[None]:
                return await self._claim(model, [records[place] for place in places])

            places = [place for place, one in enumerate(records) if one.model is model]
            for portion in _portions(model, places) if self._client.can_batch else [[place] for place in places]:
                async for told in halved(portion, claim):
                    yield told

    async def _claim(self, model: Model, records: Sequence[Standing]) -> Sequence[None]:
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

    async def drop(self, record: Standing) -> bool:
        """Delete a draft; False where Tryton does not let us, or it is gone already."""
        try:
            if self._client.can_batch:
                seen = {"_timestamp": {record.external_id: record.row["_timestamp"]}}
                await self._client.rpc(record.model.value, "delete", [record.id], context=seen)
            else:
                await self._take_lines(record)
                await self._client.delete(record.model.value, record.id)
        except TrytonRefused:
            return False
        return True

    async def _post_one(self, record: Standing) -> None:
        try:
            await self._client.press(record.model.value, record.id, "post")
        except TrytonRefused:
            if (await self._given(record))["state"] not in _POSTED:
                raise  # otherwise somebody else has posted it meanwhile

    async def _claim_by_line(self, record: Standing) -> None:
        last = max((await self._given(record))["lines"])
        again = [["delete", [last]], ["create", [self._last_lines[record.model, record.id]]]]
        try:
            await self._client.write(record.model.value, record.id, {**_claimed(record), "lines": again})
        except TrytonRefused:
            await self._given(record)
            raise

    async def _given(self, record: Standing) -> Row:
        """A draft as it is now. Raises RecordGone where somebody is deleting it, or was broken off at that."""
        now = await self._look_at(record)
        if not now["lines"] and not record.mark.claimed:
            await self._client.delete(record.model.value, record.id)
            raise RecordGone("the draft was given up")
        return now

    async def _take_lines(self, record: Standing) -> None:
        """Empty a draft, after which nobody can claim it. Raises TrytonRefused where it was claimed before."""
        now = await self._look_at(record)
        if now["description"] != record.row["description"]:
            raise TrytonRefused("the draft was claimed meanwhile")
        if now["lines"]:
            await self._client.write(record.model.value, record.id, {"lines": [["delete", now["lines"]]]})

    async def _look_at(self, record: Standing) -> Row:
        rows = await self._client.search(record.model.value, [["id", "=", record.id]], _STATE)
        if not rows:
            raise RecordGone("the draft is gone")
        return rows[0]


async def halved(
    items: Sequence[T], act: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
) -> AsyncIterator[tuple[T, R | TrytonRefused]]:
    """Each item with what `act` makes of it, or why it is refused, as soon as that is known.

    `act` does all that it is given or, raising TrytonRefused, nothing.
    """
    try:
        results: Sequence[R | TrytonRefused] = await act(items)
    except TrytonRefused as error:
        if len(items) > 1:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                async for told in halved(half, act):
                    yield told
            return
        results = [error]
    for told in zip(items, results, strict=True):
        yield told


def _values(wanted: Wanted) -> Row:
    return {**wanted.values, "description": str(wanted.mark)}


def _claimed(record: Standing) -> Row:
    return {"description": str(replace(record.mark, claimed=True))}


def _portions(model: Model, places: Sequence[int]) -> Iterator[Sequence[int]]:
    size = BATCH if model is Model.MOVE else INVOICE_BATCH
    return (places[start : start + size] for start in range(0, len(places), size))
