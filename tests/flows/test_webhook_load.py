"""Two hundred deliveries a second for ten seconds: none is lost, none waits for a second, and memory stays flat.

Real are the webhook (its own process, HTTP on loopback, signatures) and Prefect's server, which keeps a run of every
job in its SQLite database: half as many a second as come, so that most wait in the inbox. There the webhook is killed
and started again. The test stands in for Pleo: it signs, and delivers again what was answered with 503. No worker is
there, so no run begins; and so Prefect is told not to mark runs as late, of which it makes a transaction each, all at
once, that keep one another and everybody else out of SQLite for a minute at a time.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.support.installing import asked
from tests.support.processes import ROOT, PrefectServer, a_prefect_server, free_port, running, until
from tests.support.webhook import SECRET, a_deployment, signed, told

A_SECOND, SECONDS = 200, 10
LONGEST_S = 1.0
AGAIN_S = 4.0  # then twice as long each time, as whoever delivers webhooks does
GIVE_UP_S = 60.0
HANDED_ON_S = 180.0
MOST_GROWTH_MB = 20


class Sender:
    """Delivers one message after the other on time, and again what was not taken."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: Counter[int] = Counter()
        self.taken: set[str] = set()
        self.waits: list[float] = []

    async def deliver(self, job_id: str) -> None:
        body, message_id = json.dumps(told(job_id)).encode(), f"msg_{uuid4().hex}"
        deadline, wait_s = time.monotonic() + GIVE_UP_S, AGAIN_S
        while time.monotonic() < deadline:
            status = await self._sent(body, signed(body, message_id))
            self.answers[status] += 1
            if status == httpx.codes.ACCEPTED:
                self.taken.add(job_id)
                return
            assert status == httpx.codes.SERVICE_UNAVAILABLE
            await asyncio.sleep(wait_s)
            wait_s *= 2

    async def _sent(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer. By hand, as a client for many hundred connections at once costs more than a
        webhook does, and this machine has to carry both."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = {"host": "127.0.0.1", "content-length": str(len(body)), "connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"POST /pleo HTTP/1.1\r\n{head}\r\n".encode() + body)
        status = int((await reader.readline()).split()[1])
        self.waits.append(time.monotonic() - began)
        writer.close()
        return status


async def _load(sender: Sender, webhook: psutil.Process) -> tuple[set[str], list[float]]:
    jobs, memory_mb = set[str](), list[float]()
    async with asyncio.TaskGroup() as group:
        began = time.monotonic()
        for number in range(A_SECOND * SECONDS):
            await asyncio.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
            jobs.add(job_id := str(uuid4()))
            group.create_task(sender.deliver(job_id))
            if number % A_SECOND == A_SECOND - 1:
                memory_mb.append(webhook.memory_info().rss / 1e6)
        print(f"sent in {time.monotonic() - began:.1f} s")
    print(f"all taken after {time.monotonic() - began:.1f} s")
    memory_mb.append(webhook.memory_info().rss / 1e6)
    return jobs, memory_mb


def _started(server: PrefectServer, deployment: str) -> list[str]:
    """The jobs of all runs of the deployment, each as often as it has runs."""
    address, jobs = f"{server.api_url}/flow_runs/filter", list[str]()
    while True:
        question = {
            "deployments": {"name": {"any_": [deployment.partition("/")[2]]}}, "limit": 200, "offset": len(jobs),
        }  # fmt: skip
        page = asked(lambda question=question: httpx.post(address, json=question, trust_env=False, timeout=60)).json()
        jobs += [run["parameters"]["job_id"] for run in page]
        if not page:
            return jobs


@contextmanager
def _webhook(server: PrefectServer, deployment: str, folder: Path, name: str) -> Iterator[tuple[psutil.Process, int]]:
    """The webhook as a process of its own; and its port."""
    port, log = free_port(), folder / f"{name}.log"
    environment = {**server.environment, "PLEO_WEBHOOK_SECRET": SECRET, "PREFECT_HOME": str(folder / "home")}
    options = ["--port", str(port), "--deployment", deployment, "--inbox", str(folder / "inbox.sqlite")]
    command = [sys.executable, "-m", "flows.webhook", *options]
    with running(command, environment=environment, log=log, cwd=ROOT) as process:
        until(lambda: "listening" in log.read_text(), within_s=60, otherwise=log.read_text())
        yield psutil.Process(process.pid), port


def _waiting(inbox: Path) -> int:
    with closing(sqlite3.connect(inbox)) as file:
        return int(file.execute("SELECT count(*) FROM delivery").fetchone()[0])


@pytest.mark.slow
def test_two_hundred_deliveries_a_second_are_all_taken_in_time_and_memory_stays_flat(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    inbox = tmp_path / "inbox.sqlite"
    with a_prefect_server(tmp_path / "prefect", PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED="false") as server:
        deployment = a_deployment(server)
        with _webhook(server, deployment, tmp_path, "first") as (process, port):
            sender = Sender(port)
            jobs, memory_mb = asyncio.run(_load(sender, process))
            process.kill()
            process.wait(20)
        waiting, began = _waiting(inbox), time.monotonic()
        print(f"killed with {waiting} deliveries in the inbox")
        with _webhook(server, deployment, tmp_path, "second"):
            until(lambda: not _waiting(inbox), within_s=HANDED_ON_S, every_s=2, otherwise="not all was handed on")
        print(f"handed on after {time.monotonic() - began:.1f} s")
        started = Counter(_started(server, deployment))
    slow = sorted(sender.waits)
    print(f"answers {dict(sender.answers)}, median {slow[len(slow) // 2]:.3f} s, longest {slow[-1]:.3f} s")
    print(f"memory by second: {[round(one) for one in memory_mb]} MB")
    assert sender.taken == jobs, f"{len(jobs - sender.taken)} of {len(jobs)} were lost; {dict(sender.answers)}"
    assert set(started) == jobs
    assert set(started.values()) == {1}
    assert slow[-1] < LONGEST_S
    assert memory_mb[-1] - memory_mb[2] < MOST_GROWTH_MB
