"""An entry's rows: how an `Entry` is laid down in the tables of the schema, and how what stands is read back."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import date, datetime
from functools import lru_cache

from blocks.erp.entries import (
    NO_DETAILS,
    Attachment,
    Bill,
    Details,
    Document,
    Entry,
    EntryState,
    JournalEntry,
    Line,
    Money,
    Recorded,
    Statement,
    account_balances,
    account_codes,
)
from blocks.erp.ledger.connection import Query
from blocks.erp.ledger.edits import edits_of
from blocks.erp.ledger.schema_3_history import written_text
from blocks.erp.ledger.schema_3_settlement import invoice_currency, settled
from blocks.erp.ledger.settlement import pairs, why_open

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_DETAILS = tuple(field.name for field in fields(Details))
_ACCOUNT = "INSERT INTO account (code, name, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_TAX_CODE = "INSERT INTO tax_code (code) VALUES (?) ON CONFLICT DO NOTHING"
_DIMENSION = "INSERT INTO dimension (dimension_group, code) VALUES (?, ?) ON CONFLICT DO NOTHING"
_VENDOR = "INSERT INTO vendor (code, name, payable_account) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

_DOCUMENT = """
    INSERT INTO document (entry_id, document_no, kind, journal, vendor, payable_account, owed_minor, invoice_number,
        stays_open, paired_with)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_LINE = """
    INSERT INTO line (entry_id, line_no, account, debit_minor, credit_minor, counter, text, tax_code,
        supplier_currency, supplier_minor, is_tax, company_minor, document_no, tax_rate, tax_base_minor)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_LINE_DIMENSION = "INSERT INTO line_dimension (entry_id, line_no, dimension_group, code) VALUES (?, ?, ?, ?)"

_CONTENT = (
    "job_id", "item_type", "posting_date", "original_date", "currency", "amount_minor", "description", "reference",
    "supplier_currency", "supplier_minor", "journal", "details", "rounding_minor", "company_currency", "statement",
)  # fmt: skip

_ENTRY = f"""
    INSERT INTO entry (id, accounting_entry_id, company_id, state, recorded_at, {", ".join(_CONTENT)})
    VALUES (?, ?, ?, ?, ?, {", ".join("?" * len(_CONTENT))})
"""  # noqa: S608  constants of ours

_BEGIN_REPLACING = "UPDATE entry SET changing = 0 WHERE id = ?"
_END_REPLACING = f"""
    UPDATE entry SET changing = NULL, changed_at = ?, {", ".join(f"{name} = ?" for name in _CONTENT)} WHERE id = ?
"""  # noqa: S608  constants of ours
_PARTS = ("line_dimension", "line", "document")

_ATTACHMENT = """
    INSERT INTO attachment (entry_id, number, name, media_type, size, sha256, file, attached_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

Link = Callable[[str], str]
_IDS_A_QUERY = 1000

_MAX_COUNTERPARTS = 20
"""How many others of its invoice an entry names: thousands may have been given one number, such as n/a."""

# The amount is the counter lines', with the sign of the header: what the books hold, not what they were told.
_FIND = f"""
    SELECT accounting_entry_id, external_id, recorded_at, currency,
        (SELECT abs(coalesce(sum(debit_minor - credit_minor), 0)) FROM line WHERE entry_id = entry.id AND counter)
            * iif(amount_minor < 0, -1, 1),
        state, posting_date, original_date,
        (SELECT json_group_array(json_array(account, amount)) FROM (
            SELECT account, sum(debit_minor) - sum(credit_minor) AS amount
            FROM line WHERE entry_id = entry.id AND settlement IS NULL GROUP BY account)),
        (SELECT json_group_array(number) FROM attachment WHERE entry_id = entry.id),
        EXISTS (SELECT 1 FROM document WHERE entry_id = entry.id), id, statement,
        (SELECT written FROM history WHERE accounting_entry_id = entry.accounting_entry_id
            AND entry_id = entry.id AND written IS NOT NULL ORDER BY history.id DESC LIMIT 1),
        {written_text("entry")}
    FROM entry WHERE accounting_entry_id IN (SELECT value FROM json_each(?)) AND in_force = 1
"""  # noqa: S608  constants of ours

_OTHER_SIDE = """CASE d.kind WHEN 'bill' THEN 'payment' WHEN 'payment' THEN 'bill'
    WHEN 'credit_note' THEN 'refund' ELSE 'credit_note' END"""

_COUNTERPARTS = f"""
    SELECT d.entry_id, {settled("d")},
        (SELECT json_group_array(external_id) FROM (
            SELECT other.external_id FROM document AS o JOIN entry AS other ON other.id = o.entry_id
            WHERE o.vendor = d.vendor AND o.invoice_number = d.invoice_number AND d.invoice_number <> ''
                AND d.paired_with IS NULL AND o.paired_with IS NULL AND o.entry_id <> d.entry_id
                AND (other.currency = e.currency OR {invoice_currency("other")} = {invoice_currency("e")})
                AND other.in_force = 1 AND o.kind = {_OTHER_SIDE}
            ORDER BY o.entry_id LIMIT {_MAX_COUNTERPARTS}))
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE d.entry_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608  constants of ours


def storable(text: str) -> str:
    """The text as the file holds it: NUL and halves of characters, which no SQLite text has, are replaced."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def insert_entry(
    connection: sqlite3.Connection, number: int, entry: Entry, recorded_at: datetime, opened: set[str]
) -> None:
    """Write an entry under its number, opening the accounts, tax codes, dimensions and the vendor it names first.

    `opened` are the codes of accounts that need no opening; those that are opened here are added. Raises
    sqlite3.IntegrityError or sqlite3.DataError when the schema refuses it.
    """
    # The entry comes last: its trigger looks at all that belongs to it, and refuses what does not balance.
    _insert_parts(connection, number, entry, opened)
    key, company = storable(entry.accounting_entry_id.lower()), entry.company_id.lower()
    connection.execute(_ENTRY, (number, key, company, entry.state.value, recorded_at.isoformat(), *_content(entry)))


def replace_entry(
    connection: sqlite3.Connection, number: int, entry: Entry, replaced_at: datetime, opened: set[str]
) -> None:
    """Write the draft of that number anew, which stays one. Raises as `insert_entry`."""
    connection.execute(_BEGIN_REPLACING, (number,))
    delete_parts(connection, number)
    _insert_parts(connection, number, entry, opened)
    connection.execute(_END_REPLACING, (replaced_at.isoformat(), *_content(entry), number))


def delete_parts(connection: sqlite3.Connection, number: int) -> None:
    """Delete the lines, dimensions and documents of a draft that is being changed."""
    for table in _PARTS:
        connection.execute(f"DELETE FROM {table} WHERE entry_id = ?", (number,))  # noqa: S608  constants of ours


def _insert_parts(connection: sqlite3.Connection, number: int, entry: Entry, opened: set[str]) -> None:
    """Write the documents, lines and dimensions of an entry, opening what they name first."""
    lines = _numbered_lines(entry)
    _open_names(connection, entry, lines, opened)
    if isinstance(entry, Bill):
        _insert_documents(connection, number, entry)
    connection.executemany(
        _LINE,
        [
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
                line.tax,
                line.company_minor,
                document_no,
                line.tax_rate,
                line.tax_base_minor,
            )
            for line_no, (document_no, line) in enumerate(lines, 1)
        ],
    )
    dimensions = [
        (number, line_no, group, code)
        for line_no, (_, line) in enumerate(lines, 1)
        for group, code in dict.fromkeys((storable(one.group), storable(one.code)) for one in line.dimensions)
    ]
    if dimensions:
        connection.executemany(_LINE_DIMENSION, dimensions)


def _content(entry: Entry) -> tuple[object, ...]:
    """The values of `_CONTENT`."""
    return (
        storable(entry.job_id),
        storable(entry.item_type),
        entry.posting_date.isoformat(),
        entry.original_date.isoformat(),
        entry.currency,
        entry.amount_minor,
        storable(entry.description),
        storable(entry.reference),
        *_money(entry.supplier),
        storable(entry.journal) if isinstance(entry, JournalEntry) else "",
        _details(entry.details),
        entry.rounding_minor,
        entry.company_currency,
        None if entry.statement is None else storable(entry.statement.text),
    )


def insert_attachments(
    connection: sqlite3.Connection, number: int, files: Sequence[tuple[Attachment, str]], attached_at: datetime
) -> None:
    """Name these files, each with the name under which it is stored, on the entry of that number. Raises as above."""
    connection.executemany(
        _ATTACHMENT,
        [
            (
                number,
                one.number,
                storable(one.name),
                storable(one.media_type),
                one.size,
                one.sha256,
                file,
                attached_at.isoformat(),
            )
            for one, file in files
        ],
    )


def key_of(accounting_entry_id: str) -> str:
    """The id as the books hold it."""
    return storable(accounting_entry_id.lower())


# Entries of a batch have one time, and all of a job few days: one object each, for the results of many items hold them.
_moment = lru_cache(64)(datetime.fromisoformat)
_day = lru_cache(1024)(date.fromisoformat)


def find_entries(query: Query, link: Link, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
    """The entries that stand among any number of ids, by id in lower case, each with `found` set."""
    found: dict[str, Recorded] = {}
    ids = sorted({key_of(one) for one in accounting_entry_ids})  # as one JSON text: parameters are few in SQLite
    for start in range(0, len(ids), _IDS_A_QUERY):
        rows = query(_FIND, (json.dumps(ids[start : start + _IDS_A_QUERY]),))
        counterparts = _counterparts(query, [row[11] for row in rows if row[10]])
        reasons = why_open(query, [number for number, (others, ended) in counterparts.items() if others and not ended])
        for row in rows:
            others, is_settled = counterparts.get(row[11], ((), False))
            found[row[0]] = Recorded(
                accounting_entry_id=row[0],
                external_id=row[1],
                url=link(row[1]),
                recorded_at=_moment(row[2]),
                currency=row[3],
                amount_minor=row[4],
                accounts=account_codes(code for code, _ in json.loads(row[8])),
                state=EntryState(row[5]),
                found=True,
                posting_date=_day(row[6]),
                original_date=_day(row[7]),
                attached=frozenset(json.loads(row[9])) if row[9] != "[]" else frozenset(),
                counterparts=others,
                settled=is_settled,
                open_because=reasons.get(row[11], ""),
                statement=None if row[12] is None else Statement.read(row[12]),
                edits=() if row[13] in (None, row[14]) else edits_of(row[13], row[14]),
                balances=account_balances(map(tuple, json.loads(row[8]))),
            )
    return found


def _numbered_lines(entry: Entry) -> list[tuple[int | None, Line]]:
    if isinstance(entry, Bill):
        return [(number, line) for number, document in enumerate(entry.documents, 1) for line in document.lines]
    return [(None, line) for line in entry.all_lines]


def _insert_documents(connection: sqlite3.Connection, number: int, bill: Bill) -> None:
    paired = pairs(bill.documents)

    def values(document_no: int, document: Document) -> tuple[object, ...]:
        return (
            number,
            document_no,
            document.kind.value,
            storable(document.journal),
            None if bill.vendor is None else storable(bill.vendor.code),
            storable(bill.payable.code),
            document.owed_minor,
            storable(bill.invoice_number),
            bill.stays_open,
            paired.get(document_no),
        )

    connection.executemany(_DOCUMENT, [values(no, document) for no, document in enumerate(bill.documents, 1)])


def _open_names(
    connection: sqlite3.Connection, entry: Entry, lines: Sequence[tuple[int | None, Line]], opened: set[str]
) -> None:
    named = [line.account for _, line in lines]
    vendor = entry.vendor if isinstance(entry, Bill) else None
    if isinstance(entry, Bill):
        named.append(entry.payable)
    if vendor is not None and vendor.payable is not None:
        named.append(vendor.payable)
    for account in named:  # the first one's kind counts
        if account.code not in opened:
            connection.execute(_ACCOUNT, (storable(account.code), storable(account.name), account.kind.value))
            opened.add(account.code)
    tax_codes = {line.tax_code for _, line in lines if line.tax_code is not None}
    if tax_codes:
        connection.executemany(_TAX_CODE, [(storable(code),) for code in tax_codes])
    dimensions = {one for _, line in lines for one in line.dimensions}
    if dimensions:
        connection.executemany(_DIMENSION, [(storable(one.group), storable(one.code)) for one in dimensions])
    if vendor is not None:
        payable = None if vendor.payable is None else storable(vendor.payable.code)
        connection.execute(_VENDOR, (storable(vendor.code), storable(vendor.name), payable))


def _details(details: Details) -> str:
    if details is NO_DETAILS:
        return "{}"
    told = {name: value for name in _DETAILS if (value := getattr(details, name))}
    return json.dumps(
        {name: value.isoformat() if isinstance(value, date) else storable(value) for name, value in told.items()},
        ensure_ascii=False,
    )


def _money(money: Money | None) -> tuple[str | None, int | None]:
    return (None, None) if money is None else (storable(money.currency), money.amount_minor)


def _counterparts(query: Query, numbers: Sequence[int]) -> dict[int, tuple[tuple[str, ...], bool]]:
    """By entry number: the other entries of its invoice on the other side, and whether all its documents are settled.

    Documents that settle each other within one entry wait for nobody, and are nobody's counterpart.
    """
    others: dict[int, set[str]] = {}
    open_ones: set[int] = set()
    for number, is_settled, names in query(_COUNTERPARTS, (json.dumps(numbers),)) if numbers else ():
        others.setdefault(number, set()).update(json.loads(names))
        if not is_settled:
            open_ones.add(number)
    return {
        number: (tuple(sorted(names, key=lambda name: (len(name), name))), number not in open_ones)
        for number, names in others.items()
    }
