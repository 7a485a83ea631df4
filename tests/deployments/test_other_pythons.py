"""Every promised Python that is on this machine runs README's first command and the quick tests of blocks and flows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.processes import ROOT

NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "*.sqlite")
MINUTES = 30


def _promised() -> list[str]:
    """Versions as pyproject has them, `>=3.11,<3.14` say, but for the one that runs this."""
    first, last = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()  # type: ignore[union-attr]
    return [f"3.{minor}" for minor in range(int(first), int(last)) if minor != sys.version_info.minor]


def _interpreter(version: str) -> Path:
    """A Python of that version that the shell would find, be it by pyenv; skips the test without."""
    command = shutil.which(f"python{version}")
    if command is not None:
        asked = [command, "-c", "import sys, venv; print(sys.executable)"]
        said = subprocess.run(asked, env={**os.environ, "PYENV_VERSION": version}, capture_output=True, text=True)
        if said.returncode == 0:
            return Path(said.stdout.strip())
    pytest.skip(f"no Python {version} is on this machine: it is promised, and was not tried")


def _said(command: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """What the shell's command prints, its errors too."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES * 60,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", _promised())
def test_another_promised_python_runs_the_first_command_and_the_quick_tests(version: str, tmp_path: Path) -> None:
    interpreter = _interpreter(version)
    clone, path = tmp_path / "clone", tmp_path / "bin"
    shutil.copytree(ROOT, clone, ignore=NOT_COPIED)
    path.mkdir()
    (path / "python3").symlink_to(interpreter)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"PATH": f"{path}:{os.environ['PATH']}", "PREFECT_HOME": str(tmp_path / "prefect")}

    install_and_export = re.search(r"^python3 -m venv .*--sandbox$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert install_and_export is not None
    status, said = _said(install_and_export[0], clone, environment)
    assert status == 0, said
    assert "111 booked, 19 failed" in said
    running = ".venv/bin/python -c 'import sys; print(sys.version)'"
    assert _said(running, clone, environment)[1].startswith(f"{version}.")

    install = ".venv/bin/pip install -q -c constraints.txt -e '.[test]'"
    run = ".venv/bin/python -m pytest tests/blocks tests/flows --ignore-glob='tests/flows/test_tryton*'"
    # Other slow proofs go on beside this, so what fails is looked at again by itself, with nothing beside it here.
    status, said = _said(f"{install} && ({run} || {run} --last-failed -n 0)", clone, environment)
    assert status == 0, said[-20_000:]
