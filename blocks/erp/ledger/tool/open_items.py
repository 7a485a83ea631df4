"""`open-items`: bills, credit notes, payments and refunds that are not settled."""

from __future__ import annotations

import argparse
from collections import defaultdict

from blocks.erp.ledger.settlement import why_open
from blocks.erp.ledger.tool.command import Answer, Command, looked_into
from blocks.erp.ledger.tool.tables import Cell, Table

_ITEMS = """
    SELECT o.external_id, e.posting_date, coalesce(o.vendor, ''), coalesce(v.name, ''), o.kind, o.invoice_number,
        o.currency, o.owed_minor, o.open_minor, o.state, o.accounting_entry_id, e.id,
        EXISTS (SELECT 1 FROM document WHERE entry_id = e.id AND stays_open = 1)
    FROM open_item AS o JOIN entry AS e ON e.external_id = o.external_id LEFT JOIN vendor AS v ON v.code = o.vendor
    WHERE e.in_force = 1 AND (? OR o.open_minor <> 0)
    ORDER BY coalesce(o.vendor, ''), o.invoice_number, e.id
"""


def _open_items(options: argparse.Namespace) -> Answer:
    with looked_into(options.ledger) as ledger:
        items = ledger.query(_ITEMS, (int(options.all),))
        reasons = why_open(ledger.query, [item[11] for item in items if item[8]])
        sums: dict[str, int] = defaultdict(int)
        rows: list[list[Cell]] = []
        for *head, kind, invoice, currency, owed, still_open, state, id_, number, outside in items:
            sums[currency] += still_open
            amounts = [ledger.money(one, currency) for one in (owed, still_open)]
            why = reasons.get(number, "paid outside Pleo" if outside else "") if still_open else ""
            kind_words = kind.replace("_", " ")
            rows.append([*head, kind_words, invoice, currency, *amounts, state, why, id_])
        columns = ["number", "date", "vendor", "vendor_name", "kind", "invoice_number", "currency", "owed", "open"]
        below = [
            ["all", "", "", "", "", "", currency, None, ledger.money(one, currency), "", "", ""]
            for currency, one in sorted(sums.items())
        ]
        title = "Documents of accounts payable" if options.all else "Open items"
        return Answer([Table("open_items", title, [*columns, "state", "why", "_accounting_entry_id"], rows, below)])


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="settled documents too")


COMMANDS = (Command("open-items", "bills and payments that are not settled, and why", _open_items, _arguments),)
