"""The results of a job as a DataFrame, one row an item, and its split into update batches for Pleo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime

import pandas as pd

from blocks.pleo.models import ItemFailure, ItemStatus, ItemUpdate
from flows.failures import Failure

MAX_WAIT_S = 60.0
"""A result goes out at the latest after a minute, sooner where the job's life is short, which keeps the job alive."""


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one item: `successful` with the ERP's id and link, or `failed` with type and reason.

    `amount_minor` and `currency` are the signed header amount as Pleo states it, `book_minor` what the books hold for
    a recorded or found entry (both in minor units); `notice` is something that people should see all the same.
    """

    accounting_entry_id: str
    status: ItemStatus
    external_id: str | None = None
    external_url: str | None = None
    exported_at: datetime | None = None
    failure_reason_type: ItemFailure | None = None
    failure_reason: str | None = None
    currency: str | None = None
    amount_minor: int | None = None
    book_minor: int | None = None
    found: bool = False
    notice: str | None = None


COLUMNS = [field.name for field in fields(Row)]
_REPORTED = list(ItemUpdate.model_fields)


def failed(accounting_entry_id: str, failure: Failure) -> Row:
    """The row of an item that was not booked."""
    return Row(accounting_entry_id, ItemStatus.FAILED, failure_reason_type=failure.type, failure_reason=failure.reason)


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a DataFrame with one object column a field; amounts stay exact Python integers."""
    records = [[getattr(row, name) for name in COLUMNS] for row in rows]
    return pd.DataFrame(records, columns=COLUMNS, dtype=object)


def split(frame: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """The frame in batches of at most `size` rows, in order."""
    return [frame.iloc[start : start + size] for start in range(0, len(frame), size)]


def updates_of(batch: pd.DataFrame) -> list[ItemUpdate]:
    """What Pleo is told of a batch: one update a row."""
    return [ItemUpdate.model_validate(record) for record in batch[_REPORTED].to_dict("records")]


class Results:
    """Results that Pleo has not been told yet. Full batches are due at once, the rest when Pleo has heard nothing for
    `max_wait_s`."""

    def __init__(self, batch_size: int, clock: Callable[[], float], max_wait_s: float = MAX_WAIT_S) -> None:
        self._batch_size = batch_size
        self._clock = clock
        self._max_wait_s = max_wait_s
        self._waiting = frame_of([])
        self._since = clock()

    def add(self, rows: Iterable[Row]) -> None:
        """Take in the rows of one page."""
        fresh = frame_of(rows)
        if self._waiting.empty:
            self._waiting = fresh
        elif not fresh.empty:
            self._waiting = pd.concat([self._waiting, fresh], ignore_index=True)

    def due_in_s(self) -> float:
        """Seconds after which something may be due that is not due now; 0 when something is."""
        left_s = self._since + self._max_wait_s - self._clock()
        if left_s <= 0 and self._waiting.empty:
            return self._max_wait_s  # what comes now is due when it comes
        return max(left_s, 0.0)

    def due(self, *, everything: bool = False) -> list[pd.DataFrame]:
        """The batches to send now; what is handed out is no longer waiting."""
        if self._waiting.empty:
            return []
        batches = split(self._waiting, self._batch_size)
        late = self.due_in_s() <= 0
        if not everything and not late and len(batches[-1]) < self._batch_size:
            self._waiting = batches.pop()
        else:
            self._waiting = frame_of([])
        if batches:
            self._since = self._clock()
        return batches
