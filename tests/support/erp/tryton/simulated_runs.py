"""Runs that record the same expenses at the same time, every step of theirs and of the server's chosen by one seed.

A step is: the server takes up a call, or commits one; a run hears an answer, or wakes up. In between things go wrong:
calls are lost, runs stop waiting for answers while the server goes on, runs and the server are killed. Anything may
also stand still for a long time. Each step is followed by a look at what must always be true.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from blocks.erp.errors import ErpError, ErpOutcomeUnknown, ErpUnavailable, Refused
from blocks.erp.tryton.client import Row
from blocks.erp.tryton.records import Model, RecordKey, external_id, read_key
from tests.support.erp.tryton import simulated_server as server
from tests.support.erp.tryton.simulated_server import ATTACHMENT, Database, Overtaken, Stored, Transaction

MOST_STEPS = 60_000
MOST_RUNS_AFTER = 8
"""How often a writer may have to run again once nothing goes wrong any more."""

RECORDS = (Model.MOVE.value, Model.INVOICE.value)


class Violation(AssertionError):
    """Something that must always be true is not."""


class State(Enum):
    """Where a call is: on its way, taken up, or answered."""

    SENT = "sent"
    OPEN = "open"
    ANSWERED = "answered"


@dataclass(eq=False)
class Call:
    """A request and its answer. `later` is the step before which nothing happens to it."""

    transaction: Transaction
    changes: bool
    state: State = State.SENT
    answer: Any = None
    error: Exception | None = None
    later: int = 0

    def __await__(self) -> Iterator[Call]:
        """Give way to the world until it has been answered."""
        yield self
        if self.error is not None:
            raise self.error
        return self.answer


@dataclass(eq=False)
class Nap:
    """A run that waits."""

    later: int = 0

    def __await__(self) -> Iterator[Nap]:
        """Give way to the world until the time is over."""
        yield self


class SimulatedClient:
    """The calls of `TrytonClient` that recording makes."""

    base_url = "http://tryton.test"
    database = "sim"

    def __init__(self, world: World, by: str, *, can_batch: bool) -> None:
        self._world = world
        self._by = by
        self.can_batch = can_batch

    async def search(self, model: str, domain: Sequence[Any], fields: Sequence[str]) -> list[Row]:
        """The rows of a domain."""
        found: list[Row] = await self._ask(server.search(model, domain, fields), changes=False)
        return found

    async def create(self, model: str, values: Sequence[Row]) -> list[int]:
        """Rows of these values."""
        made: list[int] = await self._ask(server.create(model, values))
        return made

    async def create_large(self, model: str, values: Row) -> int:
        """One row."""
        return (await self.create(model, [values]))[0]

    async def write(self, model: str, id_: int, values: Row) -> None:
        """Change a row."""
        await self._ask(server.write(model, [(id_, values)], rest=True))

    async def delete(self, model: str, id_: int) -> None:
        """Delete a row."""
        await self._ask(server.delete(model, id_, rest=True))

    async def press(self, model: str, id_: int, button: str) -> None:
        """Post a row."""
        assert button == "post"
        await self._ask(server.post(model, [id_], rest=True))

    async def rpc(self, model: str, method: str, *arguments: Any, context: Mapping[str, Any] | None = None) -> Any:
        """The calls that only a user may make."""
        assert self.can_batch
        match method:
            case "post":
                return await self._ask(server.post(model, arguments[0], rest=False))
            case "write":
                pairs = [(ids[0], values) for ids, values in zip(arguments[::2], arguments[1::2], strict=True)]
                return await self._ask(server.write(model, pairs, rest=False))
            case "delete":
                (id_,) = arguments[0]
                timestamp = (context or {}).get("_timestamp", {}).get(external_id(model, id_))
                return await self._ask(server.delete(model, id_, timestamp, rest=False))
            case _:
                raise NotImplementedError(method)

    async def _ask(self, work: server.Work, *, changes: bool = True) -> Any:
        return await self._world.sent(Call(Transaction(self._world.database, work, self._by), changes))


Attempt = Callable[[SimulatedClient, "World"], Coroutine[Any, Any, dict[str, str | Refused]]]
"""One run of a writer: the external id that it reports for each expense, or why it is refused."""


@dataclass(eq=False)
class Writer:
    """A runner that runs until a run of it comes to its end."""

    name: str
    attempt: Attempt
    can_batch: bool
    runs: int = 0
    runs_in_peace: int = 0
    running: Coroutine[Any, Any, dict[str, str | Refused]] | None = None
    waits_for: Call | Nap | None = None
    outcome: dict[str, str | Refused] | None = None

    @property
    def run_name(self) -> str:
        """What its present run is known by."""
        return f"{self.name}.{self.runs}"


@dataclass
class Faults:
    """How many things may go wrong, and how likely at each step."""

    left: int = 0
    likely: float = 0.0
    stalls: float = 0.0
    """How likely it is that something stands still, for some hundred steps."""


@dataclass
class World:
    """All of it. `receipts` are the expenses whose records may count only with a receipt."""

    seed: int
    faults: Faults
    receipts: frozenset[str] = frozenset()
    writers: list[Writer] = field(default_factory=list)
    broken_off: set[str] = field(default_factory=set)
    """The runs that did not come to their end."""
    unanswered: list[Transaction] = field(default_factory=list)
    """Of the calls whose answer never came: whoever sent one may never know what it made, or when."""
    reports: dict[str, set[str]] = field(default_factory=dict)
    refusals: dict[str, list[Refused]] = field(default_factory=dict)
    steps: int = 0
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.database = Database(self._changed)
        self._calls: list[Call] = []
        self._counting: dict[RecordKey, set[str]] = {}

    def sent(self, call: Call) -> Call:
        """Put a call on its way."""
        self._calls.append(call)
        call.later = self.steps + self._stall()
        return call

    def nap(self, seconds: float) -> Nap:
        """What a run sleeps by: some steps, or very many."""
        return Nap(self.steps + self.random.randrange(30) + self._stall())

    def go_on(self) -> None:
        """Until every writer has its outcome, and every call its end."""
        while self._step():
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Violation(f"no end after {self.steps} steps")

    def counting(self, key: RecordKey) -> set[str]:
        """The records that count for this key of an expense's record."""
        return self._counting.get(key, set())

    def _stall(self) -> int:
        likely = self.faults.stalls if self.faults.left else 0.0
        return int(self.random.expovariate(1 / 150)) if self.random.random() < likely else 0

    def _step(self) -> bool:
        if self.faults.left and self.random.random() < self.faults.likely and self._go_wrong():
            self.faults.left -= 1
            return True
        possible = self._possible()
        if not possible:
            return False
        now = [act for later, act in possible if later <= self.steps]
        if not now:
            self.steps = min(later for later, _ in possible)
            return True
        self.random.choice(now)()
        return True

    def _possible(self) -> list[tuple[int, Callable[[], None]]]:
        found: list[tuple[int, Callable[[], None]]] = []
        for call in self._calls:
            if call.state is State.SENT:
                found.append((call.later, lambda call=call: self._take_up(call)))
            elif call.state is State.OPEN:
                found.append((call.later, lambda call=call: self._commit(call)))
        for writer in self.writers:
            waits = writer.waits_for
            if writer.running is None and writer.outcome is None:
                found.append((0, lambda writer=writer: self._start(writer)))
            elif isinstance(waits, Nap) or (isinstance(waits, Call) and waits.state is State.ANSWERED):
                found.append((waits.later, lambda writer=writer: self._resume(writer)))
        return found

    def _take_up(self, call: Call) -> None:
        call.transaction.begin()
        call.state, call.later = State.OPEN, self.steps + self._stall()

    def _commit(self, call: Call) -> None:
        try:
            if not call.transaction.commit():
                return
            call.answer, call.error = call.transaction.answer, call.transaction.refusal
        except Overtaken:
            call.error = ErpOutcomeUnknown("Tryton gives no readable answer")
        self._answered(call)

    def _answered(self, call: Call) -> None:
        call.state, call.later = State.ANSWERED, self.steps + self._stall()
        self._calls.remove(call)

    def _start(self, writer: Writer) -> None:
        if not self.faults.left:
            writer.runs_in_peace += 1
            if writer.runs_in_peace > MOST_RUNS_AFTER:
                raise Violation(f"{writer.name} comes to no end")
        writer.runs += 1
        client = SimulatedClient(self, writer.run_name, can_batch=writer.can_batch)
        writer.running = writer.attempt(client, self)
        self._resume(writer)

    def _resume(self, writer: Writer) -> None:
        assert writer.running is not None
        try:
            writer.waits_for = writer.running.send(None)
        except StopIteration as ended:
            writer.running, writer.waits_for, writer.outcome = None, None, ended.value
            self._reported(writer)
        except (ErpUnavailable, ErpOutcomeUnknown) as error:
            self._broken_off(writer, str(error))

    def _broken_off(self, writer: Writer, why: str) -> None:
        self.broken_off.add(writer.run_name)
        self._note(f"{writer.run_name} is broken off: {why}")
        writer.running, writer.waits_for = None, None

    def _go_wrong(self) -> bool:
        """Let something go wrong; False where there is nothing that could."""
        waiting = [one for one in self.writers if one.running is not None]
        if not waiting:
            return False
        writer = self.random.choice(waiting)
        what = self.random.random()
        if what < 0.45:
            return self._kill(writer)
        if what < 0.9:
            return self._no_answer(writer)
        return self._kill_server()

    def _kill(self, writer: Writer) -> bool:
        assert writer.running is not None
        writer.running.close()
        if isinstance(writer.waits_for, Call) and writer.waits_for.state is State.SENT and self.random.random() < 0.5:
            self._calls.remove(writer.waits_for)  # it did not get out any more
        self._broken_off(writer, "killed")
        return True

    def _no_answer(self, writer: Writer) -> bool:
        """The connection ends, or the run has waited long enough. The server may know nothing, or go on."""
        call = writer.waits_for
        if not isinstance(call, Call):
            return False
        if call.state is State.SENT and self.random.random() < 0.5:
            self._calls.remove(call)
        self._fails(writer, call)
        return True

    def _kill_server(self) -> bool:
        lost = [call for call in self._calls if call.state is State.OPEN or self.random.random() < 0.5]
        self._calls = [call for call in self._calls if call not in lost]
        for writer in self.writers:
            if isinstance(writer.waits_for, Call) and writer.waits_for in lost:
                self._fails(writer, writer.waits_for)
        self._note("the server is killed")
        return bool(lost)

    def _fails(self, writer: Writer, call: Call) -> None:
        self.unanswered.append(call.transaction)
        wrong: ErpError = ErpOutcomeUnknown("no answer") if call.changes else ErpUnavailable("no answer")
        assert writer.running is not None
        try:
            writer.waits_for = writer.running.throw(wrong)
        except (ErpUnavailable, ErpOutcomeUnknown) as error:
            self._broken_off(writer, str(error))

    def _changed(self, before: Stored | None, now: Stored | None) -> None:
        """Look at every row that changes, as soon as others see it."""
        row = now or before
        assert row is not None
        if row.model not in RECORDS:
            return
        name = external_id(row.model, row.id)
        self._note(f"{name}: {_shown(before)} -> {_shown(now)}")
        if counts(before) and not counts(now):
            raise Violation(f"{name} counted, and does not any more")
        if now is None or not counts(now):
            return
        key = _key(now)
        names = self._counting.setdefault(RecordKey(key.accounting_entry_id, key.role), set())
        names.add(name)
        if len(names) > 1:
            raise Violation(f"{sorted(names)} both count for {key}")
        if not now.values["lines"]:
            raise Violation(f"{name} counts without lines")
        if key.accounting_entry_id in self.receipts and str(key.role) == "main":
            hang = [one for one in self.database.of(ATTACHMENT) if one.values["resource"] == name]
            if not hang:
                raise Violation(f"{name} counts without its receipt")

    def _reported(self, writer: Writer) -> None:
        assert writer.outcome is not None
        for id_, told in writer.outcome.items():
            self._note(f"{writer.run_name} reports {told}")
            if isinstance(told, Refused):
                self.refusals.setdefault(id_, []).append(told)
                continue
            model, _, number = told.partition(",")
            row = self.database.rows.get((model, int(number)))
            if row is None or not counts(row):
                raise Violation(f"{writer.run_name} reports {told}, which does not count")
            names = self.reports.setdefault(id_, set())
            names.add(told)
            if len(names) > 1:
                raise Violation(f"{sorted(names)} are both reported for {id_}")

    def _note(self, text: str) -> None:
        self.history.append(f"{self.steps}: {text}")


def counts(row: Stored | None) -> bool:
    """Whether a row is the one that counts for its expense and part."""
    return row is not None and (row.values["state"] == "posted" or _key(row).claimed)


def _key(row: Stored) -> RecordKey:
    key = read_key(row.values["description"])
    assert key is not None, row
    return key


def _shown(row: Stored | None) -> str:
    return "nothing" if row is None else f"{row.values['state']} {row.values['description']}"
