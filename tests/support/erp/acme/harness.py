"""Acme Books as a subscriber: the example that the README shows keeps the whole contract."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.erp.base import Erp
from blocks.erp.entries import EntryState
from tests.support.erp.acme.adapter import AcmeErp
from tests.support.erp.acme.server import AcmeBooks, AcmeServer
from tests.support.erp.contract.harness import (
    USUAL,
    BookedEntry,
    BookedLine,
    Credentials,
    Footprint,
    Harness,
    How,
    Lever,
)
from tests.support.erp.ledger_harness import NAMES
from tests.support.network.fault_proxy import Answer, Seen

if TYPE_CHECKING:
    import pytest

_KEYS = {Credentials.GOOD: "acme-key-good", Credentials.WRONG: "acme-key-bad", Credentials.POWERLESS: "acme-key-guest"}


def an_acme(base_url: str, key: str, **options: Any) -> Erp:
    """The adapter, not opened yet."""
    return AcmeErp(base_url, key, currency=NAMES.currency, **options)


class AcmeHarness(Harness):
    """A server in a thread of the tests' own."""

    names = replace(NAMES, dimension=None)
    levers = frozenset(Lever) - {Lever.EDIT}
    secrets = tuple(_KEYS.values())
    troubles = (Answer(200, b"<html>Back soon</html>"),)

    def __init__(self, server: AcmeServer) -> None:
        self._server = server
        self._books = server.books

    @classmethod
    @contextmanager
    def running(cls, request: pytest.FixtureRequest, folder: Path) -> Iterator[AcmeHarness]:
        """The server, started and in the end stopped."""
        used = [NAMES.expense, NAMES.other_expense, NAMES.input_tax, NAMES.output_tax, NAMES.payable]
        accounts = [
            {"code": one.code, "name": one.name, "kind": one.kind.value} for one in [*used, *NAMES.wallets.values()]
        ]
        periods = [
            ["2026-02-01", "2026-02-28", False],
            ["2026-03-01", "2026-03-31", True],
            ["2026-04-01", "2026-04-30", True],
        ]
        keys = {_KEYS[Credentials.GOOD]: True, _KEYS[Credentials.POWERLESS]: False}
        server = AcmeServer(AcmeBooks(accounts, periods, keys))
        worth = {NAMES.currency: "1", NAMES.second_currency: str(NAMES.rate)}
        server.books.rates = [{"currency": of, "first": "2026-01-01", "rate": rate} for of, rate in worth.items()]
        server.start()
        try:
            yield cls(server)
        finally:
            server.stop()

    @property
    def address(self) -> str:
        """Always the same."""
        return self._server.base_url

    def connection(self, how: How = USUAL) -> partial[Erp]:
        """The adapter, not opened yet."""
        options: dict[str, Any] = {"timeout_s": how.timeout_s, "max_attachment_bytes": how.max_attachment_bytes}
        given = {name: value for name, value in options.items() if value is not None}
        return partial(an_acme, how.address or self.address, _KEYS[how.credentials], **given)

    def may_change(self, seen: Seen) -> bool:
        """By method and path."""
        return seen.method != "GET" and seen.path != "/entries/search"

    def books(self, accounting_entry_ids: Collection[str]) -> list[BookedEntry]:
        """What the server keeps."""
        with self._books.lock:
            return [
                self._booked(self._books.entries[id_]) for id_ in accounting_entry_ids if id_ in self._books.entries
            ]

    def _booked(self, row: dict[str, Any]) -> BookedEntry:
        lines = [
            BookedLine(
                line["account"],
                row["currency"],
                max(line["amount_minor"], 0),
                max(-line["amount_minor"], 0),
                None if line["company_minor"] is None else abs(line["company_minor"]),
            )
            for line in row["lines"]
        ]
        return BookedEntry(
            accounting_entry_id=row["id"],
            external_id=f"A-{row['number']}",
            state=EntryState.POSTED if row["posted"] else EntryState.DRAFT,
            posting_date=date.fromisoformat(row["date"]),
            lines=tuple(lines),
            texts=(row["text"],),
            files=self._books.hashes(row["id"]),
            tax_codes=frozenset(line["tax_code"] for line in row["lines"] if line["tax_code"]),
        )

    def footprint(self) -> Footprint:
        """How many entries and files."""
        return {"entries": len(self._books.entries), "files": len(self._books.files)}

    def close_period(self, day: date) -> None:
        """Close the month of that day."""
        for period in self._books.periods:
            if period[0] <= day.isoformat() <= period[1]:
                period[2] = False

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop()

    def kill(self) -> None:
        """The same: what was committed stays."""
        self._server.stop()

    def start(self) -> None:
        """Listen again."""
        self._server.start()

    def revoke(self) -> None:
        """The good key is nobody's."""
        self._books.keys.pop(_KEYS[Credentials.GOOD])
