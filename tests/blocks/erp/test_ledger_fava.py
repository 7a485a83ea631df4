"""The link to an entry, followed to a Fava that is really running."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import socket

import pytest
from fava.util import slugify
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.erp.entries import Recorded
from blocks.erp.ledger import Ledger
from blocks.erp.ledger.beancount import slug_of
from tests.support.erp.ledger_samples import BILL, COMPANY, PAYMENT, a_bill, an_attachment, entries, opened

START_WITHIN_S = 60


def free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def fava(file: Path, port: int) -> Iterator[None]:
    """A Fava on loopback that shows `file`, once it answers."""
    command = [sys.executable, "-m", "fava.cli", "--host", "127.0.0.1", "--port", str(port), str(file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=file.parent) as process:
        try:
            deadline = time.monotonic() + START_WITHIN_S
            while not answers(port):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        fetch(f"http://127.0.0.1:{port}/")
    except urllib.error.URLError:
        return False
    return True


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        content: bytes = response.read()
    return content.decode()


def journal_at(url: str) -> str:
    """The content of the page at an entry's link: the page asks Fava for it with the address's own path and query."""
    address = urllib.parse.urlsplit(url)
    base = address.path.removesuffix("journal/")
    asked = address._replace(path=f"{base}api/journal_page", query=f"{address.query}&page=1&order=desc")
    content: str = json.loads(fetch(asked.geturl()))["data"]["journal"]
    return content


async def test_the_link_opens_the_journal_at_this_entry_and_no_other(tmp_path: Path) -> None:
    port = free_port()
    async with opened(tmp_path / "books.sqlite", fava_url=f"http://127.0.0.1:{port}/") as ledger:
        outcomes = await ledger.record(entries(12))
        await ledger.finish_job()
    wanted = outcomes[6]
    assert isinstance(wanted, Recorded)
    assert os.fspath(tmp_path) not in wanted.url

    with fava(tmp_path / "books.beancount", port):
        page = fetch(wanted.url)
        journal = journal_at(wanted.url)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(wanted.url.replace(COMPANY, "another"))

    assert f"Pleo {COMPANY}" in page
    assert journal.count("class='transaction") == 1
    assert "^PX-000007" in journal
    assert "Supplier 7" in journal


async def test_a_receipt_is_followed_from_the_journal_to_its_bytes(tmp_path: Path) -> None:
    port = free_port()
    receipt = an_attachment(tmp_path, content=b"%PDF-1.7 the very receipt")
    async with opened(tmp_path / "books.sqlite", fava_url=f"http://127.0.0.1:{port}") as ledger:
        outcomes = await ledger.record([a_bill(1, BILL, PAYMENT, attachments=(receipt,)), *entries(3, first=2)])
        await ledger.finish_job()
    wanted = outcomes[0]
    assert isinstance(wanted, Recorded)

    with fava(tmp_path / "books.beancount", port):
        journal = journal_at(wanted.url)
        links = {html.unescape(one) for one in re.findall("href='([^']*(?:statement|document)[^']*)'", journal)}
        content = [fetch(urllib.parse.urljoin(wanted.url, link)) for link in sorted(links)]

    assert journal.count("class='transaction") == 1
    assert len(links) == 2  # from the transaction, and from the document beside it
    assert content == ["%PDF-1.7 the very receipt"] * 2


@settings(derandomize=True, max_examples=300, deadline=None)
@given(title=st.text(max_size=30))
def test_the_slug_is_the_one_that_fava_makes(title: str) -> None:
    assert slug_of(title) == slugify(title)


async def test_a_link_is_a_web_address_whatever_the_company_is_called(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "books.sqlite", fava_url="https://books.example/fava/")
    await ledger.open("Café & Søn/../x?", dry_run=True)
    link = ledger.link("PX-000001")
    await ledger.close()
    assert link == "https://books.example/fava/pleo-caf%C3%A9-s%C3%B8nx/journal/?filter=%5EPX-000001"
