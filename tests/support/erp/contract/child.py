"""A run in a process of its own, which others can kill: records the entries it is given, portion by portion.

Standard input brings the pickled `Work`, and a line when it shall begin. Standard output tells `busy` where another
run holds the books; else `ready`, then after each portion the number of entries recorded so far, and `done`.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from blocks.erp.base import Erp
from blocks.erp.entries import Entry
from blocks.erp.errors import ErpBusy
from tests.support.erp.contract.runner import bring_to_an_end, ready


@dataclass(frozen=True, slots=True)
class Work:
    """What such a process is to do; `portion` is how many entries it records in one call."""

    connection: partial[Erp]
    company_id: str
    entries: Sequence[Entry]
    portion: int


async def run(work: Work) -> None:
    """Do it."""
    erp = work.connection()
    try:
        await ready(erp, work.company_id)
    except ErpBusy:
        print("busy", flush=True)
        return
    try:
        print("ready", flush=True)
        sys.stdin.buffer.readline()
        for start in range(0, len(work.entries), work.portion):
            portion = work.entries[start : start + work.portion]
            await bring_to_an_end(erp, portion)
            print(start + len(portion), flush=True)
    finally:
        await erp.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(run(pickle.load(sys.stdin.buffer)))
