"""The sandbox as a whole: what is asked of it from Python, its ASGI app, and uvicorn in a thread before that."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import uvicorn
from starlette.types import ASGIApp

from blocks.pleo.sandbox.app import build_app
from blocks.pleo.sandbox.control import Control
from blocks.pleo.sandbox.errors import SandboxError

_STOP_S = 3


class Sandbox(Control):
    """A Pleo for one's own machine: export jobs in a state, and an ASGI app that answers for them.

    Close it when done, or use it as a context. Any thread may call it, also while it is served.
    """

    @cached_property
    def app(self) -> ASGIApp:
        """What answers for it over HTTP. Another app may be put in its place, which passes requests on to this one."""
        return build_app(self)


class _Server(uvicorn.Server):
    """A server that tells when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


@contextmanager
def serve(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer requests in a thread while the context lasts; yields the base URL. Port 0 takes any free one.

    The sandbox stays open afterwards, and can be served again. Raises `SandboxError` when the port cannot be had.
    """
    listener = _listen(host, port)
    taken: int = listener.getsockname()[1]
    config = uvicorn.Config(
        sandbox.app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        timeout_graceful_shutdown=_STOP_S,
    )
    server = _Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name=f"pleo-sandbox-{taken}", daemon=True
    )
    thread.start()
    try:
        while not server.answering.wait(0.05) and thread.is_alive():
            pass
        if not server.answering.is_set():
            raise SandboxError(f"the sandbox's server did not start on {host}:{taken}")
        yield f"http://{f'[{host}]' if ':' in host else host}:{taken}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise SandboxError(f"{port} is not a port: use 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it small answers take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Listening from here on: who comes before the thread is ready waits, and is not refused.
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise SandboxError(f"cannot listen on {host}:{port}: {reason}; choose another port") from error
    return listener
