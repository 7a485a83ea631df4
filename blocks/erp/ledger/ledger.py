"""The embedded ledger as an ERP: asynchronous on the outside, one thread with one SQLite connection inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from blocks.erp.base import Capabilities, Outcome
from blocks.erp.entries import Account, Attachment, Entry, NotAttached, Recorded
from blocks.erp.errors import Refused
from blocks.erp.ledger.beancount_file import MAX_TEXT
from blocks.erp.ledger.books import Books, find_entries
from blocks.erp.ledger.checks import check_entry
from blocks.erp.ledger.fava import entry_address
from blocks.erp.ledger.opening import open_books, open_reader
from blocks.erp.ledger.reader import Reader, company_of
from blocks.erp.ledger.schema import MAX_AMOUNT_MINOR
from blocks.erp.reference import ROLE_KINDS, Reference, Role

P = ParamSpec("P")
T = TypeVar("T")

_MAX_ENTRIES = 1000
_MAX_REFERENCE = 255


class Ledger:
    """Books of one Pleo company in the SQLite file at `path`, created when missing.

    `fava_url` is where a Fava shows the Beancount file beside it; `clock` tells the time (aware). Accounts, tax codes
    and dimensions open as entries name them.
    """

    def __init__(
        self,
        path: Path,
        *,
        fava_url: str = "http://127.0.0.1:5000",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._fava_url = fava_url
        self._clock = clock
        self._company_id: str | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._books: Books | None = None
        self._reader: Reader | None = None

    def describe(self) -> Capabilities:
        """The ledger's limits; longer texts are kept whole, and cut where they are shown."""
        return Capabilities(
            name="embedded ledger",
            max_entries=_MAX_ENTRIES,
            max_description=MAX_TEXT,
            max_reference=_MAX_REFERENCE,
            max_amount_minor=MAX_AMOUNT_MINOR,
            one_company=True,
        )

    def company(self) -> str | None:
        """The company whose books the file holds, or None; changes nothing. Raises ErpConfigurationError."""
        return company_of(self._path)

    async def open(self, company_id: str, *, dry_run: bool = False) -> None:
        """Take hold of the file for one company; in a dry run only look into it, creating and changing nothing.

        Raises ErpConfigurationError when the file cannot be used, ErpBusy when another run holds it.
        """
        if self._thread is not None:
            raise RuntimeError("the ledger is open already")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._company_id = company_id.lower()
        try:
            await self._run(self._open, self._company_id, dry_run)
        except BaseException:
            await self.close()
            raise

    async def validate(self) -> None:
        """Prove with a small write that entries can be recorded; in a dry run, that the file can be read."""
        await self._run(self._validate)

    async def load_reference(self) -> Reference:
        """The role accounts, which have names of their own, and a wallet account for every currency."""
        return Reference(
            roles={
                role: Account(
                    f"pleo-{role.value.replace('_', '-')}", f"Pleo {role.value.replace('_', ' ')}", ROLE_KINDS[role]
                )
                for role in Role
                if role is not Role.WALLET
            },
            open_wallet=_wallet,
        )

    def check(self, entry: Entry) -> Refused | None:
        """Why this entry would be refused, as far as the entry itself tells, or None."""
        return check_entry(entry, self._company_id)

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand already among any number of ids, by id in lower case, each with `found` set."""
        return await self._run(self._find, accounting_entry_ids)

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Record entries durably in one transaction, one outcome each in their order.

        An id that stands already, or came earlier in the same call, is returned as found. Raises ErpUnavailable when
        nothing was written, ErpOutcomeUnknown when the commit failed, RuntimeError in a dry run.
        """
        return await self._run(self._record, entries)

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach files to an entry that stands."""
        raise NotImplementedError

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        """Post those of these entries that are drafts, all or none. Raises as `record`."""
        await self._run(self._post, accounting_entry_ids)
        return []

    def link(self, external_id: str) -> str:
        """The address of the Fava page that shows this entry alone."""
        if self._company_id is None:
            raise RuntimeError("the ledger is not open")
        return entry_address(self._fava_url, self._company_id, external_id)

    async def finish_job(self) -> None:
        """Write the Beancount file beside the books anew; raises ErpUnavailable. Does nothing in a dry run."""
        await self._run(self._finish_job)

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
        if dry_run:
            self._reader = open_reader(self._path, company_id)
        else:
            self._books = open_books(self._path, company_id, self._clock(), self.link)

    def _validate(self) -> None:
        if self._books is not None:
            self._books.prove_writable(self._clock())
        elif self._reader is not None:
            self._reader.query("SELECT count(*) FROM company")

    def _find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        source = self._books or self._reader
        return {} if source is None else find_entries(source.query, self.link, accounting_entry_ids)

    def _record(self, entries: Sequence[Entry]) -> list[Outcome]:
        if self._books is None:
            raise RuntimeError("nothing is recorded in a dry run")
        return self._books.record(entries, self._clock())

    def _post(self, accounting_entry_ids: Sequence[str]) -> None:
        if self._books is None:
            raise RuntimeError("nothing is posted in a dry run")
        self._books.post(accounting_entry_ids)

    def _finish_job(self) -> None:
        if self._books is not None:
            self._books.write_beancount()

    def _close(self) -> None:
        for held in (self._books, self._reader):
            if held is not None:
                held.close()
        self._books = self._reader = None


def _wallet(currency: str) -> Account:
    return Account(f"pleo-wallet-{currency}", f"Pleo wallet {currency}", ROLE_KINDS[Role.WALLET])
