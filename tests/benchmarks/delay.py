"""A link with a delay before a server: every byte arrives half a round trip later, either way, in its order.

    python -m tests.benchmarks.delay --port 9001 --target-port 9000 --latency-ms 100

It knows nothing of HTTP: a request and its answer take one round trip more, however many are under way at once, on one
connection or on many. Opening a connection costs nothing more.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

HOST = "127.0.0.1"
_READ_BYTES = 1 << 18
_END = b""


async def serve(port: int, target_port: int, latency_s: float) -> asyncio.Server:
    """Listen on loopback and pass all on to the target, each way `latency_s / 2` late. Port 0 takes any free one."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(HOST, target_port, limit=_READ_BYTES)
        await asyncio.gather(
            _pass_on(reader, target_writer, latency_s / 2), _pass_on(target_reader, writer, latency_s / 2)
        )

    return await asyncio.start_server(connected, HOST, port, limit=_READ_BYTES)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    # What was read waits here with the time it is due, so that reading goes on: a delay, not a limit of the rate.
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    receiving = asyncio.create_task(_receive(reader, under_way, delay_s))
    try:
        with suppress(ConnectionError):  # one end is gone: the other hears of it below
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                if data == _END:
                    break
                writer.write(data)
                await writer.drain()
    finally:
        receiving.cancel()
        writer.close()


async def _receive(reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]], delay_s: float) -> None:
    data = None
    while data != _END:
        try:
            data = await reader.read(_READ_BYTES)
        except ConnectionError:
            data = _END
        under_way.put_nowait((asyncio.get_running_loop().time() + delay_s, data))


async def _main(options: argparse.Namespace) -> None:
    server = await serve(options.port, options.target_port, options.latency_ms / 1000)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target-port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, required=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args()))
