"""Adopts what the export recorded while this module was not there. License: MIT.

Then the description alone said whose record one was: `pleo:` and the expense's id, ` payment` for a further record, and
` draft` for a draft that counts. A draft without that was given up by whoever made it. A move that the export reversed,
by a posted one described ` reversal` with the first as its origin, is not in force.
"""

import re
from collections import defaultdict

from sql import Column, Null
from sql.functions import Substring
from trytond.model import fields
from trytond.pool import Pool
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

_KEY = re.compile(r"pleo:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})( payment)?( draft)?")
_POSTED = {"posted", "paid"}


def adopt(model):
    """Gives a model's records the fields that their descriptions stand for. Of several records of one expense the one
    that is posted gets it, and then the oldest; where one has it already, none. May be repeated."""
    candidates, taken = defaultdict(list), set()
    for name in ("account.move", "account.invoice"):
        try:
            other = Pool().get(name)
        except KeyError:
            continue
        taken.update(_taken(other))
        for key, rank, id_ in _candidates(other):
            candidates[key].append((rank, id_, name))
    chosen = defaultdict(list)
    for (field, company, entry), found in candidates.items():
        _, id_, name = min(found)
        if name == model.__name__ and (field, company, entry) not in taken:
            chosen[field].append(id_)
    table = model.__table__()
    cursor = Transaction().connection.cursor()
    for field, ids in chosen.items():
        for some in grouped_slice(ids):
            where = fields.SQL_OPERATORS["in"](table.id, list(some))
            cursor.execute(*table.update([Column(table, field)], [Substring(table.description, 6, 36)], where=where))


def _candidates(model):
    """The records in force, each as what it would be marked for, its rank (posted before drafts) and its id."""
    table, taken_back = model.__table__(), set()
    where = table.description.like("pleo:%")
    if model.__name__ == "account.move":
        where &= table.origin == Null  # else the move of an invoice, or the reversal of another
        taken_back = _taken_back(model)
    cursor = Transaction().connection.cursor()
    cursor.execute(*table.select(table.id, table.company, table.description, table.state, where=where))
    for id_, company, description, state in cursor:
        key = _KEY.fullmatch(description)
        if key is None or state == "cancelled" or not (state in _POSTED or key[3]):
            continue
        if f"{model.__name__},{id_}" in taken_back:
            continue
        field = "pleo_belongs_to" if key[2] else "pleo_entry_id"
        yield (field, company, key[1]), state not in _POSTED, id_


def _taken_back(model):
    """The moves that the export reversed, as origins name them."""
    table, cursor = model.__table__(), Transaction().connection.cursor()
    where = table.description.like("pleo:% reversal") & (table.state == "posted") & (table.origin != Null)
    cursor.execute(*table.select(table.origin, where=where))
    return {origin for (origin,) in cursor}


def _taken(model):
    """What records are marked for already."""
    handler, table = model.__table_handler__(), model.__table__()
    cursor = Transaction().connection.cursor()
    for field in ("pleo_entry_id", "pleo_belongs_to"):
        if handler.column_exist(field):
            column = Column(table, field)
            cursor.execute(*table.select(table.company, column, where=column != Null))
            for company, entry in cursor:
                yield field, company, entry
