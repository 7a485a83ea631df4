"""A sandbox whose answers are spoiled on their way, and what must hold of an export all the same."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocks.pleo.models import ItemFailure
from blocks.pleo.sandbox import Sandbox, serve
from flows.outcome import JobReport
from tests.support.exporting import Office
from tests.support.pleo.hostile_json import DEEP_ONES

Spoil = Callable[[str, bytes], bytes]
"""What is sent in the place of a body, by the call (method and path) that it answers."""

LONGEST_REASON = 600
_FIELD = re.compile(r"cannot be read: (?:[a-z][A-Za-z]*(?:\.[a-zA-Z]+|\.\d+)*|item): ")
_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


class Spoiled:
    """An app that lets another answer, and changes the bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.spoil: Spoil | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.spoil is None or scope["type"] != "http" or not scope["path"].startswith("/v3/"):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def collect(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")

        await self._app(scope, receive, collect)
        body = self.spoil(f"{scope['method']} {scope['path']}", body)
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


class HostileOffice(Office):
    """An office with a Pleo that can be made to say anything."""

    spoiled: Spoiled

    @contextmanager
    def saying(self, spoil: Spoil, books: Path) -> Iterator[None]:
        """While the context lasts, bodies are what `spoil` makes of them, and the books are those of that file."""
        self.spoiled.spoil, self.books = spoil, books
        try:
            yield
        finally:
            self.spoiled.spoil = None


@contextmanager
def hostile_office(folder: Path) -> Iterator[HostileOffice]:
    """A sandbox on a free port that answers through `Spoiled`."""
    with Sandbox(rate_limit=False) as sandbox:
        spoiled = Spoiled(sandbox.app)
        sandbox.app = spoiled
        with serve(sandbox) as base_url:
            office = HostileOffice(sandbox, base_url, folder / "books.sqlite")
            office.spoiled = spoiled
            yield office


def with_items(instead: dict[str, str]) -> Spoil:
    """Other JSON in the place of these export items, by accounting entry id."""

    def spoil(call: str, body: bytes) -> bytes:
        if call != "GET /v3/export-items":
            return body
        page = json.loads(body, parse_float=Decimal)
        if "data" not in page:
            return body
        texts = [instead.get(one["accountingEntryId"]) or json.dumps(one, default=float) for one in page["data"]]
        return f'{{"data":[{",".join(texts)}],"pagination":{json.dumps(page["pagination"])}}}'.encode()

    return spoil


def assert_presentable(text: str, longest: int = LONGEST_REASON) -> None:
    """One line of a sensible length, in which nothing controls the place where it is shown."""
    assert 0 < len(text) <= longest, len(text)
    assert len(text.splitlines()) == 1, text
    for character in text:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}, ascii(text)
        assert unicodedata.bidirectional(character) not in _BIDI, ascii(text)


def assert_failures_are_told(job: JobReport) -> None:
    """Every failure has a type that Pleo knows and that is no surrender, and a reason that names what is wrong."""
    for failure in job.failures:
        assert failure.type is not ItemFailure.UNEXPECTED, failure
        assert_presentable(failure.reason)
        if "cannot be read" in failure.reason:
            assert _FIELD.search(failure.reason), failure.reason


@contextmanager
def nothing_unforeseen() -> Iterator[None]:
    """Fails when meanwhile the product logs an error, as it does with whatever nobody foresaw."""
    errors: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(self.format(record)[:4000])

    handler = Keeping(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("flows", "blocks")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert not errors, "\n".join(errors)


def booked(office: Office) -> dict[str, tuple[str, int]]:
    """What stands in the books of each expense: its currency and what its debits come to, in minor units."""
    if not office.books.exists():
        return {}
    rows = office.journal(
        "SELECT accounting_entry_id, currency, sum(debit_minor), sum(credit_minor), count(DISTINCT external_id) "
        "FROM journal GROUP BY accounting_entry_id"
    )
    found: dict[str, tuple[str, int]] = {}
    for id_, currency, debit, credit, entries in rows:
        assert isinstance(debit, int)
        assert (debit, entries) == (credit, 1), id_
        found[str(id_)] = (str(currency), debit)
    return found


def stated(text: str) -> tuple[str, Decimal]:
    """Currency and hundredths that an export item says it is, read without the product; of two keys the last."""
    for deep in DEEP_ONES:
        text = text.replace(deep.text, "null")
    item = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    money = item["amount"]["inWalletCurrency"]
    return money["currency"], money["value"]


def headers(office: Office) -> dict[str, tuple[str, int]]:
    """What the books say that each expense is: currency and signed hundredths."""
    rows = (
        office.journal("SELECT accounting_entry_id, currency, amount_minor FROM entry") if office.books.exists() else []
    )
    return {str(id_): (str(currency), int(str(minor))) for id_, currency, minor in rows}
