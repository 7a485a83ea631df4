"""Prefect as the README sets it up for several machines, on this one: PostgreSQL, Redis, servers, services, workers.

Real are all of them, each a process of its own; what is missing of several machines is the network between them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from cryptography.fernet import Fernet

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from tests.support.erp.tryton.postgres import Postgres, debian_binaries, temporary_folder
from tests.support.installing import asked, run
from tests.support.network.balancer import balancer
from tests.support.processes import free_port, running, until

POOL = "pleo-export"
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
START_S = 180.0
REQUIRED = "PLEO_EXPORT_REQUIRE_SERVERS"


def what_is_missing() -> str:
    """The packages of Debian's without which nothing of this can be brought up; empty where all are there."""
    redis = None if shutil.which("redis-server") else "redis-server"
    return " and ".join(name for name in (None if debian_binaries() else "postgresql", redis) if name)


def need_servers(without: str) -> None:
    """Skip the test where Debian's PostgreSQL or Redis is missing, fail it where they have to be there."""
    if missing := what_is_missing():
        why = f"{without}: Debian's {missing} is not here"
        pytest.fail(why) if os.environ.get(REQUIRED) == "1" else pytest.skip(why)


def booked(ledger: Path) -> dict[str, str]:
    """The entries of a ledger by the expense; fails where one has two, or where a ledger does not balance."""
    with closing(sqlite3.connect(ledger)) as books:
        rows = books.execute("SELECT DISTINCT accounting_entry_id, external_id FROM journal").fetchall()
        by_entry = "GROUP BY external_id, currency HAVING sum(debit_minor) <> sum(credit_minor)"
        off = books.execute(f"SELECT external_id FROM journal {by_entry}").fetchall()
        assert books.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert off == []
    assert len({expense for expense, _ in rows}) == len(rows)
    return dict(rows)


@dataclass
class Site:
    """A Prefect of several servers, a Pleo with companies, a folder for their books, and workers."""

    folder: Path
    sandbox: Sandbox
    api_url: str
    environment: dict[str, str]
    servers: list[Popen[bytes]]
    stack: ExitStack
    pleo_url: str
    workers: list[Popen[bytes]] = field(default_factory=list)

    def ask(self, path: str, question: Any) -> Any:
        """What Prefect's API answers to a question."""
        return asked(lambda: httpx.post(f"{self.api_url}/{path}", json=question, trust_env=False, timeout=30)).json()

    def worker(self, at_once: int = 2) -> Popen[bytes]:
        """Another worker, which carries out so many runs at the same time."""
        name = f"worker-{len(self.workers) + 1}"
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--limit", str(at_once)]
        environment = {**self.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        log = self.folder / f"{name}.log"
        self.workers.append(
            self.stack.enter_context(running([*command, "--name", name], environment=environment, log=log))
        )
        return self.workers[-1]

    def deploy(self, at_once: int) -> str:
        """Pool, blocks and deployments as the README makes them; the id of the one that the runs are of."""
        secrets = {**self.environment, "PLEO_API_KEY": SANDBOX_API_KEY, "PLEO_BASE_URL": self.pleo_url}
        run(["-m", "prefect", "work-pool", "create", POOL, "--type", "process"], self.environment)
        run(["deployments/save_blocks.py", str(self.folder / "{company}.sqlite")], secrets)
        deploy = ["--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
        run(["-m", "prefect", *deploy], self.environment)
        address = f"{self.api_url}/deployments/name/pleo-export/webhook"
        id_ = asked(lambda: httpx.get(address, trust_env=False)).json()["id"]
        changed = {"concurrency_limit": at_once}
        asked(lambda: httpx.patch(f"{self.api_url}/deployments/{id_}", json=changed, trust_env=False))
        return str(id_)

    def start(self, deployment: str, companies: Sequence[str]) -> None:
        """A run for each company."""
        for company in companies:
            self.ask(f"deployments/{deployment}/create_flow_run", {"parameters": {"company_id": company}})

    def states(self, deployment: str) -> list[str]:
        """The states that the deployment's runs are in."""
        question = {"deployments": {"id": {"any_": [deployment]}}, "limit": 200}
        return [str(found["state_type"]) for found in self.ask("flow_runs/filter", question)]


def kill(process: Popen[bytes]) -> int:
    """End a process and all that it has started, without a word; answers how many these were."""
    whole = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in whole:
        one.send_signal(signal.SIGKILL)
    psutil.wait_procs(whole, timeout=20)
    return len(whole)


@contextmanager
def several_machines(folder: Path, servers: int = 2) -> Iterator[Site]:
    """All but workers and deployments, while the context lasts."""
    with ExitStack() as stack:
        database = a_postgres(stack)
        redis_port = a_redis(stack, folder)
        common = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
        environment = {
            **common,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_SERVER_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
            "PREFECT_REDIS_MESSAGING_PORT": str(redis_port),
            "PREFECT_SERVER_DOCKET_URL": f"redis://127.0.0.1:{redis_port}/1",
        }
        run(["-m", "prefect", "server", "database", "upgrade", "--yes"], environment)
        ports = [free_port() for _ in range(servers)]
        started = []
        for number, port in enumerate(ports, 1):  # the first has entered Prefect's own blocks when the next one begins
            log = folder / f"server-{number}.log"
            command = [sys.executable, "-m", "prefect", "server", "start", "--no-services", "--port", str(port)]
            started.append(stack.enter_context(running(command, environment=environment, log=log)))
            until(lambda port=port: answers(port), within_s=START_S, every_s=0.5, otherwise=f"see {log}: no server")
        services = [sys.executable, "-m", "prefect", "server", "services", "start"]
        stack.enter_context(running(services, environment=environment, log=folder / "services.log"))
        api_url = f"http://127.0.0.1:{stack.enter_context(balancer(ports))}/api"
        sandbox = stack.enter_context(Sandbox(rate_limit=False))
        client = {**common, "PREFECT_API_URL": api_url}
        yield Site(folder, sandbox, api_url, client, started, stack, stack.enter_context(serve(sandbox)))


def a_redis(stack: ExitStack, folder: Path) -> int:
    """A new Redis that keeps nothing; its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    stack.enter_context(running(command, environment=os.environ, log=folder / "redis.log", cwd=folder))
    return port


def a_postgres(stack: ExitStack) -> str:
    """A new database of Debian's PostgreSQL, as Prefect names it."""
    binaries = debian_binaries()
    assert binaries is not None
    folder = temporary_folder()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    cluster = folder / "prefect"
    cluster.mkdir(mode=0o711)
    postgres = Postgres(cluster, binaries)
    postgres.create()
    postgres.start()
    postgres.sockets.chmod(0o755)  # for servers that run as others
    stack.callback(postgres.stop)

    async def made() -> None:
        connection = await asyncpg.connect(host=str(postgres.sockets), user="tryton", database="postgres")
        await connection.execute("CREATE DATABASE prefect")
        await connection.close()

    asyncio.run(made())
    return f"postgresql+asyncpg://tryton@/prefect?host={postgres.sockets}"


def answers(port: int) -> bool:
    """Whether a Prefect server answers on that port."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False).is_success
    except httpx.TransportError:
        return False
