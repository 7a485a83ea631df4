"""What may become of an entry besides being posted: a draft is replaced or deleted, a posted one is reversed.

All of it happens in the transaction under way; the schema sees to its order, and writes the history.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import date, datetime

from blocks.erp.entries import Answer
from blocks.erp.ledger.records import delete_parts, key_of, storable
from blocks.erp.ledger.schema_3 import OPPOSITE_KINDS
from blocks.erp.ledger.schema_3_settlement import settled

_DELETE = "UPDATE entry SET changing = NULL, state = 'deleted', in_force = 0, changed_at = ? WHERE id = ?"

_REVERSE_DOCUMENTS = f"""
    INSERT INTO document (entry_id, document_no, kind, journal, vendor, payable_account, owed_minor, invoice_number,
        stays_open, paired_with)
    SELECT ?, document_no, {OPPOSITE_KINDS.format("kind")}, journal, vendor, payable_account, -owed_minor,
        invoice_number, stays_open, paired_with
    FROM document WHERE entry_id = ? ORDER BY document_no
"""  # noqa: S608  constants of ours

_REVERSE_LINES = """
    INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text, tax_code,
        supplier_currency, supplier_minor, is_tax, company_minor, document_no, tax_rate, tax_base_minor,
        settlement)
    SELECT ?, line_no, account, credit_minor, debit_minor, counter, text, tax_code,
        supplier_currency, -supplier_minor, is_tax, company_minor, document_no, tax_rate, tax_base_minor,
        settlement
    FROM line WHERE entry_id = ? ORDER BY line_no
"""

_REVERSE_DIMENSIONS = """
    INSERT INTO line_dimension (entry_id, line_no, dimension_group, code)
    SELECT ?, line_no, dimension_group, code FROM line_dimension WHERE entry_id = ?
"""

_REVERSE_ENTRY = """
    INSERT INTO entry (id, accounting_entry_id, company_id, job_id, item_type, posting_date, original_date, currency,
        amount_minor, description, reference, state, recorded_at, supplier_currency, supplier_minor, journal, details,
        rounding_minor, company_currency, reverses, in_force)
    SELECT ?, accounting_entry_id, company_id, job_id, item_type, ?, ?, currency, -amount_minor,
        'Reversal of ' || external_id || ': ' || description, reference, 'posted', ?, supplier_currency,
        -supplier_minor, journal, details, -rounding_minor, company_currency, id, 0
    FROM entry WHERE id = ?
"""

_SETTLED_BY = """
    SELECT DISTINCT settling.external_id FROM settled_document AS m JOIN settlement AS s ON s.number = m.settlement
        JOIN entry AS settling ON settling.id = s.entry_id
    WHERE m.entry_id = ?1 AND settling.id <> ?1 AND settling.in_force = 1 ORDER BY settling.id
"""

_ANSWERED = """
    INSERT INTO history (at, accounting_entry_id, entry_id, job_id, event, detail)
    SELECT ?1, ?2, (SELECT id FROM entry WHERE accounting_entry_id = ?2 AND external_id = ?3), ?4, 'answered', ?5
    WHERE NOT EXISTS (SELECT 1 FROM history
        WHERE accounting_entry_id = ?2 AND job_id = ?4 AND event = 'answered' AND detail = ?5)
"""


def delete_draft(connection: sqlite3.Connection, number: int, deleted_at: datetime) -> None:
    """Delete a draft: its number stays, and its history. Raises sqlite3.IntegrityError for one that is posted."""
    connection.execute("UPDATE entry SET changing = 0 WHERE id = ?", (number,))
    delete_parts(connection, number)
    connection.execute(_DELETE, (deleted_at.isoformat(), number))


def settled_by(connection: sqlite3.Connection, number: int) -> list[str]:
    """The external ids of the entries posted later that settle this one, and have to be reversed before it."""
    return [external_id for (external_id,) in connection.execute(_SETTLED_BY, (number,))]


def is_settled(connection: sqlite3.Connection, number: int) -> bool:
    """Whether any document of the entry is settled."""
    sql = f"SELECT 1 FROM document AS d WHERE d.entry_id = ? AND {settled('d')}"  # noqa: S608  constants of ours
    return connection.execute(sql, (number,)).fetchone() is not None


def reverse_entry(connection: sqlite3.Connection, number: int, day: date, reversed_at: datetime) -> int:
    """Take a posted entry back by one of its own on that day; returns its number.

    Raises sqlite3.IntegrityError when the schema refuses it: it is not posted or not in force, one of its documents is
    settled by an entry that was posted later, the day lies in a closed period.
    """
    reversal: int = connection.execute("SELECT max(id) + 1 FROM entry").fetchone()[0]
    for statement in (_REVERSE_DOCUMENTS, _REVERSE_LINES, _REVERSE_DIMENSIONS):
        connection.execute(statement, (reversal, number))
    at = day.isoformat()
    connection.execute(_REVERSE_ENTRY, (reversal, at, at, reversed_at.isoformat(), number))
    return reversal


def note_answers(connection: sqlite3.Connection, answers: Sequence[Answer], at: datetime) -> None:
    """Write what Pleo has taken into the history, where it is not there already."""
    connection.executemany(
        _ANSWERED,
        [
            (at.isoformat(), key_of(one.accounting_entry_id), one.external_id, storable(one.job_id), _detail(one))
            for one in answers
        ],
    )


def _detail(answer: Answer) -> str:
    told = {"external_id": answer.external_id} if answer.successful else {"reason": storable(answer.reason)}
    return json.dumps({"successful": answer.successful, **told}, ensure_ascii=False)
