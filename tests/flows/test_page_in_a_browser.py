"""The page of `--report` in a real browser: ten thousand hostile items, and nothing of them runs or is fetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.files import write_page
from tests.support.chromium import CHROMIUM, MISSING, a_page
from tests.support.pleo.hostile_json import TEXTS
from tests.support.pleo.pleo_items import entry_id
from tests.support.results import booked, entry_of, job_of, run_of, unbooked

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

ITEMS, POSTINGS = 10_000, 500


@contextmanager
def a_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of the folder's files, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            file = folder / self.path.strip("/")
            self.send_response(200 if file.is_file() else 404)
            self.end_headers()
            self.wfile.write(file.read_bytes() if file.is_file() else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_hostile_texts_are_shown_and_nothing_else_happens(tmp_path: Path) -> None:
    with a_server(tmp_path) as (address, asked):
        texts = [
            *TEXTS,
            f"<script src={address}/evil.js></script>", f"<img src={address}/evil.png onerror='document.title=1'>",
            f"<link rel=stylesheet href={address}/evil.css>", f"</style><style>@import '{address}/evil.css'</style>",
            f"<iframe src={address}/evil.html>", f"<meta http-equiv=refresh content='0;url={address}/evil.html'>",
            f"<svg onload=fetch('{address}/evil')>", "\" autofocus onfocus=\"document.title='taken'\" x=\"",
        ]  # fmt: skip
        rows = [
            unbooked(n, reason=text, supplier=text, employee=text, pleo_url=f"https://app.pleo.io/{n}")
            if n % 2
            else booked(n, notice=text, supplier=text, employee=text)
            for n in range(ITEMS)
            for text in [texts[n // 2 % len(texts)]]
        ]
        write_page(tmp_path / "report.html", run_of(job_of(rows, acknowledged=False)))
        with a_page() as browser:
            browser.resize(1280, 1000)
            browser.open(f"{address}/report.html")
            browser.wait_for("document.readyState === 'complete'")
            assert browser.run("document.title").startswith("Pleo export, 20")
            assert browser.run("document.scripts.length + document.images.length + frames.length") == 0
            assert browser.run("document.querySelectorAll('.failures tbody tr').length") == ITEMS // 2
            ids = browser.run(
                "[...document.querySelectorAll('.failures tr td:last-child')].map(one => one.textContent.trim())"
            )
            assert ids == [entry_id(n) for n in range(1, ITEMS, 2)]
            assert browser.run("document.documentElement.scrollWidth <= innerWidth")
            links = browser.run("[...document.links].map(one => one.protocol + one.rel)")
            assert set(links) == {"https:noopener noreferrer", "http:noopener noreferrer"}
            browser.run("window.scrollTo(0, document.documentElement.scrollHeight / 2)")
            browser.run("new Promise(then => requestAnimationFrame(() => requestAnimationFrame(then)))")
            browser.picture(tmp_path / "middle.png")
        assert set(asked) - {"/favicon.ico"} == {"/report.html"}


def test_the_browsers_own_search_finds_the_last_of_many_postings(tmp_path: Path) -> None:
    rows = [booked(n) for n in range(POSTINGS)]
    job = job_of(rows, dry_run=True)
    job.preview = [entry_of(row, description=f"Journey {n} of all") for n, row in enumerate(rows)]
    write_page(tmp_path / "report.html", run_of(job))
    with a_page() as browser:
        browser.resize(1280, 1000)
        browser.open((tmp_path / "report.html").as_uri())
        browser.wait_for("document.readyState === 'complete'")
        assert not browser.run("window.find('Journey 500 of all')")
        assert browser.run("window.find('Journey 499 of all')")
