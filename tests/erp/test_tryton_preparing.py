"""Preparing Tryton for the tests: what is half made is not used, and what is missing is said, never passed over."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.erp.tryton import command as tryton_command
from tests.support.erp.tryton import prepare as tryton_prepare
from tests.support.erp.tryton.environment import TrytonUnavailable, environment, kept
from tests.support.erp.tryton.postgres import debian_binaries
from tests.support.erp.tryton.server import Tryton
from tests.support.processes import ROOT, free_port, running, until

COMMAND = [sys.executable, "-m", "tests.support.erp.tryton.server"]
ONE_TEST = "tests/erp/test_tryton_server.py::test_sql_answers_in_types_and_says_what_is_wrong"


def names(process: psutil.Process, folder: Path) -> bool:
    """Whether a process was started with this folder."""
    try:
        return any(str(folder) in word for word in process.cmdline())
    except psutil.Error:
        return False


def test_what_is_half_made_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "thing-1.partial").mkdir()
    (tmp_path / "thing-1.partial" / "left over").touch()

    def broken(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("broken off")

    def whole(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "whole").touch()

    with pytest.raises(RuntimeError, match="broken off"):
        kept(tmp_path, "thing", "1", broken)
    folder = kept(tmp_path, "thing", "1", whole)
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert kept(tmp_path, "thing", "1", broken) == folder
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "thing-1"}


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        until(lambda: made, within_s=5)

    with ThreadPoolExecutor(4) as workers:
        folders = set(workers.map(lambda _: kept(tmp_path, "thing", "1", make), range(4)))
    assert (len(folders), len(made)) == (1, 1)


def test_what_nobody_has_used_for_long_is_removed(tmp_path: Path) -> None:
    old, young, other = (
        kept(tmp_path, kind, key, lambda _: None) for kind, key in (("a", "1"), ("a", "2"), ("b", "1"))
    )
    for folder in (old, other):
        os.utime(folder, (time.time() - 30 * 24 * 3600,) * 2)
    kept(tmp_path, "a", "3", lambda _: None)
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


@pytest.mark.slow
def test_pip_that_finds_nothing_is_said(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\ntrytond==0.0.1\n")
    with pytest.raises(TrytonUnavailable, match=r"^pip cannot install .*: .*trytond==0\.0\.1"):
        environment(tmp_path / "cache", with_postgres=True, requirements=requirements)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_too_little_space_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 5_000_000))
    with pytest.raises(TrytonUnavailable, match=rf"needs \d+ MB in {re.escape(str(tmp_path))}, where 5 MB are free"):
        kept(tmp_path, "thing", "1", lambda _: None)


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrytonUnavailable, match="cannot be written"):
        kept(tmp_path / "file" / "cache", "thing", "1", lambda _: None)


def test_the_newest_whole_postgresql_of_debian_is_taken(tmp_path: Path) -> None:
    assert debian_binaries(tmp_path) is None
    for version, names in ((9, "initdb postgres"), (15, "initdb postgres"), (17, "initdb postgres"), (18, "psql")):
        folder = tmp_path / str(version) / "bin"
        folder.mkdir(parents=True)
        for name in names.split():
            (folder / name).touch(mode=0o755)
    assert debian_binaries(tmp_path) == tmp_path / "17" / "bin"


@pytest.mark.slow
@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", 1)])
def test_where_tryton_cannot_be_had_tests_are_skipped_by_name_or_fail(
    tmp_path: Path, required: str, status: int
) -> None:
    (tmp_path / "file").touch()
    settings = {"PLEO_EXPORT_TRYTON_CACHE": str(tmp_path / "file" / "cache"), "PLEO_EXPORT_REQUIRE_TRYTON": required}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", ONE_TEST],
        env={**os.environ, **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "cannot be written" in done.stdout
    assert ("skipped for want of Tryton" in done.stdout, f"  {ONE_TEST}" in done.stdout) == (not required, not required)


@pytest.mark.slow
@pytest.mark.parametrize(("by_signal", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_command_for_people_leaves_nothing(
    tryton_session: Tryton, tmp_path: Path, by_signal: signal.Signals, status: int
) -> None:
    port, log = free_port(), tmp_path / "log"
    with running(
        [*COMMAND, "--port", str(port), "--keys", str(tmp_path)], environment=dict(os.environ), log=log
    ) as command:
        until(lambda: "Ctrl-C" in log.read_text() or command.poll() is not None, within_s=100)
        said = dict(re.findall(r"^(\w[\w -]*?)  +(.*)$", log.read_text(), re.M))
        assert said["Tryton"] == f"http://127.0.0.1:{port}"
        key = Path(said["Key"].removeprefix("in "))
        folder = Path(said["Log"]).parent.parent
        assert (key.parent, key.stat().st_mode & 0o777, len(key.read_text())) == (tmp_path, 0o600, 128)
        assert key.read_text() not in log.read_text()
        shell = subprocess.run(["sh", "-c", f"{said['All of it']}; env"], capture_output=True, text=True, check=True)
        assert {f"TRYTON_KEY={key.read_text()}", "TRYTON_COMPANY=Acme ApS"} <= set(shell.stdout.splitlines())
        command.send_signal(by_signal)
        assert command.wait(30) == status
    until(lambda: not folder.exists(), within_s=30, otherwise="the temporary folder did not go")
    until(
        lambda: not [one for one in psutil.process_iter() if names(one, folder)],
        within_s=30,
        otherwise="some still run",
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535"),
        (["--port", "0", "--web", "nowhere"], "there is no index.html in nowhere"),
        (["--port", "0", "--keys", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tryton_command.main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_from_nothing_with_postgresql_from_pip_in_two_minutes_of_one_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tryton_prepare, "debian_binaries", lambda: None)
    before = os.times()
    with Tryton(cache=tmp_path) as tryton, tryton.server() as server:
        assert server.sql("select count(*) from party_party where code = 'V0001'") == [(1,)]
        assert "pixeltable" in str(tryton.prepared.binaries)
    after = os.times()  # of the processor, as others may be at work on the machine
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert used_s < 120
