"""Reading what does not fit into one answer, in the three ways in which systems give pages.

Each gives every row once, however many pages there are, holds one page in memory, and ends with ErpUnavailable where a
server gives the same page again and again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

from blocks.erp.errors import ErpUnavailable

Row = TypeVar("Row")
K = TypeVar("K", bound=Hashable)

MOST_PAGES = 100_000


async def pages_after_key(
    read: Callable[[Any], Awaitable[Sequence[Row]]], key: Callable[[Row], Any], *, size: int, first: Any = 0
) -> AsyncIterator[Sequence[Row]]:
    """Pages that go on after the last key: `read(last)` asks for at most `size` rows whose key is larger, sorted by it.
    Rows that come and go meanwhile neither shift the others nor hide them."""
    last = first
    while True:
        rows = await read(last)
        if rows:
            yield rows
        if len(rows) < size:
            return
        reached = max(key(row) for row in rows)
        if not reached > last:
            raise _goes_round()
        last = reached


async def pages_by_number(
    read: Callable[[int], Awaitable[Sequence[Row]]], key: Callable[[Row], K], *, size: int, first: int = 1
) -> AsyncIterator[Sequence[Row]]:
    """Pages by their number, or by an offset that `read` makes of it, of at most `size` rows. A row that has moved to a
    later page meanwhile is given once; one that moved to an earlier page is missed, so read what changes otherwise."""
    seen: set[K] = set()
    for number in range(first, first + MOST_PAGES):
        rows = await read(number)
        new = [row for row in rows if key(row) not in seen]
        seen.update(key(row) for row in new)
        if new:
            yield new
        if len(rows) < size:
            return
        if not new:
            raise _goes_round()


async def pages_by_link(
    read: Callable[[str | None], Awaitable[tuple[Sequence[Row], str | None]]],
) -> AsyncIterator[Sequence[Row]]:
    """Pages each of which names the next by a cursor or a link: `read(None)` asks for the first, and gives rows and the
    next one's name, None after the last."""
    link: str | None = None
    seen: set[str] = set()
    while True:
        rows, link = await read(link)
        if rows:
            yield rows
        if link is None:
            return
        if link in seen:
            raise _goes_round()
        seen.add(link)


async def all_rows(pages: AsyncIterator[Sequence[Row]]) -> list[Row]:
    """The rows of all pages."""
    return [row async for page in pages for row in page]


def _goes_round() -> ErpUnavailable:
    return ErpUnavailable("the server gives the same page again and again")
