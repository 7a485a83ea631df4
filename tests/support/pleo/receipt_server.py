"""A Pleo on loopback of which only the receipts matter: a real HTTP server in threads, and items that link to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from blocks.pleo.files.client import FileClient
from blocks.pleo.http.transport import Clock
from blocks.pleo.items import ExportItem, parse_item
from tests.support.pleo.pleo_items import an_item, receipt
from tests.support.pleo.scripted_pleo import no_waiting


@dataclass
class ReceiptServer:
    """Files by path; a number instead of a file is the status that the path answers with."""

    url: str = ""
    files: dict[str, tuple[bytes, str] | int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def client(self, **settings: Any) -> FileClient:
        return FileClient(self.url, **{"clock": Clock(sleep=no_waiting, jitter=lambda: 0.0), **settings})

    def put(self, content: bytes | int, kind: str = "application/octet-stream") -> dict[str, Any]:
        """Have a file at a new path: the file as an item names it."""
        path = f"/receipts/{len(self.files) + 1}"
        self.files[path] = content if isinstance(content, int) else (content, kind)
        return receipt(f"{self.url}{path}", kind, None if isinstance(content, int) else len(content))

    def item(self, *contents: bytes | int, number: int = 1, **changes: Any) -> ExportItem:
        """An item with these files."""
        return item_of([self.put(content) for content in contents], number=number, **changes)


def item_of(
    files: list[dict[str, Any] | None] | list[dict[str, Any]] | None, number: int = 1, **changes: Any
) -> ExportItem:
    """An item whose files are given as Pleo would send them."""
    item = parse_item(an_item(number, files=files, **changes))
    assert isinstance(item, ExportItem)
    return item


@contextmanager
def receipt_server() -> Iterator[ReceiptServer]:
    """A server on a free port while the context lasts."""
    made = ReceiptServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            file = made.files.get(self.path, 404)
            status, content, kind = (file, b"", "text/plain") if isinstance(file, int) else (200, *file)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            with suppress(OSError):  # the client has had enough
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
