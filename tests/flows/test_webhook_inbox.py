"""What becomes of a delivery between Pleo and Prefect: taken, refused, handed on by the next process, given up."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows import starts as module
from flows.deliveries import Delivery, WebhookError
from flows.inbox import LIFE_S, Inbox
from flows.starts import BATCH, PrefectAway, Starts
from tests.support.webhook import COMPANY

DEPLOYMENT = "pleo-export/webhook"


def _delivery(number: int) -> Delivery:
    return Delivery(f"msg_{number}", COMPANY, f"5a4db0c5-0000-4000-8000-{number:012}")


@dataclass
class Prefect:
    """What the starts take for Prefect: it answers while its door is open, and refuses some."""

    door: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    refused: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def make(self, deliveries: Sequence[Delivery]) -> list[str | None]:
        ids = [one.message_id for one in deliveries]
        self.asked += ids
        if self.error is not None:
            raise self.error
        await self.door.wait()
        self.made += [id_ for id_ in ids if id_ not in self.refused]
        self.news.set()
        return ["no such thing" if id_ in self.refused else None for id_ in ids]

    async def is_there(self, within_s: float) -> bool:
        return self.error is None


@asynccontextmanager
async def _starting(prefect: Prefect, path: Path) -> AsyncIterator[Starts]:
    """Starts at work, and ended as when their process ends."""
    inbox = Inbox(path, DEPLOYMENT)
    starts = Starts(prefect.make, prefect.is_there, inbox)
    await starts.resume()
    handing = asyncio.create_task(starts.hand_on())
    try:
        yield starts
    finally:
        handing.cancel()
        await asyncio.wait([handing])
        await inbox.close()


async def _all_left(path: Path, deployment: str = DEPLOYMENT) -> list[Delivery]:
    inbox = Inbox(path, deployment)
    try:
        return await inbox.open()
    finally:
        await inbox.close()


async def _until_empty(path: Path) -> None:
    for _ in range(1000):
        with closing(sqlite3.connect(path)) as file:
            if file.execute("SELECT count(*) FROM delivery").fetchone() == (0,):
                return
        await asyncio.sleep(0.01)
    pytest.fail("the inbox was not emptied")


async def _until_made(prefect: Prefect, ids: set[str]) -> None:
    async with asyncio.timeout(10):
        while set(prefect.made) != ids:
            await prefect.news.wait()
            prefect.news.clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.sqlite"


async def test_what_a_busy_prefect_has_not_taken_is_taken_and_the_next_process_hands_it_on(path: Path) -> None:
    busy = Prefect()
    many = [_delivery(number) for number in range(3 * BATCH)]
    async with _starting(busy, path) as starts:
        starts.answered()
        began = time.monotonic()
        await asyncio.gather(*(starts.start(one) for one in many))
        assert time.monotonic() - began < 1.0
    assert busy.made == []
    assert set(await _all_left(path)) == set(many)

    ready = Prefect()
    ready.door.set()
    async with _starting(ready, path):
        await _until_made(ready, {one.message_id for one in many})
        await _until_empty(path)
    assert len(ready.made) == len(many)


async def test_while_prefect_is_away_nothing_is_taken_and_all_is_handed_on_as_soon_as_it_is_back(path: Path) -> None:
    prefect = Prefect(error=ConnectionError("nobody there"))
    prefect.door.set()
    async with _starting(prefect, path) as starts:
        with pytest.raises(PrefectAway):
            await starts.start(_delivery(1))
        prefect.error = None
        await _until_made(prefect, {"msg_1"})
        asked = len(prefect.asked)
        await starts.start(_delivery(1))
        assert len(prefect.asked) == asked, "what it has it is not asked for again"
    assert prefect.made == ["msg_1"]


async def test_a_prefect_that_was_there_long_ago_or_lost_the_deployment_is_away(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect = Prefect()
    async with _starting(prefect, path) as starts:
        starts.answered()
        await starts.start(_delivery(1))
        monkeypatch.setattr(module, "QUIET_S", 0.0)
        with pytest.raises(PrefectAway):
            await starts.start(_delivery(2))
    prefect = Prefect(error=WebhookError("no such deployment"))
    monkeypatch.undo()
    async with _starting(prefect, path) as starts:
        starts.answered()
        with pytest.raises(PrefectAway):
            await starts.start(_delivery(3))


async def test_a_run_that_is_refused_is_asked_for_again_and_holds_nobody_up(path: Path) -> None:
    prefect = Prefect(refused={"msg_1"})
    prefect.door.set()
    async with _starting(prefect, path) as starts:
        one, other = await asyncio.gather(
            *(starts.start(_delivery(number)) for number in (1, 2)), return_exceptions=True
        )
        assert isinstance(one, PrefectAway)
        assert other is None
        prefect.refused.clear()
        await _until_made(prefect, {"msg_1", "msg_2"})
        await _until_empty(path)
    assert prefect.made == ["msg_2", "msg_1"]


async def test_a_message_that_comes_many_times_at_once_is_one_run(path: Path) -> None:
    prefect = Prefect()
    prefect.door.set()
    async with _starting(prefect, path) as starts:
        await asyncio.gather(*(starts.start(_delivery(1)) for _ in range(20)))
    assert prefect.asked == ["msg_1"]


async def test_what_cannot_be_stored_is_taken_only_when_prefect_has_it(path: Path) -> None:
    prefect = Prefect()
    async with _starting(prefect, path) as starts:
        with closing(sqlite3.connect(path)) as another:
            another.execute("DROP TABLE delivery")
        starts.answered()
        with pytest.raises(PrefectAway):
            await starts.start(_delivery(1))
        prefect.door.set()
        await _until_made(prefect, {"msg_1"})
        await starts.start(_delivery(2))
    assert prefect.made == ["msg_1", "msg_2"]


async def test_more_than_may_wait_are_refused_and_none_of_those_that_wait_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    prefect = Prefect()
    async with _starting(prefect, path) as starts:
        starts.answered()
        outcomes = await asyncio.gather(*(starts.start(_delivery(n)) for n in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [PrefectAway] * 2
        prefect.door.set()
        await _until_made(prefect, {f"msg_{number}" for number in range(3)})


async def test_what_waited_until_its_job_is_over_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _store(path, [_delivery(1)])
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE delivery SET received = ?", (time.time() - LIFE_S - 1,))
        file.commit()
    assert await _all_left(path) == []

    monkeypatch.setattr(module, "LIFE_S", 0.0)
    prefect = Prefect(error=ConnectionError("nobody there"))
    async with _starting(prefect, path) as starts:
        with pytest.raises(PrefectAway):
            await starts.start(_delivery(2))
    assert await _all_left(path) == []


async def _store(path: Path, deliveries: Sequence[Delivery]) -> None:
    inbox = Inbox(path, DEPLOYMENT)
    await inbox.open()
    await asyncio.gather(*(inbox.store(one) for one in deliveries))
    with closing(sqlite3.connect(path)) as another:
        rows = another.execute("SELECT message_id FROM delivery ORDER BY rowid").fetchall()
    assert [row[0] for row in rows] == [one.message_id for one in deliveries], "not on the disk when it said so"
    await inbox.close()


async def test_the_file_is_its_owners_alone_and_has_each_deployments_deliveries_apart(path: Path) -> None:
    many = [_delivery(number) for number in range(200)]
    await _store(path, many)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob("inbox.sqlite*")} == {0o600}
    assert await _all_left(path) == many
    assert await _all_left(path, "pleo-export/other") == []


async def test_a_file_that_cannot_be_the_inbox_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("these are no deliveries, and long enough for a look at them" * 20)
    for path, why in (
        (tmp_path / "text", "file is not a database"),
        (tmp_path, "Is a directory"),
        (tmp_path / "text" / "inbox", "Not a directory"),
        (tmp_path / "no" / "such" / "inbox", "No such file or directory"),
    ):
        with pytest.raises(WebhookError) as error:
            await _all_left(path)
        assert str(error.value) == f"--inbox {path}: {why}"
