"""Entries to record in whichever ERP: made from the names that its harness gives, as bookkeeping would make them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from blocks.erp.entries import (
    Account,
    Attachment,
    Bill,
    Dimension,
    Document,
    DocumentKind,
    EntryState,
    JournalEntry,
    Line,
)
from blocks.erp.reference import JOURNAL_USES, JournalUse
from flows.bookkeeping.exchange import Exchange
from tests.support.erp.contract.harness import Names

BILL, CREDIT_NOTE = DocumentKind.BILL, DocumentKind.CREDIT_NOTE
PAYMENT, REFUND = DocumentKind.PAYMENT, DocumentKind.REFUND
POSTED, DRAFT = EntryState.POSTED, EntryState.DRAFT
NO_ACCOUNT, NO_TAX_CODE, NO_VENDOR = "no-such-account", "no-such-tax-code", "no-such-vendor"
_CLAIMS = {BILL, CREDIT_NOTE}
_RAISING = {BILL, REFUND}


@dataclass
class Maker:
    """Makes entries, each with an id of its own. The same `seed` gives the same ids; files lie in `folder`.

    Entries are posted ones unless something else is said, as every ERP has those.
    """

    names: Names
    seed: str
    folder: Path
    made: int = field(default=0, init=False)

    def id(self) -> str:
        """An accounting entry id that was not given before."""
        self.made += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.seed} {self.made}"))

    def purchase(self, amount_minor: int = 1250, *, tax_minor: int = 250, **changes: Any) -> JournalEntry:
        """A purchase with tax, paid from the wallet of `currency`; a negative amount turns it round. `changes` take the
        place of the entry's own fields."""
        currency = changes.get("currency", self.names.currency)
        gross, turned = abs(amount_minor), amount_minor < 0
        made = [
            line(self.names.expense, gross - tax_minor, turned, tax_code=self.names.tax_code if tax_minor else None)
        ]
        if tax_minor:
            made.append(line(self.names.input_tax, tax_minor, turned, tax_code=self.names.tax_code, tax=True))
        made.append(line(self.names.wallets[currency], gross, not turned, counter=True))
        lines = changes.pop("lines", self.exchanged(currency, made))
        journal = changes.pop("journal", self.names.journals[JournalUse.GENERAL])
        return JournalEntry(**self._head(amount_minor, "card_purchase", changes), lines=lines, journal=journal)

    def purchases(self, count: int, **changes: Any) -> list[JournalEntry]:
        """As many purchases of different amounts."""
        return [self.purchase(1000 + n, tax_minor=200, **changes) for n in range(count)]

    def bill(self, *kinds: DocumentKind, amount_minor: int = 1250, tax_minor: int = 250, **changes: Any) -> Bill:
        """Documents of these kinds for one expense, a bill where no kind is given."""
        kinds = kinds or (BILL,)
        vendor = changes.pop("vendor", self.names.vendor)
        payable = changes.pop("payable", vendor.payable if vendor and vendor.payable else self.names.payable)
        currency = changes.get("currency", self.names.currency)
        documents = changes.pop(
            "documents",
            tuple(
                self.document(kind, payable, amount_minor, tax_minor, currency=currency, last=n == len(kinds))
                for n, kind in enumerate(kinds, 1)
            ),
        )
        own = {name: changes.pop(name) for name in ("invoice_number", "stays_open") if name in changes}
        signed = -amount_minor if kinds[0] in (CREDIT_NOTE, REFUND) else amount_minor
        head = self._head(signed, "invoice" if kinds[0] in _CLAIMS else "invoice_payment", changes)
        return Bill(**head, vendor=vendor, payable=payable, documents=documents, **own)

    def document(
        self, kind: DocumentKind, payable: Account, amount_minor: int, tax_minor: int, *, currency: str, last: bool
    ) -> Document:
        """One document. The last of an entry is the one that settles it."""
        names, raising = self.names, kind in _RAISING
        if kind in _CLAIMS:
            code = names.tax_code if tax_minor else None
            lines = [line(names.expense, amount_minor - tax_minor, not raising, tax_code=code)]
            if tax_minor:
                lines.append(line(names.input_tax, tax_minor, not raising, tax_code=code, tax=True))
            lines.append(line(payable, amount_minor, raising, counter=last))
        else:
            lines = [
                line(payable, amount_minor, raising),
                line(names.wallets[currency], amount_minor, not raising, counter=last),
            ]
        return Document(
            kind=kind,
            journal=names.journals[JOURNAL_USES[kind]],
            owed_minor=amount_minor if raising else -amount_minor,
            lines=self.exchanged(currency, lines),
        )

    def exchanged(self, currency: str, lines: Sequence[Line]) -> tuple[Line, ...]:
        """The lines with what they are worth in the company's currency, where theirs is another one."""
        if currency == self.names.currency:
            return tuple(lines)
        return Exchange(self.names.currency, Fraction(self.names.rate)).convert(lines)

    def file(self, number: int = 1, content: bytes | None = None, **changes: Any) -> Attachment:
        """A file to attach, of bytes of its own where no content is given; `changes` take the place of the truth."""
        content = f"%PDF-1.7 receipt {number} of {self.id()}".encode() if content is None else content
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / f"download-{digest[:16]}"
        path.write_bytes(content)
        made = Attachment(number, f"receipt-{number}.pdf", "application/pdf", len(content), digest, path)
        return replace(made, **changes)

    def files(self, *numbers: int) -> tuple[Attachment, ...]:
        """A file of its own for each of these numbers."""
        return tuple(self.file(number) for number in numbers)

    def _head(self, amount_minor: int, item_type: str, changes: dict[str, Any]) -> dict[str, Any]:
        currency = changes.get("currency", self.names.currency)
        head: dict[str, Any] = {
            "accounting_entry_id": changes.get("accounting_entry_id") or self.id(),
            "job_id": "job-1",
            "company_id": self.names.company_id,
            "item_type": item_type,
            "posting_date": self.names.open_day,
            "original_date": self.names.open_day,
            "currency": currency,
            "amount_minor": amount_minor,
            "description": f"Expense {self.made}",
            "reference": f"book-{self.made}",
            "state": POSTED,
            "company_currency": self.names.currency if currency != self.names.currency else None,
        }
        return {**head, **changes}


def line(account: Account, amount_minor: int, credit: bool, **more: Any) -> Line:
    """A line of that amount in the credit column, or in the debit column where `credit` is false."""
    return Line(account, *((0, amount_minor) if credit else (amount_minor, 0)), **more)


def with_account(entry: JournalEntry, code: str) -> JournalEntry:
    """The entry with another account on its first line."""
    return _first(entry, account=replace(entry.lines[0].account, code=code))


def with_tax_code(entry: JournalEntry, code: str | None) -> JournalEntry:
    """The entry with another tax code on its first line."""
    return _first(entry, tax_code=code)


def with_dimension(entry: JournalEntry, *dimensions: Dimension) -> JournalEntry:
    """The entry with these dimensions on its first line."""
    return _first(entry, dimensions=dimensions)


def _first(entry: JournalEntry, **changes: Any) -> JournalEntry:
    return replace(entry, lines=(replace(entry.lines[0], **changes), *entry.lines[1:]))
