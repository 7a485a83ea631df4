"""The control page in a real browser: what Pleo's texts hold is shown as text, whatever it is."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from blocks.pleo.sandbox import Sandbox, serve

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--virtual-time-budget=4000", "--dump-dom",
]  # fmt: skip
HOSTILE = "<script>document.title='taken'</script><b>&</b>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")


class _Page(HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def _shown(url: str, profile: Path) -> _Page:
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return _Page(done.stdout)


def test_a_job_and_its_items_are_shown_and_hostile_text_stays_text(tmp_path: Path) -> None:
    with Sandbox() as sandbox, serve(sandbox) as base_url:
        job_id = sandbox.add_job(items=40)
        item = sandbox.items(job_id)[0]
        sandbox.edit_export_item(item.accounting_entry_id, {"type": HOSTILE})
        overview = _shown(f"{base_url}/", tmp_path / "first")
        items = _shown(f"{base_url}/jobs/{job_id}", tmp_path / "second")
    assert job_id in overview.text
    assert item.accounting_entry_id in items.text
    assert HOSTILE in items.text
    assert "script" not in overview.tags + items.tags
    assert "b" not in items.tags
