"""One entry's rows: how a `Entry` is laid down in the tables of the schema."""

from __future__ import annotations

import re
import sqlite3
from datetime import datetime

from blocks.erp.entries import Entry, Money

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

_ACCOUNT = "INSERT INTO account (code, name, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_TAX_CODE = "INSERT INTO tax_code (code) VALUES (?) ON CONFLICT DO NOTHING"
_DIMENSION = "INSERT INTO dimension (dimension_group, code) VALUES (?, ?) ON CONFLICT DO NOTHING"
_LINE = """
    INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text, tax_code,
        supplier_currency, supplier_minor)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LINE_DIMENSION = "INSERT INTO line_dimension (entry_id, line_no, dimension_group, code) VALUES (?, ?, ?, ?)"
_ENTRY = """
    INSERT INTO entry (id, accounting_entry_id, company_id, job_id, item_type, posting_date, original_date, currency,
        amount_minor, description, reference, supplier_currency, supplier_minor, state, recorded_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def storable(text: str) -> str:
    """The text as the file holds it: NUL and halves of characters, which no SQLite text has, are replaced."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def insert_entry(connection: sqlite3.Connection, number: int, entry: Entry, recorded_at: datetime) -> None:
    """Write an entry under its number, opening the accounts, tax codes and dimensions it names first.

    Raises sqlite3.IntegrityError or sqlite3.DataError when the schema refuses it.
    """
    _open_names(connection, entry)
    lines = [
        (
            number,
            line_no,
            storable(line.account.code),
            line.debit_minor,
            line.credit_minor,
            line.counter,
            storable(line.text),
            None if line.tax_code is None else storable(line.tax_code),
            *_money(line.supplier),
        )
        for line_no, line in enumerate(entry.all_lines, 1)
    ]
    connection.executemany(_LINE, lines)
    dimensions = [
        (number, line_no, group, code)
        for line_no, line in enumerate(entry.all_lines, 1)
        for group, code in dict.fromkeys((storable(one.group), storable(one.code)) for one in line.dimensions)
    ]
    if dimensions:
        connection.executemany(_LINE_DIMENSION, dimensions)
    connection.execute(
        _ENTRY,
        (
            number,
            storable(entry.accounting_entry_id.lower()),
            entry.company_id.lower(),
            storable(entry.job_id),
            storable(entry.item_type),
            entry.posting_date.isoformat(),
            entry.original_date.isoformat(),
            entry.currency,
            entry.amount_minor,
            storable(entry.description),
            storable(entry.reference),
            *_money(entry.supplier),
            entry.state.value,
            recorded_at.isoformat(),
        ),
    )


def _open_names(connection: sqlite3.Connection, entry: Entry) -> None:
    accounts = {line.account.code: line.account for line in reversed(entry.all_lines)}  # the first one's kind counts
    connection.executemany(
        _ACCOUNT, [(storable(one.code), storable(one.name), one.kind.value) for one in accounts.values()]
    )
    tax_codes = {line.tax_code for line in entry.all_lines if line.tax_code is not None}
    if tax_codes:
        connection.executemany(_TAX_CODE, [(storable(code),) for code in tax_codes])
    dimensions = {one for line in entry.all_lines for one in line.dimensions}
    if dimensions:
        connection.executemany(_DIMENSION, [(storable(one.group), storable(one.code)) for one in dimensions])


def _money(money: Money | None) -> tuple[str | None, int | None]:
    return (None, None) if money is None else (storable(money.currency), money.amount_minor)
