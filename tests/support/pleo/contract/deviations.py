"""Where the sandbox's answers leave the contract on purpose, one by one, and why; and a guard that stands no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blocks.pleo.sandbox import Sandbox
from tests.support.pleo.contract.judge import Finding, findings


@dataclass(frozen=True)
class Deviation:
    """A kind of finding that is meant: `rule` and `place` as patterns, at these statuses, in these calls; and why."""

    rule: str
    place: str
    why: str
    call: str = ".*"
    status: str = r"\d+"

    def covers(self, finding: Finding) -> bool:
        """Whether a finding is of this kind."""
        parts = ((self.rule, finding.rule), (self.place, finding.place))
        parts += ((self.call, finding.call), (self.status, str(finding.status)))
        return all(re.fullmatch(pattern, value) for pattern, value in parts)


DEVIATIONS = {
    "no failure, no type": Deviation(
        "type|enum",
        r"data\.failureReasonType",
        "null in what has not failed, as in Pleo's printed examples; an earlier definition (20.0.0) allows it",
    ),
    "not tried yet": Deviation(
        "type|enum",
        r"data\.status",
        "null when the sandbox is told so: an earlier definition (20.0.0) says it is",
        call=r"\S+ /v3/(export-jobs/\{jobId\}/items|export-job-items.*)",
    ),
    "no sub-type": Deviation("type|enum", r"data\.subType", "null in Pleo's printed examples for most types"),
    "a file with its link alone": Deviation(
        "required", r"data\.files", "one of Pleo's printed examples of an invoice has neither size nor type"
    ),
    "an invoice's date without a time": Deviation(
        "format",
        r"data\.additionalInformation\.invoiceInformation\.(invoiceDate|dueDate|paymentDate)",
        "the definition pairs a pattern of a date alone with the format of a date and time: both occur",
    ),
    "a type that nobody knows": Deviation(
        "enum", r"data\.(type|subType)", "open enumerations: an item is made to fail with a type of the future"
    ),
    "a method that nobody knows": Deviation(
        "enum", r"data\.bookkeeping\.method", "an open enumeration, too: an item is made to fail with it"
    ),
    "a request that is not in order": Deviation(
        "undocumented status",
        "BAD_REQUEST|ACCOUNTING_ENTRY_DOES_NOT_EXIST|MISSING_CONTRA_ACCOUNTS",
        "Pleo's general page of errors has it for every call; the definition lists it for two",
        status="400",
    ),
    "no or wrong credentials": Deviation(
        "undocumented status", "UNAUTHORIZED", "as Pleo's general page of errors has it", status="401"
    ),
    "a company or a scope that is not open to the credentials": Deviation(
        "undocumented status", "FORBIDDEN", "as Pleo's general page of errors has it", status="403"
    ),
    "an unknown job": Deviation(
        "undocumented status",
        "EXPORT_NOT_FOUND",
        "listed where the id stands in the path; what else should an unknown id in a query or a body be",
        call="GET /v3/export-items|POST /v3/export-job-events",
        status="404",
    ),
    "the rate limit": Deviation(
        "undocumented status", "TOO_MANY_REQUESTS", "Pleo publishes the limit and not its answer", status="429"
    ),
    "a failure of the sandbox": Deviation(
        "undocumented status", "INTERNAL_SERVER_ERROR", "it was closed beneath its server", status="500"
    ),
}


def unexplained(found: Iterable[Finding]) -> list[Finding]:
    """The findings that no deviation covers."""
    return [one for one in found if not any(deviation.covers(one) for deviation in DEVIATIONS.values())]


class Guard:
    """Stands before a sandbox's app and holds every answer to the contract; `found` has what no deviation covers.

    Answers that a fault on order has spoiled are not looked at, nor items that a test has given word for word.
    """

    def __init__(self, app: ASGIApp, sandbox: Sandbox, most_rows: int | None = 20) -> None:
        self._app, self._sandbox, self._most_rows = app, sandbox, most_rows
        self.found: list[Finding] = []
        self.all: list[Finding] = []
        self.judged: dict[str, int] = {}
        """How many answers were judged, by call as it came."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/v3/", "/v1/")):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def kept(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")
            await send(message)

        await self._app(scope, receive, kept)
        if "pleo.fault" not in scope:
            self._judge(scope, start, body)

    def _judge(self, scope: Scope, start: Message, body: bytes) -> None:
        headers = {name.lower(): value.decode() for name, value in start["headers"]}
        if scope["path"] == "/v3/export-items" and start["status"] == 200:
            body = self._without_given(body)
        method, path = scope["method"], scope["path"]
        found = findings(method, path, start["status"], headers.get(b"content-type", ""), body, self._most_rows)
        self.judged[f"{method} {path}"] = self.judged.get(f"{method} {path}", 0) + 1
        self.all += found
        self.found += unexplained(found)

    def _without_given(self, body: bytes) -> bytes:
        """A page of export items without those that a test has given word for word."""
        rows = self._sandbox.store.rows(
            "SELECT i.accounting_entry_id AS id FROM job_items i JOIN jobs j USING (job) WHERE j.origin = 'given'"
        )
        given = {row["id"] for row in rows}
        if not given:
            return body
        page: dict[str, Any] = json.loads(body)
        page["data"] = [item for item in page["data"] if item["accountingEntryId"] not in given]
        return json.dumps(page).encode()
