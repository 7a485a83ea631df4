"""One record an expense on a server that knows nothing of us: who may make a draft the one that counts.

Nothing in a stock Tryton keeps two writers from creating the same expense twice, and ids are given out before a
transaction ends, so that a lower one may become visible after a higher one was posted. Therefore:

    A draft is *claimed* (posted, or marked as the draft that counts) only after a search, begun when that draft was
    there for everyone to see, has found it to be the only record of the expense. What is claimed is never taken away.

No two records of an expense are ever both claimed, however many writers there are and whenever they die: of two that
were, each one's search would have begun when the other was not to be seen yet. So each draft would have become visible
after the search that the other one's claim relies on, and before its own: each before the other.

The rest is about getting on. Of several drafts the first stays, and those who made the others delete them; whoever
finds that nobody does so gives way. A draft of another writer is deleted only where Tryton itself keeps one from
deleting what was posted meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import Enum

from blocks.erp.tryton.records import Standing


class Move(Enum):
    """What to do next about one record of one expense."""

    DONE = "done"
    """One counts already; drafts of our own beside it go."""
    CLAIM = "claim"
    """There is but one, and it may be claimed."""
    CREATE = "create"
    """There is none."""
    WAIT = "wait"
    """There are several, and it is for others to give way."""
    STUCK = "stuck"
    """There are several, nobody gives way, and none is ours: a person has to choose."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do: `record` is the one that counts or is to be claimed, `drop` are drafts to be deleted first.

    After any deletion the look-up is made again before anything is claimed.
    """

    move: Move
    record: Standing | None = None
    drop: tuple[Standing, ...] = ()


def decide(seen: Sequence[Standing], own: Set[str], *, patient: bool, may_drop_others: bool) -> Decision:
    """What to do about the records that a search has just shown; `own` are the external ids of our drafts.

    While `patient`, others are given time to give way. `may_drop_others` says that a draft which was claimed since the
    search cannot be deleted (because claiming is posting).
    """
    counting = [one for one in seen if one.counts]
    drafts = sorted((one for one in seen if not one.counts), key=_age)
    mine = [one for one in drafts if one.external_id in own]
    if counting:
        first = min(counting, key=_age)
        return Decision(Move.DONE, first, tuple(mine))
    if not drafts:
        return Decision(Move.CREATE)
    if len(drafts) == 1:
        return Decision(Move.CLAIM, drafts[0])
    first = drafts[0]
    late = tuple(one for one in mine if one is not first)
    if late:
        return Decision(Move.WAIT, drop=late)
    if patient:
        return Decision(Move.WAIT)
    if may_drop_others:
        return Decision(Move.WAIT, drop=tuple(drafts[1:]))
    if mine:
        return Decision(Move.WAIT, drop=tuple(mine))
    return Decision(Move.STUCK)


def _age(record: Standing) -> tuple[str, int]:
    return record.model.value, record.id
