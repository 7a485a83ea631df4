"""The deployment on a Prefect server, as the README says to make it, with the sandbox as its Pleo."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import httpx
import pytest

from blocks.pleo.sandbox import SANDBOX_API_KEY
from tests.support.installing import Installation, run
from tests.support.processes import ROOT, PrefectServer, free_port, running, until

ITEMS = 60


@pytest.fixture(scope="session")
def installation(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The README's steps up to the worker, which a test starts."""
    folder = tmp_path_factory.mktemp("deployment")
    books = folder / "books.sqlite"
    environment = prefect_server.environment
    port = free_port()
    pleo_url = f"http://127.0.0.1:{port}"
    sandbox = [sys.executable, "-m", "blocks.pleo.sandbox", "--port", str(port), "--items", str(ITEMS)]
    with (
        running(sandbox, environment=environment, log=folder / "sandbox.log"),
        httpx.Client(base_url=pleo_url, trust_env=False) as pleo,
    ):
        secrets = {**environment, "PLEO_API_KEY": SANDBOX_API_KEY, "PLEO_BASE_URL": pleo_url}
        run(["-m", "prefect", "work-pool", "create", "pleo-export", "--type", "process"], environment)
        said = run(["deployments/save_blocks.py", str(books)], secrets)
        assert "saved pleo-credentials/pleo" in said
        assert SANDBOX_API_KEY not in said
        run(
            ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"],
            environment,
        )
        address = f"{prefect_server.api_url}/deployments/name/pleo-export/pleo-export"
        deployment = httpx.get(address, trust_env=False).raise_for_status().json()
        until(lambda: "Jobs to export 1" in (folder / "sandbox.log").read_text(), within_s=30)
        yield Installation(prefect_server, pleo, books, environment, deployment)


@pytest.fixture(scope="module")
def save_blocks() -> ModuleType:
    """The command that saves blocks, as a module."""
    spec = importlib.util.spec_from_file_location("save_blocks", ROOT / "deployments" / "save_blocks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
