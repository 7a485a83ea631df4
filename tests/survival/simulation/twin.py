"""The sandbox beside the simulated Pleo: each request goes to both, and both must answer the same.

They were written from the same contract, but not by looking at each other.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox
from tests.survival.simulation.pleo import Json, Reply

_KEY = b64encode(f"{SANDBOX_API_KEY}:".encode())
_OF_A_JOB = ("status", "numberOfItems", "expiresIn", "failureReason", "failureReasonType", "companyId")
_OF_A_ROW = ("accountingEntryId", "status", "externalId", "externalUrl", "failureReason", "failureReasonType")


class Twin:
    """A sandbox that is told what users do and asked what Pleo is asked. `violate` is told of every difference."""

    def __init__(self, clock: Callable[[], float], page_cap: int, violate: Callable[[str], None]) -> None:
        self.sandbox = Sandbox(rate_limit=False, clock=clock, page_cap=page_cap)
        self._violate = violate
        self._ids: dict[str, str] = {}
        self._cursors: dict[tuple[str, str], str] = {}
        self.compared = 0

    def press_export(self, job_id: str, items: Sequence[Json]) -> None:
        """The same job there: of new expenses, or of such that were exported before."""
        ids = [item["accountingEntryId"] for item in items]
        jobs = [job.id for job in self.sandbox.jobs()]
        known = {item.accounting_entry_id: job_id for job_id in jobs for item in self.sandbox.items(job_id)}
        old = [id_ for id_ in ids if id_ in known]
        if old and len(old) < len(ids):
            raise NotImplementedError("old and new expenses in one job")
        if old:
            for item in items:
                self.sandbox.edit_export_item(item["accountingEntryId"], item, even_locked=True)
            self._ids[job_id] = self.sandbox.export_again(known[old[0]], ids, even_locked=True)
        else:
            self._ids[job_id] = self.sandbox.add_job_of(items)

    def compare(self, method: str, path: str, query: Sequence[tuple[str, str]], body: Any, reply: Reply) -> None:
        """Ask the sandbox the same, and compare."""
        if reply.status in (401, 429):
            return  # both are this simulation's own doing
        status, answer = self._ask(method, path, query, body)
        self.compared += 1
        expected = reply.document
        if status != reply.status:
            self._violate(f"{method} {path}: Pleo answers {reply.status}, the sandbox {status} {answer}")
            return
        mine, theirs = _figures(path, expected), _figures(path, answer)
        if mine != theirs:
            self._violate(f"{method} {path}: Pleo shows {mine}, the sandbox {theirs}")
        if isinstance(expected, dict) and "endCursor" in expected.get("pagination", {}):
            self._cursors[_list(path, query), expected["pagination"]["endCursor"]] = answer["pagination"]["endCursor"]

    def _ask(self, method: str, path: str, query: Sequence[tuple[str, str]], body: Any) -> tuple[int, Any]:
        which = _list(path, query)
        query = [(name, self._cursors[which, value] if name == "after" else value) for name, value in query]
        content = b"" if body is None else json.dumps(body).encode()
        target, text = self._theirs(path), self._theirs(urlencode(query))
        content = self._theirs(content.decode()).encode()
        sent: list[Json] = []

        async def receive() -> Json:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": target,
            "raw_path": target.encode(),
            "root_path": "",
            "query_string": text.encode(),
            "headers": [(b"authorization", b"Basic " + _KEY), (b"host", b"sandbox.example")],
            "client": ("127.0.0.1", 1),
            "server": ("sandbox.example", 80),
        }
        call: Any = self.sandbox.app(scope, receive, send)
        try:
            call.send(None)
        except StopIteration:
            pass
        else:
            raise AssertionError("the sandbox waits for something")
        start = next(message for message in sent if message["type"] == "http.response.start")
        whole = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        return start["status"], json.loads(self._mine(whole.decode())) if whole else None

    def _theirs(self, text: str) -> str:
        for mine, theirs in self._ids.items():
            text = text.replace(mine, theirs)
        return text

    def _mine(self, text: str) -> str:
        for mine, theirs in self._ids.items():
            text = text.replace(theirs, mine)
        return text


def _list(path: str, query: Sequence[tuple[str, str]]) -> str:
    """Which list a cursor belongs to."""
    return f"{path} {dict(query).get('job_id')}"


def _figures(path: str, document: Any) -> Any:
    """What must be the same in both: not times, which the sandbox has to the second, nor cursors."""
    if not isinstance(document, dict):
        return document
    if "type" in document:
        return document["type"]
    data = document.get("data")
    if path.endswith("export-items"):
        names: tuple[str, ...] = ("accountingEntryId", "amount", "type", "date")
    else:
        names = _OF_A_ROW if path.endswith("/items") else ("id", *_OF_A_JOB)
    rows = data if isinstance(data, list) else [data]
    shown = [{name: row.get(name) for name in names} for row in rows]
    return shown, document.get("pagination", {}).get("hasNextPage"), document.get("errors")
