"""Requests that somebody else's generator (schemathesis) draws from the contract, right ones and wrong ones.

The sandbox never fails, and every answer is held to the contract by the tests' own judge, whose list of deviations says
what is meant. Of the generator's own checks that leaves what it alone can see. It is installed apart: it would bring
versions of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from blocks.pleo.sandbox import SANDBOX_API_KEY, SANDBOX_COMPANY_ID, Sandbox, serve
from tests.support.pleo.contract.deviations import Guard
from tests.support.pleo.contract.judge import DEFINITIONS, operations

pytestmark = pytest.mark.slow

GENERATOR = "schemathesis==4.32.5"
CHECKS = "not_a_server_error,ignored_auth,unsupported_method,use_after_free,ensure_resource_availability"
EXAMPLES = 25
LEAST = 15
NOBODY = "00000000-0000-4000-8000-00000000dead"


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator's command, in an environment of its own."""
    folder = tmp_path_factory.mktemp("generator") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    got = subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", GENERATOR], capture_output=True, text=True
    )
    if got.returncode:
        pytest.skip(f"{GENERATOR} cannot be installed here")
    return folder / "bin" / "st"


def with_ids(place: Any, ids: dict[str, list[str]]) -> Any:
    """A part of a definition with ids that the sandbox has, as no generator would guess one."""
    if isinstance(place, list):
        return [with_ids(one, ids) for one in place]
    if not isinstance(place, dict):
        return place
    made = {name: with_ids(one, ids) for name, one in place.items()}
    if made.get("in") and made.get("name") in ids:
        made["schema"] = {"type": "string", "enum": ids[made["name"]]}
    for name, property_ in made.get("properties", {}).items():
        if name in ids and isinstance(property_, dict):
            drawn = {"type": "string", "enum": ids[name]}
            made["properties"][name] = {**property_, "items": drawn} if "items" in property_ else drawn
    return made


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda path: path.stem)
def test_whatever_is_drawn_the_sandbox_never_fails_and_keeps_the_contract(
    generator: Path, tmp_path: Path, definition: Path
) -> None:
    with Sandbox(rate_limit=False) as sandbox:
        jobs = [sandbox.add_job(5, seed) for seed in range(8)]
        entries = [item.accounting_entry_id for item in sandbox.items(jobs[0])]
        asked = {"endpointUrl": "http://127.0.0.1:1/", "eventTypes": ["v1.vendor.created"]}
        subscriptions = [sandbox.webhooks.subscriptions.make(None, asked, 0.0).id for _ in range(8)]
        ids = {name: [*jobs, NOBODY] for name in ("jobId", "job_id")}
        ids |= {name: [*entries, NOBODY] for name in ("accountingEntryId", "accounting_entry_id", "accountingEntryIds")}
        ids |= {name: [SANDBOX_COMPANY_ID, NOBODY] for name in ("companyId", "company_id")}
        ids |= {"id": [*subscriptions, NOBODY]} if definition.stem == "subscriptions" else {}
        drawn_from = tmp_path / "definition.yaml"
        drawn_from.write_text(yaml.safe_dump(with_ids(yaml.safe_load(definition.read_text()), ids)))
        guard = Guard(sandbox.app, sandbox)
        sandbox.app = guard
        with serve(cast("Sandbox", sandbox)) as url:
            command = [str(generator), "run", str(drawn_from), "--url", url, "--auth", f"{SANDBOX_API_KEY}:"]
            command += ["--checks", CHECKS, "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"]
            command += ["--generation-deterministic", "--no-color", "--no-shrink"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=170, cwd=tmp_path)
        received = sandbox.received()
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert guard.found == []
    counted: Counter[str] = Counter()
    for pattern, operation in operations():
        counted[operation.call] += sum(times for call, times in guard.judged.items() if pattern.fullmatch(call))
    mine = {
        f"{method.upper()} {place}"
        for place, methods in yaml.safe_load(definition.read_text())["paths"].items()
        for method in methods
    }
    print(f"{definition.stem}: {sum(guard.judged.values())} answers judged, {received.by_status}")
    assert {call: counted[call] for call in mine if counted[call] < LEAST} == {}
