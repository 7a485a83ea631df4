"""One call at a time for a company, and Tryton's own locks taken before the work instead of in its midst. License: MIT.

Tryton locks a sequence when it comes to need it, and does not wait for it: the transaction is rolled back, its work is
done again, and where somebody else numbers at the same time the caller gets an error. Here the call waits, before it
has done anything. What it has locked Tryton finds in its own list, and goes on.
"""

from sql import For
from trytond import backend
from trytond.pool import Pool
from trytond.transaction import Transaction, TransactionError

_OUT_OF_DATE = {"40001", "40P01"}
"""PostgreSQL's serialization_failure and deadlock_detected."""


class _BeginAnew(TransactionError):
    """What this transaction sees of the database is out of date: Tryton runs it again from its start."""


def lock_company(company: int) -> None:
    """Waits until no other call records for the company. Afterwards this transaction has seen all that they wrote, and
    keeps the others waiting until it ends. Begins the transaction anew where it has not."""
    table = Pool().get("company.company").__table__()
    _wait_for(*table.update([table.party], [table.party], where=table.id == company))


def lock_records(name: str, ids: set[int]) -> None:
    """Waits until nobody else has these records of a model locked, and locks them."""
    if ids:
        table = Pool().get(name).__table__()
        _wait_for(*table.select(table.id, where=table.id.in_(sorted(ids)), order_by=table.id, for_=For("UPDATE")))
        Transaction()._locked_records[table._name].update(ids)


def lock_table(name: str) -> None:
    """Waits until nobody else writes into a model's table, and locks it."""
    table = Pool().get(name).__table__()
    _wait_for(f'LOCK TABLE "{table._name}" IN EXCLUSIVE MODE')
    Transaction()._locked_tables.add(table._name)


def _wait_for(*query: object) -> None:
    try:
        Transaction().connection.cursor().execute(*query)
    except backend.DatabaseOperationalError as error:
        if getattr(error, "sqlstate", None) in _OUT_OF_DATE:
            raise _BeginAnew from error
        raise
