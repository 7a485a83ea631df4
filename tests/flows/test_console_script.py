"""`pleo-export`: every command by its name, quick, and from a wheel in whatever folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flows import command
from flows.command import main
from flows.outcome import RunReport
from flows.stop import NOTHING_DONE
from tests.support.processes import ROOT


def test_the_commands_are_listed_and_another_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in ("export", "ledger", "authorize", "webhook", "sandbox", "save-blocks"):
        assert f"\n  {name} " in listed
    assert main([]) == 2
    capsys.readouterr()
    assert main(["exprot"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pleo-export: there is no command 'exprot', but export, ledger")


@pytest.mark.parametrize("name", ["ledger", "sandbox"])
def test_a_command_is_found_and_tells_its_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_a_commands_arguments_and_status_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sandbox", "--port", "http"])
    assert caught.value.code == 2
    assert "--port: must be a port" in capsys.readouterr().err


def test_the_list_needs_no_more_than_this_module() -> None:
    code = "import sys; from flows.command import main; main(['--help']); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


def test_the_script_is_declared_and_every_module_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"pleo-export": "flows.command:main"}
    rooms = {room.rstrip("*") for room in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert {one.module.split(".")[0] for one in command._COMMANDS.values()} <= rooms


def test_a_signal_before_the_run_is_told_as_a_run_that_did_nothing() -> None:
    assert RunReport().document() == NOTHING_DONE


@pytest.mark.slow
def test_from_a_wheel_beside_somebody_elses_flows_the_commands_work(tmp_path: Path) -> None:
    wheels, site, shop = tmp_path / "wheels", tmp_path / "site", tmp_path / "shop"
    source = tmp_path / "source"
    for room in ("blocks", "flows", "deployments"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(wheels), str(source)], check=True)
    (wheel,) = wheels.iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    for name in ("flows", "blocks", "deployments"):
        (shop / name).mkdir(parents=True)
        (shop / name / "__init__.py").write_text("raise ImportError('somebody else')")
    environment = {**os.environ, "PYTHONPATH": str(site), "PREFECT_HOME": str(tmp_path / "prefect")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(site / "bin" / "pleo-export"), *arguments],
            cwd=shop, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    for name in ("export", "ledger", "authorize", "webhook", "sandbox", "save-blocks"):
        done = run(name, "--help")
        assert (done.returncode, done.stderr) == (0, ""), name
    done = run("export", "--sandbox", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would be booked" in done.stdout
