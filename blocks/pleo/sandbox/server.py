"""The sandbox over HTTP: its routes, what stands before them (log, faults, credentials, rate limit), and its server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocks.pleo.sandbox import jobs, strict
from blocks.pleo.sandbox.api import Api
from blocks.pleo.sandbox.authorization import AuthorizationEndpoints, RateLimit, authenticate
from blocks.pleo.sandbox.companies import Companies
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.control_api import ControlApi
from blocks.pleo.sandbox.errors import ApiError, NotInSandbox, NotNow, SandboxError, bad_request
from blocks.pleo.sandbox.subscription_api import SubscriptionApi
from blocks.pleo.sandbox.traffic import Fault, ReceivedRequest
from blocks.pleo.sandbox.wire import error_response

_STOP_S = 3
_HTTP_ERRORS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
_ID_PATHS = (
    (re.compile(r"^/v3/export-jobs/[^/]+"), "/v3/export-jobs/{jobId}"),
    (re.compile(r"^/v1/subscriptions/[^/]+"), "/v1/subscriptions/{id}"),
)
_API = ("/v3/", "/v1/")
_LOGGER = logging.getLogger(__name__)


class Sandbox(Control):
    """A Pleo for one's own machine: export jobs in a state, and an ASGI app that answers for them.

    Close it when done, or use it as a context. Any thread may call it, also while it is served.
    """

    @cached_property
    def app(self) -> ASGIApp:
        """What answers for it over HTTP. Another app may be put in its place, which passes requests on to this one."""
        return _build_app(self)


class _Server(uvicorn.Server):
    """A server that tells when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


@contextmanager
def serve(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer requests in a thread while the context lasts; yields the base URL. Port 0 takes any free one.

    The sandbox stays open afterwards, and can be served again. Raises `SandboxError` when the port cannot be had.
    """
    listener = _listen(host, port)
    taken: int = listener.getsockname()[1]
    config = uvicorn.Config(
        sandbox.app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        timeout_graceful_shutdown=_STOP_S,
    )
    server = _Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name=f"pleo-sandbox-{taken}", daemon=True
    )
    thread.start()
    try:
        while not server.answering.wait(0.05) and thread.is_alive():
            pass
        if not server.answering.is_set():
            raise SandboxError(f"the sandbox's server did not start on {host}:{taken}")
        yield f"http://{f'[{host}]' if ':' in host else host}:{taken}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise SandboxError(f"{port} is not a port: use 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it small answers take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listening from here on: who comes before the thread is ready waits, and is not refused.
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise SandboxError(f"cannot listen on {host}:{port}: {reason}; choose another port") from error
    return listener


def _build_app(control: Control) -> ASGIApp:
    """Everything that answers requests, with errors in Pleo's form."""
    parts = (
        Api(control),
        SubscriptionApi(control),
        Companies(control),
        AuthorizationEndpoints(control),
        ControlApi(control),
    )
    routes = [route for part in parts for route in part.routes()]
    handlers = {ApiError: _answer_error, SandboxError: _answer_error, HTTPException: _answer_error}
    return _Middleware(Starlette(routes=routes, exception_handlers=handlers), control)


def call_of(method: str, path: str) -> str:
    """The method with the contract's path, ids put back to their names."""
    if path.startswith("/receipts/"):
        return f"{method} /receipts"
    for pattern, name in _ID_PATHS:
        path = pattern.sub(name, path)
    return f"{method} {path}"


async def _answer_error(_request: Request, error: Exception) -> Response:
    match error:
        case ApiError():
            return error_response(error)
        case SandboxError():
            status = 404 if isinstance(error, NotInSandbox) else 409 if isinstance(error, NotNow) else 400
            return error_response(ApiError(status, "SANDBOX_ERROR", str(error)))
        case HTTPException(status_code=status):
            name = _HTTP_ERRORS.get(status, "ERROR")
            return error_response(ApiError(status, name, str(error), dict(error.headers or {})))
    raise error


class _HeldResponse:
    """An answer, held back until it is known what becomes of it."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")


class _Middleware:
    """The outermost layer of the app. The control API and its page pass through untouched and are not logged."""

    def __init__(self, app: ASGIApp, control: Control) -> None:
        self._app = app
        self._control = control
        self._rate_limit = RateLimit() if control.rate_limit else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith((*_API, "/receipts/", "/oauth/")):
            try:
                await self._app(scope, receive, send)
            except Exception:  # whatever a control page does wrong is logged and never ends the server
                _LOGGER.exception("the sandbox failed to answer %s %s", scope.get("method"), path)
            return
        began = time.perf_counter()
        call = call_of(scope["method"], path)
        fault = self._control.faults.next_for(call, f"{scope['method']} {path}")
        if fault is not None:
            scope["pleo.fault"] = fault.kind
        answer = _HeldResponse()
        await self._answer(scope, receive, answer, fault)
        # Of an authorisation no more is kept than that it came by.
        query = "" if path.startswith("/oauth/") else scope["query_string"].decode("latin-1")
        self._control.log.add(
            ReceivedRequest(
                at=self._control.clock(),
                method=scope["method"],
                path=f"{path}?{query}" if query else path,
                call=call,
                status=0 if fault is not None and fault.breaks_connection else answer.start["status"],
                duration_ms=(time.perf_counter() - began) * 1000,
                detail=scope.get("pleo.detail", "") if fault is None else f"fault: {fault.kind}",
            )
        )
        await _send(answer, send, fault)

    async def _answer(self, scope: Scope, receive: Receive, answer: _HeldResponse, fault: Fault | None) -> None:
        control = self._control
        try:
            if fault is not None and (instead := fault.instead()) is not None:
                await instead(scope, receive, answer.take)
                return
            if scope["path"].startswith(_API):
                header = Request(scope).headers.get("authorization")
                scope["pleo.companies"] = authenticate(control, header, scope["method"], scope["path"])
                if self._rate_limit is not None:
                    self._rate_limit.take(control.clock())
                jobs.expire(control.store, control.clock())
                if control.strict:
                    strict.refuse(call_of(scope["method"], scope["path"]), QueryParams(scope["query_string"]))
            await self._app(scope, receive, answer.take)
        except ApiError as error:
            await error_response(error)(scope, receive, answer.take)
        except ClientDisconnect:  # it broke off while it was sending: nothing was done, and nobody hears the answer
            await error_response(bad_request("The request was broken off"))(scope, receive, answer.take)
        except Exception:  # a mistake of ours is a 500 to the client, as it would be at Pleo
            _LOGGER.exception("the sandbox failed to answer %s %s", scope["method"], scope["path"])
            answer.body = b""  # a plain text may stand there already
            failure = ApiError(500, "INTERNAL_SERVER_ERROR", "The sandbox failed: see its log")
            await error_response(failure)(scope, receive, answer.take)


async def _send(answer: _HeldResponse, send: Send, fault: Fault | None) -> None:
    """Hand the answer over; half of it, or none, when a fault says so."""
    if fault is not None and fault.breaks_connection:
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if isinstance(transport, asyncio.Transport):
            transport.abort()
            await asyncio.sleep(0)  # the server learns of it, and does not ask for an answer any more
            return
        # Somebody stands before the server. A length is announced and nothing follows, which closes the connection.
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
