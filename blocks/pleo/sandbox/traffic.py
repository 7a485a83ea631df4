"""Requests: the memory of what came in, and the faults on order, by which those to come get a bad answer or none."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

from starlette.responses import HTMLResponse, Response

from blocks.pleo.sandbox.errors import ApiError
from blocks.pleo.sandbox.models import Event
from blocks.pleo.sandbox.wire import error_response

KEPT = 2_000


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request to the API or for a receipt.

    `at` is in seconds since 1970, `call` is the method with the contract's path, `detail` says what was asked in a
    few words: the event's name, the number of items.
    """

    at: float
    method: str
    path: str
    call: str
    status: int
    duration_ms: float
    detail: str


@dataclass(frozen=True, slots=True)
class Received:
    """What a sandbox received since it started, or since `Sandbox.forget_requests`.

    `total` counts the requests to the API, refused ones included, and `receipts` the downloads. `by_call` has one
    count a method and path of the contract (`GET /v3/export-items`), `by_status` one a status. `requests` are the
    last ones, oldest first; `events` are all events of the state, oldest first.
    """

    total: int
    receipts: int
    by_call: dict[str, int]
    by_status: dict[int, int]
    requests: tuple[ReceivedRequest, ...]
    events: tuple[Event, ...]


class RequestLog:
    """Counts since the start, and the last 2,000 requests."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start again from nothing."""
        self._total = 0
        self._receipts = 0
        self._by_call: Counter[str] = Counter()
        self._by_status: Counter[int] = Counter()
        self._last: deque[ReceivedRequest] = deque(maxlen=KEPT)

    def add(self, request: ReceivedRequest) -> None:
        """Count a request and keep it for a while."""
        if request.path.startswith("/receipts/"):
            self._receipts += 1
        elif not request.path.startswith("/oauth/"):  # another host at Pleo
            self._total += 1
        self._by_call[request.call] += 1
        self._by_status[request.status] += 1
        self._last.append(request)

    def received(self, events: tuple[Event, ...]) -> Received:
        """A copy of it all."""
        calls, statuses = dict(self._by_call), dict(self._by_status)
        return Received(self._total, self._receipts, calls, statuses, tuple(self._last), events)


FaultKind = Literal["status", "html", "cut", "drop", "lost"]
"""What goes wrong.

`status`: the request is not carried out, and answered with an error status. `html`: neither, and answered with a web
page and 200. `cut`: carried out, and half of the answer comes. `drop`: not carried out, and the connection breaks.
`lost`: carried out, and the connection breaks before the answer.
"""


@dataclass(slots=True)
class Fault:
    """A fault and how often it is still to happen. `call` is as in `ReceivedRequest.call`, or `*` for any."""

    call: str
    kind: FaultKind
    status: int = 503
    retry_after: str | None = None
    times: int = 1
    skip: int = 0

    @property
    def breaks_connection(self) -> bool:
        """Whether no answer comes."""
        return self.kind in ("drop", "lost")

    def instead(self) -> Response | None:
        """The answer of a request that is not carried out; None for one that is."""
        if self.kind == "html":
            return HTMLResponse(
                "<!doctype html><title>Just a moment</title><p>Please wait while we check your browser.</p>"
            )
        if self.kind not in ("status", "drop"):
            return None
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return error_response(ApiError(self.status, "FAULT", "A fault on order", headers))


class Faults:
    """The faults that are still to happen, in the order in which they were ordered."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Order a fault."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Take all orders back."""
        self._faults.clear()

    def next_for(self, call: str) -> Fault | None:
        """The fault that this request meets, if any; it is counted."""
        for fault in self._faults:
            if fault.call not in ("*", call) or fault.times < 1:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None
