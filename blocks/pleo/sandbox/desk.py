"""What every handler of the sandbox has at hand: the state, the clock, the limits, the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from blocks.pleo.sandbox.access import RateLimit
from blocks.pleo.sandbox.errors import ApiError
from blocks.pleo.sandbox.faults import Faults
from blocks.pleo.sandbox.log import RequestLog
from blocks.pleo.sandbox.store import Store
from blocks.pleo.sandbox.wire import Json, dumps

CONTENT_TYPE = "application/json;charset=UTF-8"

_HOST = re.compile(r"[A-Za-z0-9.\-_]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that handlers share. `clock` answers seconds since 1970."""

    store: Store
    clock: Callable[[], float]
    page_cap: int
    expires_in: int
    rate_limit: RateLimit | None
    log: RequestLog = field(default_factory=RequestLog)
    faults: Faults = field(default_factory=Faults)

    def base_url(self, request: Request) -> str:
        """Scheme, host and port under which the request came, for links in its answer."""
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            address, port = request.scope["server"]
            host = f"{address}:{port}"
        return f"{request.scope['scheme']}://{host}"


def pleo_response(body: Json | str, *, status: int = 200) -> Response:
    """A JSON answer with Pleo's content type; a text is JSON already."""
    text = body if isinstance(body, str) else dumps(body)
    return Response(text.encode(), status_code=status, headers={"content-type": CONTENT_TYPE})


def error_response(error: ApiError) -> Response:
    """An error as Pleo answers it (`ExceptionInfo`)."""
    response = pleo_response({"type": error.error_type, "message": error.message}, status=error.status)
    response.headers.update(error.headers)
    return response
