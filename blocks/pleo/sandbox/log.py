"""The memory of what was received: counts of everything, and the last requests."""

from __future__ import annotations

from collections import Counter, deque

from blocks.pleo.sandbox.views import Event, Received, ReceivedRequest

KEPT = 2_000


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
        return Received(
            total=self._total,
            receipts=self._receipts,
            by_call=dict(self._by_call),
            by_status=dict(self._by_status),
            requests=tuple(self._last),
            events=events,
        )
