"""An ERP that can do next to nothing as a subscriber, so that what the suite asks of such a one is always run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from blocks.erp.base import Capabilities, Erp, Outcome, replaces_nothing, reverses_nothing
from blocks.erp.entries import Attachment, Bill, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
from tests.support.erp.contract.harness import USUAL, How
from tests.support.erp.contract.limits import taken_files, within_limits
from tests.support.erp.ledger_harness import NAMES, LedgerHarness

PDF = frozenset({"application/pdf"})


class PlainLedger(Ledger):
    """Books without bills, drafts and dimensions, that take one PDF an entry and few entries a call."""

    def describe(self) -> Capabilities:
        """Next to nothing."""
        return replace(
            super().describe(),
            name="plain ledger",
            max_entries=7,
            max_description=40,
            max_reference=40,
            max_detail=40,
            max_amount_minor=10**12,
            bills=False,
            drafts=False,
            dimensions=False,
            replaces=False,
            reverses=False,
            max_attachments=1,
            attachment_types=PDF,
        )

    def check(self, entry: Entry) -> Refused | None:
        """What it has not got, before what the ledger says."""
        return self._lacking(entry) or super().check(entry)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand."""
        found = await super().find(accounting_entry_ids)
        return {id_: replace(one, attached=_given(one.attached)) for id_, one in found.items()}

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Record those that it can."""
        fitting: list[Refused | tuple[Entry, list[NotAttached]]] = [
            self._lacking(entry) or within_limits(entry, self.describe()) for entry in entries
        ]
        taken = [one[0] for one in fitting if not isinstance(one, Refused)]
        outcomes = iter(await super().record([replace(one, attachments=_kept(one.attachments)) for one in taken]))
        return [one if isinstance(one, Refused) else _told(next(outcomes), one[1]) for one in fitting]

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach one file at most in all."""
        stands = (await self.find([accounting_entry_id])).get(accounting_entry_id.lower())
        there = stands.attached if stands is not None else frozenset()
        taken, refused = taken_files(attachments, self.describe(), there)
        return [*refused, *_named(await super().attach(accounting_entry_id, _kept(taken)))]

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """It cannot."""
        return replaces_nothing(entries)

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """It cannot."""
        return reverses_nothing(entries)

    def _lacking(self, entry: Entry) -> Refused | None:
        id_ = entry.accounting_entry_id
        dimension = next((one for line in entry.all_lines for one in line.dimensions), None)
        if isinstance(entry, Bill):
            return Refused(id_, RefusalKind.OTHER, "bill", "no bills are kept here")
        if abs(entry.amount_minor) > self.describe().max_amount_minor:
            return Refused(id_, RefusalKind.OTHER, str(entry.amount_minor), "the amount is too large")
        if entry.state is EntryState.DRAFT:
            return Refused(id_, RefusalKind.OTHER, "draft", "no entry can wait here")
        if dimension is not None:
            return Refused(id_, RefusalKind.UNKNOWN_DIMENSION, dimension.code, "no line takes dimensions")
        return None


def a_plain_ledger(path: Path, charts: ChartFiles, **options: Any) -> Erp:
    """The plain ledger at `path`, not opened yet."""
    return PlainLedger(path, charts=charts, company_currency=NAMES.currency, **options)


class PlainLedgerHarness(LedgerHarness):
    """Its books are the ledger's."""

    names = replace(NAMES, dimension=None)

    def connection(self, how: How = USUAL) -> partial[Erp]:
        """The plain ledger in place of the whole one."""
        whole = super().connection(how)
        return partial(a_plain_ledger, *whole.args, **whole.keywords)


def _kept(files: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """The files as the ledger keeps them, whose numbers begin with 1: it never gets all files in one."""
    return tuple(replace(file, number=file.number + 1) for file in files)


def _given(numbers: frozenset[int]) -> frozenset[int]:
    return frozenset(number - 1 for number in numbers)


def _named(refused: Sequence[NotAttached]) -> list[NotAttached]:
    return [replace(one, number=one.number - 1) for one in refused]


def _told(outcome: Outcome, refused: Sequence[NotAttached]) -> Outcome:
    if not isinstance(outcome, Recorded):
        return outcome
    missing = () if outcome.found else (*refused, *_named(outcome.not_attached))
    return replace(outcome, attached=_given(outcome.attached), not_attached=missing)
