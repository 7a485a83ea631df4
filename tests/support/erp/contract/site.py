"""A running ERP with an Erp connected to it, used as the export uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from blocks.erp.base import Capabilities, Erp, Outcome
from blocks.erp.entries import Entry, EntryState, Recorded
from blocks.erp.reference import Reference
from tests.support.erp.contract.books import books_hold, books_lack
from tests.support.erp.contract.entries import Maker
from tests.support.erp.contract.harness import USUAL, BookedEntry, Harness, How, Lever
from tests.support.erp.contract.runner import ready


class Connection:
    """One Erp after the other, each opened before it is used, on one running ERP."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.reference = Reference()
        self._erp: Erp | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is one."""
        return self._erp is not None

    @property
    def erp(self) -> Erp:
        """The Erp that is open now."""
        assert self._erp is not None, "no Erp is open"
        return self._erp

    async def open(self, how: How = USUAL, *, dry_run: bool = False) -> Erp:
        """Close the one that is open and open a new one, as a run that begins does."""
        await self.close()
        erp = self.harness.connection(how)()
        await ready(erp, self.harness.names.company_id, dry_run=dry_run)
        self._erp = erp
        return erp

    async def close(self) -> None:
        """Close the one that is open, if any."""
        if self._erp is not None:
            erp, self._erp = self._erp, None
            await erp.close()


@dataclass(frozen=True)
class Site:
    """What a test works with. `make` makes entries of its own."""

    connection: Connection
    make: Maker

    @property
    def harness(self) -> Harness:
        """The running ERP."""
        return self.connection.harness

    @property
    def erp(self) -> Erp:
        """The Erp that is open now."""
        return self.connection.erp

    @property
    def limits(self) -> Capabilities:
        """What it says of itself."""
        return self.erp.describe()

    async def record(self, *entries: Entry) -> list[Outcome]:
        """Record entries that `check` finds nothing wrong with."""
        for entry in entries:
            assert self.erp.check(entry) is None
        return await self.erp.record(entries)

    async def find(self, *entries: Entry) -> list[Recorded]:
        """What the Erp finds of these entries, all of which stand."""
        found = await self.erp.find([entry.accounting_entry_id for entry in entries])
        return [found[entry.accounting_entry_id] for entry in entries]

    def hold(self, *entries: Entry, state: EntryState | None = None) -> list[BookedEntry]:
        """What the books hold of these entries, in their order: each once, and whole."""
        booked = books_hold(self.harness, entries, state)
        return [booked[entry.accounting_entry_id] for entry in entries]

    def lack(self, *entries: Entry) -> None:
        """Nothing of these entries is in the books."""
        books_lack(self.harness, entries)

    def needs(self, lever: Lever) -> None:
        """Skip the test where the harness lacks a lever that its ERP does not have to have."""
        if lever not in self.harness.levers:
            pytest.skip(f"nobody can {lever.value} of the {self.limits.name} here")

    def needs_capability(self, name: str) -> None:
        """Skip the test where the ERP declares that it has not got this, so that the case cannot arise."""
        if not getattr(self.limits, name):
            pytest.skip(f"the {self.limits.name} declares {name}={getattr(self.limits, name)!r}")


@asynccontextmanager
async def another(harness: Harness, how: How = USUAL) -> AsyncIterator[Erp]:
    """One more Erp that is ready while the context lasts."""
    erp = await ready(harness.connection(how)(), harness.names.company_id)
    try:
        yield erp
    finally:
        await erp.close()
