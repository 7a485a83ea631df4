"""Who may call, over HTTP: what an `Authorization` header opens, the rate limit, and the endpoints of OAuth.

OAuth's are `/oauth/authorize`, with its page for the user, and `/oauth/token`; their rules are in `oauth`.
"""

from __future__ import annotations

import base64
import math
import secrets
from collections import OrderedDict, deque
from dataclasses import asdict
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from blocks.pleo.sandbox import pages
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.errors import ApiError, forbidden, scope_missing
from blocks.pleo.sandbox.oauth import AuthorizationRequest, OAuthError
from blocks.pleo.sandbox.store import Store

SANDBOX_API_KEY = "sandbox-key"
"""The API key that a sandbox accepts, as the user name of Basic authentication with an empty password."""

SANDBOX_ACCESS_TOKEN = "sandbox-token"  # noqa: S105 - no secret: it opens a sandbox only
"""The access token that a sandbox accepts, as a Bearer token."""

Companies = frozenset[str] | None
"""The companies that credentials may see; None for every company of the sandbox."""

WINDOW_S = 60.0
MAX_REQUESTS = 600
_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_BASIC = 'Basic realm="Pleo sandbox"'
_OPEN_PAGES = 1000


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


def authenticate(control: Control, header: str | None, method: str, path: str) -> Companies:
    """The companies that an `Authorization` header opens for a call, or 401; 403 where its scopes do not do."""
    kind, secret = _credential(header)
    if (kind, secret) in (("key", SANDBOX_API_KEY), ("token", SANDBOX_ACCESS_TOKEN)):
        return None
    granted = control.credentials.opened_by(kind, secret)
    if granted is None and kind == "token":
        granted = control.oauth.access(secret, control.clock())
    if granted is None:
        raise _unauthorized(f"The {'API key' if kind == 'key' else 'access token'} is not valid")
    companies, scopes = granted
    needed = _scope_of(method, path)
    if scopes is not None and needed is not None and needed not in scopes:
        raise scope_missing(needed)
    return companies


def require_company(store: Store, companies: Companies, company_id: str) -> None:
    """Refuse with 403 a company that the credentials do not see, or that nobody knows."""
    known = store.row("SELECT 1 FROM companies WHERE id = ?", (company_id,)) is not None
    if not known or (companies is not None and company_id not in companies):
        raise forbidden(company_id)


_SCOPES = {
    "/v3/export-items": "export-items:read",
    "/v3/export-job-items:search": "export-jobs:read",
    "/v1/companies": "companies:read",
    "/v1/installations/me": None,
}


def _scope_of(method: str, path: str) -> str | None:
    """The scope that a call needs, None for none. Pleo does not say which the calls for `export-job-items` do."""
    return _SCOPES.get(path, "export-jobs:read" if method == "GET" else "export-jobs:write")


def _credential(header: str | None) -> tuple[str, str]:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return "token", value.strip()
    if scheme.lower() != "basic":
        raise _unauthorized("Authentication is required: an API key (Basic) or an access token (Bearer)")
    try:
        user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError as error:
        raise _unauthorized("The Basic credentials cannot be read") from error
    if not colon or password:
        raise _unauthorized("The API key is the user name, and the password is empty")
    return "key", user


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "UNAUTHORIZED", message, {"WWW-Authenticate": f"{_BASIC}, Bearer"})


class AuthorizationEndpoints:
    """The handlers of OAuth. Which pages are open in a browser is remembered until the sandbox ends."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._server = control.oauth
        self._open: OrderedDict[str, AuthorizationRequest] = OrderedDict()

    def routes(self) -> list[Route]:
        """Where the handlers stand."""
        return [
            Route("/oauth/authorize", self.ask, methods=["GET"]),
            Route("/oauth/authorize", self.decide, methods=["POST"]),
            Route("/oauth/token", self.token, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """The page that asks the user; a request that is not in order goes back to the client where that is safe."""
        given = request.query_params.multi_items()
        parameters = dict(given)
        redirect_uri = parameters.get("redirect_uri", "")
        if len(parameters) != len(given):
            return _page(pages.message("A parameter was given twice."), status=400)
        if not self._server.redirect_allowed(parameters.get("client_id", ""), redirect_uri):
            return _page(pages.message("This client is not known here, or not with this redirect_uri."), status=400)
        try:
            asked = self._server.asked(parameters)
        except OAuthError as error:
            return _back(redirect_uri, parameters.get("state"), error=error.code, error_description=error.description)
        number = secrets.token_urlsafe(16)
        self._open[number] = asked
        while len(self._open) > _OPEN_PAGES:
            self._open.popitem(last=False)
        return _page(pages.consent(asked, number), leads_to=redirect_uri)

    async def decide(self, request: Request) -> Response:
        """What the user pressed. A page is good for one answer."""
        try:
            fields = await _form(request)
        except OAuthError as error:
            return _page(pages.message(error.description), status=400)
        asked = self._open.pop(fields.get("page", ""), None)
        if asked is None:
            return _page(pages.message("This page has been answered already, or is too old."), status=400)
        if fields.get("decision") != "allow":
            return _back(asked.redirect_uri, asked.state, error="access_denied", error_description="The user said no")
        return _back(asked.redirect_uri, asked.state, code=self._server.allow(asked, self._control.clock()))

    async def token(self, request: Request) -> Response:
        """Tokens for a code or a refresh token."""
        try:
            return JSONResponse(self._tokens(request, await _form(request)), headers=_NO_STORE)
        except OAuthError as error:
            headers = {**_NO_STORE, "WWW-Authenticate": _BASIC} if error.status == 401 else _NO_STORE
            body = {"error": error.code, "error_description": error.description}
            return JSONResponse(body, status_code=error.status, headers=headers)

    def _tokens(self, request: Request, fields: dict[str, str]) -> dict[str, object]:
        client_id, secret, way = _client(request.headers.get("authorization"), fields)
        client = self._server.authenticate(client_id, secret, way)
        now = self._control.clock()
        match fields.get("grant_type"):
            case "authorization_code":
                pair = self._server.exchange(
                    client, fields.get("code", ""), fields.get("redirect_uri"), fields.get("code_verifier"), now
                )
            case "refresh_token":
                pair = self._server.renew(client, fields.get("refresh_token", ""), now)
            case _:
                raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code or refresh_token")
        return {"token_type": "Bearer", **asdict(pair)}


def _client(header: str | None, fields: dict[str, str]) -> tuple[str, str | None, Literal["parameters", "header"]]:
    """Who asks for tokens: by a Basic header or by parameters, never by both."""
    if header is None:
        return fields.get("client_id", ""), fields.get("client_secret"), "parameters"
    if "client_secret" in fields:
        raise OAuthError("invalid_request", "The client authenticates in two ways at once")
    scheme, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError as error:
        raise OAuthError("invalid_client", "The Basic credentials cannot be read", 401) from error
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise OAuthError("invalid_client", "The client authenticates by Basic or by parameters", 401)
    return unquote_plus(client_id), unquote_plus(secret), "header"


async def _form(request: Request) -> dict[str, str]:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise OAuthError("invalid_request", "The body must be a form")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True)
    except ValueError as error:
        raise OAuthError("invalid_request", "The form cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise OAuthError("invalid_request", "A parameter was given twice")
    return fields


def _back(redirect_uri: str, state: str | None, **parameters: str) -> Response:
    if state is not None:
        parameters["state"] = state
    separator = "&" if "?" in redirect_uri else "?"
    return RedirectResponse(f"{redirect_uri}{separator}{urlencode(parameters)}", status_code=303, headers=_NO_STORE)


def _page(text: str, *, status: int = 200, leads_to: str | None = None) -> Response:
    """A page. Browsers hold the answer to a form to the form's policy, so that names where it leads to."""
    target = urlsplit(leads_to or "")
    action = f"'self' {target.scheme}://{target.netloc}" if leads_to else "'none'"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; form-action {action}; base-uri 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text, status_code=status, headers={**_NO_STORE, "Content-Security-Policy": policy})
