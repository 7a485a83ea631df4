"""The books as a Beancount file, so that other people's programs can check and show them.

The same books give the same bytes. Each entry is one transaction that carries its voucher number as a link.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from blocks.erp.entries import AccountKind, EntryState
from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.fava import title_of
from blocks.text import one_line

MAX_TEXT = 1000
"""How many characters of a text the Beancount file shows; the books hold all of it."""

_ROOTS = {
    AccountKind.ASSET: "Assets",
    AccountKind.LIABILITY: "Liabilities",
    AccountKind.EQUITY: "Equity",
    AccountKind.INCOME: "Income",
    AccountKind.EXPENSE: "Expenses",
}
_FLAGS = {EntryState.DRAFT: "!", EntryState.POSTED: "*"}
_COMPONENT = re.compile(r"[A-Z0-9][A-Za-z0-9-]*")
_DERIVED = re.compile(r".*-x[0-9a-f]{12}")
_FIRST_DATE = "1970-01-01"

_ENTRIES = f"""
    SELECT e.id, e.posting_date, e.state, substr(e.description, 1, {MAX_TEXT + 1}), e.external_id,
        e.accounting_entry_id, e.job_id, e.item_type, substr(e.reference, 1, {MAX_TEXT + 1}),
        e.original_date, e.supplier_currency, e.supplier_minor, e.currency, l.account, l.debit_minor - l.credit_minor
    FROM entry AS e CROSS JOIN line AS l ON l.entry_id = e.id
    ORDER BY e.posting_date, e.id, l.line_no
"""  # noqa: S608  a constant of ours


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


def write_beancount(connection: sqlite3.Connection, company_id: str, path: Path) -> None:
    """Write the books to `path` at one stroke: a reader sees the old file or the new one, whole.

    Raises OSError or sqlite3.Error; the file at `path` is then as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n", buffering=1 << 20) as file:
            file.writelines(_text(connection, company_id))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error says what is the matter
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(connection: sqlite3.Connection, company_id: str) -> Iterator[str]:
    yield first_line(company_id)
    yield f'option "title" {quoted(title_of(company_id))}\n'
    for (currency,) in connection.execute("SELECT DISTINCT currency FROM entry ORDER BY currency"):
        yield f'option "operating_currency" "{currency}"\n'
    earliest = connection.execute("SELECT min(posting_date) FROM entry").fetchone()[0] or _FIRST_DATE
    names: dict[str, str] = {}
    for code, name, kind in connection.execute("SELECT code, name, kind FROM account ORDER BY code"):
        names[code] = account_name(code, AccountKind(kind))
        yield f"\n{min(earliest, _FIRST_DATE)} open {names[code]}\n  code: {quoted(code)}\n  name: {quoted(name)}\n"
    for _, rows in groupby(connection.execute(_ENTRIES), itemgetter(0)):
        yield _transaction(list(rows), names)


def _transaction(rows: list[tuple[Any, ...]], names: dict[str, str]) -> str:
    (_, date, state, description, external_id, pleo_id, job, kind, reference, original, *rest) = rows[0]
    supplier_currency, supplier_minor, currency = rest[:3]
    parts = [
        f"\n{date} {_FLAGS[state]} {quoted(description)} ^{external_id}\n",
        f"  pleo-id: {quoted(pleo_id)}\n  pleo-job: {quoted(job)}\n  pleo-type: {quoted(kind)}\n",
    ]
    if reference:
        parts.append(f"  reference: {quoted(reference)}\n")
    if original != date:
        parts.append(f"  original-date: {original}\n")
    if supplier_currency is not None:
        parts.append(f"  supplier-amount: {quoted(f'{units(supplier_minor)} {supplier_currency}')}\n")
    parts += [f"  {names[account]}  {units(amount)} {currency}\n" for *_, account, amount in rows]
    return "".join(parts)


def account_name(code: str, kind: AccountKind) -> str:
    """The Beancount account of an account code; no two codes share one.

    A code that Beancount takes stands as it is. Any other is cut to what Beancount takes and told apart by a hash.
    """
    if _COMPONENT.fullmatch(code) and not _DERIVED.fullmatch(code):
        return f"{_ROOTS[kind]}:{code}"
    stem = re.sub("[^A-Za-z0-9]+", "-", code).strip("-")[:40] or "Account"
    digest = hashlib.sha256(code.encode()).hexdigest()[:12]
    return f"{_ROOTS[kind]}:{stem[0].upper()}{stem[1:]}-x{digest}"


def quoted(text: str) -> str:
    """A text as a Beancount string on one line, cut to `MAX_TEXT` characters."""
    return '"' + one_line(text, MAX_TEXT).replace("\\", "\\\\").replace('"', '\\"') + '"'


def units(amount_minor: int) -> str:
    """Hundredths as an exact decimal number: -5 is -0.05."""
    whole, hundredths = divmod(abs(amount_minor), 100)
    return f"{'-' if amount_minor < 0 else ''}{whole}.{hundredths:02d}"
