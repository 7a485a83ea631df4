"""Tryton's web client for the tests, fetched by npm into the cache; nothing of it is in the repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.erp.tryton.environment import Say, TrytonUnavailable, cache_folder, digest, kept, say_nothing

PACKAGE = "tryton-sao@8.0.11"
INSTALL = (
    "install", "--install-strategy=nested", "--omit=dev", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund",
    "--loglevel=error", PACKAGE,
)  # fmt: skip
"""Nested, as the client looks for what it needs in its own folder."""

ROOT = Path("node_modules/tryton-sao")


def web_client(cache: Path | None = None, say: Say = say_nothing) -> Path:
    """The folder that the server is to show as its web client. Raises TrytonUnavailable."""
    return kept(cache or cache_folder(), "webclient", digest(*INSTALL), _install, say) / ROOT


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise TrytonUnavailable("npm is not installed, which fetches the web client (apt-get install npm)")
    done = subprocess.run(
        [npm, *INSTALL, "--prefix", str(folder)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode or not (folder / ROOT / "index.html").is_file():
        said = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        why = said[0] if said else f"exit status {done.returncode}"
        raise TrytonUnavailable(f"npm cannot fetch the web client, which needs a package registry: {why}")
