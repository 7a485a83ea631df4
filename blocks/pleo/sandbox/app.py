"""The app: the API and the control page behind the reception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from blocks.pleo.sandbox.api import Api
from blocks.pleo.sandbox.authorization import Authorization
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.desk import Desk, error_response
from blocks.pleo.sandbox.errors import ApiError, NotInSandbox, SandboxError
from blocks.pleo.sandbox.reception import Reception

if TYPE_CHECKING:
    from blocks.pleo.sandbox.sandbox import Sandbox

_NAMES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def build_app(desk: Desk, sandbox: Sandbox) -> ASGIApp:
    """Everything that answers requests, with errors in Pleo's form."""
    app = Starlette(
        routes=[*Api(desk).routes(), *Authorization(desk).routes(), *Control(sandbox).routes()],
        exception_handlers={
            ApiError: _api_error,
            SandboxError: _sandbox_error,
            HTTPException: _http_error,
        },
    )
    return Reception(app, desk)


async def _api_error(_request: Request, error: Exception) -> Response:
    return error_response(error if isinstance(error, ApiError) else ApiError(500, "ERROR", str(error)))


async def _sandbox_error(_request: Request, error: Exception) -> Response:
    return error_response(ApiError(404 if isinstance(error, NotInSandbox) else 400, "SANDBOX_ERROR", str(error)))


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return error_response(ApiError(status, _NAMES.get(status, "ERROR"), str(error), headers))
