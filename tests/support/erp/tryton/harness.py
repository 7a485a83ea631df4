"""Tryton as a subscriber of the contract suite: with user and password, with the key alone, and with our module."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from blocks.erp.base import Erp
from blocks.erp.entries import Account, AccountKind, Dimension, EntryState, Vendor
from blocks.erp.reference import JournalUse
from blocks.erp.tryton import Tryton
from blocks.erp.tryton.client import Login, TrytonClient
from tests.support.erp.contract.harness import (
    USUAL,
    BookedEntry,
    BookedLine,
    Credentials,
    Footprint,
    Harness,
    How,
    Lever,
    Names,
)
from tests.support.erp.tryton.server import Tryton as TrytonSession
from tests.support.erp.tryton.server import TrytonServer
from tests.support.network.fault_proxy import Answer, Seen

T = TypeVar("T", bound="TrytonHarness")

PAYABLE = Account("2900", "Accounts payable", AccountKind.LIABILITY)
NAMES = Names(
    company_id="6d2a6b0e-5b0e-4c57-9a55-0d9f0a3c1b12",
    currency="DKK",
    second_currency="EUR",
    rate=Decimal("7.4588"),
    expense=Account("6010", "Travel: flights and trains", AccountKind.EXPENSE),
    other_expense=Account("6110", "Meals and entertainment", AccountKind.EXPENSE),
    input_tax=Account("7910", "Input tax", AccountKind.ASSET),
    output_tax=Account("7930", "Output tax, reverse charge", AccountKind.LIABILITY),
    wallets={
        "DKK": Account("5820", "Pleo wallet DKK", AccountKind.ASSET),
        "EUR": Account("5821", "Pleo wallet EUR", AccountKind.ASSET),
    },
    payable=PAYABLE,
    fallback_payable=Account("2940", "To be settled", AccountKind.LIABILITY),
    tax_code="I25",
    dimension=Dimension("PROJECT", "P-2401"),
    vendor=Vendor("V0001", "DSB", PAYABLE),
    blocked_vendor=Vendor("V0951", "Blocked"),
    journals={
        JournalUse.GENERAL: "GENERAL",
        JournalUse.BILLS: "PURCHASES",
        JournalUse.CREDIT_NOTES: "PURCHASES",
        JournalUse.PAYMENTS: "PAYMENTS",
    },
    unknown_journal="NOPE",
    open_day=date(2026, 10, 5),
    closing_day=date(2026, 11, 5),
    closed_day=date(2026, 8, 14),
)
EXCHANGE_DIFFERENCES = "6930"
_READING = ("/search_read", "/get_access", "/pleo_version")


def a_tryton(base_url: str, database: str, key: str, login: tuple[str, str] | None, **options: Any) -> Erp:
    """Tryton at that address, not opened yet."""
    timeout_s = options.pop("timeout_s", 60.0)
    named = Login(*login) if login is not None else None
    return Tryton(
        lambda: TrytonClient(base_url, database, key, named, timeout_s=timeout_s),
        base_url=base_url,
        database=database,
        company="Acme ApS",
        **options,
    )


class TrytonHarness(Harness):
    """A server with a database of its own, used with the key and with user and password."""

    names = NAMES
    levers = frozenset(Lever) - {Lever.EDIT}  # of what a person changes it tells dates and sums, and no texts
    keeps_kind = True
    reverses_bills = False
    troubles = (Answer(400, b"<html>Unable to get RPC method</html>", {"content-type": "text/html"}),)
    with_password: ClassVar[bool] = True
    _claimed: ClassVar[str] = "description like '%% draft'"
    session_fixture: ClassVar[str] = "tryton_session"

    def __init__(self, server: TrytonServer) -> None:
        self.server = server
        user = server.company["users"]["pleo"]
        self.secrets = (user["key"], user["password"])
        self._files = server.log.parent / "files" / server.database

    @classmethod
    def running(cls: type[T], request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[T]:
        """A server and a fresh database; skips where Tryton cannot be brought up."""
        session: TrytonSession = request.getfixturevalue(cls.session_fixture)
        return cls._running(session)

    @classmethod
    @contextmanager
    def _running(cls: type[T], session: TrytonSession) -> Iterator[T]:
        with session.next_server() as server:
            yield cls(server)

    def connection(self, how: How = USUAL) -> partial[Erp]:
        """Tryton as the user `pleo`, or as somebody who has no rights, or nobody."""
        user = self.server.company["users"]["guest" if how.credentials is Credentials.POWERLESS else "pleo"]
        wrong = how.credentials is Credentials.WRONG
        login = (user["login"], "wrong" if wrong else user["password"]) if self.with_password else None
        options: dict[str, Any] = {}
        if how.timeout_s is not None:
            options["timeout_s"] = how.timeout_s
        if how.max_attachment_bytes is not None:
            options["max_attachment_bytes"] = how.max_attachment_bytes
        return partial(
            a_tryton,
            how.address or self.server.base_url,
            self.server.database,
            "wrong" if wrong else user["key"],
            login,
            **options,
        )

    def books(self, accounting_entry_ids: Collection[str]) -> list[BookedEntry]:
        """Every record that bears one of these ids; payments come with the bill that they belong to."""
        found = []
        for id_ in self._that_stand(accounting_entry_ids):
            records = [*self._records("account_move", id_), *self._records("account_invoice", id_)]
            mains = [one for one in records if one.counts and not one.is_payment]
            payments = [one for one in records if one.counts and one.is_payment and mains]
            leftovers = [one for one in records if one not in mains and one not in payments]
            found += [self._entry(id_, main, payments) for main in mains]
            found += [self._entry(id_, one, []) for one in leftovers]
        return found

    def _that_stand(self, ids: Collection[str]) -> list[str]:
        """Those of the ids that any record bears."""
        texts = [row[0] for table in _DAYS for row in self.server.sql(self._bearing(table))]
        return [id_ for id_ in ids if any(id_ in text for text in texts)] if len(ids) > 1 else list(ids)

    @staticmethod
    def _bearing(table: str) -> str:
        """The query for all texts of a table that hold ids."""
        return f"select description from {table} where description like 'pleo:%%'"

    def footprint(self) -> Footprint:
        """Rows of the tables that records are made of."""
        return {table: self.server.sql(f"select count(*) from {table}")[0][0] for table in _TABLES}

    @property
    def address(self) -> str:
        """The server, without the database."""
        return self.server.base_url

    def may_change(self, seen: Seen) -> bool:
        """Whatever is not a search or a login."""
        path = seen.path.split("?")[0]
        if path.endswith("/rpc/"):
            return b'"common.db.' not in seen.head
        return seen.method != "GET" and not path.endswith(_READING)

    def close_period(self, day: date) -> None:
        """Close the month of that day."""
        self.server.sql(
            "update account_period set state = 'closed' where start_date <= %s and end_date >= %s", (day, day)
        )

    def stop(self) -> None:
        """Stop the server."""
        self.server.stop()

    def kill(self) -> None:
        """Kill the server."""
        self.server.kill()

    def start(self) -> None:
        """Start it again."""
        self.server.start()

    def revoke(self) -> None:
        """Cancel the key, change the password, end the sessions."""
        self.server.sql("update res_user_application set state = 'cancelled'")
        self.server.sql("update res_user set password_hash = null where login = 'pleo'")
        self.server.sql("delete from ir_session")

    def _records(self, table: str, id_: str) -> list[_Record]:
        where, parameters = self._known_by(id_)
        query = f"select id, state, {_DAYS[table]}, {where[0]}, {self._claimed} from {table} where {where[1]}"
        return [
            _Record(table, number, state, day, bool(is_payment), bool(claimed))
            for number, state, day, is_payment, claimed in sorted(self.server.sql(query, parameters))
            if state != "cancelled"
        ]

    def _known_by(self, id_: str) -> tuple[tuple[str, str], tuple[Any, ...]]:
        """How to tell a payment from a main record, and the condition for both."""
        return ("description like '%% payment%%'", "description like %s"), (f"pleo:{id_}%",)

    def _entry(self, id_: str, main: _Record, payments: Iterable[_Record]) -> BookedEntry:
        records = [main, *payments]
        texts: list[str] = []
        lines: list[BookedLine] = []
        for one in records:
            lines += self._lines(one)
            texts += self._texts(one)
        moves = [move for one in records for move in self._moves(one)]
        invoice_lines = self._invoice_line_ids(main)
        # On a stock server a bill is posted before its payment, and until then the entry stands for nobody.
        of_two = any(text.startswith("Pleo ") and " and " in text.partition(";")[0] for text in texts)
        is_whole = len(records) > 1 or not of_two or self._claimed == "true"
        return BookedEntry(
            accounting_entry_id=id_,
            external_id=f"{main.table.replace('_', '.', 1)},{main.id}",
            state=EntryState.POSTED if is_whole and all(one.is_posted for one in records) else EntryState.DRAFT,
            posting_date=main.day,
            lines=tuple(lines),
            texts=tuple(texts),
            files=self._hashes(main),
            settled=self._settled(records),
            vendor=self._vendor(records),
            dimensions=frozenset(
                Dimension(group, code) for group, code in self.server.sql(_DIMENSIONS, (moves, invoice_lines))
            ),
            tax_codes=frozenset(code for (code,) in self.server.sql(_TAX_CODES, (moves, [main.id], main.table))),
        )

    def _moves(self, one: _Record) -> list[int]:
        if one.table == "account_move":
            return [one.id]
        return [id_ for (id_,) in self.server.sql("select move from account_invoice where id = %s", (one.id,)) if id_]

    def _invoice_line_ids(self, one: _Record) -> list[str]:
        if one.table == "account_move":
            return []
        rows = self.server.sql("select id from account_invoice_line where invoice = %s", (one.id,))
        return [f"account.invoice.line,{id_}" for (id_,) in rows]

    def _lines(self, one: _Record) -> list[BookedLine]:
        moves = self._moves(one)
        if moves:
            return _with_rounding([_booked(*row) for row in self.server.sql(_LINES, (moves,))])
        found = [_booked(*row) for row in self.server.sql(_DRAFT_LINES, (one.id, one.id))]
        total = sum(line.credit_minor - line.debit_minor for line in found)
        ((account, currency),) = self.server.sql(_PAYABLE, (one.id,))
        return [*found, BookedLine(account, currency, max(total, 0), max(-total, 0))]

    def _texts(self, one: _Record) -> list[str]:
        queries = [f"select description from {one.table} where id = %s"]
        if one.table == "account_move":
            queries.append("select description from account_move_line where move = %s")
        else:
            queries += [
                "select comment from account_invoice where id = %s",
                "select reference from account_invoice where id = %s",
                "select description from account_invoice_line where invoice = %s",
            ]
        return [text for query in queries for (text,) in self.server.sql(query, (one.id,)) if text]

    def _hashes(self, one: _Record) -> tuple[str, ...]:
        resource = f"{one.table.replace('_', '.', 1)},{one.id}"
        rows = self.server.sql("select file_id, data from ir_attachment where resource = %s", (resource,))
        return tuple(sorted(hashlib.sha256(data or self._file(file)).hexdigest() for file, data in rows))

    def _file(self, file_id: str | None) -> bytes:
        """The bytes of a file; Tryton keeps none of an empty one."""
        if file_id is None:
            return b""
        return next(path for path in self._files.rglob(file_id) if path.is_file()).read_bytes()

    def _settled(self, records: list[_Record]) -> bool:
        owing = []
        for one in records:
            owing += self.server.sql(_OWING, (self._moves(one),))
        return bool(owing) and all(reconciled for (reconciled,) in owing)

    def _vendor(self, records: list[_Record]) -> str | None:
        codes = {
            code for one in records for (code,) in self.server.sql(_VENDORS, (self._moves(one), [one.id], one.table))
        }
        return codes.pop() if codes else None


class TrytonKeyHarness(TrytonHarness):
    """The same with the application key alone."""

    with_password = False


class TrytonModuleHarness(TrytonHarness):
    """A server that has our module, with the key alone."""

    with_password, late_files_stay = False, True
    session_fixture = "tryton_module_session"
    _claimed = "true"

    @staticmethod
    def _bearing(table: str) -> str:
        return f"select concat(pleo_entry_id, ' ', pleo_belongs_to) from {table} where pleo_entry_id is not null"

    def _known_by(self, id_: str) -> tuple[tuple[str, str], tuple[Any, ...]]:
        return ("pleo_belongs_to is not null", "pleo_entry_id = %s or pleo_belongs_to = %s"), (id_, id_)


class _Record:
    """A move or an invoice."""

    def __init__(self, table: str, id_: int, state: str, day: date, is_payment: bool, claimed: bool) -> None:
        self.table, self.id, self.day, self.is_payment = table, id_, day, is_payment
        self.is_posted = state in {"posted", "paid"}
        self.counts = claimed or self.is_posted


def _minor(amount: Decimal) -> int:
    minor = amount * 100
    assert minor == int(minor), amount
    return int(minor)


def _booked(account: str, currency: str, debit: Decimal, credit: Decimal, second: Decimal | None) -> BookedLine:
    if second is None:
        return BookedLine(account, currency, _minor(debit), _minor(credit))
    worth = _minor(debit + credit)
    return BookedLine(account, currency, max(_minor(second), 0), max(-_minor(second), 0), worth)


def _with_rounding(lines: list[BookedLine]) -> list[BookedLine]:
    """Tryton converts what a supplier invoice says by itself, and puts the rounding on its account for exchange
    differences. Here it counts with the largest line, where the entry has it."""
    rounding = [line for line in lines if line.account == EXCHANGE_DIFFERENCES]
    others = [line for line in lines if line.account != EXCHANGE_DIFFERENCES]
    if not rounding:
        return lines
    more = sum(line.debit_minor - line.credit_minor for line in rounding)
    assert abs(more) <= len(others), "more than rounding"
    largest = max(others[:-1], key=lambda line: line.company_minor or 0)
    worth = (largest.company_minor or 0) + (-more if largest.credit_minor else more)
    others[others.index(largest)] = replace(largest, company_minor=worth)
    return others


_DAYS = {"account_move": "date", "account_invoice": "accounting_date"}
_TABLES = (
    "account_move", "account_move_line", "account_invoice", "account_invoice_line", "account_invoice_tax",
    "account_tax_line", "analytic_account_line", "analytic_account_entry", "ir_attachment",
    "account_move_reconciliation",
)  # fmt: skip
_LINES = """
    select a.code, c.code, l.debit, l.credit, l.amount_second_currency
    from account_move_line l join account_account a on a.id = l.account join account_move m on m.id = l.move
    join company_company o on o.id = m.company
    join currency_currency c on c.id = coalesce(l.second_currency, o.currency)
    where l.move = any(%s) order by l.id
"""
_DRAFT_LINES = """
    select a.code, c.code, greatest(x.amount, 0), greatest(-x.amount, 0), null::numeric
    from (select account, invoice, quantity::numeric * unit_price as amount from account_invoice_line where invoice = %s
          union all select account, invoice, amount from account_invoice_tax where invoice = %s) x
    join account_invoice i on i.id = x.invoice join account_account a on a.id = x.account
    join currency_currency c on c.id = i.currency
"""
_PAYABLE = """
    select a.code, c.code from account_invoice i join account_account a on a.id = i.account
    join currency_currency c on c.id = i.currency where i.id = %s
"""
_OWING = """
    select l.reconciliation is not null from account_move_line l join account_account a on a.id = l.account
    join account_account_type t on t.id = a.type where l.move = any(%s) and (t.payable or a.reconcile)
"""
_VENDORS = """
    select distinct p.code from party_party p join account_move_line l on l.party = p.id where l.move = any(%s)
    union select p.code from party_party p join account_invoice i on i.party = p.id
    where i.id = any(%s) and %s = 'account_invoice'
"""
_DIMENSIONS = """
    select r.code, v.code from analytic_account_line l join account_move_line m on m.id = l.move_line
    join analytic_account_account v on v.id = l.account join analytic_account_account r on r.id = v.root
    where m.move = any(%s)
    union select r.code, v.code from analytic_account_entry e join analytic_account_account v on v.id = e.account
    join analytic_account_account r on r.id = v.root where e.origin = any(%s)
"""
_TAX_CODES = """
    select t.name from account_tax_line x join account_move_line l on l.id = x.move_line
    join account_tax t on t.id = x.tax where l.move = any(%s)
    union select t.name from account_invoice_tax x join account_tax t on t.id = x.tax
    where x.invoice = any(%s) and %s = 'account_invoice'
"""
