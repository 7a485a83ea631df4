"""Whoever cannot prove to be Pleo gets nothing, says so at once, and no variable of the environment changes that."""

from __future__ import annotations

import ast
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.tryton.client import TrytonClient
from blocks.pleo.errors import NotTrusted, PleoConfigurationError, PleoUnavailable
from blocks.pleo.files.client import FileClient
from blocks.pleo.http.auth import KeyAuth
from blocks.pleo.http.client import PleoClient
from blocks.pleo.http.transport import Clock
from blocks.tls import CannotVerify, verifying_tls
from tests.support.pleo.certificates import authority, server_tls
from tests.support.pleo.quoting_pleo import quoting_pleo
from tests.support.processes import ROOT, PrefectServer
from tests.survival.traced import KEY, traced

WRONG = {
    "self-signed": ({"self_signed": True}, "self-signed certificate"),
    "expired": ({"expired": True}, "certificate has expired"),
    "wrong host": ({"wrong_host": True}, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
}
SWITCHES = {
    "PYTHONHTTPSVERIFY": "0",
    "REQUESTS_CA_BUNDLE": "/dev/null",
    "CURL_CA_BUNDLE": "",
    "HTTPX_VERIFY": "0",
    "HTTPX_SSL_VERIFY": "false",
    "SSL_VERIFY": "0",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "GIT_SSL_NO_VERIFY": "1",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
    "PREFECT_CLIENT_TLS_INSECURE_SKIP_VERIFY": "true",
    "PLEO_VERIFY": "0",
}
"""Variables by which one program or another is talked out of verifying."""

_OFF = {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "_create_stdlib_context", "create_default_context"}


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' authority is one that is believed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority().file(tmp_path)))
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)


async def _no_waiting(_seconds: float) -> None:
    pass


def _client(url: str) -> PleoClient:
    return PleoClient(url, KeyAuth(KEY.value), clock=Clock(sleep=_no_waiting))


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.usefixtures("trusting")
async def test_a_certificate_that_does_not_hold_is_told_at_once_and_nothing_is_sent(
    wrong: dict[str, bool], said: str
) -> None:
    with quoting_pleo("http://127.0.0.1:9", server_tls(**wrong)) as pleo:
        async with _client(pleo.url) as client:
            with pytest.raises(NotTrusted, match="cannot prove that it is Pleo") as caught:
                await client.list_jobs()
            assert client.requests_sent == 1
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert pleo.asked == []


@pytest.mark.usefixtures("trusting")
async def test_a_server_that_speaks_no_tls_is_told_at_once() -> None:
    with quoting_pleo("http://127.0.0.1:9") as pleo:
        async with _client(pleo.url.replace("http:", "https:")) as client:
            with pytest.raises(NotTrusted, match="wrong version number"):
                await client.list_jobs()
            assert client.requests_sent == 1


@pytest.mark.usefixtures("trusting")
async def test_tryton_is_verified_as_pleo_is() -> None:
    with quoting_pleo("http://127.0.0.1:9", server_tls(self_signed=True)) as server:
        client = TrytonClient(server.url, "acme", KEY.value)
        with pytest.raises(ErpConfigurationError, match=r"cannot prove that it is Tryton \(self-signed certificate\)"):
            await client.search("party.party", [], ["name"])
        await client.aclose()
    assert server.asked == []


async def test_a_connection_that_breaks_while_tls_is_agreed_upon_is_tried_again() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        over = threading.Event()

        def hang_up() -> None:
            while not over.is_set():
                if select.select([listener], [], [], 0.05)[0]:
                    listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            async with _client(f"https://127.0.0.1:{listener.getsockname()[1]}") as client:
                with pytest.raises(PleoUnavailable, match="after 6 tries"):
                    await client.list_jobs()
        finally:
            over.set()
            thread.join()


@pytest.mark.usefixtures("trusting")
async def test_the_keys_of_the_traffic_are_written_down_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    with quoting_pleo("http://127.0.0.1:9", server_tls()) as pleo:
        async with _client(pleo.url) as client, FileClient(pleo.url):
            with pytest.raises((PleoUnavailable, PleoConfigurationError)):
                await client.list_jobs()
        tryton = TrytonClient(pleo.url, "acme", KEY.value)
        await tryton.aclose()
    assert pleo.asked  # so TLS was spoken
    assert not log.exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE: /nowhere.pem: No such file or directory"),
        ({"SSL_CERT_FILE": "/dev/null"}, "SSL_CERT_FILE: /dev/null holds no certificate of an authority"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR: /nowhere is no folder"),
    ],
)
def test_authorities_that_cannot_be_read_are_one_line(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CannotVerify) as caught:
        verifying_tls()
    assert str(caught.value) == said
    for make in (lambda: _client("https://pleo.example"), lambda: FileClient("https://pleo.example")):
        with pytest.raises(PleoConfigurationError, match=said):
            make()
    with pytest.raises(ErpConfigurationError, match=said):
        TrytonClient("https://tryton.example", "acme", "key")


def test_the_command_refuses_a_server_that_cannot_prove_to_be_pleo_in_one_line(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    with traced(tmp_path / "world", prefect_server, tls=server_tls(self_signed=True)) as world:
        job_id = world.office.sandbox.add_job(items=3)
        done = world.run("--json", PREFECT_LOGGING_LEVEL=None, PYTHONDEVMODE=None, **_quiet(), **SWITCHES)
        said = f"{world.pleo.url} cannot prove that it is Pleo (self-signed certificate), so nothing was sent: check"
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(said)
        assert done.returncode == 2
        assert world.pleo.asked == []
        assert world.office.sandbox.job(job_id).status == "pending"
        assert world.finds() == []


@pytest.mark.slow
def test_the_command_believes_the_authority_that_it_is_told_and_logs_no_keys(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    with traced(tmp_path / "world", prefect_server, tls=server_tls()) as world:
        world.office.sandbox.add_job(items=12, seed=9)
        pem, log = authority().file(tmp_path), world.folder / "tls-keys"
        done = world.run(SSL_CERT_FILE=str(pem), SSLKEYLOGFILE=str(log))
        assert done.returncode in {0, 3}, done.stderr
        # Prefect's own client may keep such a log of its own traffic; none of ours is in it, as it speaks plain http.
        assert not log.exists() or not log.read_bytes().strip().splitlines()[1:]
        assert world.finds() == []


@pytest.mark.parametrize(
    "command",
    [["-m", "flows.export"], ["-m", "blocks.pleo.authorize", "acme"], ["deployments/save_blocks.py"]],
    ids=str,
)
def test_every_command_tells_of_authorities_that_cannot_be_read(command: list[str]) -> None:
    environment = {**os.environ, "SSL_CERT_FILE": "/nowhere.pem"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    said = "SSL_CERT_FILE: /nowhere.pem: No such file or directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.usefixtures("trusting")
async def test_a_proxy_carries_the_call_and_sees_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with quoting_pleo("http://127.0.0.1:9", server_tls()) as pleo, _a_proxy() as proxy:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with _client(pleo.url) as client:
            with pytest.raises((PleoUnavailable, PleoConfigurationError)):
                await client.list_jobs()
        assert proxy.seen
        assert pleo.asked
        assert all(b"Authorization" not in head and KEY.value.encode() not in head for head in proxy.seen)
        proxy.seen.clear()
    with quoting_pleo("http://127.0.0.1:9") as plain:
        async with _client(plain.url) as client:
            with pytest.raises((PleoUnavailable, PleoConfigurationError)):
                await client.list_jobs()
        assert plain.asked
        assert proxy.seen == []  # what goes to this machine goes by no proxy


def test_nothing_in_the_product_can_switch_verification_off() -> None:
    sources = [path for room in ("blocks", "flows", "deployments") for path in sorted((ROOT / room).rglob("*.py"))]
    assert sources
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in _OFF, where
                if isinstance(node.ctx, ast.Store):
                    assert node.attr not in {"verify_mode", "check_hostname", "keylog_filename"}, where
            if isinstance(node, ast.keyword) and node.arg in {"verify", "follow_redirects"}:
                assert not (node.arg == "verify" and isinstance(node.value, ast.Constant)), where
                assert not (node.arg == "follow_redirects" and ast.unparse(node.value) != "False"), where
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"httpx.AsyncClient", "httpx.Client"}:
                assert {"verify", "follow_redirects"} <= {one.arg for one in node.keywords}, where
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("httpx."):
                assert ast.unparse(node.func) not in {"httpx.get", "httpx.post", "httpx.put", "httpx.request"}, where


class _Proxy:
    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[bytes] = []


@contextmanager
def _a_proxy() -> Iterator[_Proxy]:
    """A proxy that carries CONNECT, and notes what it can read."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        proxy, over = _Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}"), threading.Event()

        def carry(client: socket.socket) -> None:
            with client, suppress(OSError):
                head = client.recv(65536)
                proxy.seen.append(head)
                host, port = head.split()[1].decode().rsplit(":", 1)
                with socket.create_connection((host, int(port))) as server:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    other = {client: server, server: client}
                    while not over.is_set():
                        for ready in select.select([client, server], [], [], 0.05)[0]:
                            data = ready.recv(65536)
                            if not data:
                                return
                            proxy.seen.append(data)
                            other[ready].sendall(data)

        def accept() -> None:
            while not over.is_set():
                if select.select([listener], [], [], 0.05)[0]:
                    carry(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield proxy
        finally:
            over.set()
            thread.join()


def _quiet() -> dict[str, str | None]:
    return {"PREFECT_LOGGING_EXTRA_LOGGERS": None, "PREFECT_LOGGING_TO_API_ENABLED": None, "PYTHONPATH": str(ROOT)}
