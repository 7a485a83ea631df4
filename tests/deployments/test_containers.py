"""The container image and its services, as far as that goes without containers: each command of the Dockerfile, of
compose.yaml and of the README about them is run, as a user who is not root, and an export goes through it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cryptography.fernet import Fernet

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from tests.support.containers import COMPOSE, UID, Compose, build, may_run_as_another
from tests.support.installing import asked
from tests.support.processes import free_port, until
from tests.support.readmes import the_one_with
from tests.support.several_machines import ENDED, a_postgres, a_redis, booked, need_servers
from tests.support.webhook import SECRET, taken, told

COMPANY, ITEMS = "5a4db0c5-0000-4000-8000-000000000301", 60
START_S = 180.0


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Compose]:
    need_servers("the containers' commands were not run")
    if not may_run_as_another():
        pytest.skip("the containers' commands were not run: setpriv cannot leave root and keep the right to read")
    (root := tmp_path / "image").mkdir()
    with ExitStack() as stack:
        redis, server, webhook = a_redis(stack, tmp_path), free_port(), free_port()
        here = {
            r"postgresql\+asyncpg://prefect:[^@]*@postgres/prefect": a_postgres(stack),
            r"redis://redis:6379": f"redis://127.0.0.1:{redis}",
            r"^redis$": "127.0.0.1", r"^6379$": str(redis),
            r"http://server:4200": f"http://127.0.0.1:{server}",
            r"\b4200\b": str(server), r"^4280$": str(webhook), r"^0\.0\.0\.0$": "127.0.0.1",
        }  # fmt: skip
        given = {
            "POSTGRES_PASSWORD": "secret", "PREFECT_SERVER_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "PLEO_WEBHOOK_SECRET": SECRET,
        }  # fmt: skip
        yield Compose(build(root), tmp_path, given, here, stack)


def _said_in_the_readme(about: str) -> list[str]:
    """The command that the README has run in the worker's container."""
    text = the_one_with("docker compose -f deployments/compose.yaml exec").replace("\\\n", " ")
    lines = re.findall(r"^docker compose -f deployments/compose\.yaml exec (.*)$", text, re.MULTILINE)
    (line,) = (line for line in lines if about in line)
    words = shlex.split(line)
    return words[words.index("worker") + 1 :]


@pytest.mark.slow
def test_the_containers_commands_run_without_root_and_a_delivery_becomes_an_export_that_is_exact(
    compose: Compose, tmp_path: Path
) -> None:
    assert sorted(compose.services) == ["migrated", "postgres", "redis", "server", "services", "webhook", "worker"]
    done = compose.run("migrated")
    assert done.returncode == 0, done.stdout + done.stderr
    processes = {name: compose.start(name) for name in ("server", "services")}
    until(lambda: compose.is_healthy("server"), within_s=START_S, every_s=1, otherwise="the server is not healthy")
    processes["worker"] = compose.start("worker")
    early = compose.run("webhook")  # which compose starts again and again until there is a deployment
    assert early.returncode == 2, early.stdout + early.stderr
    assert early.stderr.strip().splitlines()[-1].startswith("webhook: --deployment pleo-export/webhook: Prefect has no")

    with Sandbox(rate_limit=False) as sandbox, serve(sandbox) as pleo:
        key = {"PLEO_API_KEY": SANDBOX_API_KEY, "PLEO_BASE_URL": pleo}
        saved = compose.run("worker", _said_in_the_readme("save_blocks.py"), **key)
        assert saved.returncode == 0, saved.stdout + saved.stderr
        deployed = compose.run("worker", _said_in_the_readme("deploy --all"))
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        processes["webhook"] = compose.start("webhook")
        log = compose.log("webhook")
        until(lambda: "listening" in log.read_text(), within_s=60, otherwise=f"the webhook: {log.read_text()}")
        job = sandbox.add_job(ITEMS, company_id=COMPANY)
        (address,) = re.findall(r"http://[\d.:]+", log.read_text())
        taken(address, told(job, company_id=COMPANY))
        api = compose.environment("worker")["PREFECT_API_URL"]
        question = {"flow_runs": {"tags": {"all_": [f"job:{job}", "webhook"]}}}

        def ended() -> list[dict[str, Any]]:
            found = asked(lambda: httpx.post(f"{api}/flow_runs/filter", json=question, trust_env=False)).json()
            return found if found and found[0]["state_type"] in ENDED else []

        (run,) = until(ended, within_s=START_S, every_s=0.5, otherwise="the run did not end")
        assert run["state_type"] == "COMPLETED", compose.log("worker").read_text()
        items = sandbox.items(job)
    told_of = {item.accounting_entry_id: item.external_id for item in items if str(item.status) == "successful"}
    assert {str(item.status) for item in items} <= {"successful", "failed"}
    assert len(items) == ITEMS
    assert told_of == booked(tmp_path / "data" / f"{COMPANY}.sqlite")
    assert len(told_of) > ITEMS / 2

    user = UID if os.geteuid() == 0 else os.geteuid()
    for name, process in processes.items():
        assert process.poll() is None, f"{name} ended: {compose.log(name).read_text()}"
        assert {one.uids().effective for one in _family(process.pid)} == {user}, name
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert {path.lstat().st_uid for path in written} == {user}
    assert {(tmp_path / "data" / name).exists() for name in ("prefect", "prefect/pleo-webhook.sqlite")} == {True}
    print(f"{len(told_of)} of {ITEMS} items booked, by processes of user {user}: {sorted(processes)}")


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def test_compose_names_no_secret_and_publishes_to_this_machine_alone() -> None:
    text = COMPOSE.read_text()
    assert set(re.findall(r"(?:PASSWORD|KEY|SECRET\w*): (.+)", text)) == {
        "${POSTGRES_PASSWORD}", "${PREFECT_SERVER_ENCRYPTION_KEY}", "${PLEO_WEBHOOK_SECRET}",
        "${PLEO_WEBHOOK_SECRET_OLD:-}",
    }  # fmt: skip
    assert all(ports.startswith('["127.0.0.1:') for ports in re.findall(r"ports: (.+)", text))
