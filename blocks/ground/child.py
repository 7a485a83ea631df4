"""The Prefect server of one run, as a program: `child.py LISTENER LIFE`, both file descriptors that it inherits.

LISTENER is a socket that listens already. LIFE is the end of a pipe of which the run holds the other: a byte says that
the server is wanted, and its end that the run has ended. Until the byte comes no database is touched, as the run may
still find out that its settings name another server. This is run as a file, and uses nothing of this project's, so
that it starts in whatever folder the run does.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import traceback
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

TIME_TO_END_S = 3.0
TABLES = Path(__file__).with_name("prefect.sql")
"""The tables of a database that Prefect's migrations have made; later ones are migrated on from there."""


class Server:
    """The server in a thread of its own: the main thread listens to the pipe, and uvicorn takes no signals there."""

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self._uvicorn: Any = None
        self.is_wanted = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def end(self) -> None:
        """Finish what is under way."""
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
            self.thread.join(TIME_TO_END_S)

    def _run(self) -> None:
        try:
            self._serve()
        except SystemExit:  # uvicorn, which has written why
            os._exit(1)
        except BaseException:  # noqa: BLE001 - the process ends with it, in `_exit`
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _serve(self) -> None:
        gc.disable()  # imports make hundreds of thousands of objects that stay
        import uvicorn
        from prefect.server.api.server import create_app
        from prefect.settings import get_current_settings

        app = create_app()
        gc.freeze()
        gc.enable()
        self.is_wanted.wait()
        settings = get_current_settings()
        begin_database(Path(settings.home) / "prefect.db", settings.server.database.connection_url)
        config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=2)
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.run(sockets=[socket.socket(fileno=self._listener)])


def begin_database(path: Path, connection_url: Any) -> None:
    """Where Prefect would make its database at `path`, make it of `TABLES`: its migrations take seconds for that.

    Another run may be at the same: whoever is first makes it, whole. What goes wrong is left to the migrations.
    """
    url = connection_url.get_secret_value() if hasattr(connection_url, "get_secret_value") else connection_url
    if url != f"sqlite+aiosqlite:///{path}" or path.exists():
        return
    with suppress(OSError, sqlite3.Error), tempfile.TemporaryDirectory(prefix=".pleo-export-", dir=path.parent) as made:
        new = Path(made) / "new.db"
        with closing(sqlite3.connect(new)) as database:
            database.executescript(TABLES.read_text(encoding="utf-8"))
        os.link(new, path)  # and never in the place of one that has come meanwhile


def main() -> None:
    """Serve until the pipe ends."""
    listener, life = int(sys.argv[1]), int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the run, which ends this program when it is done
    server = Server(listener)
    server.thread.start()
    if os.read(life, 1):
        server.is_wanted.set()
        os.read(life, 1)
    server.end()
    os._exit(0)


if __name__ == "__main__":
    main()
