"""Step 5, attachments: an expense's receipts from Pleo's links to files that the accounting system will take.

Files are numbered from 1 in Pleo's order. Where there are more than the accounting system takes, they become one file,
whose number is 0: what hangs on an entry under that number is all of them.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from blocks.erp.base import Capabilities
from blocks.erp.entries import Attachment
from blocks.erp.settings import Attachments
from blocks.pleo.errors import FileLinkDead, FileNoReceipt, FileNotFetched, FileTooLarge
from blocks.pleo.files.client import Downloaded, FileClient
from blocks.pleo.files.content import extension
from blocks.pleo.items import ExportItem, ItemFile
from blocks.pleo.models import ItemFailure
from blocks.text import one_line
from flows.failures import Failure
from flows.receipts.combined_file import CannotCombine, CombinedTooLarge, SourceFile, combine

log = logging.getLogger(__name__)

COME_WITH_A_RECEIPT = frozenset({"card_purchase", "card_invoice", "out_of_pocket", "invoice"})
"""The types that a supplier gives a document for, so that one is missing where Pleo has none.

Balance movements, reimbursements, allowances (mileage, per diem), fees and cashback have no document of a supplier's;
an invoice payment has it at its invoice, a refund or chargeback may have none; personal spend is no cost.
"""

TOO_LARGE = Failure(ItemFailure.RECEIPT_SIZE, "Attachment file size exceeds accounting system limits.")
NOT_DOWNLOADED = Failure(
    ItemFailure.RECEIPT_DOWNLOAD, "Failed to download the attachment file from Pleo. Re-export the expense."
)
NO_RECEIPT = Failure(
    ItemFailure.VALIDATION,
    "The expense has no receipt, and the settings require one. Add it in Pleo and export again.",
)
NONE_TAKEN = Failure(
    ItemFailure.INVALID_CONFIGURATION,
    "The settings require receipts, but the accounting system takes none. Change the setting for attachments.",
)

MAX_FILES = 100
"""How many files of one expense are fetched; an expense that has more gets none of them."""

_ALL_IN_ONE = 0
_MERGES_AT_ONCE = 2
_STEM_LENGTH = 40
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Collected:
    """An expense's receipts, ready to be attached, and why others are not: one problem a file, in Pleo's order.

    With `links_dead` a link among the problems was no longer good, which a fresh page of items may cure.
    """

    attachments: tuple[Attachment, ...] = ()
    problems: tuple[Failure, ...] = ()
    links_dead: bool = False


async def collect_page(
    items: Sequence[ExportItem],
    files: FileClient,
    limits: Capabilities,
    policy: Attachments,
    folder: Path,
    skip: Mapping[str, frozenset[int]],
) -> dict[str, Collected]:
    """The receipts of several expenses, fetched side by side, by accounting entry id.

    The files lie under `folder`, all of them at the same time. `skip` has the numbers that are attached already, by
    accounting entry id. A file that does not come is a problem of its expense; only what is wrong here, such as a full
    disk, or the end of the run, is raised.
    """
    merging = asyncio.Semaphore(_MERGES_AT_ONCE)
    tasks = [
        asyncio.create_task(
            _Collector(item, files, limits, policy, folder, merging).collect(
                skip.get(item.accounting_entry_id, frozenset())
            )
        )
        for item in items
    ]
    collected = await _all(tasks)
    return {item.accounting_entry_id: found for item, found in zip(items, collected, strict=True)}


async def collect(
    item: ExportItem,
    files: FileClient,
    limits: Capabilities,
    policy: Attachments,
    folder: Path,
    skip: frozenset[int] = frozenset(),
) -> Collected:
    """The receipts of one expense; see `collect_page`."""
    page = await collect_page([item], files, limits, policy, folder, {item.accounting_entry_id: skip})
    return page[item.accounting_entry_id]


@dataclass(frozen=True, slots=True)
class _Missing:
    """Why there is no attachment of this number."""

    number: int
    failure: Failure
    link_dead: bool = False


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A file of this number, as it came."""

    number: int
    file: Downloaded


@dataclass(frozen=True, slots=True)
class _Collector:
    """Collects the receipts of one expense."""

    item: ExportItem
    files: FileClient
    limits: Capabilities
    policy: Attachments
    folder: Path
    merging: asyncio.Semaphore

    async def collect(self, skip: frozenset[int]) -> Collected:
        """All of them but those that are attached already."""
        wanted, most = self.item.files or (), self.limits.max_attachments
        required = self.policy is Attachments.REQUIRED
        if self.policy is Attachments.SKIP:
            return Collected()
        if most == 0 or not wanted:
            lacking = required and not skip and (bool(wanted) or self.item.type in COME_WITH_A_RECEIPT)
            return Collected(problems=(NONE_TAKEN if most == 0 else NO_RECEIPT,)) if lacking else Collected()
        if len(wanted) > MAX_FILES:
            return Collected(problems=(_too_many(len(wanted)),))
        if _ALL_IN_ONE in skip:
            return Collected()
        together = most is not None and len(wanted) > most
        if together and skip:
            return Collected(problems=(_no_room(len(skip)),))
        place = _place(self.folder, self.item)
        numbered = [(n, file) for n, file in enumerate(wanted, 1) if together or n not in skip]
        came = await _all([asyncio.create_task(self._fetch(n, file, place)) for n, file in numbered])
        fetched = [one for one in came if isinstance(one, _Fetched)]
        missing = [one for one in came if isinstance(one, _Missing)]
        ready: list[Attachment | _Missing]
        if not together:
            ready = await _all([asyncio.create_task(self._alone(one)) for one in fetched])
        elif fetched and not (required and missing):  # half of them under the one number would pass for all
            ready = [await self._together(fetched, _ALL_IN_ONE, self._name("receipts"), place / "receipts")]
        else:
            ready = []
        missing += [one for one in ready if isinstance(one, _Missing)]
        return Collected(
            tuple(one for one in ready if isinstance(one, Attachment)),
            tuple(one.failure for one in sorted(missing, key=lambda one: one.number)),
            any(one.link_dead for one in missing),
        )

    async def _fetch(self, number: int, file: ItemFile | None, place: Path) -> _Fetched | _Missing:
        if file is None or not file.url:
            return self._missing(number, NOT_DOWNLOADED, "Pleo gives no link to it")
        limit = self.limits.max_attachment_bytes
        if file.size is not None and file.size > limit:
            return self._missing(number, TOO_LARGE, f"not fetched, as Pleo says that it has {file.size} bytes")
        try:
            came = await self.files.download(file.url, place / str(number), limit, stated_type=file.type)
        except FileTooLarge as error:
            return self._missing(number, TOO_LARGE, str(error))
        except FileNoReceipt as error:
            return self._missing(number, _no_receipt(error.what), str(error))
        except FileNotFetched as error:
            return self._missing(number, NOT_DOWNLOADED, str(error), link_dead=isinstance(error, FileLinkDead))
        if file.size not in (None, came.size):
            id_ = self.item.accounting_entry_id
            log.warning("Receipt %d of %s has %d bytes, Pleo says %d", number, id_, came.size, file.size)
        return _Fetched(number, came)

    async def _alone(self, one: _Fetched) -> Attachment | _Missing:
        """A file on its own: as it is where its type is taken, else turned into one that is."""
        file, types = one.file, self.limits.attachment_types
        name = self._name(f"receipt-{one.number}")
        if types is not None and file.media_type not in types:
            return await self._together([one], one.number, name, file.path.with_suffix(".made"))
        ending = extension(file.media_type)
        return Attachment(one.number, f"{name}.{ending}", file.media_type, file.size, file.sha256, file.path)

    async def _together(
        self, fetched: Sequence[_Fetched], number: int, name: str, target: Path
    ) -> Attachment | _Missing:
        """Files as one."""
        parts = []
        for one in fetched:
            ending = extension(one.file.media_type)
            member = f"{self._name(f'receipt-{one.number}')}.{ending}"
            parts.append(SourceFile(one.file.path, member, one.file.media_type, one.file.size))
        limits = self.limits
        try:
            async with self.merging:
                made = await combine(
                    parts, target, types=limits.attachment_types, max_bytes=limits.max_attachment_bytes
                )
        except CombinedTooLarge:
            return self._missing(number, TOO_LARGE, "all receipts in one file are too large")
        except CannotCombine:
            kinds = ", ".join(sorted({part.media_type for part in parts}))
            return self._missing(number, _not_converted(kinds), f"{kinds} cannot be converted")
        return Attachment(number, f"{name}.{made.ending}", made.media_type, made.size, made.sha256, made.path)

    def _missing(self, number: int, failure: Failure, why: str, *, link_dead: bool = False) -> _Missing:
        log.warning("Receipt %d of %s: %s", number, self.item.accounting_entry_id, why)
        return _Missing(number, failure, link_dead)

    def _name(self, what: str) -> str:
        """A file name without its ending: ASCII letters, digits, dots and dashes, begun by the expense's reference."""
        more = self.item.additional_information
        reference = one_line((more.reconciliation_id if more else None) or "", 200)
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", reference)[:_STEM_LENGTH].strip("-_")
        return f"{stem or self.item.accounting_entry_id[:8]}-{what}"


def _no_room(attached: int) -> Failure:
    return Failure(
        ItemFailure.RECEIPT_UPLOAD,
        f"The entry has {attached} of its files already, and the accounting system takes no more. "
        "Add the others there.",
    )


def _no_receipt(what: str) -> Failure:
    """A file that is none, whoever fetches it: to export again as it is would be in vain."""
    return Failure(
        ItemFailure.RECEIPT_DOWNLOAD,
        f"The receipt in Pleo {what}. Replace it in Pleo, by a PDF for instance, and export again.",
    )


def _not_converted(kinds: str) -> Failure:
    return Failure(
        ItemFailure.RECEIPT_CONVERSION,
        f"The receipt ({kinds}) cannot be turned into a file that the accounting system takes. "
        "Replace it in Pleo, by a PDF for instance, and export again.",
    )


def _too_many(files: int) -> Failure:
    return Failure(
        ItemFailure.VALIDATION,
        f"The expense has {files} receipts, and at most {MAX_FILES} can be attached. "
        "Put them together in fewer files in Pleo, and export again.",
    )


def _place(folder: Path, item: ExportItem) -> Path:
    """A folder for the files of one expense."""
    place = folder / item.accounting_entry_id
    place.mkdir(mode=0o700)
    return place


async def _all(tasks: Sequence[asyncio.Task[_Result]]) -> list[_Result]:
    """The results of all tasks; the first error ends the others and is raised as it is."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
