"""A whole export while Pleo's answers themselves are rubbish: jobs, rows, outcomes, cursors, errors and bare bytes.

What Pleo says can be a plausible lie, and is believed then. What can never happen: something unforeseen, an expense
twice, one booked with another amount, one told as booked that is not, or a line that cannot be shown.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, note

from blocks.erp.settings import Attachments, ErpSettings
from flows.outcome import RunReport
from tests.support.pleo.hostile_json import (
    SEEDS,
    TEXTS,
    changed,
    corruptions,
    examples,
    shown,
    written,
)
from tests.support.pleo.hostile_pleo import (
    HostileOffice,
    Spoil,
    assert_failures_are_told,
    assert_presentable,
    booked,
    hostile_office,
    nothing_unforeseen,
)
from tests.support.pleo.pleo_items import an_item, entry_id

ITEMS, PAGE = 6, 3
WITHOUT_FILES = ErpSettings(attachments=Attachments.SKIP)
LONGEST_LINE = 2000

BODIES: list[Callable[[Random, bytes], bytes]] = [
    lambda rng, body: body[: rng.randrange(len(body) + 1)],
    lambda rng, body: b"",
    lambda rng, body: rng.choice([b"null", b"[]", b"{}", b"0", b'""', b"\x00", b"\xff\xfe\x00", b"<html></html>"]),
    lambda rng, body: body + rng.choice([b"x", b"\x00", body, b"}"]),
    lambda rng, body: _at_some_places(rng, body, lambda: bytes([rng.randrange(256)])),
    lambda rng, body: b"\xef\xbb\xbf" + body,
    lambda rng, body: body.decode().encode("utf-16"),
    lambda rng, body: body.replace(b'"', b"'"),
    lambda rng, body: body.replace(b"false", b"true"),
    lambda rng, body: body.replace(b":", b":[" * 3000, 1),
    lambda rng, body: b'{"type":"%s","message":%s}' % (
        rng.choice([b"X", b"A\\nB", b"https://x", b"EXPORT_JOB_STATUS_UNPROCESSABLE"]),
        written(rng.choice(TEXTS)).encode(),
    ),
]  # fmt: skip


def _at_some_places(rng: Random, body: bytes, made: Callable[[], bytes]) -> bytes:
    spoiled = bytearray(body)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(spoiled) + 1)
        spoiled[place : place + 1] = made()
    return bytes(spoiled)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileOffice]:
    with hostile_office(tmp_path_factory.mktemp("hostile")) as office:
        yield office


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("books")
    return (folder / f"{number}.sqlite" for number in itertools.count())


_numbers = itertools.count(1)


def a_job(office: HostileOffice) -> tuple[str, dict[str, int]]:
    """A new job, and the amount of each of its items."""
    amounts = {number: 1000 + number % 977 for number in itertools.islice(_numbers, ITEMS)}
    job_id = office.sandbox.add_job_of([an_item(number, value=value) for number, value in amounts.items()])
    return job_id, {entry_id(number): value for number, value in amounts.items()}


def export_of(office: HostileOffice, books: Path, spoil: Spoil, **how: Any) -> RunReport:
    with office.saying(spoil, books), nothing_unforeseen():
        report: RunReport = asyncio.run(office.export(page_size=PAGE, settings=WITHOUT_FILES, **how))
    for line in report.lines:
        assert_presentable(line, LONGEST_LINE)
    for job in report.jobs:
        assert_failures_are_told(job)
        for line in (*job.notices, *([job.reason] if job.reason else [])):
            assert_presentable(line, LONGEST_LINE)
    return report


def assert_books_are_right(office: HostileOffice, job_id: str, amounts: dict[str, int]) -> None:
    """What stands in the books is what the expenses are, and whatever Pleo was told to be booked is there."""
    in_books = booked(office)
    assert set(in_books) <= set(amounts)
    assert in_books == {id_: ("DKK", amounts[id_]) for id_ in in_books}
    successful = [item for item in office.sandbox.items(job_id) if item.status == "successful"]
    assert {item.accounting_entry_id for item in successful} <= set(in_books)


def untouched(_call: str, body: bytes) -> bytes:
    return body


def rubbish(rng: Random) -> Spoil:
    """Answers that are spoiled now and then, or for a while, on their structure or in their bytes."""
    often = rng.choice((0.15, 0.4, 1.0))
    left = rng.choice((1, 2, 5, 30))

    def spoil(call: str, body: bytes) -> bytes:
        nonlocal left
        if not left or rng.random() > often:
            return body
        left -= 1
        if body and rng.random() < 0.7:
            document = json.loads(body)
            changes = corruptions(rng, document, most=2)
            note(f"{call}: {shown(changes)}")
            return written(changed(document, changes)).encode()
        spoiled = rng.choice(BODIES)(rng, body)
        note(f"{call}: {spoiled[:200]!r}")
        return spoiled

    return spoil


def check_rubbish(office: HostileOffice, books: Iterator[Path], seed: int) -> None:
    rng, file = Random(seed), next(books)
    job_id, amounts = a_job(office)
    export_of(office, file, rubbish(rng), **({"job_id": job_id} if rng.random() < 0.5 else {}))
    assert_books_are_right(office, job_id, amounts)
    for _ in range(2):
        if office.sandbox.job(job_id).status in {"pending", "in_progress"}:
            export_of(office, file, untouched, job_id=job_id)
            assert_books_are_right(office, job_id, amounts)
    assert office.sandbox.job(job_id).status not in {"pending", "in_progress"}


@examples(15)
@given(seed=SEEDS)
def test_answers_that_are_rubbish_for_a_while(hostile: HostileOffice, books: Iterator[Path], seed: int) -> None:
    check_rubbish(hostile, books, seed)


@pytest.mark.slow
@examples(500)
@given(seed=SEEDS)
def test_many_more_answers_that_are_rubbish_for_a_while(
    hostile: HostileOffice, books: Iterator[Path], seed: int
) -> None:
    check_rubbish(hostile, books, seed)
