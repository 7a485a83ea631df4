"""The sandbox's state: one SQLite file, or a private temporary one that goes with the process."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blocks.pleo.sandbox.errors import SandboxError

APPLICATION_ID = 0x504C4542
SCHEMA_VERSION = 4

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE companies (id TEXT PRIMARY KEY, missing_contra TEXT NOT NULL DEFAULT '[]');
CREATE TABLE credentials (kind TEXT, secret TEXT, companies TEXT NOT NULL, PRIMARY KEY (kind, secret));
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY,
    accounting_entry_id TEXT NOT NULL UNIQUE,
    company_id TEXT NOT NULL,
    body TEXT NOT NULL,          -- the export item as JSON, without the two fields of the tails
    plain_tail TEXT NOT NULL,    -- ,"bookkeeping":…,"vendor":…} in a job without vendor-based bookkeeping
    vendor_tail TEXT NOT NULL    -- the same in a job with it
);
CREATE TABLE jobs (
    job INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    company_id TEXT NOT NULL REFERENCES companies (id),
    origin TEXT NOT NULL,        -- what its ids were drawn from, so that a second job of a seed gets others
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    created_by TEXT,
    started_at REAL,
    last_updated_at REAL,
    completed_at REAL,
    expired_at REAL,
    expires_in INTEGER NOT NULL,
    is_interactive INTEGER NOT NULL,
    vendor_based INTEGER NOT NULL,
    number_of_items INTEGER NOT NULL,
    failure_reason TEXT,
    failure_reason_type TEXT,
    missing_contra TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE job_items (
    job INTEGER NOT NULL REFERENCES jobs (job),
    position INTEGER NOT NULL,
    entry INTEGER NOT NULL REFERENCES entries (entry),
    accounting_entry_id TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending',
    exported_at REAL,
    exported_at_sent TEXT,
    external_id TEXT,
    external_url TEXT,
    failure_reason TEXT,
    failure_reason_type TEXT,
    updates INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
CREATE INDEX job_items_entry ON job_items (accounting_entry_id, job);
CREATE INDEX job_items_status ON job_items (job, status);
CREATE TABLE refusals (
    job INTEGER NOT NULL REFERENCES jobs (job),
    accounting_entry_id TEXT NOT NULL,
    times INTEGER NOT NULL,
    error_type TEXT NOT NULL,
    applied INTEGER NOT NULL,
    PRIMARY KEY (job, accounting_entry_id)
);
CREATE TABLE events (
    event INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES jobs (job),
    name TEXT NOT NULL,
    at REAL NOT NULL,
    failure_reason TEXT,
    failure_reason_type TEXT
);
"""

ADDED_IN_VERSION_2 = """
CREATE TABLE oauth_clients (
    id TEXT PRIMARY KEY,
    secret TEXT,                 -- as its SHA-256, like all secrets of these tables; NULL for a public client
    client_auth TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    companies TEXT NOT NULL,
    access_life_s REAL NOT NULL,
    refresh_life_s REAL NOT NULL
);
CREATE TABLE oauth_grants (
    grant_no INTEGER PRIMARY KEY,
    client TEXT NOT NULL REFERENCES oauth_clients (id),
    scopes TEXT NOT NULL,
    companies TEXT NOT NULL,
    renewals INTEGER NOT NULL DEFAULT 0,
    revoked TEXT                 -- why, once it is
);
CREATE TABLE oauth_codes (
    code TEXT PRIMARY KEY,
    client TEXT NOT NULL REFERENCES oauth_clients (id),
    redirect_uri TEXT NOT NULL,
    challenge TEXT NOT NULL,
    scopes TEXT NOT NULL,
    expires_at REAL NOT NULL,
    grant_no INTEGER REFERENCES oauth_grants (grant_no)     -- once it was exchanged
);
CREATE TABLE oauth_tokens (
    token TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    grant_no INTEGER NOT NULL REFERENCES oauth_grants (grant_no),
    expires_at REAL NOT NULL,
    used INTEGER NOT NULL DEFAULT 0
);
"""

ADDED_IN_VERSION_3 = """
CREATE TABLE subscriptions (
    id TEXT PRIMARY KEY,
    companies TEXT NOT NULL,     -- what the credentials see that made it, a sorted list; null for every company
    endpoint_url TEXT NOT NULL,
    event_types TEXT NOT NULL,
    status TEXT NOT NULL,
    custom_headers TEXT NOT NULL,
    endpoint_auth TEXT NOT NULL,
    secret TEXT NOT NULL,        -- as it is, since deliveries are signed with it
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    deleted_at REAL
);
CREATE TABLE subscription_activities (
    activity INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    subscription TEXT NOT NULL REFERENCES subscriptions (id),
    operation TEXT NOT NULL,
    at REAL NOT NULL
);
"""

# A list; NULL is every scope, as the text null in `companies` is every company.
ADDED_IN_VERSION_4 = "ALTER TABLE credentials ADD COLUMN scopes TEXT"

ADDED = {2: ADDED_IN_VERSION_2, 3: ADDED_IN_VERSION_3, 4: ADDED_IN_VERSION_4}
"""What each version of the state has more than the one before it."""


class Store:
    """The open state. Any thread may use it; a lock lets one at a time in.

    `path` None keeps the state in a temporary file of SQLite's own, which no other process sees.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.RLock()
        self._connection = _open(path)
        self.link_key = self.remember("link_key", secrets.token_hex(16)).encode()

    def close(self) -> None:
        """Release the file. The store is of no use afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is done, or nothing of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(sql, args).fetchall()

    def row(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, if there is one."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, args).fetchone()
            return found

    def number(self, sql: str, args: Sequence[Any] = ()) -> int:
        """The single number that a query answers."""
        row = self.row(sql, args)
        return int(row[0]) if row is not None else 0

    def remember(self, key: str, default: str) -> str:
        """What was remembered under a key; the default, from now on, where nothing was."""
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, default))
            return str(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


def _open(path: Path | None) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            "" if path is None else path, isolation_level=None, check_same_thread=False, timeout=0
        )
    except sqlite3.Error as error:
        raise SandboxError(f"cannot use the state file {path}: {error}") from error
    try:
        connection.row_factory = sqlite3.Row
        # One sandbox a file: the lock is held for as long as it is open.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _prepare(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -32000")
    except sqlite3.Error as error:
        connection.close()
        raise SandboxError(f"cannot use the state file {path}: {_in_words(error)}") from error
    except SandboxError:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Recognise the file as ours, or make it so when it is new."""
    connection.execute("BEGIN EXCLUSIVE")
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner == 0 and version == 0 and tables == 0:
        _make(connection, SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        version = 1
    elif owner != APPLICATION_ID:
        raise SandboxError(f"{path} is a database of something else, not a sandbox state: name another file")
    elif not 1 <= version <= SCHEMA_VERSION:
        raise SandboxError(
            f"{path} is a sandbox state of version {version}, this sandbox reads {SCHEMA_VERSION}: name another file"
        )
    for added in range(version + 1, SCHEMA_VERSION + 1):
        _make(connection, ADDED[added])
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _make(connection: sqlite3.Connection, schema: str) -> None:
    for statement in schema.split(";\n"):
        connection.execute(statement)


def _in_words(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return "another sandbox has it open"
    if "not a database" in text:
        return "it is not a sandbox state"
    return text
