"""Receipts go by the proxy that the environment names, and no check of their hosts is weaker for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blocks.ground.proxies import Proxy
from blocks.pleo.errors import FileNotFetched, FileUnavailable, FileUnsafe
from blocks.pleo.files.client import Downloaded
from tests.support.pleo.internet import ADDRESS, HOST, PDF, SECRET, URL, Internet, a_file
from tests.support.pleo.scripted_pleo import answer, scripted

OTHER_ADDRESS = "93.184.216.35"
LOGIN = b"Proxy-Authorization: Basic bWU6czNjcjN0"


async def fetched(tmp_path: Path, internet: Internet, proxy: Proxy, url: str = URL, **settings: Any) -> object:
    """The file, or the error; a proxy for every host."""
    async with internet.client(find_proxy=lambda _host, _port: proxy, **settings) as client:
        try:
            return await client.download(url, tmp_path / "file")
        except FileNotFetched as error:
            return error


async def test_the_proxy_is_asked_for_the_address_that_was_checked_and_sees_nothing_of_the_link(tmp_path: Path) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.proxy() as proxy:
        file = await fetched(tmp_path, internet, proxy)
    assert isinstance(file, Downloaded)
    assert (tmp_path / "file").read_bytes() == PDF
    (asked,) = internet.by_proxy
    assert asked.splitlines()[0] == f"CONNECT {ADDRESS}:443 HTTP/1.1".encode()
    assert LOGIN in asked
    assert SECRET.encode() not in asked
    assert internet.dialled == [("proxy.example", 3128)]
    assert all(b"roxy" not in name.encode() for name, _ in internet.requests[0].headers)


@pytest.mark.parametrize("address", ["10.0.0.7", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"])
async def test_a_name_with_an_inner_address_is_not_asked_of_the_proxy(tmp_path: Path, address: str) -> None:
    internet = Internet()
    internet.names[HOST] = [[ADDRESS, address]]
    async with internet.proxy() as proxy:
        assert isinstance(await fetched(tmp_path, internet, proxy), FileUnsafe)
    assert internet.dialled == []


async def test_the_next_address_is_asked_for_where_the_proxy_does_not_reach_the_first(tmp_path: Path) -> None:
    internet = Internet()
    internet.names[HOST] = [["2606:2800:220:1::1", ADDRESS]]
    async with internet.host([a_file()]), internet.proxy() as proxy:
        file = await fetched(tmp_path, internet, proxy)
    assert isinstance(file, Downloaded)
    assert [head.split()[1] for head in internet.by_proxy] == [b"[2606:2800:220:1::1]:443", f"{ADDRESS}:443".encode()]


async def test_a_proxy_that_finds_names_itself_is_asked_for_the_name_and_the_host_proves_it_by_tls(
    tmp_path: Path,
) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.proxy() as proxy:
        assert isinstance(await fetched(tmp_path, internet, proxy, by_name=True), Downloaded)
        assert internet.by_proxy[0].startswith(f"CONNECT {HOST}:443 ".encode())
        assert internet.asked == []
    internet = Internet()
    async with internet.host([a_file()], certified_for="other.example"), internet.proxy() as proxy:
        (tmp_path / "file").unlink()
        error = await fetched(tmp_path, internet, proxy, by_name=True)
        assert isinstance(error, FileUnsafe)
        assert "cannot prove" in str(error)
        assert internet.requests == []
        for link in ("https://10.0.0.7/r", "https://localhost/r", "http://files.example/r"):
            assert isinstance(await fetched(tmp_path, internet, proxy, link, by_name=True), FileUnsafe)
    assert len(internet.by_proxy) == 1


BY_NAME = "; where it takes names alone, set receipt_proxy = by_name"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "answers with HTTP 407: it asks for a name and a password",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", f"answers with HTTP 403{BY_NAME}"),
        (b"SSH-2.0-x\r\n\r\n", f"answers with what is no HTTP{BY_NAME}"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", f"answers with what is no HTTP{BY_NAME}"),
    ],
)
async def test_a_proxy_that_says_no_is_named_with_its_variable(tmp_path: Path, said: bytes, told: str) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.proxy(said) as proxy:
        error = await fetched(tmp_path, internet, proxy)
    assert isinstance(error, FileUnavailable)
    wanted = f"{HOST}: no connection: http://proxy.example:3128 (HTTPS_PROXY) {told}, after 3 tries"
    assert str(error) == wanted


async def test_a_proxy_that_is_not_there_and_a_name_that_is_not_known_here_are_told(tmp_path: Path) -> None:
    internet = Internet()
    proxy = Proxy("http", "proxy.example", 3128, "HTTPS_PROXY")
    told = str(await fetched(tmp_path, internet, proxy))
    assert "the name cannot be resolved" in told
    assert "the setting receipt_proxy = by_name leaves that to the proxy" in told
    internet.names[HOST] = [[ADDRESS]]
    assert "http://proxy.example:3128 (HTTPS_PROXY) does not answer" in str(await fetched(tmp_path, internet, proxy))
    socks = Proxy("socks5", "proxy.example", 1080, "ALL_PROXY")
    assert "it would have to be an http proxy" in str(await fetched(tmp_path, internet, socks))


async def test_files_of_a_pleo_on_this_machine_go_by_no_proxy(tmp_path: Path) -> None:
    internet = Internet()
    async with scripted([a_file()]) as pleo, internet.proxy() as proxy:
        port = int(pleo.url.rpartition(":")[2])
        internet.names["127.0.0.1"] = [["127.0.0.1"]]
        internet._real["127.0.0.1", port] = port
        file = await fetched(tmp_path, internet, proxy, f"{pleo.url}/r.pdf", base_url=pleo.url)
    assert isinstance(file, Downloaded)
    assert internet.by_proxy == []


async def test_the_proxy_of_the_environment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blocks.ground.proxies import https_proxy

    internet = Internet()
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.setenv(name, "")
    async with internet.host([a_file(), answer(b"", 404)]), internet.proxy():
        monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cr3t@proxy.example:3128")
        monkeypatch.delenv("https_proxy")
        async with internet.client(find_proxy=https_proxy) as client:
            await client.download(URL, tmp_path / "file")
        assert LOGIN in internet.by_proxy[0]
        monkeypatch.setenv("NO_PROXY", HOST)
        monkeypatch.delenv("no_proxy")
        async with internet.client(find_proxy=https_proxy) as client:
            with pytest.raises(FileNotFetched):
                await client.download(URL, tmp_path / "2")
    assert len(internet.by_proxy) == 1
