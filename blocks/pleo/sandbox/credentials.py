"""The keys and access tokens that a sandbox accepts beside its own, each for some companies and some scopes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from blocks.pleo.sandbox.errors import NotInSandbox, SandboxError
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.wire import Json, dumps

SCOPES = ("export-jobs:read", "export-jobs:write", "export-items:read", "companies:read")
KINDS = ("key", "token")
"""An API key comes as the user name of Basic, an access token as a Bearer token."""

Granted = tuple[frozenset[str] | None, frozenset[str] | None]
"""The companies and the scopes that credentials open; None for all of them."""


class Credentials:
    """The credentials in the state. They stand there as they are: they open a sandbox, and nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, kind: str, secret: str, companies: Sequence[str] | None, scopes: Sequence[str] | None) -> None:
        """Accept a key or token; None is every company, or every scope."""
        if not secret or (kind == "key" and ":" in secret):
            raise SandboxError("a key or token is a text that is not empty, and a key has no colon")
        if strange := sorted(set(scopes or ()) - set(SCOPES)):
            raise SandboxError(f"the scopes are {', '.join(SCOPES)}, not {', '.join(strange)}")
        seen = None if companies is None else list(companies)
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO credentials (kind, secret, companies, scopes) VALUES (?, ?, ?, ?)",
                (kind, secret, dumps(seen), None if scopes is None else dumps(list(scopes))),
            )

    def remove(self, secret: str) -> None:
        """Accept a key or token no longer. Raises `NotInSandbox` when there is none such."""
        with self._store.transaction() as connection:
            if not connection.execute("DELETE FROM credentials WHERE secret = ?", (secret,)).rowcount:
                raise NotInSandbox("there is no such key or token")

    def all(self) -> list[Json]:
        """Each as `{secret, kind, companies, scopes}`, null for all of them."""
        return [
            {
                "secret": row["secret"],
                "kind": row["kind"],
                "companies": json.loads(row["companies"]),
                "scopes": json.loads(row["scopes"] or "null"),
            }
            for row in self._store.rows("SELECT * FROM credentials ORDER BY kind, secret")
        ]

    def opened_by(self, kind: str, secret: str) -> Granted | None:
        """What a key or token opens; None when it opens nothing."""
        sql = "SELECT companies, scopes FROM credentials WHERE kind = ? AND secret = ?"
        row = self._store.row(sql, (kind, secret))
        if row is None:
            return None
        companies, scopes = json.loads(row["companies"]), json.loads(row["scopes"] or "null")
        return (None if companies is None else frozenset(companies)), (None if scopes is None else frozenset(scopes))
