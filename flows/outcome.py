"""How a run and its jobs ended: figures, exit status, and the JSON document that others build on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Entry
from blocks.pleo.models import ExportJob, ItemFailure, JobEvent, JobStatus
from flows.results import Results

OK, JOB_FAILED, USAGE, WITH_ERRORS = 0, 1, 2, 3
MAX_NOTICES = 1000
_BY_SEVERITY = (OK, WITH_ERRORS, JOB_FAILED, USAGE)


class Ending(StrEnum):
    """How our work on a job ended."""

    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed with errors"
    FAILED = "failed"
    UNFINISHED = "not finished"
    NOT_STARTED = "not started"
    FINISHED_ELSEWHERE = "finished elsewhere"
    TAKEN = "taken by another"
    NOT_ALLOWED = "not allowed"
    INTERRUPTED = "interrupted"


_STATUS = {
    Ending.COMPLETED: OK,
    Ending.TAKEN: OK,
    Ending.COMPLETED_WITH_ERRORS: WITH_ERRORS,
    Ending.NOT_ALLOWED: USAGE,
}
_ENDINGS = {
    JobEvent.COMPLETED: Ending.COMPLETED,
    JobEvent.COMPLETED_WITH_ERRORS: Ending.COMPLETED_WITH_ERRORS,
    JobEvent.FAILED: Ending.FAILED,
}


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One item that failed in this run."""

    accounting_entry_id: str
    type: ItemFailure
    reason: str


@dataclass(frozen=True, slots=True)
class Unreported:
    """An entry that stands in the books, and of which Pleo has not taken the outcome; the amount is in minor units."""

    external_id: str
    currency: str
    amount_minor: int


@dataclass(slots=True)
class JobReport:
    """What one run did for one job: its `results`, and what holds for the job as a whole.

    The job has `items`, 0 while nobody knows. Of the `already_final` items, final before this run,
    `already_unsuccessful` are not successful. Of `notes` the first thousand are kept, `more_notes` counts the others.
    `preview` has, in a dry run, the entries that would be made. `status_elsewhere` is the exit status for the state
    that somebody else has brought the job to.
    """

    job_id: str
    company_id: str
    dry_run: bool = False
    minor_units: MinorUnits = MinorUnits.HUNDREDTHS
    ending: Ending = Ending.UNFINISHED
    event: JobEvent | None = None
    reason: str = ""
    results: Results = field(default_factory=Results)
    items: int = 0
    already_final: int = 0
    already_unsuccessful: int = 0
    notes: list[str] = field(default_factory=list)
    more_notes: int = 0
    preview: list[Entry] = field(default_factory=list)
    status_elsewhere: int = JOB_FAILED
    is_as_expected: bool | None = None
    """Whether a demonstration's job, whose failures are on purpose, came out as it should; None for all others."""

    @property
    def successful(self) -> int:
        """How many items are booked, or would be in a dry run."""
        return len(self.results.successful)

    @property
    def found(self) -> int:
        """How many of them an earlier run had booked."""
        return int(self.results.successful["found"].sum())

    @property
    def failed(self) -> int:
        """How many items are not booked."""
        return len(self.results.failed)

    @property
    def ended_successful(self) -> int:
        """How many items of the whole job Pleo has as successful, from this run and earlier ones."""
        return self.already_final - self.already_unsuccessful + int(self.results.successful["acknowledged"].sum())

    @property
    def ended_unsuccessful(self) -> int:
        """How many items of the whole job Pleo has as failed or abandoned."""
        return self.already_unsuccessful + int(self.results.failed["acknowledged"].sum())

    @property
    def still_open(self) -> int:
        """How many items of the job Pleo still waits for, as far as this run knows."""
        return max(self.items - self.ended_successful - self.ended_unsuccessful, 0)

    @property
    def totals(self) -> Counter[str]:
        """The sums of the booked items by currency, as Pleo states them, in minor units."""
        return self.results.totals()

    @property
    def books(self) -> Counter[str]:
        """The same sums as the accounting system holds them."""
        return self.results.totals("book_minor")

    @property
    def reported(self) -> Counter[str]:
        """The sums of those items of which Pleo has acknowledged the outcome."""
        return self.results.totals(acknowledged=True)

    @property
    def unreported(self) -> dict[str, Unreported]:
        """The entries of which Pleo has not acknowledged the outcome, by accounting entry id."""
        if self.dry_run:
            return {}
        rows = self.results.unacknowledged
        columns = (rows[name] for name in ("accounting_entry_id", "external_id", "currency", "amount_minor"))
        return {
            id_: Unreported(external_id or "", currency, minor)
            for id_, external_id, currency, minor in zip(*columns, strict=True)
        }

    @property
    def failures(self) -> list[FailedItem]:
        """The items that are not booked, and why."""
        rows = self.results.failed
        columns = (rows[name] for name in ("accounting_entry_id", "failure_reason_type", "failure_reason"))
        return [FailedItem(*one) for one in zip(*columns, strict=True)]

    @property
    def notices(self) -> list[str]:
        """What people should know besides the figures: of the job, then of its items; the first thousand."""
        return [*self.notes, *self.results.notices(MAX_NOTICES - len(self.notes))]

    @property
    def more_notices(self) -> int:
        """How many notices there are besides these."""
        return self.more_notes + max(0, self.results.notice_count() - (MAX_NOTICES - len(self.notes)))

    def count_items(self, items: int, already_final: int, already_unsuccessful: int) -> None:
        """What Pleo's rows say of the job before this run did anything."""
        self.items, self.already_final, self.already_unsuccessful = items, already_final, already_unsuccessful

    def note(self, *notices: str) -> None:
        """What people should know of the job, beside its figures."""
        fit = MAX_NOTICES - len(self.notes)
        self.notes += notices[:fit]
        self.more_notes += len(notices[fit:])

    def end(self, event: JobEvent) -> None:
        """The job was ended by this event, or would be in a dry run."""
        self.ending = _ENDINGS[event]
        self.event = None if self.dry_run else event

    def interrupt(self, why: str) -> None:
        """The run was asked to end before the job had come to its own end."""
        self.ending = Ending.INTERRUPTED
        many = f"{self.still_open} of {self.items} items are" if self.still_open != 1 else f"1 of {self.items} items is"
        still_open = f"; {many} open, and the next run takes them up" if self.items and not self.dry_run else ""
        self.reason = f"{why}{still_open}"

    def difference(self) -> str:
        """Where Pleo, the books and what was reported differ, in words; empty when they agree to the cent."""
        number = self.minor_units.number
        others = self._others()
        return ", ".join(
            f"{number(total, currency)} {currency} in Pleo against {number(other[currency], currency)} {where}"
            for currency, total in sorted(self.totals.items())
            for other, where in others
            if other[currency] != total
        )

    def agreement(self, currency: str) -> str:
        """Whether the others hold the same total of that currency as Pleo states, in words."""
        total, number = self.totals[currency], self.minor_units.number
        wrong = [
            f"{number(other[currency], currency)} {where}"
            for other, where in self._others()
            if other[currency] != total
        ]
        return f"but {', '.join(wrong)}" if wrong else "as in the books"

    def _others(self) -> list[tuple[Counter[str], str]]:
        reported = [] if self.dry_run else [(self.reported, "reported to Pleo")]
        return [(self.books, "in the books"), *reported]

    @property
    def exit_status(self) -> int:
        """0 completed · 3 completed with errors · 2 refused before anything was touched · 1 anything else.

        A job that somebody else has finished counts by its state, if Pleo knows of all that is booked.
        """
        if self.ending is Ending.FINISHED_ELSEWHERE and not self.unreported:
            return worst((self.status_elsewhere, WITH_ERRORS if self.failed else OK))
        if self.is_as_expected is not None:
            return OK if self.is_as_expected else JOB_FAILED
        return _STATUS.get(self.ending, JOB_FAILED)

    def document(self) -> dict[str, Any]:
        """The job's part of the JSON document."""
        return {
            "job_id": self.job_id,
            "company_id": self.company_id,
            "event": self.event.value if self.event is not None else None,
            "successful": self.successful,
            "failed": self.failed,
            "already_final": self.already_final,
            "totals": {
                currency: self.minor_units.number(minor, currency) for currency, minor in sorted(self.totals.items())
            },
            "failures": [
                {"accounting_entry_id": item.accounting_entry_id, "type": item.type.value, "reason": item.reason}
                for item in self.failures
            ],
        }


@dataclass(slots=True)
class RunReport:
    """What one run did. `lines` are what the user is told besides the jobs' figures, `status` what they make of it;
    `is_idle` tells that nothing was waiting."""

    jobs: list[JobReport] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    status: int = OK
    pleo_requests: int = 0
    seconds: float = 0.0
    is_idle: bool = False

    def say(self, line: str, status: int = OK) -> None:
        """Tell the user something, and what it means for the exit status."""
        self.lines.append(line)
        self.status = worst((self.status, status))

    @property
    def exit_status(self) -> int:
        """The worst of the jobs and of what was said; wrong usage is told as such only where no job was touched."""
        status = worst((self.status, *(job.exit_status for job in self.jobs)))
        touched = any(job.ending is not Ending.NOT_ALLOWED for job in self.jobs)
        return JOB_FAILED if status == USAGE and touched else status

    def document(self) -> dict[str, Any]:
        """The JSON document of the run."""
        return {
            "jobs": [job.document() for job in self.jobs],
            "pleo_requests": self.pleo_requests,
            "seconds": round(self.seconds, 3),
        }


def worst(statuses: Iterable[int]) -> int:
    """The exit status that says most: wrong usage, then a failed job, then errors, then success."""
    return max(statuses, key=_BY_SEVERITY.index, default=OK)


def status_of(job: ExportJob) -> int:
    """The exit status for a job that is over without us."""
    if job.expired_at is not None:
        return JOB_FAILED
    by_state = {JobStatus.COMPLETED: OK, JobStatus.COMPLETED_WITH_ERRORS: WITH_ERRORS}
    return by_state.get(JobStatus(job.status), JOB_FAILED) if job.status in set(JobStatus) else JOB_FAILED
