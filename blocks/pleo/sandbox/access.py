"""Who may come in: the two ways to authenticate, and the 600 requests that a minute holds."""

from __future__ import annotations

import base64
import json
import math
from collections import deque
from collections.abc import Sequence

from blocks.pleo.sandbox.errors import ApiError, forbidden, scope_missing
from blocks.pleo.sandbox.oauth import AuthorizationServer
from blocks.pleo.sandbox.store import Store

SANDBOX_API_KEY = "sandbox-key"
"""The API key that a sandbox accepts, as the user name of Basic authentication with an empty password."""

SANDBOX_ACCESS_TOKEN = "sandbox-token"  # noqa: S105 - no secret: it opens a sandbox only
"""The access token that a sandbox accepts, as a Bearer token."""

KEY, TOKEN = "key", "token"
WINDOW_S = 60.0
MAX_REQUESTS = 600

Companies = frozenset[str] | None
"""The companies that credentials may see; None for every company of the sandbox."""


class RateLimit:
    """At most 600 requests in any 60 seconds; refused ones do not count."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def take(self, now_s: float) -> None:
        """Count a request, or refuse it with 429 and the seconds to wait."""
        while self._times and self._times[0] <= now_s - WINDOW_S:
            self._times.popleft()
        if len(self._times) >= MAX_REQUESTS:
            wait_s = max(1, math.ceil(self._times[0] + WINDOW_S - now_s))
            message = f"More than {MAX_REQUESTS} requests in {WINDOW_S:.0f} seconds"
            raise ApiError(429, "TOO_MANY_REQUESTS", message, {"Retry-After": str(wait_s)})
        self._times.append(now_s)


def add_credential(store: Store, kind: str, secret: str, companies: Sequence[str]) -> None:
    """Accept one more key or token, which sees these companies alone."""
    with store.transaction() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO credentials VALUES (?, ?, ?)",
            (kind, secret, json.dumps([company.lower() for company in companies])),
        )


def authenticate(store: Store, header: str | None, now_s: float, method: str, path: str) -> Companies:
    """The companies that an `Authorization` header opens for a call, or 401; 403 where OAuth's scopes do not do."""
    kind, secret = _credential(header)
    if (kind, secret) in ((KEY, SANDBOX_API_KEY), (TOKEN, SANDBOX_ACCESS_TOKEN)):
        return None
    row = store.row("SELECT companies FROM credentials WHERE kind = ? AND secret = ?", (kind, secret))
    if row is None and kind == TOKEN and (granted := AuthorizationServer(store).access(secret, now_s)) is not None:
        companies, scopes = granted
        if (needed := _scope_of(method, path)) not in scopes:
            raise scope_missing(needed)
        return companies
    if row is None:
        raise _unauthorized(f"The {'API key' if kind == KEY else 'access token'} is not valid")
    return frozenset(json.loads(row["companies"]))


def require_company(store: Store, companies: Companies, company_id: str) -> None:
    """Refuse with 403 a company that the credentials do not see, or that nobody knows."""
    known = store.row("SELECT 1 FROM companies WHERE id = ?", (company_id,)) is not None
    if not known or (companies is not None and company_id not in companies):
        raise forbidden(company_id)


def _scope_of(method: str, path: str) -> str:
    """The scope that a call needs. Pleo does not say which one `GET /v3/export-job-items` does."""
    if path == "/v3/export-items":
        return "export-items:read"
    return "export-jobs:read" if method == "GET" else "export-jobs:write"


def _credential(header: str | None) -> tuple[str, str]:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return TOKEN, value.strip()
    if scheme.lower() != "basic":
        raise _unauthorized("Authentication is required: an API key (Basic) or an access token (Bearer)")
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError as error:
        raise _unauthorized("The Basic credentials cannot be read") from error
    if not colon or password:
        raise _unauthorized("The API key is the user name, and the password is empty")
    return KEY, user


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "UNAUTHORIZED", message, {"WWW-Authenticate": 'Basic realm="Pleo sandbox", Bearer'})
