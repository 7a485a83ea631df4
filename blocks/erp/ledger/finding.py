"""Finding entries in the books: what stands for an expense, as the lines, documents and attachments say it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from blocks.erp.entries import EntryState, Recorded, account_codes
from blocks.erp.ledger.inserts import storable
from blocks.erp.ledger.version_2 import settled

Query = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
Link = Callable[[str], str]

_IDS_A_QUERY = 1000
_MAX_COUNTERPARTS = 20
"""How many others of its invoice an entry names: thousands may have been given one number, such as n/a."""

# The amount is the counter lines', with the sign of the header: what the books hold, not what they were told.
_FIND = """
    SELECT accounting_entry_id, external_id, recorded_at, currency,
        (SELECT abs(coalesce(sum(debit_minor - credit_minor), 0)) FROM line WHERE entry_id = entry.id AND counter)
            * iif(amount_minor < 0, -1, 1),
        state, posting_date, original_date,
        (SELECT json_group_array(account) FROM (SELECT DISTINCT account FROM line WHERE entry_id = entry.id)),
        (SELECT json_group_array(number) FROM attachment WHERE entry_id = entry.id),
        EXISTS (SELECT 1 FROM document WHERE entry_id = entry.id), id
    FROM entry WHERE accounting_entry_id IN (SELECT value FROM json_each(?))
"""
_OTHER_SIDE = """CASE d.kind WHEN 'bill' THEN 'payment' WHEN 'payment' THEN 'bill'
    WHEN 'credit_note' THEN 'refund' ELSE 'credit_note' END"""
_COUNTERPARTS = f"""
    SELECT d.entry_id, {settled("d")},
        (SELECT json_group_array(external_id) FROM (
            SELECT other.external_id FROM document AS o JOIN entry AS other ON other.id = o.entry_id
            WHERE o.vendor = d.vendor AND o.invoice_number = d.invoice_number AND d.invoice_number <> ''
                AND d.paired_with IS NULL AND o.paired_with IS NULL AND o.entry_id <> d.entry_id
                AND other.currency = e.currency AND o.kind = {_OTHER_SIDE}
            ORDER BY o.entry_id LIMIT {_MAX_COUNTERPARTS}))
    FROM document AS d JOIN entry AS e ON e.id = d.entry_id
    WHERE d.entry_id IN (SELECT value FROM json_each(?))
"""  # noqa: S608  constants of ours


def key_of(accounting_entry_id: str) -> str:
    """The id as the books hold it."""
    return storable(accounting_entry_id.lower())


def find_entries(query: Query, link: Link, accounting_entry_ids: Sequence[str]) -> dict[str, Recorded]:
    """The entries that stand among any number of ids, by id in lower case, each with `found` set."""
    found: dict[str, Recorded] = {}
    ids = sorted({key_of(one) for one in accounting_entry_ids})
    for start in range(0, len(ids), _IDS_A_QUERY):
        rows = query(_FIND, (json.dumps(ids[start : start + _IDS_A_QUERY]),))
        counterparts = _counterparts(query, [row[11] for row in rows if row[10]])
        for row in rows:
            others, is_settled = counterparts.get(row[11], ((), False))
            found[row[0]] = Recorded(
                accounting_entry_id=row[0],
                external_id=row[1],
                url=link(row[1]),
                recorded_at=datetime.fromisoformat(row[2]),
                currency=row[3],
                amount_minor=row[4],
                accounts=account_codes(json.loads(row[8])),
                state=EntryState(row[5]),
                found=True,
                posting_date=date.fromisoformat(row[6]),
                original_date=date.fromisoformat(row[7]),
                attached=frozenset(json.loads(row[9])) if row[9] != "[]" else frozenset(),
                counterparts=others,
                settled=is_settled,
            )
    return found


def _counterparts(query: Query, numbers: Sequence[int]) -> dict[int, tuple[tuple[str, ...], bool]]:
    """By entry number: the other entries of its invoice on the other side, and whether all its documents are settled.

    Documents that settle each other within one entry wait for nobody, and are nobody's counterpart.
    """
    others: dict[int, set[str]] = {}
    open_ones: set[int] = set()
    for number, is_settled, names in query(_COUNTERPARTS, (json.dumps(numbers),)) if numbers else ():
        others.setdefault(number, set()).update(json.loads(names))
        if not is_settled:
            open_ones.add(number)
    return {
        number: (tuple(sorted(names, key=lambda name: (len(name), name))), number not in open_ones)
        for number, names in others.items()
    }
