"""Bills and payments that settle each other: which of them, and settling them in the books once both are posted."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from blocks.erp.entries import Document, DocumentKind
from blocks.erp.ledger.schema_2 import settled
from blocks.erp.settlement import settled_pairs

_SETTLE = """
    INSERT INTO settlement (entry_id, document_no, settled_by_entry_id, settled_by_document_no, settled_at)
    VALUES (?, ?, ?, ?, ?)
"""

_OF_ENTRIES = """
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE d.entry_id IN (SELECT value FROM json_each(?)) AND e.state = 'posted' AND e.in_force = 1
"""

_PAIRED = f"""
    SELECT d.entry_id, d.document_no, d.entry_id, d.paired_with {_OF_ENTRIES}
        AND d.paired_with IS NOT NULL AND d.kind IN ('bill', 'credit_note')
    ORDER BY d.entry_id
"""

_WAITING = "d.paired_with IS NULL AND d.stays_open = 0 AND d.vendor IS NOT NULL AND d.invoice_number <> ''"

_INVOICES = f"""
    SELECT DISTINCT d.vendor, d.invoice_number, e.currency {_OF_ENTRIES} AND {_WAITING} ORDER BY 1, 2, 3
"""

_OPEN_DOCUMENTS = f"""
    SELECT d.entry_id, d.document_no, d.kind, d.payable_account, d.owed_minor
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE d.vendor = ? AND d.invoice_number = ? AND e.currency = ? AND e.state = 'posted' AND e.in_force = 1
        AND {_WAITING} AND NOT {settled("d")}
    ORDER BY d.entry_id, d.document_no
"""  # noqa: S608  constants of ours


def settle(connection: sqlite3.Connection, posted: Sequence[int], settled_at: datetime) -> None:
    """Settle what can be settled now that the entries of these numbers are posted, in the transaction under way."""
    at = settled_at.isoformat()
    numbers = json.dumps(posted)
    connection.executemany(_SETTLE, [(*row, at) for row in connection.execute(_PAIRED, (numbers,)).fetchall()])
    for invoice in connection.execute(_INVOICES, (numbers,)).fetchall():
        waiting = [
            _OpenDocument(entry_id, document_no, DocumentKind(kind), account, owed)
            for entry_id, document_no, kind, account, owed in connection.execute(_OPEN_DOCUMENTS, invoice)
        ]
        connection.executemany(
            _SETTLE,
            [
                (bill.entry_id, bill.document_no, payment.entry_id, payment.document_no, at)
                for bill, payment in _settlements(waiting)
            ],
        )


def pairs(documents: Sequence[Document]) -> dict[int, int]:
    """The documents of one entry that settle each other, by number from 1: each with its partner's."""
    couples = settled_pairs((number, one.kind, one.owed_minor) for number, one in enumerate(documents, 1))
    return {one: other for pair in couples for one, other in (pair, pair[::-1])}


@dataclass(frozen=True, slots=True)
class _OpenDocument:
    """A posted document that is not settled, of one vendor, currency and invoice."""

    entry_id: int
    document_no: int
    kind: DocumentKind
    payable_account: str
    owed_minor: int


def _settlements(documents: Iterable[_OpenDocument]) -> list[tuple[_OpenDocument, _OpenDocument]]:
    """Each document that is settled, with the one that settles it: their amounts are exactly opposite, and there is
    no second one that it could be."""
    by_account: dict[str, list[_OpenDocument]] = defaultdict(list)
    for one in documents:
        by_account[one.payable_account].append(one)
    return [
        pair
        for group in by_account.values()
        for pair in settled_pairs((one, one.kind, one.owed_minor) for one in group)
    ]
