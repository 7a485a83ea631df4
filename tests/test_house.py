"""The rules of the house: which room may use which, and what every file must pass."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "blocks").rglob("*.py")) + sorted((ROOT / "flows").rglob("*.py"))
WITH_PREFECT = {
    "flows/export.py",
    "flows/tasks.py",
    "flows/artifacts.py",
    "flows/earlier_runs.py",
    "flows/monitoring.py",
    "flows/webhook.py",
    "blocks/collection.py",
    "blocks/slots.py",
    "blocks/pleo/authorize.py",
    "blocks/ground/__init__.py",  # the Prefect server that a command brings along: told to Prefect's client,
    "blocks/ground/child.py",  # and run
}

WITH_HTTPX = {
    "blocks/pleo/http/transport.py",
    "blocks/pleo/oauth/token_endpoint.py",
    "blocks/erp/remote/client.py",
    "blocks/ground/proxies.py",  # whether it takes the proxies that the environment names
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _defines_a_block(path: Path) -> bool:
    return "_block_type_name" in path.read_text()


def test_rooms_use_each_other_in_one_direction_only() -> None:
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        for used in _imports(path):
            if name.startswith("blocks/"):
                assert not used.startswith("flows"), f"{name} uses {used}"
            if name.startswith("blocks/pleo/"):
                assert not used.startswith("blocks.erp"), f"{name} uses {used}"
            if name.startswith("blocks/erp/"):
                assert not used.startswith("blocks.pleo"), f"{name} uses {used}"
            if name.startswith("blocks/pleo/sandbox/") and used.startswith("blocks."):
                assert used.startswith("blocks.pleo.sandbox"), f"{name} uses {used}"


def test_prefect_and_httpx_are_met_where_they_belong() -> None:
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        uses = set(_imports(path))
        if any(used.split(".")[0] == "prefect" for used in uses):
            assert name in WITH_PREFECT or _defines_a_block(path), f"{name} uses Prefect"
        if any(used.split(".")[0] == "httpx" for used in uses):
            assert name in WITH_HTTPX, f"{name} uses httpx"


def test_a_job_runs_without_prefect_being_imported() -> None:
    rooms = "flows.run, flows.job, flows.steps, blocks.erp.ledger, blocks.erp.tryton"
    code = f"import sys, {rooms}; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_no_module_is_longer_than_400_lines() -> None:
    modules = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "deployments").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_the_top_level_holds_what_the_design_names() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = {line.split("/")[0] for line in listed.stdout.splitlines()}
    known = {"pyproject.toml", "flows", "blocks", "tests", "deployments", "README.md", "constraints.txt", "LICENSE"}
    assert {name for name in names if not name.startswith(".")} == known


def test_the_tested_versions_are_exact_and_name_no_index() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line) for line in lines)


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        pytest.param(["mypy"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_linter_formatter_and_type_checker_are_quiet(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
