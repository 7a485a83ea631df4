"""The embedded ledger as a subscriber of the contract suite, with charts that make it strict."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from blocks.erp.base import Erp
from blocks.erp.entries import Account, AccountKind, Dimension, EntryState, Vendor
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.charts import ChartFiles
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
from tests.support.erp.ledger_samples import edit_lines

if TYPE_CHECKING:
    import pytest

L = TypeVar("L", bound="LedgerHarness")

ACME_PAYABLE = Account("2410", "Acme's account", AccountKind.LIABILITY)
NAMES = Names(
    company_id="6d2a6b0e-5b0e-4c57-9a55-0d9f0a3c1b11",
    currency="DKK",
    second_currency="EUR",
    rate=Decimal("7.4601"),
    expense=Account("6000", "Travel", AccountKind.EXPENSE),
    other_expense=Account("6100", "Meals", AccountKind.EXPENSE),
    input_tax=Account("1400", "Input tax", AccountKind.ASSET),
    output_tax=Account("2600", "Output tax", AccountKind.LIABILITY),
    wallets={
        "DKK": Account("1000", "Wallet DKK", AccountKind.ASSET),
        "EUR": Account("1001", "Wallet EUR", AccountKind.ASSET),
    },
    payable=Account("2400", "Payable", AccountKind.LIABILITY),
    fallback_payable=Account("2499", "Payable to nobody we know", AccountKind.LIABILITY),
    tax_code="I25",
    dimension=Dimension("project", "P-1"),
    vendor=Vendor("V-1", "Acme A/S", ACME_PAYABLE),
    blocked_vendor=Vendor("V-2", "Blocked Ltd"),
    journals={use: use.value for use in JournalUse},
    unknown_journal=None,
    open_day=date(2026, 3, 10),
    closing_day=date(2026, 4, 10),
    closed_day=date(2026, 2, 10),
)
_PERIODS = {"2026-02": "closed", "2026-03": "open", "2026-04": "open"}
_LAST_DAYS = {"2026-02": 28, "2026-03": 31, "2026-04": 30}


def write_charts(folder: Path) -> ChartFiles:
    """The charts as CSV files in `folder`."""
    accounts = [
        NAMES.expense,
        NAMES.other_expense,
        NAMES.input_tax,
        NAMES.output_tax,
        *NAMES.wallets.values(),
        NAMES.payable,
        NAMES.fallback_payable,
        ACME_PAYABLE,
    ]
    tables = {
        "accounts": ["code,name,type", *(f"{one.code},{one.name},{one.kind.value}" for one in accounts)],
        "tax_codes": ["code", NAMES.tax_code],
        "dimensions": ["group,code", "project,P-1", "project,P-2"],
        "vendors": ["code,name,payable_account,blocked", "V-1,Acme A/S,2410,", "V-2,Blocked Ltd,,yes"],
        "periods": ["first_date,last_date,state"]
        + [f"{month}-01,{month}-{_LAST_DAYS[month]},{state}" for month, state in _PERIODS.items()],
        "rates": ["currency,first_date,rate", f"EUR,2026-01-01,{NAMES.rate}"],
    }
    places = {}
    for kind, table in tables.items():
        places[kind] = folder / f"{kind}.csv"
        places[kind].write_text("\n".join(table) + "\n")
    return ChartFiles(**places)


def a_ledger(path: Path, charts: ChartFiles, **options: Any) -> Erp:
    """The ledger at `path`, not opened yet."""
    return Ledger(path, charts=charts, company_currency=NAMES.currency, **options)


class LedgerHarness(Harness):
    """Books in a file of `folder`."""

    names = NAMES
    levers = frozenset({Lever.CLOSE_PERIOD, Lever.EDIT})

    def __init__(self, folder: Path) -> None:
        self.path = folder / "books" / "books.sqlite"
        self.path.parent.mkdir()
        self._charts = write_charts(folder)

    @classmethod
    @contextmanager
    def running(cls: type[L], request: pytest.FixtureRequest, folder: Path) -> Iterator[L]:
        """Nothing runs: the file is made by the first who opens it."""
        yield cls(folder)

    def connection(self, how: How = USUAL) -> partial[Erp]:
        """A ledger at the file, not opened yet."""
        if how.address is not None or how.timeout_s is not None or how.credentials is not Credentials.GOOD:
            raise NotImplementedError("a file has no address, no login, and does not keep anybody waiting")
        options = {} if how.max_attachment_bytes is None else {"max_attachment_bytes": how.max_attachment_bytes}
        return partial(a_ledger, self.path, self._charts, **options)

    def books(self, accounting_entry_ids: Collection[str]) -> list[BookedEntry]:
        """Every voucher of these ids."""
        if not self.path.exists():
            return []
        wanted = (json.dumps(list(accounting_entry_ids)),)
        with closing(sqlite3.connect(self.path)) as connection:
            lines = defaultdict(list)
            for number, *values in connection.execute(_LINES, wanted):
                lines[number].append(BookedLine(*values))
            rows = connection.execute(_ENTRIES, wanted).fetchall()
            return [self._entry(connection, number, tuple(lines[number]), *row) for number, *row in rows]

    def footprint(self) -> Footprint:
        """Rows of the tables that entries are made of, and files in the folder of receipts."""
        if not self.path.exists():
            return {}
        receipts = self.path.with_name("books-receipts")
        with closing(sqlite3.connect(self.path)) as connection:
            found = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES}
        return {**found, "files": len(list(receipts.iterdir())) if receipts.exists() else 0}

    def close_period(self, day: date) -> None:
        """Close a month, in the books and in the chart that the next one who opens them brings along."""
        month = f"{day:%Y-%m}"
        assert self._charts.periods is not None
        text = self._charts.periods.read_text()
        self._charts.periods.write_text(text.replace(f"{_LAST_DAYS[month]},open", f"{_LAST_DAYS[month]},closed"))
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("UPDATE period SET state = 'closed' WHERE first_date = ?", (f"{month}-01",))

    def edit(self, accounting_entry_id: str, text: str) -> None:
        """The owner of the file takes out the rule that keeps lines, and puts it back."""
        edit_lines(
            self.path,
            f"UPDATE line SET text = '{text}' WHERE line_no = 1 AND entry_id = "
            f"(SELECT id FROM entry WHERE accounting_entry_id = '{accounting_entry_id}' AND in_force = 1)",
        )

    def _entry(
        self, connection: sqlite3.Connection, number: int, lines: tuple[BookedLine, ...], *row: Any
    ) -> BookedEntry:
        id_, voucher, state, posting_date, *texts, documents, open_documents, vendor = row
        receipts = self.path.with_name("books-receipts")
        of_lines = connection.execute("SELECT text, tax_code FROM line WHERE entry_id = ?", (number,)).fetchall()
        dimensions = connection.execute(_DIMENSIONS, (number,))
        files = [
            hashlib.sha256((receipts / name).read_bytes()).hexdigest()
            for (name,) in connection.execute("SELECT file FROM attachment WHERE entry_id = ?", (number,))
        ]
        return BookedEntry(
            accounting_entry_id=id_,
            external_id=voucher,
            state=EntryState(state),
            posting_date=date.fromisoformat(posting_date),
            lines=lines,
            texts=(*texts, *(text for text, _ in of_lines)),
            files=tuple(sorted(files)),
            settled=documents > 0 and open_documents == 0,
            vendor=vendor,
            dimensions=frozenset(Dimension(group, code) for group, code in dimensions),
            tax_codes=frozenset(code for _, code in of_lines if code),
        )


_TABLES = ("entry", "line", "line_dimension", "document", "settlement", "attachment", "account", "vendor")
_WANTED = "(SELECT value FROM json_each(?))"
_ENTRIES = f"""
    SELECT e.id, e.accounting_entry_id, e.external_id, j.state, j.posting_date, j.description, e.reference, e.details,
        (SELECT count(*) FROM document WHERE entry_id = e.id),
        (SELECT count(*) FROM open_item AS o WHERE o.accounting_entry_id = e.accounting_entry_id AND open_minor <> 0),
        (SELECT max(vendor) FROM document WHERE entry_id = e.id)
    FROM entry AS e JOIN (
        SELECT DISTINCT external_id, state, posting_date, description
        FROM journal WHERE accounting_entry_id IN {_WANTED}
    ) AS j ON j.external_id = e.external_id
"""
_DIMENSIONS = "SELECT dimension_group, code FROM line_dimension WHERE entry_id = ?"
_LINES = f"""
    SELECT e.id, l.account, e.currency, l.debit_minor, l.credit_minor, l.company_minor
    FROM entry AS e JOIN line AS l ON l.entry_id = e.id WHERE e.accounting_entry_id IN {_WANTED}
"""
