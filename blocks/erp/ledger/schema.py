"""The ledger file's schema, which itself keeps the books in order whoever writes to them.

An entry comes into being in moves of one transaction: its documents and its lines, under the next free number and
while no entry of that number stands (the foreign key waits for the commit); the lines' dimensions; the entry. The
entry's trigger then sees all of it and refuses what does not balance. Its attachments and settlements follow. From
there on nothing changes but what `schema_3` allows: a draft is posted, replaced or deleted, a posted entry is reversed
by another. The schema itself keeps the history of all that, in the transaction that it tells of.

The checks of accounts and numbers stand in triggers beside the foreign keys, because foreign keys hold only for
programs that switch them on. A refusal's text begins with a `RefusalKind` where it has one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from blocks.erp.ledger.schema_1 import MAX_AMOUNT_MINOR, VERSION_1
from blocks.erp.ledger.schema_2 import VERSION_2
from blocks.erp.ledger.schema_3 import VERSION_3

__all__ = ["APPLICATION_ID", "MAX_AMOUNT_MINOR", "MIGRATIONS", "migrate", "newest_version", "version_of"]

APPLICATION_ID = 0x506C4C31
"""Stands in the file's header and tells a ledger from any other SQLite file."""

MIGRATIONS: Sequence[Sequence[str]] = (VERSION_1, VERSION_2, VERSION_3)
"""For each schema version, the statements that lead to it from the version before; an empty file is version 0."""


def newest_version() -> int:
    """The schema version that this program writes."""
    return len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of an open file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an open file to the newest schema version, in one transaction; needs one that is no newer than that.

    Raises sqlite3.Error; the file is then as it was.
    """
    version = version_of(connection)
    if version == newest_version():
        return
    # A table that others name is made anew, which foreign keys would forbid; they are looked at before it counts.
    enforced = connection.execute("PRAGMA foreign_keys").fetchone()[0]
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            if connection.execute("PRAGMA foreign_key_check").fetchone():
                raise sqlite3.IntegrityError("the books hold parts of entries that are not there")
            connection.execute(f"PRAGMA user_version = {newest_version()}")
    finally:
        connection.execute(f"PRAGMA foreign_keys = {'ON' if enforced else 'OFF'}")
