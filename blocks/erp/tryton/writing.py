"""What is changed on a stock server: drafts made, claimed and deleted, many in a call where the server lets us.

A call with many records does all of them or none. Where Tryton refuses one it is halved, until what is wrong stands
alone and its neighbours are through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from blocks.erp.tryton.client import Row, TrytonClient, TrytonRefused
from blocks.erp.tryton.marks import Model
from blocks.erp.tryton.records import Standing
from blocks.erp.tryton.values import Wanted

T = TypeVar("T")
R = TypeVar("R")

BATCH = 100
"""How many moves one call makes or posts: from here on, larger calls were measured to be no faster."""

INVOICE_BATCH = 20
"""The same for invoices, of which each takes a quarter of a second."""


class Writer:
    """Changes to one company's records. With `post` claiming is posting, else it is marking a draft."""

    def __init__(self, client: TrytonClient, *, post: bool) -> None:
        self._client = client
        self._post = post

    @property
    def deletes_safely(self) -> bool:
        """Whether a draft that was claimed since it was looked up cannot be deleted.

        Tryton deletes nothing that is posted; a marked draft it keeps only where we can say which state of it we mean.
        """
        return self._post or self._client.can_batch

    async def create(self, wanted: Sequence[Wanted]) -> AsyncIterator[tuple[int, int | TrytonRefused]]:
        """Make drafts; the place of each with its id, or why there is none, as soon as that is known."""
        for model in Model:

            async def create(places: Sequence[int], model: Model = model) -> Sequence[int]:
                return await self._client.create(model.value, [_values(wanted[place]) for place in places])

            for portion in _portions(model, [place for place, one in enumerate(wanted) if one.model is model]):
                async for told in halved(portion, create):
                    yield told

    async def claim(self, records: Sequence[Standing]) -> AsyncIterator[tuple[int, TrytonRefused | None]]:
        """Post drafts, or mark them as those that count; the place of each with why it could not be, or None, as soon
        as that is known."""
        for model in Model:

            async def claim(places: Sequence[int], model: Model = model) -> Sequence[None]:
                return await self._claim(model, [records[place] for place in places])

            places = [place for place, one in enumerate(records) if one.model is model]
            for portion in _portions(model, places) if self._client.can_batch else [[place] for place in places]:
                async for told in halved(portion, claim):
                    yield told

    async def _claim(self, model: Model, records: Sequence[Standing]) -> Sequence[None]:
        if len(records) == 1 and self._post:
            await self._client.press(model.value, records[0].id, "post")  # here Tryton says why not
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
            if self._client.can_batch and not self._post:
                seen = {"_timestamp": {record.external_id: record.row["_timestamp"]}}
                await self._client.rpc(record.model.value, "delete", [record.id], context=seen)
            else:
                await self._client.delete(record.model.value, record.id)
        except TrytonRefused:
            return False
        return True


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
