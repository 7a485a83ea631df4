"""Requests: the memory of what came in, and the faults on order, by which those to come get a bad answer or none."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Literal, get_args

from starlette.responses import HTMLResponse, Response

from blocks.pleo.sandbox.errors import ApiError, SandboxError
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

FAULT_KINDS: tuple[str, ...] = get_args(FaultKind)
_CALL = re.compile(r"(\*|[A-Z]+) [/*]\S*")


@dataclass(slots=True)
class Fault:
    """A fault and how often it is still to happen, after letting `skip` requests pass.

    `call` is as in `ReceivedRequest.call`, or the method with the path as it came; `*` stands for anything in it.
    """

    call: str
    kind: FaultKind
    status: int = 503
    retry_after: str | None = None
    times: int = 1
    skip: int = 0

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise SandboxError(f"kind must be one of {', '.join(FAULT_KINDS)}, not {self.kind}")
        if self.call != "*" and not _CALL.fullmatch(self.call):
            raise SandboxError(f"call must be a method and a path, such as GET /v3/export-jobs, or *, not {self.call}")
        if not 400 <= self.status <= 599:
            raise SandboxError(f"status must be an error's, from 400 to 599, not {self.status}")
        if self.times < 1 or self.skip < 0:
            raise SandboxError(f"a fault cannot happen {self.times} times after {self.skip} requests")
        if self.retry_after is not None and not (self.retry_after.isascii() and self.retry_after.isprintable()):
            raise SandboxError("retry_after must be a number of seconds, or a date as HTTP writes it")

    def meets(self, *names: str) -> bool:
        """Whether it is for the request that has these names."""
        if "*" not in self.call:
            return self.call in names
        pattern = ".*".join(re.escape(part) for part in self.call.split("*"))
        return any(re.fullmatch(pattern, name, re.DOTALL) for name in names)

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

    def waiting(self) -> list[Fault]:
        """Those that are still to happen."""
        return [replace(fault) for fault in self._faults]

    def next_for(self, *names: str) -> Fault | None:
        """The fault that the request of these names meets, if any; it is counted."""
        for fault in self._faults:
            if not fault.meets(*names):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times < 1:
                self._faults.remove(fault)
            return fault
        return None
