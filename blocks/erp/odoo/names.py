"""By what our records are known again in Odoo: external ids, which the database itself keeps unique.

An external id is the module `__pleo__` and a name, a row of `ir.model.data` that Odoo makes in the same transaction as
the record. `invoice_origin` (Source Document) holds the expense's id too, so that many can be searched at once; it
proves nothing, as people and their imports can write there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MODULE = "__pleo__"
MODEL = "account.move"
EXTERNAL_ID = re.compile(r"account\.move,([0-9]{1,18})")
"""A move as Pleo is told of it: `account.move,12`. It stays the same from draft to posted."""

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME = re.compile(rf"{MODULE}\.({_UUID})(?:_again([0-9]{{1,6}}))?(_payment)?(_reversal)?")


class MoveRole(StrEnum):
    """Which of an expense's moves this is: the one that it is known by, or the payment of the bill."""

    MAIN = "main"
    PAYMENT = "payment"


@dataclass(frozen=True, slots=True)
class MoveName:
    """The external id of a move. `turn` counts from 1 how often the expense was booked, anew after each reversal."""

    accounting_entry_id: str
    turn: int = 1
    role: MoveRole = MoveRole.MAIN
    reversal: bool = False

    def __str__(self) -> str:
        again = f"_again{self.turn}" if self.turn > 1 else ""
        payment = "_payment" if self.role is MoveRole.PAYMENT else ""
        return f"{MODULE}.{self.accounting_entry_id}{again}{payment}{'_reversal' if self.reversal else ''}"

    def part(self, text: str) -> str:
        """The external id of something that belongs to the move, a line say."""
        return f"{self}_{text}"


def read_name(text: object) -> MoveName | None:
    """The name that an external id is, or None for any other."""
    match = _NAME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    role = MoveRole.PAYMENT if match[3] else MoveRole.MAIN
    return MoveName(match[1], int(match[2] or 1), role, match[4] is not None)


def origin_of(accounting_entry_id: str) -> str:
    """What the source document of an expense's moves says."""
    return f"pleo:{accounting_entry_id.lower()}"


def external_id(move_id: int) -> str:
    """A move as Pleo is told of it."""
    return f"{MODEL},{move_id}"


def link_to(base_url: str, external_id_: str, version: int) -> str:
    """Where the web client shows a move; through the login for who is not logged in. Raises ValueError for no move."""
    match = EXTERNAL_ID.fullmatch(external_id_)
    if match is None:
        raise ValueError(f"{external_id_!r} names no move of Odoo's: it should look like account.move,12")
    if version >= 18:
        return f"{base_url.rstrip('/')}/odoo/{MODEL}/{match[1]}"
    return f"{base_url.rstrip('/')}/mail/view?model={MODEL}&res_id={match[1]}"
