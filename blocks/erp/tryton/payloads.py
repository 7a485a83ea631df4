"""What Tryton is sent for an entry: the moves and supplier invoices that record it, with the ids of its directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from blocks.erp.currencies import MinorUnits, in_own_digits
from blocks.erp.entries import Bill, Document, Entry, EntryState, JournalEntry, Line
from blocks.erp.remote.checks import is_invoice
from blocks.erp.remote.names import Currency
from blocks.erp.tryton.client import Row
from blocks.erp.tryton.directory import Directory, TaxPart
from blocks.erp.tryton.records import PAID_ELSEWHERE, PAYMENTS, Model, RecordKey, RecordRole, Statement, payment_text
from blocks.text import one_line

MAX_LINE_TEXT = 500


@dataclass(frozen=True, slots=True)
class RecordPayload:
    """A record to be made. `values` lack what tells whose it is, which depends on the server; `text` is for people."""

    model: Model
    key: RecordKey
    values: Row
    text: str


@dataclass(frozen=True, slots=True)
class EntryPayload:
    """The records of one entry, the main one first, and whether they are to be posted, and settle each other."""

    entry: Entry
    records: tuple[RecordPayload, ...]
    post: bool
    settle: bool


def payload_of(entry: Entry, directory: Directory, units: MinorUnits) -> EntryPayload:
    """The records of an entry that `check` has found nothing wrong with."""
    return _Maker(entry, directory, units).make()


class _Maker:
    def __init__(self, entry: Entry, directory: Directory, units: MinorUnits) -> None:
        self._entry = entry
        self._directory = directory
        self._units = units
        self._currency = directory.currencies[entry.currency]
        self._is_foreign = self._currency.code != directory.currency.code

    def make(self) -> EntryPayload:
        entry = self._entry
        settle = False
        if isinstance(entry, Bill):
            records = tuple(self._document(entry, place, document) for place, document in enumerate(entry.documents))
            settle = len(records) > 1 and entry.state is EntryState.POSTED
        elif isinstance(entry, JournalEntry):
            records = (self._record(RecordRole.MAIN, self._move(entry.journal, entry.lines, statement=True)),)
        else:
            raise TypeError(f"Tryton has no form for a {type(entry).__name__}")
        return EntryPayload(entry, records, entry.state is EntryState.POSTED, settle)

    def _document(self, entry: Bill, place: int, document: Document) -> RecordPayload:
        role = RecordRole.MAIN if place == 0 else RecordRole.PAYMENT
        if is_invoice(entry, document):
            return self._record(role, self._invoice(entry, document), Model.INVOICE)
        return self._record(role, self._move(document.journal, document.lines, statement=place == 0, document=document))

    def _record(self, role: RecordRole, values: Row, model: Model = Model.MOVE) -> RecordPayload:
        entry = self._entry
        text = f"{entry.description} ({entry.reference})" if entry.reference else entry.description
        return RecordPayload(model, RecordKey(entry.accounting_entry_id, role), values, text)

    def _move(self, journal: str, lines: tuple[Line, ...], *, statement: bool, document: Document | None = None) -> Row:
        directory, day = self._directory, self._entry.posting_date
        period = directory.period(day)
        assert period is not None  # noqa: S101 - `check` refuses a day without one
        return {
            "company": directory.company_id,
            "journal": directory.journals[journal].id,
            "period": period.id,
            "date": day,
            "lines": [["create", list(self._move_lines(lines, statement, document))]],
        }

    def _move_lines(self, lines: tuple[Line, ...], statement: bool, document: Document | None) -> Iterator[Row]:
        told = not statement
        last_cost: Line | None = None
        bill = self._entry if isinstance(self._entry, Bill) else None
        payable, number = (bill.payable.code, bill.invoice_number) if bill is not None else (None, "")
        for place, line in enumerate(lines):
            text = line.text or self._entry.description
            if document is not None and document.kind in PAYMENTS and line.account.code == payable:
                text = payment_text(document.kind, number) if number else self._entry.description
            if not told and (line.counter or place == len(lines) - 1):
                text, told = self._statement_text(), True
            yield self._move_line(line, text, last_cost)
            if not line.tax and not line.counter:
                last_cost = line

    def _move_line(self, line: Line, text: str, cost: Line | None) -> Row:
        account = self._directory.accounts[line.account.code]
        debit = self._company_amount(line) if line.debit_minor else Decimal(0)
        credit = self._company_amount(line) if line.credit_minor else Decimal(0)
        made: Row = {
            "account": account.id,
            "debit": debit,
            "credit": credit,
            "description": one_line(text, MAX_LINE_TEXT),
        }
        if account.party_required:  # on any other account Tryton refuses a party
            made["party"] = self._party_id()
        if self._is_foreign:
            made["second_currency"] = self._currency.id
            made["amount_second_currency"] = self._decimal(line.amount_minor, self._currency)
        tax_lines = list(self._tax_lines(line, debit - credit, cost))
        if tax_lines:
            made["tax_lines"] = [["create", tax_lines]]
        if line.dimensions:
            values = [self._directory.analytic[one.group, one.code].id for one in line.dimensions]
            made["analytic_lines"] = [
                ["create", [{"account": id_, "debit": debit, "credit": credit, "date": self._day()} for id_ in values]]
            ]
        return made

    def _tax_lines(self, line: Line, amount: Decimal, cost: Line | None) -> Iterator[Row]:
        """Base and tax as Tryton's tax codes sum them up: positive where they are in debit."""
        if line.tax_code is None:
            return
        if not line.tax:
            for part in self._directory.taxes[line.tax_code]:
                yield {"tax": part.id, "type": "base", "amount": amount}
        elif (part_of := self._tax_part(line, cost)) is not None:
            yield {"tax": part_of.id, "type": "tax", "amount": amount}

    def _tax_part(self, line: Line, cost: Line | None) -> TaxPart | None:
        """Which part of a tax a tax line is: tax that is due stands on the other side than the cost."""
        parts = self._directory.taxes[line.tax_code] if line.tax_code is not None else ()
        due = cost is not None and (line.amount_minor < 0) != (cost.amount_minor < 0)
        fitting = [part for part in parts if part.due == due] or list(parts)
        return next((part for part in fitting if line.account.code in part.accounts), fitting[0] if fitting else None)

    def _invoice(self, entry: Bill, document: Document) -> Row:
        directory, details = self._directory, entry.details
        assert entry.vendor is not None  # noqa: S101 - see is_invoice
        party = directory.parties[entry.vendor.code]
        costs = [line for line in document.lines if not line.tax and line.account.code != entry.payable.code]
        total = sum(line.amount_minor for line in document.lines if line.account.code != entry.payable.code)
        return {
            "company": directory.company_id,
            "type": "in",
            "party": party.id,
            "invoice_address": party.address_id,
            "account": directory.accounts[entry.payable.code].id,
            "currency": self._currency.id,
            "journal": directory.journals[document.journal].id,
            "invoice_date": details.invoice_date or entry.original_date,
            "accounting_date": entry.posting_date,
            "payment_term_date": details.due_date or details.invoice_date or entry.original_date,
            "reference": entry.invoice_number or None,
            "comment": self._statement_text(),
            # Tryton refuses to post a bill that comes to another total: what it would compute of its own then shows.
            "source_total_amount": self._decimal(total, self._currency),
            "lines": [["create", [self._invoice_line(line) for line in costs]]],
            "taxes": [["create", list(self._invoice_taxes(document.lines))]],
        }

    def _invoice_line(self, line: Line) -> Row:
        amount = self._decimal(line.amount_minor, self._currency)
        made: Row = {
            "type": "line",
            "company": self._directory.company_id,
            "currency": self._currency.id,
            "account": self._directory.accounts[line.account.code].id,
            "quantity": -1 if amount < 0 else 1,
            "unit_price": abs(amount),
            "description": one_line(line.text or self._entry.description, MAX_LINE_TEXT),
        }
        if line.dimensions:
            values = [self._directory.analytic[one.group, one.code] for one in line.dimensions]
            made["analytic_accounts"] = [["create", [{"root": one.root_id, "account": one.id} for one in values]]]
        return made

    def _invoice_taxes(self, lines: Iterable[Line]) -> Iterator[Row]:
        """Taxes as Pleo has them, not as Tryton would compute them: it leaves alone what is entered by hand."""
        cost: Line | None = None
        for line in lines:
            if not line.tax:
                cost = line
                continue
            part = self._tax_part(line, cost)
            yield {
                "description": one_line(line.tax_code or "Tax", MAX_LINE_TEXT),
                "account": self._directory.accounts[line.account.code].id,
                "tax": part.id if part is not None else None,
                "base": self._decimal(cost.amount_minor, self._currency) if cost is not None else Decimal(0),
                "amount": self._decimal(line.amount_minor, self._currency),
                "manual": True,
            }

    def _party_id(self) -> int:
        vendor = self._entry.vendor if isinstance(self._entry, Bill) else None
        assert vendor is not None  # noqa: S101 - `check` refuses lines that lack a party
        return self._directory.parties[vendor.code].id

    def _day(self) -> date:
        return self._entry.posting_date

    def _statement_text(self) -> str:
        return one_line(f"{self._statement()}; {_details(self._entry)}", MAX_LINE_TEXT)

    def _statement(self) -> Statement:
        entry = self._entry
        documents = ""
        if isinstance(entry, Bill) and len(entry.documents) > 1:
            documents = " and ".join(one.kind.value.replace("_", " ") for one in entry.documents)
        elif isinstance(entry, Bill) and entry.stays_open:
            documents = PAID_ELSEWHERE
        amount = Decimal(self._units.number(entry.amount_minor, entry.currency))
        return Statement(amount, entry.currency, entry.original_date, documents)

    def _company_amount(self, line: Line) -> Decimal:
        """A line's magnitude in the company's currency."""
        minor = line.debit_minor + line.credit_minor if line.company_minor is None else line.company_minor
        return self._decimal(minor, self._directory.currency)

    def _decimal(self, minor: int, currency: Currency) -> Decimal:
        amount = currency.amount_of(minor, self._units)
        assert amount is not None  # noqa: S101 - `check` refuses amounts that Tryton's currency has no digits for
        return amount


def _details(entry: Entry) -> str:
    """What else is known of an expense, for people."""
    details, supplier = entry.details, entry.supplier
    told: list[Any] = [
        f"{entry.reference}: {entry.description}" if entry.reference else entry.description,
        supplier and supplier.currency != entry.currency and in_own_digits(supplier.amount_minor, supplier.currency),
        details.employee and f"employee {details.employee}",
        details.team and f"team {details.team}",
        details.attendees and f"attendees {details.attendees}",
        details.settles and f"settles {details.settles}",
        details.note and details.note != entry.description and f"note: {details.note}",
    ]
    return "; ".join(text for text in told if text)
