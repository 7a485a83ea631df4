"""Faults on order: the next requests of a kind get a bad answer, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from starlette.responses import HTMLResponse, Response

from blocks.pleo.sandbox.errors import ApiError
from blocks.pleo.sandbox.wire import error_response

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
