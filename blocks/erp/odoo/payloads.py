"""What Odoo is sent for an entry: its moves as rows of `load`, with the ids of its directory.

Every line is given, taxes and the vendor's own line among them, and `NOTHING_ADDED` keeps Odoo from adding its own: so
Pleo's tax stands to the cent, and no line comes of itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import Attachment, Bill, Document, DocumentKind, Entry, JournalEntry, Line
from blocks.erp.odoo.directory import Directory, Tax, TaxPart
from blocks.erp.odoo.kept import FILE_NAME, Kept, Written, kept_of
from blocks.erp.odoo.names import MoveName, MoveRole, origin_of
from blocks.erp.remote.checks import is_invoice
from blocks.erp.remote.names import Currency
from blocks.text import one_line

MAX_LINE_TEXT = 500
MAX_NUMBER = 120

NOTHING_ADDED = {
    "skip_invoice_sync": True,
    "tracking_disable": True,
    "mail_create_nolog": True,
    "mail_notrack": True,
}
"""Odoo neither computes taxes and terms of payment anew, nor balances by a line of its own, nor writes a chatter."""

LEFT_ALONE = {"mode": "update", "noupdate": True}
"""`load` makes what is not there, and touches nothing that is."""

Cells = dict[str, str]
"""The cells of one row, by the name of their column."""

_TAX_PART = "tax_repartition_line_id/.id"


@dataclass(frozen=True, slots=True)
class MovePayload:
    """A move to be made: its own cells, those of its lines and of what hangs on it."""

    name: MoveName
    head: Cells
    lines: tuple[Cells, ...]
    meant: tuple[Line, ...]
    files: tuple[Cells, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryPayload:
    """The moves of one entry, the main one first, and what is kept of it."""

    entry: Entry
    moves: tuple[MovePayload, ...]
    kept: Kept


def payload_of(
    entry: Entry, directory: Directory, units: MinorUnits, turn: int, files: Sequence[tuple[Attachment, bytes]] = ()
) -> EntryPayload:
    """The moves of an entry that `check` has found nothing wrong with, with files that are fit to be attached."""
    return _Maker(entry, directory, units, turn).make(files)


def rows_of(payloads: Iterable[EntryPayload]) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of one `load`: a move's first row has its own cells, and each row one line and one file."""
    rows: list[Cells] = []
    for payload in payloads:
        for move in payload.moves:
            count = max(len(move.lines), len(move.files), 1)
            for place in range(count):
                row = dict(move.head) if place == 0 else {}
                for prefix, cells in (("line_ids", move.lines), ("attachment_ids", move.files)):
                    if place < len(cells):
                        row |= {f"{prefix}/{name}": text for name, text in cells[place].items()}
                rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[row.get(name, "") for name in columns] for row in rows]


def file_cells(name: MoveName, file: Attachment, content: bytes) -> Cells:
    """A receipt that hangs on a move; its external id tells its number."""
    return {
        "id": name.part(f"file{file.number}"),
        "name": one_line(file.name, 200) or f"receipt {file.number}",
        "res_model": "account.move",
        "datas": base64.b64encode(content).decode("ascii"),
        "mimetype": file.media_type,
        "description": file_mark(file.number),
    }


def file_mark(number: int) -> str:
    """The description of a receipt of that number."""
    return f"Pleo {number}"


def file_number(description: object) -> int | None:
    """The number of the receipt that a description marks, None where it marks none."""
    number = description.removeprefix("Pleo ") if isinstance(description, str) else ""
    is_one = number.isascii() and number.isdecimal() and description == file_mark(int(number))
    return int(number) if is_one else None


def kept_cells(name: MoveName, kept: Kept) -> Cells:
    """The file `pleo.json`."""
    text = kept.text()
    return {
        "id": name.part("kept"),
        "name": FILE_NAME,
        "res_model": "account.move",
        "datas": base64.b64encode(text.encode()).decode("ascii"),
        "mimetype": "application/json",
        "description": text,
    }


class _Maker:
    def __init__(self, entry: Entry, directory: Directory, units: MinorUnits, turn: int) -> None:
        self._entry = entry
        self._directory = directory
        self._units = units
        self._turn = turn
        self._currency = directory.currencies[entry.currency]
        self._is_foreign = self._currency.code != directory.currency.code

    def make(self, files: Sequence[tuple[Attachment, bytes]]) -> EntryPayload:
        entry = self._entry
        if isinstance(entry, Bill):
            moves = [self._document(entry, place, one) for place, one in enumerate(entry.documents)]
        elif isinstance(entry, JournalEntry):
            moves = [self._move(self._name(MoveRole.MAIN), entry.journal, entry.lines, None)]
        else:
            raise TypeError(f"Odoo has no form for a {type(entry).__name__}")
        kept = kept_of(entry, [self._written(move) for move in moves])
        name = moves[0].name
        hung = [kept_cells(name, kept), *(file_cells(name, file, content) for file, content in files)]
        moves[0] = MovePayload(name, moves[0].head, moves[0].lines, moves[0].meant, tuple(hung))
        return EntryPayload(entry, tuple(moves), kept)

    def _name(self, role: MoveRole) -> MoveName:
        return MoveName(self._entry.accounting_entry_id.lower(), self._turn, role)

    def _document(self, entry: Bill, place: int, document: Document) -> MovePayload:
        name = self._name(MoveRole.MAIN if place == 0 else MoveRole.PAYMENT)
        return self._move(name, document.journal, document.lines, document)

    def _written(self, move: MovePayload) -> Written:
        entry = self._entry
        vendor = entry.vendor.code if isinstance(entry, Bill) and entry.vendor is not None else ""
        lines = tuple(
            (
                line.account.code,
                entry.currency,
                line.amount_minor,
                (-line.company_minor if line.credit_minor else line.company_minor)
                if line.company_minor is not None and self._is_foreign
                else None,
                line.tax_code or "",
                "" if cells["display_type"] == "payment_term" or _TAX_PART in cells else cells["name"],
            )
            for line, cells in zip(move.meant, move.lines, strict=True)
        )
        return Written(entry.posting_date.isoformat(), vendor, move.head["ref"], lines)

    def _move(self, name: MoveName, journal: str, lines: tuple[Line, ...], document: Document | None) -> MovePayload:
        entry, directory = self._entry, self._directory
        invoiced = document is not None and isinstance(entry, Bill) and is_invoice(entry, document)
        refund = document is not None and document.kind is DocumentKind.CREDIT_NOTE
        head = {
            "id": str(name),
            "move_type": ("in_refund" if refund else "in_invoice") if invoiced else "entry",
            "journal_id/.id": str(directory.journals[journal].id),
            "date": entry.posting_date.isoformat(),
            "currency_id/.id": str(self._currency.id),
            "ref": self._reference(),
            "invoice_origin": origin_of(entry.accounting_entry_id),
        }
        if isinstance(entry, Bill) and entry.vendor is not None:
            head["partner_id/.id"] = str(directory.partners[entry.vendor.code])
        if invoiced:
            head["invoice_date"] = self._invoice_day().isoformat()
            head["invoice_date_due"] = self._due_day().isoformat()
        cells = tuple(self._lines(name, lines, invoiced=invoiced, refund=refund))
        return MovePayload(name, head, cells, lines)

    def _reference(self) -> str:
        """The number of a vendor's invoice, by which bills and payments find each other; else what it was for."""
        entry = self._entry
        if isinstance(entry, Bill):
            return entry.invoice_number
        return f"{entry.description} ({entry.reference})" if entry.reference else entry.description

    def _lines(self, name: MoveName, lines: tuple[Line, ...], *, invoiced: bool, refund: bool) -> Iterator[Cells]:
        payable = self._entry.payable.code if isinstance(self._entry, Bill) else None
        partner = self._entry.vendor if isinstance(self._entry, Bill) else None
        cost: Line | None = None
        for place, line in enumerate(lines, 1):
            made = self._line(line, name.part(f"line{place}"))
            owed = invoiced and line.account.code == payable
            turned = refund if invoiced else (cost or line).credit_minor > 0
            tags = self._taxes(line, cost, made, refund=turned)
            kind = "payment_term" if owed else "tax" if invoiced and line.tax and tags else "product"
            made["display_type"] = kind  # of each, as an empty cell would be no kind at all
            if line.account.code == payable and self._settles_itself():
                made["matching_number"] = f"I{self._name(MoveRole.MAIN)}"
            if owed:
                made["date_maturity"] = self._due_day().isoformat()
            elif invoiced and kind == "product":
                self._price(line, made, refund=refund)
            if partner is not None:
                made["partner_id/.id"] = str(self._directory.partners[partner.code])
            if not line.tax and not line.counter and not owed:
                cost = line
            yield made

    def _settles_itself(self) -> bool:
        """Whether a bill and its payment are to be reconciled when they are posted: both have one line on the payable
        account, to the same amount."""
        entry = self._entry
        if not isinstance(entry, Bill) or len(entry.documents) != 2 or not self._directory.settles_on_posting:
            return False
        lines = [line for line in entry.all_lines if line.account.code == entry.payable.code]
        return (
            self._directory.accounts[entry.payable.code].reconcile
            and len(lines) == 2
            and bool(lines[0].amount_minor)
            and lines[0].amount_minor == -lines[1].amount_minor
            and lines[0].company_minor == lines[1].company_minor
        )

    def _line(self, line: Line, id_: str) -> Cells:
        worth = line.debit_minor + line.credit_minor
        if self._is_foreign and line.company_minor is not None:
            worth = line.company_minor
        amount = self._written_number(worth, self._directory.currency)
        made = {
            "id": id_,
            "account_id/.id": str(self._directory.accounts[line.account.code].id),
            "debit": amount if line.debit_minor or not line.credit_minor else "0",
            "credit": amount if line.credit_minor else "0",
            "currency_id/.id": str(self._currency.id),
            "amount_currency": self._written_number(line.amount_minor, self._currency),
            "name": self._text(line),
        }
        if line.dimensions:
            made["analytic_distribution"] = json.dumps(self._distribution(line))
        return made

    def _text(self, line: Line) -> str:
        entry = self._entry
        text = line.text or entry.description
        if line.counter and isinstance(entry, Bill):
            text = f"{entry.description} ({entry.reference})" if entry.reference else entry.description
        return one_line(text, MAX_LINE_TEXT)

    def _distribution(self, line: Line) -> Mapping[str, int]:
        """The whole line for each plan; until 16 each plan has a line of its own, from 17 they share one."""
        ids = [str(self._directory.analytic[one.group, one.code]) for one in line.dimensions]
        return {",".join(ids): 100} if self._directory.plans_share_lines else dict.fromkeys(ids, 100)

    def _taxes(self, line: Line, cost: Line | None, made: Cells, *, refund: bool) -> bool:
        """What a line is to Odoo's tax report; whether it is a tax line there."""
        if line.tax_code is None:
            return False
        tax = self._directory.taxes[line.tax_code]
        if not line.tax:
            made["tax_ids/.id"] = str(tax.id)
            made["tax_tag_ids/.id"] = _ids(tax.base_tags[refund])
            return False
        part = tax_part(tax, line, cost, refund=refund)
        if part is None:
            return False
        made[_TAX_PART] = str(part.id)
        made["tax_tag_ids/.id"] = _ids(part.tags)
        made["tax_base_amount"] = self._base(line, cost)
        return True

    def _base(self, line: Line, cost: Line | None) -> str:
        """What a tax was computed on, in the company's currency."""
        if cost is None:
            return "0"
        worth = cost.debit_minor + cost.credit_minor
        if self._is_foreign and cost.company_minor is not None:
            worth = cost.company_minor
        elif line.tax_base_minor is not None:
            worth = abs(line.tax_base_minor)
        return self._written_number(worth, self._directory.currency)

    def _price(self, line: Line, made: Cells, *, refund: bool) -> None:
        """A line of a bill has a quantity and a price; what costs less than nothing is -1 of it."""
        amount = -line.amount_minor if refund else line.amount_minor
        made["quantity"] = "-1" if amount < 0 else "1"
        made["price_unit"] = self._written_number(abs(amount), self._currency)

    def _invoice_day(self) -> date:
        return self._entry.details.invoice_date or self._entry.original_date

    def _due_day(self) -> date:
        return self._entry.details.due_date or self._invoice_day()

    def _written_number(self, minor: int, currency: Currency) -> str:
        amount = currency.amount_of(minor, self._units)
        assert amount is not None  # noqa: S101 - `check` refuses amounts that Odoo's currency has no digits for
        return f"{amount:f}"


def tax_part(tax: Tax, line: Line, cost: Line | None, *, refund: bool) -> TaxPart | None:
    """Which part of a tax a tax line is: tax that is due stands on the other side than the cost."""
    due = cost is not None and (line.amount_minor < 0) != (cost.amount_minor < 0)
    parts = tax.parts[refund]
    fitting = [part for part in parts if part.due == due] or list(parts)
    same = next((part for part in fitting if part.account == line.account.code), None)
    return same or (fitting[0] if fitting else None)


def _ids(several: Iterable[int]) -> str:
    return ",".join(map(str, several))
