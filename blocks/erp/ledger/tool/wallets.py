"""`wallets`: opening, in, out and closing of each wallet by month, to be held against Pleo's statement."""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

from blocks.erp.ledger.tool.command import (
    DIFFERS,
    DONE,
    Answer,
    Command,
    Ledger,
    Span,
    UsageError,
    joined,
    looked_into,
    span_arguments,
    span_of,
    total,
)
from blocks.erp.ledger.tool.tables import Cell, Money, Table
from blocks.erp.ledger.tool.trial_balance import balances
from blocks.text import one_line

PAID_ELSEWHERE = frozenset({"out_of_pocket", "mileage", "per_diem", "external_reimbursement", "invoice"})
"""The types of expense that never touch a wallet; of any other the line that settles it stands on one."""

# A reversal takes back what went in or out; it is no movement the other way.
_MOVEMENTS = f"""
    SELECT e.currency, substr(e.posting_date, 1, 7) AS month,
        {total("iif(e.reverses IS NULL, l.debit_minor, -l.credit_minor)")},
        {total("iif(e.reverses IS NULL, l.credit_minor, -l.debit_minor)")},
        json_group_array(DISTINCT l.account), e.posting_date >= ? AS asked_for
    FROM entry AS e JOIN line AS l ON l.entry_id = e.id
    WHERE l.counter = 1 AND e.item_type NOT IN ({", ".join("?" * len(PAID_ELSEWHERE))}) AND {Span().condition}
    GROUP BY 1, 2, asked_for ORDER BY 1, 2, asked_for
"""  # noqa: S608  constants of ours

_AMOUNT = re.compile(r"([A-Z]{3})=(-?\d+(?:\.\d+)?)")


def _wallets(options: argparse.Namespace) -> Answer:
    span = span_of(options)
    stated = dict(options.statement or [])
    if len(stated) < len(options.statement or []):
        raise UsageError("--statement: each currency has one closing balance")
    with looked_into(options.ledger) as ledger:
        wallets = _Wallets(ledger, span)
        notes = [*span.notes(ledger), *wallets.notes()]
        table = wallets.table()
        comparison, differs = wallets.compared(stated)
    tables = [table, comparison] if stated else [table]
    return Answer(tables, notes, status=DIFFERS if differs else DONE)


class _Wallets:
    """The movements of all wallets up to the end of the span, and by month within it."""

    def __init__(self, ledger: Ledger, span: Span) -> None:
        self._ledger = ledger
        self._whole = replace(span, first="")
        self._closing: dict[str, int] = defaultdict(int)
        self._accounts: dict[str, set[str]] = defaultdict(set)
        self._rows: list[list[Cell]] = []
        parameters = (span.first, *sorted(PAID_ELSEWHERE), *self._whole.parameters)
        opening: dict[str, int] = defaultdict(int)
        months: dict[tuple[str, str], tuple[int, int]] = {}
        for currency, month, *halves, codes, asked_for in ledger.query(_MOVEMENTS, parameters):
            came_in, went_out = joined(*halves[0:2]), joined(*halves[2:4])
            self._accounts[currency].update(json.loads(codes))
            if asked_for:
                months[currency, month] = came_in, went_out
            else:
                opening[currency] += came_in - went_out
        self._closing = defaultdict(int, opening)
        for (currency, month), (came_in, went_out) in sorted(months.items()):
            before = self._closing[currency]
            self._closing[currency] = before + came_in - went_out
            amounts = (before, came_in, went_out, self._closing[currency])
            self._rows.append([currency, month, *(ledger.money(one, currency) for one in amounts)])
        for currency in sorted(set(opening) - {currency for currency, _ in months}):  # nothing moved in the span
            stood = ledger.money(opening[currency], currency)
            self._rows.append([currency, "", stood, ledger.money(0, currency), ledger.money(0, currency), stood])

    def table(self) -> Table:
        """The months of each wallet."""
        return Table("wallets", "Wallets", ["currency", "month", "opening", "in", "out", "closing"], self._rows)

    def compared(self, stated: dict[str, Decimal]) -> tuple[Table, bool]:
        """The closing of the books beside what a statement says, and whether they differ anywhere."""
        rows: list[list[Cell]] = []
        for currency, amount in sorted(stated.items()):
            scaled = amount.scaleb(self._ledger.units.decimals(currency))
            if scaled != int(scaled):
                raise UsageError(f"--statement: {currency} has no such fractions as in {amount}")
            closing, statement = self._closing[currency], int(scaled)
            amounts = (closing, statement, closing - statement)
            rows.append([currency, *(self._ledger.money(one, currency) for one in amounts)])
        columns = ["currency", "books", "statement", "difference"]
        differs = any(isinstance(row[3], Money) and row[3].minor for row in rows)
        return Table("comparison", "Compared with the statement", columns, rows), differs

    def notes(self) -> list[str]:
        """Where the accounts of a wallet hold something else besides, so that the trial balance has another sum."""
        standing = balances(self._ledger, self._whole)
        notes = []
        for currency, codes in sorted(self._accounts.items()):
            other = sum(standing.get((code, currency), 0) for code in codes) - self._closing[currency]
            if other:
                amount = self._ledger.units.amount(other, currency)
                names = one_line(", ".join(sorted(codes)), 200)
                notes.append(f"the trial balance of {names} has {amount} more: lines that are no wallet's movements")
        return notes


def _statement(text: str) -> tuple[str, Decimal]:
    """The closing balance of a currency, as DKK=1234.56. Raises ArgumentTypeError."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} should look like DKK=1234.56")
    return found[1], Decimal(found[2])


def _arguments(parser: argparse.ArgumentParser) -> None:
    span_arguments(parser)
    parser.add_argument(
        "--statement",
        metavar="DKK=1234.56",
        type=_statement,
        action="append",
        help="the closing balance of Pleo's statement, to be compared with the books'; once a currency",
    )


COMMANDS = (
    Command(
        "wallets", "opening, in, out and closing of each wallet by month, against a statement", _wallets, _arguments
    ),
)
