"""`trial-balance`: what stands on each account."""

from __future__ import annotations

import argparse
from collections import defaultdict

from blocks.erp.ledger.schema_3_settlement import company_value, line_currency
from blocks.erp.ledger.tool.command import (
    Answer,
    Command,
    Ledger,
    Span,
    joined,
    looked_into,
    span_arguments,
    span_of,
    total,
)
from blocks.erp.ledger.tool.tables import Cell, Table

_BALANCES = f"""
    SELECT l.account, a.name, a.kind, {line_currency("l", "e")} AS currency, {total("l.debit_minor")},
        {total("l.credit_minor")}, {total(company_value("l"))}
    FROM entry AS e JOIN line AS l ON l.entry_id = e.id JOIN account AS a ON a.code = l.account
    WHERE {Span().condition} GROUP BY l.account, 4 ORDER BY l.account, 4
"""  # noqa: S608  constants of ours


def balances(ledger: Ledger, span: Span) -> dict[tuple[str, str], int]:
    """Debit less credit of each account and currency, in minor units."""
    rows = ledger.query(_BALANCES, span.parameters)
    return {(row[0], row[3]): joined(*row[4:6]) - joined(*row[6:8]) for row in rows}


def _trial_balance(options: argparse.Namespace) -> Answer:
    span = span_of(options)
    with looked_into(options.ledger) as ledger:
        rows: list[list[Cell]] = []
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        in_company = 0
        own = ledger.company_currency
        for code, name, kind, currency, *halves in ledger.query(_BALANCES, span.parameters):
            debit, credit, company = (joined(*halves[n : n + 2]) for n in (0, 2, 4))
            sums[currency][0] += debit
            sums[currency][1] += credit
            in_company += company
            row = [code, name, kind, currency]
            amounts = [ledger.money(one, currency) for one in (debit, credit, debit - credit)]
            rows.append([*row, *amounts, *([ledger.money(company, own)] if own else [])])
        below: list[list[Cell]] = [
            ["", "", "", currency, *(ledger.money(one, currency) for one in (debit, credit, debit - credit)),
             *([None] if own else [])]
            for currency, (debit, credit) in sorted(sums.items())
        ]  # fmt: skip
        if own:
            below.append(["", f"all, in {own}", "", own, None, None, None, ledger.money(in_company, own)])
        columns = ["account", "name", "kind", "currency", "debit", "credit", "balance"]
        table = Table(
            "trial_balance",
            "Trial balance",
            [*columns, *([f"balance_in_{own}"] if own else [])],
            rows,
            below,
        )
        return Answer([table], span.notes(ledger))


COMMANDS = (Command("trial-balance", "what stands on each account, by currency", _trial_balance, span_arguments),)
