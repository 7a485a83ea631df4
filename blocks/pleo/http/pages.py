"""Pages of Pleo's lists: the envelope that all share, the way from one page to the next, and what is on them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from blocks.pleo.errors import PagingBroken
from blocks.pleo.http.wire import UnreadableAnswer, decode
from blocks.pleo.items import BrokenItem, ExportItem, entry_id_of, parse_item
from blocks.pleo.models import JobItem

MAX_PAGES = 100_000
"""How many pages a list may have: far more than an export job's, of one item each."""

_LONGEST_CURSOR = 4096  # characters; what is longer would not fit an address
_KEPT_DECODED = 2_000_000  # characters; usual pages have 350,000, and what is odd may take forty times its text
_MOST_EMPTY = 5  # pages in a row: a list that goes on without a record on it is taken for one without an end


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its elements as decoded, and the cursor of the page behind it (None: the last one)."""

    data: list[Any]
    has_next: bool
    end_cursor: str | None


def read_page(document: Any) -> Page:
    """The page in an answer; raises UnreadableAnswer when it is not the envelope of the contract."""
    if isinstance(document, dict):
        data, pagination = document.get("data"), document.get("pagination")
        if isinstance(data, list) and isinstance(pagination, dict):
            has_next, cursor = pagination.get("hasNextPage"), pagination.get("endCursor")
            if isinstance(has_next, bool) and (cursor is None or (isinstance(cursor, str) and _can_be_sent(cursor))):
                return Page(data, has_next, cursor or None)
    raise UnreadableAnswer("no page of Pleo's")


def _can_be_sent(cursor: str) -> bool:
    """Whether a cursor can be sent back at all: JSON can hold halves of characters, and an address cannot."""
    return cursor.isascii() or not any("\ud800" <= character <= "\udfff" for character in cursor)


@dataclass(slots=True)
class Paginator:
    """Goes from page to page of one list, and notices when its cursors do not lead to an end."""

    what: str
    most: int = MAX_PAGES
    _seen: set[str] = field(default_factory=set)
    _empty: int = 0

    def after(self, *, has_next: bool, end_cursor: str | None, count: int) -> str | None:
        """The cursor of the next page, None at the end; `count` is the number of records on this page.

        Raises PagingBroken when the cursor is missing or repeats, or when pages stay empty.
        """
        if not has_next:
            return None
        if end_cursor is None:
            raise PagingBroken(f"{self.what}: Pleo says there are more pages but gives no cursor")
        if end_cursor in self._seen or len(end_cursor) > _LONGEST_CURSOR:
            raise PagingBroken(f"{self.what}: Pleo's cursor repeats, the list would never end")
        if len(self._seen) >= self.most:
            raise PagingBroken(f"{self.what}: more than {self.most} pages, the list would never end")
        self._seen.add(end_cursor)
        self._empty = self._empty + 1 if count == 0 else 0
        if self._empty >= _MOST_EMPTY:
            raise PagingBroken(f"{self.what}: page after page is empty and Pleo says there are more")
        return end_cursor


@dataclass(frozen=True, slots=True)
class JobItemsPage:
    """One page of a job's items: the rows, how many could not be read or are of another job, and the next cursor."""

    rows: tuple[JobItem, ...]
    unreadable: int
    has_next: bool
    end_cursor: str | None


class ExportItemsPage(BaseModel):
    """One page of export items: `text` is Pleo's JSON as it came, so that every number in it stays exact.

    The body is one text and no typed items, so that the page costs little to keep and to hand on; items are made of it
    when somebody asks. `ids` are the accounting entry ids on it, `count` how many elements it has, readable or not.
    `fetched_at` is in seconds of the Unix epoch at Pleo: the links in the page live for a day from then.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    text: str
    ids: tuple[str, ...]
    count: int
    has_next: bool
    end_cursor: str | None
    fetched_at: float = 0.0

    # What the client has decoded already, to look at the page, until somebody asks for items: it takes ten times what
    # the text does, and Prefect holds on to a task's page until Python looks for cycles. Later, or where the page comes
    # out of a store, the text is decoded anew.
    _elements: list[Any] | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, page: Page, text: str) -> ExportItemsPage:
        """The page that is in an answer of this text."""
        ids = tuple(id_ for element in page.data if (id_ := entry_id_of(element)))
        made = cls(
            text=text,
            ids=ids,
            count=len(page.data),
            has_next=page.has_next,
            end_cursor=page.end_cursor,
        )
        made._elements = page.data if len(text) <= _KEPT_DECODED else None
        return made

    def fetched(self, at: float) -> ExportItemsPage:
        """The page with the time at which it was fetched."""
        made = self.model_copy(update={"fetched_at": at})
        made._elements, self._elements = self._elements, None
        return made

    def items(self, wanted: Collection[str]) -> dict[str, ExportItem | BrokenItem]:
        """The wanted items by id, in Pleo's order.

        What Pleo sends twice counts once, and is broken where its figures differ: nobody can say which is right.
        """
        elements, self._elements = self._elements, None
        if elements is None:
            elements = read_page(decode(self.text)).data
        items: dict[str, ExportItem | BrokenItem] = {}
        for element in elements:
            id_ = entry_id_of(element)
            if id_ is None or id_ not in wanted:
                continue
            item = parse_item(element)
            first = items.setdefault(id_, item)
            if first is item or isinstance(first, BrokenItem):
                continue
            if isinstance(item, BrokenItem):
                items[id_] = item
            elif _figures(first) != _figures(item):
                items[id_] = BrokenItem(id_, "item: it comes twice, with different figures")
        return items


def _figures(item: ExportItem) -> tuple[object, ...]:
    """What an entry says of an item: kind, day, amounts and accounts."""
    lines = [
        (line.account and line.account.code, line.line_amount, line.net_amount)
        for line in item.accounting_entry_lines or ()
    ]
    contra = item.contra_account and item.contra_account.code
    return item.type, item.sub_type, item.date, item.amount, contra, lines
