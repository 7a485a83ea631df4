"""The commands of `deployments/Dockerfile` and `deployments/compose.yaml`, on this machine and without containers.

Run as they stand are the Dockerfile's wheel and its installation, into an environment of its own, and the commands of
compose.yaml with their variables, as a user who is not root. What differs: the base images, that PostgreSQL is reached
by a socket, and that names of containers are ports of this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.fernet import Fernet

from blocks.pleo.sandbox import SANDBOX_API_KEY, Sandbox, serve
from tests.deployments.test_scheduled_export import entries_in
from tests.deployments.test_several_machines import REQUIRED
from tests.support.processes import ROOT, free_port, running, until
from tests.support.several_machines import a_postgres, a_redis, what_is_missing
from tests.support.webhook import SECRET, taken, told

HERE = ROOT / "deployments"
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
DOCKERFILE = (HERE / "Dockerfile").read_text()
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "*.sqlite*")
UID = 10001


def test_what_is_not_root_runs_what_compose_starts_and_no_secret_stands_in_a_file() -> None:
    ours = [one for one in COMPOSE["services"].values() if one["image"] == "pleo-export"]
    assert len(ours) == 5
    assert f"useradd --uid {UID} " in DOCKERFILE
    assert DOCKERFILE.index("\nUSER export\n") < DOCKERFILE.index("\nCMD ")
    for name in ("POSTGRES_PASSWORD", "PREFECT_SERVER_ENCRYPTION_KEY", "PLEO_WEBHOOK_SECRET"):
        assert "${" + name in (HERE / "compose.yaml").read_text()
        assert name not in DOCKERFILE
    published = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def _python_for_others() -> Path | None:
    """A Python that users other than root can run, as root's own may be in its home."""
    for found in (Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()):
        if found.is_file() and all(folder.stat().st_mode & 0o001 for folder in found.parents):
            said = subprocess.run(
                [found, "-c", "import sys, ensurepip; print(*sys.version_info[:2])"], capture_output=True
            )
            if said.stdout.split() in ([b"3", b"11"], [b"3", b"12"], [b"3", b"13"]):
                return found
    return None


class Machine:
    """A folder that anybody may read, the image's environment in it, and the user that containers run as."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "image" / "bin"
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self.user: dict[str, Any] = {}
        self._python = _python_for_others()
        if os.geteuid() == 0:
            assert self._python is not None, "there is no Python that anybody but root can run"
            os.chown(self.data, UID, UID)
            self.user = {"user": UID, "group": UID, "extra_groups": []}

    def build(self) -> None:
        """The Dockerfile's two commands of pip."""
        wheel, install = re.findall(r"^RUN (python -m pip .+)$", DOCKERFILE, re.MULTILINE)
        source, wheels = self.folder / "source", self.folder / "wheels"
        shutil.copytree(ROOT, source, ignore=NOT_COPIED)
        subprocess.run([self._python or sys.executable, "-m", "venv", self.bin.parent], check=True)
        wheels.mkdir()
        shutil.copy(ROOT / "constraints.txt", wheels)
        for command in (wheel, install):
            local = command.replace("/wheels", str(wheels)).replace("python -m pip", f"{self.bin}/python -m pip")
            done = subprocess.run(["sh", "-c", local], cwd=source, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(source)  # what runs has nothing but what is installed, as in the image

    def command(self, words: list[str]) -> list[str]:
        """A container's command with the image's programs."""
        return [str(self.bin / words[0]), *words[1:]]

    def run(self, words: list[str], environment: dict[str, str]) -> str:
        """What a command prints, as the user, in the volume."""
        done = subprocess.run(
            self.command(words),
            env=environment,
            cwd=self.data,
            capture_output=True,
            text=True,
            timeout=180,
            **self.user,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def machine() -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="pleo-image-"))
    folder.chmod(0o755)
    try:
        yield Machine(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_what_the_image_installs_and_compose_starts_exports_a_job_that_the_webhook_tells_of(
    machine: Machine, tmp_path: Path
) -> None:
    if missing := what_is_missing():
        why = f"nothing of compose.yaml was tried: Debian's {missing} is not here"
        pytest.fail(why) if os.environ.get(REQUIRED) == "1" else pytest.skip(why)
    machine.build()
    with ExitStack() as stack:
        database, redis_port = a_postgres(stack), a_redis(stack, tmp_path)
        ports = {name: free_port() for name in ("4200", "4280")}
        given = {"PREFECT_SERVER_ENCRYPTION_KEY": Fernet.generate_key().decode(), "PLEO_WEBHOOK_SECRET": SECRET}
        image = dict(re.findall(r"([A-Z_]+)=(\S+)", re.search(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)[1]))  # type: ignore[index]
        base = {"PATH": f"{machine.bin}:{os.environ['PATH']}", "HOME": str(machine.data), "NO_PROXY": "127.0.0.1"}

        def environment(service: str) -> dict[str, str]:
            made = {**base, **image}
            for name, value in COMPOSE["services"][service]["environment"].items():
                value = re.sub(r"\$\{(\w+)(?::-)?\}", lambda found: given.get(found[1], ""), value)
                value = database if "postgresql+asyncpg" in value else value
                value = {"redis": "127.0.0.1", "6379": str(redis_port)}.get(value, value)
                value = value.replace("redis:6379", f"127.0.0.1:{redis_port}")
                made[name] = value.replace("server:4200", f"127.0.0.1:{ports['4200']}")
            return {name: value.replace("/data", str(machine.data)) for name, value in made.items()}

        def started(service: str) -> Path:
            words = [str(ports.get(word, word)) for word in COMPOSE["services"][service]["command"]]
            log = tmp_path / f"{service}.log"
            stack.enter_context(
                running(
                    machine.command(words), environment=environment(service), log=log, cwd=machine.data, **machine.user
                )
            )
            return log

        machine.run(COMPOSE["services"]["migrated"]["command"], environment("migrated"))
        log = started("server")
        probe = COMPOSE["services"]["server"]["healthcheck"]["test"][-1].replace("4200", str(ports["4200"]))

        def is_healthy() -> bool:
            return subprocess.run([machine.bin / "python", "-c", probe], capture_output=True).returncode == 0

        until(is_healthy, within_s=120, every_s=1, otherwise=log.read_text())
        started("services")
        sandbox = stack.enter_context(Sandbox(rate_limit=False))
        client = environment("worker")
        pleo = {"PLEO_BASE_URL": stack.enter_context(serve(sandbox)), "PLEO_API_KEY": SANDBOX_API_KEY}
        shutil.copytree(HERE, machine.folder / "deployments", ignore=NOT_COPIED)
        script = str(machine.folder / "deployments" / "save_blocks.py")
        machine.run(["prefect", "work-pool", "create", "pleo-export", "--type", "process"], client)
        machine.run(["python", script, str(machine.data / "{company}.sqlite")], {**client, **pleo})
        file = str(machine.folder / "deployments" / "prefect.yaml")
        machine.run(["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file], client)
        started("worker")
        log = started("webhook")
        until(lambda: "listening" in log.read_text(), within_s=60, otherwise="the webhook did not start")
        job = sandbox.job(sandbox.add_job(20))
        taken(f"http://127.0.0.1:{ports['4280']}", told(job.id, company_id=job.company_id))
        until(
            lambda: sandbox.job(job.id).status.startswith("completed"),
            within_s=180,
            every_s=1,
            otherwise="the job was not exported",
        )
        health = httpx.get(f"http://127.0.0.1:{ports['4280']}/health", trust_env=False)
        assert health.text == "ok"
        books = machine.data / f"{job.company_id}.sqlite"
        assert entries_in(books) == sandbox.outcome(job.id)["successful"]
        if os.geteuid() == 0:
            assert books.stat().st_uid == UID
