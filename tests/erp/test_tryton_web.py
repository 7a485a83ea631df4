"""The web client is not to be had everywhere: then it is said in one sentence what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.erp.tryton.environment import TrytonUnavailable
from tests.support.erp.tryton.web import PACKAGE, web_client


def test_without_npm_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrytonUnavailable, match="npm is not installed, which fetches the web client"):
        web_client(tmp_path / "cache")


def test_without_a_registry_it_says_what_npm_said_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\ncase \"$*\" in *{PACKAGE}*) echo 'npm error network is down' >&2; exit 1;; esac\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(TrytonUnavailable, match="which needs a package registry: npm error network is down"):
        web_client(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]
