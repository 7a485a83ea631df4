"""A whole export of pages in which some items are rubbish: the others are booked, and the rubbish is told by name."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, note

from blocks.erp.choices import DuplicateInvoice
from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.sandbox import Sandbox
from flows.outcome import Ending, JobReport
from tests.support.pleo.hostile_json import SEEDS, changed, corruptions, examples, shown, written
from tests.support.pleo.hostile_pleo import (
    HostileOffice,
    assert_failures_are_told,
    booked,
    headers,
    hostile_office,
    nothing_unforeseen,
    stated,
    with_items,
)

PAGE = 5
# Templates come several times in a job, and with them their invoices, of which one may be rubbish and the other sound.
WITHOUT_FILES = ErpSettings(attachments=Attachments.SKIP, duplicate_invoice=DuplicateInvoice.WARN)
_ENDINGS = {Ending.COMPLETED, Ending.COMPLETED_WITH_ERRORS, Ending.FAILED}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileOffice]:
    with hostile_office(tmp_path_factory.mktemp("hostile")) as office:
        yield office


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """Files of books, a new one for each example."""
    folder = tmp_path_factory.mktemp("books")
    return (folder / f"{number}.sqlite" for number in itertools.count())


@cache
def templates() -> list[dict[str, Any]]:
    """Items that can be booked, the same ones every time: of every type, with and without vendors, taxes and tags."""
    with Sandbox() as sandbox:
        jobs = [sandbox.add_job(40, seed, failing=False, vendor_based=seed == 2) for seed in (1, 2)]
        ids = [item.accounting_entry_id for job_id in jobs for item in sandbox.items(job_id)]
        items = [sandbox.export_item(id_) for id_ in ids]
    for item in items[:40]:
        del item["bookkeeping"], item["vendor"]
    return items


_numbers = itertools.count(1)


def with_new_id(text: str, template: dict[str, Any], id_: str) -> str:
    """The template, or what was made of it, as another expense."""
    old = template["accountingEntryId"]
    return text.replace(old, id_).replace(old.upper(), id_.upper())


@dataclass
class HostileJob:
    """A job as the sandbox has it, and what comes in the place of some items."""

    job_id: str
    items: dict[str, dict[str, Any]]
    instead: dict[str, str]


def a_job(office: HostileOffice, chosen: Sequence[dict[str, Any]], rubbish: dict[int, str]) -> HostileJob:
    """A new job of these templates, some of which, by their place, come as other JSON."""
    items: dict[str, dict[str, Any]] = {}
    instead: dict[str, str] = {}
    for place, template in enumerate(chosen):
        id_ = str(UUID(int=next(_numbers), version=4))
        items[id_] = json.loads(with_new_id(json.dumps(template), template, id_))
        if place in rubbish:
            instead[id_] = with_new_id(rubbish[place], template, id_)
    return HostileJob(office.sandbox.add_job_of(list(items.values()), vendor_based=True), items, instead)


def export_of(office: HostileOffice, books: Path, job: HostileJob) -> JobReport:
    """Export the job into books of its own."""
    with office.saying(with_items(job.instead), books), nothing_unforeseen():
        report = asyncio.run(office.export(job_id=job.job_id, page_size=PAGE, settings=WITHOUT_FILES))
    (done,) = report.jobs
    return done


def assert_only_these_are_affected(office: HostileOffice, job: HostileJob, report: JobReport) -> None:
    assert report.ending in _ENDINGS, (report.ending, report.reason)
    assert_failures_are_told(report)
    failed = {failure.accounting_entry_id for failure in report.failures}
    assert failed <= set(job.instead), [one for one in report.failures if one.accounting_entry_id not in job.instead]
    in_books = booked(office)
    assert set(in_books) == set(job.items) - failed
    for id_, (currency, debit) in in_books.items():
        if id_ not in job.instead:
            money = job.items[id_]["amount"]["inWalletCurrency"]
            assert currency == money["currency"]
            assert debit >= abs(money["value"])
    for id_, said in headers(office).items():  # rubbish that was booked is booked as what it says that it is
        text = job.instead.get(id_)
        assert said == stated(text if text is not None else json.dumps(job.items[id_]))
    assert office.sandbox.job(job.job_id).status in {"completed", "completed_with_errors", "failed"}
    told = {item.accounting_entry_id: item.status for item in office.sandbox.items(job.job_id)}
    assert told == {id_: "failed" if id_ in failed else "successful" for id_ in job.items}


def spoiled_job(office: HostileOffice, rng: Random, *, size: int = 12, most: int = 4) -> HostileJob:
    """A job of some templates, a few of them spoiled."""
    chosen = rng.choices(templates(), k=size)
    rubbish = {}
    for place in rng.sample(range(size), rng.randint(1, most)):
        changes = corruptions(rng, chosen[place])
        note(f"{place}: {shown(changes)}")
        rubbish[place] = written(changed(chosen[place], changes))
    return a_job(office, chosen, rubbish)


def check_spoiled_items(office: HostileOffice, books: Iterator[Path], seed: int) -> None:
    job = spoiled_job(office, Random(seed))
    report = export_of(office, next(books), job)
    for failure in report.failures:
        note(str(failure))
    assert_only_these_are_affected(office, job, report)


@examples(15)
@given(seed=SEEDS)
def test_items_that_are_rubbish_fail_alone(hostile: HostileOffice, books: Iterator[Path], seed: int) -> None:
    check_spoiled_items(hostile, books, seed)


@pytest.mark.slow
@examples(500)
@given(seed=SEEDS)
def test_many_more_items_that_are_rubbish_fail_alone(hostile: HostileOffice, books: Iterator[Path], seed: int) -> None:
    check_spoiled_items(hostile, books, seed)
