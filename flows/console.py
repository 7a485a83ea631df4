"""The console: progress while a run goes on, and how it ended, on standard output and standard error.

Whatever these are: terminals, full disks, closed pipes.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from blocks.erp.ledger.connection import beancount_path
from flows.outcome import JOB_FAILED, OK, WITH_ERRORS, JobReport, RunReport
from flows.report import (
    expense,
    failed_rows,
    failure_lines,
    notice_lines,
    preview_lines,
    reason,
    summary_lines,
    unreported_lines,
)


def show_run(jobs: Sequence[JobReport], console: Console) -> None:
    """The end of a run on the console: totals by currency, outcome, and every failure with its reason.

    On a terminal these are tables, elsewhere plain lines of text.
    """
    for job in jobs:
        for line in (*summary_lines(job), *preview_lines(job)):
            console.print(Text(line))
        if console.is_terminal and job.failed:
            console.print(_failure_table(job))
        else:
            for line in failure_lines(job):
                console.print(Text(f"  {line}"))
        for notice in notice_lines(job):
            console.print(Text(f"  note: {notice}"))
        for line in unreported_lines(job):
            console.print(Text(f"  {line}"))


def _failure_table(job: JobReport) -> Table:
    table = Table("Expense", "Reason", "Accounting entry", title="Failed items", title_justify="left")
    for row in failed_rows(job):
        cells = (expense(row, job.minor_units), reason(row), row.accounting_entry_id)
        table.add_row(*(Text(cell) for cell in cells))
    return table


class ConsoleProgress:
    """A progress bar on a terminal, for work that lasts longer than a second; nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._first_shown: float | None = None
        self._started = False

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            self._bar.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """So many of all items are fetched, recorded …"""
        if not self._console.is_terminal:
            return
        now = time.monotonic()
        if self._first_shown is None:
            self._first_shown = now
        if now - self._first_shown >= 1.0 and not self._started:
            self._bar.start()
            self._started = True
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what)
        self._bar.update(self._tasks[what], completed=done, total=total)


class Plain(Console):
    """A console on which a reader that has gone away is an error like others, and not the end of the process."""

    def on_broken_pipe(self) -> NoReturn:
        """Called where an error is being handled already."""
        raise

    def say(self, text: str) -> None:
        """One line of text as it is."""
        self.print(text, markup=False, highlight=False)


def prepare_streams() -> None:
    """Make every text printable, and keep files of ours from getting the number of a stream that is closed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal or pipe that knows no Unicode still gets it all
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def print_report(report: RunReport, books: Path | None, *, as_json: bool, dry_run: bool) -> None:
    """Print what a run did. Where standard output does not take it, the report gets a line and a status for it."""
    try:
        _print(report, books, as_json=as_json, dry_run=dry_run)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        why = f"the report could not be written: {error.strerror}; what was done stands in Pleo and in the books"
        report.say(why, JOB_FAILED)
        _to_standard_error([why])


def _print(report: RunReport, books: Path | None, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        reasons = [[job.reason] if job.reason else [] for job in report.jobs]
        told = [
            f"job {job.job_id}: {line}"
            for job, reason in zip(report.jobs, reasons, strict=True)
            for line in (*reason, *notice_lines(job), *unreported_lines(job))
        ]
        _to_standard_error([*told, *report.lines])
        if sys.stdout is not None:
            sys.stdout.write(json.dumps(report.document()) + "\n")
        return
    console = Plain(soft_wrap=True)
    if report.jobs:
        show_run(report.jobs, console)
        if books is not None and not dry_run:
            console.say(f"the books are in {books}, and in {beancount_path(books)} for Fava")
    if report.exit_status in (OK, WITH_ERRORS):
        for line in report.lines:
            console.say(line)
    else:
        _to_standard_error(report.lines)


def _to_standard_error(lines: list[str]) -> None:
    console = Plain(stderr=True, soft_wrap=True)
    try:
        for line in lines:
            console.say(line)
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)  # there is nobody left to tell


def _give_up(stream: IO[str] | None) -> None:
    """Let what could not be written go nowhere, or the interpreter would fail on it again as it ends."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        os.close(null)
