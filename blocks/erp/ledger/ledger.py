"""The embedded ledger as an ERP: asynchronous on the outside, one thread with one SQLite connection inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from blocks.erp.base import Capabilities, Outcome, Writers
from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Answer, Attachment, Entry, NotAttached, Recorded
from blocks.erp.errors import Refused
from blocks.erp.ledger.beancount import MAX_TEXT, entry_address
from blocks.erp.ledger.books import Books, open_books
from blocks.erp.ledger.chart_store import Terms
from blocks.erp.ledger.charts import ChartFiles, read_charts
from blocks.erp.ledger.checks import check_against
from blocks.erp.ledger.handover.batches import Plan, folder_beside
from blocks.erp.ledger.handover.plan import plan_of
from blocks.erp.ledger.handover.settings import HandoverSettings
from blocks.erp.ledger.precedents import precedents_of
from blocks.erp.ledger.reader import Reader, company_of, open_reader
from blocks.erp.ledger.records import find_entries
from blocks.erp.ledger.schema import MAX_AMOUNT_MINOR
from blocks.erp.precedents import NO_PRECEDENTS, Precedents
from blocks.erp.reference import Reference

P = ParamSpec("P")
T = TypeVar("T")

_MAX_ENTRIES = 1000
_MAX_REFERENCE = 255

COMPANY = "{company}"
"""In the path of a ledger: the id of the Pleo company whose books it holds."""


class Ledger:
    """Books of one Pleo company in the SQLite file at `path`, created when missing. With `{company}` in the path each
    company that is opened has a file of its own.

    `fava_url` is where a Fava shows the Beancount file beside it; `clock` tells the time (aware). `minor_units` is what
    amounts count, `company_currency` (ISO 4217) the currency that the books are kept in beside each entry's own.
    Accounts, tax codes, dimensions and vendors open as entries name them, and every period is open, until `charts`
    gives them; from then on entries can name nothing else. `exchange_accounts` are the codes of those of
    exchange gains and losses, which the books keep; without them documents with such a difference stay open. After each
    job batches are made as `handover` says.
    """

    def __init__(
        self,
        path: Path,
        *,
        fava_url: str = "http://127.0.0.1:5000",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        minor_units: MinorUnits = MinorUnits.HUNDREDTHS,
        charts: ChartFiles = ChartFiles(),  # noqa: B008  it cannot change
        company_currency: str | None = None,
        max_attachment_bytes: int = 30_000_000,
        handover: HandoverSettings | None = None,
        handover_folder: Path | None = None,
        exchange_accounts: tuple[str, str] = ("", ""),
    ) -> None:
        self._path = path
        self._of_each_company = path if COMPANY in str(path) else None
        self._fava_url = fava_url
        self._clock = clock
        self._minor_units = minor_units
        self._charts = charts
        self._company_currency = company_currency
        self._max_attachment_bytes = max_attachment_bytes
        self._handover = handover
        self._handover_folder = handover_folder or folder_beside(path)
        self._plan: Plan | None = None
        self._exchange_accounts = exchange_accounts
        self._company_id: str | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._books: Books | None = None
        self._reader: Reader | None = None
        self._reference: Reference | None = None

    def describe(self) -> Capabilities:
        """The ledger's limits; longer texts are kept whole, and cut where they are shown."""
        return Capabilities(
            name="embedded ledger",
            max_entries=_MAX_ENTRIES,
            max_description=MAX_TEXT,
            max_reference=_MAX_REFERENCE,
            max_amount_minor=MAX_AMOUNT_MINOR,
            bills=True,
            one_company=self._of_each_company is None,
            tells_precedents=True,
            replaces=True,
            reverses=True,
            max_attachment_bytes=self._max_attachment_bytes,
            writers=Writers.HELD,
        )

    def company(self) -> str | None:
        """The company whose books the file holds, or None; changes nothing. Raises ErpConfigurationError."""
        return company_of(self._path) if self._of_each_company is None else None

    async def open(self, company_id: str, *, dry_run: bool = False) -> None:
        """Take hold of the file for one company; in a dry run only look into it, creating and changing nothing.

        Raises ErpConfigurationError when the file cannot be used, ErpBusy when another run holds it.
        """
        if self._thread is not None:
            raise RuntimeError("the ledger is open already")
        # SQLite's connection stays in the thread that made it, and its waiting for locks is not the event loop's.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._company_id = company_id.lower()
        if self._of_each_company is not None:
            self._path = file_of(self._of_each_company, self._company_id)
        try:
            await self._run(self._open, self._company_id, dry_run)
        except BaseException:
            await self.close()
            raise

    async def validate(self) -> None:
        """Prove with a small write that entries can be recorded; in a dry run, that the file can be read."""
        await self._run(self._validate)

    async def load_reference(self) -> Reference:
        """The charts; without a chart of accounts the ledger's own role accounts, journals, and a wallet for every
        currency. In a dry run they are what they would be."""
        if self._reference is None:
            raise RuntimeError("the ledger is not open")
        return self._reference

    def check(self, entry: Entry) -> Refused | None:
        """Why this entry would be refused, by itself or for what it names, or None."""
        return check_against(entry, self._company_id, self._reference)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand already among any number of ids, by id in lower case, each with `found` set."""
        return await self._run(self._find, accounting_entry_ids)

    async def precedents(self, entries: Sequence[Entry]) -> Precedents:
        """The bills of the same vendors and numbers, drafts among them, and which signs amounts of the same types have;
        of nothing but entries in force."""
        return await self._run(self._precedents, entries)

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Record entries with their attachments durably in one transaction, one outcome each in their order.

        Bills and payments that are posted are settled against each other. An id that stands already, or came earlier
        in the same call, is returned as found. Raises ErpUnavailable when nothing was written, ErpOutcomeUnknown when
        the commit failed, RuntimeError in a dry run.
        """
        return await self._run(self._writing().record, entries, self._clock())

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach files to an entry that stands; one whose number is there already is left alone. Raises as `record`."""
        return await self._run(self._writing().attach, accounting_entry_id, attachments, self._clock())

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        """Post those of these entries that are drafts, and settle them; returns those of a closed period.

        Raises as `record`.
        """
        return await self._run(self._writing().post, accounting_entry_ids, self._clock())

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Replace drafts in place, each under its number, in one transaction. Raises as `record`."""
        return await self._run(self._writing().replace, entries, self._clock())

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """Reverse posted entries on that day, in one transaction. Raises as `record`."""
        return await self._run(self._writing().reverse, entries, day, self._clock())

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """Write what Pleo has taken into the history of each expense. Raises as `record`."""
        await self._run(self._writing().note_answers, answers, self._clock())

    def link(self, external_id: str) -> str:
        """The address of the Fava page that shows this entry alone."""
        if self._company_id is None:
            raise RuntimeError("the ledger is not open")
        return entry_address(self._fava_url, self._company_id, external_id)

    async def finish_job(self) -> Sequence[str]:
        """Write the Beancount file beside the books anew, then the batches; raises ErpUnavailable. Does nothing in a
        dry run."""
        return await self._run(self._finish_job)

    async def close(self) -> None:
        """Let go of the file and its lock; may be called twice."""
        thread = self._thread
        if thread is not None:
            self._thread = None
            closing = thread.submit(self._close)
            thread.shutdown(wait=False)
            # A cancelled run lets go of its files too.
            await asyncio.shield(asyncio.wrap_future(closing))

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._thread is None:
            raise RuntimeError("the ledger is not open")
        return await asyncio.wrap_future(self._thread.submit(call, *args, **kwargs))

    def _open(self, company_id: str, dry_run: bool) -> None:
        terms = Terms(read_charts(self._charts), self._minor_units, self._company_currency, self._exchange_accounts)
        if self._handover is not None:
            self._plan = plan_of(self._handover, company_id, terms)
        if dry_run:
            self._reader, self._reference = open_reader(self._path, company_id, terms)
        else:
            self._books = open_books(
                self._path, company_id, self._clock(), self.link, terms, self._max_attachment_bytes
            )
            self._reference = self._books.reference

    def _writing(self) -> Books:
        if self._thread is None:
            raise RuntimeError("the ledger is not open")
        if self._books is None:
            raise RuntimeError("nothing is recorded in a dry run")
        return self._books

    def _validate(self) -> None:
        if self._books is not None:
            self._books.prove_writable(self._clock())
        elif self._reader is not None:
            self._reader.query("SELECT count(*) FROM company")

    def _find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        source = self._books or self._reader
        return {} if source is None else find_entries(source.query, self.link, accounting_entry_ids)

    def _precedents(self, entries: Sequence[Entry]) -> Precedents:
        source = self._books or self._reader
        return NO_PRECEDENTS if source is None else precedents_of(source.query, entries)

    def _finish_job(self) -> Sequence[str]:
        if self._books is None:
            return ()
        self._books.write_beancount()
        if self._plan is None or not self._plan.settings.handover:
            return ()
        self._books.keep_plan(self._plan, self._handover_folder)
        if self._plan.settings.handover == "manual":
            return ()
        since = self._plan.settings.handover_from or date.min
        return self._books.hand_over(
            self._plan, self._plan.settings.formats, self._handover_folder, self._clock(), since
        )

    def _close(self) -> None:
        for held in (self._books, self._reader):
            if held is not None:
                held.close()
        self._books = self._reader = self._reference = None


def file_of(path: Path, company_id: str) -> Path:
    """The file of a company's books, where the path may hold `{company}`."""
    return Path(str(path).replace(COMPANY, company_id))
