"""`/oauth/authorize` with its page for the user, and `/oauth/token`: the sandbox as authorisation server over HTTP."""

from __future__ import annotations

import base64
import secrets
from collections import OrderedDict
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from blocks.pleo.sandbox import pages
from blocks.pleo.sandbox.desk import Desk
from blocks.pleo.sandbox.oauth import AuthorizationRequest, AuthorizationServer, OAuthError, TokenPair

_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_OPEN_PAGES = 1000


class Authorization:
    """The handlers. Which pages are open in a browser is remembered until the sandbox ends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._server = AuthorizationServer(desk.store)
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
        return _back(asked.redirect_uri, asked.state, code=self._server.allow(asked, self._desk.clock()))

    async def token(self, request: Request) -> Response:
        """Tokens for a code or a refresh token."""
        try:
            return JSONResponse(self._tokens(request, await _form(request)), headers=_NO_STORE)
        except OAuthError as error:
            headers = (
                {**_NO_STORE, "WWW-Authenticate": 'Basic realm="Pleo sandbox"'} if error.status == 401 else _NO_STORE
            )
            body = {"error": error.code, "error_description": error.description}
            return JSONResponse(body, status_code=error.status, headers=headers)

    def _tokens(self, request: Request, fields: dict[str, str]) -> dict[str, object]:
        client_id, secret, way = _client(request.headers.get("authorization"), fields)
        client = self._server.authenticate(client_id, secret, way)
        now = self._desk.clock()
        match fields.get("grant_type"):
            case "authorization_code":
                pair = self._server.exchange(
                    client, fields.get("code", ""), fields.get("redirect_uri"), fields.get("code_verifier"), now
                )
            case "refresh_token":
                pair = self._server.renew(client, fields.get("refresh_token", ""), now)
            case _:
                raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code or refresh_token")
        return _wire(pair)


def _wire(pair: TokenPair) -> dict[str, object]:
    return {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
        "refresh_token": pair.refresh_token,
        "scope": pair.scope,
    }


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
