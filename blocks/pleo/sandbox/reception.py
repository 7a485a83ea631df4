"""What stands before the handlers of the API: the log, the faults on order, authentication and the rate limit."""

from __future__ import annotations

import logging
import re
import time

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocks.pleo.sandbox import jobs
from blocks.pleo.sandbox.access import authenticate
from blocks.pleo.sandbox.desk import Desk, error_response
from blocks.pleo.sandbox.errors import ApiError
from blocks.pleo.sandbox.faults import Fault
from blocks.pleo.sandbox.views import ReceivedRequest

_JOB_PATH = re.compile(r"^/v3/export-jobs/[^/]+")
_LOGGER = logging.getLogger(__name__)


class _Answer:
    """An answer, held back until it is known what becomes of it."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")


class Reception:
    """The outermost layer of the app. The control page passes through untouched and is not logged."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(("/v3/", "/receipts/", "/oauth/")):
            try:
                await self._app(scope, receive, send)
            except Exception:  # whatever a control page does wrong is logged and never ends the server
                _LOGGER.exception("the sandbox failed to answer %s %s", scope.get("method"), path)
            return
        began = time.perf_counter()
        call = call_of(scope["method"], path)
        fault = self._desk.faults.next_for(call)
        answer = _Answer()
        await self._answer(scope, receive, answer, fault)
        # Of an authorisation no more is kept than that it came by.
        query = "" if path.startswith("/oauth/") else scope["query_string"].decode("latin-1")
        broken = fault is not None and fault.kind in ("drop", "lost")
        self._desk.log.add(
            ReceivedRequest(
                at=self._desk.clock(),
                method=scope["method"],
                path=f"{path}?{query}" if query else path,
                call=call,
                status=0 if broken else answer.start["status"],
                duration_ms=(time.perf_counter() - began) * 1000,
                detail=scope.get("pleo.detail", "") if fault is None else f"fault: {fault.kind}",
            )
        )
        await _send(answer, send, fault)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer, fault: Fault | None) -> None:
        request = Request(scope, receive)
        try:
            if fault is not None and fault.kind in ("status", "html", "drop"):
                await _instead(fault)(scope, receive, answer.take)
                return
            if scope["path"].startswith("/v3/"):
                scope["pleo.companies"] = authenticate(
                    self._desk.store,
                    request.headers.get("authorization"),
                    self._desk.clock(),
                    scope["method"],
                    scope["path"],
                )
                if self._desk.rate_limit is not None:
                    self._desk.rate_limit.take(self._desk.clock())
                jobs.expire(self._desk.store, self._desk.clock())
            await self._app(scope, receive, answer.take)
        except ApiError as error:
            await error_response(error)(scope, receive, answer.take)
        except Exception:  # a mistake of ours is a 500 to the client, as it would be at Pleo
            _LOGGER.exception("the sandbox failed to answer %s %s", scope["method"], scope["path"])
            answer.body = b""  # a plain text may stand there already
            failure = ApiError(500, "INTERNAL_SERVER_ERROR", "The sandbox failed: see its log")
            await error_response(failure)(scope, receive, answer.take)


def call_of(method: str, path: str) -> str:
    """The method with the contract's path, the job's id put back to its name."""
    if path.startswith("/receipts/"):
        return f"{method} /receipts"
    return f"{method} {_JOB_PATH.sub('/v3/export-jobs/{jobId}', path)}"


def _instead(fault: Fault) -> Response:
    if fault.kind == "html":
        return HTMLResponse(
            "<!doctype html><title>Just a moment</title><p>Please wait while we check your browser.</p>"
        )
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    return error_response(ApiError(fault.status, "FAULT", "A fault on order", headers))


async def _send(answer: _Answer, send: Send, fault: Fault | None) -> None:
    """Hand the answer over; half of it, or only the promise of one, when a fault says so."""
    if fault is not None and fault.kind in ("drop", "lost"):
        # A length is announced and nothing follows: the server then closes the connection.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        return
    start, body = answer.start, answer.body
    if fault is not None and fault.kind == "cut":
        body = body[: len(body) // 2]
        length = str(len(body)).encode()
        headers = [(name, length if name == b"content-length" else value) for name, value in start["headers"]]
        start = {**start, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
