"""The books as a Beancount file, so that other people's programs can check and show them.

The same books give the same bytes. Each entry is one transaction that carries its voucher number as a link, and where
it has bills or payments a second link that all of one invoice share.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import AccountKind
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.beancount_text import (
    MAX_TEXT,
    AttachmentRow,
    DocumentRow,
    EntryRow,
    LineRow,
    Terms,
    account_name,
    quoted,
    transaction,
)
from blocks.erp.ledger.fava import title_of
from blocks.erp.ledger.files import sync_folder
from blocks.text import one_line

_FIRST_DATE = "1970-01-01"
_ENTRY_COLUMNS = len(EntryRow._fields)
_ENTRIES = f"""
    SELECT e.id, e.posting_date, e.state, substr(e.description, 1, {MAX_TEXT + 1}), e.external_id,
        e.accounting_entry_id, e.job_id, e.item_type, substr(e.reference, 1, {MAX_TEXT + 1}), e.original_date,
        e.supplier_currency, e.supplier_minor, e.journal, e.details, e.rounding_minor, e.currency, e.company_currency,
        l.account, l.debit_minor - l.credit_minor, l.company_minor, l.document_no
    FROM entry AS e CROSS JOIN line AS l ON l.entry_id = e.id
    ORDER BY e.posting_date, e.id, l.line_no
"""  # noqa: S608  a constant of ours
_DOCUMENTS = """
    SELECT e.id, d.document_no, d.kind, d.journal, d.invoice_number, d.vendor, v.name
    FROM entry AS e CROSS JOIN document AS d ON d.entry_id = e.id LEFT JOIN vendor AS v ON v.code = d.vendor
    ORDER BY e.posting_date, e.id, d.document_no
"""
_ATTACHMENTS = """
    SELECT e.id, a.number, a.name, a.file FROM entry AS e CROSS JOIN attachment AS a ON a.entry_id = e.id
    ORDER BY e.posting_date, e.id, a.number
"""


def first_line(company_id: str) -> str:
    """The line by which a Beancount file is known as one written here for that company."""
    return f"; The Pleo export's books of company {quoted(company_id)}, written anew after each job: do not edit.\n"


def refuse_foreign_beancount(path: Path, company_id: str) -> None:
    """Raise ErpConfigurationError when `path` is a file that was not written here for that company."""
    expected = first_line(company_id).encode()
    try:
        with path.open("rb") as file:
            if file.read(len(expected)) == expected:
                return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    raise ErpConfigurationError(
        f"{path} would be overwritten, and is not the Beancount file of company {company_id}; "
        "move it away or give another --ledger file"
    )


def write_beancount(
    connection: sqlite3.Connection, company_id: str, path: Path, units: MinorUnits, receipts: Path
) -> None:
    """Write the books to `path` at one stroke: a reader sees the old file or the new one, whole.

    `receipts` is the folder of the attachments. Raises OSError or sqlite3.Error; the file at `path` is then as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n", buffering=1 << 20) as file:
            file.writelines(_text(connection, company_id, units, _relative(receipts, path.parent)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error says what is the matter
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _text(connection: sqlite3.Connection, company_id: str, units: MinorUnits, receipts: str | None) -> Iterator[str]:
    yield first_line(company_id)
    yield f'option "title" {quoted(title_of(company_id))}\n'
    # What a price comes to has more decimals than any amount; without this Beancount would want it to balance to all.
    yield 'option "inferred_tolerance_default" "*:0.0001"\n'
    for (currency,) in connection.execute("SELECT DISTINCT currency FROM entry ORDER BY currency"):
        yield f'option "operating_currency" "{currency}"\n'
    earliest = connection.execute("SELECT min(posting_date) FROM entry").fetchone()[0] or _FIRST_DATE
    names: dict[str, str] = {}
    for code, name, kind in connection.execute("SELECT code, name, kind FROM account ORDER BY code"):
        names[code] = account_name(code, AccountKind(kind))
        yield f"\n{min(earliest, _FIRST_DATE)} open {names[code]}\n  code: {quoted(code)}\n  name: {quoted(name)}\n"
    terms = Terms(names, units, receipts)
    documents = _Alongside(connection.execute(_DOCUMENTS))
    attachments = _Alongside(connection.execute(_ATTACHMENTS))
    for number, rows in groupby(connection.execute(_ENTRIES), itemgetter(0)):
        lines = list(rows)
        yield transaction(
            EntryRow(*lines[0][:_ENTRY_COLUMNS]),
            [LineRow(*row[_ENTRY_COLUMNS:]) for row in lines],
            [DocumentRow(*row) for row in documents.of(number)],
            [AttachmentRow(*row) for row in attachments.of(number)],
            terms,
        )


class _Alongside:
    """What belongs to entries, read along with them in their order: never more in memory than of one entry."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._groups = groupby(cursor, itemgetter(0))
        self._next: tuple[int | None, list[Any]] = (None, [])
        self._advance()

    def of(self, number: int) -> list[Any]:
        """The rows of that entry, without its number; of entries that are asked for in the order of the file."""
        at, rows = self._next
        if at != number:
            return []
        self._advance()
        return rows

    def _advance(self) -> None:
        number, rows = next(self._groups, (None, iter(())))
        self._next = number, [row[1:] for row in rows]


def _relative(receipts: Path, folder: Path) -> str | None:
    """The folder of receipts as Beancount can name it, None where its name has characters that it cannot write."""
    path = Path(os.path.relpath(receipts, os.path.realpath(folder))).as_posix()
    return path if one_line(path, MAX_TEXT // 2) == path and path.isprintable() else None
