"""What people are told of a run in words: expenses by the names they know, the whole job, links without harm."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from flows import report
from flows.console import show_run
from flows.outcome import MAX_NOTICES, Ending, JobReport
from flows.report import failure_lines, safe_link, summary_lines
from flows.results import NOTHING_KNOWN, Row, failed
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import WHY, booked, facts, job_of, unbooked


def shown(rows: list[Row], *, terminal: bool = False, width: int = 300) -> str:
    output = io.StringIO()
    show_run([job_of(rows)], Console(file=output, force_terminal=terminal, color_system=None, width=width))
    return output.getvalue()


def test_a_failure_is_named_as_people_know_the_expense_and_its_id_comes_last() -> None:
    line = f"  failed 2026-10-05 · DSB · 89.95 DKK · Ann Example: validation_failure: {WHY.reason}  ({entry_id(1)})\n"
    assert line in shown([unbooked(1)])


def test_what_is_not_known_of_an_expense_is_left_out() -> None:
    rows = [failed(entry_id(1), WHY, facts(date=None, employee=None)), failed(entry_id(2), WHY, NOTHING_KNOWN)]
    assert list(failure_lines(job_of(rows))) == [
        f"failed DSB · 89.95 DKK: validation_failure: {WHY.reason}  ({entry_id(1)})",
        f"failed validation_failure: {WHY.reason}  ({entry_id(2)})",
    ]


def test_a_terminal_gets_the_same_as_a_table() -> None:
    table = shown([unbooked(1), booked(2)], terminal=True)
    for text in ("2026-10-05 · DSB · 89.95 DKK · Ann Example", f"validation_failure: {WHY.reason}", entry_id(1)):
        assert text in table
    assert entry_id(2) not in table


def test_the_json_document_keeps_its_form() -> None:
    document = job_of([booked(1), unbooked(2)]).document()
    assert document["totals"] == {"DKK": "89.95"}
    assert document["failures"] == [
        {"accounting_entry_id": entry_id(2), "type": "validation_failure", "reason": WHY.reason}
    ]
    json.dumps(document)


def test_however_many_entries_pleo_does_not_know_a_thousand_are_named_and_the_others_counted() -> None:
    lines = list(report.unreported_lines(job_of((booked(n) for n in range(MAX_NOTICES + 500)), acknowledged=False)))
    assert len(lines) == MAX_NOTICES + 2
    assert lines[0].startswith("1500 booked and not yet reported to Pleo")
    assert lines[1] == f"{entry_id(0)} is booked as PX-000000, 89.95 DKK"
    assert lines[-1] == "… and 500 more"


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://app.pleo.io/expenses/1?x=y&z=%20#top", True),
        ("http://127.0.0.1:5000/books/PX-1", True),
        ("http://localhost/x", True),
        ("http://[::1]:80/x", True),
        ("http://pleo.example/x", False),
        ("javascript:alert(1)", False),
        ("https:alert(1)", False),
        ("https://app.pleo.io@evil.example/", False),
        ("https://app.pleo.io/x y", False),
        ('https://app.pleo.io/"onclick="x', False),
        ("https://app.pleo.io/<x>", False),
        ("https://app.pleo.io/\\x", False),
        ("https://app.pleo.io:99999/", False),
        ("https://[::1/", False),
        ("https://app.pleo.io/\u202ex", False),
        ("https://app.pleo.io/" + "x" * 5000, False),
        ("", False),
        (None, False),
    ],
)
def test_only_links_that_a_person_can_follow_without_harm_are_links(url: str | None, safe: bool) -> None:
    assert (safe_link(url) == url) is safe or url is None


def test_a_job_that_is_resumed_is_told_as_a_whole() -> None:
    job = job_of([booked(1), booked(2), unbooked(3)], items=10, already_final=7, already_unsuccessful=2)
    assert "  2 booked, 1 failed, 7 final before this run (2 of them failed or abandoned)" in list(summary_lines(job))
    assert "  the whole job has 10 items: 7 successful, 3 failed" in list(summary_lines(job))


def test_a_job_that_is_broken_off_says_how_many_items_are_open_and_who_takes_them_up() -> None:
    job = job_of([booked(1), unbooked(2)], items=10, already_final=3)
    job.interrupt("stopped by SIGTERM")
    assert job.reason == "stopped by SIGTERM; 5 of 10 items are open, and the next run takes them up"
    assert "  the whole job has 10 items: 4 successful, 1 failed, 5 open" in list(summary_lines(job))


@pytest.mark.parametrize(
    "job",
    [
        job_of([booked(1)], items=1),
        job_of([], items=10, ending=Ending.FAILED),  # as a whole: its items stay as they are
        job_of([booked(1)], items=10, already_final=9, dry_run=True),
    ],
    ids=["all by this run", "failed as a whole", "dry run"],
)
def test_of_a_job_without_an_earlier_part_the_whole_is_not_told_again(job: JobReport) -> None:
    assert not [line for line in summary_lines(job) if "whole job" in line]


def test_a_dry_run_says_what_would_fail() -> None:
    job = job_of([booked(1), unbooked(2)], dry_run=True)
    assert "  1 would be booked, 1 would fail" in list(summary_lines(job))
