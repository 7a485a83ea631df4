"""The results DataFrame of a job: what became of each item, and what of it Pleo has acknowledged.

Totals, failures, what is still to be told, update batches, artifacts, files, console and JSON all come from it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime

import pandas as pd

from blocks.erp.entries import Answer
from blocks.pleo.models import ItemFailure, ItemStatus, ItemUpdate, JobItem
from flows.failures import Failure


@dataclass(frozen=True, slots=True)
class Facts:
    """How people know an expense, as far as Pleo's data can be read: each text is one short line.

    `currency` and `amount_minor` (in minor units, signed) are the header amount as Pleo states it, `pleo_url` is
    Pleo's own link to the expense.
    """

    type: str | None = None
    date: date | None = None
    supplier: str | None = None
    employee: str | None = None
    currency: str | None = None
    amount_minor: int | None = None
    pleo_url: str | None = None


NOTHING_KNOWN = Facts()


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one item: `successful` with the ERP's id and link, or `failed` with type and reason.

    `book_minor` is what the books hold for a recorded or found entry, in minor units; `found` tells an entry that an
    earlier run made; `notice` is something that people should see all the same.
    """

    accounting_entry_id: str
    status: ItemStatus
    external_id: str | None = None
    external_url: str | None = None
    exported_at: datetime | None = None
    failure_reason_type: ItemFailure | None = None
    failure_reason: str | None = None
    book_minor: int | None = None
    found: bool = False
    notice: str | None = None
    facts: Facts = field(default=NOTHING_KNOWN)


def failed(accounting_entry_id: str, failure: Failure, facts: Facts = NOTHING_KNOWN) -> Row:
    """The row of an item that was not booked."""
    return Row(
        accounting_entry_id,
        ItemStatus.FAILED,
        failure_reason_type=failure.type,
        failure_reason=failure.reason,
        facts=facts,
    )


_OF_ROW = [one.name for one in fields(Row) if one.name != "facts"]
_OF_FACTS = [one.name for one in fields(Facts)]
_FLAGS = ["found", "acknowledged"]
COLUMNS = [*_OF_ROW, *_OF_FACTS, "acknowledged"]
"""The columns of the frame: the fields of a row and of its facts, and whether Pleo has acknowledged the outcome.

`found` and `acknowledged` have dtype bool. All others are objects: text, None, enums, `date` and `datetime`, and
amounts as Python's integers, which stay exact beyond 2**53.
"""

_REPORTED = list(ItemUpdate.model_fields)


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a DataFrame of `COLUMNS`; of none of them Pleo has acknowledged the outcome."""
    kept = list(rows)
    columns: dict[str, list[object]] = {name: [getattr(row, name) for row in kept] for name in _OF_ROW}
    columns |= {name: [getattr(row.facts, name) for row in kept] for name in _OF_FACTS}
    columns["acknowledged"] = [False] * len(kept)
    frame = pd.DataFrame(columns, columns=COLUMNS, dtype=object)
    return frame.astype(dict.fromkeys(_FLAGS, bool))


def updates_of(batch: pd.DataFrame) -> list[ItemUpdate]:
    """What Pleo is told of a batch: one update a row."""
    return [ItemUpdate.model_validate(record) for record in batch[_REPORTED].to_dict("records")]


def answers_of(rows: pd.DataFrame, job_id: str) -> list[Answer]:
    """What Pleo has taken of these rows, for the history of each expense."""
    return [answer_of(Row(*one), job_id) for one in rows[_OF_ROW].itertuples(index=False, name=None)]


def answer_of(item: Row | JobItem, job_id: str) -> Answer:
    """What Pleo has taken of an item, for the history of its expense: as this run told it, or as Pleo shows it."""
    if item.status == ItemStatus.SUCCESSFUL:
        return Answer(item.accounting_entry_id, job_id, successful=True, external_id=item.external_id or "")
    reason = f"{item.failure_reason_type or ''}: {item.failure_reason or ''}"
    return Answer(item.accounting_entry_id, job_id, successful=False, reason=reason)


class Results:
    """The frame of one job, which grows page by page, and the batches in which Pleo is told of it."""

    def __init__(self) -> None:
        self._frame = frame_of([])
        self._new: list[pd.DataFrame] = []
        self._acknowledged: list[int] = []
        self._waiting: deque[pd.DataFrame] = deque()

    def __len__(self) -> int:
        return len(self._frame) + sum(map(len, self._new))

    @property
    def frame(self) -> pd.DataFrame:
        """All rows so far, in the order in which they were decided. It is not to be changed."""
        # Put together when somebody looks, not at each page or batch: a frame is copied whole each time it grows.
        if self._new:
            self._frame = pd.concat([*([self._frame] if len(self._frame) else []), *self._new])
            self._new = []
        if self._acknowledged:
            self._frame.loc[self._acknowledged, "acknowledged"] = True
            self._acknowledged = []
        return self._frame

    def add(self, rows: Iterable[Row]) -> None:
        """Take in the rows of one page."""
        fresh = frame_of(rows)
        if len(fresh):
            fresh.index += len(self)
            self._new.append(fresh)
            self._waiting.append(fresh)

    # -- what Pleo is told --------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many rows no batch has taken yet."""
        return sum(map(len, self._waiting))

    def next_batch(self, size: int) -> pd.DataFrame:
        """The next rows that wait, `size` at most, in their order; they no longer wait."""
        parts: list[pd.DataFrame] = []
        while size and self._waiting:
            first = self._waiting.popleft()
            parts.append(first.iloc[:size])
            if len(first) > size:
                self._waiting.appendleft(first.iloc[size:])
            size -= len(parts[-1])
        return pd.concat(parts) if parts else frame_of([])

    def rows_of(self, accounting_entry_ids: Collection[str]) -> pd.DataFrame:
        """The rows of these items."""
        return self.frame[self.frame["accounting_entry_id"].isin(list(accounting_entry_ids))]

    def add_notices(self, notices: Sequence[tuple[str, str]]) -> None:
        """What people should know besides of items whose rows are here: the id of each, and the notice."""
        for id_, notice in notices:
            frame = self.frame
            rows = frame["accounting_entry_id"] == id_
            frame.loc[rows, "notice"] = [f"{told}; {notice}" if told else notice for told in frame.loc[rows, "notice"]]

    def acknowledge(self, rows: pd.DataFrame) -> None:
        """Pleo has taken the outcome of these rows, which are this frame's or a part of it, with its index."""
        self._acknowledged.extend(rows.index)

    # -- what it comes to ---------------------------------------------------------------------------------------

    @property
    def successful(self) -> pd.DataFrame:
        """The rows of items that are booked, or would be in a dry run."""
        return self.frame[self.frame["status"] == ItemStatus.SUCCESSFUL]

    @property
    def failed(self) -> pd.DataFrame:
        """The rows of items that are not booked."""
        return self.frame[self.frame["status"] != ItemStatus.SUCCESSFUL]

    @property
    def unacknowledged(self) -> pd.DataFrame:
        """The rows of entries that stand in the books, and of which Pleo has not taken the outcome."""
        return self.successful[~self.successful["acknowledged"]]

    @property
    def untold(self) -> int:
        """How many outcomes Pleo has not acknowledged, of whatever kind."""
        return int((~self.frame["acknowledged"]).sum())

    def totals(self, column: str = "amount_minor", *, acknowledged: bool = False) -> Counter[str]:
        """The sum of a column of amounts over the booked items by currency, exact, in minor units."""
        rows = self.successful
        rows = rows[rows["acknowledged"]] if acknowledged else rows
        return Counter({str(currency): sum(filter(None, of)) for currency, of in rows.groupby("currency")[column]})

    def failure_types(self) -> Counter[str]:
        """How many items failed for which of Pleo's types."""
        return Counter(type_.value for type_ in self.failed["failure_reason_type"])

    def notices(self, most: int) -> list[str]:
        """What people should see of the items, the first `most`."""
        return list(self.frame["notice"].dropna().iloc[: max(most, 0)])

    def notice_count(self) -> int:
        """How many items have such a notice."""
        return int(self.frame["notice"].count())
