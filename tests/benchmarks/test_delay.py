"""The link with a delay: one round trip a request, and as many at once as come."""

from __future__ import annotations

import asyncio
import time

from tests.benchmarks import delay

LATENCY_S = 0.2
LONG = bytes(range(256)) * 8_000


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


async def _ask(port: int, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(delay.HOST, port)
    writer.write(message)
    answer = await reader.readexactly(len(message))
    writer.write_eof()
    answer += await reader.read()
    writer.close()
    return answer


async def test_what_is_sent_comes_back_whole_a_round_trip_later_however_many_are_under_way() -> None:
    target = await asyncio.start_server(_echo, delay.HOST, 0)
    link = await delay.serve(0, target.sockets[0].getsockname()[1], LATENCY_S)
    port = link.sockets[0].getsockname()[1]
    async with target, link:
        started = time.monotonic()
        answers = await asyncio.gather(*(_ask(port, b"%d" % number) for number in range(40)))
        seconds = time.monotonic() - started
        assert answers == [b"%d" % number for number in range(40)]
        assert LATENCY_S <= seconds < 10 * LATENCY_S  # one after the other they would take forty times as long
        assert await _ask(port, LONG) == LONG
