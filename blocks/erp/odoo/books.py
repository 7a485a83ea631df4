"""One company's books in Odoo, as `blocks.erp.remote.recording` reaches them.

Why there is one entry an expense, for any number of writers, on a stock server. A move and its external id are made in
one transaction by `load`, and the database keeps the external id unique: of two writers at the same time one is told
`ids: false` with nothing made (the other's transaction won), looks the expense up again and finds it. In its mode
`update` with `noupdate`, `load` leaves a record that stands as it is, so that a late request of a run that was killed
changes nothing; lines have external ids too, should somebody import the same file once more. Posting is a call of its
own: Odoo refuses a move that is not a draft any more, and what was posted by another is found posted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Attachment, Bill, Entry, EntryState, NotAttached, Recorded
from blocks.erp.errors import RefusalKind, Refused
from blocks.erp.odoo.checks import locked
from blocks.erp.odoo.client import OdooClient, Row
from blocks.erp.odoo.directory import Directory, Locks, read_locks
from blocks.erp.odoo.moves import Found, MoveReader, Standing
from blocks.erp.odoo.names import MODEL, origin_of
from blocks.erp.odoo.payloads import (
    LEFT_ALONE,
    NOTHING_ADDED,
    EntryPayload,
    file_cells,
    file_number,
    payload_of,
    rows_of,
)
from blocks.erp.remote.calls import CallRefused, NotThere, TooLarge
from blocks.erp.remote.compare import OPTIONAL, differences
from blocks.erp.remote.receipts import attach, content_of
from blocks.text import one_line

ALONE_TRIES = 5
WAIT_S = 0.1
"""How often one entry is tried that `load` takes back, as it does for a rival's sake too; the first wait between."""

MAX_CALL_BYTES = 8_000_000
"""How many bytes of receipts one call takes along; a larger receipt goes alone."""

Sleep = Callable[[float], Awaitable[None]]


class OdooBooks:
    """The books of `directory`'s company. Receipts have at most `max_attachment_bytes`."""

    def __init__(
        self,
        client: OdooClient,
        directory: Directory,
        reader: MoveReader,
        units: MinorUnits,
        max_attachment_bytes: int,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._directory = directory
        self._reader = reader
        self._units = units
        self._max_attachment_bytes = max_attachment_bytes
        self._sleep = sleep
        self._turns: dict[str, int] = {}
        self._made: dict[str, list[int]] = {}

    async def look_up(self, ids: Sequence[str]) -> Mapping[str, Standing]:
        """What stands of these ids, in force, drafts too."""
        found = await self._reader.look_up(ids)
        unseen = [move for id_ in ids if id_.lower() not in found for move in self._made.get(id_.lower(), ())]
        if unseen:  # somebody changed the source document, by which they are searched, and not the external id
            found |= await self._reader.by_ids(unseen)
        for id_ in ids:
            self._turns[id_.lower()] = found.get(id_.lower(), Found()).turn
        return {id_: one.standing for id_, one in found.items() if one.standing is not None}

    async def create(self, entries: Sequence[Entry]) -> None:
        """Make drafts of all of them with their receipts; one that stands is left alone. Raises CallRefused."""
        portion: list[tuple[Entry, list[tuple[Attachment, bytes]]]] = []
        size = 0
        for entry in entries:
            files = await self._fit_files(entry)
            weight = sum(len(content) for _, content in files)
            if portion and size + weight > MAX_CALL_BYTES:
                await self._load(portion)
                portion, size = [], 0
            portion.append((entry, files))
            size += weight
        await self._load(portion)

    async def attach(self, standing: Standing, files: Sequence[Attachment]) -> list[NotAttached]:
        """Attach those files that do not hang there yet."""
        shelf = _Shelf(self._client, standing)
        return await attach(shelf, files, self._max_attachment_bytes, "Odoo")

    async def post(self, standing: Sequence[Standing]) -> None:
        """Post drafts, all of them or none, on days that are not locked by now. Raises CallRefused."""
        drafts = [move for one in standing for move in one.moves if move.state is EntryState.DRAFT]
        if not drafts:
            return
        locks = await self.locks()
        if any(locks.cover(move.day) for move in drafts):
            raise CallRefused("the day is locked")
        ids = [move.id for move in drafts]
        await self._client.call(MODEL, "action_post", ids, changes=True, context=NOTHING_ADDED)

    async def remove(self, standing: Standing) -> None:
        """Delete an entry that we have just made, or cancel it. Raises CallRefused where Odoo does neither."""
        ids = [move.id for move in standing.moves]
        posted = [move.id for move in standing.moves if move.state is EntryState.POSTED]
        if posted:
            await self._client.call(MODEL, "button_draft", posted, changes=True, context=NOTHING_ADDED)
        try:
            await self._client.call(MODEL, "unlink", ids, changes=True)
        except NotThere:
            return
        except CallRefused:
            if not posted:
                raise
            await self._client.call(MODEL, "button_cancel", ids, changes=True)  # where the audit trail keeps it

    def differences(self, entry: Entry, standing: Standing) -> Sequence[str]:
        """In what it is another entry than was meant, in words."""
        parts = [one.lines for one in entry.documents] if isinstance(entry, Bill) else [entry.all_lines]
        if len(parts) != len(standing.moves):
            return [f"it has {len(standing.moves)} documents and not {len(parts)}"]
        vendor = entry.vendor.code if isinstance(entry, Bill) and entry.vendor is not None else ""
        found: list[str] = []
        for move, lines in zip(standing.moves, parts, strict=True):
            stands = self._reader.standing_lines(move)
            found += differences(entry, stands, posting_date=move.day, units=self._units, told=OPTIONAL, meant=lines)
            if self._reader.vendor(move) != vendor:
                found.append(f"its vendor is {self._reader.vendor(move) or 'nobody'} and not {vendor or 'nobody'}")
        return found

    async def explain(self, entry: Entry, error: CallRefused) -> Refused:
        """The refusal of one entry, by what Odoo holds now, with its own text."""
        id_ = entry.accounting_entry_id
        locks = await self.locks()
        if locks.cover(entry.posting_date):
            return locked(id_, entry.posting_date, locks)
        ids = {self._directory.accounts[code].id: code for code in entry.accounts if code in self._directory.accounts}
        domain = [["id", "in", sorted(ids)]]  # archived ones are not found
        usable = {row["id"] for row in await self._client.search_read("account.account", domain, ("id",))}
        gone = next((code for account, code in ids.items() if account not in usable), None)
        if gone is not None:
            return Refused(id_, RefusalKind.UNKNOWN_ACCOUNT, gone, str(error))
        return Refused(id_, RefusalKind.OTHER, "entry", f"Odoo refuses it: {error}")

    def recorded(self, standing: Standing) -> Recorded:
        """The entry that stands, as it is reported."""
        return self._reader.recorded(standing)

    async def locks(self) -> Locks:
        """The lock dates as they are now."""
        return await read_locks(self._client, self._directory.company_id)

    async def taken_numbers(self, entries: Sequence[Bill]) -> dict[str, Refused]:
        """Those of these bills whose vendor has one of the same number in the books, of another expense, by id."""
        wanted = {one.accounting_entry_id: key for one in entries if (key := number_key(one, self._directory))}
        if not wanted:
            return {}
        keys = set(wanted.values())
        domain = [
            ["company_id", "=", self._directory.company_id],
            ["move_type", "in", sorted({type_ for type_, _, _ in keys})],
            ["partner_id", "in", sorted({partner for _, partner, _ in keys})],
            ["ref", "in", sorted({number for _, _, number in keys})],
            ["state", "!=", "cancel"],
        ]
        rows = await self._client.search_read(MODEL, domain, ("move_type", "partner_id", "ref", "invoice_origin"))
        refused = {}
        for id_, key in wanted.items():
            taken = next(
                (row for row in rows if _row_key(row) == key and row["invoice_origin"] != origin_of(id_)), None
            )
            if taken is not None:
                text = f"the vendor has a bill of that number in Odoo already: {MODEL},{taken['id']}"
                refused[id_] = Refused(id_, RefusalKind.OTHER, key[2], text)
        return refused

    async def _fit_files(self, entry: Entry) -> list[tuple[Attachment, bytes]]:
        """The entry's receipts that are what was downloaded, the first of each number; of others `attach` tells."""
        fit: dict[int, tuple[Attachment, bytes]] = {}
        for file in entry.attachments:
            content = await content_of(file, self._max_attachment_bytes)
            if isinstance(content, bytes) and content:  # Odoo imports no empty file along with a move
                fit.setdefault(file.number, (file, content))
        return list(fit.values())

    async def _load(self, portion: Sequence[tuple[Entry, list[tuple[Attachment, bytes]]]]) -> None:
        if not portion:
            return
        payloads = [self._payload(entry, files) for entry, files in portion]
        try:
            await self._load_payloads(payloads)
        except TooLarge:
            if len(portion) > 1 or not portion[0][1]:
                raise
            await self._load_payloads([self._payload(portion[0][0], [])])  # `attach` tells which file it is

    def _payload(self, entry: Entry, files: Sequence[tuple[Attachment, bytes]]) -> EntryPayload:
        return payload_of(
            entry, self._directory, self._units, self._turns.get(entry.accounting_entry_id.lower(), 1), files
        )

    async def _load_payloads(self, payloads: Sequence[EntryPayload]) -> None:
        columns, rows = rows_of(payloads)
        tries = ALONE_TRIES if len(payloads) == 1 else 1
        for turn in range(1, tries + 1):
            told = await self._client.call(
                MODEL, "load", changes=True, context=NOTHING_ADDED | LEFT_ALONE, fields=columns, data=rows
            )
            if told.get("ids"):
                self._remember(payloads, told["ids"])
                return
            if turn < tries:
                await self._sleep(WAIT_S * 2 ** (turn - 1))
        raise CallRefused(load_text(told))

    def _remember(self, payloads: Sequence[EntryPayload], ids: Sequence[int]) -> None:
        """Which moves there are of each entry now, whoever made them."""
        names = [move.name for payload in payloads for move in payload.moves]
        if len(names) == len(ids):
            for name, id_ in zip(names, ids, strict=True):
                self._made.setdefault(name.accounting_entry_id, []).append(id_)
                self._reader.know(id_, name)


class _Shelf:
    """The receipts of one move; the database keeps one of each number, by its external id."""

    def __init__(self, client: OdooClient, standing: Standing) -> None:
        self._client = client
        self._standing = standing

    async def there(self) -> Sequence[tuple[int, Any]]:
        """The numbers that hang there. Nobody has two of one."""
        domain = [["res_model", "=", MODEL], ["res_id", "=", self._standing.main.id]]
        rows = await self._client.search_read("ir.attachment", domain, ("description",))
        return [(number, row["id"]) for row in rows if (number := file_number(row["description"])) is not None]

    async def put(self, file: Attachment, content: bytes) -> int:
        """Hang a file there, if it does not hang there by now."""
        move = self._standing.main
        cells = {**file_cells(move.name, file, content), "res_id": str(move.id)}
        told = await self._client.call(
            "ir.attachment", "load", changes=True, context=LEFT_ALONE, fields=list(cells), data=[list(cells.values())]
        )
        if not told.get("ids"):
            raise CallRefused(load_text(told))
        id_: int = told["ids"][0]
        return id_

    async def take_down(self, id_: Any) -> None:
        """Nothing: there is no second one of a number."""


def number_key(entry: Bill, directory: Directory) -> tuple[str, int, str] | None:
    """What no two vendor bills share: type, vendor and number. None for an entry that is none, or has no number."""
    if entry.vendor is None or not entry.invoice_number or entry.vendor.code not in directory.partners:
        return None
    kinds = {"bill": "in_invoice", "credit_note": "in_refund"}
    type_ = next((kinds[one.kind.value] for one in entry.documents if one.kind.value in kinds), None)
    return (type_, directory.partners[entry.vendor.code], entry.invoice_number) if type_ is not None else None


def load_text(told: Row) -> str:
    """Why `load` took everything back, in Odoo's words."""
    texts = [str(one.get("message") or "") for one in told.get("messages") or () if isinstance(one, dict)]
    return one_line(next((text for text in texts if text), "it gives no reason"), 300)


def _row_key(row: Row) -> tuple[str, int, str]:
    return row["move_type"], row["partner_id"] or 0, row["ref"] or ""
