"""Documents that settle each other: which of them, and settling them in the books once all are posted.

What belongs together is of one vendor, invoice number and payable account. It settles where it comes to nothing: in the
currency of the entries, or in that of the supplier, as when a wallet of another currency pays. What is then left in
the currency of the books is an exchange difference, for which the settings name accounts; without them it stays open.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from blocks.erp.currencies import MinorUnits
from blocks.erp.entries import AccountKind, Document, DocumentKind
from blocks.erp.ledger.connection import Query
from blocks.erp.ledger.schema_3_settlement import (
    closed_day,
    company_value,
    invoice_currency,
    invoice_minor,
    settled,
)
from blocks.erp.settlement import settled_pairs, settled_together

_DOCUMENT = "INSERT INTO settled_document (settlement, entry_id, document_no) VALUES (?, ?, ?)"
_SETTLE = """
    INSERT INTO settlement (number, entry_id, settled_at, exchange_minor, exchange_account) VALUES (?, ?, ?, ?, ?)
"""
_NEXT = "SELECT coalesce(max(number), 0) + 1 FROM settlement"

_WAITING = "d.paired_with IS NULL AND d.stays_open = 0 AND d.vendor IS NOT NULL AND d.invoice_number <> ''"

_INVOICES = f"""
    SELECT DISTINCT d.vendor, d.invoice_number FROM document AS d
    WHERE d.entry_id IN (SELECT value FROM json_each(?)) AND {_WAITING} ORDER BY 1, 2
"""  # noqa: S608  constants of ours

_OPEN_INVOICES = f"""
    SELECT d.vendor, d.invoice_number FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE e.state = 'posted' AND e.in_force = 1 AND {_WAITING} AND NOT {settled("d")}
    GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2
"""  # noqa: S608  constants of ours

_OPEN = f"""
    SELECT d.entry_id, d.document_no, d.kind, d.payable_account, e.currency, d.owed_minor, {invoice_currency("e")},
        CASE (SELECT count(*) FROM document WHERE entry_id = d.entry_id) WHEN 1 THEN {invoice_minor("d", "e")} END,
        coalesce(e.company_currency, e.currency), d.paired_with
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE e.state = 'posted' AND e.in_force = 1 AND NOT {settled("d")}
"""  # noqa: S608  constants of ours

_STANDING = f"""
    SELECT (SELECT coalesce(sum({company_value("l")}), 0) FROM line AS l
            WHERE l.entry_id = d.entry_id AND l.document_no = d.document_no AND l.account = d.payable_account),
        coalesce(e.changed_at, e.recorded_at), e.id, e.external_id, e.posting_date, {closed_day("e")},
        (SELECT active FROM account WHERE code = d.payable_account),
        EXISTS (SELECT 1 FROM batch_entry WHERE entry_id = e.id)
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id WHERE d.entry_id = ? AND d.document_no = ?
"""  # noqa: S608  constants of ours

_OF_INVOICE = f"{_OPEN} AND d.vendor = ? AND d.invoice_number = ? AND {_WAITING} ORDER BY d.entry_id, d.document_no"
_PAIRED = f"""
    {_OPEN} AND d.entry_id IN (SELECT value FROM json_each(?)) AND d.paired_with IS NOT NULL
    ORDER BY d.entry_id, d.document_no
"""  # noqa: S608  constants of ours

_TERMS = """
    SELECT minor_units, exchange_gain_account, exchange_loss_account,
        (SELECT 1 FROM account WHERE code = exchange_gain_account AND active = 1),
        (SELECT 1 FROM account WHERE code = exchange_loss_account AND active = 1)
    FROM company
"""


class _Open(NamedTuple):
    """A posted document that is not settled. `invoice_minor` is what it owes in the supplier's currency, None where
    that is not known; `value_currency` the currency that the books are kept in."""

    entry_id: int
    document_no: int
    kind: str
    payable_account: str
    currency: str
    owed_minor: int
    invoice_currency: str
    invoice_minor: int | None
    value_currency: str
    paired_with: int | None


class _Standing(NamedTuple):
    """How a document stands in the books: `value_minor` on the payable account, debit less credit, in the currency that
    they are kept in; when it was posted; and what keeps its entry from taking a difference."""

    value_minor: int
    posted_at: str
    entry_id: int
    external_id: str
    posting_date: str
    is_closed: int
    payable_is_there: int
    is_handed_over: int


@dataclass(frozen=True, slots=True)
class _Exchange:
    """The accounts of exchange differences, as the settings name them and whether they can be used."""

    units: MinorUnits
    gain: str
    loss: str
    gain_is_there: bool
    loss_is_there: bool


class _Settlement:
    """Documents that come to nothing together. `exchange_minor` is what the payable account is still to be debited
    with in the currency of the books, a gain, or below 0 a loss; `settling` the entry that was posted last, which takes
    it."""

    def __init__(self, documents: tuple[_Open, ...], query: Query, exchange: _Exchange) -> None:
        standing = [_Standing(*query(_STANDING, (one.entry_id, one.document_no))[0]) for one in documents]
        self.documents = documents
        self.exchange_minor = -sum(one.value_minor for one in standing)
        self.settling = max(standing, key=lambda one: (one.posted_at, one.entry_id))
        gains = self.exchange_minor > 0
        self.account = (exchange.gain if gains else exchange.loss) if self.exchange_minor else None
        self.obstacle = self._obstacle(exchange, gains) if self.exchange_minor else ""

    def _obstacle(self, exchange: _Exchange, gains: bool) -> str:
        """Why it cannot be settled; empty where it can."""
        kind, settling, payable = "gain" if gains else "loss", self.settling, self.documents[0].payable_account
        amount = exchange.units.amount(abs(self.exchange_minor), self.documents[0].value_currency)
        left = f"{amount} of exchange {kind} would be left"
        if not self.account:
            return f"{left}: set exchange_{kind}_account"
        if not (exchange.gain_is_there if gains else exchange.loss_is_there):
            return f"{left}, and exchange_{kind}_account {self.account} is not in the chart of accounts"
        if self.account == payable:
            return f"{left}, and exchange_{kind}_account {self.account} is the payable account itself"
        if not settling.payable_is_there:
            return f"{left}, and the payable account {payable} is not in the chart of accounts"
        if settling.is_handed_over:
            how = "reverse it, and export the expense again"
            return f"{left}, and {settling.external_id} was handed over as it is: {how}"
        if settling.is_closed:
            return f"{left}, and the period of {settling.posting_date} is closed"
        return ""


def settle(connection: sqlite3.Connection, numbers: Sequence[int], settled_at: datetime) -> None:
    """Settle what can be settled now that something has become of the entries of these numbers, in the transaction
    under way: they were posted, or one of their invoice was reversed."""
    query = _query(connection)
    at, named = settled_at.isoformat(), json.dumps(list(numbers))
    _write(connection, _paired(query, named), at)
    for invoice in query(_INVOICES, (named,)):
        _write(connection, _of_invoice(query, invoice), at)


def name_exchange_accounts(connection: sqlite3.Connection, gain: str, loss: str, at: datetime) -> None:
    """Keep the accounts that exchange differences go to, in the transaction under way; those that are not named stay.

    Where they are other ones than before, what waited for them is settled.
    """
    before = connection.execute("SELECT exchange_gain_account, exchange_loss_account FROM company").fetchone()
    after = (gain or before[0], loss or before[1])
    if after == before:
        return
    connection.execute("UPDATE company SET exchange_gain_account = ?, exchange_loss_account = ?", after)
    if not connection.execute("SELECT 1 FROM chart WHERE kind = 'accounts'").fetchone():
        connection.executemany(
            "INSERT INTO account (code, name, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (code, name, kind.value)
                for code, name, kind in (
                    (after[0], "Exchange gain", AccountKind.INCOME),
                    (after[1], "Exchange loss", AccountKind.EXPENSE),
                )
                if code
            ],
        )
    query = _query(connection)
    for invoice in query(_OPEN_INVOICES, ()):
        _write(connection, _of_invoice(query, invoice), at.isoformat())


def why_open(query: Query, numbers: Sequence[int]) -> dict[int, str]:
    """By entry number, what keeps its documents from being settled, where they would be otherwise."""
    if not numbers:
        return {}
    wanted, named = set(numbers), json.dumps(sorted(set(numbers)))
    found = _paired(query, named)
    for invoice in query(_INVOICES, (named,)):
        found += _of_invoice(query, invoice)
    if not found:
        return {}
    exchange = _exchange(query(_TERMS, ()))
    return {
        document.entry_id: why
        for documents in found
        if (why := _Settlement(documents, query, exchange).obstacle)
        for document in documents
        if document.entry_id in wanted
    }


def pairs(documents: Sequence[Document]) -> dict[int, int]:
    """The documents of one entry that settle each other, by number from 1: each with its partner's."""
    couples = settled_pairs((number, one.kind, one.owed_minor) for number, one in enumerate(documents, 1))
    return {one: other for pair in couples for one, other in (pair, pair[::-1])}


def _query(connection: sqlite3.Connection) -> Query:
    return lambda sql, parameters: connection.execute(sql, parameters).fetchall()


def _write(connection: sqlite3.Connection, found: Sequence[tuple[_Open, ...]], at: str) -> None:
    """Settle those of the documents that can be."""
    if not found:
        return
    query = _query(connection)
    exchange = _exchange(query(_TERMS, ()))
    for documents in found:
        one = _Settlement(documents, query, exchange)
        if not one.obstacle:
            number = query(_NEXT, ())[0][0]
            members = [(number, document.entry_id, document.document_no) for document in documents]
            connection.executemany(_DOCUMENT, members)
            connection.execute(_SETTLE, (number, one.settling.entry_id, at, one.exchange_minor, one.account))


def _exchange(rows: Sequence[tuple[str, str, str, int | None, int | None]]) -> _Exchange:
    units, gain, loss, gain_is_there, loss_is_there = rows[0]
    return _Exchange(MinorUnits(units), gain, loss, bool(gain_is_there), bool(loss_is_there))


def _paired(query: Query, named: str) -> list[tuple[_Open, ...]]:
    """The open documents of these entries that were paired as they were written, both of one entry."""
    documents = [_Open(*row) for row in query(_PAIRED, (named,))]
    by_number = {(one.entry_id, one.document_no): one for one in documents}
    return [
        (one, other)
        for one in documents
        if (one.paired_with or 0) > one.document_no
        and (other := by_number.get((one.entry_id, one.paired_with or 0))) is not None
    ]


def _of_invoice(query: Query, invoice: tuple[str, str]) -> list[tuple[_Open, ...]]:
    """What comes to nothing together among the open documents of one vendor and invoice number: in the currency of
    their entries first, then in that of the supplier."""
    found: list[tuple[_Open, ...]] = []
    done: set[_Open] = set()
    for account in _parted((_Open(*row) for row in query(_OF_INVOICE, invoice)), lambda one: one.payable_account):
        for currency in _parted(account, lambda one: one.currency):
            found += _together((one, one.owed_minor) for one in currency)
        done.update(document for documents in found for document in documents)
        rest = [one for one in account if one not in done and one.invoice_minor is not None]
        for currency in _parted(rest, lambda one: (one.invoice_currency, one.value_currency)):
            found += _together((one, one.invoice_minor or 0) for one in currency)
    return found


def _together(documents: Iterable[tuple[_Open, int]]) -> list[tuple[_Open, ...]]:
    return settled_together((one, DocumentKind(one.kind), owed) for one, owed in documents)


def _parted(documents: Iterable[_Open], by: Callable[[_Open], object]) -> list[list[_Open]]:
    parts: dict[object, list[_Open]] = defaultdict(list)
    for one in documents:
        parts[by(one)].append(one)
    return list(parts.values())
