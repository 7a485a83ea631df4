"""How fast entries get into Tryton, beside the bare calls that anybody could make: ratios of one run.

    python -m tests.benchmarks.tryton [--entries 400] [--rounds 3] [--again 5000]

It brings up a Tryton of its own (see tests.support.erp.tryton.server), once as it is and once with our module. What is
recorded are posted journal entries of three lines with a tax. In each round every way records as many entries, one way
after the other, so that they share the machine's moods; what is shown is each way's best round.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import JournalEntry, Recorded
from blocks.erp.tryton import Tryton
from blocks.erp.tryton.client import Login, TrytonClient
from blocks.erp.tryton.payloads import payload_of
from tests.support.erp.contract.entries import Maker
from tests.support.erp.tryton.harness import NAMES, a_tryton
from tests.support.erp.tryton.server import Tryton as TrytonSession
from tests.support.erp.tryton.server import TrytonServer

BATCH = 100
Way = Callable[[Sequence[JournalEntry]], Awaitable[None]]


class Site:
    """One server, and the ways to record entries on it."""

    def __init__(self, server: TrytonServer) -> None:
        user = server.company["users"]["pleo"]
        self._login = (user["login"], user["password"])
        self._server = server
        self._key = user["key"]
        self.client = TrytonClient(server.base_url, server.database, self._key, Login(*self._login))
        self.client.context["company"] = server.company["companies"]["acme"]["id"]
        self._open: list[Tryton] = []
        self._directory: Any = None

    async def adapter(self, *, password: bool) -> Tryton:
        """An adapter that is ready."""
        login = self._login if password else None
        made = a_tryton(self._server.base_url, self._server.database, self._key, login)
        assert isinstance(made, Tryton)
        await made.open(NAMES.company_id)
        await made.validate()
        await made.load_reference()
        self._open.append(made)
        self._directory = made._books.directory if made._books is not None else None
        return made

    def recording(self, erp: Tryton) -> Way:
        """Recording by the adapter, page by page as the export does it."""

        async def record(entries: Sequence[JournalEntry]) -> None:
            for start in range(0, len(entries), BATCH):
                outcomes = await erp.record(entries[start : start + BATCH])
                assert all(isinstance(one, Recorded) and not one.found for one in outcomes)

        return record

    async def bare_batch(self, entries: Sequence[JournalEntry]) -> None:
        """(a) JSON-RPC: create a hundred moves in one call, post them in another."""
        for start in range(0, len(entries), BATCH):
            ids = await self.client.rpc("account.move", "create", self._moves(entries[start : start + BATCH]))
            await self.client.rpc("account.move", "post", ids)

    async def bare_single(self, entries: Sequence[JournalEntry]) -> None:
        """(b) REST: create a move and post it, one after the other."""
        for values in self._moves(entries):
            (id_,) = await self.client.create("account.move", [values])
            await self.client.press("account.move", id_, "post")

    def _moves(self, entries: Sequence[JournalEntry]) -> list[dict[str, Any]]:
        return [
            {**record.values, "description": f"bare {record.text}"}
            for entry in entries
            for record in payload_of(entry, self._directory, MinorUnits.HUNDREDTHS).records
        ]

    async def close(self) -> None:
        """Let go of everything."""
        for erp in self._open:
            await erp.close()
        await self.client.aclose()


async def timed(way: Way, entries: Sequence[JournalEntry]) -> float:
    """Entries a second."""
    started = time.perf_counter()
    await way(entries)
    return len(entries) / (time.perf_counter() - started)


async def compare(site: Site, ways: dict[str, Way], make: Maker, count: int, rounds: int) -> dict[str, float]:
    """The best of each way's rounds, in entries a second. One round more, at first, warms everything up."""
    best = dict.fromkeys(ways, 0.0)
    for turn in range(rounds + 1):
        for name, way in ways.items():
            few = count if turn else BATCH
            speed = await timed(way, make.purchases(few))
            best[name] = max(best[name], speed) if turn else 0.0
    return best


async def again(site: Site, erp: Tryton, make: Maker, count: int) -> None:
    """Look up what was recorded, page by page, as a job does whose expenses were exported before."""
    entries = make.purchases(count)
    await site.recording(erp)(entries)
    client = erp._client
    assert client is not None
    before, started = client.requests_sent, time.perf_counter()
    pages = 0
    for start in range(0, count, BATCH):
        found = await erp.find([entry.accounting_entry_id for entry in entries[start : start + BATCH]])
        assert len(found) == len(entries[start : start + BATCH])
        pages += 1
    seconds = time.perf_counter() - started
    requests = client.requests_sent - before
    print(f"again over {count} recorded entries: {pages} look-ups of {requests / pages:g} requests, {seconds:.1f} s")


async def measure(entries: int, rounds: int, recorded: int) -> None:
    """Everything, as a table."""
    rows: list[tuple[str, float, float, float]] = []
    for module in (False, True):
        with TrytonSession(module=module) as session, session.server() as server:
            site = Site(server)
            make = Maker(NAMES, str(uuid.uuid4()), Path())
            fast, plain = await site.adapter(password=True), await site.adapter(password=False)
            names = ("adapter, key and password", "adapter, key alone")
            if module:
                names = ("module, key and password", "module, key alone")
            ways: dict[str, Way] = {"(a) bare JSON-RPC batch": site.bare_batch, names[0]: site.recording(fast)}
            ways |= {"(b) bare REST, one by one": site.bare_single, names[1]: site.recording(plain)}
            best = await compare(site, ways, make, entries, rounds)
            batch, single = best["(a) bare JSON-RPC batch"], best["(b) bare REST, one by one"]
            rows += [(name, speed, speed / batch, speed / single) for name, speed in best.items()]
            if recorded:
                await again(site, plain if module else fast, make, recorded)
            await site.close()
    print("| way | entries a second | of (a) | of (b) |\n| --- | ---: | ---: | ---: |")
    for name, speed, of_batch, of_single in rows:
        print(f"| {name} | {speed:.0f} | {of_batch:.2f} | {of_single:.2f} |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=400, help="entries a round and way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", type=int, default=5000, help="entries that are looked up again (0: none)")
    given = parser.parse_args()
    asyncio.run(measure(given.entries, given.rounds, given.again))


if __name__ == "__main__":
    main()
