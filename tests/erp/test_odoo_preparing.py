"""How a real Odoo comes to the tests: from where, what of it, and what is said where it cannot be had."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from tests.support.erp.odoo import package, prepare
from tests.support.erp.odoo.prepare import OdooUnavailable
from tests.support.erp.odoo.server import Odoo
from tests.support.erp.tryton.environment import TrytonUnavailable
from tests.support.processes import ROOT

LIBRARY = PurePosixPath(package.LIBRARY)
ON_DEBIAN = pytest.mark.skipif(not package.KEYRING.is_file(), reason="the machine has no Debian")


@ON_DEBIAN
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# deb http://old.example/debian sid main\ndeb http://mirror.example/debian bookworm main\n"),
        ("sources.list", "deb [signed-by=/some/key.gpg] http://mirror.example/debian bookworm main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n"),
        ("sources.list.d/more.list", "deb http://mirror.example/debian bookworm main\n"),
    ],
)
def test_the_mirror_is_the_one_that_the_machine_itself_uses(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "other.list").write_text("deb http://other.example/apt stable main\n")
    (tmp_path / name).write_text(text)
    assert package.mirror(tmp_path) == "http://mirror.example/debian"


@ON_DEBIAN
def test_a_machine_whose_apt_knows_no_debian_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://other.example/apt stable main\n")
    with pytest.raises(TrytonUnavailable, match="apt is not told where"):
        package.mirror(tmp_path)


def test_a_machine_without_debian_cannot_have_odoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "KEYRING", tmp_path / "none.gpg")
    with pytest.raises(OdooUnavailable, match="Odoo comes from Debian's archive, and this machine has no Debian"):
        prepare.prepare(cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("path", "is_needed"),
    [
        (LIBRARY / "odoo/http.py", True),
        (LIBRARY / "odoo/addons/account/views/account_move_views.xml", True),
        (LIBRARY / "addons/account/models/account_move.py", True),
        (LIBRARY / "odoo/addons/account/i18n/da.po", False),
        (LIBRARY / "addons/account/tests/test_account.py", False),
        (LIBRARY / "odoo/addons/website/static/src/a.js", False),
        (LIBRARY / "odoo/addons/website/__manifest__.py", True),
        (PurePosixPath("usr/bin/odoo"), True),
        (PurePosixPath("usr/share/doc/odoo/copyright"), False),
    ],
)
def test_of_the_package_what_accounting_needs_is_taken(path: PurePosixPath, is_needed: bool) -> None:
    assert package._is_needed(path) is is_needed


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--keys", "nowhere"], "there is no folder nowhere"), (["--port", "99999"], "0 to 65535")]
)
def test_a_wrong_command_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "tests.support.erp.odoo.server", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr


@pytest.mark.slow
def test_a_person_gets_an_odoo_to_try_and_nothing_is_left_of_it(odoo_session: Odoo, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.erp.odoo.server", "--port", "0", "--keys", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = list(iter(running.stdout.readline, "Ctrl-C      ends it; nothing is kept\n"))
        written = (tmp_path / "odoo.env").read_text()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    lines = dict(line.strip().split(maxsplit=1) for line in said)
    assert lines["Company"] == "Acme ApS"
    assert f"export ODOO_URL={lines['Odoo']}\n" in written
    assert modes == dict.fromkeys(("key", "password", "odoo.env"), 0o600)
    assert list(tmp_path.iterdir()) == []
    assert not Path(lines["Log"]).exists()
