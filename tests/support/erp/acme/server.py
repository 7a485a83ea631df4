"""Acme Books: a small accounting system with a decent API, of JSON over HTTP with a key. It keeps its books in memory.

    GET    /me                      {"may_book": true}
    GET    /accounts?after=CODE     up to 3 accounts [{"code", "name", "kind"}], by their code
    GET    /periods                 [{"first", "last", "open"}]
    GET    /rates                   [{"currency", "first", "rate"}], what a unit costs from that day on
    POST   /entries                 {"entries": [...]} makes drafts, all of them or none; an id that is there stays
    POST   /entries/search          {"ids": [...]} → {"entries": [...]}
    POST   /entries/post            {"ids": [...]} all of them or none
    DELETE /entries/ID              a draft
    POST   /entries/ID/files?number=N    the bytes, once a number; → {"id": …}
    DELETE /files/ID

A refusal is 422 with {"error": words}. An entry has `id`, `date`, `currency`, `lines`, `posted`, `number`, `made`,
`files` ([{"id", "number"}]), and `about`, which is its user's own.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = 3


class Refusal(Exception):
    """A 422 with its words, or another status."""

    def __init__(self, words: str, status: int = 422) -> None:
        super().__init__(words)
        self.status = status


class AcmeBooks:
    """What is kept. `periods` are first day, last day and whether they are open; `keys` say who may book."""

    def __init__(self, accounts: list[dict[str, str]], periods: list[list[Any]], keys: dict[str, bool]) -> None:
        self.accounts = sorted(accounts, key=lambda one: one["code"])
        self.periods = periods
        self.keys = keys
        self.rates: list[dict[str, str]] = []
        self.entries: dict[str, dict[str, Any]] = {}
        self.files: dict[int, tuple[str, int, bytes]] = {}
        self.max_file_bytes = 2_000_000
        self._numbers, self._file_ids = count(1), count(1)
        self.lock = threading.Lock()

    def act(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        """Carry a request out. Raises Refusal."""
        match method, path.strip("/").split("/"):
            case "GET", ["me"]:
                return {"may_book": True}
            case "GET", ["accounts"]:
                return [one for one in self.accounts if one["code"] > query.get("after", "")][:PAGE]
            case "GET", ["periods"]:
                return [{"first": first, "last": last, "open": is_open} for first, last, is_open in self.periods]
            case "GET", ["rates"]:
                return self.rates
            case "POST", ["entries"]:
                return self._create(json.loads(body)["entries"])
            case "POST", ["entries", "search"]:
                wanted = json.loads(body)["ids"]
                return {"entries": [self._shown(self.entries[id_]) for id_ in wanted if id_ in self.entries]}
            case "POST", ["entries", "post"]:
                return self._post(json.loads(body)["ids"])
            case "DELETE", ["entries", id_]:
                return self._delete(id_)
            case "POST", ["entries", id_, "files"]:
                return self._attach(id_, int(query["number"]), body)
            case "DELETE", ["files", id_]:
                del self.files[int(id_)]
                return {}
        raise Refusal("nothing there", 404)

    def hashes(self, id_: str) -> tuple[str, ...]:
        """The SHA-256 of an entry's files, sorted."""
        return tuple(sorted(hashlib.sha256(one[2]).hexdigest() for one in self.files.values() if one[0] == id_))

    def _create(self, entries: list[dict[str, Any]]) -> Any:
        for entry in entries:
            self._must_be_open(entry["date"])
            known = {one["code"] for one in self.accounts}
            if unknown := [line["account"] for line in entry["lines"] if line["account"] not in known]:
                raise Refusal(f"no account {unknown[0]}")
            if sum(line["amount_minor"] for line in entry["lines"]):
                raise Refusal("it does not balance")
        for entry in entries:
            made = {**entry, "posted": False, "number": next(self._numbers), "made": datetime.now(UTC).isoformat()}
            self.entries.setdefault(entry["id"], made)
        return {}

    def _post(self, ids: list[str]) -> Any:
        for id_ in ids:
            if id_ not in self.entries:
                raise Refusal(f"no entry {id_}", 404)
            if not self.entries[id_]["posted"]:
                self._must_be_open(self.entries[id_]["date"])
        for id_ in ids:
            self.entries[id_]["posted"] = True
        return {}

    def _delete(self, id_: str) -> Any:
        if id_ not in self.entries:
            raise Refusal(f"no entry {id_}", 404)
        if self.entries[id_]["posted"]:
            raise Refusal("it is posted")
        del self.entries[id_]
        self.files = {number: one for number, one in self.files.items() if one[0] != id_}
        return {}

    def _attach(self, id_: str, number: int, content: bytes) -> Any:
        if id_ not in self.entries:
            raise Refusal(f"no entry {id_}", 404)
        if len(content) > self.max_file_bytes:
            raise Refusal(f"a file has at most {self.max_file_bytes} bytes", 413)
        file_id = next(self._file_ids)
        there = next((known for known, one in self.files.items() if one[:2] == (id_, number)), None)
        if there is not None:  # a request that comes late must not hang the same receipt on it twice
            return {"id": there}
        self.files[file_id] = id_, number, content
        return {"id": file_id}

    def _must_be_open(self, day: str) -> None:
        if not any(first <= day <= last and is_open for first, last, is_open in self.periods):
            raise Refusal(f"{day} is closed")

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        files = [{"id": id_, "number": one[1]} for id_, one in self.files.items() if one[0] == entry["id"]]
        return {**entry, "files": files}


class AcmeServer:
    """The books at a loopback address, which stays the same when the server is stopped and started again."""

    def __init__(self, books: AcmeBooks) -> None:
        self.books = books
        self._port = 0
        self._http: _Http | None = None
        self._thread = threading.Thread()

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen."""
        self._http = _Http(self.books, self._port)
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and hang up on everybody."""
        http, self._http = self._http, None
        if http is not None:
            http.shutdown()
            self._thread.join()
            http.hang_up()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, books: AcmeBooks, port: int) -> None:
        self.books = books
        self._connections: set[socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        self.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has hung up is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write, for which nobody has to wait
    server: _Http

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        books = self.server.books
        may_book = books.keys.get(self.headers.get("authorization", "").removeprefix("Bearer "))
        if may_book is None:
            return self._answer(401, {"error": "who are you?"})
        if not may_book:
            return self._answer(403, {"error": "not for you"})
        try:
            with books.lock:
                answer = books.act(self.command, url.path, query, body)
        except Refusal as refusal:
            return self._answer(refusal.status, {"error": str(refusal)})
        return self._answer(200, answer)

    do_GET = do_POST = do_DELETE = _handle

    def _answer(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response_only(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
