"""Settling bills and payments against each other in the books, as soon as both are posted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from blocks.erp.entries import DocumentKind
from blocks.erp.ledger.documents import OpenDocument, settlements
from blocks.erp.ledger.version_2 import settled

_SETTLE = """
    INSERT INTO settlement (entry_id, document_no, settled_by_entry_id, settled_by_document_no, settled_at)
    VALUES (?, ?, ?, ?, ?)
"""
_OF_ENTRIES = """
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE d.entry_id IN (SELECT value FROM json_each(?)) AND e.state = 'posted'
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
_OPEN = f"""
    SELECT d.entry_id, d.document_no, d.kind, d.payable_account, d.owed_minor
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE d.vendor = ? AND d.invoice_number = ? AND e.currency = ? AND e.state = 'posted' AND {_WAITING}
        AND NOT {settled("d")}
    ORDER BY d.entry_id, d.document_no
"""  # noqa: S608  constants of ours


def settle(connection: sqlite3.Connection, posted: Sequence[int], settled_at: datetime) -> None:
    """Settle what can be settled now that the entries of these numbers are posted, in the transaction under way."""
    at = settled_at.isoformat()
    numbers = json.dumps(posted)
    connection.executemany(_SETTLE, [(*row, at) for row in connection.execute(_PAIRED, (numbers,)).fetchall()])
    for invoice in connection.execute(_INVOICES, (numbers,)).fetchall():
        waiting = [
            OpenDocument(entry_id, document_no, DocumentKind(kind), account, owed)
            for entry_id, document_no, kind, account, owed in connection.execute(_OPEN, invoice)
        ]
        connection.executemany(
            _SETTLE,
            [
                (bill.entry_id, bill.document_no, payment.entry_id, payment.document_no, at)
                for bill, payment in settlements(waiting)
            ],
        )
