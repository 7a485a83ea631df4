"""One record an expense on a stock Tryton, in thousands of orders of events, each chosen by a seed.

`tests/erp/test_server_writers.py` does the same with few orders on a real server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.entries import EntryState
from blocks.erp.remote.calls import CallRefused
from blocks.erp.tryton import stock_recorder
from blocks.erp.tryton.claims import Decision, NextStep, Writer, decide
from blocks.erp.tryton.payloads import RecordPayload
from blocks.erp.tryton.records import Model, RecordKey, RecordRole, TrytonRecord
from blocks.erp.tryton.stock_recorder import PendingEntry, StockRecorder
from tests.support.erp.tryton.simulated_books import MODES, Mode, Parts, Scene, a_scene
from tests.support.erp.tryton.simulated_runs import Violation

ID = "5f0c1c9e-0000-4000-8000-000000000001"
DRAFTS_BY_USER, DRAFTS_BY_KEY = Mode(posted=False, password=True), Mode(posted=False, password=False)


@pytest.fixture(autouse=True)
def _files_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread decides anything here."""

    async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


def _played(seeds: range, mode: Mode, folder: Path, **how: Any) -> Counter[str]:
    """Play a scene for each seed; what happened in all of them."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        scene = a_scene(seed, mode, folder, sound=seed % 3 != 0, **how)
        try:
            scene.play()
        except Violation as violation:
            violation.add_note(f"seed {seed}, {mode}, {how}:\n" + "\n".join(scene.world.history[-80:]))
            raise
        seen += _summed_up(scene)
    return seen


def _summed_up(scene: Scene) -> Counter[str]:
    world = scene.world
    return Counter(
        scenes=1,
        expenses=len(scene.good | scene.bad),
        writers=len(world.writers),
        runs=sum(writer.runs for writer in world.writers),
        broken_off=len(world.broken_off),
        made=sum(": nothing -> draft" in line for line in world.history),
        taken_away=sum(line.endswith("-> nothing") for line in world.history),
        counting=sum(len(world.counting(key)) for key in scene.keys),
        left_over=len(scene.left_over()),
    )


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_each_expense_counts_once_whatever_the_order(mode: Mode, tmp_path: Path) -> None:
    peace = _played(range(40), mode, tmp_path, faults=False)
    assert peace["broken_off"] < 4  # in peace hardly anybody has to begin anew
    assert peace["left_over"] == 0
    assert peace["taken_away"] > 100  # they do meet
    trouble = _played(range(100), mode, tmp_path)
    assert trouble["broken_off"] > 200
    assert trouble["made"] > trouble["counting"] + 100


def test_drafts_beside_what_others_made_go_though_trouble_came_in_between(tmp_path: Path) -> None:
    _played(range(1277, 1278), MODES[0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_each_expense_counts_once_in_thousands_of_orders(mode: Mode, tmp_path: Path) -> None:
    seen = _played(range(1000, 1250), mode, tmp_path, faults=False) + _played(range(1000, 2000), mode, tmp_path)
    print(f"\n{mode}: {dict(seen)}")
    assert seen["scenes"] == 1250
    assert seen["broken_off"] > 2500


def _lowest_id_wins(seen: Sequence[TrytonRecord], own: Set[str], *, patient: bool) -> Decision:
    """The oldest draft is claimed, as the others will give way."""
    drafts = sorted((one for one in seen if not one.counts), key=lambda one: (one.model, one.id))
    if len(drafts) == len(seen) and drafts and drafts[0].external_id in own:
        return Decision(NextStep.CLAIM, drafts[0])
    return decide(seen, own, patient=patient)


def _own_is_claimed(seen: Sequence[TrytonRecord], own: Set[str], *, patient: bool) -> Decision:
    """A draft of our own is claimed whatever else there is."""
    mine = next((one for one in seen if one.external_id in own), None)
    return decide(seen, own, patient=patient) if mine is None else Decision(NextStep.CLAIM, mine)


def _others_are_claimed(seen: Sequence[TrytonRecord], own: Set[str], *, patient: bool) -> Decision:
    """What counts already does not count."""
    return decide([one for one in seen if not one.counts] or seen, own, patient=patient)


class _DeletesBlindly(Writer):
    """Deletes drafts in whatever state they are now."""

    async def drop(self, record: TrytonRecord) -> bool:
        try:
            await self._client.delete(record.model.value, record.id)
        except CallRefused:
            return False
        return True


class _MarksAlone(Writer):
    """Claims by the mark alone, where nobody but us could tell a marked draft from a bare one."""

    async def _claim_by_line(self, record: TrytonRecord) -> None:
        key = str(replace(record.key, claimed=True))
        await self._client.write(record.model.value, record.id, {"description": key})


class _SearchesBeforeOnly(StockRecorder):
    """Claims what it has made without looking again."""

    async def _create(self, missing: Sequence[tuple[PendingEntry, RecordPayload]]) -> None:
        await super()._create(missing)
        ready = []
        for one, payload in missing:
            for name in one.own if one.refused is None and payload.key.role is RecordRole.MAIN else ():
                model, _, id_ = name.partition(",")
                if model == payload.model.value:
                    row = {"_timestamp": "", "description": str(payload.key)}
                    ready.append((one, TrytonRecord(payload.model, int(id_), payload.key, EntryState.DRAFT, row)))
        await self._claim(ready)


class _TakesGoneForDone(StockRecorder):
    """Holds every draft that it claims for claimed."""

    async def _claim(self, ready: Sequence[tuple[PendingEntry, TrytonRecord]]) -> None:
        async for place, _ in self._writer.claim([record for _, record in ready]):
            one, record = ready[place]
            one.by_role[record.key.role] = record


class _LeavesItsPayments(StockRecorder):
    """Forgets the drafts that it made for what others have recorded, or Tryton has refused."""

    async def _drop_own(self, one: PendingEntry) -> None:
        pass


class _BelievesInRefusedFiles(StockRecorder):
    """Takes a draft that was deleted meanwhile for one that takes no receipts."""

    async def _stands(self, record: TrytonRecord) -> bool:
        return True


WRONG_DECISIONS = {
    "the lowest id wins": _lowest_id_wins,
    "a draft of one's own is claimed": _own_is_claimed,
    "what counts is overlooked": _others_are_claimed,
}
WRONG_PARTS = {
    "drafts are deleted blindly, by a user": (Parts(writer=_DeletesBlindly), DRAFTS_BY_USER),
    "drafts are deleted blindly, with the key": (Parts(writer=_DeletesBlindly), DRAFTS_BY_KEY),
    "drafts are marked alone": (Parts(writer=_MarksAlone), DRAFTS_BY_KEY),
    "nobody looks again": (Parts(recorder=_SearchesBeforeOnly), MODES[0]),
    "gone is done": (Parts(recorder=_TakesGoneForDone), DRAFTS_BY_USER),
    "drafts are left": (Parts(recorder=_LeavesItsPayments), DRAFTS_BY_USER),
    "refused files are believed in": (Parts(recorder=_BelievesInRefusedFiles), MODES[0]),
}


@pytest.mark.parametrize("wrong", WRONG_DECISIONS)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_wrong_decision_is_found_out(wrong: str, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_recorder, "decide", WRONG_DECISIONS[wrong])
    with pytest.raises(Violation, match=r"both count|counted, and does not"):
        _played(range(1000), mode, tmp_path)


@pytest.mark.parametrize("wrong", WRONG_PARTS)
def test_a_wrong_part_is_found_out(wrong: str, tmp_path: Path) -> None:
    parts, mode = WRONG_PARTS[wrong]
    with pytest.raises(Violation):
        _played(range(300), mode, tmp_path, parts=parts)


def _draft(id_: int, *, claimed: bool = False, state: EntryState = EntryState.DRAFT) -> TrytonRecord:
    return TrytonRecord(
        Model.MOVE, id_, RecordKey(ID, RecordRole.MAIN, claimed), state, {"create_date": datetime.now(UTC)}
    )


def _names(*ids: int) -> set[str]:
    return {f"account.move,{id_}" for id_ in ids}


def test_what_is_missing_is_made() -> None:
    assert decide([], _names(7), patient=True) == Decision(NextStep.CREATE)


@pytest.mark.parametrize("patient", [True, False])
def test_a_draft_of_our_own_is_claimed_once_it_is_seen_alone(patient: bool) -> None:
    alone = _draft(7)
    assert decide([alone], _names(7), patient=patient) == Decision(NextStep.CLAIM, alone)


def test_a_draft_of_others_is_waited_for_and_then_goes() -> None:
    theirs = _draft(7)
    assert decide([theirs], set(), patient=True) == Decision(NextStep.WAIT)
    assert decide([theirs], set(), patient=False) == Decision(NextStep.WAIT, drop=(theirs,))


@pytest.mark.parametrize("patient", [True, False])
def test_who_made_a_later_draft_gives_way(patient: bool) -> None:
    first, second, third = _draft(7), _draft(8), _draft(9)
    decision = decide([third, first, second], _names(8, 9), patient=patient)
    assert decision == Decision(NextStep.WAIT, drop=(second, third))


def test_who_made_the_first_draft_waits_for_the_others_to_give_way() -> None:
    first, second, third = _draft(7), _draft(8), _draft(9)
    assert decide([first, second, third], _names(7), patient=True) == Decision(NextStep.WAIT)
    assert decide([first, second, third], _names(7), patient=False) == Decision(NextStep.WAIT, drop=(second, third))


@pytest.mark.parametrize("counting", [_draft(9, claimed=True), _draft(9, state=EntryState.POSTED)])
def test_beside_what_counts_our_own_drafts_go(counting: TrytonRecord) -> None:
    theirs, ours = _draft(7), _draft(8)
    decision = decide([theirs, ours, counting], _names(8), patient=False)
    assert decision == Decision(NextStep.DONE, counting, (ours,))
