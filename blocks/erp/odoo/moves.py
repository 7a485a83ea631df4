"""Looks expenses up in Odoo: what stands of them, with its lines, files and what was kept, in a few questions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_UP, Decimal

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Dimension, EntryState, Recorded, Statement, account_balances, account_codes
from blocks.erp.odoo.client import OdooClient, Row
from blocks.erp.odoo.directory import Directory
from blocks.erp.odoo.kept import FILE_NAME, Kept, Written, read_kept
from blocks.erp.odoo.names import MODEL, MoveName, MoveRole, external_id, link_to, origin_of, read_name
from blocks.erp.odoo.payloads import file_number
from blocks.erp.remote.compare import StandingLine

MAX_IDS = 200
"""How many expenses one search asks for."""

_MOVE_FIELDS = ("name", "state", "move_type", "date", "ref", "partner_id", "currency_id", "create_date", "journal_id")
_LINE_FIELDS = (
    "move_id", "account_id", "balance", "amount_currency", "currency_id", "tax_ids", "tax_repartition_line_id",
    "analytic_distribution", "reconciled", "partner_id", "display_type", "name",
)  # fmt: skip
_FILE_FIELDS = ("res_id", "name", "description")
_NOTES = {"line_section", "line_subsection", "line_note"}


@dataclass(frozen=True, slots=True)
class Move:
    """A move of ours as it stands, with the rows of its lines."""

    id: int
    name: MoveName
    row: Row
    lines: tuple[Row, ...] = ()

    @property
    def state(self) -> EntryState:
        """Draft or posted; what was cancelled is kept apart before."""
        return EntryState.POSTED if self.row["state"] == "posted" else EntryState.DRAFT

    @property
    def day(self) -> date:
        """Its accounting date."""
        return date.fromisoformat(self.row["date"])

    @property
    def is_invoice(self) -> bool:
        """Whether it is a vendor bill or refund."""
        return bool(self.row["move_type"] != "entry")


@dataclass(frozen=True, slots=True)
class Standing:
    """An entry that stands, in force: its main move and the payment of a bill, the numbers of its receipts."""

    main: Move
    payment: Move | None
    files: frozenset[int]
    kept: Kept | None

    @property
    def id_(self) -> str:
        """The accounting entry id."""
        return self.main.name.accounting_entry_id

    @property
    def moves(self) -> tuple[Move, ...]:
        """Its moves, the main one first."""
        return (self.main,) if self.payment is None else (self.main, self.payment)

    @property
    def state(self) -> EntryState:
        """Posted once all of it is."""
        return EntryState.POSTED if all(one.state is EntryState.POSTED for one in self.moves) else EntryState.DRAFT


@dataclass(slots=True)
class Found:
    """What a look-up found of one expense: `turn` is how often it has been booked, counting what is to come next where
    nothing is in force."""

    turn: int = 1
    standing: Standing | None = None


class MoveReader:
    """Reads the moves of one company."""

    def __init__(self, client: OdooClient, directory: Directory, units: MinorUnits) -> None:
        self._client = client
        self._directory = directory
        self._units = units
        self._taxes = {one.id: code for code, one in directory.taxes.items()}
        self._parts = {
            part.id: code for code, tax in directory.taxes.items() for parts in tax.parts.values() for part in parts
        }
        self._dimensions = {str(id_): Dimension(*key) for key, id_ in directory.analytic.items()}
        self._vendors = {id_: code for code, id_ in directory.partners.items()}
        self._names: dict[int, MoveName] = {}

    def know(self, id_: int, name: MoveName) -> None:
        """Odoo has just said that this move has that external id, which never becomes another's."""
        self._names[id_] = name

    async def look_up(self, ids: Sequence[str]) -> dict[str, Found]:
        """What there is of these expenses, by accounting entry id; of those without any move there is nothing."""
        wanted = sorted({id_.lower() for id_ in ids})
        found: dict[str, Found] = {}
        for start in range(0, len(wanted), MAX_IDS):
            origins = [origin_of(id_) for id_ in wanted[start : start + MAX_IDS]]
            found |= await self._read([["invoice_origin", "in", origins]])
        return {id_: found[id_] for id_ in wanted if id_ in found}

    async def by_reference(self, numbers: Sequence[str]) -> dict[str, Found]:
        """The same of all expenses that have one of these invoice numbers."""
        return await self._read([["ref", "in", list(numbers)], ["invoice_origin", "like", "pleo:"]])

    async def by_ids(self, moves: Sequence[int]) -> dict[str, Found]:
        """The same of the expenses that these moves are of, as far as these go."""
        return await self._read([["id", "in", list(moves)]])

    async def _read(self, domain: Sequence[object]) -> dict[str, Found]:
        company = ["company_id", "=", self._directory.company_id]
        rows = await self._client.search_read(MODEL, [company, *domain], _MOVE_FIELDS)
        if not rows:
            return {}
        ids = [row["id"] for row in rows]
        _, lines, files = await asyncio.gather(
            self._prove([id_ for id_ in ids if id_ not in self._names]),
            self._client.search_read("account.move.line", [["move_id", "in", ids]], _LINE_FIELDS),
            self._client.search_read("ir.attachment", [["res_model", "=", MODEL], ["res_id", "in", ids]], _FILE_FIELDS),
        )
        lines_of: dict[int, list[Row]] = defaultdict(list)
        for line in lines:
            if line["display_type"] not in _NOTES:
                lines_of[line["move_id"]].append(line)
        files_of: dict[int, list[Row]] = defaultdict(list)
        for file in files:
            files_of[file["res_id"]].append(file)
        moves: dict[str, list[Move]] = defaultdict(list)
        for row in rows:
            name = self._names.get(row["id"])
            if name is not None:  # else it only says in its source document that it is one of ours
                moves[name.accounting_entry_id].append(Move(row["id"], name, row, tuple(lines_of[row["id"]])))
        return {id_: _found(several, files_of) for id_, several in moves.items()}

    async def _prove(self, ids: Sequence[int]) -> None:
        """Learn the names of moves by their external ids."""
        rows = await self._client.call(MODEL, "get_metadata", list(ids), changes=False) if ids else []
        for row in rows:
            for name in _names(row):
                self._names[row["id"]] = name

    def standing_lines(self, move: Move) -> list[StandingLine]:
        """The lines of a move, to be compared."""
        return [self._standing_line(line) for line in move.lines]

    def _standing_line(self, line: Row) -> StandingLine:
        currency, own = self._directory.currency_codes[line["currency_id"]], self._directory.currency.code
        return StandingLine(
            account=self._directory.codes.get(line["account_id"], f"#{line['account_id']}"),
            currency=currency,
            amount_minor=self._minor(line["amount_currency"], currency),
            company_minor=None if currency == own else self._minor(line["balance"], own),
            tax_code=self._tax_of(line),
            dimensions=frozenset(
                self._dimensions.get(id_, Dimension("", f"#{id_}"))
                for ids in line["analytic_distribution"] or {}
                for id_ in ids.split(",")
            ),
        )

    def written(self, move: Move) -> Written:
        """A move as it stands, to be compared with what was written."""
        lines = tuple(
            (
                one.account,
                one.currency,
                one.amount_minor,
                one.company_minor,
                one.tax_code or "",
                "" if row["display_type"] == "payment_term" or row["tax_repartition_line_id"] else row["name"] or "",
            )
            for one, row in zip(self.standing_lines(move), move.lines, strict=True)
        )
        return Written(move.row["date"], self.vendor(move), move.row["ref"] or "", lines)

    def vendor(self, move: Move) -> str:
        """The code of the vendor that a move is of, empty for nobody's."""
        partner = move.row["partner_id"]
        return self._vendors.get(partner, f"#{partner}") if partner else ""

    def recorded(self, standing: Standing) -> Recorded:
        """An entry that stands, as it is reported; what it is settled with is told elsewhere."""
        main, kept = standing.main, standing.kept
        lines = [line for move in standing.moves for line in self.standing_lines(move)]
        currency, amount = self._amount(lines, kept)
        statement = Statement.read(kept.statement) if kept is not None and kept.statement else None
        name = external_id(main.id)
        return Recorded(
            accounting_entry_id=standing.id_,
            external_id=name,
            url=link_to(self._client.base_url, name, self._client.version),
            recorded_at=datetime.fromisoformat(main.row["create_date"]).replace(tzinfo=UTC),
            currency=currency,
            amount_minor=-amount if kept is not None and kept.amount_minor < 0 else amount,
            accounts=account_codes(line.account for line in lines),
            state=standing.state,
            found=True,
            posting_date=main.day,
            original_date=kept.original_date if kept is not None else main.day,
            attached=standing.files,
            statement=statement,
            edits=self.edits(standing),
            balances=account_balances((line.account, line.amount_minor) for line in lines),
        )

    def edits(self, standing: Standing) -> tuple[str, ...]:
        """What a person has changed in the moves since they were written, in words."""
        if standing.kept is None:
            return ()
        now = [self.written(move) for move in standing.moves]
        if len(now) != len(standing.kept.written):
            return ("the payment is not there any more",)
        pairs = zip(standing.kept.written, now, strict=True)
        return tuple(text for before, after in pairs for text in before.edits(after, self._units))

    def _amount(self, lines: Sequence[StandingLine], kept: Kept | None) -> tuple[str, int]:
        """The currency and the magnitude that the books hold, whatever was kept says."""
        settling = [lines[place] for place in kept.counter if place < len(lines)] if kept is not None else []
        if not settling:
            settling = [line for line in lines if line.amount_minor < 0]
        currency = settling[0].currency if settling else self._directory.currency.code
        return currency, abs(sum(line.amount_minor for line in settling))

    def _tax_of(self, line: Row) -> str | None:
        part = line["tax_repartition_line_id"]
        if part:
            return self._parts.get(part, f"#{part}")
        return ", ".join(self._taxes.get(id_, f"#{id_}") for id_ in line["tax_ids"]) or None

    def _minor(self, amount: Decimal | int, currency: str) -> int:
        """An amount in Pleo's minor units. One between two of them was not recorded by us, and passes for neither's."""
        return int(Decimal(amount).scaleb(self._units.decimals(currency)).to_integral_value(ROUND_UP))


def _found(moves: Sequence[Move], files_of: Mapping[int, Sequence[Row]]) -> Found:
    """What these moves of one expense come to."""
    found = Found()
    by_turn: dict[int, dict[tuple[MoveRole, bool], Move]] = defaultdict(dict)
    for one in moves:
        by_turn[one.name.turn][one.name.role, one.name.reversal] = one
    for turn in sorted(by_turn):
        parts = by_turn[turn]
        main, payment = parts.get((MoveRole.MAIN, False)), parts.get((MoveRole.PAYMENT, False))
        back = parts.get((MoveRole.MAIN, True))
        is_over = back is not None and back.row["state"] == "posted"
        if is_over or any(one is not None and one.row["state"] == "cancel" for one in (main, payment)):
            found.turn, found.standing = turn + 1, None
            continue
        found.turn, found.standing = turn, None
        if main is not None:
            files = files_of.get(main.id, ())
            kept = next((read_kept(file["description"]) for file in files if file["name"] == FILE_NAME), None)
            if payment is None and kept is not None and len(kept.documents) > 1:
                continue  # somebody deleted it; recording makes it anew
            found.standing = Standing(main, payment, _numbers(files), kept)
    return found


def _names(metadata: Row) -> list[MoveName]:
    """The names of ours among the external ids of a record, which people's exports give others."""
    return [name for one in metadata["xmlids"] if (name := read_name(one["xmlid"])) is not None]


def _numbers(files: Sequence[Row]) -> frozenset[int]:
    """The numbers of the receipts among the files of a move."""
    return frozenset(number for file in files if (number := file_number(file["description"])) is not None)
