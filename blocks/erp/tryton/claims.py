"""One record an expense on a server that knows nothing of us: who may make a draft the one that counts.

Nothing in a stock Tryton keeps two writers from creating the same expense twice, and ids are given out before a
transaction ends, so that a lower one may become visible after a higher one was posted. Therefore:

    A draft is *claimed* (posted, or marked as the draft that counts) only after a search, begun when that draft was
    there for everyone to see, has found it to be the only record of the expense. What is claimed is never taken away.

No two records of an expense are ever both claimed, however many writers there are and whenever they die: of two that
were, each one's search would have begun when the other was not to be seen yet. So each draft would have become visible
after the search that the other one's claim relies on, and before its own: each before the other.

That a draft is not taken away while it is being claimed Tryton itself must see to, and `writing.Writer` has it do so.

The rest is about getting on. Of several drafts the first stays, and those who made the others delete them. Only who
made a draft claims it; whoever finds that nobody does so for a while deletes it, and makes another.
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
    """There is but one, it is ours, and it may be claimed."""
    CREATE = "create"
    """There is none."""
    WAIT = "wait"
    """There are several, or one of somebody else's: look again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do: `record` is the one that counts or is to be claimed, `drop` are drafts to be deleted first.

    After any deletion the look-up is made again before anything is claimed.
    """

    move: Move
    record: Standing | None = None
    drop: tuple[Standing, ...] = ()


def decide(seen: Sequence[Standing], own: Set[str], *, patient: bool) -> Decision:
    """What to do about the records that a search has just shown; `own` are the external ids of our drafts.

    While `patient`, others are given time to claim theirs, or to give way.
    """
    counting = [one for one in seen if one.counts]
    drafts = sorted((one for one in seen if not one.counts), key=_age)
    mine = [one for one in drafts if one.external_id in own]
    if counting:
        return Decision(Move.DONE, min(counting, key=_age), tuple(mine))
    if not drafts:
        return Decision(Move.CREATE)
    if len(drafts) == 1 and mine:
        return Decision(Move.CLAIM, drafts[0])
    late = tuple(one for one in mine if one is not drafts[0])
    if late or patient:
        return Decision(Move.WAIT, drop=late)
    return Decision(Move.WAIT, drop=tuple(one for one in drafts if one not in mine))


def _age(record: Standing) -> tuple[str, int]:
    return record.model.value, record.id
