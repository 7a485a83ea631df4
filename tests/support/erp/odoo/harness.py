"""Odoo as a subscriber of the contract suite: by JSON-2, and by XML-RPC."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from blocks.erp.base import Erp
from blocks.erp.entries import Account, AccountKind, Dimension, EntryState, Vendor
from blocks.erp.odoo.client import OdooClient, Protocol
from blocks.erp.odoo.odoo import Odoo
from blocks.erp.reference import JournalUse
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
from tests.support.erp.odoo.server import Odoo as OdooSession
from tests.support.erp.odoo.server import OdooServer
from tests.support.network.fault_proxy import Answer, Seen

T = TypeVar("T", bound="OdooHarness")

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
        JournalUse.GENERAL: "PLEO",
        JournalUse.BILLS: "BILL",
        JournalUse.CREDIT_NOTES: "BILL",
        JournalUse.PAYMENTS: "PAID",
    },
    unknown_journal="NOPE",
    open_day=date(2026, 10, 5),
    closing_day=date(2026, 9, 15),  # Odoo closes all that came before, too
    closed_day=date(2026, 8, 14),
)
LAST_DAY = date(2026, 12, 31)
_READING = (
    "/search_read", "/read", "/get_metadata", "/context_get", "/check_access_rights", "/default_get",
    "/version_info",
)  # fmt: skip
_READING_METHODS = (b">authenticate<", *(f">{name[1:]}<".encode() for name in _READING))


def the_last_day() -> date:
    """The day of the clock, which is none that these tests depend on."""
    return LAST_DAY


def an_odoo(base_url: str, database: str, user: str, key: str, protocol: Protocol, **options: Any) -> Erp:
    """Odoo at that address, not opened yet."""
    timeout_s = options.pop("timeout_s", 60.0)
    return Odoo(
        lambda: OdooClient(base_url, database, user, key, protocol=protocol, timeout_s=timeout_s),
        base_url=base_url,
        company="Acme ApS",
        today=the_last_day,
        **options,
    )


class OdooHarness(Harness):
    """A server with a database of its own, used by JSON-2."""

    names = NAMES
    levers = frozenset(Lever)
    troubles = (
        Answer(500, b'{"name": "builtins.ValueError", "message": "x"}', {"content-type": "application/json"}),
        Answer(404, b"<html>no database</html>", {"content-type": "text/html"}),
    )
    protocol: ClassVar[Protocol] = Protocol.AUTO

    def __init__(self, server: OdooServer) -> None:
        self.server = server
        self.secrets = (server.company["users"]["pleo"]["key"],)

    @classmethod
    def running(cls: type[T], request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[T]:
        """A server and a fresh database; skips where Odoo cannot be brought up."""
        session: OdooSession = request.getfixturevalue("odoo_session")
        return cls._running(session)

    @classmethod
    @contextmanager
    def _running(cls: type[T], session: OdooSession) -> Iterator[T]:
        with session.server() as server:
            yield cls(server)

    def connection(self, how: How = USUAL) -> partial[Erp]:
        """Odoo as the user `pleo`, or as somebody who has no rights, or nobody."""
        user = self.server.company["users"]["guest" if how.credentials is Credentials.POWERLESS else "pleo"]
        wrong = how.credentials is Credentials.WRONG
        options: dict[str, Any] = {}
        if how.timeout_s is not None:
            options["timeout_s"] = how.timeout_s
        if how.max_attachment_bytes is not None:
            options["max_attachment_bytes"] = how.max_attachment_bytes
        return partial(
            an_odoo,
            how.address or self.server.base_url,
            self.server.database,
            user["login"],
            "wrong" if wrong else user["key"],
            self.protocol,
            **options,
        )

    def books(self, accounting_entry_ids: Collection[str]) -> list[BookedEntry]:
        """Every move that bears one of these ids in its source document or its external id."""
        found = []
        for id_ in accounting_entry_ids:
            rows = self.server.sql(_MOVES, (f"pleo:{id_}", f"{id_}%"))
            mains = [row for row in rows if not (row[4] or "").endswith("_payment")]
            payments = [row for row in rows if (row[4] or "").endswith("_payment")]
            found += [self._entry(id_, main, payments if place == 0 else []) for place, main in enumerate(mains)]
            if not mains:
                found += [self._entry(id_, one, []) for one in payments]
        return found

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
        if path.startswith("/xmlrpc/"):
            return not any(method in seen.head for method in _READING_METHODS)
        return seen.method != "GET" and not path.endswith(_READING)

    def close_period(self, day: date) -> None:
        """Lock the books until the end of the month of that day."""
        until = (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        self.server.sql("update res_company set fiscalyear_lock_date = %s where name = 'Acme ApS'", (until,))

    def edit(self, accounting_entry_id: str, text: str) -> None:
        """Give the first line of a draft another text."""
        first = "select min(l.id) from account_move_line l join account_move m on m.id = l.move_id"
        query = f"update account_move_line set name = %s where id = ({first} where m.invoice_origin = %s)"
        self.server.sql(query, (text, f"pleo:{accounting_entry_id}"))

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
        """Remove the keys."""
        self.server.sql("delete from res_users_apikeys")

    def _entry(self, id_: str, main: tuple[Any, ...], payments: list[tuple[Any, ...]]) -> BookedEntry:
        rows = [main, *payments]
        moves = [row[0] for row in rows]
        lines = [_booked(*row) for row in self.server.sql(_LINES, (moves,))]
        texts = [text for row in self.server.sql(_TEXTS, (moves, moves)) for text in row if text]
        owing = [reconciled for (reconciled,) in self.server.sql(_OWING, (moves,))]
        partners = {code for (code,) in self.server.sql(_VENDORS, (moves,)) if code}
        return BookedEntry(
            accounting_entry_id=id_,
            external_id=f"account.move,{main[0]}",
            state=EntryState.POSTED if all(row[1] == "posted" for row in rows) else EntryState.DRAFT,
            posting_date=main[2],
            lines=tuple(lines),
            texts=tuple(texts),
            files=self._hashes(main[0]),
            settled=bool(owing) and all(owing),
            vendor=partners.pop() if partners else None,
            dimensions=frozenset(Dimension(group, code) for group, code in self.server.sql(_DIMENSIONS, (moves,))),
            tax_codes=frozenset(code for (code,) in self.server.sql(_TAX_CODES, (moves, moves))),
        )

    def _hashes(self, move: int) -> tuple[str, ...]:
        rows = self.server.sql(_FILES, (move,))
        return tuple(
            sorted(hashlib.sha256(bytes(data) if data else self._file(name)).hexdigest() for name, data in rows)
        )

    def _file(self, name: str | None) -> bytes:
        """The bytes of a file; Odoo keeps none of an empty one."""
        return (self.server.files / name).read_bytes() if name else b""


class OdooXmlHarness(OdooHarness):
    """The same by XML-RPC, as Odoo 16 to 18 have it."""

    protocol = Protocol.XMLRPC

    def revoke(self) -> None:
        """Remove the keys; what Odoo remembers of them for XML-RPC, which it forgets when a person does so, too."""
        super().revoke()
        self.stop()
        self.start()


def _minor(amount: Decimal) -> int:
    minor = amount * 100
    assert minor == int(minor), amount
    return int(minor)


def _booked(account: str, currency: str, own: str, amount: Decimal, balance: Decimal) -> BookedLine:
    minor = _minor(amount)
    worth = None if currency == own else abs(_minor(balance))
    return BookedLine(account, currency, max(minor, 0), max(-minor, 0), worth)


_TABLES = (
    "account_move", "account_move_line", "account_analytic_line", "ir_attachment", "account_partial_reconcile",
    "account_full_reconcile",
)  # fmt: skip
_MOVES = """
    select m.id, m.state, m.date, m.move_type, d.name from account_move m
    left join ir_model_data d on d.model = 'account.move' and d.res_id = m.id and d.module = '__pleo__'
    where (m.invoice_origin = %s or d.name like %s) and m.state <> 'cancel' order by m.id
"""
_LINES = """
    select a.code_store ->> l.company_id::text, c.name, o.name, l.amount_currency, l.balance
    from account_move_line l join account_account a on a.id = l.account_id
    join res_currency c on c.id = l.currency_id join res_currency o on o.id = l.company_currency_id
    where l.move_id = any(%s) order by l.id
"""
_TEXTS = """
    select ref, null from account_move where id = any(%s)
    union all select name, null from account_move_line where move_id = any(%s)
"""
_OWING = """
    select l.reconciled from account_move_line l join account_account a on a.id = l.account_id
    where l.move_id = any(%s) and a.reconcile
"""
_VENDORS = "select distinct p.ref from account_move m join res_partner p on p.id = m.partner_id where m.id = any(%s)"
_DIMENSIONS = """
    select p.name ->> 'en_US', a.code from account_move_line l
    cross join lateral jsonb_object_keys(l.analytic_distribution) as keys
    cross join lateral regexp_split_to_table(keys, ',') as one
    join account_analytic_account a on a.id = one::int join account_analytic_plan p on p.id = a.plan_id
    where l.move_id = any(%s)
"""
_TAX_CODES = """
    select t.name ->> 'en_US' from account_move_line l
    join account_move_line_account_tax_rel r on r.account_move_line_id = l.id
    join account_tax t on t.id = r.account_tax_id where l.move_id = any(%s)
    union select t.name ->> 'en_US' from account_move_line l
    join account_tax_repartition_line r on r.id = l.tax_repartition_line_id
    join account_tax t on t.id = r.tax_id where l.move_id = any(%s)
"""
_FILES = """
    select store_fname, db_datas from ir_attachment
    where res_model = 'account.move' and res_id = %s and name <> 'pleo.json' and res_field is null
"""
