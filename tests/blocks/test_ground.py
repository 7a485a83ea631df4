"""What a command stands on before Prefect is imported: a home folder, proxies, the tables of a new database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import prefect.server.database
import psutil
import pytest
from alembic.script import ScriptDirectory

from blocks.ground import GroundError, check_environment
from blocks.ground.child import TABLES, begin_database
from blocks.ground.proxies import UnusableProxy, https_proxy, settle_proxies
from blocks.ground.server import NoServer, OwnServer
from tests.support.processes import ROOT

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without a word about proxies."""
    for name in (*NAMES, *map(str.lower, NAMES)):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards, whatever the test does
        monkeypatch.delenv(name)
    return monkeypatch


# -- home -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HOME": "/dev/null"}, "Prefect's home folder /dev/null/.prefect: Not a directory: set PREFECT_HOME"),
        ({"HOME": "/proc"}, "Prefect's home folder /proc/.prefect: No such file or directory: set PREFECT_HOME"),
        ({"PREFECT_HOME": "/dev/null"}, "Prefect's home folder /dev/null: File exists: set PREFECT_HOME"),
    ],
)
def test_a_home_that_cannot_be_written_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    monkeypatch.delenv("PREFECT_HOME")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(GroundError) as caught:
        check_environment(os.environ)
    assert str(caught.value).startswith(said)


def test_a_user_without_a_home_is_told_to_name_one_and_with_one_named_it_is_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user who is in no list of users
    monkeypatch.delenv("PREFECT_HOME")
    with pytest.raises(GroundError, match="no home folder: set PREFECT_HOME to a folder that can be written"):
        check_environment(os.environ)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    check_environment(os.environ)
    assert os.environ["HOME"] == str(tmp_path / "prefect")
    assert (tmp_path / "prefect").stat().st_mode & 0o077 == 0


_AS_SOMEBODY = [
    "setpriv", "--reuid=12345", "--regid=0", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",  # who may read the Python that this is, no more
]  # fmt: skip


def _may_become_somebody() -> bool:
    try:
        return subprocess.run([*_AS_SOMEBODY, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not _may_become_somebody(), reason="to become another user takes root and setpriv")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "this user has no home folder: set PREFECT_HOME to a folder that can be written"),
        ({"HOME": "/"}, "Prefect's home folder /.prefect: Permission denied: set PREFECT_HOME"),
    ],
)
def test_a_containers_arbitrary_user_gets_one_line_and_status_2(environment: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [*_AS_SOMEBODY, sys.executable, "-m", "flows.export", "--dry-run"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PLEO_API_KEY": "x", **environment},
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith(said)) == (2, True), done.stderr


# -- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NO_PROXY", "localhost,127.0.0.1,fe80::/10", "NO_PROXY: fe80::/10 cannot be used: it takes names of hosts"),
        ("no_proxy", "[::1]", "no_proxy: [::1] cannot be used"),
        ("NO_PROXY", "host:abc", "NO_PROXY: host:abc cannot be used"),
        ("ALL_PROXY", "socks://127.0.0.1:7890/", "ALL_PROXY: socks://127.0.0.1:7890/ cannot be used: it should look"),
        ("HTTPS_PROXY", "ftp://proxy:21", "HTTPS_PROXY: ftp://proxy:21 cannot be used: it should look like http://"),
        ("http_proxy", "http://proxy:99999", "http_proxy: http://proxy:99999 cannot be used"),
        ("HTTPS_PROXY", "http://me:secret@:3128", "HTTPS_PROXY: http://***@:3128 cannot be used"),
        ("HTTPS_PROXY", "me:se@cret@proxy:port", "HTTPS_PROXY: ***@proxy:*** cannot be used"),
        ("HTTPS_PROXY", "http://me:secret", "HTTPS_PROXY: http://me:*** cannot be used"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_with_its_value_and_without_its_password(
    no_proxies: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    no_proxies.setenv(name, value)
    with pytest.raises(GroundError) as caught:
        check_environment(os.environ)
    assert str(caught.value).startswith(said)
    assert "cret" not in str(caught.value)
    assert os.environ[name] == value


def test_a_socks_proxy_is_told_with_the_package_that_it_needs(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    no_proxies.setitem(sys.modules, "socksio", None)  # as where it is not installed
    with pytest.raises(UnusableProxy, match=r"^ALL_PROXY: socks5://127.0.0.1:1080 cannot .* pip install socksio$"):
        settle_proxies()


@pytest.mark.parametrize("spared", [None, "", "corp.example", "localhost", " a.example , b.example "])
def test_what_goes_to_this_machine_goes_by_no_proxy(no_proxies: pytest.MonkeyPatch, spared: str | None) -> None:
    no_proxies.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    no_proxies.setenv("http_proxy", "proxy.example:3128")
    if spared is not None:
        no_proxies.setenv("NO_PROXY", spared)
    settle_proxies()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"]
    entries = os.environ["NO_PROXY"].split(",")
    assert {"127.0.0.1", "localhost", "::1"} <= set(entries)
    assert all(entry.strip() in entries for entry in (spared or "").split(",") if entry.strip())
    with httpx.Client() as client:
        for host in ("127.0.0.1:4200", "localhost", "[::1]"):
            assert client._transport_for_url(httpx.URL(f"http://{host}/api")) is client._transport


def test_an_environment_without_a_proxy_and_one_that_spares_every_host_stay_as_they_are(
    no_proxies: pytest.MonkeyPatch,
) -> None:
    before = dict(os.environ)
    settle_proxies()
    assert dict(os.environ) == before
    no_proxies.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    no_proxies.setenv("NO_PROXY", "fe80::/10, *")
    before = dict(os.environ)
    settle_proxies()
    assert dict(os.environ) == before


@pytest.mark.parametrize("proxies", [{"HTTPS_PROXY": "http://p:1"}, {"ALL_PROXY": "http://p:1"}, {}])
@pytest.mark.parametrize(
    "spared",
    [
        "", "*", "example.net", ".example.net", "files.example.net", "files.example.net:8443", "net", "xample.net",
        "https://files.example.net", "http://files.example.net", "all://files.example.net:8443", "93.184.216.34",
        "93.184.216.0/24", "2606:2800:220:1::1", "LOCALHOST", "EXAMPLE.net", "other.example, files.example.net ",
    ],
)  # fmt: skip
def test_receipts_and_pleo_agree_on_the_proxy(
    no_proxies: pytest.MonkeyPatch, proxies: dict[str, str], spared: str
) -> None:
    for name, value in {**proxies, "NO_PROXY": spared}.items():
        no_proxies.setenv(name, value)
    with httpx.Client() as client:
        for host in ("files.example.net", "example.net", "93.184.216.34", "2606:2800:220:1::1", "localhost"):
            for port in (443, 8443):
                shown = f"[{host}]" if ":" in host else host
                by_proxy = (
                    client._transport_for_url(httpx.URL(f"https://{shown}:{port}/r.pdf")) is not client._transport
                )
                assert (https_proxy(host, port) is not None) is by_proxy, (host, port)


def test_the_small_letters_count_and_what_logs_in_is_not_shown(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("HTTPS_PROXY", "http://other:1")
    no_proxies.setenv("https_proxy", "http://me:p%40ss@proxy.example:3128")
    proxy = https_proxy("files.example.net", 443)
    assert proxy is not None
    assert str(proxy) == "http://proxy.example:3128 (https_proxy)"
    assert proxy.authorization == "Basic bWU6cEBzcw=="
    assert "bWU6" not in repr(proxy)


# -- the tables of a new database -------------------------------------------------------------------------------------


def test_a_new_database_has_the_tables_of_the_prefect_that_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    begin_database(path, f"sqlite+aiosqlite:///{path}")
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
    folder = Path(prefect.server.database.__file__).parent
    heads = ScriptDirectory(
        str(folder / "_migrations"), version_locations=[str(folder / "_migrations/versions/sqlite")]
    )
    assert version == heads.get_current_head()
    assert [one.name for one in tmp_path.iterdir()] == ["prefect.db"]


def test_a_database_that_is_there_or_lies_elsewhere_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "prefect.db"
    begin_database(path, "postgresql+asyncpg://prefect@db.example/prefect")
    begin_database(path, f"sqlite+aiosqlite:///{tmp_path}/other.db")
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"mine")
    begin_database(path, f"sqlite+aiosqlite:///{path}")
    assert path.read_bytes() == b"mine"


def test_a_server_that_ends_before_it_is_wanted_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uvicorn.py").write_text('raise ImportError("no uvicorn here")')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = OwnServer()
    try:
        for child in psutil.Process().children():
            if "child.py" in " ".join(child.cmdline()):
                child.wait(30)
        with pytest.raises(NoServer, match="did not start: ImportError: no uvicorn here"):
            server.wait(10, lambda: False, lambda: None)
    finally:
        server.close()


_ANSWERING = """
import os, socket, sys, threading
listener, life = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
os.read(life, 1)
threading.Thread(target=lambda: os.read(life, 1) or os._exit(0), daemon=True).start()
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    connection.close()
"""


def test_a_server_that_dies_as_soon_as_it_is_begun_again_is_begun_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SecondOneDies(OwnServer):
        begun = 0

        def _start(self) -> None:
            super()._start()
            self.begun += 1
            if self.begun == 2:
                self._process.kill()
                self._process.wait(10)

    (tmp_path / "child.py").write_text(_ANSWERING)
    monkeypatch.setattr("blocks.ground.server._CHILD", tmp_path / "child.py")
    server = SecondOneDies()
    try:
        server.wait(10, lambda: False, lambda: None)
        first = server._process
        first.kill()
        first.wait(10)
        assert httpx.get(f"{server.api_url}/health", trust_env=False, timeout=20).status_code == 200
        assert (server.begun, server.is_gone) == (3, False)
    finally:
        server.close()


@pytest.mark.slow
def test_the_tables_are_those_that_prefects_migrations_make(tmp_path: Path) -> None:
    """Where they are so no more, with another Prefect say, the text in `prefect.sql` is to be made again like this."""
    code = (
        "import anyio\nfrom prefect.server.database import provide_database_interface\n"
        "async def make(): await provide_database_interface().create_db()\nanyio.run(make)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PREFECT_HOME": str(tmp_path)}, check=True)
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        made = "\n".join(database.iterdump())
    assert _clauses(made) == _clauses(TABLES.read_text(encoding="utf-8"))


def _clauses(tables: str) -> list[list[str]]:
    """Statements as their clauses, in an order of our own: migrations walk through sets, and have no fixed one."""
    return sorted(sorted(line.strip().rstrip(",") for line in one.splitlines()) for one in tables.split(";\n"))
