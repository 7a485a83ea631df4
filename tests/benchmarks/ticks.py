"""What runs that find nothing to do leave in Prefect's database: a tick, the same days later, and a year of ticks.

    python -m tests.benchmarks.ticks                         # 50 ticks under a worker, and a year made of them
    python -m tests.benchmarks.ticks --no-year
    python -m tests.benchmarks.ticks --code FOLDER           # the ticks of another version, checked out in FOLDER

A tick is a run of the deployment under a worker of a process pool, with a Pleo that has no job; there is one every
quarter of an hour. Rows and bytes are those of the server's SQLite database with its indexes, after VACUUM. Two days
later means that what the ticks left is made so old, and that runs go on. A year is loaded from the measured rows, with
ids and times of its own, less what the export itself has deleted by then; then a real server of Prefect's clears it up.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.processes import KEY, ROOT, prefect_server, sandbox

YEAR = 365 * 24 * 4
QUARTER = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(days=2)
EVENTS_KEPT = timedelta(days=7)
RETENTION_DAYS = 30
AT_ONCE = 50  # so many old runs are deleted by one run at the most
_UUID = re.compile(r"[0-9a-f]{8}(?=(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_MARK = "\x01"


@dataclass
class Left:
    """What stands in the database: rows and bytes, by table."""

    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def __sub__(self, other: Left) -> Left:
        return Left(
            {table: many - other.rows.get(table, 0) for table, many in self.rows.items()},
            {table: many - other.bytes.get(table, 0) for table, many in self.bytes.items()},
        )

    def show(self, title: str, ticks: int = 1) -> None:
        """A line for each table that has grown, by the tick."""
        print(f"{title:<46} {'rows':>10} {'kB':>10}")
        for table, rows in sorted(self.rows.items()):
            if rows:
                print(f"    {table:<42} {rows / ticks:>10.1f} {self.bytes.get(table, 0) / ticks / 1000:>10.1f}")
        total = sum(self.rows.values()) / ticks, sum(self.bytes.values()) / ticks / 1000
        print(f"    {'in all':<42} {total[0]:>10.1f} {total[1]:>10.1f}", flush=True)


def left_in(database: Path, without: dict[str, set[str]] | None = None) -> Left:
    """What stands in a database that nobody writes to; of each table without the rows with these ids."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        _copy(database, copy)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            for table, ids in (without or {}).items():
                connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(id_,) for id_ in ids])
            connection.execute("VACUUM")
            names = "SELECT name, tbl_name FROM sqlite_master"
            table_of = dict(connection.execute(names).fetchall())
            sizes: dict[str, int] = {}
            for name, size in connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"):
                table = table_of.get(name, name)
                sizes[table] = sizes.get(table, 0) + size
            rows = {table: _count(connection, table) for table in _tables(connection)}
    return Left(rows, sizes)


def _copy(database: Path, to: Path) -> None:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", (str(to),))


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    return [name for (name,) in found.fetchall()]


def _count(connection: sqlite3.Connection, table: str) -> int:
    found: int = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
    return found


def _ids(database: Path) -> dict[str, set[str]]:
    """The ids of all rows, by table."""
    with closing(sqlite3.connect(database)) as connection:
        return {
            table: {id_ for (id_,) in connection.execute(f'SELECT id FROM "{table}"')}
            for table in _tables(connection)
            if any(column[1] == "id" for column in connection.execute(f'PRAGMA table_info("{table}")'))
        }


def _times(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns that hold a moment."""
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    return [one[1] for one in columns if one[2] in ("DATETIME", "TIMESTAMP") and one[1] != "total_run_time"]


def _later(column: str, shift: str) -> str:
    """A moment moved by whole seconds; its microseconds, which SQLite's functions would cut off, stay."""
    return f"strftime('%Y-%m-%d %H:%M:%S', substr({column}, 1, 19), {shift}) || substr({column}, 20)"


def make_older(database: Path, ids: dict[str, set[str]], by: timedelta) -> None:
    """Move all moments of these rows back; nobody else has the database open."""
    with closing(sqlite3.connect(database)) as connection:
        for table, of_table in ids.items():
            times = _times(connection, table)
            if times and of_table:
                moved = ", ".join(f"{column} = {_later(column, '?1')}" for column in times)
                shift = f"{-by.total_seconds():.0f} seconds"
                connection.executemany(f"UPDATE {table} SET {moved} WHERE id = ?2", [(shift, id_) for id_ in of_table])
        connection.commit()


# -- real ticks -------------------------------------------------------------------------------------------------------


class Ticks:
    """A deployment under a worker, whose runs find no job."""

    def __init__(self, home: Path, code: Path, pleo_url: str) -> None:
        self.home, self._code, self._pleo_url = home, code, pleo_url
        self.database = home / "prefect.db"
        self._deployment = ""

    @contextmanager
    def at_work(self) -> Iterator[Callable[[], datetime]]:
        """Yields what makes one tick: it returns when it began, once the run has ended."""
        with prefect_server(self.home) as api_url, httpx.Client(base_url=api_url, trust_env=False, timeout=60) as ask:
            self._deployment = self._deployment or self._deploy(ask)
            environment = {
                **os.environ, "PREFECT_HOME": str(self.home), "PREFECT_API_URL": api_url,
                "PREFECT_WORKER_QUERY_SECONDS": "1",
            }  # fmt: skip
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pleo-export", "--limit", "4"]
            with (self.home / "worker.log").open("ab") as log:
                worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.home)
            try:
                yield lambda: self._tick(ask)
            finally:
                worker.terminate()
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(30)
                worker.kill()
                worker.wait()

    def _deploy(self, ask: httpx.Client) -> str:
        ask.post("/work_pools/", json={"name": "pleo-export", "type": "process"}).raise_for_status()
        flow = ask.post("/flows/", json={"name": "pleo-export"}).raise_for_status().json()["id"]
        variables = {
            "working_dir": str(self._code),
            "env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", "PLEO_BASE_URL": self._pleo_url, "PLEO_API_KEY": KEY},
        }
        deployment = {
            "name": "pleo-export", "flow_id": flow, "work_pool_name": "pleo-export", "pull_steps": [],
            "entrypoint": "flows.export.export", "parameters": {"ledger": str(self.home / "books.sqlite")},
            "job_variables": variables, "tags": ["pleo", "export"],
        }  # fmt: skip
        return str(ask.post("/deployments/", json=deployment).raise_for_status().json()["id"])

    def _tick(self, ask: httpx.Client) -> datetime:
        began = datetime.now(UTC)
        path = f"/deployments/{self._deployment}/create_flow_run"
        run = _answered(lambda: ask.post(path, json={"state": {"type": "SCHEDULED"}}))
        while True:
            run = _answered(partial(ask.get, f"/flow_runs/{run['id']}"))
            if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                break
            time.sleep(0.3)
        if run["state_type"] != "COMPLETED":
            raise SystemExit(f"a tick ended as {run['state_name']}: {run['state'].get('message')}")
        return began

    def until_quiet(self) -> None:
        """Wait until nothing comes any more: workers and servers write what they know some seconds later."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 8:
            time.sleep(1)
            with closing(sqlite3.connect(self.database, timeout=60)) as connection:
                now = sum(_count(connection, table) for table in ("events", "log", "flow_run_state", "task_run_state"))
            if now != seen:
                seen, since = now, time.monotonic()


def _answered(call: Callable[[], httpx.Response]) -> Any:
    """What the server answers, which has nothing done where it says that its database is busy."""
    while (answer := call()).status_code == httpx.codes.SERVICE_UNAVAILABLE:
        time.sleep(0.3)
    return answer.raise_for_status().json()


@dataclass
class Measured:
    """Ticks that were made: the database without and with them, the ids of what they left, when each began."""

    base: Path
    after: Path
    ids: dict[str, set[str]]
    began: list[datetime]
    lasting: set[str] = field(default_factory=set)
    """The tables that still have something of them two days and some runs later."""


def make_ticks(ticks: Ticks, many: int, folder: Path) -> Measured:
    """Some ticks after a first one, which makes what all of them share."""
    base, after = folder / "base.db", folder / "after.db"
    with ticks.at_work() as tick:
        for _ in range(2):
            tick()
        ticks.until_quiet()
        _copy(ticks.database, base)
        started = time.monotonic()
        began = [tick() for _ in range(many)]
        seconds = (time.monotonic() - started) / many
        ticks.until_quiet()
        _copy(ticks.database, after)
    known = _ids(base)
    ids = {table: found - known.get(table, set()) for table, found in _ids(after).items()}
    (left_in(after) - left_in(base)).show(f"a tick, of {many} ({seconds:.1f} s each)", many)
    return Measured(base, after, {table: found for table, found in ids.items() if found}, began)


def look_later(ticks: Ticks, measured: Measured, folder: Path) -> None:
    """What of the ticks is there two days later, when other runs have come, and when events are a week old."""
    many = len(measured.began)
    make_older(ticks.database, measured.ids, FORGOTTEN_AFTER + timedelta(hours=1))
    with ticks.at_work() as tick:
        for _ in range(3 + many // AT_ONCE):  # one that has no time left leaves some to the next
            tick()
        ticks.until_quiet()
        later = folder / "later.db"
        _copy(ticks.database, later)
    left = _of_the_ticks(later, measured)
    measured.lasting = {table for table, rows in left.rows.items() if rows}
    left.show("the same tick two days and some runs later", many)
    make_older(ticks.database, measured.ids, EVENTS_KEPT)
    with prefect_server(ticks.home):
        _until_deleted(ticks.database, "events", "occurred", EVENTS_KEPT)
    _of_the_ticks(ticks.database, measured).show("the same tick after nine days", many)


def _of_the_ticks(database: Path, measured: Measured) -> Left:
    """What of the measured ticks a database still has."""
    others = {table: found - measured.ids.get(table, set()) for table, found in _ids(database).items()}
    all_of_it = {table: found for table, found in _ids(database).items() if table in measured.ids}
    return left_in(database, {table: others[table] for table in all_of_it}) - left_in(database, all_of_it)


def _until_deleted(database: Path, table: str, column: str, kept: timedelta) -> float:
    """Wait until a server has deleted what is older; returns how long it took, in seconds."""
    started = time.monotonic()
    question = f"SELECT count(*) FROM {table} WHERE {column} < ?"
    while True:
        limit = (datetime.now(UTC) - kept).strftime("%Y-%m-%d %H:%M:%S")
        with closing(sqlite3.connect(database, timeout=120)) as connection:
            if not connection.execute(question, (limit,)).fetchone()[0]:
                return time.monotonic() - started
        if time.monotonic() - started > 3600:
            raise SystemExit(f"old rows of {table} stay")
        time.sleep(2)


# -- a year of them ---------------------------------------------------------------------------------------------------


def load_a_year(measured: Measured, year: Path) -> None:
    """A database with a tick every quarter of an hour for a year, each like one of those that were measured."""
    shutil.copy(measured.base, year)
    ticks = len(measured.began)
    now = datetime.now(UTC)
    shifts = []
    for number in range(YEAR):
        due = now - (YEAR - number) * QUARTER
        began = measured.began[number % ticks]
        shifts.append((number, number % ticks, f"{(due - began).total_seconds():.0f} seconds"))
    with closing(sqlite3.connect(year, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;")
        connection.execute("CREATE TEMP TABLE due (n INTEGER, tick INTEGER, shift TEXT)")
        connection.executemany("INSERT INTO due VALUES (?, ?, ?)", shifts)
        indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > ''").fetchall()
        for name, _ in indexes:
            connection.execute(f'DROP INDEX "{name}"')
        for table in measured.ids:
            lasts = table in ("events", "event_resources") or table in measured.lasting
            first = 0 if lasts else YEAR - FORGOTTEN_AFTER // QUARTER
            connection.execute("BEGIN")
            _load(connection, table, measured, first)
            connection.execute("COMMIT")
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute("PRAGMA journal_mode = WAL")


def _load(connection: sqlite3.Connection, table: str, measured: Measured, first: int) -> None:
    every = set[str]().union(*measured.ids.values())
    with closing(sqlite3.connect(measured.after)) as source:
        found = source.execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in found.description]
        id_, moment = columns.index("id"), columns.index("occurred" if "occurred" in columns else "created")
        rows = [row for row in found if row[id_] in measured.ids[table]]
    starts = [f"{began:%Y-%m-%d %H:%M:%S.%f}" for began in measured.began]
    marked = [
        (*(_marked(value, every) for value in row), max(0, bisect_right(starts, row[moment]) - 1)) for row in rows
    ]
    connection.execute(f"CREATE TEMP TABLE like_{table} ({', '.join(columns)}, of_tick)")
    connection.executemany(f"INSERT INTO like_{table} VALUES ({', '.join('?' * (len(columns) + 1))})", marked)
    times = _times(connection, table)
    new = [
        _later(column, "shift")
        if column in times
        else f"replace({column}, char(1), printf('%08x', n))"
        if any(isinstance(row[number], str) and _MARK in row[number] for row in marked)
        else column
        for number, column in enumerate(columns)
    ]
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(new)} FROM temp.due "
        f"JOIN temp.like_{table} ON of_tick = tick WHERE n >= ? ORDER BY n",
        (first,),
    )


def _marked(value: Any, ids: set[str]) -> Any:
    """The value, with a mark where an id begins that is a tick's own."""
    if not isinstance(value, str):
        return value
    return _UUID.sub(lambda found: _MARK if value[found.start() : found.start() + 36] in ids else found.group(), value)


def show_a_year(measured: Measured, folder: Path) -> None:
    """The year as it stands, after the server's own clearing up, and after what the retention command has it do."""
    home = folder / "year"
    home.mkdir()
    database = home / "prefect.db"
    load_a_year(measured, database)
    base = left_in(measured.base)
    (left_in(database) - base).show(f"a year, {YEAR} ticks, nothing cleared up by Prefect")
    with prefect_server(home):
        took = _until_deleted(database, "events", "occurred", EVENTS_KEPT)
    (left_in(database) - base).show(f"the year on a server of Prefect's ({took:.0f} s)")
    command = [sys.executable, str(ROOT / "deployments" / "retention.py"), "--days", str(RETENTION_DAYS)]
    subprocess.run(command, env={**os.environ, "PREFECT_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
    with prefect_server(home):
        took = _until_deleted(database, "flow_run", "end_time", timedelta(days=RETENTION_DAYS))
        took += _until_deleted(database, "log", "timestamp", timedelta(days=RETENTION_DAYS))
    (left_in(database) - base).show(f"after retention.py --days {RETENTION_DAYS} ({took:.0f} s)")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=50)
    parser.add_argument("--code", type=Path, default=ROOT, help="the folder of the version whose ticks are measured")
    parser.add_argument("--year", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, sandbox(0, jobs=0) as pleo_url:
        folder = Path(name)
        ticks = Ticks(folder / "home", options.code.resolve(), pleo_url)
        measured = make_ticks(ticks, options.ticks, folder)
        look_later(ticks, measured, folder)
        if options.year:
            show_a_year(measured, folder)


if __name__ == "__main__":
    main()
