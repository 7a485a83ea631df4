"""The frame of a job, while it grows page by page and its rows leave in batches."""

from __future__ import annotations

import pandas as pd

from flows.results import Results
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import booked, unbooked


def ids(rows: pd.DataFrame) -> list[str]:
    """Whose rows these are."""
    return list(rows["accounting_entry_id"])


def test_batches_take_each_row_once_and_in_order_whatever_the_size_of_pages() -> None:
    results = Results()
    results.add(map(booked, range(3)))
    results.add([])
    results.add([unbooked(3), *map(booked, range(4, 9))])
    assert (len(results), results.waiting) == (9, 9)

    assert ids(results.next_batch(4)) == [entry_id(n) for n in range(4)]
    assert (len(results), results.waiting) == (9, 5)
    results.add([booked(9)])
    assert ids(results.next_batch(100)) == [entry_id(n) for n in range(4, 10)]
    assert results.next_batch(100).empty
    assert ids(results.frame) == [entry_id(n) for n in range(10)]


def test_what_pleo_has_taken_is_acknowledged_wherever_its_rows_stand_and_however_often_somebody_looks() -> None:
    results = Results()
    results.add(map(booked, range(5)))
    first = results.next_batch(2)
    assert results.untold == 5  # looks at the frame
    results.add(map(booked, range(5, 10)))
    second, third = results.next_batch(6), results.next_batch(6)

    results.acknowledge(third)
    assert ids(results.unacknowledged) == [entry_id(n) for n in range(8)]
    results.acknowledge(second[second["accounting_entry_id"] != entry_id(5)])
    results.acknowledge(results.rows_of([entry_id(0)]))
    assert ids(results.unacknowledged) == [entry_id(1), entry_id(5)]
    results.acknowledge(first)
    assert results.untold == 1
