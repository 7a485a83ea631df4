"""Rubbish that has a name: what becomes of it in a whole export is told here case by case."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocks.erp.settings import Attachments, ErpSettings
from blocks.pleo.sandbox import SANDBOX_COMPANY_ID
from flows.outcome import Ending, JobReport
from tests.support.pleo.hostile_json import DEEP, paths
from tests.support.pleo.hostile_pleo import (
    HostileOffice,
    assert_failures_are_told,
    booked,
    hostile_office,
    nothing_unforeseen,
    with_items,
)
from tests.support.pleo.pleo_items import account, an_item, entry_id, line, money, vendor

WITHOUT_FILES = ErpSettings(attachments=Attachments.SKIP)
OTHER_ID = "99999999-9999-4999-8999-999999999999"
GOOD, SPOILED = entry_id(1), entry_id(2)

Json = dict[str, Any]
Change = Callable[[list[Any]], list[Any] | None]


async def exported(office: HostileOffice, spoil: Callable[[str, bytes], bytes]) -> JobReport:
    with office.saying(spoil, office.books), nothing_unforeseen():
        report = await office.export(settings=WITHOUT_FILES)
    (job,) = report.jobs
    assert_failures_are_told(job)
    return job


def on(call: str, change: Change) -> Callable[[str, bytes], bytes]:
    """Answers to this call (the end of its path) with other elements in their list."""

    def spoil(called: str, body: bytes) -> bytes:
        if not called.endswith(call):
            return body
        document = json.loads(body)
        if "data" in document:
            document["data"] = change(document["data"]) or document["data"]
        return json.dumps(document).encode()

    return spoil


def test_megabytes_in_any_text_cost_nobody_but_their_item(tmp_path: Path) -> None:
    full = {
        **an_item(2),
        "accountingEntryLines": [line(10_000, tags=[{"groupCode": "team", "code": "T-1", "id": OTHER_ID}])],
        "vendor": vendor(),
        "files": [{"url": "https://files.example/a.pdf", "type": "application/pdf", "size": 5}],
        "user": {"name": "Ada", "code": "E-1"},
        "team": {"name": "Research", "code": "200"},
        "servicePeriod": {"from": "2026-10-05", "to": "2026-10-06"},
    }
    places = [path for path in paths(full) if isinstance(_at(full, path), str) and path != ("accountingEntryId",)]
    assert len(places) > 20
    instead = {}
    for number, path in enumerate(places, 2):
        text = json.dumps({**full, "accountingEntryId": entry_id(number)})
        document = json.loads(text)
        _at(document, path[:-1])[path[-1]] = "@@"
        instead[entry_id(number)] = json.dumps(document).replace("@@", "x" * 2_500_000)
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1), *(an_item(number) for number in range(2, 2 + len(places)))])
        job = asyncio.run(exported(office, with_items(instead)))
        assert job.ending is Ending.COMPLETED_WITH_ERRORS, job.reason
        assert GOOD in booked(office)
        assert len(booked(office)) + job.failed == len(places) + 1
        told = [item for item in office.sandbox.items(job.job_id) if item.failure_reason]
        assert max(len(item.failure_reason or "") for item in told) <= 500
    for file in (tmp_path / "books.sqlite", tmp_path / "books.beancount"):
        assert file.stat().st_size < 1_000_000


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda item: json.dumps({**item, "companyId": OTHER_ID}), "belongs to company"),
        (lambda item: json.dumps({**item, "companyId": OTHER_ID.upper()}), "belongs to company"),
        (lambda item: json.dumps({**item, "amount": "@"}).replace('"@"', "[" * DEEP + "]" * DEEP), "amount"),
        (lambda item: json.dumps({**item, "accountingEntryLines": [{}] * 100_000}), "accountingEntryLines: 100000"),
        (lambda item: json.dumps({**item, "amount": "@"}).replace('"@"', '{"inWalletCurrency":1e400}'), "amount"),
        (lambda item: json.dumps(item).replace("10000", "10000.01"), "no whole number"),
        (lambda item: json.dumps(item).replace("10000", "1e999999999"), "more than can be booked"),
        (lambda item: json.dumps(item).replace("10000", "9" * 1_000_000), "more than can be booked"),
        (lambda item: json.dumps({**item, "type": "=1+1\x1b[2J\n"}), "is not known"),
        (lambda item: json.dumps({**item, "date": "9999-12-31T23:59:59-23:59"}), "date"),
    ],
)
async def test_an_item_that_cannot_be_booked_fails_and_its_neighbour_is_booked(
    tmp_path: Path, text: Callable[[Json], str], reason: str
) -> None:
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1), an_item(2)])
        job = await exported(office, with_items({SPOILED: text(an_item(2))}))
        assert job.ending is Ending.COMPLETED_WITH_ERRORS, job.reason
        assert booked(office) == {GOOD: ("DKK", 10_000)}
    (failure,) = job.failures
    assert reason in failure.reason


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows * 2,
        lambda rows: [*rows, {**rows[0], "accountingEntryId": rows[0]["accountingEntryId"].upper()}],
        lambda rows: [{**row, "accountingEntryId": row["accountingEntryId"].upper()} for row in rows],
    ],
    ids=["all twice", "one twice in capitals", "in capitals"],
)
@pytest.mark.parametrize("call", ["/items", "/v3/export-items"])
async def test_an_id_that_comes_twice_is_one_expense(tmp_path: Path, call: str, change: Change) -> None:
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1), an_item(2)])
        job = await exported(office, on(call, change))
        assert (job.ending, job.successful, job.failed) == (Ending.COMPLETED, 2, 0)
        assert office.entries() == 2


async def test_an_item_that_the_job_does_not_list_is_not_booked(tmp_path: Path) -> None:
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1), an_item(2)])
        job = await exported(office, on("/v3/export-items", lambda items: [an_item(7), *items, an_item(8)]))
        assert (job.ending, job.successful) == (Ending.COMPLETED, 2)
        assert set(booked(office)) == {GOOD, SPOILED}


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "exportJobId": OTHER_ID},
        lambda row: {**row, "accountingEntryId": "no id"},
        lambda row: {**row, "status": 5},
        lambda row: None,
        lambda row: [row],
        lambda row: "row",
    ],
    ids=["of another job", "no id", "no status", "null", "a list", "a text"],
)
async def test_a_row_that_cannot_be_read_keeps_the_job_open_with_a_line_until_it_can(
    tmp_path: Path, change: Callable[[Json], Any]
) -> None:
    with hostile_office(tmp_path) as office:
        job_id = office.sandbox.add_job_of([an_item(1), an_item(2)])
        job = await exported(office, on("/items", lambda rows: [rows[0], *map(change, rows[1:])]))
        assert (job.ending, job.event, job.exit_status) == (Ending.UNFINISHED, None, 1)
        assert job.reason.startswith("1 rows of the job cannot be read or are of another job")
        assert set(booked(office)) == {GOOD}
        job = await exported(office, lambda _call, body: body)
        assert (job.job_id, job.ending) == (job_id, Ending.COMPLETED)
        assert set(booked(office)) == {GOOD, SPOILED}


@pytest.mark.parametrize("call", ["/v3/export-jobs", "/items", "/v3/export-items"])
async def test_a_cursor_that_cannot_be_sent_back_leaves_everything_for_the_next_run(tmp_path: Path, call: str) -> None:
    def spoil(called: str, body: bytes) -> bytes:
        document = json.loads(body) if called.endswith(call) else {}
        if "pagination" not in document:
            return body
        return json.dumps({**document, "pagination": {"hasNextPage": True, "endCursor": "\ud800"}}).encode()

    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1)])
        with office.saying(spoil, office.books), nothing_unforeseen():
            report = await office.export(settings=WITHOUT_FILES)
        assert report.exit_status in {1, 2}
        assert (await exported(office, lambda _call, body: body)).ending is Ending.COMPLETED
        assert set(booked(office)) == {GOOD}


@pytest.mark.parametrize("field", ["expiresIn", "numberOfItems"])
async def test_a_number_of_a_job_that_no_float_can_hold_is_not_known(tmp_path: Path, field: str) -> None:
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1)])
        job = await exported(
            office, on("/v3/export-jobs", lambda jobs: [{**jobs[0], field: 10**400}] if jobs else None)
        )
        assert job.ending is Ending.COMPLETED


def test_the_company_of_these_items_is_the_sandboxs() -> None:
    assert an_item(1)["companyId"] == SANDBOX_COMPANY_ID


@pytest.mark.parametrize(
    ("changes", "failures"),
    [
        ({}, []),
        ({"files": [{"url": "https://files.example/new", "type": "application/pdf"}]}, []),
        ({"amount": money(777)}, ["comes twice, with different figures"]),
        ({"date": "2026-10-06T10:00:00Z"}, ["comes twice, with different figures"]),
        ({"type": "refund"}, ["comes twice, with different figures"]),
        ({"accountingEntryLines": [line(10_000, account=account("6020"))]}, ["comes twice, with different figures"]),
        ({"type": 5}, ["type: it is of another kind"]),
        ({"note": "another"}, []),
        ({"user": {"name": "Ada", "code": "E-1"}}, []),
        ({"contraAccount": account("5820", "Another name")}, []),
    ],
)
async def test_an_item_that_comes_twice_counts_once_and_fails_where_its_figures_differ(
    tmp_path: Path, changes: Json, failures: list[str]
) -> None:
    twice = f"{json.dumps(an_item(2))}, {json.dumps(an_item(2, **changes))}"
    with hostile_office(tmp_path) as office:
        office.sandbox.add_job_of([an_item(1), an_item(2), an_item(3)])
        job = await exported(office, with_items({entry_id(2): twice}))
        assert (job.successful, job.failed) == (3 - len(failures), len(failures))
        assert all(reason in item.reason for item, reason in zip(job.failures, failures, strict=True))
        assert len(booked(office)) == job.successful
