"""`vat`: base and tax by tax code, account and month, and purchases from other countries.

Every line on an account that the table names is in it, with a tax code or without, so that the sums of each account
are those of the trial balance.
"""

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

# `tax_base_minor` is positive on the line's own side, so on a credit it counts the other way.
_LINES = f"""
    WITH taxed AS (SELECT DISTINCT account FROM line WHERE tax_code IS NOT NULL OR is_tax = 1)
    SELECT substr(e.posting_date, 1, 7) AS month, coalesce(l.tax_code, ''), l.account, a.name, l.is_tax,
        coalesce(l.tax_rate, ''), {line_currency("l", "e")} AS currency,
        {total("l.debit_minor - l.credit_minor")}, {total(company_value("l"))},
        count(l.tax_base_minor), {total("iif(l.credit_minor > 0, -l.tax_base_minor, l.tax_base_minor)")}
    FROM taxed CROSS JOIN line AS l ON l.account = taxed.account CROSS JOIN entry AS e ON e.id = l.entry_id
        CROSS JOIN account AS a ON a.code = l.account
    WHERE {Span().condition}
    GROUP BY 1, 2, 3, 5, 6, 7 ORDER BY 1, 2, 5, 3, 6, 7
"""  # noqa: S608  constants of ours

# What an entry costs is on its lines with a tax code and on those of expenses and income; tax that goes the other way
# is due under reverse charge. `owed` are the lines that settle the expense, by which the entry's direction is known.
_ABROAD = f"""
    SELECT substr(e.posting_date, 1, 7) AS month, json_extract(e.details, '$.supplier_country') AS country,
        coalesce(json_extract(e.details, '$.supplier_tax_number'), '') AS tax_number,
        coalesce((SELECT v.name FROM document AS d JOIN vendor AS v ON v.code = d.vendor
            WHERE d.entry_id = e.id LIMIT 1), e.description) AS name,
        coalesce(l.tax_code, '') AS tax_code, e.currency,
        {total("iif(l.is_tax = 0, l.debit_minor - l.credit_minor, 0)")},
        {total("iif(l.is_tax = 1 AND (l.debit_minor > 0) = (e.outward = 1), l.debit_minor - l.credit_minor, 0)")},
        {total("iif(l.is_tax = 1 AND (l.debit_minor > 0) <> (e.outward = 1), l.debit_minor - l.credit_minor, 0)")},
        {total(f"iif(l.is_tax = 0, {company_value('l')}, 0)")}
    FROM (
        SELECT *, (SELECT sum(iif(credit_minor > 0, 1, -1)) > 0 FROM line
            WHERE entry_id = entry.id AND counter = 1) AS outward
        FROM entry WHERE coalesce(json_extract(details, '$.supplier_country'), '') NOT IN ('', ?)
    ) AS e JOIN line AS l ON l.entry_id = e.id JOIN account AS a ON a.code = l.account
    WHERE l.counter = 0 AND l.settlement IS NULL
        AND (l.tax_code IS NOT NULL OR l.is_tax = 1 OR a.kind IN ('expense', 'income')) AND {Span().condition}
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608  constants of ours


def _vat(options: argparse.Namespace) -> Answer:
    span = span_of(options)
    with looked_into(options.ledger) as ledger:
        tables = [_by_code(ledger, span), _abroad(ledger, span, (options.country or "").upper())]
        notes = span.notes(ledger)
    if options.abroad:
        tables.reverse()
    return Answer(tables, notes)


def _by_code(ledger: Ledger, span: Span) -> Table:
    own = ledger.company_currency
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    rows: list[list[Cell]] = []
    for month, code, account, name, is_tax, rate, currency, *halves in ledger.query(_LINES, span.parameters):
        amount, company = joined(*halves[0:2]), joined(*halves[2:4])
        known, base = halves[4], joined(*halves[5:7])
        sums[account, currency][is_tax] += amount
        cells = [base if known else None, amount] if is_tax else [amount, None]
        rows.append(
            [month, code, "tax" if is_tax else "base", account, name, rate or None, currency]
            + [ledger.money(one, currency) for one in cells]
            + ([ledger.money(company, own)] if own else [])
        )
    below = [
        ["all", "", "", account, "", None, currency, ledger.money(base, currency), ledger.money(tax, currency)]
        + ([None] if own else [])
        for (account, currency), (base, tax) in sorted(sums.items())
    ]
    columns = ["month", "tax_code", "kind", "account", "name", "rate", "currency", "base", "tax"]
    return Table("vat", "VAT", [*columns, *([f"amount_in_{own}"] if own else [])], rows, below)


def _abroad(ledger: Ledger, span: Span, country: str) -> Table:
    own = ledger.company_currency
    rows: list[list[Cell]] = []
    for *names, currency, _0, _1, _2, _3, _4, _5, _6, _7 in ledger.query(_ABROAD, (country, *span.parameters)):
        base, tax, due, company = joined(_0, _1), joined(_2, _3), joined(_4, _5), joined(_6, _7)
        rows.append(
            [*names, currency, *(ledger.money(one, currency) for one in (base, tax, due))]
            + ([ledger.money(company, own)] if own else [])
        )
    columns = ["month", "country", "tax_number", "name", "tax_code", "currency", "base", "tax", "tax_due"]
    title = (
        "Purchases from other countries"
        if country
        else "Purchases by the supplier's country (--country leaves the own one out)"
    )
    return Table("abroad", title, [*columns, *([f"base_in_{own}"] if own else [])], rows)


def _arguments(parser: argparse.ArgumentParser) -> None:
    span_arguments(parser)
    parser.add_argument("--country", metavar="DK", help="the company's own country, which is not abroad")
    parser.add_argument("--abroad", action="store_true", help="purchases from other countries first, or in CSV alone")


COMMANDS = (
    Command("vat", "base and tax by tax code, account and month; purchases from other countries", _vat, _arguments),
)
