"""How fast entries get into Odoo, beside the bare calls that anybody could make: ratios of one run.

    python -m tests.benchmarks.odoo [--entries 400] [--rounds 3] [--again 2000] [--moves 100000 --partners 20000]

It brings up an Odoo of its own (see tests.support.erp.odoo.server). What is recorded are posted journal entries of
three lines with a tax. In each round every way records as many entries, one way after the other, so that they share the
machine's moods; what is shown is each way's best round. With `--moves` and `--partners` the database is filled by SQL
first with so many that are nobody's business, and what reading the reference data and looking up takes is shown before
and after.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import tracemalloc
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import JournalEntry, Recorded
from blocks.erp.odoo.client import Protocol
from blocks.erp.odoo.names import MODEL
from blocks.erp.odoo.odoo import BATCH, Odoo
from blocks.erp.odoo.payloads import NOTHING_ADDED, payload_of, rows_of
from tests.support.erp.contract.entries import Maker
from tests.support.erp.odoo.harness import NAMES, an_odoo
from tests.support.erp.odoo.server import Odoo as OdooSession
from tests.support.erp.odoo.server import OdooServer

Way = Callable[[Sequence[JournalEntry]], Awaitable[None]]

FILL_PARTNERS = """
    insert into res_partner (name, complete_name, active, company_id, lang, type, is_company, supplier_rank,
        customer_rank, autopost_bills, create_uid, write_uid, create_date, write_date)
    select 'Customer ' || n, 'Customer ' || n, true, null, 'en_US', 'contact', true, 0, 1, 'ask', 1, 1, now(), now()
    from generate_series(1, %s) n
"""
FILL_MOVES = """
    insert into account_move (name, state, move_type, date, journal_id, company_id, currency_id, auto_post,
        invoice_origin, ref, sequence_prefix, sequence_number, create_uid, write_uid, create_date, write_date)
    select 'FILL/' || n, 'posted', 'entry', '2026-10-01', %s, %s, c.currency_id, 'no', 'other:' || n, 'Filled ' || n,
        'FILL/', n, 1, 1, now(), now()
    from generate_series(1, %s) n, res_company c where c.id = %s
"""
FILL_LINES = """
    insert into account_move_line (move_id, account_id, company_id, company_currency_id, currency_id, debit, credit,
        balance, amount_currency, display_type, date, parent_state, journal_id, move_name, name, create_uid, write_uid,
        create_date, write_date)
    select m.id, %s, m.company_id, m.currency_id, m.currency_id, greatest(s, 0), greatest(-s, 0), s, s, 'product',
        m.date, 'posted', m.journal_id, m.name, 'Filled', 1, 1, now(), now()
    from account_move m, (values (10), (-10)) as sides(s) where m.name like 'FILL/%%'
"""


class Site:
    """One server, and the ways to record entries on it."""

    def __init__(self, server: OdooServer) -> None:
        self.server = server
        self._user = server.company["users"]["pleo"]
        self._open: list[Odoo] = []

    async def adapter(self, protocol: Protocol = Protocol.AUTO) -> Odoo:
        """An adapter that is ready."""
        user, server = self._user, self.server
        made = an_odoo(server.base_url, server.database, user["login"], user["key"], protocol)
        assert isinstance(made, Odoo)
        await made.open(NAMES.company_id)
        await made.validate()
        await made.load_reference()
        self._open.append(made)
        return made

    def recording(self, erp: Odoo) -> Way:
        """Recording by the adapter, page by page as the export does it."""

        async def record(entries: Sequence[JournalEntry]) -> None:
            for start in range(0, len(entries), BATCH):
                outcomes = await erp.record(entries[start : start + BATCH])
                assert all(isinstance(one, Recorded) and not one.found for one in outcomes)

        return record

    def bare(self, erp: Odoo, batch: int) -> Way:
        """`load` and post in batches of that size, with the very same rows, and nothing looked up or read back."""

        async def record(entries: Sequence[JournalEntry]) -> None:
            client, company = erp._client, erp._books
            assert client is not None
            assert company is not None
            for start in range(0, len(entries), batch):
                some = entries[start : start + batch]
                made = [payload_of(one, company.directory, MinorUnits.HUNDREDTHS, 1) for one in some]
                columns, rows = rows_of(made)
                given = {"fields": columns, "data": rows}
                told = await client.call(MODEL, "load", changes=True, context=NOTHING_ADDED, **given)
                await client.call(MODEL, "action_post", told["ids"], changes=True, context=NOTHING_ADDED)

        return record

    def fill(self, moves: int, partners: int) -> None:
        """Put so many moves and partners into the database that are nobody's business."""
        sql, company = self.server.sql, self.server.company
        id_ = company["companies"]["acme"]["id"]
        sql(FILL_PARTNERS, (partners,))
        sql(FILL_MOVES, (company["journals"]["MISC"], id_, moves, id_))
        sql(FILL_LINES, (company["accounts"]["5820"],))
        sql("analyze")

    async def close(self) -> None:
        """Let go of everything."""
        for erp in self._open:
            await erp.close()


async def timed(way: Way, entries: Sequence[JournalEntry]) -> float:
    """Entries a second."""
    started = time.perf_counter()
    await way(entries)
    return len(entries) / (time.perf_counter() - started)


async def compare(ways: dict[str, Way], make: Maker, count: int, rounds: int) -> dict[str, float]:
    """The best of each way's rounds, in entries a second. One round more, at first, warms everything up."""
    best = dict.fromkeys(ways, 0.0)
    for turn in range(rounds + 1):
        for name, way in ways.items():
            speed = await timed(way, make.purchases(count if turn else BATCH))
            best[name] = max(best[name], speed) if turn else 0.0
    return best


async def again(site: Site, erp: Odoo, make: Maker, count: int) -> None:
    """Look up what was recorded, page by page, as a job does whose expenses were exported before."""
    entries = make.purchases(count)
    await site.recording(erp)(entries)
    client = erp._client
    assert client is not None
    before, started, pages = client.requests_sent, time.perf_counter(), 0
    for start in range(0, count, BATCH):
        found = await erp.find([entry.accounting_entry_id for entry in entries[start : start + BATCH]])
        assert len(found) == len(entries[start : start + BATCH])
        pages += 1
    seconds = time.perf_counter() - started
    requests = client.requests_sent - before
    print(f"again over {count} recorded entries: {pages} look-ups of {requests / pages:g} requests, {seconds:.1f} s")


async def reading(site: Site, erp: Odoo, make: Maker, what: str) -> None:
    """How long reading the reference data and a page's look-up take, and how much memory the first one."""
    ids = [make.id() for _ in range(BATCH)]
    tracemalloc.start()
    started = time.perf_counter()
    await erp.load_reference()
    loaded = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    started = time.perf_counter()
    assert await erp.find(ids) == {}
    looked = time.perf_counter() - started
    print(f"{what}: reference data {loaded:.2f} s and {peak / 1e6:.1f} MB, a look-up of {BATCH} {looked * 1000:.0f} ms")


async def measure(entries: int, rounds: int, recorded: int, moves: int, partners: int) -> None:
    """Everything, as a table."""
    with OdooSession() as session, session.server() as server:
        site = Site(server)
        make = Maker(NAMES, str(uuid.uuid4()), Path())
        erp = await site.adapter()
        await reading(site, erp, make, "a new database")
        by_xml = await site.adapter(Protocol.XMLRPC)
        ways = {
            "bare load and post, in the same batches, by JSON-2": site.bare(erp, BATCH),
            "adapter by JSON-2": site.recording(erp),
            "bare load and post, in the same batches, by XML-RPC": site.bare(by_xml, BATCH),
            "adapter by XML-RPC": site.recording(by_xml),
            "bare create and post, one by one, by JSON-2": site.bare(erp, 1),
        }
        show(await compare(ways, make, entries, rounds))
        if recorded:
            await again(site, erp, make, recorded)
        if moves or partners:
            site.fill(moves, partners)
            await reading(site, erp, make, f"beside {moves} moves and {partners} partners")
            speed = await timed(site.recording(erp), make.purchases(entries))
            print(f"beside them the adapter records {speed:.0f} entries a second")
        await site.close()


def show(best: dict[str, float]) -> None:
    """The ways as a table, each beside the bare calls in batches by the same protocol."""
    bare = {name.rpartition(" ")[2]: speed for name, speed in best.items() if name.startswith("bare load")}
    print("| way | entries a second | of the bare load by the same protocol |\n| --- | ---: | ---: |")
    for name, speed in best.items():
        print(f"| {name} | {speed:.0f} | {speed / bare[name.rpartition(' ')[2]]:.2f} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=400, help="entries a round and way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", type=int, default=2000, help="entries that are looked up again (0: none)")
    parser.add_argument("--moves", type=int, default=0, help="moves that the database is filled with")
    parser.add_argument("--partners", type=int, default=0, help="partners that the database is filled with")
    given = parser.parse_args()
    asyncio.run(measure(given.entries, given.rounds, given.again, given.moves, given.partners))


if __name__ == "__main__":
    main()
