"""A whole world of the export: Pleo, the books, users and runs; and an observer who looks at every step of it.

After each request to Pleo and each write to the books that must be true which is always true. Whatever is not becomes a
`violation`, with the trace of how it came to be.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blocks.erp.base import Writers
from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from flows.outcome import Ending, JobReport, RunReport
from tests.support.pleo.pleo_items import an_item, payable
from tests.survival.simulation.erp import SimulatedBooks, Stored
from tests.survival.simulation.network import Process, clock, now
from tests.survival.simulation.pleo import FINAL, OPEN, Habits, Job, Json, Reply, SimulatedPleo
from tests.survival.simulation.twin import Twin

FINAL_EVENTS = ("completed", "completed_with_errors", "failed")
LATE_FAILURES = {"accounting_system_authentication_failure", "accounting_system_rate_limit", "missing_configuration"}
"""Why items may be told as failed although they stand in the books: nobody could look any more."""


@dataclass
class Money:
    """What an expense amounts to, in minor units with its sign."""

    currency: str
    minor: int


@dataclass
class Expense:
    """An expense in Pleo: its amount now and all that it ever had."""

    id: str
    now: Money
    sound: bool
    """Whether bookkeeping can make an entry of it."""
    shown: list[tuple[str, int]] = field(default_factory=list)


class World:
    """Everything there is, from one seed."""

    def __init__(self, seed: object, habits: Habits, writers: Writers) -> None:
        self.choose = random.Random(f"world {seed}")
        self.trace: list[str] = []
        self.violations: list[str] = []
        self.expenses: dict[str, Expense] = {}
        self.pleo = SimulatedPleo(now, habits)
        self.books = SimulatedBooks(writers, self._written)
        self.disputed: set[str] = set()
        """Jobs of which two runs told different ends of an item: the later one stands, and neither can know."""
        self.contested: set[str] = set()
        """Jobs that somebody else ended, or took something out of."""
        self.figures: Counter[str] = Counter()
        self.twin: Twin | None = None

    # -- what is said and seen ----------------------------------------------------------------------------------

    def note(self, what: str) -> None:
        """Write down what happens."""
        self.trace.append(f"{clock():11.3f}  {what}")

    def count(self, what: str) -> None:
        """Count what happened, to know what is tried at all."""
        self.figures[what] += 1

    def violate(self, what: str) -> None:
        """Something is as it must never be."""
        self.note(f"VIOLATION: {what}")
        self.violations.append(what)

    def must(self, condition: bool, what: str) -> None:
        """State what must be true."""
        if not condition:
            self.violate(what)

    # -- users --------------------------------------------------------------------------------------------------

    def new_expense(self) -> Expense:
        """An expense that is approved and waits for its export."""
        choose = self.choose
        id_ = str(uuid.UUID(int=choose.getrandbits(128), version=4))
        currency = choose.choice(["DKK", "DKK", "EUR"])
        minor = choose.choice([0, 1, -250, 12_345, choose.randrange(1, 10**9), 2**53 + 1])
        expense = Expense(id_, Money(currency, minor), sound=choose.random() < 0.93)
        self.expenses[id_] = expense
        self.show(expense)
        return expense

    def show(self, expense: Expense) -> None:
        """Have Pleo show an expense as it is now."""
        money = expense.now
        number = len(self.expenses)
        kind = "card_purchase" if expense.sound else "unheard_of"
        make = payable if number % 5 == 0 and expense.sound else an_item
        day = f"2026-{9 if number % 7 == 0 else 10:02d}-{number % 28 + 1:02d}T10:00:00Z"
        item = make(number, value=money.minor, currency=money.currency, type=kind, date=day)
        item["accountingEntryId"] = expense.id
        self.pleo.items[expense.id] = item
        expense.shown.append((money.currency, money.minor))

    def press_export(self, ids: list[str], expires_in: int = 3600) -> Job:
        """A new job of these expenses."""
        job_id = str(uuid.UUID(int=self.choose.getrandbits(128), version=4))
        self.note(f"a user exports {len(ids)} expenses: job {job_id[:8]}")
        if self.twin is not None:
            self.twin.press_export(job_id, [self.pleo.items[id_] for id_ in ids])
        return self.pleo.add_job(job_id, SANDBOX_COMPANY_ID, ids, expires_in)

    def is_locked(self, id_: str) -> bool:
        """Whether an expense waits in an open job, and so cannot be changed."""
        return any(id_ in job.rows and job.is_open for job in self.pleo.jobs.values())

    def open_jobs(self) -> list[Job]:
        """The jobs that are not over."""
        self.pleo.expire()
        return [job for job in self.pleo.jobs.values() if job.is_open]

    # -- what must always be true -------------------------------------------------------------------------------

    def _written(self, stored: Stored) -> None:
        entry = stored.entry
        id_ = entry.accounting_entry_id
        self.note(f"{stored.by}: {stored.external_id} is made for {id_[:8]}")
        self.figures["entries"] += 1
        self.must(len(self.books.of(id_)) == 1, f"{id_} has {len(self.books.of(id_))} entries")
        expense = self.expenses.get(id_)
        if expense is None:
            self.violate(f"{id_} is no expense")
            return
        self.must(expense.sound, f"{id_} cannot be booked and was")
        self.must((entry.currency, entry.amount_minor) in expense.shown, f"{id_} never had the amount of its entry")
        self.must(entry.difference_minor == 0, f"{stored.external_id} does not balance")

    def sent(self, process: Process, method: str, path: str, body: Any) -> None:
        """A request of that process leaves it."""
        self.figures["requests"] += 1
        job_id = _job_of(path, body)
        if method == "PUT" and job_id is not None:
            for update in body:
                self._about_to_tell(process, job_id, update)
        if method == "POST" and body["event"] in FINAL_EVENTS:
            doubt = process.doubt.get(body["jobId"], {})
            self.must(
                not doubt, f"{process.name} ends {body['jobId'][:8]} while {len(doubt)} of its updates are in doubt"
            )
            process.ended.add(body["jobId"])

    def _about_to_tell(self, process: Process, job_id: str, update: Json) -> None:
        id_ = update["accountingEntryId"]
        self.must(update["status"] in FINAL, f"{id_} is told to be {update['status']}")
        self.must(id_ not in process.seen_final.get(job_id, ()), f"{process.name} tells again of {id_}, final already")
        acknowledged = id_ in process.acknowledged.get(job_id, ())
        self.must(not acknowledged, f"{process.name} tells again of {id_}, which Pleo has acknowledged")
        process.told.setdefault(job_id, {})[id_] = update
        process.amounts[job_id, id_] = (self.expenses[id_].now.currency, self.expenses[id_].now.minor)
        process.doubt.setdefault(job_id, {})[id_] = update

    def answer(
        self, process: Process, method: str, path: str, query: list[tuple[str, str]], body: Any, auth: str
    ) -> Reply:
        """Have Pleo carry out a request, and look at what it did."""
        expired = self.pleo.expire()
        for job in expired:
            self.note(f"job {job.id[:8]} has expired")
            self.figures["expired jobs"] += 1
        job_id = _job_of(path, body)
        job = self.pleo.jobs.get(job_id or "")
        before = {row.id: (row.status, row.by) for row in job.rows.values()} if job is not None else {}
        taken = len(job.accepted) if job is not None else 0
        reply = self.pleo.answer(method, path, query, body, auth, process.name)
        if self.twin is not None:
            self.twin.compare(method, path, query, body, reply)
        what = f" {body['event']}" if method == "POST" else f" of {len(body)}" if method == "PUT" else ""
        dead = " (dead)" if process.dead else ""
        self.note(f"{process.name}{dead}: {method} {_short(path)}{what} -> {reply.status}")
        if job is not None and method == "GET" and path.endswith("/items") and "after" not in dict(query):
            process.looked_at[job.id] = now()
        if job is not None and reply.status == 200 and method == "PUT":
            self._updated(process, job, before, body)
        if job is not None and len(job.accepted) > taken:
            self._event(process, job, body["event"])
        return reply

    def _updated(self, process: Process, job: Job, before: Mapping[str, tuple[str, str]], updates: list[Json]) -> None:
        for update in updates:
            row = job.rows.get(update["accountingEntryId"])
            if row is None or row.by != process.name:
                continue
            was, by = before[row.id]
            if was in FINAL and was != row.status and by != process.name:
                self.disputed.add(job.id)
                self.note(f"{row.id[:8]} was {was} by {by} and is {row.status} by {process.name}")
            self._told(job, update)

    def _told(self, job: Job, update: Json) -> None:
        id_ = update["accountingEntryId"]
        stands = self.books.of(id_)
        if update["status"] == "successful":
            if not stands:
                self.violate(f"{id_} is reported successful and does not exist")
                return
            one = stands[0]
            self.must(update.get("externalId") == one.external_id, f"{id_} is reported with a wrong external id")
            self.must(bool(update.get("externalUrl")) and "exportedAt" in update, f"{id_} is reported without its link")
            money = self.expenses[id_].now
            self.must(
                (one.entry.currency, one.entry.amount_minor) == (money.currency, money.minor),
                f"{id_} is reported successful with another amount in the books",
            )
            return
        reason, type_ = update.get("failureReason"), update.get("failureReasonType")
        self.must(bool(reason) and bool(type_), f"{id_} failed without a reason")
        named = stands and any(one.external_id in str(reason) for one in stands)
        if stands and stands[0].seen_from <= clock() and not named and type_ not in LATE_FAILURES:
            self.figures["told failed though it stands"] += 1
            self.note(f"{id_[:8]} stands as {stands[0].external_id} and is told to be failed: {type_}")

    def _event(self, process: Process, job: Job, event: str) -> None:
        self.figures[event] += 1
        if event == "started":
            process.looked_at[job.id] = now()
            return
        finals = [name for name, _ in job.accepted if name in FINAL_EVENTS]
        self.must(len(finals) == 1, f"job {job.id} has the final events {finals}")
        left = job.count("abandoned") + sum(job.count(status) for status in OPEN)
        good, bad = job.count("successful"), job.count("failed")
        self.note(f"job {job.id[:8]} ends with {good} successful, {bad} failed, {left} never told")
        if job.id in self.disputed:
            self.figures["disputed jobs"] += 1
            return
        if event == "failed" and not good and not bad:
            self.figures["jobs failed as a whole"] += 1
            return  # the job could not be done as things are set up, and nothing was
        finals_at = [row.told_at for row in job.rows.values() if row.status in FINAL]
        looked_at = process.looked_at.get(job.id, float("inf"))
        if event == "failed" and not process.told.get(job.id) and all(at >= looked_at for at in finals_at):
            self.figures["failed as a whole beside a rival"] += 1  # whose work nobody could see: Pleo has no locks
            return
        self.must(left == 0, f"job {job.id} was ended as {event} with {left} items open")
        self.must((event == "completed") == (bad == 0), f"job {job.id} was {event} with {bad} failed items")
        self.must(event != "failed" or good == 0, f"job {job.id} failed with {good} successful items")
        self.must(event != "completed_with_errors" or bad > 0, f"job {job.id} has no errors")

    def heard(self, process: Process, method: str, path: str, body: Any, reply: Reply) -> None:
        """An answer reaches that process, whole."""
        job_id = _job_of(path, body)
        if reply.status != 200 or job_id is None:
            return
        doubt = process.doubt.get(job_id, {})
        if method == "PUT":
            for row in reply.document["data"]:
                if doubt.get(row["accountingEntryId"], {}).get("status") == row["status"]:
                    doubt.pop(row["accountingEntryId"])
                    process.acknowledged.setdefault(job_id, set()).add(row["accountingEntryId"])
        elif path.endswith("/items"):
            told = process.told.get(job_id, {})
            for row in reply.document["data"]:
                id_ = row["accountingEntryId"]
                if id_ not in told and row["status"] not in OPEN:
                    process.seen_final.setdefault(job_id, set()).add(id_)
                elif id_ in doubt and _as_told(row, doubt[id_]):
                    doubt.pop(id_)

    def ended(self, process: Process, report: RunReport) -> None:
        """A run came to its own end: what it says must be what is."""
        for job in report.jobs:
            self._report(process, self.pleo.jobs[job.job_id], job)
        lines = "; ".join(report.lines)
        endings = ", ".join(f"{job.job_id[:8]} {job.ending} ({job.reason})" for job in report.jobs)
        self.note(f"{process.name} ends: {endings or 'no job'}; {lines}")
        tasks = [task for task in process.tasks if not task.done()]
        self.must(len(tasks) <= 1, f"{process.name} leaves {len(tasks) - 1} tasks behind")

    def _report(self, process: Process, job: Job, report: JobReport) -> None:
        self.figures[f"ending: {report.ending}"] += 1
        name = f"{process.name}'s report of {job.id[:8]}"
        self.must("unforeseen" not in report.reason, f"{name}: {report.reason}")
        accepted = [event for event, _ in job.accepted]
        if report.event is not None:
            # The same event of somebody else's cannot be told from one's own whose answer was lost.
            theirs = job.id in self.contested and job.reason_type is None
            self.must(theirs or report.event.value in accepted, f"{name} says {report.event}, Pleo has {accepted}")
            told = process.told.get(job.id, {})
            if not (report.ending is Ending.FAILED and not report.successful and not report.failed):
                self.must(report.successful + report.failed == len(told), f"{name} counts other items than it told")
            sums: Counter[str] = Counter()
            for id_, update in told.items():
                if update["status"] == "successful":
                    currency, minor = process.amounts[job.id, id_]
                    sums[currency] += minor
            self.must(+sums == +report.totals and -sums == -report.totals, f"{name} has other sums than it told")
            self.must(report.totals == report.books == report.reported, f"{name}: sums differ and the job was ended")
        elif report.ending is Ending.FINISHED_ELSEWHERE:
            ours = [event for event, by in job.accepted if by == process.name and event != "started"]
            self.must(not ours, f"{name} says it was finished elsewhere, and it ended it itself")
            self.must(not job.is_open, f"{name} says it was finished elsewhere, and it is open")


def _as_told(row: Json, update: Json) -> bool:
    names = ("status", "externalId", "externalUrl", "failureReason", "failureReasonType")
    return all(row.get(name) == update.get(name) for name in names)


def _job_of(path: str, body: Any) -> str | None:
    parts = path.strip("/").split("/")
    if len(parts) > 2 and parts[1] == "export-jobs":
        return parts[2]
    return body.get("jobId") if isinstance(body, dict) else None


def _short(path: str) -> str:
    return "/".join(part[:8] if len(part) == 36 else part for part in path.split("/"))
