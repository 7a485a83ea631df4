"""What the books hold that new entries are judged by: bills of the same invoice, and which signs amounts have."""

from __future__ import annotations

import json
from collections.abc import Sequence

from blocks.erp.entries import Entry
from blocks.erp.ledger.connection import Query
from blocks.erp.ledger.records import storable
from blocks.erp.precedents import Precedents, StandingBill, bill_of

# Documents have the number that they are settled by, which the settings may leave out; the entry keeps it all the same.
_BILLS = """
    SELECT e.accounting_entry_id, e.external_id, d.vendor, json_extract(wanted.value, '$[1]'), e.currency, d.owed_minor
    FROM json_each(?) AS wanted
    CROSS JOIN document AS d
        ON d.vendor = json_extract(wanted.value, '$[0]')
        AND d.invoice_number IN (json_extract(wanted.value, '$[1]'), '')
    CROSS JOIN entry AS e ON e.id = d.entry_id
    WHERE d.kind = 'bill' AND e.in_force = 1
        AND (d.invoice_number <> '' OR json_extract(e.details, '$.invoice_number') = json_extract(wanted.value, '$[1]'))
    ORDER BY e.id
"""

_SIGNS = """
    SELECT DISTINCT item_type, coalesce(json_extract(details, '$.sub_type'), ''), iif(amount_minor < 0, -1, 1)
    FROM entry WHERE item_type IN (SELECT value FROM json_each(?)) AND amount_minor <> 0
        AND in_force = 1
"""


def precedents_of(query: Query, entries: Sequence[Entry]) -> Precedents:
    """What stands of the invoices and types that these entries have."""
    bills = [bill for entry in entries if (bill := bill_of(entry)) is not None]
    invoices = dict.fromkeys((storable(one.vendor), storable(one.invoice_number)) for one in bills)
    types = {storable(entry.item_type) for entry in entries if _brings_money_back(entry)}
    signs = query(_SIGNS, (json.dumps(sorted(types)),)) if types else ()
    return Precedents(
        tuple(StandingBill(*row) for row in query(_BILLS, (json.dumps(list(invoices)),))) if invoices else (),
        frozenset((type_, sub_type, sign) for type_, sub_type, sign in signs),
    )


def _brings_money_back(entry: Entry) -> bool:
    return sum(line.amount_minor for line in entry.all_lines if line.counter) > 0
