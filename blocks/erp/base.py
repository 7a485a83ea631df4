"""What an accounting system must do, so that the export can run on it.

Every ERP implements `Erp`. The calls are made by one runner at a time: `open` first, then any of the others, `close`
at the end. All of them may raise the errors drawn in `blocks.erp.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Protocol

from blocks.erp.entries import Answer, Attachment, Entry, NotAttached, Recorded
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.precedents import Precedents
from blocks.erp.reference import Reference


class Writers(StrEnum):
    """How many runs may record in one company's books at the same time.

    ANY: as many as there are, each id is recorded once all the same. HELD: one, and `open` refuses a second with
    ErpBusy. TRUSTED: one, and nobody but its user sees to that.
    """

    ANY = "any"
    HELD = "held"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The limits of an accounting system.

    `max_entries` is how many entries one `record` call takes, `max_description`, `max_reference` and `max_detail` are
    lengths in characters, `max_amount_minor` the largest magnitude of an amount. `bills` tells that it keeps supplier
    bills, `bills_need` what would have to be done where it does not, `repeated_invoice_numbers` that a vendor may have
    two bills of one number (else the second is refused, `OTHER`). `one_company` tells that it holds one Pleo company
    only. An entry takes at most `max_attachments` files (None: any number; 0: none at all) of at most
    `max_attachment_bytes`, of the media types `attachment_types` (None: any).

    `drafts` tells that entries can wait to be posted, `dimensions` that lines take them, `replaces` that a draft can be
    written anew in place, `reverses` that a posted entry can be taken back by another. `remote` tells that it is a
    server, which can be out of reach, slow, restarted or ask for fewer calls; `logs_in` that it wants credentials,
    which can be wrong, lack rights or be revoked. What it has not got it refuses entry by entry: a bill, an entry that
    is to stay a draft (`OTHER`), a dimension (`UNKNOWN_DIMENSION`), a file (`ATTACHMENT_REFUSED`), a replacement or a
    reversal (`OTHER`).
    """

    name: str
    max_entries: int
    max_description: int
    max_reference: int
    max_amount_minor: int
    max_detail: int = 255
    bills: bool = False
    bills_need: str = ""
    repeated_invoice_numbers: bool = True
    tells_precedents: bool = False
    """Whether `precedents` tells what stands; else it is not asked."""
    one_company: bool = False
    max_attachments: int | None = None
    max_attachment_bytes: int = 30_000_000
    attachment_types: frozenset[str] | None = None
    drafts: bool = True
    dimensions: bool = True
    replaces: bool = False
    reverses: bool = False
    remote: bool = False
    logs_in: bool = False
    writers: Writers = Writers.TRUSTED


Outcome = Recorded | Refused


def replaces_nothing(entries: Sequence[Entry]) -> list[Outcome]:
    """The answer to `replace` of an accounting system that cannot do it."""
    why = "drafts cannot be replaced in this accounting system: delete it there, and export the expense again"
    return [Refused(one.accounting_entry_id, RefusalKind.OTHER, "replacement", why) for one in entries]


def reverses_nothing(entries: Sequence[Recorded]) -> list[Refused]:
    """The answer to `reverse` of an accounting system that cannot do it."""
    why = "entries cannot be reversed from here in this accounting system: correct it there"
    return [Refused(one.accounting_entry_id, RefusalKind.OTHER, one.external_id, why) for one in entries]


class Erp(Protocol):
    """An accounting system that entries can be recorded in."""

    def describe(self) -> Capabilities:
        """The limits of this accounting system. What a server can lack counts as there until `validate` has looked."""
        ...

    def company(self) -> str | None:
        """The Pleo company that these books belong to already, or None. Raises ErpConfigurationError."""
        ...

    async def open(self, company_id: str, *, dry_run: bool) -> None:
        """Make ready for one Pleo company, touching nothing in a dry run.

        Raises ErpConfigurationError when it cannot be used for that company, ErpBusy when another run holds it.
        """
        ...

    async def validate(self) -> None:
        """Check that entries can be recorded now; raises ErpConfigurationError or ErpUnavailable."""
        ...

    async def load_reference(self) -> Reference:
        """Everything that entries may refer to, role accounts and wallets among it. Changes nothing."""
        ...

    def check(self, entry: Entry) -> Refused | None:
        """Why this entry would be refused, or None. Asks nobody and writes nothing; follows `load_reference`."""
        ...

    async def find(self, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
        """The entries that stand already, in force, by accounting entry id, each with `found` set."""
        ...

    async def precedents(self, entries: Sequence[Entry]) -> Precedents:
        """What stands in force that these entries, which do not stand yet, have to be judged by: bills of the same
        vendor and number, and the signs that amounts have of the types of those that bring money back (their counter
        side is a debit). Raises as `find`."""
        ...

    async def record(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Record entries with their attachments, one outcome each in their order; none spoils its neighbours.

        An id that stands already is returned as found and not written again. A file that is refused makes its entry
        refused where attachments are required, leaving nothing of it behind; else it is named in `not_attached`.
        Raises ErpUnavailable when nothing was written, ErpOutcomeUnknown when that cannot be told, ErpLoginRefused.
        """
        ...

    async def attach(self, accounting_entry_id: str, attachments: Sequence[Attachment]) -> list[NotAttached]:
        """Attach files to an entry that stands; one whose number is there already is left alone. Raises as `record`."""
        ...

    async def post(self, accounting_entry_ids: Sequence[str]) -> list[Refused]:
        """Post those of these entries that are drafts; returns those that cannot be posted, which stay drafts.

        One that is posted stays as it is, but is settled where a run was broken off before that. Raises as `record`.
        """
        ...

    async def replace(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Write drafts that stand anew, in place, one outcome each in their order (`found` is set).

        External id, receipts and `recorded_at` stay, whatever else changes: accounts, amounts, dates, vendor, journal
        entry or bill. They stay drafts whatever state is given, and get no attachments. An entry that does not stand,
        is no draft any more, or that a person has edited is refused, and stays as it is. Each is replaced wholly or
        not at all. Raises as `record`.
        """
        ...

    async def reverse(self, entries: Sequence[Recorded], day: date) -> list[Refused]:
        """Take back posted entries, each as it was found, by an entry of its own on that day: the same lines on the
        other side, under the same accounting entry id, each naming the other. Neither is in force any more.

        One that was reversed already is left alone, so that a repeated call never takes back what was booked since.
        Returns those that cannot be reversed: drafts, those settled with another entry, those of which the day is in a
        closed period. Raises as `record`.
        """
        ...

    async def note_answers(self, answers: Sequence[Answer]) -> None:
        """Keep what Pleo has taken, where the books have a history of each expense; again what is kept already changes
        nothing. Raises as `record`."""
        ...

    def link(self, external_id: str) -> str:
        """The address at which a person can look at that entry."""
        ...

    async def finish_job(self) -> Sequence[str]:
        """Bring everything that is derived from the books up to date, after a job; returns what people should know of
        it, a line each."""
        ...

    async def close(self) -> None:
        """Let go of all that `open` took."""
        ...
