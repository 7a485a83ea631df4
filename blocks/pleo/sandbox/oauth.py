"""The sandbox as authorisation server: clients, codes, grants and tokens, by the rules that Pleo publishes.

PKCE with S256 alone, codes that are good once and for a minute, refresh tokens that are good once. A refresh token or a
code that comes a second time takes the whole grant with it. Of all secrets only the SHA-256 is kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from blocks.pleo.sandbox.credentials import SCOPES
from blocks.pleo.sandbox.errors import NotInSandbox
from blocks.pleo.sandbox.store import Store

SANDBOX_CLIENT_ID = "sandbox-client"
SANDBOX_CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 - no secret: it opens a sandbox only
SANDBOX_REDIRECT_URI = "http://127.0.0.1:8919/callback"

CODE_LIFE_S = 60.0
ACCESS_LIFE_S = 900.0
REFRESH_LIFE_S = 60 * 86400.0

ClientAuth = Literal["either", "parameters", "header"]

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class OAuthError(Exception):
    """A refusal in the words of RFC 6749: an error code, a description, and the HTTP status of the token endpoint."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What the token endpoint hands out. `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    scope: str


@dataclass(frozen=True, slots=True)
class OAuthGrant:
    """What a user allowed a client: the scopes, how often it was renewed, and why it was revoked, if it was."""

    client_id: str
    scopes: tuple[str, ...]
    renewals: int
    revoked: str | None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a client asks a user for, once it was found to be in order."""

    client_id: str
    redirect_uri: str
    state: str
    challenge: str
    scopes: tuple[str, ...]
    companies: tuple[str, ...]


class AuthorizationServer:
    """The rules, over the sandbox's state. Times are seconds since 1970 by the sandbox's clock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_client(
        self,
        client_id: str,
        secret: str | None,
        *,
        client_auth: ClientAuth,
        redirect_uris: Sequence[str],
        companies: Sequence[str],
        access_life_s: float,
        refresh_life_s: float,
    ) -> None:
        """Know a client; without a secret it is a public one."""
        hidden = None if secret is None else _digest(secret)
        values = (client_id, hidden, client_auth, json.dumps(list(redirect_uris)), json.dumps(list(companies)))
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO oauth_clients VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " secret = excluded.secret, client_auth = excluded.client_auth,"
                " redirect_uris = excluded.redirect_uris, companies = excluded.companies,"
                " access_life_s = excluded.access_life_s, refresh_life_s = excluded.refresh_life_s",
                (*values, access_life_s, refresh_life_s),
            )

    def require_client(self, client_id: str) -> None:
        """Raise `NotInSandbox` where there is no such client."""
        if self._client(client_id) is None:
            raise NotInSandbox(f"there is no OAuth client {client_id}")

    def redirect_allowed(self, client_id: str, redirect_uri: str) -> bool:
        """Whether this client may be sent its answer there: the address is compared to the letter."""
        client = self._client(client_id)
        return client is not None and redirect_uri in json.loads(client["redirect_uris"])

    def asked(self, parameters: dict[str, str]) -> AuthorizationRequest:
        """The request for authorisation in order, or why it is not. Client and address were checked before."""
        if parameters.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type must be code")
        if parameters.get("code_challenge_method") != "S256":
            raise OAuthError("invalid_request", "code_challenge_method must be S256")
        challenge = parameters.get("code_challenge", "")
        if not _CHALLENGE.fullmatch(challenge):
            raise OAuthError("invalid_request", "code_challenge must be the SHA-256 of the verifier in base64url")
        if not parameters.get("state"):
            raise OAuthError("invalid_request", "state is required")
        scopes = tuple(dict.fromkeys(parameters.get("scope", "").split()))
        if not scopes or not set(scopes) <= set(SCOPES):
            raise OAuthError("invalid_scope", f"scope must be some of {', '.join(SCOPES)}")
        client = self._client(parameters["client_id"])
        companies = tuple(json.loads(client["companies"])) if client is not None else ()
        return AuthorizationRequest(
            parameters["client_id"], parameters["redirect_uri"], parameters["state"], challenge, scopes, companies
        )

    def allow(self, request: AuthorizationRequest, now_s: float) -> str:
        """The code for a request that the user allowed."""
        code = secrets.token_urlsafe(32)
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO oauth_codes VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (
                    _digest(code),
                    request.client_id,
                    request.redirect_uri,
                    request.challenge,
                    json.dumps(request.scopes),
                    now_s + CODE_LIFE_S,
                ),
            )
        return code

    def authenticate(self, client_id: str, secret: str | None, way: Literal["parameters", "header"]) -> sqlite3.Row:
        """The client that asks for tokens. A confidential one shows its secret, in the way that it registered."""
        client = self._client(client_id)
        if client is None:
            raise OAuthError("invalid_client", "No such client", 401)
        if client["secret"] is None:
            if secret:
                raise OAuthError("invalid_client", "A public client has no secret", 401)
            return client
        if not secret or not hmac.compare_digest(client["secret"], _digest(secret)):
            raise OAuthError("invalid_client", "The client's secret is missing or wrong", 401)
        if client["client_auth"] not in ("either", way):
            raise OAuthError("invalid_client", f"This client authenticates by {client['client_auth']}", 401)
        return client

    def exchange(
        self, client: sqlite3.Row, code: str, redirect_uri: str | None, verifier: str | None, now_s: float
    ) -> TokenPair:
        """Tokens for a code. One that comes again revokes what it once brought."""
        with self._store.transaction() as connection:
            row = self._store.row("SELECT * FROM oauth_codes WHERE code = ?", (_digest(code),))
            if row is None or row["client"] != client["id"]:
                raise OAuthError("invalid_grant", "The code is not valid")
            if row["grant_no"] is not None:
                self._revoke("the code was used twice", "grant_no = ?", row["grant_no"])
                refusal = OAuthError("invalid_grant", "The code was used already")
            elif now_s >= row["expires_at"]:
                refusal = OAuthError("invalid_grant", "The code has expired")
            elif redirect_uri != row["redirect_uri"]:
                refusal = OAuthError("invalid_grant", "redirect_uri is not the one that was authorised")
            elif not verifier or not _VERIFIER.fullmatch(verifier) or _challenge(verifier) != row["challenge"]:
                refusal = OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
            else:
                grant = self._new_grant(client, json.loads(row["scopes"]))
                connection.execute("UPDATE oauth_codes SET grant_no = ? WHERE code = ?", (grant, _digest(code)))
                return self._new_tokens(client, grant, now_s)
        raise refusal  # outside, as what was revoked stays so

    def grant(self, client_id: str, scopes: Sequence[str], now_s: float) -> TokenPair:
        """Tokens as if a user had just allowed them."""
        client = self._client(client_id)
        if client is None:
            raise OAuthError("invalid_client", f"There is no client {client_id}")
        with self._store.transaction():
            return self._new_tokens(client, self._new_grant(client, scopes), now_s)

    def renew(self, client: sqlite3.Row, refresh_token: str, now_s: float) -> TokenPair:
        """The next pair of tokens. A refresh token that was used or has expired revokes the whole grant."""
        with self._store.transaction() as connection:
            row = self._store.row(
                "SELECT t.*, g.client, g.revoked FROM oauth_tokens t JOIN oauth_grants g USING (grant_no)"
                " WHERE token = ? AND kind = 'refresh'",
                (_digest(refresh_token),),
            )
            if row is None or row["client"] != client["id"]:
                raise OAuthError("invalid_grant", "The refresh token is not valid")
            if row["revoked"] is None and not row["used"] and now_s < row["expires_at"]:
                # The pair before is dropped at once: who still uses it has missed a renewal.
                connection.execute("UPDATE oauth_tokens SET used = 1 WHERE grant_no = ?", (row["grant_no"],))
                connection.execute(
                    "UPDATE oauth_grants SET renewals = renewals + 1 WHERE grant_no = ?", (row["grant_no"],)
                )
                return self._new_tokens(client, row["grant_no"], now_s)
            why = "a refresh token was used twice" if row["used"] else "an expired refresh token was used"
            self._revoke(why, "grant_no = ?", row["grant_no"])
        raise OAuthError("invalid_grant", "The refresh token is no longer valid")

    def access(self, token: str, now_s: float) -> tuple[frozenset[str], frozenset[str]] | None:
        """The companies and scopes that an access token opens; None when it opens nothing."""
        row = self._store.row(
            "SELECT g.companies, g.scopes FROM oauth_tokens t JOIN oauth_grants g USING (grant_no)"
            " WHERE token = ? AND kind = 'access' AND NOT used AND expires_at > ? AND revoked IS NULL",
            (_digest(token), now_s),
        )
        return None if row is None else (frozenset(json.loads(row["companies"])), frozenset(json.loads(row["scopes"])))

    def expire(self, client_id: str | None, kinds: Sequence[Literal["access", "refresh"]]) -> None:
        """Let every token of these kinds be over now, of one client or of all."""
        with self._store.transaction() as connection:
            connection.executemany(
                "UPDATE oauth_tokens SET expires_at = 0 WHERE kind = ? AND grant_no IN"
                " (SELECT grant_no FROM oauth_grants WHERE ? IS NULL OR client = ?)",
                [(kind, client_id, client_id) for kind in kinds],
            )

    def revoke(self, client_id: str) -> None:
        """Take back all that users allowed this client, as an administrator does in Pleo."""
        self._revoke("it was revoked in Pleo", "client = ?", client_id)

    def grants(self) -> list[OAuthGrant]:
        """Every grant, the oldest first."""
        return [
            OAuthGrant(row["client"], tuple(json.loads(row["scopes"])), row["renewals"], row["revoked"])
            for row in self._store.rows("SELECT * FROM oauth_grants ORDER BY grant_no")
        ]

    def _client(self, client_id: str) -> sqlite3.Row | None:
        return self._store.row("SELECT * FROM oauth_clients WHERE id = ?", (client_id,))

    def _new_grant(self, client: sqlite3.Row, scopes: Sequence[str]) -> int:
        with self._store.transaction() as connection:
            made = connection.execute(
                "INSERT INTO oauth_grants (client, scopes, companies) VALUES (?, ?, ?)",
                (client["id"], json.dumps(list(scopes)), client["companies"]),
            )
            return int(made.lastrowid or 0)

    def _new_tokens(self, client: sqlite3.Row, grant: int, now_s: float) -> TokenPair:
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self._store.transaction() as connection:
            for kind, token, life_s in (
                ("access", access, client["access_life_s"]),
                ("refresh", refresh, client["refresh_life_s"]),
            ):
                connection.execute(
                    "INSERT INTO oauth_tokens (token, kind, grant_no, expires_at) VALUES (?, ?, ?, ?)",
                    (_digest(token), kind, grant, now_s + life_s),
                )
        row = self._store.row("SELECT scopes FROM oauth_grants WHERE grant_no = ?", (grant,))
        scope = " ".join(json.loads(row["scopes"])) if row is not None else ""
        return TokenPair(access, refresh, int(client["access_life_s"]), scope)

    def _revoke(self, why: str, condition: str, value: int | str) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                f"UPDATE oauth_grants SET revoked = ? WHERE {condition} AND revoked IS NULL",  # noqa: S608 - constants
                (why, value),
            )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
