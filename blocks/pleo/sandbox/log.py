"""What came in: counts of all requests, and the last of them."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from blocks.pleo.sandbox.models import Event

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
