"""The server that `client` asks: one embedded ledger, asked by HTTP. Runs in a process of its own.

Standard input brings the pickled `Setting`; standard output says `ready` once it listens. SIGTERM ends it in order.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import signal
import sys
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from blocks.erp.errors import ErpError
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.chart_store import Terms
from blocks.erp.ledger.charts import ChartFiles, read_charts


@dataclass(frozen=True, slots=True)
class Setting:
    """What the server is started with. The file `keys` holds as JSON who may do what: `{"KEY": "all" or "nothing"}`."""

    port: int
    path: Path
    charts: ChartFiles
    company_id: str
    company_currency: str
    keys: Path


class Server(ThreadingHTTPServer):
    """Answers calls, one at a time inside."""

    daemon_threads = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(("127.0.0.1", setting.port), Handler)
        self.setting = setting
        self.ledger = Ledger(setting.path, charts=setting.charts, company_currency=setting.company_currency)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.wait_for(self.ledger.open(setting.company_id))

    def wait_for(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The result of a call to the ledger."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def act(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Carry a call out."""
        if name == "terms":
            return Terms(read_charts(self.setting.charts), company_currency=self.setting.company_currency)
        return self.wait_for(getattr(self.ledger, name)(*arguments))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, as two would wait for each other
    server: Server

    def do_POST(self) -> None:
        """One call."""
        body = self.rfile.read(int(self.headers["content-length"]))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        match json.loads(self.server.setting.keys.read_text()).get(key):
            case None:
                self._answer(401, b"<html>who are you?</html>")
            case "nothing":
                self._answer(403, b"<html>not for you</html>")
            case _:
                try:
                    answer: tuple[bool, Any] = (True, self.server.act(self.path.strip("/"), pickle.loads(body)))
                except ErpError as error:
                    answer = (False, error)
                self._answer(200, pickle.dumps(answer))

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    server = Server(pickle.load(sys.stdin.buffer))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("ready", flush=True)
    server.serve_forever(0.01)
    server.wait_for(server.ledger.close())


if __name__ == "__main__":
    # Under its own name, so that what is pickled finds it.
    from tests.support.erp.served_ledger import server

    server.main()
