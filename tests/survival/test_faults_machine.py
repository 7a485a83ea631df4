"""The machine behind the faults notices what it is there to notice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from blocks.pleo.http import client, transport
from blocks.pleo.http import pacing as pace
from blocks.pleo.http import retries as retry
from tests.support.network import virtual_time
from tests.support.network.network_faults import BY_NAME
from tests.survival.fault_cells import FINAL, FOR_EVER, LIST_JOBS, UPDATE, Cell, prove


def test_waiting_takes_no_time_and_waiting_for_nothing_is_noticed() -> None:
    async def an_hour() -> float:
        await asyncio.sleep(3600.0)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(an_hour()) == 3600.0
    with pytest.raises(virtual_time.Hangs, match="nothing will come"):
        virtual_time.run(asyncio.Event().wait())


def test_going_round_in_circles_is_noticed() -> None:
    async def circles(seconds: float) -> None:
        while True:  # noqa: ASYNC110 - it is what is to be noticed
            await asyncio.sleep(seconds)

    with pytest.raises(virtual_time.Hangs, match="no time passed"):
        virtual_time.run(circles(0.0))
    with pytest.raises(virtual_time.Hangs, match="still at work"):
        virtual_time.run(circles(60.0))


@pytest.mark.parametrize(
    ("cell", "where", "name", "wrong", "noticed"),
    [
        (Cell(UPDATE, BY_NAME["503"], FOR_EVER), retry, "MAX_TRIES", 7, "was tried 7 times"),
        (Cell(UPDATE, BY_NAME["503"], 3), retry, "_BACKOFF_S", (2.0,), "before the second try"),
        (Cell(UPDATE, BY_NAME["429 for a huge time"], 1), retry, "RETRY_AFTER_CAP_S", 1e9, "after 1 tries"),
        (Cell(UPDATE, BY_NAME["slow dribble"], 1), transport, "ANSWER_TIMEOUT_S", 1e9, "tries for longer|it took|exit"),
        (Cell(LIST_JOBS, BY_NAME["429 for 7 seconds"], 1), pace.Pacer, "slow_down", lambda _: None, "after a 429"),
        (Cell(FINAL, BY_NAME["dropped before"], 1), client.PleoClient, "_has_arrived", None, "is followed by|exit"),
    ],
    ids=["tries", "first wait", "cap", "dribble", "spread", "look-up"],
)
def test_a_product_that_breaks_a_rule_is_noticed(
    cell: Cell, where: Any, name: str, wrong: Any, noticed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believes(*_: object) -> bool:
        return True

    prove(cell, tmp_path / "as it is")
    monkeypatch.setattr(where, name, believes if wrong is None else wrong)
    with pytest.raises(AssertionError, match=noticed):
        prove(cell, tmp_path / "broken")
