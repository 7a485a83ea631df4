"""Some days of an export, every choice from one seed: first everything goes wrong, then nothing does.

python -m tests.survival.simulation.days SEED        shows the whole trace of a seed
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from blocks.erp.base import Writers
from blocks.erp.entries import EntryState
from blocks.erp.settings import AllFailedEvent, Attachments, ClosedPeriod, ErpSettings
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.auth import BearerAuth, FixedAuth, KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.pages import ExportItemsPage
from blocks.pleo.http.transport import Clock
from flows.outcome import RunReport
from flows.run import export_jobs
from flows.session import Session
from flows.steps import plain_steps
from flows.steps.fetch import PageKey
from tests.support.exporting import export_one
from tests.support.network import virtual_time
from tests.survival.simulation.erp import SimulatedErp, Trouble
from tests.survival.simulation.network import PleoWire, Process, Weather, clock, now
from tests.survival.simulation.pages import StoredPages
from tests.survival.simulation.people import People
from tests.survival.simulation.pleo import Habits, Job
from tests.survival.simulation.twin import Twin
from tests.survival.simulation.world import SANDBOX_COMPANY_ID, World

BASE_URL = "https://pleo.example"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing is downloaded, and a real one takes long to make
RUNS_TO_QUIET = 4
"""How many runs it may take, once nothing goes wrong any more, until every job is over."""

LONGEST_RUN_S = 6 * 3600.0
LONGEST_S = 400 * 3600.0
"""No simulation takes longer; one that does goes round in circles."""

HOT = (
    *("kills", "stops", "rivals", "settings", "acts", "refused updates", "bad answers", "pleo is away"),
    *("books are away", "unknown outcomes", "pauses", "refused entries", "revoked login", "slow books", "gaps"),
)
"""What may go wrong often."""


@dataclass(frozen=True)
class Setup:
    """What one run is set up with."""

    page_size: int = 100
    batch_size: int = 100
    max_entries: int = 50
    closes: bool = False
    settings: ErpSettings = field(default_factory=ErpSettings)


class Days:
    """A world with its runs. Beside the sandbox, only that happens to Pleo which can happen to both."""

    def __init__(self, seed: int, *, beside_the_sandbox: bool = False) -> None:
        self.seed = seed
        self.choose = choose = random.Random(f"days {seed}")
        self.dates = choose.random() < 0.7
        habits = Habits(
            page_cap=choose.choice([100, 100, 7, 3, 1]),
            cursor_counts=choose.random() < 0.2,
            expired_by_date_alone=choose.random() < 0.2,
            reading_prolongs=choose.random() < 0.2,
            a_minute=choose.choice([600, 600, 600, 600, 12, 40]),
            tells_retry_after=choose.random() < 0.5,
        )
        self.writers = choose.choice([Writers.HELD, Writers.ANY])
        self.world = World(seed, habits, self.writers)
        self.world.books.lag_s = choose.choice([0.0, 0.0, 0.0, 0.5, 20.0]) if self.writers is Writers.ANY else 0.0
        self.people = People(self.world, choose)
        self.setup = self._setup()
        self.pages: dict[PageKey, ExportItemsPage] = {}
        self.fetched: dict[PageKey, float] = {}
        self.processes: list[Process] = []
        self.calm = False
        self.uses_tokens = choose.random() < 0.3
        self.hot = set(choose.sample(HOT, choose.choice([1, 2, 2, 3, 3, 4, 6])))
        self.hot |= {what for what in ("kills", "rivals", "revoked login", "pleo is away") if choose.random() < 0.25}
        if beside_the_sandbox:
            self.hot -= {"acts", "refused updates"}
            self.world.pleo.habits = Habits(page_cap=habits.page_cap)
            self.world.twin = Twin(now, habits.page_cap, self.world.violate)
        """What happens often in this world; all at once would let no run come far."""
        self._usual_slow_s = 1.0 if "rivals" in self.hot else 0.05  # or one would be done before the other begins

    def _setup(self) -> Setup:
        choose = self.choose
        return Setup(
            page_size=choose.choice([100, 10, 4, 4, 2, 1]),
            batch_size=choose.choice([100, 5, 3, 1]),
            max_entries=choose.choice([50, 4, 1]),
            closes=choose.random() < 0.5,
            settings=ErpSettings(
                posting=choose.choice(list(EntryState)),
                closed_period=choose.choice(list(ClosedPeriod)),
                all_failed_event=choose.choice([AllFailedEvent.FAILED, AllFailedEvent.FAILED, *AllFailedEvent]),
                attachments=Attachments.SKIP,
            ),
        )

    # -- the whole ----------------------------------------------------------------------------------------------

    def play(self) -> World:
        """Let it happen; returns the world, whose `violations` tell what was wrong."""
        try:
            virtual_time.run(self._play(), longest_s=LONGEST_S)
        except virtual_time.Hangs as error:
            self.world.violations.append(str(error))
        finally:
            if self.world.twin is not None:
                self.world.twin.sandbox.close()
        return self.world

    async def _play(self) -> None:
        with suppress(_Enough):
            await self._turmoil()
            await self._quiet()
            await self._once_more()

    async def _turmoil(self) -> None:
        choose, world = self.choose, self.world
        expires_in = choose.choice([3600, 3600, 3600, 120, 86_400]) if world.twin is None else 3600
        for _ in range(choose.choice([1, 1, 1, 2, 3])):
            ids = [world.new_expense().id for _ in range(choose.choice([0, 1, 5, 9, 9, 14, 14, 23]))]
            world.press_export(ids, expires_in)
        runs: list[asyncio.Task[Any]] = []
        for _ in range(choose.choice([1, 2, 3, 4, 5])):
            if self._often("settings"):
                self._edit_settings()
            if not world.open_jobs() and choose.random() < 0.6:
                self.people.another_job()
            runs.append(self._start_a_run())
            if self._often("rivals"):  # the next one does not wait for this one
                await asyncio.sleep(choose.choice([0.0, 1.0, 3.0, 8.0, 60.0]) * choose.random())
                continue
            await self._end_of(runs[-1])
            gap_s = (
                choose.choice([1800.0, 7200.0, 90_000.0]) if self._often("gaps") else choose.choice([0.0, 1.0, 300.0])
            )
            await asyncio.sleep(gap_s * choose.uniform(0.5, 1.0))
        for run in runs:
            await self._end_of(run)

    async def _quiet(self) -> None:
        """Nothing goes wrong any more, so that a few runs bring every job to its end."""
        world = self.world
        self.calm = True
        world.note("from here on nothing goes wrong")
        world.pleo.refuse.clear()
        world.books.lag_s = 0.0
        world.pleo.habits = replace(world.pleo.habits, a_minute=600)
        for job in world.pleo.jobs.values():
            job.contra_missing = False
        await asyncio.sleep(self.choose.choice([30.0, 1000.0]))
        await self._runs_until_quiet()
        for job in world.pleo.jobs.values():
            if len(job.accepted) > 1 and job.id not in world.disputed | world.contested:
                world.figures["jobs ended by us"] += 1

    async def _runs_until_quiet(self) -> None:
        for n in range(RUNS_TO_QUIET + 1):
            if not self.world.open_jobs():
                self.world.figures[f"further runs: {n}"] += 1
                return
            await self._end_of(self._start_a_run())
            await asyncio.sleep(self.choose.choice([1.0, 300.0]))
        self.world.violate(f"{len(self.world.open_jobs())} jobs are still open after {RUNS_TO_QUIET} further runs")
        raise _Enough

    async def _once_more(self) -> None:
        """The user exports again whatever is not exported: what was booked is found, and the rest is booked."""
        world = self.world
        last = {id_: row.status for job in world.pleo.jobs.values() for id_, row in job.rows.items()}
        ids = [id_ for id_, status in last.items() if status != "successful"]
        if ids:
            job = world.press_export(ids)
            await self._runs_until_quiet()
            for id_ in ids:
                self._must_be_right(id_, job)
        for currency in ("DKK", "EUR"):
            entries = [one.entry for one in world.books.entries if one.entry.currency == currency]
            done = {id_ for job in world.pleo.jobs.values() for id_, row in job.rows.items() if row.said}
            booked = sum(entry.amount_minor for entry in entries if entry.accounting_entry_id in done)
            pleo = sum(world.books.of(id_)[0].entry.amount_minor for id_ in done if self._stands_in(id_, currency))
            world.must(booked == pleo, f"the books hold {booked} {currency}, and Pleo's expenses come to {pleo}")

    def _stands_in(self, id_: str, currency: str) -> bool:
        stands = self.world.books.of(id_)
        return bool(stands) and stands[0].entry.currency == currency

    def _must_be_right(self, id_: str, job: Job) -> None:
        """After a job in which nothing went wrong each expense is booked, or failed for what is wrong with it."""
        world, row, expense = self.world, job.rows[id_], self.world.expenses[id_]
        stands = world.books.of(id_)
        closed = self.setup.closes and world.pleo.items[id_]["date"].startswith("2026-09")
        closed = closed and self.setup.settings.closed_period is ClosedPeriod.FAIL
        booked = (stands[0].entry.currency, stands[0].entry.amount_minor) if stands else None
        if booked == (expense.now.currency, expense.now.minor):
            world.must(row.status == "successful", f"{id_} stands in the books and is {row.status}: {row.said}")
        elif booked is not None or not expense.sound or closed or id_ in world.books.hated:
            world.must(row.status == "failed", f"{id_} cannot be booked and is {row.status}")
        else:
            world.violate(f"{id_} could be booked and is {row.status}: {row.said}")

    # -- runs ---------------------------------------------------------------------------------------------------

    def _start_a_run(self) -> asyncio.Task[Any]:
        choose, world = self.choose, self.world
        name = f"r{len(self.processes) + 1}"
        process = Process(name, world.note, random.Random(f"{self.seed} {name}"), world.count)
        wrong = timedelta(hours=choose.choice([0, 0, 0, 7, -7]))
        jumps_at = clock() + choose.uniform(0.0, 100.0)
        process.offset = lambda: wrong if clock() < jumps_at else -wrong
        self.processes.append(process)
        weather, trouble = self._weather(), self._trouble()
        if not self.calm:
            loop = asyncio.get_running_loop()
            if self._often("kills"):
                process.fuse = choose.randint(1, 12 + 5 * sum(job.count("pending") for job in world.open_jobs()))
            if self._often("stops"):
                loop.call_later(choose.choice([1.0, 5.0, 60.0]) * choose.random(), self._ask_to_stop, process)
            if self._often("acts"):
                for _ in range(choose.randint(1, 3)):
                    loop.call_later(
                        choose.choice([0.5, 5.0, 60.0, 400.0]) * choose.random(), self._act, self.people.any
                    )
            if self._often("refused updates"):
                loop.call_later(choose.random(), self._act, self.people.refuse_updates)
        world.note(f"{name} starts: {weather}, {trouble}")
        return process.start(self._run(process, weather, trouble))

    async def _end_of(self, run: asyncio.Task[Any]) -> None:
        done, _ = await asyncio.wait([run], timeout=LONGEST_RUN_S)
        if not done:
            self.world.violate(f"a run has not ended after {LONGEST_RUN_S / 3600} hours")
        elif not run.cancelled() and (error := run.exception()) is not None:
            self.world.violate(f"a run ended with {type(error).__name__}: {error}")
        if self.world.violations:
            raise _Enough

    def _ask_to_stop(self, process: Process) -> None:
        if not process.dead:
            self.world.note(f"{process.name} is asked to end")
            process.stop.request(signal.SIGTERM)

    async def _run(self, process: Process, weather: Weather, trouble: Trouble) -> None:
        world, setup = self.world, self.setup
        stop, report = process.stop, RunReport()
        client_clock = Clock(clock, process.now, stop.sleep, process.choose.random, stop.limit)
        wire = PleoWire(process, weather, world.answer, world.sent, world.heard, dates=self.dates)
        auth = self._credentials()
        erp = SimulatedErp(world.books, process, trouble, closes=setup.closes, max_entries=setup.max_entries)
        steps = plain_steps(StoredPages(process, self.pages, self.fetched))
        async with (
            PleoClient(BASE_URL, auth, page_size=setup.page_size, clock=client_clock, transport=wire) as pleo,
            FileClient(BASE_URL, clock=client_clock, tls=NO_TLS) as files,
        ):
            session = Session(
                pleo,
                files,
                erp,
                steps,
                stop,
                settings=setup.settings,
                update_batch_size=setup.batch_size,
                clock=clock,
            )
            await export_jobs(session, report, export_one, company_id=SANDBOX_COMPANY_ID, job_id=None)
        if not process.dead:
            world.ended(process, report)

    def _credentials(self) -> FixedAuth:
        """An API key, or an access token that lives for a quarter of an hour."""
        allowed = self.world.pleo.authorizations
        if not self.uses_tokens:
            auth: FixedAuth = KeyAuth("a-key")
            allowed.add(auth.header)
            return auth
        token = f"token-{len(self.processes)}"
        auth = BearerAuth(token)
        allowed.add(auth.header)
        asyncio.get_running_loop().call_later(900.0, allowed.discard, auth.header)
        return auth

    # -- what goes wrong ----------------------------------------------------------------------------------------

    def _often(self, what: str) -> bool:
        """Whether it happens now: mostly where it is hot, hardly ever where it is not, never when all is calm."""
        seldom = 0.0 if self.world.twin is not None else 0.02
        return not self.calm and self.choose.random() < (0.75 if what in self.hot else seldom)

    def _weather(self) -> Weather:
        choose, away = self.choose, (0.0, 0.0)
        if self._often("pleo is away"):
            start = clock() + choose.choice([0.0, 1.0, 5.0, 60.0]) * choose.random()
            away = (start, start + choose.choice([10.0, 50.0, 100.0, 200.0, 1000.0]))
        trouble = choose.choice([0.05, 0.2]) if self._often("bad answers") else 0.0
        return Weather(trouble, away, choose.choice(["", "PUT", "PUT", "PUT", "POST"]))

    def _trouble(self) -> Trouble:
        if self.calm:
            return Trouble()
        choose = self.choose
        away, revoked_at = (0.0, 0.0), float("inf")
        if self._often("books are away"):
            start = clock() + choose.choice([0.0, 1.0, 10.0, 60.0]) * choose.random()
            away = (start, start + choose.choice([3.0, 40.0, 100.0, 2000.0]))
        if self._often("revoked login"):
            revoked_at = clock() + choose.choice([0.0, 2.0, 2.0, 10.0, 60.0]) * choose.random()
        return Trouble(
            unavailable=choose.choice([0.03, 0.2]) if self._often("books are away") else 0.0,
            unknown=choose.choice([0.05, 0.3]) if self._often("unknown outcomes") else 0.0,
            limited=choose.choice([0.02, 0.1]) if self._often("pauses") else 0.0,
            refused=choose.choice([0.1, 0.9]) if self._often("refused entries") else 0.0,
            pauses_s=choose.choice([(None, 5.0, 40.0), (200.0, 5.0), (900.0,), (99_999.0, 5.0)]),
            revoked_at=revoked_at,
            away=away,
            slow_s=choose.choice([1.0, 10.0, 30.0]) if self._often("slow books") else self._usual_slow_s,
        )

    def _edit_settings(self) -> None:
        self.setup = self._setup()
        self.world.note(f"the settings are edited: {self.setup}")

    def _act(self, what: Callable[[], None]) -> None:
        if not self.calm:
            what()


class _Enough(Exception):
    """There is a violation: no need to go on."""


def tell(world: World, seed: int) -> str:
    """What was wrong with a seed, how it came about, and how to see it again."""
    lines = [*world.violations[:5], "", *world.trace[-60:], ""]
    return "\n".join([*lines, f"replay: python -m tests.survival.simulation.days {seed}"])


if __name__ == "__main__":
    logging.disable()
    played = Days(int(sys.argv[1])).play()
    print("\n".join(played.trace))
    print("\n".join(["", *(played.violations or ["all is well"])]))
