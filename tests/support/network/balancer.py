"""A balancer as it stands before several servers: each connection goes to the next one that takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

CHUNK = 65_536


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@contextmanager
def balancer(ports: Sequence[int]) -> Iterator[int]:
    """Passes connections on to servers on these ports of loopback while the context lasts; yields its own port."""
    turns = count()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(turns)
        for turn in range(len(ports)):
            try:
                there = await asyncio.open_connection("127.0.0.1", ports[(first + turn) % len(ports)])
            except OSError:
                continue  # it is down
            await asyncio.gather(_copied(reader, there[1]), _copied(there[0], writer))
            return
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


async def _ended(server: asyncio.Server) -> None:
    server.close()
    here = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not here]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
