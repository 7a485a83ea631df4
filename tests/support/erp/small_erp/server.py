"""A small accounting system over HTTP: what a file on one's own disk cannot cause, this server can be told to do.

It keeps entries with their files, drafts and posted, in memory. `fault` makes it answer calls otherwise.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "small-erp-key"


@dataclass
class Fault:
    """What one kind of call meets: an answer with `status`, or none at all (`drop`), `times` times, after `skip` calls.

    With `after_act` the call is carried out first.
    """

    call: str
    status: int = 0
    text: str = ""
    times: int = 1
    skip: int = 0
    after_act: bool = False
    drop: bool = False
    retry_after: str | None = None


@dataclass
class StoredEntry:
    number: int
    document: dict[str, Any]
    posted: bool
    files: dict[int, bytes] = field(default_factory=dict)


@dataclass
class SmallErpServer:
    """The system's state, and what it was told to get wrong."""

    base_url: str = ""
    max_file_bytes: int = 100_000
    entries: dict[str, StoredEntry] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, call: str, **what: Any) -> None:
        """From now on, calls of this kind (`find`, `create`, `attach`, `post`, `remove`, `ping`) meet a fault."""
        self.faults.append(Fault(call, **what))

    def due(self, call: str) -> Fault | None:
        """The fault that this call meets, which is used up by one."""
        for fault in self.faults:
            if fault.call not in (call, "*") or fault.times <= 0:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None

    def act(self, call: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Carry a call out: its status and answer."""
        act = getattr(self, f"_{call}")
        answer: tuple[int, dict[str, Any]] = act(body)
        return answer

    def _ping(self, _body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, {"ok": True}

    def _find(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        found = {id_: self._shown(self.entries[id_]) for id_ in body["ids"] if id_ in self.entries}
        return 200, {"found": found}

    def _create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        id_ = body["accounting_entry_id"]
        is_new = id_ not in self.entries
        if is_new:
            number = len(self.entries) + len(self.removed) + 1
            self.entries[id_] = StoredEntry(number, body, body["posted"])
        return 200, {**self._shown(self.entries[id_]), "new": is_new}

    def _attach(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        content = bytes.fromhex(body["content"])
        if len(content) > self.max_file_bytes:
            return 413, {"error": f"a file has at most {self.max_file_bytes} bytes"}
        self.entries[body["id"]].files.setdefault(body["number"], content)
        return 200, {}

    def _post(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.entries[body["id"]].posted = True
        return 200, {}

    def _remove(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        stored = self.entries.get(body["id"])
        if stored is not None and not stored.posted:
            self.removed.append(body["id"])
            del self.entries[body["id"]]
        return 200, {}

    @staticmethod
    def _shown(stored: StoredEntry) -> dict[str, Any]:
        return {
            "number": stored.number,
            "posted": stored.posted,
            "files": sorted(stored.files),
            **{name: stored.document[name] for name in ("currency", "amount_minor", "accounts", "date", "original")},
        }


@contextmanager
def serving(**settings: Any) -> Iterator[SmallErpServer]:
    """The system on a free loopback port."""
    state = SmallErpServer(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one write, for which nobody has to wait

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            call = self.path.strip("/")
            with state.lock:
                state.calls.append(call)
                fault = state.due(call)
                if fault is None and self.headers.get("authorization") != f"Bearer {KEY}":
                    fault = Fault(call, status=401, text="wrong key")
                if fault is None or fault.after_act:
                    status, answer = state.act(call, body)
            if fault is None:
                self._answer(status, answer, None)
            elif fault.drop:
                self.close_connection = True
            else:
                self._answer(fault.status, {"error": fault.text}, fault.retry_after)

        def _answer(self, status: int, document: dict[str, Any], retry_after: str | None) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            if retry_after is not None:
                self.send_header("retry-after", retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
