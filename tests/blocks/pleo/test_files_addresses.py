"""Receipts come from the public internet over https and from nowhere else, whatever the link or a redirect says."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from blocks.pleo.errors import FileUnavailable, FileUnsafe
from blocks.pleo.files.client import MAX_REDIRECTS
from blocks.pleo.files.network import is_public, parse_address
from tests.support.pleo.internet import ADDRESS, HOST, PDF, PLEO, URL, Internet, a_file, held, redirect
from tests.support.pleo.scripted_pleo import scripted

INWARD = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
OUTWARD = ["8.8.8.8", "93.184.216.34", "99.86.4.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2600:9000::1"]


@pytest.mark.parametrize("text", INWARD)
def test_an_address_that_is_not_of_the_public_internet_is_none(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OUTWARD)
def test_an_address_of_the_public_internet_is_one(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


DECEIVING = [
    "http://files.example/r.pdf",
    "ftp://files.example/r.pdf",
    "file:///etc/passwd",
    "//files.example/r.pdf",
    "files.example/r.pdf",
    "",
    "https://",
    "https:///r.pdf",
    "https://:443/r.pdf",
    "https://files.example:0/r.pdf",
    "https://files.example:65536/r.pdf",
    "https://files.example:x/r.pdf",
    "https://user@files.example/r.pdf",
    "https://user:word@files.example/r.pdf",
    "https://@files.example/r.pdf",
    "https://files.example\\@127.0.0.1/r.pdf",
    "https://files.example/r .pdf",
    "https://files.example/r.pdf\r\nX-Injected: 1",
    "https://files.example\t/r.pdf",
    "https://files.exa\u200bmple/r.pdf",
    "https://127\u30020.0.1/r.pdf",
    "https://\uff11\uff12\uff17.0.0.1/r.pdf",
    "https://files..example/r.pdf",
    "https://fi%6ces.example/r.pdf",
    "https://localhost/r.pdf",
    "https://LOCALHOST./r.pdf",
    "https://a.localhost/r.pdf",
    "https://2130706433/r.pdf",
    "https://0x7f000001/r.pdf",
    "https://017700000001/r.pdf",
    "https://127.1/r.pdf",
    "https://127.0.1/r.pdf",
    "https://0177.0.0.1/r.pdf",
    "https://0x7f.0.0.1/r.pdf",
    "https://127.0.0.0x1/r.pdf",
    "https://127.0.0.1./r.pdf",
    "https://08.8.8.8/r.pdf",
    "https://1.2.3.4.5/r.pdf",
    "https://256.1.1.1/r.pdf",
    "https://[::1%25eth0]/r.pdf",
    "https://[fe80::1%eth0]/r.pdf",
    "https://[2600:9000::1%25lo]/r.pdf",
    "https://[v1.x]/r.pdf",
    "https://[8.8.8.8]/r.pdf",
    "https://[2606:4700::1111].files.example/r.pdf",
    "https://[2606:4700::1111]files.example:443/r.pdf",
    "https://files.example:\uff14\uff14\uff13/r.pdf",
    "https://[::1/r.pdf",
    "https://files.example/" + "x" * 20_000,
    *(f"https://{bracketed(address)}/r.pdf" for address in INWARD),
]


@pytest.mark.parametrize("url", DECEIVING, ids=lambda url: url[:40].encode("unicode_escape").decode())
async def test_a_link_that_leads_elsewhere_is_refused_without_a_word_to_anybody(tmp_path: Path, url: str) -> None:
    internet = Internet()
    async with internet.client() as client:
        with pytest.raises(FileUnsafe):
            await client.download(url, tmp_path / "file")
    assert (internet.asked, internet.dialled) == ([], [])


# A redirect may be relative, `https:///r.pdf` is so by the rules of old, and no header holds line breaks.
ABSOLUTE = [url for url in DECEIVING if "://" in url and "\r" not in url and not re.match(r"https://($|/)", url)]


@pytest.mark.parametrize("url", ABSOLUTE, ids=lambda url: url[:40].encode("unicode_escape").decode())
async def test_a_redirect_to_such_a_link_is_refused_too(tmp_path: Path, url: str) -> None:
    internet = Internet()
    async with internet.host([redirect(url)]), internet.client() as client:
        with pytest.raises(FileUnsafe):
            await client.download(URL, tmp_path / "file")
    assert (internet.asked, internet.dialled) == ([HOST], [(ADDRESS, 443)])


@pytest.mark.parametrize("inward", INWARD)
@pytest.mark.parametrize("by_redirect", [False, True], ids=["link", "redirect"])
async def test_a_name_is_refused_for_a_single_inward_address(tmp_path: Path, inward: str, by_redirect: bool) -> None:
    internet = Internet()
    internet.names["inside.example"] = [["8.8.8.8", inward]]
    url = URL if by_redirect else "https://inside.example/r.pdf"
    async with internet.host([redirect("https://inside.example/r.pdf")]), internet.client() as client:
        with pytest.raises(FileUnsafe, match=r"^not fetched: inside\.example has an address"):
            await client.download(url, tmp_path / "file")
    assert internet.dialled == ([(ADDRESS, 443)] if by_redirect else [])
    assert held(tmp_path) == []


async def test_a_name_that_resolves_differently_the_next_time_gains_nothing(tmp_path: Path) -> None:
    internet = Internet()
    internet.names[HOST] = [[ADDRESS], ["127.0.0.1"]]
    async with internet.host([a_file()]), internet.client() as client:
        await client.download(URL, tmp_path / "1")
        assert (internet.asked, internet.dialled) == ([HOST], [(ADDRESS, 443)])  # resolved once, and dialled by number
        with pytest.raises(FileUnsafe):
            await client.download(URL, tmp_path / "2")
    assert internet.dialled == [(ADDRESS, 443)]


async def test_each_try_and_each_redirect_is_checked_anew(tmp_path: Path) -> None:
    internet = Internet()
    internet.names[HOST] = [[ADDRESS], ["10.0.0.1"]]
    async with internet.host([redirect("/elsewhere")]), internet.client() as client:
        with pytest.raises(FileUnsafe):
            await client.download(URL, tmp_path / "file")
    assert len(internet.requests) == 1


async def test_other_addresses_of_a_name_are_tried_where_one_does_not_answer(tmp_path: Path) -> None:
    internet = Internet()
    internet.names[HOST] = [["2600:9000::1", "2600:9000::2", "2600:9000::3", "8.8.8.8", ADDRESS, "8.8.4.4"]]
    internet.silent = {"2600:9000::1"}
    async with internet.host([a_file()]), internet.client(connect_s=0.4) as client:
        await client.download(URL, tmp_path / "file")
    assert [address for address, _ in internet.dialled] == ["2600:9000::1", "2600:9000::2", "8.8.8.8", ADDRESS]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_up_to_five(tmp_path: Path, status: int) -> None:
    internet = Internet()
    hops = [redirect(f"/hop-{n}?é", status) for n in range(MAX_REDIRECTS)]
    async with internet.host([*hops, a_file()]), internet.client() as client:
        assert (await client.download(URL, tmp_path / "file")).size == len(PDF)
    assert internet.targets[1:] == [f"{HOST}/hop-{n}?%C3%A9" for n in range(MAX_REDIRECTS)]


async def test_a_redirect_to_another_host_is_made_to_that_host(tmp_path: Path) -> None:
    internet = Internet()
    async with (
        internet.host([redirect("https://other.example/end?a=b#part")]),
        internet.host([redirect("x"), a_file()], "other.example", "8.8.8.8"),
        internet.client() as client,
    ):
        file = await client.download(URL, tmp_path / "file")
    assert file.size == len(PDF)
    assert internet.targets[1] == "other.example/end?a=b"


@pytest.mark.parametrize("hops", [["/again"], ["/a", "/b"], ["https://files.example:443/s3cr3t-path/receipt.pdf"]])
async def test_redirects_without_end_are_given_up(tmp_path: Path, hops: list[str]) -> None:
    internet = Internet()
    async with internet.host(lambda _: redirect(hops[len(internet.requests) % len(hops)])), internet.client() as client:
        with pytest.raises(FileUnavailable, match="more than 5 redirects"):
            await client.download(URL, tmp_path / "file")
    assert len(internet.requests) == MAX_REDIRECTS + 1


async def test_a_host_with_another_hosts_certificate_is_refused(tmp_path: Path) -> None:
    internet = Internet()
    async with internet.host([a_file()], certified_for="other.example"), internet.client() as client:
        with pytest.raises(FileUnsafe, match=r"^not fetched: files\.example cannot prove"):
            await client.download(URL, tmp_path / "file")
    assert internet.requests == []
    assert len(internet.dialled) == 1


async def test_an_authority_that_nobody_knows_is_not_believed(tmp_path: Path) -> None:
    internet = Internet()
    async with internet.host([a_file()]), internet.client(tls=None) as client:
        with pytest.raises(FileUnsafe, match="cannot prove"):
            await client.download(URL, tmp_path / "file")


async def test_a_pleo_on_loopback_may_have_its_files_there_and_nowhere_else(tmp_path: Path) -> None:
    async with scripted(lambda _: a_file()) as pleo, scripted(lambda _: a_file()) as other:
        port = int(pleo.url.rpartition(":")[2])
        async with Internet().client(pleo.url, dialler=None) as client:
            file = await client.download(f"{pleo.url}/receipts/1", tmp_path / "file")
            assert file.size == len(PDF)
            for number, url in enumerate(
                [
                    other.url,
                    f"http://localhost:{port}",
                    f"http://127.0.0.2:{port}",
                    f"https://127.0.0.1:{port}",
                    f"http://[::1]:{port}",
                    f"http://files.example:{port}",
                ]
            ):
                with pytest.raises(FileUnsafe):
                    await client.download(f"{url}/r.pdf", tmp_path / str(number))
        async with Internet().client(PLEO, dialler=None) as client:
            with pytest.raises(FileUnsafe):
                await client.download(f"{pleo.url}/receipts/1", tmp_path / "again")
        assert (len(pleo.requests), len(other.requests)) == (1, 0)


@pytest.mark.parametrize("addresses", [["127.0.0.1", "8.8.8.8"], ["8.8.8.8"], ["10.0.0.1"]])
async def test_localhost_must_be_this_machine(tmp_path: Path, addresses: list[str]) -> None:
    internet = Internet()
    internet.names["localhost"] = [addresses]
    async with internet.client("http://localhost:8000") as client:
        with pytest.raises(FileUnsafe):
            await client.download("http://localhost:8000/r.pdf", tmp_path / "file")
    assert internet.dialled == []


async def test_a_public_host_does_not_lead_to_a_pleo_on_loopback(tmp_path: Path) -> None:
    async with scripted(lambda _: a_file()) as pleo:
        internet = Internet()
        async with internet.host([redirect(f"{pleo.url}/v3/export-jobs")]), internet.client(pleo.url) as client:
            with pytest.raises(FileUnsafe, match=r"^not fetched: plain http to 127\.0\.0\.1$"):
                await client.download(URL, tmp_path / "file")
        assert pleo.requests == []


async def test_a_pleo_on_loopback_may_redirect_within_itself_and_no_further_inward(tmp_path: Path) -> None:
    async with scripted(lambda _: a_file()) as other:
        steps = [redirect("/moved"), a_file(), redirect(other.url)]
        async with scripted(steps) as pleo, Internet().client(pleo.url, dialler=None) as client:
            assert (await client.download(f"{pleo.url}/r", tmp_path / "1")).size == len(PDF)
            with pytest.raises(FileUnsafe):
                await client.download(f"{pleo.url}/r", tmp_path / "2")
        assert pleo.lines == ["GET /r", "GET /moved", "GET /r"]
        assert other.requests == []


def test_a_link_does_not_show_in_what_represents_it() -> None:
    address = parse_address(URL)
    assert repr(address) == "FileAddress(Origin(scheme='https', host='files.example', port=443))"
